"""Position schemes: how the order of the tokens enters attention, which by itself ignores it.

Every scheme is a :class:`PositionScheme`; attention and models use all schemes through the same four methods. This
module holds the interface and the schemes that act on embeddings, queries and keys (sinusoidal, learned, RoPE);
:mod:`plm_core.models.relative_positions` holds those that act on attention scores (Shaw, T5, Transformer-XL, ALiBi).

Shapes: B batch, T query tokens, S key tokens, D model width, H heads, K head width. Row t of a score matrix is the
query at position ``q_offset + t``; column s is the key at position s. With a cache, ``q_offset`` is its length.

No scheme keeps its angles or slopes in a buffer: ``model.bfloat16()`` would round them, and positions computed from
rounded angles drift with the distance. They are computed in fp32 (fp64 for fp64 inputs) and cast at the end.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn


class PositionScheme(nn.Module):
    """The interface of all schemes; used as it stands it is the scheme "none", which gives no information on order.

    A decoder with "none" still depends on the order: a causal mask lets token t attend to exactly t + 1 tokens, and
    later layers can count them (Haviv et al., 2022; Kazemnejad et al., 2023, "NoPE"). An encoder does not.

    Attributes:
        needs_weights: whether :meth:`add_values` must be called with the attention weights, which rules out fused
            attention kernels.
    """

    needs_weights: bool = False

    def embed(self, x_BTD: Tensor, *, offset: int = 0) -> Tensor:
        """Add positions to token embeddings; called once by the model. ``offset`` is the first token's position."""
        return x_BTD

    def rotate(self, q_BHTK: Tensor, k_BHTK: Tensor, *, q_offset: int) -> tuple[Tensor, Tensor]:
        """Transform queries and the *new* keys of the same positions, before the keys enter a cache."""
        return q_BHTK, k_BHTK

    def score_bias(self, q_BHTK: Tensor, k_BHSK: Tensor, *, q_offset: int, scale: float) -> Tensor | None:
        """Return a float bias broadcastable to (B, H, T, S), added to scores that are already scaled by ``scale``."""
        return None

    def add_values(self, weights_BHTS: Tensor, *, q_offset: int) -> Tensor | None:
        """Return a term of shape (B, H, T, K), added to the attention output."""
        return None

    def per_layer(self, num_layers: int) -> list[PositionScheme]:
        """Return one scheme for each layer, this one first; parameters are shared as the scheme's paper shares them.

        The default is one instance for all layers.
        """
        return [self] * num_layers


def sinusoids(positions_T: Tensor, width: int, *, base: float = 10_000.0) -> Tensor:
    """Sines and cosines of positions, in pairs of equal frequency.

    ``PE(t)[2i] = sin(t / base^(2i/width))`` and ``PE(t)[2i+1] = cos(t / base^(2i/width))``
    (Vaswani et al., 2017, section 3.5).

    Args:
        positions_T: positions or signed distances, in tokens; floating point decides the precision.
        width: the number of columns, even.
        base: the longest wavelength is a little less than 2π·base tokens.

    Returns:
        A tensor of shape (T, width).

    Raises:
        ValueError: the width is odd, so that a sine would have no cosine.
    """
    if width % 2:
        raise ValueError(f"sinusoidal positions pair a sine with a cosine and need an even width, got {width}")
    angles = _angles(positions_T, width, base)  # (T, width / 2)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


def _angles(positions_T: Tensor, width: int, base: float) -> Tensor:
    """The angle of each position (row) for each pair of columns: ``t * base^(-2i/width)``, shape (T, width / 2)."""
    exponents = torch.arange(0, width, 2, device=positions_T.device, dtype=positions_T.dtype) / width
    return positions_T[:, None] * base**-exponents


def _positions(length: int, offset: int, like: Tensor) -> Tensor:
    """Positions ``offset .. offset + length - 1`` on the device of ``like``, in fp32, or in fp64 for an fp64 tensor."""
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    return torch.arange(offset, offset + length, device=like.device, dtype=dtype)


class Sinusoidal(PositionScheme):
    """Fixed sines and cosines, added to the token embeddings (Vaswani et al., 2017, section 3.5).

    For each shift k there is one matrix M_k, a rotation of each pair, with ``PE(t + k) = M_k PE(t)`` for every t.

    Where implementations differ: the paper's formula interleaves sines and cosines; tensor2tensor and fairseq put all
    sines before all cosines and divide the exponents by ``width / 2 - 1`` instead of ``width / 2``. The first is a
    permutation of columns and harmless to a model trained from scratch, but neither can be exchanged in a trained one.
    The paper multiplies token embeddings by sqrt(D) before it adds positions; that is done in
    :class:`~plm_core.models.inputs.Embeddings`, not here.

    Args:
        hidden_size: the model width D, even.
        base: see :func:`sinusoids`.

    Raises:
        ValueError: the width is odd.
    """

    def __init__(self, hidden_size: int, *, base: float = 10_000.0) -> None:
        super().__init__()
        if hidden_size % 2:
            raise ValueError(
                f"sinusoidal positions pair a sine with a cosine and need an even width, got {hidden_size}"
            )
        self.hidden_size = hidden_size
        self.base = base

    def embed(self, x_BTD: Tensor, *, offset: int = 0) -> Tensor:
        table_TD = sinusoids(_positions(x_BTD.shape[-2], offset, x_BTD), self.hidden_size, base=self.base)
        return x_BTD + table_TD.to(x_BTD.dtype)


