"""Gradients before the optimiser uses them: measured, clipped, and watched for values that are not finite.

Asking a GPU whether a gradient is finite makes the host wait for it, at every step. So on a GPU the answer stays there:
a flag that the fused optimisers read themselves makes them leave the weights alone from the first bad step on, and the
host looks at it when it reads other values anyway, at the next log record, evaluation or checkpoint.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DivergedError(ValueError):
    """The loss or a gradient is not a number; the weights are those before the step."""

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step
        """The step that could not be made, from 1."""


class Gradients:
    """The gradients of a model's trainable parameters.

    Args:
        model: the model.
        rank: the number of this process, for messages.
    """

    def __init__(self, model: nn.Module, *, rank: int = 0) -> None:
        self.model, self.rank = model, rank
        self.names: list[str] = []
        self.bad_step = torch.zeros((), dtype=torch.int64)
        self.bad_P = torch.zeros(0, dtype=torch.bool)
        self.bad_loss = torch.zeros(())

    def norms(self) -> Tensor:
        """The Euclidean norm of each parameter's gradient, (P,), P parameters that have one."""
        named = [(name, p.grad) for name, p in self.model.named_parameters() if p.grad is not None]
        names = [name for name, _ in named]
        if not named:
            raise ValueError("no parameter has a gradient: does the loss depend on the model?")
        norms_P = torch.stack(list(torch._foreach_norm([gradient for _, gradient in named])))
        if names != self.names:
            self.check()
            self.names = names
            self.bad_step = torch.zeros((), dtype=torch.int64, device=norms_P.device)
            self.bad_P = torch.zeros(len(names), dtype=torch.bool, device=norms_P.device)
            self.bad_loss = torch.zeros((), device=norms_P.device)
        return norms_P

    def clip(self, norms_P: Tensor, max_norm: float) -> Tensor:
        """Shorten the whole gradient to a length, if it is longer (Pascanu et al. 2013).

        Args:
            norms_P: what :meth:`norms` returned.
            max_norm: the length; 0 leaves the gradient as it is.

        Returns:
            The length before.
        """
        norm = torch.linalg.vector_norm(norms_P)
        if max_norm > 0:
            nn.utils.clip_grads_with_norm_(list(self.model.parameters()), max_norm, norm)
        return norm

    def watch(self, step: int, loss: Tensor, norms_P: Tensor) -> Tensor:
        """Note on the device whether this step is the first bad one.

        Args:
            step: its number, from 1.
            loss: the loss of the window.
            norms_P: what :meth:`norms` returned.

        Returns:
            1.0 if this step or one before it was bad, else 0.0: what a fused optimiser calls ``found_inf``.
        """
        finite_P = norms_P.isfinite()
        first = ~(finite_P.all() & loss.isfinite()) & (self.bad_step == 0)
        self.bad_step = torch.where(first, step, self.bad_step)
        self.bad_P = torch.where(first, ~finite_P, self.bad_P)
        self.bad_loss = torch.where(first, loss, self.bad_loss)
        return (self.bad_step > 0).float()

    def check(self) -> None:
        """Read the flag; this waits for the device.

        Raises:
            DivergedError: a step was bad.
        """
        step = int(self.bad_step)
        if step:
            bad = [name for name, flag in zip(self.names, self.bad_P.tolist(), strict=True) if flag]
            raise DivergedError(self._describe(step, bad, float(self.bad_loss)), step)

    def not_finite(self, norms_P: Tensor) -> list[str]:
        """The names of the parameters whose gradient is not finite; this waits for the device."""
        return [name for name, fine in zip(self.names, norms_P.isfinite().tolist(), strict=True) if not fine]

    def _describe(self, step: int, bad: list[str], loss: float) -> str:
        weights = [name for name, p in self.model.named_parameters() if not bool(p.isfinite().all())]
        what = f"the gradient is not finite in {listed(bad)}" if bad else f"the loss is {loss}, though no gradient is"
        if weights:
            what += f", nor is the weight {listed(weights)}"
        return (
            f"step {step}, rank {self.rank}: {what}; nothing was stepped. Lower the learning rate, lengthen the "
            "warm-up, or look at the batch"
        )


def listed(names: list[str]) -> str:
    """The first names of a list, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
