"""Blocks: the stream, the branches, and what each norm and activation computes."""

import pytest
import torch
import torch.nn.functional as F

from plm_core.models.blocks import Block, FeedForward, activate, make_norm


def test_pre_norm_block_equals_torch_encoder_layer() -> None:
    check_against_torch(norm_first=True)


def test_post_norm_block_equals_torch_encoder_layer() -> None:
    check_against_torch(norm_first=False)


def check_against_torch(*, norm_first: bool) -> None:
    torch_layer = torch.nn.TransformerEncoderLayer(
        16, 4, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=norm_first
    )
    block = Block(16, 4, 32, norm_position="pre" if norm_first else "post")
    packed = torch_layer.self_attn
    with torch.no_grad():
        for i, name in enumerate(("query", "key", "value")):
            part = getattr(block.attention, name)
            part.weight.copy_(packed.in_proj_weight[16 * i : 16 * (i + 1)])
            part.bias.copy_(packed.in_proj_bias[16 * i : 16 * (i + 1)])
    block.attention.output.load_state_dict(packed.out_proj.state_dict())
    block.feed_forward.up.load_state_dict(torch_layer.linear1.state_dict())
    block.feed_forward.down.load_state_dict(torch_layer.linear2.state_dict())
    for norm in (torch_layer.norm1, torch_layer.norm2):
        torch.nn.init.normal_(norm.weight, 1.0, 0.1)
    block.attention_norm.load_state_dict(torch_layer.norm1.state_dict())
    block.feed_forward_norm.load_state_dict(torch_layer.norm2.state_dict())

    x = torch.randn(3, 7, 16)
    real = torch.arange(7)[None] < torch.tensor([7, 4, 1])[:, None]
    ours, _, _ = block(x, mask=real[:, None, None, :])
    theirs = torch_layer(x, src_key_padding_mask=~real)
    torch.testing.assert_close(ours[real], theirs[real], atol=1e-6, rtol=1e-5)


def test_a_pre_norm_block_with_silent_branches_is_the_identity() -> None:
    block = Block(16, 4, 32, cross_attention=True)
    for last in (block.attention.output, block.cross_attention.output, block.feed_forward.down):
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
    x = torch.randn(2, 5, 16)
    out, _, _ = block(x, context_BSD=torch.randn(2, 3, 16))
    assert torch.equal(out, x)


def test_gated_feed_forward_is_activation_of_the_gate_times_up() -> None:
    x = torch.randn(2, 3, 8)
    for activation, function in (("swiglu", F.silu), ("geglu", F.gelu)):
        feed_forward = FeedForward(8, 12, activation=activation, bias=False)
        expected = (
            function(x @ feed_forward.gate.weight.T) * (x @ feed_forward.up.weight.T)
        ) @ feed_forward.down.weight.T
        torch.testing.assert_close(feed_forward(x), expected)
        assert sum(p.numel() for p in feed_forward.parameters()) == 3 * 8 * 12


def test_the_two_gelus_differ_and_each_is_the_named_one() -> None:
    x = torch.linspace(-4, 4, 101)
    exact = 0.5 * x * (1 + torch.erf(x / 2**0.5))
    tanh = 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))
    torch.testing.assert_close(activate(x, "gelu"), exact, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(activate(x, "gelu_new"), tanh, atol=1e-6, rtol=1e-5)
    assert (exact - tanh).abs().max() > 1e-4


def test_rmsnorm_divides_by_the_root_mean_square_and_has_no_shift() -> None:
    norm = make_norm(6, norm="rmsnorm", eps=1e-8)
    x = torch.randn(4, 6) * 3 + 5
    torch.testing.assert_close(norm(x), x / x.pow(2).mean(-1, keepdim=True).sqrt(), atol=1e-5, rtol=1e-5)
    assert [name for name, _ in norm.named_parameters()] == ["weight"]


def test_dropout_acts_on_branches_in_training_only() -> None:
    block = Block(16, 4, 32, dropout=0.5)
    x = torch.randn(2, 5, 16)
    assert not torch.equal(block(x)[0], block(x)[0])
    block.eval()
    assert torch.equal(block(x)[0], block(x)[0])


def test_weights_are_returned_on_request_and_change_nothing() -> None:
    block = Block(16, 4, 32, cross_attention=True)
    x, context = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    plain, nothing, nothing_either = block(x, context_BSD=context)
    out, weights, cross = block(x, context_BSD=context, need_weights=True)
    torch.testing.assert_close(out, plain)
    assert nothing is None
    assert nothing_either is None
    assert weights.shape == (2, 4, 5, 5)
    assert cross.shape == (2, 4, 5, 3)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="use 'pre' or 'post'"):
        Block(16, 4, 32, norm_position="middle")
    with pytest.raises(ValueError, match="use 'layernorm' or 'rmsnorm'"):
        make_norm(16, norm="batchnorm")
    with pytest.raises(ValueError, match="unknown activation 'sigmoid'"):
        FeedForward(8, 8, activation="sigmoid")(torch.zeros(1, 1, 8))
    with pytest.raises(ValueError, match="needs a context"):
        Block(16, 4, 32, cross_attention=True)(torch.zeros(1, 2, 16))
    with pytest.raises(ValueError, match="needs a context"):
        Block(16, 4, 32)(torch.zeros(1, 2, 16), context_BSD=torch.zeros(1, 2, 16))
