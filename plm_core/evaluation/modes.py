"""Evaluation mode that ends as it began: every module in its own mode, random generators as before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import nn


class HasModes(Protocol):
    """A module, or what stands for one."""

    def modules(self) -> Iterator[nn.Module]:
        """The module and its parts."""
        ...

    def eval(self) -> Any:
        """Switch to evaluation mode."""
        ...


@contextmanager
def evaluation_mode(model: HasModes, *, keep_random_state: bool = True) -> Iterator[None]:
    """Switch a model to evaluation mode for the block, and give every module back its own mode afterwards.

    A module that was in evaluation mode before, such as a frozen encoder, stays in it; ``model.train()`` afterwards
    would put it into training mode.

    Args:
        model: any module.
        keep_random_state: also restore torch's random generators afterwards, so that an evaluation in the middle of a
            run does not change what follows.
    """
    modes = {module: module.training for module in model.modules()}
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices) if keep_random_state else nullcontext():
        model.eval()
        try:
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode
