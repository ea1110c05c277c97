"""attend(): parity with torch, masks, dead rows, gradients."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.models.attention import attend, causal_mask

BOTH = pytest.mark.parametrize("implementation", ["fused", "explicit"])


def qkv(B=2, H=3, T=5, S=7, K=4, *, seed=0, dtype=torch.float32, requires_grad=False):
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(B, H, n, K, dtype=dtype, generator=generator).requires_grad_(requires_grad) for n in (T, S, S)
    )


def forward_backward(function, tensors):
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    out = function(*leaves)
    out.sin().sum().backward()
    return [out.detach(), *(leaf.grad for leaf in leaves)]


def loop_reference(q, k, v, allowed):
    """One query at a time in plain Python loops: slow, and too simple to be wrong."""
    out = torch.zeros(*q.shape[:3], v.shape[-1], dtype=q.dtype)
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            for t in range(q.shape[2]):
                visible = [s for s in range(k.shape[2]) if allowed[b, h, t, s]]
                scores = [float(q[b, h, t] @ k[b, h, s]) / math.sqrt(q.shape[-1]) for s in visible]
                total = sum(math.exp(score) for score in scores)
                for score, s in zip(scores, visible, strict=True):
                    out[b, h, t] += math.exp(score) / total * v[b, h, s]
    return out


@BOTH
@pytest.mark.parametrize("masked", [False, True])
def test_agrees_with_torch_forward_and_backward(implementation, masked):
    tensors = qkv(dtype=torch.float64)
    mask = None
    if masked:
        mask = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(1)) < 0.5
        mask[..., 0] = True
    expected = forward_backward(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask), tensors)
    got = forward_backward(lambda q, k, v: attend(q, k, v, mask=mask, implementation=implementation)[0], tensors)
    torch.testing.assert_close(got, expected)


@BOTH
def test_is_causal_agrees_with_torch_on_a_square(implementation):
    tensors = qkv(T=6, S=6, dtype=torch.float64)
    expected = forward_backward(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), tensors)
    got = forward_backward(lambda q, k, v: attend(q, k, v, is_causal=True, implementation=implementation)[0], tensors)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("T", [1, 4, 7, 9])
@pytest.mark.parametrize("masked", ["no", "padding", "any"])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fused_equals_explicit_forward_and_backward(T, masked, is_causal, biased, dtype):
    generator = torch.Generator().manual_seed(T)
    mask = {
        "no": None,
        "padding": (torch.rand(2, 7, generator=generator) < 0.3)[:, None, None, :],
        "any": torch.rand(2, 3, T, 7, generator=generator) < 0.2,  # with rows that see nothing
    }[masked]
    tensors = list(qkv(T=T, dtype=dtype))
    if biased:
        tensors.append(torch.randn(1, 3, T, 7, dtype=dtype, generator=generator))

    def run(implementation):
        return forward_backward(
            lambda q, k, v, bias=None: attend(
                q, k, v, mask=mask, is_causal=is_causal, bias=bias, implementation=implementation
            )[0],
            tensors,
        )

    fused, explicit = run("fused"), run("explicit")
    assert all(torch.isfinite(tensor).all() for tensor in fused + explicit)
    torch.testing.assert_close(fused, explicit)


@BOTH
@pytest.mark.parametrize("biased", [False, True])
def test_gradients_agree_with_finite_differences(implementation, biased):
    tensors = list(qkv(1, 2, 3, 4, 2, dtype=torch.float64, requires_grad=True))
    mask = torch.tensor([[True, True, False, True], [False] * 4, [True, False, True, True]])
    if biased:
        tensors.append(torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(
        lambda q, k, v, bias=None: attend(q, k, v, mask=mask, bias=bias, implementation=implementation)[0], tensors
    )


@BOTH
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_fully_masked_row_gives_zeros_and_finite_gradients(implementation, is_causal, biased, dropout):
    q, k, v = qkv(T=7, requires_grad=True)
    bias = torch.randn(3, 7, 7, requires_grad=True) if biased else None
    mask = torch.rand(2, 1, 7, 7, generator=torch.Generator().manual_seed(0)) < 0.7
    mask[0, 0, 3] = False
    mask[1] = False
    out, _ = attend(q, k, v, mask=mask, is_causal=is_causal, bias=bias, dropout=dropout, implementation=implementation)
    assert (out[0, :, 3] == 0).all()
    assert (out[1] == 0).all()
    out.square().sum().backward()
    for tensor in (q, k, v, bias):
        if tensor is not None:
            assert torch.isfinite(tensor.grad).all()
    assert (q.grad[0, :, 3] == 0).all()
    for tensor in (q, k, v):
        assert (tensor.grad[1] == 0).all()
        assert (tensor.grad[0] != 0).any()


@BOTH
def test_the_last_query_sits_at_the_last_key(implementation):
    q, k, v = qkv(T=3, S=7)
    mask = causal_mask(3, 7)
    assert mask.int().tolist() == [[1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1]]
    out, _ = attend(q, k, v, is_causal=True, implementation=implementation)
    expected, _ = attend(q, k, v, mask=mask, implementation=implementation)
    torch.testing.assert_close(out, expected)


@BOTH
def test_more_queries_than_keys_leaves_the_first_ones_nothing_to_see(implementation):
    q, k, v = qkv(T=6, S=2, requires_grad=True)
    out, _ = attend(q, k, v, is_causal=True, implementation=implementation)
    assert (out[:, :, :4] == 0).all()
    assert (out[:, :, 4:] != 0).all()
    torch.testing.assert_close(out[:, :, 4], v[:, :, 0])  # it sees one key only
    out.sum().backward()
    assert torch.isfinite(q.grad).all()


@BOTH
def test_a_later_key_changes_nothing_before_it(implementation):
    q, k, v = qkv(T=7, S=7)
    before, _ = attend(q, k, v, is_causal=True, implementation=implementation)
    k[:, :, 4], v[:, :, 4] = 100.0, -100.0
    after, _ = attend(q, k, v, is_causal=True, implementation=implementation)
    torch.testing.assert_close(before[:, :, :4], after[:, :, :4], rtol=0, atol=0)
    assert (before[:, :, 4:] != after[:, :, 4:]).any(-1).all()


@BOTH
def test_padding_changes_nothing(implementation):
    q, k, v = qkv(S=4, dtype=torch.float64)
    k_pad, v_pad = (F.pad(x, (0, 0, 0, 3), value=1e6) for x in (k, v))
    mask = torch.tensor([True] * 4 + [False] * 3).expand(2, 7)[:, None, None, :]
    expected = forward_backward(lambda q, k, v: attend(q, k, v, implementation=implementation)[0], (q, k, v))
    got = forward_backward(
        lambda q, k, v: attend(q, k, v, mask=mask, implementation=implementation)[0], (q, k_pad, v_pad)
    )
    torch.testing.assert_close(got[:2], expected[:2])
    for padded, plain in zip(got[2:], expected[2:], strict=True):
        torch.testing.assert_close(padded[:, :, :4], plain)
        assert (padded[:, :, 4:] == 0).all()


@BOTH
def test_a_mask_that_broadcasts_equals_the_whole_mask(implementation):
    q, k, v = qkv()
    full = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0)) < 0.6
    for mask in (full[0, 0], full[:1, :1], full[:, :1, :1], full[:, :1], full[:1], full[0, 0, 0], full[0, 0, :, :1]):
        out, _ = attend(q, k, v, mask=mask, implementation=implementation)
        expected, _ = attend(q, k, v, mask=mask.expand(2, 3, 5, 7), implementation=implementation)
        torch.testing.assert_close(out, expected)


@BOTH
def test_scale_and_value_width_are_free(implementation):
    q, k, _ = qkv()
    v = torch.randn(2, 3, 7, 11)
    out, _ = attend(q, k, v, scale=0.0, implementation=implementation)
    torch.testing.assert_close(out, v.mean(dim=2, keepdim=True).expand(2, 3, 5, 11))


def test_weights_are_those_used_also_under_dropout():
    q, k, v = qkv()
    torch.manual_seed(0)
    out, weights = attend(q, k, v, dropout=0.5, need_weights=True)
    torch.testing.assert_close(out, weights @ v)
    assert ((weights == 0).float().mean() - 0.5).abs() < 0.15  # 210 weights: 4 standard deviations


@BOTH
def test_dropout_keeps_the_mean(implementation):
    torch.manual_seed(0)
    q, k, v = qkv(1, 1, 4, 6, 3)
    many = [x.expand(4000, 1, *x.shape[2:]) for x in (q, k, v)]
    out, _ = attend(*many, dropout=0.3, implementation=implementation)
    expected, _ = attend(q, k, v)
    error = out.std(dim=0) / math.sqrt(4000)
    assert ((out.mean(dim=0) - expected[0]).abs() < 5 * error).all()  # false alarm below 1e-5


def test_without_weights_none_are_returned():
    assert attend(*qkv())[1] is None
    assert attend(*qkv(), implementation="explicit")[1] is None


def test_half_precision_explicit_softmax_runs_in_fp32():
    q, k, v = qkv(1, 1, 2, 4096, 8)
    out, weights = attend(q.half() * 0, k.half(), v.half(), need_weights=True)
    assert out.dtype == weights.dtype == torch.float16
    torch.testing.assert_close(weights.float(), torch.full_like(weights, 1 / 4096).float())


@settings(max_examples=60, deadline=None)
@given(data=st.data(), implementation=st.sampled_from(["fused", "explicit"]))
def test_outputs_are_weighted_means_of_the_visible_values_for_any_shape_and_mask(data, implementation):
    B, H, T, S, K = (data.draw(st.integers(1, n), label=name) for name, n in zip("BHTSK", (3, 3, 5, 6, 4), strict=True))
    seed = data.draw(st.integers(0, 10_000), label="seed")
    is_causal = data.draw(st.booleans(), label="is_causal")
    generator = torch.Generator().manual_seed(seed)
    q, k, v = qkv(B, H, T, S, K, seed=seed, dtype=torch.float64)
    mask = torch.rand(B, H, T, S, generator=generator) < data.draw(st.sampled_from([0.0, 0.3, 0.8, 1.0]))
    allowed = mask & causal_mask(T, S) if is_causal else mask

    out, _ = attend(q, k, v, mask=mask, is_causal=is_causal, implementation=implementation)
    torch.testing.assert_close(out, loop_reference(q, k, v, allowed))

    _, weights = attend(q, k, v, mask=mask, is_causal=is_causal, need_weights=True)
    live = allowed.any(-1)
    torch.testing.assert_close(weights.sum(-1), live.double())
    assert (weights[~allowed] == 0).all()
    assert (weights >= 0).all()

    # The output lies in the convex hull of the visible values: in every direction it stays between their extremes.
    direction = torch.randn(K, dtype=torch.float64, generator=generator)
    shadow = (v @ direction)[:, :, None, :].expand(B, H, T, S)
    low = shadow.masked_fill(~allowed, math.inf).amin(-1)
    high = shadow.masked_fill(~allowed, -math.inf).amax(-1)
    inside = (out @ direction >= low - 1e-9) & (out @ direction <= high + 1e-9)
    assert inside[live].all()


@BOTH
def test_permutation_of_keys_and_values_changes_nothing(implementation):
    q, k, v = qkv(dtype=torch.float64)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(3))
    out, _ = attend(q, k, v, implementation=implementation)
    shuffled, _ = attend(q, k[:, :, order], v[:, :, order], implementation=implementation)
    torch.testing.assert_close(out, shuffled)


@pytest.mark.parametrize("mask", [torch.ones(5, 7), torch.ones(5, 7, dtype=torch.long)])
def test_masks_that_are_not_bool_are_refused(mask):
    with pytest.raises(ValueError, match="masks are bool, True = may be attended"):
        attend(*qkv(), mask=mask)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": (2, 3, 5)}, "batch, heads, tokens, width"),
        ({"q": (2, 4, 5, 4)}, "same batch and heads"),
        ({"v": (2, 3, 6, 4)}, "same number of tokens"),
        ({"k": (2, 3, 7, 5), "v": (2, 3, 7, 4)}, "same width"),
        ({"mask": (2, 7)}, r"\(B, H, T, S\) = \(2, 3, 5, 7\)"),
        ({"bias": (4, 5, 7)}, "the bias must broadcast"),
        ({"mask": (1, 2, 3, 5, 7)}, "the mask must broadcast"),
    ],
)
def test_shapes_that_do_not_fit_are_named(change, message):
    shape = {"q": (2, 3, 5, 4), "k": (2, 3, 7, 4), "v": (2, 3, 7, 4), **change}
    tensors = {name: torch.ones(*size, dtype=torch.bool if name == "mask" else None) for name, size in shape.items()}
    with pytest.raises(ValueError, match=message):
        attend(tensors.pop("q"), tensors.pop("k"), tensors.pop("v"), **tensors)


def test_options_that_exclude_each_other_are_refused():
    with pytest.raises(ValueError, match="never holds the weights"):
        attend(*qkv(), need_weights=True, implementation="fused")
    with pytest.raises(ValueError, match="unknown implementation 'flash'"):
        attend(*qkv(), implementation="flash")
