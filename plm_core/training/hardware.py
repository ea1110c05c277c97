"""What a run computes on: the device, the arithmetic of the forward pass, and the processes that train together."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from plm_core.distributed import Processes
from plm_core.runtime import Precision, peak_flops


@dataclass(frozen=True)
class Hardware:
    """Where and how a run computes; by default on the CPU, in fp32, in this process alone."""

    device: torch.device | str = "cpu"
    """Where the batches are moved to; the model is there already."""
    precision: Precision = "fp32"
    """Arithmetic of the forward pass, already resolved (:attr:`~plm_core.runtime.Runtime.precision`)."""
    processes: Processes | None = None
    """The processes that train together, each with the same model, source and configuration. They share the
    micro-batches of a step, so that the run equals that of one process. None: this process alone."""

    def resolved(self) -> tuple[torch.device, Precision, Processes]:
        """Device, precision and processes, with the defaults filled in."""
        device = torch.device(self.device)
        processes = Processes(device=device) if self.processes is None else self.processes
        return device, self.precision, processes


def peak_flops_of_all(device: torch.device, precision: Precision, processes: Processes) -> float | None:
    """The highest rate of all processes' devices together, in floating-point operations a second; None if unknown."""
    peak = peak_flops(device, precision)
    return None if peak is None else peak * processes.size
