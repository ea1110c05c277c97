"""Position schemes that act on attention scores: Shaw, T5, Transformer-XL and ALiBi.

They depend on the distance between query and key, never on an absolute position. Papers disagree on its sign; here
``relative = key position - query position``, negative for keys in the past, and each class states the convention of its
paper.

Shapes: B batch, T query tokens, S key tokens, D model width, H heads, K head width; see
:mod:`plm_core.models.positions`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plm_core.models.positions import PositionScheme, sinusoids


def relative_positions(num_queries: int, num_keys: int, q_offset: int, device: torch.device | None = None) -> Tensor:
    """Return the integer matrix (T, S) of key position minus query position."""
    queries = torch.arange(q_offset, q_offset + num_queries, device=device)
    return torch.arange(num_keys, device=device)[None, :] - queries[:, None]


def _check_heads(scheme: nn.Module, num_heads: int, q_BHTK: Tensor) -> None:
    if q_BHTK.shape[1] != num_heads:
        raise ValueError(f"{type(scheme).__name__} was built for {num_heads} heads, the queries have {q_BHTK.shape[1]}")


class Shaw(PositionScheme):
    """Learned vectors for clipped distances, added to keys and to values (Shaw et al., 2018, equations 3 to 5).

    ``e_ij = q_i (k_j + a^K_ij)^T / sqrt(K)`` and ``z_i = sum_j alpha_ij (v_j + a^V_ij)``, where
    ``a_ij = w[clip(j - i, -c, c)]``: the paper counts key minus query, as this module does.

    No tensor of shape (T, S, K) is formed. Queries meet the 2c + 1 vectors once and the result is spread out by
    distance; weights are summed by distance before they meet the value vectors.

    Where implementations differ: the paper shares the vectors between heads where it discusses efficiency (section
    3.3) and reports experiments with vectors for each layer and head; tensor2tensor shares between heads. Layers do not
    share. Later work often drops the value term, which the paper's Table 3 found to add little in translation.

    Args:
        head_size: the head width K.
        max_distance: the clipping distance c, in tokens (16 in the paper's base model).
        num_heads: heads with vectors of their own; None shares the vectors between heads.
        values: whether to have the value term; without it fused attention kernels remain possible.
    """

    def __init__(
        self, head_size: int, *, max_distance: int = 16, num_heads: int | None = None, values: bool = True
    ) -> None:
        super().__init__()
        if max_distance < 1:
            raise ValueError(f"the clipping distance must be at least 1 token, got {max_distance}")
        self.head_size = head_size
        self.max_distance = max_distance
        self.num_heads = num_heads
        self.needs_weights = values
        shape = (num_heads or 1, 2 * max_distance + 1, head_size)  # row c is distance 0
        self.keys = nn.Parameter(nn.init.xavier_uniform_(torch.empty(shape)))
        self.values = nn.Parameter(nn.init.xavier_uniform_(torch.empty(shape))) if values else None

    def per_layer(self, num_layers: int) -> list[PositionScheme]:
        """Return layers with vectors of their own."""
        others = (
            Shaw(
                self.head_size, max_distance=self.max_distance, num_heads=self.num_heads, values=self.values is not None
            )
            for _ in range(num_layers - 1)
        )
        return [self, *others]

    def _rows(self, num_queries: int, num_keys: int, q_offset: int, device: torch.device) -> Tensor:
        distance_TS = relative_positions(num_queries, num_keys, q_offset, device)
        return distance_TS.clamp(-self.max_distance, self.max_distance) + self.max_distance

    def score_bias(self, q_BHTK: Tensor, k_BHSK: Tensor, *, q_offset: int, scale: float) -> Tensor:
        if self.num_heads is not None:
            _check_heads(self, self.num_heads, q_BHTK)
        rows_TS = self._rows(q_BHTK.shape[-2], k_BHSK.shape[-2], q_offset, q_BHTK.device)
        by_distance = (q_BHTK * scale) @ self.keys.to(q_BHTK.dtype).mT  # (B, H, T, 2c + 1)
        return by_distance.gather(-1, rows_TS.expand(*q_BHTK.shape[:2], *rows_TS.shape))

    def add_values(self, weights_BHTS: Tensor, *, q_offset: int) -> Tensor | None:
        if self.values is None:
            return None
        rows_TS = self._rows(weights_BHTS.shape[-2], weights_BHTS.shape[-1], q_offset, weights_BHTS.device)
        by_distance = weights_BHTS.new_zeros(*weights_BHTS.shape[:3], 2 * self.max_distance + 1)
        by_distance = by_distance.scatter_add(-1, rows_TS.expand_as(weights_BHTS), weights_BHTS)  # (B, H, T, 2c + 1)
        return by_distance @ self.values.to(weights_BHTS.dtype)


class T5Bias(PositionScheme):
    """One learned number for each head and bucket of distances (Raffel et al., 2020, section 2.1).

    Half of the buckets hold one distance each; the others grow logarithmically up to ``max_distance``, and the last
    holds all that is farther. ``bidirectional`` spends half of the buckets on keys in the future; a causal model has
    none there and uses all for the past, so that weights of one cannot be read as weights of the other.

    The paper shares one table between all layers; :meth:`per_layer` returns this same instance for each.

    Where implementations differ: T5 does not divide scores by sqrt(K) (its initialisation makes up for it), whereas
    attention here does and adds the bias afterwards. Hugging Face's T5 computes the bias once, in the first
    layer, and hands it to the others; here each layer computes it from the shared table. T5 bins with a truncated fp32
    logarithm, as :meth:`bucket` does: a table of integers or fp64 can disagree at the edges of buckets.

    Args:
        num_heads: H.
        num_buckets: 32 in the paper; even, and at least 4 if bidirectional.
        max_distance: in tokens, 128 in the paper.
        bidirectional: True for encoders, False for decoders.
    """

    def __init__(
        self, num_heads: int, *, num_buckets: int = 32, max_distance: int = 128, bidirectional: bool = True
    ) -> None:
        super().__init__()
        least = 4 if bidirectional else 2
        if num_buckets < least or num_buckets % least:
            raise ValueError(f"the number of buckets must be a multiple of {least}, got {num_buckets}")
        exact = num_buckets // (4 if bidirectional else 2)
        if max_distance <= exact:
            raise ValueError(f"max_distance must exceed the {exact} distances with a bucket each, got {max_distance}")
        self.num_heads = num_heads
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        self.bidirectional = bidirectional
        self.table = nn.Embedding(num_buckets, num_heads)
        nn.init.normal_(self.table.weight, std=0.02)

    def bucket(self, relative: Tensor) -> Tensor:
        """Return the bucket (0 to ``num_buckets - 1``) of each distance, key position minus query position."""
        buckets, first = self.num_buckets, torch.zeros_like(relative)
        if self.bidirectional:
            buckets //= 2
            first = (relative > 0).long() * buckets
            distance = relative.abs()
        else:
            distance = (-relative).clamp(min=0)  # keys in the future fall into bucket 0; the causal mask removes them
        exact = buckets // 2
        ratio = torch.log(distance.clamp(min=1).float() / exact) / math.log(self.max_distance / exact)
        far = (exact + (ratio * (buckets - exact)).long()).clamp(max=buckets - 1)
        return first + torch.where(distance < exact, distance, far)

    def score_bias(self, q_BHTK: Tensor, k_BHSK: Tensor, *, q_offset: int, scale: float) -> Tensor:
        _check_heads(self, self.num_heads, q_BHTK)
        relative_TS = relative_positions(q_BHTK.shape[-2], k_BHSK.shape[-2], q_offset, q_BHTK.device)
        bias_TSH = self.table(self.bucket(relative_TS))
        return bias_TSH.permute(2, 0, 1)[None].to(q_BHTK.dtype)  # (1, H, T, S)


class TransformerXL(PositionScheme):
    """Sinusoids of the distance, projected to keys, and two learned biases (Dai et al., 2019, section 3.3).

    ``A_ij = q_i·k_j + q_i·(W_kR R_(i-j)) + u·k_j + v·(W_kR R_(i-j))``, all divided by sqrt(K). The first term is
    attention's own; the other three are the bias. R is the sinusoid of query minus key: the paper counts the other way
    round from this module. R_(i-j) is defined for keys in the future as well, as XLNet uses it.

    Projecting T + S - 1 distances and shifting rows costs T (T + S) products a head instead of T S K (the paper's
    appendix B).

    Where implementations differ: the paper's u and v are shared by all layers while W_kR is not; Hugging Face's
    former implementation (``untie_r=True``) gave each layer its own u and v. :meth:`per_layer` follows the paper.

    Args:
        hidden_size: the model width D, even.
        num_heads: H, a divisor of D.
        base: see :func:`plm_core.models.positions.sinusoids`.
    """

    def __init__(self, hidden_size: int, num_heads: int, *, base: float = 10_000.0) -> None:
        super().__init__()
        if hidden_size % num_heads or hidden_size % 2:
            raise ValueError(f"the width {hidden_size} must be even and a multiple of the {num_heads} heads")
        self.hidden_size = hidden_size
        self.num_heads = num_heads
        self.base = base
        self.position_key = nn.Linear(hidden_size, hidden_size, bias=False)  # W_kR
        self.content_bias = nn.Parameter(torch.randn(num_heads, hidden_size // num_heads) * 0.02)  # u
        self.position_bias = nn.Parameter(torch.randn(num_heads, hidden_size // num_heads) * 0.02)  # v

    def per_layer(self, num_layers: int) -> list[PositionScheme]:
        """Return layers with projections of their own and the same u and v."""
        layers = [self] + [
            TransformerXL(self.hidden_size, self.num_heads, base=self.base) for _ in range(num_layers - 1)
        ]
        for layer in layers[1:]:
            layer.content_bias, layer.position_bias = self.content_bias, self.position_bias
        return list(layers)

    def score_bias(self, q_BHTK: Tensor, k_BHSK: Tensor, *, q_offset: int, scale: float) -> Tensor:
        _check_heads(self, self.num_heads, q_BHTK)
        queries, keys, dtype = q_BHTK.shape[-2], k_BHSK.shape[-2], q_BHTK.dtype
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        # Distances query - key from the farthest past to the farthest future, one for each diagonal of the scores.
        distances = torch.arange(q_offset + queries - 1, q_offset - keys, -1, device=q_BHTK.device, dtype=exact)
        r_LD = sinusoids(distances, self.hidden_size, base=self.base).to(self.position_key.weight.dtype)
        r_HLK = self.position_key(r_LD).view(-1, self.num_heads, self.hidden_size // self.num_heads).transpose(0, 1)
        position_BHTL = (q_BHTK + self.position_bias[:, None].to(dtype)) @ r_HLK.to(dtype).mT
        content_BHS = torch.einsum("hk,bhsk->bhs", self.content_bias.to(dtype), k_BHSK)
        return scale * (relative_shift(position_BHTL, keys) + content_BHS[:, :, None])


def relative_shift(x_BHTL: Tensor, num_keys: int) -> Tensor:
    """Turn scores by diagonal, L = T + S - 1 of them, into scores by key: ``out[t, s] = x[t, s - t + T - 1]``.

    Padding each row by one and reading the memory with rows that are one shorter moves row t by t columns; nothing is
    indexed (Dai et al., 2019, appendix B).
    """
    queries, diagonals = x_BHTL.shape[-2:]
    flat = F.pad(x_BHTL, (0, 1)).flatten(-2)
    flat = flat[..., queries - 1 : queries - 1 + queries * diagonals]
    return flat.view(*x_BHTL.shape[:-2], queries, diagonals)[..., :num_keys]


def alibi_slopes(num_heads: int, device: torch.device | None = None) -> Tensor:
    """Return the slope of each head, fp32: ``2^(-8/H), 2^(-16/H), ..., 2^-8`` if H is a power of two.

    Otherwise, as in the paper's code: the slopes of the largest power of two n below H, then every second slope
    of 2n heads until there are H (Press et al., 2022, section 3 and its published code).
    """
    if num_heads < 1:
        raise ValueError(f"ALiBi needs at least one head, got {num_heads}")
    power = 1 << (num_heads.bit_length() - 1)
    exponents = torch.arange(1, power + 1, device=device) * (8 / power)
    extra = (2 * torch.arange(num_heads - power, device=device) + 1) * (4 / power)
    return 2.0 ** -torch.cat((exponents, extra))


class Alibi(PositionScheme):
    """A fixed penalty proportional to the distance, with one slope for each head (Press et al., 2022).

    ``bias_ij = -slope_h |i - j|``. Under a causal mask this is the paper's scheme; without one it is the symmetric
    variant for encoders. Nothing is learned.

    Where implementations differ: BLOOM and MPT add ``slope * j`` or ``slope * (j - S + 1)`` instead, which under a
    causal mask gives the same weights, since softmax ignores what is constant in a row; without the mask it would
    prefer the *farthest* future. For head counts that are no power of two see :func:`alibi_slopes`; the formula
    ``2^(-8h/H)`` applied to any H gives other slopes than the published models have.

    Args:
        num_heads: H.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        alibi_slopes(num_heads)  # refuses a count below one now rather than at the first use
        self.num_heads = num_heads

    def score_bias(self, q_BHTK: Tensor, k_BHSK: Tensor, *, q_offset: int, scale: float) -> Tensor:
        _check_heads(self, self.num_heads, q_BHTK)
        distance_TS = relative_positions(q_BHTK.shape[-2], k_BHSK.shape[-2], q_offset, q_BHTK.device).abs()
        slopes_H = alibi_slopes(self.num_heads, q_BHTK.device)
        return (-slopes_H[:, None, None] * distance_TS)[None].to(q_BHTK.dtype)  # (1, H, T, S)
