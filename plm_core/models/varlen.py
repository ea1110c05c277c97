"""Sequences without padding: the real tokens of a batch stand in one row, and each sequence attends to itself.

Padding is work thrown away: all layers but attention treat every token alike, and attention hides it again. Here the
layers see real tokens only, and the mask is no longer a matrix but a list of lengths.

On a CPU each sequence is attended to in turn. On a GPU one kernel takes all of them (:func:`varlen_available`); there
nobody looks into a mask, for that look would make the host wait: the lengths come with the batch.

Shapes are written into names: B batch, T tokens, N tokens of all sequences together, D model width, H heads, K head
width, S sequences.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SHORTEST_MEAN = 48
"""On a CPU shorter sequences stay in their padded rows: each one costs some calls of its own, which then weigh more
than what they save."""


@dataclass(frozen=True)
class PackedSequences:
    """The sequences of a batch, laid end to end in one row: a block-diagonal mask, by the bounds of its blocks.

    Attributes:
        places: where each token (that asks) stood in the batch, B·T places row by row, (N,).
        bounds: where each sequence begins in the row, and where the last one ends, int32, (S + 1,).
        shape: (B, T) of the batch; no sequence is longer than T.
        mask: what the sequences were read from, broadcastable to (B, H, T, S); None if only labels leave padding out.
        query_cu_seqlens: the same as ``bounds`` for the tokens that ask, where not all do (:meth:`asked_by`).
    """

    places: Tensor
    bounds: Tensor
    shape: tuple[int, int]
    mask: Tensor | None = None
    query_cu_seqlens: Tensor | None = None

    @classmethod
    def find(cls, mask: Tensor | None, shape: tuple[int, int]) -> PackedSequences | None:
        """Find the sequences that a mask describes.

        Args:
            mask: bool; (B, 1, 1, T): padding, each row is a sequence; (B, 1, T, T): if it is block-diagonal, as for
                packed documents, each block is one.
            shape: (B, T).

        Returns:
            The sequences; None where there is nothing to leave out, where a mask is of another kind, and on devices
            where a look at the mask would make the host wait.
        """
        if mask is None or mask.device.type != "cpu" or torch.compiler.is_compiling() or mask.shape[-1] != shape[1]:
            return None
        real_BT, starts_BT = _padding(mask) if mask.shape[-2] == 1 else _blocks(mask)
        places = real_BT.flatten().nonzero()[:, 0]
        if starts_BT is None or len(places) in (0, real_BT.numel() if mask.shape[-2] == 1 else 0):
            return None
        first = starts_BT.flatten()[places].nonzero()[:, 0]
        bounds = torch.cat([first, torch.tensor([len(places)])]).to(torch.int32)
        return cls(places, bounds, shape, mask)

    @functools.cached_property
    def lengths(self) -> list[int]:
        """Tokens of each sequence. On a GPU the host waits for them."""
        return self.bounds.diff().tolist()

    @functools.cached_property
    def query_lengths(self) -> list[int]:
        """Tokens of each sequence that ask. On a GPU the host waits for them."""
        return self.lengths if self.query_cu_seqlens is None else self.query_cu_seqlens.diff().tolist()

    def saves_time(self, x_BTD: Tensor, *, head_size: int, dropout: float) -> bool:
        """Whether leaving out the padding saves time where a batch is.

        Args:
            x_BTD: the batch, for its device and type.
            head_size: K.
            dropout: of attention weights.
        """
        if x_BTD.device.type == "cpu":
            return len(self.places) >= SHORTEST_MEAN * (len(self.bounds) - 1)
        return varlen_available(x_BTD, head_size=head_size, dropout=dropout)

    def unpad(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (1, N, D): the real tokens alone."""
        return x_BTD.flatten(0, 1).index_select(0, self.places)[None]

    def pad(self, x_1ND: Tensor) -> Tensor:
        """(1, N, D) -> (B, T, D); padding becomes zero."""
        B, T = self.shape
        empty = x_1ND.new_zeros(B * T, x_1ND.shape[-1])
        return empty.index_copy(0, self.places, x_1ND[0]).view(B, T, -1)

    def asked_by(self, wanted_BT: Tensor) -> tuple[PackedSequences, Tensor]:
        """The same sequences where only some tokens ask, and all are asked; and which of the N tokens those are.

        Args:
            wanted_BT: bool, (B, T).
        """
        wanted_N = wanted_BT.flatten()[self.places]
        asking = wanted_N.nonzero()[:, 0]
        before = torch.cat([wanted_N.new_zeros(1, dtype=torch.int32), wanted_N.cumsum(0, dtype=torch.int32)])
        query_cu_seqlens = before[self.bounds.long()]
        return PackedSequences(self.places[asking], self.bounds, self.shape, self.mask, query_cu_seqlens), asking

    def split(self, x_1HNK: Tensor, *, queries: bool = False) -> list[Tensor]:
        """One view (1, H, length, K) for each sequence."""
        lengths = self.query_lengths if queries else self.lengths
        return [part.transpose(1, 2) for part in x_1HNK.transpose(1, 2).split(lengths, dim=1)]

    def join(self, parts: list[Tensor]) -> Tensor:
        """The inverse of :meth:`split`."""
        return torch.cat([part.transpose(1, 2) for part in parts], dim=1).transpose(1, 2)


@functools.cache
def varlen_kernel() -> Callable[..., Any] | None:
    """torch's attention over sequences of several lengths; None where this torch has none that takes what we give."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn if {"scale", "window_size"} <= inspect.signature(varlen_attn).parameters.keys() else None


def varlen_available(x: Tensor, *, head_size: int, dropout: float) -> bool:
    """Whether :func:`attend_varlen` can run: on an NVIDIA GPU from Ampere on, in two bytes, without dropout of weights.

    Args:
        x: a tensor on the device, of the type that products have outside autocast.
        head_size: K; the kernel wants a multiple of 8, up to 256.
        dropout: of attention weights; the kernel drops none.
    """
    if x.device.type != "cuda" or dropout or head_size % 8 or head_size > 256:
        return False
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else x.dtype
    has_units = torch.version.hip is None and torch.cuda.get_device_capability(x.device)[0] >= 8
    return dtype in (torch.bfloat16, torch.float16) and has_units and varlen_kernel() is not None


def attend_varlen(
    q_1HNK: Tensor, k_1HNK: Tensor, v_1HNK: Tensor, segments: PackedSequences, *, is_causal: bool, scale: float | None
) -> Tensor:
    """Attention of each sequence to itself by one kernel for all of them.

    Args:
        q_1HNK, k_1HNK, v_1HNK: queries, keys and values of all sequences, end to end.
        segments: the sequences.
        is_causal: each token sees itself and earlier ones only.
        scale: factor on the scores; 1/sqrt(K) if None.

    Returns:
        (1, H, N, K).

    Source: Dao (2023), FlashAttention-2.
    """
    kernel = varlen_kernel()
    assert kernel is not None  # varlen_available() was asked
    query_cu_seqlens = segments.bounds if segments.query_cu_seqlens is None else segments.query_cu_seqlens
    longest = segments.shape[1]
    q_NHK, k_NHK, v_NHK = (x_1HNK[0].transpose(0, 1) for x_1HNK in (q_1HNK, k_1HNK, v_1HNK))
    window = (-1, 0 if is_causal else -1)
    options = {"scale": scale, "window_size": window}
    out_NHK = kernel(q_NHK, k_NHK, v_NHK, query_cu_seqlens, segments.bounds, longest, longest, **options)
    return out_NHK.transpose(0, 1)[None]


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
