"""The arithmetic of a training step: autocast for the forward pass, and loss scaling where fp16 would lose gradients.

fp32 needs neither. bf16 has the range of fp32 and needs autocast alone. fp16 is finer but narrow: gradients below
2⁻²⁴ become zero, values above 65504 infinite. A scale that multiplies the loss, and so every gradient, moves them into
the range; the gradients are divided by it again before they are used.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn

from plm_core.runtime import Precision
from plm_core.training.gradients import listed

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class ScaleCollapsedError(ValueError):
    """Gradients overflow at every scale, so that loss scaling cannot help."""


def autocast(precision: Precision, device: torch.device | str) -> contextlib.AbstractContextManager[object]:
    """A context in which a forward pass runs in a precision; it does nothing for fp32.

    Products of matrices run in the low precision and losses in fp32 (Micikevicius et al. 2018); the weights are not
    touched. For other operations torch decides, and differently by device: on a GPU sums, norms and softmax run in
    fp32, on a CPU they take the precision of their input. The backward pass follows each operation's own precision:
    call it outside.
    """
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, dtype=DTYPES[precision])


def keep_casts(precision: Precision, device: torch.device | str) -> contextlib.AbstractContextManager[object]:
    """A context in which the weights that :func:`autocast` converts stay converted, over several forward passes.

    Around the micro-batches of a step every weight is converted once instead of once for each of them; the numbers are
    the same. The weights must not change inside. torch keeps the converted weights until the outermost autocast ends,
    so that this is an outer one, which is switched off.
    """
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, dtype=DTYPES[precision], enabled=False)


class LossScaler:
    """Dynamic loss scaling: torch's scaler, which also reports whether it stepped and stops when the scale collapses.

    The order of a step is: :meth:`scale` the loss, backward, :meth:`unscale_`, clip, :meth:`step`, :meth:`update`. A
    gradient that is not finite makes the step be skipped (Micikevicius et al. 2018, section 3.2) and the scale be
    halved; after ``growth_interval`` steps without one the scale is doubled, as torch's ``GradScaler`` does.

    Args:
        device: the device of the loss.
        init_scale: the initial scale.
        growth_interval: steps without overflow until the scale is doubled.
        minimum: a scale below this stops the run.
    """

    def __init__(
        self,
        device: torch.device | str,
        *,
        init_scale: float = 2.0**16,
        growth_interval: int = 2000,
        minimum: float = 2.0**-13,
    ) -> None:
        self.minimum = minimum
        self.scaler = torch.amp.GradScaler(
            torch.device(device).type, init_scale=init_scale, growth_interval=growth_interval
        )

    def scale(self, loss: Tensor) -> Tensor:
        """The loss times the scale; call ``backward`` on it."""
        return self.scaler.scale(loss)

    def unscale_(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide the gradients by the scale, once all of a group are there; clip after this, never before."""
        self.scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Step if every gradient is finite.

        Returns:
            Whether the weights were changed. The host waits for the device to know it.
        """
        self.scaler.step(optimizer)
        found = self.scaler._found_inf_per_device(optimizer)  # torch has no public way to learn it before update()
        return not any(bool(value) for value in found.values())

    def update(self) -> None:
        """Update the scale: halve it after an overflow, double it after a long time without one.

        Raises:
            ScaleCollapsedError: it fell below the minimum.
        """
        self.scaler.update()
        scale = self.get_scale()
        if scale < self.minimum:
            raise ScaleCollapsedError(
                f"the loss scale fell to {scale:g}, below {self.minimum:g}: the gradients are not finite at any scale. "
                "Lower the learning rate, inspect the data, or train in bf16 or fp32"
            )

    def get_scale(self) -> float:
        """The present scale."""
        return float(self.scaler.get_scale())

    def state_dict(self) -> dict[str, Any]:
        """The scale and how many steps it has gone without overflow."""
        return self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned."""
        self.scaler.load_state_dict(state)


def check_master_weights(model: nn.Module, precision: Precision) -> None:
    """Raise ValueError if weights are in a low precision already: autocast needs fp32 weights to update."""
    low = [name for name, p in model.named_parameters() if p.dtype in (torch.float16, torch.bfloat16)]
    if low:
        raise ValueError(
            f"precision {precision!r} computes in low precision and keeps the weights in fp32, but the model's are low "
            f"already: {listed(low)}. Half-precision weights lose small updates: leave out model.half() or .to(dtype)"
        )
