"""MultiHeadAttention and KVCache: parity with torch, heads, cross attention, cache, position schemes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plm_core.models.attention import attend
from plm_core.models.kv_cache import KVCache
from plm_core.models.multi_head import MultiHeadAttention

D, H = 12, 3


def module(seed=0, **options):
    torch.manual_seed(seed)
    return MultiHeadAttention(D, H, **options).double()


def tokens(B=2, T=7, seed=1):
    return torch.randn(B, T, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def torch_twin(ours: MultiHeadAttention) -> nn.MultiheadAttention:
    """torch's module with the same weights; its three input projections are stacked into one matrix."""
    twin = nn.MultiheadAttention(D, H, batch_first=True, bias=ours.query.bias is not None).double()
    state = {
        "in_proj_weight": torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]),
        "out_proj.weight": ours.output.weight,
    }
    if ours.query.bias is not None:
        state["in_proj_bias"] = torch.cat([ours.query.bias, ours.key.bias, ours.value.bias])
        state["out_proj.bias"] = ours.output.bias
    twin.load_state_dict(state)
    return twin


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_agrees_with_torch_forward_and_backward(bias, cross, masked):
    ours = module(bias=bias)
    twin = torch_twin(ours)
    x = tokens().requires_grad_()
    context = tokens(T=5, seed=2).requires_grad_() if cross else None
    source = x if context is None else context
    real = torch.ones(2, source.shape[1], dtype=torch.bool)
    if masked:
        real[1, 3:] = False

    out, weights = ours(x, context, mask=real[:, None, None, :], need_weights=True)
    expected, expected_weights = twin(x, source, source, key_padding_mask=~real, average_attn_weights=False)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(weights, expected_weights)
    torch.testing.assert_close(ours(x, context, mask=real[:, None, None, :]), out)  # without weights: the fused path

    leaves = [x] if context is None else [x, context]
    got = torch.autograd.grad(out.sin().sum(), [*leaves, ours.query.weight, ours.output.weight])
    want = torch.autograd.grad(expected.sin().sum(), [*leaves, twin.in_proj_weight, twin.out_proj.weight])
    for ours_grad, torch_grad in zip(got, want, strict=True):
        torch.testing.assert_close(ours_grad, torch_grad[: len(ours_grad)])  # the query's rows come first


def test_causal_agrees_with_torch():
    ours, x = module(), tokens()
    blocked = torch.ones(7, 7, dtype=torch.bool).triu(1)  # torch's convention: True = masked
    expected, _ = torch_twin(ours)(x, x, x, attn_mask=blocked)
    torch.testing.assert_close(ours(x, is_causal=True), expected)


def test_heads_equal_a_loop_over_slices():
    ours, x = module(), tokens()
    q, k, v = ours.query(x), ours.key(x), ours.value(x)
    heads = []
    for h in range(H):
        own = slice(h * D // H, (h + 1) * D // H)
        heads.append(attend(q[:, None, :, own], k[:, None, :, own], v[:, None, :, own])[0][:, 0])
    torch.testing.assert_close(ours(x), ours.output(torch.cat(heads, dim=-1)))


def test_without_mask_it_is_permutation_equivariant():
    ours, x = module(), tokens()
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x)[:, order], ours(x[:, order]))
    assert not torch.allclose(ours(x, is_causal=True)[:, order], ours(x[:, order], is_causal=True))


def test_a_later_token_changes_nothing_before_it():
    ours, x = module(), tokens()
    before = ours(x, is_causal=True)
    x[:, 4] += 1
    after = ours(x, is_causal=True)
    assert torch.equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] != after[:, 4:]).any(-1).all()


def test_padding_changes_neither_output_nor_gradient():
    ours, x = module(), tokens()
    padded = torch.cat([x, 1e3 * tokens(T=4, seed=5)], dim=1).requires_grad_()
    real = (torch.arange(11) < 7)[None, None, None, :]
    out = ours(padded, mask=real)[:, :7]
    torch.testing.assert_close(out, ours(x))
    out.sum().backward()
    assert (padded.grad[:, 7:] == 0).all()


def test_a_row_that_sees_nothing_gives_the_output_bias():
    ours, x = module(), tokens()
    mask = torch.ones(2, 1, 1, 7, dtype=torch.bool)
    mask[1] = False
    out = ours(x, mask=mask)
    torch.testing.assert_close(out[1], ours.output.bias.expand(7, D))
    out.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in ours.parameters())


