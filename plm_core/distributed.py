"""The processes that train together: rank and size, collectives, and how a failure is reported exactly once.

``torchrun`` starts the processes and passes each its rank in environment variables; without it there is one process,
and every function here returns its argument. The collectives are torch's: gloo between CPUs, NCCL between GPUs.
"""

from __future__ import annotations

import os
import random
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from plm_core.runtime import resolve_device

T = TypeVar("T")

Strategy = Literal["ddp", "fsdp"]
Backend = Literal["gloo", "nccl"]

LOST_PEER = re.compile(r"gloo|nccl|connection|socket|broken pipe", re.IGNORECASE)


class ProcessError(ValueError):
    """One process of several has failed; the message names it."""


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen by one of them. The default is a process on its own."""

    rank: int = 0
    """The number of this process, from 0."""
    size: int = 1
    """How many processes there are."""
    local_rank: int = 0
    """Its number among the processes on the same machine; on GPUs, the number of its GPU."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where this process computes."""
    strategy: Strategy = "ddp"
    """How the model is shared: ``"ddp"``, every process has all of it; ``"fsdp"``, every process has a part."""
    store: Store | None = field(default=None, repr=False, compare=False)
    """A key-value store that all processes can write to, even when collectives no longer work."""

    @property
    def is_main(self) -> bool:
        """Whether this is the process that logs, saves and prints."""
        return self.rank == 0

    @property
    def is_sharded(self) -> bool:
        """Whether each process holds a part of every parameter only."""
        return self.strategy == "fsdp"

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over all processes, in a new tensor; the tensor itself where there is one process."""
        if self.size == 1:
            return tensor
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    def sum_counts(self, counts: Mapping[str, int]) -> dict[str, int]:
        """Integers summed name by name; all processes must use the same names."""
        if self.size == 1:
            return dict(counts)
        names = sorted(counts)
        totals = self.sum(torch.tensor([counts[name] for name in names], dtype=torch.int64))
        return dict(zip(names, totals.tolist(), strict=True))

    def all_reduce_max(self, number: int) -> int:
        """The largest of the numbers of all processes, in every process."""
        return max(self.gather(number))

    def gather(self, value: T) -> list[T]:
        """The values of all processes, by rank, in every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: T) -> T:
        """The main process's value, in every process."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            self.sum(torch.zeros(()))

    def shard(self, items: Sequence[T]) -> list[T]:
        """This process's share of items: those with index rank, rank + size, rank + 2 size, and so on."""
        return list(items[self.rank :: self.size])

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in the main process first, so that the others find what it downloads or writes."""
        if not self.is_main:
            self.barrier()
        yield
        if self.is_main:
            self.barrier()


def start_processes(
    strategy: Strategy = "ddp", *, device: str | None = None, backend: Backend | None = None
) -> Processes:
    """Join the other processes that torchrun started; without torchrun this process is the only one.

    Args:
        strategy: ``"ddp"`` or ``"fsdp"``.
        device: ``"cpu"`` or ``"cuda"``; see :func:`plm_core.runtime.resolve_device` for the default.
        backend: ``"gloo"`` or ``"nccl"``; by default NCCL for tensors on GPUs and gloo for those on CPUs.

    Raises:
        ValueError: an unknown strategy, FSDP without torchrun, NCCL without GPUs, more processes than GPUs.
    """
    if strategy not in ("ddp", "fsdp"):
        raise ValueError(f"unknown strategy {strategy!r}: use 'ddp' or 'fsdp'")
    here = resolve_device(device)
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        if strategy == "fsdp":
            raise ValueError(
                "strategy 'fsdp' splits a model among processes, and this process is alone: start it with "
                "`torchrun --nproc-per-node N -m plm_core.cli train CONFIG`, or set strategy=ddp"
            )
        return Processes(device=here)
    rank, size, local_rank = (int(os.environ.get(name, "0")) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if backend == "nccl" and here.type != "cuda":
        raise ValueError("the backend 'nccl' connects NVIDIA GPUs, and this run computes on the CPU: use 'gloo'")
    if here.type == "cuda":
        processes, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", local_rank + 1)), torch.cuda.device_count()
        if processes > gpus:
            raise ValueError(
                f"{processes} processes need a GPU each, and this machine has {gpus}: start no more processes than "
                "GPUs (--nproc-per-node), or compute on the CPU (PLM_DEVICE=cpu)"
            )
        here = torch.device("cuda", local_rank)
        torch.cuda.set_device(here)
    store, _, _ = next(rendezvous("env://", rank, size))
    backends = backend or ("cpu:gloo,cuda:nccl" if here.type == "cuda" else "gloo")
    dist.init_process_group(backends, store=PrefixStore("collectives", store), rank=rank, world_size=size)
    return Processes(rank, size, local_rank, here, strategy, PrefixStore("plm", store))


def launcher() -> list[str]:
    """The beginning of a command line that starts ``plm`` as this process was started: alone, or by torchrun.

    The options by which several machines find each other (``--rdzv-endpoint`` and so on) are not included.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return ["plm"]
    size = int(os.environ["WORLD_SIZE"])
    here = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    machines = ["--nnodes", str(size // here)] if size > here else []
    return ["torchrun", *machines, "--nproc-per-node", str(here), "-m", "plm_core.cli"]


@contextmanager
def report_once_per_node() -> Iterator[None]:
    """Report an error that occurs in all processes, such as a wrong option, once for each machine.

    To be used before the process group exists; afterwards :func:`report_failure_once` does this.

    Raises:
        SystemExit: in the other processes.
    """
    try:
        yield
    except (ValueError, OSError):
        if os.environ.get("LOCAL_RANK", "0") != "0":
            raise SystemExit(1) from None
        raise


@contextmanager
def report_failure_once(processes: Processes) -> Iterator[None]:
    """Leave the process group at the end of the block; if processes fail in it, exactly one of them reports why.

    The process that fails first reports the reason. The others only lose contact with it, which explains nothing, so
    they exit without a message. For a process that was killed, the first process to lose contact with it reports.

    Raises:
        ProcessError: for errors of the user and for a lost process, in the one process that reports.
        SystemExit: in the other processes.
    """
    try:
        yield
    except KeyboardInterrupt as error:  # all processes stop together, after the same step
        if processes.is_main:
            raise
        raise SystemExit(128 + getattr(error, "number", signal.SIGINT)) from None
    except (Exception, SystemExit) as error:
        if processes.size == 1:
            raise
        if not claim_failure(processes):
            raise SystemExit(1) from None
        name = f"process {processes.rank} of {processes.size}"
        if isinstance(error, RuntimeError) and LOST_PEER.search(str(error)):
            raise ProcessError(
                f"{name} lost contact with another one, which was killed or ran out of memory; the run has stopped. "
                "Continue from its newest checkpoint with --resume"
            ) from error
        if isinstance(error, ValueError | OSError):
            raise ProcessError(f"{name}: {error}") from error
        raise
    if dist.is_initialized():
        dist.destroy_process_group()


def claim_failure(processes: Processes) -> bool:
    """Whether this process is the first to report a failure."""
    if processes.store is None:
        return True
    try:
        return processes.store.add("failures", 1) == 1
    except RuntimeError:  # the process that held the store has ended
        return True


def seed_per_rank(processes: Processes) -> None:
    """Seed every process differently, or dropout would drop the same activations in all; rank 0 keeps its seed."""
    if processes.rank > 0:
        seed = torch.initial_seed() + processes.rank
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
