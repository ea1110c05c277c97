"""The promises every position scheme makes: cache, shift, precision, gradients; then the absolute and rotary ones."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plm_core.models.kv_cache import KVCache
from plm_core.models.multi_head import MultiHeadAttention
from plm_core.models.positions import Learned, PositionScheme, Rope, Sinusoidal, sinusoids
from plm_core.models.relative_positions import Alibi, Shaw, T5Bias, TransformerXL

WIDTH, HEADS = 24, 3
HEAD_SIZE = WIDTH // HEADS

SCHEMES = {
    "none": PositionScheme,
    "sinusoidal": lambda: Sinusoidal(WIDTH),
    "learned": lambda: Learned(64, WIDTH),
    "rope interleaved": lambda: Rope(HEAD_SIZE),
    "rope half": lambda: Rope(HEAD_SIZE, pairing="half"),
    "shaw": lambda: Shaw(HEAD_SIZE, max_distance=3),
    "shaw per head": lambda: Shaw(HEAD_SIZE, max_distance=3, num_heads=HEADS),
    "shaw keys only": lambda: Shaw(HEAD_SIZE, max_distance=3, values=False),
    "t5 causal": lambda: T5Bias(HEADS, num_buckets=8, max_distance=12, bidirectional=False),
    "t5 bidirectional": lambda: T5Bias(HEADS, num_buckets=8, max_distance=12),
    "transformer-xl": lambda: TransformerXL(WIDTH, HEADS),
    "alibi": lambda: Alibi(HEADS),
}
RELATIVE = [name for name in SCHEMES if name not in ("none", "sinusoidal", "learned")]


def draw_large(scheme: PositionScheme) -> PositionScheme:
    """Parameters far from zero, so that a scheme which ignores them is seen."""
    for parameter in scheme.parameters():
        nn.init.normal_(parameter, std=0.7)
    return scheme


def layer(name: str, dtype: torch.dtype = torch.float32) -> MultiHeadAttention:
    torch.manual_seed(0)
    attention = MultiHeadAttention(WIDTH, HEADS, position=draw_large(SCHEMES[name]()))
    return attention.to(dtype).eval()


def run(attention: MultiHeadAttention, x: torch.Tensor, cache: KVCache | None = None, **kw) -> torch.Tensor:
    """What a trunk does: embed the positions, then attend."""
    offset = cache.length if cache is not None else 0
    return attention(attention.position.embed(x, offset=offset), cache=cache, **kw)


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("pieces", [[1] * 9, [4, 1, 4], [8, 1], [3, 6]], ids=str)
def test_a_cache_gives_the_output_of_the_full_pass(name, pieces):
    attention = layer(name)
    x = torch.randn(2, 9, WIDTH)
    with torch.no_grad():
        full = run(attention, x, is_causal=True)
        cache = KVCache()
        parts = [run(attention, part, cache, is_causal=True) for part in x.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), full, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", RELATIVE)
@pytest.mark.parametrize("shift", [1, 7, 40])
def test_relative_schemes_do_not_see_a_shift(name, shift):
    """The same text `shift` tokens later, with what stands before it masked, gives the same output."""
    attention = layer(name, torch.float64)
    x = torch.randn(2, 9, WIDTH, dtype=torch.float64)
    shifted = torch.cat((torch.randn(2, shift, WIDTH, dtype=torch.float64), x), dim=1)
    visible = torch.arange(9 + shift) >= shift
    later = run(attention, shifted, mask=visible[None, None, None, :], is_causal=True)[:, shift:]
    torch.testing.assert_close(later, run(attention, x, is_causal=True), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", ["sinusoidal", "learned"])
def test_absolute_schemes_see_a_shift(name):
    attention = layer(name)
    x = torch.randn(1, 9, WIDTH)
    later = attention(attention.position.embed(x, offset=5), is_causal=True)
    assert (later - run(attention, x, is_causal=True)).abs().max() > 1e-2


@pytest.mark.parametrize("name", SCHEMES)
def test_only_none_is_blind_to_order(name):
    """Without a mask, attention without positions permutes with its input; every scheme breaks that."""
    attention = layer(name)
    x = torch.randn(1, 9, WIDTH)
    order = torch.tensor([3, 0, 8, 1, 7, 2, 6, 5, 4])
    gap = (run(attention, x[:, order]) - run(attention, x)[:, order]).abs().max()
    assert (gap < 1e-5) == (name == "none")


@pytest.mark.parametrize("name", SCHEMES)
def test_gradients_reach_every_parameter(name):
    attention = layer(name).train()
    run(attention, torch.randn(2, 9, WIDTH), is_causal=True).square().sum().backward()
    assert all(parameter.grad is not None for parameter in attention.parameters())
    for label, parameter in attention.position.named_parameters():
        assert torch.isfinite(parameter.grad).all()
        if label == "table.weight" and name == "learned":  # exactly the rows that were used
            used = parameter.grad.abs().sum(dim=1) > 0
            assert used.tolist() == [True] * 9 + [False] * 55
        else:
            assert parameter.grad.abs().sum() > 0, label


@pytest.mark.parametrize("name", [name for name in SCHEMES if name not in ("none", "learned")])
def test_gradients_agree_with_finite_differences(name):
    attention = layer(name, torch.float64)
    x = torch.randn(1, 4, WIDTH, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: run(attention, x, is_causal=True), (x,), fast_mode=True)


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.bfloat16, 0.1), (torch.float16, 0.02)], ids=str
)
def test_every_precision_gives_the_same_output(name, dtype, tolerance):
    attention = layer(name)
    x = torch.randn(2, 9, WIDTH)
    with torch.no_grad():
        expected = run(attention, x, is_causal=True)
        actual = run(attention.to(dtype), x.to(dtype), is_causal=True)
    assert actual.dtype == dtype
    assert (actual.float() - expected).abs().max() < tolerance * expected.abs().max()


@pytest.mark.parametrize("name", SCHEMES)
def test_autocast_keeps_working(name):
    attention = layer(name)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.isfinite(run(attention, torch.randn(1, 9, WIDTH), is_causal=True)).all()


@pytest.mark.parametrize("name", SCHEMES)
def test_scheme_reloads_from_its_state(name):
    attention, other = layer(name), MultiHeadAttention(WIDTH, HEADS, position=SCHEMES[name]())
    other.load_state_dict(attention.state_dict())
    x = torch.randn(1, 9, WIDTH)
    torch.testing.assert_close(run(other.eval(), x), run(attention, x))


def test_schemes_share_between_layers_what_their_papers_share():
    for name in ("none", "learned", "t5 causal", "rope half", "alibi"):
        scheme = SCHEMES[name]()
        assert all(other is scheme for other in scheme.per_layer(3)), name
    shaw = SCHEMES["shaw"]().per_layer(3)
    assert len({id(p) for scheme in shaw for p in scheme.parameters()}) == 6
    xl = SCHEMES["transformer-xl"]().per_layer(3)
    assert len({id(scheme.content_bias) for scheme in xl}) == len({id(scheme.position_bias) for scheme in xl}) == 1
    assert len({id(scheme.position_key.weight) for scheme in xl}) == 3


# Sinusoidal


def test_sinusoids_follow_the_formula():
    table = sinusoids(torch.arange(50, dtype=torch.float64), 10)
    for t in (0, 1, 17, 49):
        for i in range(5):
            angle = t / 10_000 ** (2 * i / 10)
            assert table[t, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-12)
            assert table[t, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(shift=st.integers(-300, 300), half=st.integers(1, 16), base=st.floats(2, 1e6))
def test_a_shift_is_one_linear_map(shift, half, base):
    """There is a matrix M_k, the same for every t, with PE(t + k) = M_k PE(t): a rotation of each pair."""
    width = 2 * half
    shift_matrix = torch.zeros(width, width, dtype=torch.float64)
    for i in range(half):
        angle = shift * base ** (-2 * i / width)
        shift_matrix[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = torch.tensor(
            [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]], dtype=torch.float64
        )
    t = torch.arange(100, dtype=torch.float64)
    torch.testing.assert_close(
        sinusoids(t + shift, width, base=base), sinusoids(t, width, base=base) @ shift_matrix.T, atol=1e-9, rtol=0
    )


def test_sinusoidal_matches_roformer_up_to_the_order_of_columns():
    roformer = pytest.importorskip("transformers.models.roformer.modeling_roformer")
    theirs = roformer.RoFormerSinusoidalPositionalEmbedding(40, WIDTH).create_weight()
    ours = sinusoids(torch.arange(40.0), WIDTH)
    torch.testing.assert_close(torch.cat((ours[:, 0::2], ours[:, 1::2]), dim=1), theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("build", [Sinusoidal, Rope, lambda width: sinusoids(torch.arange(3.0), width)])
def test_odd_widths_are_refused(build):
    with pytest.raises(ValueError, match="even"):
        build(7)


# Learned


def test_learned_positions_end_with_their_table():
    scheme = Learned(8, WIDTH)
    x = torch.zeros(1, 8, WIDTH)
    torch.testing.assert_close(scheme.embed(x)[0], scheme.table.weight)
    torch.testing.assert_close(scheme.embed(x[:, :3], offset=5)[0], scheme.table.weight[5:])
    with pytest.raises(ValueError, match=r"8 rows.*positions 6 to 8"):
        scheme.embed(x[:, :3], offset=6)


# RoPE


@pytest.mark.parametrize("pairing", ["interleaved", "half"])
def test_rope_turns_each_pair_by_its_angle(pairing):
    q = torch.randn(1, 1, 6, 8, dtype=torch.float64)
    turned, _ = Rope(8, pairing=pairing).rotate(q, q, q_offset=11)
    for t in range(6):
        for i in range(4):
            a, b = (2 * i, 2 * i + 1) if pairing == "interleaved" else (i, i + 4)
            before = torch.complex(q[0, 0, t, a], q[0, 0, t, b])
            angle = torch.tensor((11 + t) * 10_000 ** (-2 * i / 8), dtype=torch.float64)
            after = before * torch.polar(torch.ones_like(angle), angle)
            torch.testing.assert_close(torch.complex(turned[0, 0, t, a], turned[0, 0, t, b]), after)


@settings(deadline=None, max_examples=40)
@given(m=st.integers(0, 500), n=st.integers(0, 500), shift=st.integers(0, 500))
def test_rope_scores_depend_on_the_distance_only(m, n, shift):
    scheme = Rope(16)
    generator = torch.Generator().manual_seed(m)
    q, k = torch.randn(2, 1, 1, 1, 16, generator=generator, dtype=torch.float64)

    def score(m: int, n: int) -> float:
        q_turned, _ = scheme.rotate(q, q, q_offset=m)
        k_turned, _ = scheme.rotate(k, k, q_offset=n)
        return (q_turned * k_turned).sum().item()

    assert score(m, n) == pytest.approx(score(m + shift, n + shift), abs=1e-9)
    q_turned, _ = scheme.rotate(q, q, q_offset=m)
    assert q_turned.norm().item() == pytest.approx(q.norm().item())


def test_rope_matches_llama_and_roformer():
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    from transformers import LlamaConfig
    from transformers.models.roformer.modeling_roformer import RoFormerSelfAttention

    q, k = torch.randn(2, 2, 4, 30, 16).unbind()
    positions = torch.arange(5, 35)
    theta = 12_345.0
    config = LlamaConfig(
        hidden_size=64, num_attention_heads=4, rope_parameters={"rope_type": "default", "rope_theta": theta}
    )
    cos, sin = llama.LlamaRotaryEmbedding(config)(q, positions[None])
    theirs = llama.apply_rotary_pos_emb(q, k, cos, sin)
    ours = Rope(16, base=theta, pairing="half").rotate(q, k, q_offset=5)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)

    angles = positions[:, None] * 10_000 ** (-torch.arange(0, 16, 2) / 16)
    sinusoidal = torch.cat((angles.sin(), angles.cos()), dim=1)[None, None]
    theirs = RoFormerSelfAttention.apply_rotary_position_embeddings(sinusoidal, q, k)
    torch.testing.assert_close(Rope(16).rotate(q, k, q_offset=5), theirs, atol=1e-5, rtol=1e-5)


def test_pairings_differ_by_a_permutation_of_columns():
    q, k = torch.randn(2, 1, 2, 9, 8).unbind()
    permutation = torch.tensor([0, 4, 1, 5, 2, 6, 3, 7])
    half = Rope(8, pairing="half").rotate(q, k, q_offset=0)[0]
    interleaved = Rope(8).rotate(q[..., permutation], k, q_offset=0)[0]
    torch.testing.assert_close(interleaved, half[..., permutation])


def test_rope_keeps_its_angles_when_the_model_is_cast():
    """Angles rounded to bf16 would be off by whole turns at large positions."""
    q = torch.randn(1, 1, 1, 64)
    exact, _ = Rope(64).rotate(q, q, q_offset=3001)
    cast, _ = Rope(64).bfloat16().rotate(q.bfloat16(), q.bfloat16(), q_offset=3001)
    assert (cast.float() - exact).abs().max() < 0.05


def test_rope_refuses_an_unknown_pairing():
    with pytest.raises(ValueError, match="pairing 'gptj'"):
        Rope(8, pairing="gptj")