class Learned(PositionScheme):
    """One learned vector for each position, added to the token embeddings (Gehring et al., 2017; BERT; GPT-2).

    There is no vector for positions from ``max_length`` on, so longer sequences are refused.

    Where implementations differ: fairseq and Hugging Face's RoBERTa and OPT start at row 2 (``padding_idx + 1``), so
    that their tables have two rows more than the model has positions.

    Args:
        max_length: the number of positions in the table.
        hidden_size: the model width D.
    """

    def __init__(self, max_length: int, hidden_size: int) -> None:
        super().__init__()
        self.max_length = max_length
        self.table = nn.Embedding(max_length, hidden_size)
        nn.init.normal_(self.table.weight, std=0.02)

    def embed(self, x_BTD: Tensor, *, offset: int = 0) -> Tensor:
        """Add the vectors of positions ``offset`` and following.

        Raises:
            ValueError: the tokens reach beyond the table.
        """
        length = x_BTD.shape[-2]
        if offset + length > self.max_length:
            raise ValueError(
                f"the table of learned positions has {self.max_length} rows, but tokens at positions {offset} to "
                f"{offset + length - 1} were given: shorten the text, or use a scheme that has no table"
            )
        return x_BTD + self.table.weight[offset : offset + length].to(x_BTD.dtype)


class Rope(PositionScheme):
    """Rotary position embedding: turn each pair of columns of queries and keys by an angle that grows with position.

    With ``R_t`` the block-diagonal rotation by angles ``t * base^(-2i/K)``, the score of query m and key n is
    ``(R_m q)^T (R_n k) = q^T R_(n-m) k``: it depends on the distance only. Values are not rotated
    (Su et al., 2021, equations 14 to 16 and 34).

    Where implementations differ: the RoFormer paper, GPT-J and Meta's Llama code pair neighbouring columns (2i, 2i+1):
    ``pairing="interleaved"``. GPT-NeoX and Hugging Face's Llama pair column i with column i + K/2:
    ``pairing="half"``. The two differ by a permutation of the columns of the query and key projections, so either
    learns equally well, but weights trained with one do not work with the other. GPT-J and GPT-NeoX rotate only
    the first columns of each head; this class rotates them all.

    Args:
        head_size: the head width K, even.
        base: theta; 10,000 in the paper, 500,000 in Llama 3, where contexts are long.
        pairing: ``"interleaved"`` or ``"half"``.

    Raises:
        ValueError: the head width is odd, or the pairing is unknown.
    """

    def __init__(
        self, head_size: int, *, base: float = 10_000.0, pairing: Literal["interleaved", "half"] = "interleaved"
    ) -> None:
        super().__init__()
        if head_size % 2:
            raise ValueError(f"RoPE turns pairs of columns and needs an even head width, got {head_size}")
        if pairing not in ("interleaved", "half"):
            raise ValueError(f"unknown RoPE pairing {pairing!r}: use 'interleaved' (RoFormer) or 'half' (GPT-NeoX)")
        self.head_size = head_size
        self.base = base
        self.pairing = pairing

    def rotate(self, q_BHTK: Tensor, k_BHTK: Tensor, *, q_offset: int) -> tuple[Tensor, Tensor]:
        angles = _angles(_positions(q_BHTK.shape[-2], q_offset, q_BHTK), self.head_size, self.base)  # (T, K / 2)
        cos, sin = angles.cos(), angles.sin()
        return self._turn(q_BHTK, cos, sin), self._turn(k_BHTK, cos, sin)

    def _turn(self, x_BHTK: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        if self.pairing == "interleaved":
            first, second = x_BHTK[..., 0::2], x_BHTK[..., 1::2]  # (B, H, T, K / 2)
        else:
            first, second = x_BHTK.chunk(2, dim=-1)
        turned = first * cos - second * sin, second * cos + first * sin
        out = torch.stack(turned, dim=-1).flatten(-2) if self.pairing == "interleaved" else torch.cat(turned, dim=-1)
        return out.to(x_BHTK.dtype)
