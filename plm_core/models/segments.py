"""Sequences without padding: the real tokens of a batch stand in one row, and each sequence attends to itself.

Padding is work thrown away: all layers but attention treat every token alike, and attention hides it again. Here the
layers see real tokens only, and the mask is no longer a matrix but a list of lengths.

Shapes are written into names: B batch, T tokens, N tokens of all sequences together, D model width, H heads, K head
width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SHORTEST_MEAN = 48
"""Shorter sequences stay in their padded rows: each one costs some calls of its own, which then weigh more than what
they save."""


@dataclass(frozen=True)
class Segments:
    """The sequences of a batch, laid end to end in one row: a block-diagonal mask, by the lengths of its blocks.

    Attributes:
        lengths: tokens of each sequence.
        places: where each token (that asks) stood in the batch, B·T places row by row, (N,).
        shape: (B, T) of the batch.
        query_lengths: tokens of each sequence that ask, where not all do (:meth:`asked_by`).
    """

    lengths: list[int]
    places: Tensor
    shape: tuple[int, int]
    query_lengths: list[int] | None = None

    @classmethod
    def find(cls, mask: Tensor | None, shape: tuple[int, int]) -> Segments | None:
        """Find the sequences that a mask describes.

        Args:
            mask: bool; (B, 1, 1, T): padding, each row is a sequence; (B, 1, T, T): if it is block-diagonal, as for
                packed documents, each block is one.
            shape: (B, T).

        Returns:
            The sequences; None where there is nothing to gain (no padding, short sequences), where a mask is of
            another kind, and on devices where a look at the mask would make the host wait.
        """
        if mask is None or mask.device.type != "cpu" or torch.compiler.is_compiling() or mask.shape[-1] != shape[1]:
            return None
        real_BT, starts_BT = _padding(mask) if mask.shape[-2] == 1 else _blocks(mask)
        places = real_BT.flatten().nonzero()[:, 0]
        if starts_BT is None or len(places) in (0, real_BT.numel() if mask.shape[-2] == 1 else 0):
            return None
        first = starts_BT.flatten()[places].nonzero()[:, 0]
        lengths = torch.diff(first, append=torch.tensor([len(places)])).tolist()
        if len(places) < SHORTEST_MEAN * len(lengths):
            return None
        return cls(lengths, places, shape)

    def lay_out(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (1, N, D): the real tokens alone."""
        return x_BTD.flatten(0, 1).index_select(0, self.places)[None]

    def put_back(self, x_1ND: Tensor) -> Tensor:
        """(1, N, D) -> (B, T, D); padding becomes zero."""
        B, T = self.shape
        empty = x_1ND.new_zeros(B * T, x_1ND.shape[-1])
        return empty.index_copy(0, self.places, x_1ND[0]).view(B, T, -1)

    def asked_by(self, wanted_BT: Tensor) -> tuple[Segments, Tensor]:
        """The same sequences where only some tokens ask, and all are asked; and which of the N tokens those are.

        Args:
            wanted_BT: bool, (B, T).
        """
        wanted_N = wanted_BT.flatten()[self.places]
        asking = wanted_N.nonzero()[:, 0]
        query_lengths = [int(part.sum()) for part in wanted_N.split(self.lengths)]
        return Segments(self.lengths, self.places[asking], self.shape, query_lengths), asking

    def split(self, x_1HNK: Tensor, *, queries: bool = False) -> list[Tensor]:
        """One view (1, H, length, K) for each sequence."""
        lengths = self.query_lengths if queries and self.query_lengths is not None else self.lengths
        return [part.transpose(1, 2) for part in x_1HNK.transpose(1, 2).split(lengths, dim=1)]

    def join(self, parts: list[Tensor]) -> Tensor:
        """The inverse of :meth:`split`."""
        return torch.cat([part.transpose(1, 2) for part in parts], dim=1).transpose(1, 2)


def _padding(mask_B11T: Tensor) -> tuple[Tensor, Tensor]:
    """Which tokens are real, and which of them begin a row."""
    real_BT = mask_B11T[:, 0, 0]
    return real_BT, real_BT & (real_BT.cumsum(dim=1) == 1)


def _blocks(mask_B1TT: Tensor) -> tuple[Tensor, Tensor | None]:
    """Which tokens are real, and which of them begin a block; None if the mask is not block-diagonal."""
    mask_BTT = mask_B1TT[:, 0]
    real_BT = mask_BTT.any(dim=-1)
    block_BT = mask_BTT.to(torch.uint8).argmax(dim=-1)  # named after the first token that a token sees
    same_BTT = (block_BT[:, :, None] == block_BT[:, None, :]) & real_BT[:, :, None] & real_BT[:, None, :]
    if not torch.equal(mask_BTT, same_BTT):
        return real_BT, None
    starts_BT = real_BT & (block_BT == torch.arange(mask_BTT.shape[1]))
    changes_BT = real_BT.clone()
    changes_BT[:, 1:] &= (block_BT[:, 1:] != block_BT[:, :-1]) | ~real_BT[:, :-1]
    return real_BT, starts_BT if torch.equal(starts_BT, changes_BT) else None  # in one piece each
