"""Gradients before the optimiser uses them: measured, clipped, and watched for values that are not finite.

If the host read from a GPU whether a gradient is finite, it would have to wait for the device at every step. So on a
GPU the answer stays on the device, as a flag: from the first step that is not finite on, the fused optimisers, which
read the flag themselves, leave the weights unchanged. The host reads the flag when it reads other values anyway, at the
next log record, evaluation or checkpoint.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plm_core.distributed import Processes


class DivergedError(ValueError):
    """The loss or a gradient is not finite; the weights are those before the step."""

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step
        """The step that could not be made, from 1."""


class Gradients:
    """The gradients of a model's trainable parameters.

    Args:
        model: the model.
        processes: the processes that hold copies or parts of it.
    """

    def __init__(self, model: nn.Module, processes: Processes) -> None:
        self.model, self.processes = model, processes
        self.names: list[str] = []
        self.bad_step = torch.zeros((), dtype=torch.int64)
        self.bad_P = torch.zeros(0, dtype=torch.bool)
        self.bad_loss = torch.zeros(())

    def norms(self) -> Tensor:
        """The Euclidean norm of each parameter's gradient, (P,), P parameters that have one."""
        named = [(name, local(p.grad)) for name, p in self.model.named_parameters() if p.grad is not None]
        names = [name for name, _ in named]
        if not named:
            raise ValueError("no parameter has a gradient: does the loss depend on the model?")
        norms_P = torch.stack(list(torch._foreach_norm([gradient for _, gradient in named])))
        if self.processes.is_sharded:
            norms_P = self.processes.sum(norms_P.double().square()).sqrt().float()
        if names != self.names:
            if self.first_bad_step():
                raise self.diverged("all ranks together")
            self.names = names
            self.bad_step = torch.zeros((), dtype=torch.int64, device=norms_P.device)
            self.bad_P = torch.zeros(len(names), dtype=torch.bool, device=norms_P.device)
            self.bad_loss = torch.zeros((), device=norms_P.device)
        return norms_P

    def clip(self, norms_P: Tensor, max_norm: float) -> Tensor:
        """Scale the gradient of all parameters together down to a norm, if it is greater (Pascanu et al. 2013).

        Args:
            norms_P: the result of :meth:`norms`.
            max_norm: the greatest norm; 0 leaves the gradient as it is.

        Returns:
            The norm before.
        """
        norm = torch.linalg.vector_norm(norms_P)
        if max_norm > 0:
            nn.utils.clip_grads_with_norm_(list(self.model.parameters()), max_norm, norm)
        return norm

    def watch(self, step: int, loss: Tensor, norms_P: Tensor) -> Tensor:
        """Record on the device whether this step is the first whose loss or gradient is not finite.

        Args:
            step: its number, from 1.
            loss: the loss of the group.
            norms_P: the result of :meth:`norms`.

        Returns:
            1.0 if this step or an earlier one was not finite, else 0.0.
        """
        finite_P = norms_P.isfinite()
        first = ~(finite_P.all() & loss.isfinite()) & (self.bad_step == 0)
        self.bad_step = torch.where(first, step, self.bad_step)
        self.bad_P = torch.where(first, ~finite_P, self.bad_P)
        self.bad_loss = torch.where(first, loss, self.bad_loss)
        return (self.bad_step > 0).float()

    def first_bad_step(self) -> int:
        """The number of the first step that was not finite, from 1; 0 if there was none. This waits for the device."""
        return int(self.bad_step)

    def diverged(self, where: str) -> DivergedError:
        """The error that names what was not finite; all processes must call this together.

        Args:
            where: the ranks that caused it.
        """
        step = int(self.bad_step)
        bad = [name for name, flag in zip(self.names, self.bad_P.tolist(), strict=True) if flag]
        weights = [name for name, p in self.model.named_parameters() if not bool(local(p).isfinite().all())]
        weights = sorted({name for names in self.processes.gather(weights) for name in names})
        what = f"the gradient is not finite in {listed(bad)}" if bad else f"the loss is {float(self.bad_loss)}, though"
        what += "" if bad else " no gradient is"
        if weights:
            what += f", nor is the weight {listed(weights)}"
        return DivergedError(
            f"step {step}, {where}: {what}; nothing was stepped. Lower the learning rate, lengthen the warm-up, or "
            "look at the batch",
            step,
        )

    def not_finite(self, norms_P: Tensor) -> list[str]:
        """The names of the parameters whose gradient is not finite; this waits for the device."""
        return [name for name, fine in zip(self.names, norms_P.isfinite().tolist(), strict=True) if not fine]


def listed(names: list[str]) -> str:
    """The first names of a list, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor that is split among processes (torch's ``DTensor``); others as they are."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
