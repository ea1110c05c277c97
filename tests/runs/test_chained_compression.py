"""Compression after compression: what an earlier step did is still there, in memory and through the disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from plm_core.compression.prune import sparsity
from plm_core.compression.quantize import QuantizedLinear
from plm_core.compression.quantized_tables import QuantizedEmbedding
from plm_core.compression.saved import describe
from plm_core.runs.compress import compress_run
from plm_core.runs.open import Run
from tests.runs.conftest import contents


def zeros(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Which weights are zero, for the layers that hold any."""
    found = {name: tensor == 0 for name, tensor in model.state_dict().items() if tensor.dim() == 2}
    return {name: mask for name, mask in found.items() if mask.float().mean() > 0.1}


@pytest.mark.parametrize(
    "later", ["prune:what=neurons,share=0.25,steps=3", "prune:what=heads,share=0.5,steps=3", "distill:layers=1,steps=3"]
)
@pytest.mark.parametrize("through_the_disk", [False, True])
def test_pruned_weights_stay_zero_while_a_later_step_trains(finished, tmp_path, later, through_the_disk):
    first = "prune:share=0.8"
    if through_the_disk:
        compress_run(finished, tmp_path / "once", [first], quiet=True)
        compress_run(tmp_path / "once", tmp_path / "twice", [later], quiet=True)
    else:
        compress_run(finished, tmp_path / "twice", [first, later], quiet=True)
    assert sparsity(Run.open(tmp_path / "twice").model) > 0.7


def test_the_pattern_two_of_four_survives_a_later_prune_with_training(finished, tmp_path):
    compress_run(finished, tmp_path / "small", ["prune:what=2:4", "prune:share=0.6,steps=3"], quiet=True)
    model = Run.open(tmp_path / "small").model
    for name, mask in zeros(model).items():
        assert (mask.view(-1, 4).sum(-1) >= 2).all(), name


def test_integer_layers_stay_integers_when_a_compressed_run_is_distilled(finished, tmp_path):
    compress_run(finished, tmp_path / "once", ["quantize:bits=4"], quiet=True)
    compress_run(tmp_path / "once", tmp_path / "twice", ["distill:layers=1,steps=2"], quiet=True)
    teacher, student = (Run.open(tmp_path / name).model for name in ("once", "twice"))
    assert len(student.decoder.layers) == 1
    kinds = [type(module) for module in student.modules()]
    assert kinds.count(QuantizedLinear) == 6
    assert kinds.count(QuantizedEmbedding) == 1
    old, new = teacher.decoder.layers[0].feed_forward.up, student.decoder.layers[0].feed_forward.up
    assert torch.equal(old.values, new.values)


def test_removed_units_and_thin_layers_are_inherited_by_a_student(finished, tmp_path):
    methods = ["prune:what=neurons,share=0.25", "low-rank:share=0.6"]
    compress_run(finished, tmp_path / "once", methods, quiet=True)
    compress_run(tmp_path / "once", tmp_path / "twice", ["distill:layers=1,steps=2", "quantize"], quiet=True)
    once, twice = (describe(Run.open(tmp_path / name).model) for name in ("once", "twice"))
    assert any(entry["kind"] == "low_rank_linear" for entry in once.values())
    assert all(name.startswith("decoder.layers.0") for name in twice if "layers" in name)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (["prune:share=0.5", "low-rank"], "let `low-rank` come before `prune`"),
        (["quantize:activations=dynamic", "distill:steps=1"], "let `quantize` be the last step"),
        (["quantize", "prune:share=0.5"], "prune or factorise before quantising"),
        (["quantize", "low-rank"], "prune or factorise before quantising"),
        (["quantize", "quantize"], "no linear layer left to quantise"),
        (["low-rank", "low-rank"], "factorise once"),
        (["quantize", "prune:what=heads"], "prune first"),
    ],
)
def test_an_order_that_would_undo_a_step_is_refused_and_leaves_nothing(finished, tmp_path, methods, message):
    with pytest.raises(ValueError, match=message):
        compress_run(finished, tmp_path / "small", methods, quiet=True)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["run", "file", "link", "mine"])
def test_compression_writes_into_nothing_that_is_there(finished, tmp_path, kind):
    output, elsewhere = tmp_path / "small", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if kind == "run":
        compress_run(finished, output, ["prune:share=0.5"], quiet=True)
    elif kind == "file":
        output.write_text("mine")
    elif kind == "link":
        output.symlink_to(elsewhere)
    else:
        output.mkdir()
        (output / "mine").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match="choose another"):
        compress_run(finished, output, ["prune:share=0.9"], quiet=True)
    assert contents(tmp_path) == before


def test_a_compression_that_fails_while_it_is_written_leaves_nothing(finished, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("plm_core.runs.compress.flush", full)
    with pytest.raises(OSError, match="No space left"):
        compress_run(finished, tmp_path / "small", ["prune:share=0.5"], quiet=True)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["weights.safetensors", "structure.json", "config.yaml", "tokenizer.json"])
def test_a_changed_part_of_a_compressed_run_is_named(finished, tmp_path, name):
    compress_run(finished, tmp_path / "small", ["prune:share=0.5"], quiet=True)
    path: Path = tmp_path / "small" / name
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError, match=f"{name} was changed since it was written"):
        Run.open(tmp_path / "small")
