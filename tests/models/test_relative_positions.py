"""Relative schemes against their papers' formulas, evaluated term by term, and against published implementations."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plm_core.models.multi_head import MultiHeadAttention
from plm_core.models.positions import sinusoids
from plm_core.models.relative_positions import (
    Alibi,
    Shaw,
    T5Bias,
    TransformerXL,
    alibi_slopes,
    relative_positions,
    relative_shift,
)

B, H, K = 2, 3, 4
SHAPES = [(5, 5, 0), (1, 6, 5), (3, 7, 4), (9, 9, 0)]  # queries, keys, offset


def draw(num_queries: int, num_keys: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(num_queries + num_keys)
    return torch.randn(B, H, num_queries, K, dtype=torch.float64), torch.randn(B, H, num_keys, K, dtype=torch.float64)


def test_relative_positions_are_key_minus_query():
    assert relative_positions(2, 4, 2).tolist() == [[-2, -1, 0, 1], [-3, -2, -1, 0]]


@pytest.mark.parametrize(("T", "S", "offset"), SHAPES)
@pytest.mark.parametrize("num_heads", [None, H])
def test_shaw_is_the_papers_formula(T, S, offset, num_heads):
    q, k = draw(T, S)
    scheme = Shaw(K, max_distance=2, num_heads=num_heads).double()
    bias = scheme.score_bias(q, k, q_offset=offset, scale=0.5)
    weights = torch.randn(B, H, T, S, dtype=torch.float64).softmax(dim=-1)
    values = scheme.add_values(weights, q_offset=offset)
    for b in range(B):
        for h in range(H):
            head = h if num_heads else 0
            for i in range(T):
                z = torch.zeros(K, dtype=torch.float64)
                for j in range(S):
                    distance = j - (i + offset)
                    row = max(-2, min(2, distance)) + 2
                    assert bias[b, h, i, j].item() == pytest.approx(
                        0.5 * (q[b, h, i] @ scheme.keys[head, row]).item(), abs=1e-12
                    )
                    z += weights[b, h, i, j] * scheme.values[head, row]
                torch.testing.assert_close(values[b, h, i], z)


def test_shaw_without_values_needs_no_weights():
    scheme = Shaw(K, values=False)
    assert not scheme.needs_weights
    assert scheme.add_values(torch.rand(1, 1, 2, 2), q_offset=0) is None
    assert Shaw(K).needs_weights


@pytest.mark.parametrize(("T", "S", "offset"), SHAPES)
def test_transformer_xl_is_the_papers_formula(T, S, offset):
    """A_ij = q_i k_j + q_i W_kR R_(i-j) + u k_j + v W_kR R_(i-j), over sqrt(K)."""
    q, k = draw(T, S)
    scheme = TransformerXL(H * K, H).double()
    nn.init.normal_(scheme.content_bias)
    nn.init.normal_(scheme.position_bias)
    scale = 1 / math.sqrt(K)
    total = scale * q @ k.mT + scheme.score_bias(q, k, q_offset=offset, scale=scale)
    for i in range(T):
        for j in range(S):
            r = sinusoids(torch.tensor([float(i + offset - j)], dtype=torch.float64), H * K)[0]
            projected = (scheme.position_key.weight @ r).view(H, K)
            for h in range(H):
                expected = (
                    q[:, h, i] @ k[:, h, j].mT
                    + (q[:, h, i] @ projected[h])[:, None]
                    + (k[:, h, j] @ scheme.content_bias[h])[None, :]
                    + scheme.position_bias[h] @ projected[h]
                )
                torch.testing.assert_close(total[:, h, i, j], expected.diagonal() * scale)


@settings(deadline=None, max_examples=50)
@given(T=st.integers(1, 9), S=st.integers(1, 9))
def test_relative_shift_reads_diagonals(T, S):
    x = torch.arange(T * (T + S - 1)).view(1, 1, T, T + S - 1)
    out = relative_shift(x, S)
    assert out.shape == (1, 1, T, S)
    assert all(out[0, 0, t, s] == x[0, 0, t, s - t + T - 1] for t in range(T) for s in range(S))


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "distance"), [(32, 128), (8, 20), (16, 1000), (4, 3)])
def test_t5_buckets_match_hugging_face(bidirectional, buckets, distance):
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5")
    relative = torch.arange(-1500, 1500)
    theirs = t5.T5Attention._relative_position_bucket(relative, bidirectional, buckets, distance)
    ours = T5Bias(1, num_buckets=buckets, max_distance=distance, bidirectional=bidirectional).bucket(relative)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("decoder", [True, False])
@pytest.mark.parametrize(("T", "S", "offset"), [(40, 40, 0), (1, 50, 49), (7, 30, 23)])
def test_t5_bias_matches_hugging_face(decoder, T, S, offset):
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5")
    from transformers import T5Config

    config = T5Config(d_model=24, d_kv=8, num_heads=3, is_decoder=decoder)
    theirs = t5.T5Attention(config, has_relative_attention_bias=True, layer_idx=0)
    ours = T5Bias(3, bidirectional=not decoder)
    with torch.no_grad():
        ours.table.weight.copy_(nn.init.normal_(theirs.relative_attention_bias.weight))
    q, k = torch.zeros(1, 3, T, 8), torch.zeros(1, 3, S, 8)
    torch.testing.assert_close(
        ours.score_bias(q, k, q_offset=offset, scale=1.0), theirs.compute_bias(T, S, past_seen_tokens=offset)
    )


def test_t5_layers_share_one_table():
    scheme = T5Bias(H)
    layers = nn.ModuleList(MultiHeadAttention(H * K, H, position=p) for p in scheme.per_layer(3))
    tables = {id(p) for name, p in layers.named_parameters() if "position" in name}
    assert tables == {id(scheme.table.weight)}


@pytest.mark.parametrize("num_heads", [1, 2, 3, 6, 8, 12, 16, 20, 25])
def test_alibi_slopes_match_bloom_and_mpt(num_heads):
    bloom = pytest.importorskip("transformers.models.bloom.modeling_bloom")
    from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

    length = 11
    slopes = alibi_slopes(num_heads)
    theirs = bloom.build_alibi_tensor(torch.ones(1, length), num_heads, torch.float32)  # (H, 1, S): slope * j
    torch.testing.assert_close(slopes[:, None] * torch.arange(length), theirs[:, 0])
    q = torch.zeros(1, num_heads, length, 2)
    last_row = Alibi(num_heads).score_bias(q, q, q_offset=0, scale=1.0)[0, :, -1]
    torch.testing.assert_close(last_row, build_mpt_alibi_tensor(num_heads, length)[:, 0])


def test_alibi_slopes_of_the_paper():
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]
    torch.testing.assert_close(alibi_slopes(16), 2.0 ** (-torch.arange(1, 17) / 2))
    torch.testing.assert_close(alibi_slopes(12), torch.cat((alibi_slopes(8), alibi_slopes(16)[0:8:2])))


def test_alibi_gives_blooms_weights_under_a_causal_mask():
    bloom = pytest.importorskip("transformers.models.bloom.modeling_bloom")
    q, k = torch.randn(2, 1, 6, 9, 8).unbind()
    future = torch.ones(9, 9, dtype=torch.bool).triu(1)
    scores = q @ k.mT
    theirs = scores + bloom.build_alibi_tensor(torch.ones(1, 9), 6, torch.float32)
    ours = scores + Alibi(6).score_bias(q, k, q_offset=0, scale=1.0)
    softmaxes = [s.masked_fill(future, -math.inf).softmax(-1) for s in (ours, theirs)]
    torch.testing.assert_close(*softmaxes)


def test_alibi_is_symmetric_and_never_positive():
    q = torch.zeros(1, 6, 9, 8)
    bias = Alibi(6).score_bias(q, q, q_offset=0, scale=1.0)
    torch.testing.assert_close(bias, bias.mT)
    assert (bias <= 0).all()
    assert (bias.diagonal(dim1=-2, dim2=-1) == 0).all()


@pytest.mark.parametrize(
    "scheme", [Alibi(2), T5Bias(2), TransformerXL(8, 2), Shaw(4, num_heads=2)], ids=lambda s: type(s).__name__
)
def test_a_wrong_number_of_heads_is_named(scheme):
    q = torch.zeros(1, 4, 3, 4)
    with pytest.raises(ValueError, match=f"{type(scheme).__name__} was built for 2 heads, the queries have 4"):
        scheme.score_bias(q, q, q_offset=0, scale=1.0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Alibi(0), "at least one head"),
        (lambda: Shaw(4, max_distance=0), "at least 1 token"),
        (lambda: T5Bias(2, num_buckets=6), "multiple of 4"),
        (lambda: T5Bias(2, num_buckets=32, max_distance=8), "exceed the 8"),
        (lambda: TransformerXL(10, 4), "multiple of the 4 heads"),
        (lambda: TransformerXL(9, 3), "even"),
    ],
)
def test_impossible_settings_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
