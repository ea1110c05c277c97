"""Sequences of several lengths without padding: the real tokens of a batch laid end to end in one row.

Padding wastes computation: every layer computes on it, and attention hides it again. Here the layers see real tokens
only, and the attention mask is replaced by the lengths of the sequences, each of which attends to itself.

On a CPU the sequences are attended to one after the other; on a GPU one kernel takes all of them
(:func:`varlen_available`). The lengths come with the batch, from the data source. Reading them off a mask
(:func:`find_sequences`) is for calls that have nothing but a mask, and is done on the CPU only, because on a GPU the
host would have to wait for the device.

Shapes are written into names: B batch, T tokens, N tokens of all sequences together, Q tokens that are queries, D model
width, H heads, K head width, S sequences.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from plm_core.models.attention import Implementation, attend

SHORTEST_MEAN = 48
"""Mean length in tokens below which sequences stay padded on a CPU: each sequence costs some calls of its own, which
take longer than what shorter sequences save."""


@dataclass(frozen=True)
class PackedSequences:
    """The sequences of a batch, laid end to end in one row of N tokens.

    Attributes:
        token_indices: where each of the N tokens stands in the batch, as indices into its B·T positions in reading
            order, (N,). If only some tokens are queries, the indices of those, (Q,).
        cu_seqlens: cumulative sequence lengths: where each sequence begins in the row, and where the last one ends,
            int32, (S + 1,).
        shape: (B, T) of the batch; no sequence is longer than T.
        query_cu_seqlens: the same as ``cu_seqlens`` for the queries, if only some tokens are queries
            (:meth:`restrict_queries`).
    """

    token_indices: Tensor
    cu_seqlens: Tensor
    shape: tuple[int, int]
    query_cu_seqlens: Tensor | None = None

    @functools.cached_property
    def lengths(self) -> list[int]:
        """Tokens of each sequence. On a GPU the host waits for them."""
        return self.cu_seqlens.diff().tolist()

    @functools.cached_property
    def query_lengths(self) -> list[int]:
        """Queries of each sequence. On a GPU the host waits for them."""
        return self.lengths if self.query_cu_seqlens is None else self.query_cu_seqlens.diff().tolist()

    def saves_time(self, x_BTD: Tensor, *, head_size: int, dropout: float) -> bool:
        """Whether computing on the sequences is faster than computing on the padded batch.

        Args:
            x_BTD: the batch; its device and type matter.
            head_size: width K of a head.
            dropout: probability of dropping an attention weight.
        """
        if x_BTD.device.type != "cpu":
            return varlen_available(x_BTD, head_size=head_size, dropout=dropout)
        tokens, sequences, (rows, row_length) = len(self.token_indices), len(self.cu_seqlens) - 1, self.shape
        if tokens == rows * row_length and sequences == rows:
            return False  # every row is one whole sequence: there is no padding
        return tokens >= SHORTEST_MEAN * sequences

    def unpad(self, x_BTD: Tensor) -> Tensor:
        """Take the real tokens out of a batch: (B, T, D) -> (1, N, D)."""
        return x_BTD.flatten(0, 1).index_select(0, self.token_indices)[None]

    def pad(self, x_1ND: Tensor) -> Tensor:
        """Put the tokens back to their places in the batch: (1, N, D) -> (B, T, D); padding becomes zero."""
        B, T = self.shape
        empty = x_1ND.new_zeros(B * T, x_1ND.shape[-1])
        return empty.index_copy(0, self.token_indices, x_1ND[0]).view(B, T, -1)

    def restrict_queries(self, query_positions_BT: Tensor) -> tuple[PackedSequences, Tensor]:
        """Let only some tokens be queries; all tokens stay keys.

        Args:
            query_positions_BT: bool, (B, T), True for a query.

        Returns:
            The same sequences with these queries, and the queries' positions in the row of N tokens, integers, (Q,).
        """
        is_query_N = query_positions_BT.flatten()[self.token_indices]
        query_positions_Q = is_query_N.nonzero()[:, 0]
        before = torch.cat([is_query_N.new_zeros(1, dtype=torch.int32), is_query_N.cumsum(0, dtype=torch.int32)])
        query_cu_seqlens = before[self.cu_seqlens.long()]
        queries = PackedSequences(self.token_indices[query_positions_Q], self.cu_seqlens, self.shape, query_cu_seqlens)
        return queries, query_positions_Q

    def split(self, x_1HNK: Tensor, *, queries: bool = False) -> list[Tensor]:
        """Split a row into its sequences: views (1, H, length, K)."""
        lengths = self.query_lengths if queries else self.lengths
        return [part.transpose(1, 2) for part in x_1HNK.transpose(1, 2).split(lengths, dim=1)]

    def join(self, parts: list[Tensor]) -> Tensor:
        """Lay sequences (1, H, length, K) end to end, the inverse of :meth:`split`."""
        return torch.cat([part.transpose(1, 2) for part in parts], dim=1).transpose(1, 2)


def find_sequences(mask: Tensor | None, shape: tuple[int, int]) -> PackedSequences | None:
    """Find the sequences that an attention mask describes, for a call that gives nothing but the mask.

    Args:
        mask: bool; (B, 1, 1, T), a padding mask: each row is one sequence; (B, 1, T, T), a block-diagonal mask as for
            packed documents: each block is one sequence.
        shape: (B, T).

    Returns:
        The sequences; None if no token is real, if the mask is of another kind, and on a GPU, where the host would have
        to wait for the mask.
    """
    if mask is None or mask.device.type != "cpu" or torch.compiler.is_compiling() or mask.shape[-1] != shape[1]:
        return None
    real_BT, starts_BT = _starts_of_rows(mask) if mask.shape[-2] == 1 else _starts_of_blocks(mask)
    token_indices = real_BT.flatten().nonzero()[:, 0]
    if starts_BT is None or not len(token_indices):
        return None
    starts = starts_BT.flatten()[token_indices].nonzero()[:, 0]
    cu_seqlens = torch.cat([starts, torch.tensor([len(token_indices)])]).to(torch.int32)
    return PackedSequences(token_indices, cu_seqlens, shape)


@functools.cache
def varlen_kernel() -> Callable[..., Any] | None:
    """torch's attention over sequences of several lengths; None if this torch has none with the arguments needed."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn if {"scale", "window_size"} <= inspect.signature(varlen_attn).parameters.keys() else None


