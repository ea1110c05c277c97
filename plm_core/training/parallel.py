"""One model on several processes: copies with averaged gradients (DDP), or parts of every parameter (FSDP2).

Both engines are torch's. DDP keeps a whole copy on every process and sums gradients while the backward pass still
runs (Li et al. 2020). FSDP2 keeps a part of every parameter, gradient and optimiser state on each process, and gathers
a block's parameters only while it computes (Zhao et al. 2023), so that a model may be larger than one GPU.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from plm_core.data.batch import Batch
from plm_core.distributed import Processes
from plm_core.evaluation.validation import TermsObjective
from plm_core.objectives.base import LossParts
from plm_core.training.blocks import block_lists
from plm_core.training.config import TrainConfig
from plm_core.weights import shared_parameters, tied_weights


class Terms(nn.Module):
    """A model and its objective as one module from batch to losses, because DDP wraps the calls of one module."""

    def __init__(self, model: nn.Module, objective: TermsObjective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch) -> dict[str, LossParts]:
        """The losses of a batch by name."""
        return self.objective.terms(self.model, batch)


def check_shareable(config: TrainConfig, processes: Processes) -> None:
    """Raise ValueError if the processes cannot share a step as configured: micro-batches that do not come out even, or
    an optimiser that cannot work on parts of a matrix."""
    if config.micro_batches % processes.size:
        raise ValueError(
            f"{processes.size} processes cannot share {config.micro_batches} micro-batches evenly: set "
            f"train.micro_batches to a multiple of {processes.size}"
        )
    if processes.is_sharded and config.optimizer not in ("adamw", "adam"):
        raise ValueError(
            f"the optimiser {config.optimizer!r} cannot be split among processes: use adamw or adam with fsdp, "
            "or strategy=ddp"
        )


def wrap(model: nn.Module, objective: TermsObjective, processes: Processes, example: Callable[[], Batch]) -> nn.Module:
    """Make a model compute as one of several processes.

    Where the model is sharded the model's parameters are replaced, in place, by each process's part of them: build the
    optimiser afterwards.

    Args:
        model: the same in every process; where it differs, the main process's weights count.
        objective: what is computed from its outputs; it must reach the same parameters for every batch.
        processes: the processes.
        example: returns some batch, on the device; called only for DDP.

    Returns:
        A module from batch to :class:`~plm_core.objectives.base.LossParts` by name, whose backward pass leaves the
        *mean* of the processes' gradients. A loss that is multiplied by the number of processes gives their sum.
    """
    if processes.is_sharded:
        shard(model, processes)
    if processes.is_sharded or processes.size == 1:
        return Terms(model, objective)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with torch.random.fork_rng():
        _, found = loss_and_gradients(model, objective, example(), parameters)
    unreached = [parameter for parameter, gradient in zip(parameters, found, strict=True) if gradient is None]
    # DDP would wait for their gradients, or look for them after every step; it passes over what needs none.
    for parameter in unreached:
        parameter.requires_grad_(False)
    newer = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    once: dict[str, Any] = {"forward_sync_buffers" if newer else "broadcast_buffers": False}
    wrapped = DistributedDataParallel(Terms(model, objective), gradient_as_bucket_view=True, **once)
    for parameter in unreached:
        parameter.requires_grad_(True)
    return wrapped


def shard(model: nn.Module, processes: Processes) -> None:
    """Split every parameter among the processes, block by block, in place (``fully_shard``).

    A block's parameters are gathered when it computes and freed again after it. Blocks that share parameters with
    anything outside them are gathered together with the rest of the model.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if processes.size > 1:
        for tensor in (*model.parameters(), *model.buffers()):
            torch.distributed.broadcast(tensor.detach(), src=0)
    mesh = init_device_mesh(processes.device.type, (processes.size,))
    shared = {name for tie in {**shared_parameters(model), **tied_weights(model)}.items() for name in tie}
    names = {module: name for name, module in model.named_modules()}
    for blocks in block_lists(model).values():
        for block in blocks:
            if not any(name.startswith(names[block] + ".") for name in shared):
                fully_shard(block, mesh=mesh, reshard_after_forward=True)
    fully_shard(model, mesh=mesh, reshard_after_forward=True)


def local_gradients(module: nn.Module) -> AbstractContextManager[Any]:
    """A context for the forward and backward passes of all but the last micro-batch: DDP then adds the gradients up in
    each process and communicates them once. FSDP communicates each time, because no process holds a whole gradient.
    """
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()


def whole(tensor: Tensor) -> Tensor:
    """A tensor of which each process may hold a part (torch's ``DTensor``), gathered; others as they are.

    All processes must call this together.
    """
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def nonfinite_ranks(model: nn.Module, objective: TermsObjective, batches: Iterable[Batch], processes: Processes) -> str:
    """The ranks whose own batches give a loss or gradient that is not finite, in words.

    The batches are computed once more, each process on its own, because the contributions of the processes cannot be
    told from their sum. For a model that is split among the processes, only the losses can be computed.

    Args:
        model: the model, not what :func:`wrap` made of it.
        objective: the task.
        batches: those of this process, on its device.
        processes: the processes; all must call this together.
    """
    if processes.size == 1:
        return "rank 0"
    parameters = [] if processes.is_sharded else [p for p in model.parameters() if p.requires_grad]
    fine = True
    for batch in batches:
        loss, found = loss_and_gradients(model, objective, batch, parameters)
        fine &= all(bool(value.isfinite().all()) for value in (loss, *found) if value is not None)
    ranks = [str(rank) for rank, good in enumerate(processes.gather(fine)) if not good]
    return f"rank {' and '.join(ranks)}" if ranks else "all ranks together"


def loss_and_gradients(
    model: nn.Module, objective: TermsObjective, batch: Batch, parameters: Sequence[nn.Parameter]
) -> tuple[Tensor, Sequence[Tensor | None]]:
    """The sum of a batch's losses and its gradients, None where a parameter is not reached; nothing is accumulated."""
    with torch.set_grad_enabled(bool(parameters)):
        loss = torch.stack([part.total.float() for part in objective.terms(model, batch).values()]).sum()
    return loss, torch.autograd.grad(loss, parameters, allow_unused=True) if parameters else ()
