"""Rotary positions stretched to texts longer than those of the training, without further training."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from plm_core.models.positions import Rope

REPAIRS = ("as trained", "interpolated", "base scaled", "yarn")
FACTORS = (2, 4, 8, 16, 32, 64)
"""The factors at which every repair is tested; the texts are four times as long as in training."""


class ScaledRope(Rope):
    """RoPE whose angles are slowed down by a factor.

    - ``interpolated``: every angle divided by the factor (Chen et al., 2023).
    - ``base scaled``: the base multiplied by ``factor^(K / (K - 2))``, which leaves the fastest pair as it is and
      divides the angles of the slowest by the factor ("NTK-aware" scaling; Peng et al., 2024, section 3.1).
    - ``yarn``: pairs that turn at least ``KEPT`` times in the trained length keep their angles, those that turn less
      than once are interpolated, those between are mixed; queries and keys grow by ``0.1 ln(factor) + 1``
      (Peng et al., 2024, sections 3.2 and 3.4; there KEPT is 32, for windows of thousands of tokens).

    Args:
        head_size: the head width K, even.
        repair: one of ``REPAIRS``.
        factor: by how much the slowest angles become smaller.
        trained_length: tokens in a text of the training.

    Raises:
        ValueError: the repair is unknown.
    """

    KEPT = 4

    def __init__(self, head_size: int, repair: str, factor: float, *, trained_length: int) -> None:
        super().__init__(head_size)
        omega = self.base ** (-torch.arange(0, head_size, 2, dtype=torch.float64) / head_size)  # (K / 2,)
        self.growth = 1.0
        if repair == "interpolated":
            omega = omega / factor
        elif repair == "base scaled":
            base = self.base * factor ** (head_size / (head_size - 2))
            omega = base ** (-torch.arange(0, head_size, 2, dtype=torch.float64) / head_size)
        elif repair == "yarn":
            turns = trained_length * omega / (2 * math.pi)
            kept = ((turns - 1) / (self.KEPT - 1)).clamp(0, 1)
            omega = kept * omega + (1 - kept) * omega / factor
            self.growth = 0.1 * math.log(factor) + 1
        elif repair != "as trained":
            raise ValueError(f"unknown repair {repair!r}: use one of {', '.join(REPAIRS)}")
        self.omega = omega.tolist()

    def rotate(self, q_BHTK: Tensor, k_BHTK: Tensor, *, q_offset: int) -> tuple[Tensor, Tensor]:
        t_T = torch.arange(q_offset, q_offset + q_BHTK.shape[-2], device=q_BHTK.device, dtype=torch.float32)
        angles = t_T[:, None] * torch.tensor(self.omega, device=q_BHTK.device, dtype=torch.float32)  # (T, K / 2)
        cos, sin = self.growth * angles.cos(), self.growth * angles.sin()
        return self._turn(q_BHTK, cos, sin), self._turn(k_BHTK, cos, sin)
