"""``plm compress`` with methods that look at the inputs of the layers: GPTQ, AWQ, Wanda, SparseGPT, and row scopes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from plm_core.cli import main
from plm_core.compression.gptq import gptq, output_error, round_blocks
from plm_core.compression.integers import quantize
from plm_core.compression.low_rank import input_moments
from plm_core.compression.one_shot import sparsegpt, wanda
from plm_core.compression.prune import apply_masks, sparsity
from plm_core.compression.quantize import QuantizeConfig, QuantizedLinear
from plm_core.compression.structure import block_linears, stored_bytes
from plm_core.runs.compress import compress_run
from plm_core.runs.compression_steps import Prune, Quantize, Workbench, parse_method
from plm_core.runs.open import Run

GROUPS = "quantize:bits=4,granularity=group,group_size=8"


@pytest.fixture(scope="module")
def opened(finished) -> Run:
    """The tiny run; its model is copied before it is changed."""
    return Run.open(finished)


@pytest.fixture(scope="module")
def moments(opened) -> dict[str, torch.Tensor]:
    """The moments of its layers' inputs on the batches at which a step of compression looks."""
    with opened.sources() as sources:
        return input_moments(opened.model, Workbench(sources, quiet=True).read_sample)


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.arange(24).view(2, 12) + 5)


@pytest.mark.parametrize("scales", [16, 32])
def test_a_run_compressed_with_gptq_computes_what_its_rounded_weights_compute(
    finished, opened, moments, tmp_path, scales
):
    method = f"{GROUPS},rounding=gptq,embeddings=false,scale_bits={scales}"
    compress_run(finished, tmp_path / "small", [method], quiet=True)
    small, expected = Run.open(tmp_path / "small").model, copy.deepcopy(opened.model)
    layout = parse_method(method).layout.weights
    round_blocks(expected, lambda weight, found: gptq(weight, found, layout).dequantize(), moments)
    torch.testing.assert_close(logits(small), logits(expected), rtol=0, atol=1e-5)
    assert (logits(small) - logits(opened.model)).abs().max() > 1e-3  # the rounding is not lost in the tolerance


def test_gptq_errs_no_more_than_rounding_to_the_nearest(opened, moments):
    layout = QuantizeConfig(bits=4, granularity="group", group_size=8).weights
    errors = {
        name: [
            output_error(layer.weight, each.dequantize(), moments[name])
            for each in (gptq(layer.weight, moments[name], layout), quantize(layer.weight.detach(), layout))
        ]
        for name, layer in block_linears(opened.model).items()
    }
    assert len(errors) == 12
    assert all(ours <= nearest for ours, nearest in errors.values()), errors
    assert sum(ours for ours, _ in errors.values()) < 0.8 * sum(nearest for _, nearest in errors.values())


@pytest.mark.parametrize("method", [f"{GROUPS},rounding=awq", "quantize:rounding=gptq,scale_bits=16"])
def test_what_was_compressed_is_opened_to_the_bit_and_compressed_further(finished, tmp_path, method):
    """The second command copies the blocks with their integers and scales through a student."""
    compress_run(finished, tmp_path / "once", [method], quiet=True)
    compress_run(tmp_path / "once", tmp_path / "twice", ["distill:layers=1,steps=1"], quiet=True)
    once, again, twice = (Run.open(tmp_path / name).model for name in ("once", "once", "twice"))
    assert torch.equal(logits(once), logits(again))
    name = "decoder.layers.0.feed_forward.up"
    ours, theirs = once.get_submodule(name), twice.get_submodule(name)
    assert isinstance(theirs, QuantizedLinear)
    assert {key: tensor.dtype for key, tensor in ours.named_buffers()} == {
        key: tensor.dtype for key, tensor in theirs.named_buffers()
    }
    assert (ours.channel_scale is not None) == ("awq" in method)
    assert all(torch.equal(tensor, theirs.get_buffer(key)) for key, tensor in ours.named_buffers())


def test_the_command_reports_the_bytes_of_16_bit_scales(finished, tmp_path, capsys):
    for bits in (16, 32):
        options = ["--output", str(tmp_path / str(bits)), "--method", f"{GROUPS},rounding=gptq,scale_bits={bits}"]
        assert main(["compress", str(finished), *options]) == 0
    narrow, wide = (Run.open(tmp_path / str(bits)).model for bits in (16, 32))
    scales = sum(tensor.numel() for name, tensor in wide.state_dict().items() if name.endswith("scale"))
    assert stored_bytes(wide) - stored_bytes(narrow) == 2 * scales
    out = capsys.readouterr().out
    assert f"{stored_bytes(narrow):,} bytes" in out
    assert f"{stored_bytes(wide):,} bytes" in out