def varlen_available(x: Tensor, *, head_size: int, dropout: float) -> bool:
    """Whether :func:`attend_varlen` can run: on NVIDIA GPUs from Ampere on, in bf16 or fp16, without dropout.

    Args:
        x: a tensor on the device, of the type that products have outside autocast.
        head_size: width K of a head; the kernel needs a multiple of 8, at most 256.
        dropout: probability of dropping an attention weight; the kernel drops none.
    """
    if x.device.type != "cuda" or dropout or head_size % 8 or head_size > 256:
        return False
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else x.dtype
    has_units = torch.version.hip is None and torch.cuda.get_device_capability(x.device)[0] >= 8
    return dtype in (torch.bfloat16, torch.float16) and has_units and varlen_kernel() is not None


def attend_varlen(
    q_1HNK: Tensor, k_1HNK: Tensor, v_1HNK: Tensor, sequences: PackedSequences, *, is_causal: bool, scale: float | None
) -> Tensor:
    """Attention of each sequence to itself by one kernel for all of them.

    Args:
        q_1HNK, k_1HNK, v_1HNK: queries, keys and values of all sequences, end to end.
        sequences: where each sequence begins and ends.
        is_causal: each token attends to itself and earlier ones only.
        scale: factor on the scores; 1/sqrt(K) if None.

    Returns:
        (1, H, N, K).

    Source: Dao (2023), FlashAttention-2.
    """
    kernel = varlen_kernel()
    assert kernel is not None  # callers test varlen_available()
    cu_seqlens, longest = sequences.cu_seqlens, sequences.shape[1]
    query_cu_seqlens = cu_seqlens if sequences.query_cu_seqlens is None else sequences.query_cu_seqlens
    q_NHK, k_NHK, v_NHK = (x_1HNK[0].transpose(0, 1) for x_1HNK in (q_1HNK, k_1HNK, v_1HNK))
    options = {"scale": scale, "window_size": (-1, 0 if is_causal else -1)}
    out_NHK = kernel(q_NHK, k_NHK, v_NHK, query_cu_seqlens, cu_seqlens, longest, longest, **options)
    return out_NHK.transpose(0, 1)[None]


def attend_packed(
    q_1HQK: Tensor,
    k_1HNK: Tensor,
    v_1HNK: Tensor,
    sequences: PackedSequences,
    *,
    is_causal: bool = False,
    dropout: float = 0.0,
    scale: float | None = None,
    implementation: Implementation = "auto",
) -> Tensor:
    """Scaled dot-product attention of sequences laid end to end in one row; each attends to itself only.

    Args:
        q_1HQK: queries of all sequences, (1, H, Q, K); Q = N unless only some tokens are queries.
        k_1HNK, v_1HNK: keys and values of all sequences, (1, H, N, K).
        sequences: where each sequence begins and ends.
        is_causal, dropout, scale, implementation: as for :func:`attend`.

    Returns:
        The output, (1, H, Q, K).
    """
    if varlen_available(q_1HQK, head_size=q_1HQK.shape[-1], dropout=dropout):
        return attend_varlen(q_1HQK, k_1HNK, v_1HNK, sequences, is_causal=is_causal, scale=scale)
    triples = zip(sequences.split(q_1HQK, queries=True), sequences.split(k_1HNK), sequences.split(v_1HNK), strict=True)
    return sequences.join(
        [
            attend(q, k, v, is_causal=is_causal, dropout=dropout, scale=scale, implementation=implementation)[0]
            for q, k, v in triples
        ]
    )


def _starts_of_rows(mask_B11T: Tensor) -> tuple[Tensor, Tensor]:
    """Which tokens are real, and which of them are the first of their row, bool (B, T) each."""
    real_BT = mask_B11T[:, 0, 0]
    return real_BT, real_BT & (real_BT.cumsum(dim=1) == 1)


def _starts_of_blocks(mask_B1TT: Tensor) -> tuple[Tensor, Tensor | None]:
    """Which tokens are real, and which begin a block, bool (B, T) each; None if the mask is not block-diagonal."""
    mask_BTT = mask_B1TT[:, 0]
    real_BT = mask_BTT.any(dim=-1)
    block_BT = mask_BTT.to(torch.uint8).argmax(dim=-1)  # a block is numbered by the first token that it contains
    same_BTT = (block_BT[:, :, None] == block_BT[:, None, :]) & real_BT[:, :, None] & real_BT[:, None, :]
    if not torch.equal(mask_BTT, same_BTT):
        return real_BT, None
    starts_BT = real_BT & (block_BT == torch.arange(mask_BTT.shape[1]))
    changes_BT = real_BT.clone()
    changes_BT[:, 1:] &= (block_BT[:, 1:] != block_BT[:, :-1]) | ~real_BT[:, :-1]
    return real_BT, starts_BT if torch.equal(starts_BT, changes_BT) else None  # each block in one piece