def test_dropout_acts_in_training_only():
    ours, x = module(dropout=0.5), tokens()
    assert not torch.equal(ours(x), ours(x))
    ours.eval()
    assert torch.equal(ours(x), ours(x))


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6), padded=st.booleans())
def test_cache_in_chunks_equals_the_full_pass(sizes, padded):
    total = sum(sizes)
    ours, x = module(), tokens(T=total)
    real = torch.ones(2, total, dtype=torch.bool)
    real[1, : total // 2] = not padded  # left padding: with it, the first rows see nothing
    with torch.no_grad():
        full, full_weights = ours(x, mask=real[:, None, None, :], is_causal=True, need_weights=True)
        cache, start = KVCache(), 0
        for size in sizes:
            end = start + size
            chunk, mask = x[:, start:end], real[:, None, None, :end]
            assert cache.length == start
            if size % 2:
                out = ours(chunk, mask=mask, is_causal=True, cache=cache)
            else:
                out, weights = ours(chunk, mask=mask, is_causal=True, cache=cache, need_weights=True)
                torch.testing.assert_close(weights, full_weights[:, :, start:end, :end])
            torch.testing.assert_close(out, full[:, start:end])
            start = end


def test_cache_of_cross_attention_projects_the_context_once():
    ours, x, context = module(), tokens(), tokens(T=5, seed=2)
    calls = []
    ours.key.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        full = ours(x, context)
        calls.clear()
        cache = KVCache()
        steps = [ours(x[:, t : t + 1], context, cache=cache) for t in range(7)]
        torch.testing.assert_close(torch.cat(steps, dim=1), full)
        assert len(calls) == 1
        with pytest.raises(ValueError, match="another context"):
            ours(x, context[:, :3], cache=cache)


def test_select_reorders_and_repeats_beams():
    ours, x = module(), tokens(B=3)
    beams = torch.tensor([2, 0, 2, 1])
    with torch.no_grad():
        cache = KVCache()
        ours(x[:, :5], is_causal=True, cache=cache)
        cache.select(beams)
        out = ours(x[beams, 5:], is_causal=True, cache=cache)
        torch.testing.assert_close(out, ours(x[beams], is_causal=True)[:, 5:])


def test_growth_is_by_doubling():
    cache, capacities = KVCache(), []
    for step in range(1, 101):
        keys, values = cache.append(torch.full((1, 1, 1, 2), step), torch.full((1, 1, 1, 3), -step))
        assert keys[0, 0, :, 0].tolist() == list(range(1, step + 1))
        assert values.shape == (1, 1, step, 3)
        capacities.append(cache._k.shape[2])
    assert sorted(set(capacities)) == [1, 2, 4, 8, 16, 32, 64, 128]
    cache.clear()
    assert cache.length == 0
    cache.append(torch.ones(5, 2, 3, 4), torch.ones(5, 2, 3, 4))  # another batch: a cleared cache takes any shape
    assert cache.length == 3


def test_a_cache_refuses_gradients_and_other_batches():
    ours, x, cache = module(), tokens(), KVCache()
    with pytest.raises(ValueError, match=r"torch\.no_grad"):
        ours(x, cache=cache)
    with torch.no_grad():
        ours(x, is_causal=True, cache=cache)
        with pytest.raises(ValueError, match="one cache per layer"):
            ours(tokens(B=3), is_causal=True, cache=cache)
    assert cache.length == 7
    with pytest.raises(ValueError, match="same batch, heads and tokens"):
        KVCache().append(torch.ones(1, 1, 2, 4), torch.ones(1, 1, 3, 4))


class Recorder(nn.Module):
    """A position scheme that notes how it is called, and acts in a way that is easy to recompute."""

    needs_weights = True

    def __init__(self):
        super().__init__()
        self.calls = []

    def rotate(self, q_BHTK, k_BHSK, *, q_offset):
        self.calls.append(("rotate", q_offset, q_BHTK.shape[2], k_BHSK.shape[2]))
        return q_BHTK, 2 * k_BHSK

    def score_bias(self, q_BHTK, k_BHSK, *, q_offset, scale):
        self.calls.append(("score_bias", q_offset, q_BHTK.shape[2], k_BHSK.shape[2]))
        assert scale == q_BHTK.shape[-1] ** -0.5
        distance = (torch.arange(q_BHTK.shape[2]) + q_offset)[:, None] - torch.arange(k_BHSK.shape[2])
        return -0.1 * distance.to(q_BHTK.dtype)

    def add_values(self, weights_BHTS, *, q_offset):
        self.calls.append(("add_values", q_offset, weights_BHTS.shape[2], weights_BHTS.shape[3]))
        return weights_BHTS.square().sum(-1, keepdim=True).expand(*weights_BHTS.shape[:3], D // H)


def test_a_position_scheme_acts_before_the_cache_on_the_scores_and_on_the_values():
    scheme = Recorder()
    ours, x = module(position=scheme), tokens()
    with torch.no_grad():
        q, k, v = (ours.split_heads(p(x)) for p in (ours.query, ours.key, ours.value))
        distance = torch.arange(7)[:, None] - torch.arange(7)
        out, weights = attend(q, 2 * k, v, bias=-0.1 * distance.double(), is_causal=True, need_weights=True)
        expected = ours.output(ours.merge_heads(out + weights.square().sum(-1, keepdim=True)))
        torch.testing.assert_close(ours(x, is_causal=True), expected)

        scheme.calls.clear()
        cache = KVCache()
        steps = [ours(x[:, :4], is_causal=True, cache=cache), ours(x[:, 4:], is_causal=True, cache=cache)]
        torch.testing.assert_close(torch.cat(steps, dim=1), expected)
        assert scheme.calls == [
            ("rotate", 0, 4, 4),
            ("score_bias", 0, 4, 4),
            ("add_values", 0, 4, 4),
            ("rotate", 4, 3, 3),
            ("score_bias", 4, 3, 7),
            ("add_values", 4, 3, 7),
        ]
        scheme.calls.clear()
        ours(x, tokens(T=5))
        assert not scheme.calls  # never in cross attention


def test_parameters_carry_their_names_only():
    assert {key.split(".")[0] for key in module().state_dict()} == {"query", "key", "value", "output"}


@pytest.mark.parametrize(("hidden_size", "num_heads"), [(12, 5), (12, 0), (4, 8)])
def test_widths_that_do_not_divide_are_refused(hidden_size, num_heads):
    with pytest.raises(ValueError, match="must be a multiple of num_heads"):
        MultiHeadAttention(hidden_size, num_heads)


def test_inputs_of_another_shape_are_refused():
    ours = module()
    with pytest.raises(ValueError, match=r"x must have shape \(batch, tokens, 12\)"):
        ours(tokens()[0])
    with pytest.raises(ValueError, match="context must have shape"):
        ours(tokens(), torch.randn(2, 5, 8))
    with pytest.raises(ValueError, match="masks are bool"):
        ours(tokens(), mask=torch.ones(7, 7))