def test_wanda_keeps_what_it_chooses_and_sparsegpt_changes_the_rest(finished, opened, moments, tmp_path):
    for by in ("wanda", "sparsegpt"):
        compress_run(finished, tmp_path / by, [f"prune:by={by},share=0.25"], quiet=True)
    expected = copy.deepcopy(opened.model)
    apply_masks(expected, wanda(expected, moments, 0.25))
    torch.testing.assert_close(logits(Run.open(tmp_path / "wanda").model), logits(expected), rtol=0, atol=1e-5)
    expected = copy.deepcopy(opened.model)
    round_blocks(expected, lambda weight, found: sparsegpt(weight, found, 0.25), moments)
    torch.testing.assert_close(logits(Run.open(tmp_path / "sparsegpt").model), logits(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("by", ["magnitude", "wanda", "sparsegpt"])
@pytest.mark.parametrize("where", ["scope=row,share=0.25", "what=2:4"])
def test_the_zeros_lie_where_the_scope_says_and_survive_training(finished, tmp_path, by, where):
    compress_run(finished, tmp_path / "small", [f"prune:by={by},{where},steps=2"], quiet=True)
    model = Run.open(tmp_path / "small").model
    for name, layer in block_linears(model).items():
        zeros = layer.weight == 0
        if where == "what=2:4":
            assert (zeros.view(-1, 4).sum(-1) == 2).all(), name
        else:
            assert (zeros.sum(-1) == zeros.shape[1] // 4).all(), name


def test_awq_keeps_the_zeros_of_a_sparse_model(finished, tmp_path):
    compress_run(finished, tmp_path / "small", ["prune:by=wanda,what=2:4", f"{GROUPS},rounding=awq"], quiet=True)
    for module in Run.open(tmp_path / "small").model.modules():
        if isinstance(module, QuantizedLinear):
            assert ((module.weight == 0).view(-1, 4).sum(-1) >= 2).all()


def test_the_options_are_read():
    assert parse_method("prune:by=wanda,what=2:4") == Prune(by="wanda", what="2:4")
    assert parse_method("quantize:rounding=awq,scale_bits=16") == Quantize(rounding="awq", scale_bits=16)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (["prune:by=size"], "expected one of 'magnitude', 'wanda', 'sparsegpt'"),
        (["prune:by=wanda,scope=global"], "use scope=row, or leave it out"),
        (["prune:by=wanda,what=heads"], "leave them out with what=heads"),
        (["prune:by=sparsegpt,what=2:4,share=0.6"], "leave share and scope out"),
        (["prune:share=0.5", "prune:by=sparsegpt"], "would be filled, as sparsegpt changes"),
        (["prune:share=0.5", "quantize:rounding=gptq"], "use rounding=awq after `prune`"),
        (["quantize:rounding=best"], "expected one of 'nearest', 'gptq', 'awq'"),
        (["quantize:rounding=awq,activations=dynamic"], "it needs activations=none"),
        (["quantize:bits=4,granularity=group,rounding=gptq"], "cannot be cut into groups of 32"),
        (["quantize:scale_bits=8"], "expected one of 16, 32, got 8"),
        (["quantize", "quantize:rounding=gptq"], "no linear layer left to quantise"),
    ],
)
def test_bad_options_and_orders_are_answered_in_one_line(finished, tmp_path, capsys, methods, message):
    options = [part for method in methods for part in ("--method", method)]
    assert main(["compress", str(finished), "--output", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith("plm: ")
    assert message in error[-1]
    assert not any(tmp_path.iterdir())


def test_a_magnitude_scope_is_a_choice(finished, tmp_path):
    for scope in ("global", "row"):
        compress_run(finished, tmp_path / scope, [f"prune:scope={scope},share=0.25"], quiet=True)
    by_row, over_all = (Run.open(tmp_path / scope).model for scope in ("row", "global"))
    assert sparsity(by_row) == pytest.approx(sparsity(over_all), abs=0.01)
    shares = [(layer.weight == 0).float().mean(-1) for layer in block_linears(over_all).values()]
    assert torch.cat(shares).std() > 0.05
