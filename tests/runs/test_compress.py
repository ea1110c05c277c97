"""From the command line: a run is compressed by several methods, opens like a run, is exported and compared."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
import torch
import yaml

from plm_core.cli import main
from plm_core.compression.export import export_onnx
from plm_core.compression.onnx_model import OnnxModel
from plm_core.compression.prune import sparsity
from plm_core.models.bert import Bert
from plm_core.models.gpt import Gpt
from plm_core.runs.batches import causal_source
from plm_core.runs.compare import characters
from plm_core.runs.compression_steps import Prune, Quantize, parse_method
from plm_core.runs.corpus import Texts
from plm_core.runs.open import Run
from tests import forked
from tests.tiny_text import TINY_TEXT

pytestmark = pytest.mark.xdist_group("onnx")  # one worker loads the exporter, which takes seconds
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def train(folder: Path, objective: str) -> Path:
    """A tiny run."""
    values = {
        "corpus": str(TINY_TEXT),
        "tokenizer": "words",
        "max_documents": 40,
        "context": 128,
        "batch_size": 4,
        "objective": objective,
        "output": str(folder / "run"),
        "model": SMALL,
        "train": {"steps": 4, "warmup_steps": 1, "eval_every": 4, "save_every": 4, "log_every": 2},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    assert main(["train", str(path)]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def causal(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("causal"), "causal_lm")


@pytest.fixture(scope="module")
def joint(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("joint"), "masked_lm+next_sentence")


def refused(capsys, *arguments) -> str:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("plm: ")
    assert error.count("\n") == 1
    return error


def test_methods_follow_each_other_and_the_result_is_a_run(causal, tmp_path, capsys):
    small = tmp_path / "small"
    methods = ["distill:layers=1,steps=2", "prune:what=neurons,share=0.25,steps=2", "low-rank:share=0.6", "quantize"]
    options = [part for method in methods for part in ("--method", method)]
    assert main(["compress", str(causal), "--output", str(small), *options]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[-6:-1]] == ["as", *methods]
    run = Run.open(small)
    assert run.config.model["num_hidden_layers"] == len(run.model.decoder.layers) == 1
    assert main(["generate", str(small), "--max-new-tokens", "5", "--seed", "0"]) == 0
    assert main(["evaluate", str(small)]) == 0
    assert main(["compress", str(small), "--output", str(tmp_path / "again"), "--method", "distill:steps=1"]) == 0


def test_both_tasks_of_a_joint_run_survive(joint, tmp_path, capsys):
    for number, method in enumerate(
        ("distill:steps=2", "prune:what=heads,share=0.5", "low-rank:weighting=loss", "quantize:activations=static")
    ):
        assert main(["compress", str(joint), "--output", str(tmp_path / str(number)), "--method", method]) == 0
    capsys.readouterr()
    assert main(["benchmark", str(joint), str(tmp_path / "1"), "--rounds", "2", "--no-memory"]) == 0
    table = capsys.readouterr().out
    assert "next_sentence/accuracy" in table
    assert table.splitlines()[1].startswith("run ")


def test_zeros_stay_zeros_while_the_model_recovers(causal, tmp_path):
    method = "prune:share=0.8,steps=3"
    assert main(["compress", str(causal), "--output", str(tmp_path / "sparse"), "--method", method]) == 0
    assert sparsity(Run.open(tmp_path / "sparse").model) == pytest.approx(0.8, abs=1e-3)


@pytest.fixture(scope="module")
def exported(joint, tmp_path_factory) -> tuple[Path, Path]:
    """A compressed run of two tasks and the file that it was exported to; neither is to be changed."""
    folder = tmp_path_factory.mktemp("exported")
    small, file = folder / "small", folder / "masked.onnx"
    assert main(["compress", str(joint), "--output", str(small), "--method", "quantize:bits=4"]) == 0
    assert main(["export", str(small), "--format", "onnx", "--output", str(file)]) == 0
    return small, file


def test_a_compressed_run_is_exported(exported):
    small, file = exported
    assert [path.name for path in sorted(small.parent.iterdir())] == ["masked.onnx", "small"]  # and nothing in between
    model, ids = Run.open(small).model, torch.randint(0, 50, (2, 7))
    with torch.no_grad():
        ours, theirs = (each(ids, masked_positions=ids >= 0) for each in (model, OnnxModel(file)))
    torch.testing.assert_close(theirs.prediction_logits, ours.prediction_logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(theirs.seq_relationship_logits, ours.seq_relationship_logits, rtol=0, atol=1e-4)


def test_integers_of_a_run_are_exported_as_they_are(exported, tmp_path):
    small, floats = exported
    file = tmp_path / "integers.onnx"
    assert main(["export", str(small), "--packed", "--output", str(file)]) == 0
    model, ids = Run.open(small).model, torch.randint(0, 50, (2, 7))
    with torch.no_grad():
        ours, theirs = (each(ids, masked_positions=ids >= 0) for each in (model, OnnxModel(file)))
    rounded = (theirs.prediction_logits - ours.prediction_logits).abs().max()
    assert rounded < 0.1 * ours.prediction_logits.std()  # inputs of the layers become 8-bit integers
    types_of = {path: {each.data_type for each in onnx.load(path).graph.initializer} for path in (file, floats)}
    assert onnx.TensorProto.UINT8 in types_of[file]
    assert onnx.TensorProto.UINT8 not in types_of[floats]


@pytest.fixture
def converted_once(monkeypatch) -> None:
    """Convert the model of a test to ONNX once, however often it is exported: that takes seconds."""
    first: list[bytes] = []

    def convert(model: Bert | Gpt, path: Path) -> None:
        if not first:
            export_onnx(model, path)
            first.append(path.read_bytes())
        path.write_bytes(first[0])

    monkeypatch.setattr("plm_core.runs.export.export_onnx", convert)


@pytest.fixture
def forked_measurement(monkeypatch) -> None:
    """Fork the processes in which memory is measured; the measurement has tests that start them afresh."""
    monkeypatch.setattr("plm_core.evaluation.memory.subprocess", SimpleNamespace(run=forked.instead_of_subprocess))


def test_runs_and_files_are_compared_on_the_same_text(causal, converted_once, forked_measurement, tmp_path, capsys):
    files = {"floats.onnx": [], "dynamic.onnx": ["--int8"], "static.onnx": ["--int8", "--calibrate", "2"]}
    for name, options in files.items():
        assert main(["export", str(causal), "--output", str(tmp_path / name), *options]) == 0
    capsys.readouterr()
    paths = [str(causal), *(str(tmp_path / name) for name in files)]
    picture = tmp_path / "models.png"
    assert main(["benchmark", *paths, "--rounds", "2", "--threads", "1", "--plot", str(picture)]) == 0
    lines = [re.split(r"  +", line) for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[1:5]] == ["run", *files]
    rows = {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[1:5]}
    bits = {name: float(row["bits per character"]) for name, row in rows.items()}
    assert bits["floats.onnx"] == pytest.approx(bits["run"], abs=2e-3)
    assert bits["dynamic.onnx"] == pytest.approx(bits["run"], rel=0.02)
    assert bits["static.onnx"] == pytest.approx(bits["run"], rel=0.02)
    assert all(float(row["peak MiB"]) > 0 for row in rows.values())
    assert rows["static.onnx"]["bytes"] != rows["dynamic.onnx"]["bytes"] != rows["floats.onnx"]["bytes"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_bits_per_character_are_those_of_the_text(causal, tmp_path):
    run = Run.open(causal)
    config, tokenizer = run.config, run.tokenizer
    documents = ["He goes\nto the garden.", "She takes the ball."]
    file = Texts.of(documents, []).train.write(tokenizer, tmp_path / "test.tokens")
    batches = causal_source(config.replace(batch_size=2), file, tokenizer).in_order()
    read = [tokenizer.decode(tokenizer.encode(document)) for document in documents]
    assert characters(batches, tokenizer) == sum(len(text) + 1 for text in read)


def test_methods_are_read_with_their_options():
    assert parse_method("prune:what=2:4") == Prune(what="2:4")
    assert parse_method("quantize:bits=4,embeddings=false") == Quantize(bits=4, embeddings=False)


def test_bad_input_is_answered_in_one_line(causal, tmp_path, capsys):
    output = tmp_path / "out"
    for method, message in (
        ("shrink", "unknown method 'shrink'"),
        ("prune:shares=0.5", "share"),
        ("prune:share", "expected key=value"),
        ("quantize:bits=5", "must be 4 or 8"),
        ("prune:what=heads,share=0.9", "at most"),
        ("distill:layers=5", "deeper than its teacher"),
    ):
        assert message in refused(capsys, "compress", causal, "--output", output, "--method", method)
        assert not output.exists()
    assert "is not the output folder" in refused(
        capsys, "compress", tmp_path / "none", "--output", output, "--method", "quantize"
    )
    output.mkdir()
    (output / "theirs").write_text("keep")
    assert "is not empty" in refused(capsys, "compress", causal, "--output", output, "--method", "quantize")
    assert (output / "theirs").read_text() == "keep"


def test_what_cannot_be_exported_is_answered_in_one_line(causal, tmp_path, capsys):
    output = tmp_path / "m.onnx"
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "model.bin").write_bytes(b"theirs")
    for options, message in (
        (("export", tmp_path / "none"), "is not the output folder"),
        (("export", foreign), "is not the output folder"),
        (("export", causal, "--format", "gguf"), "invalid choice 'gguf'"),
        (("export", causal, "--calibrate", "2"), "ranges are chosen for integers"),
        (("export", causal, "--int8", "--calibrate", "-1"), "on 1 to 1000 batches"),
        (("export", causal, "--packed"), "no integer weights: quantise it first"),
        (("export", causal, "--packed", "--int8"), "choose one"),
    ):
        assert message in refused(capsys, *options, "--output", output)
        assert not output.exists()
    output.write_text("keep")
    for options in ([], ["--int8"]):
        assert "exists already" in refused(capsys, "export", causal, "--output", output, *options)
    assert output.read_text() == "keep"


def test_what_cannot_be_compared_is_answered_in_one_line(causal, joint, exported, tmp_path, capsys):
    masked = exported[1]
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "there.png").write_text("keep")
    for options, message in (
        ([tmp_path / "none"], "is not the output folder"),
        ([causal, tmp_path], "is not the output folder"),
        ([causal, tmp_path / "none.onnx"], "no ONNX file"),
        ([causal, tmp_path / "text.onnx"], "is damaged or no ONNX model"),
        ([causal, masked], "compare a file with the run it was exported from"),
        ([masked], "name at least one run"),
        ([causal, joint], "these need different ones"),
        ([causal, "--plot", tmp_path / "there.png"], "exists already"),
        ([causal, "--plot", tmp_path / "nowhere" / "p.png"], "no folder"),
        ([causal, "--plot", tmp_path / "p.docx"], "should end in one of"),
        ([causal, "--rounds", "1", "--no-memory"], "at least 2 rounds"),
    ):
        assert message in refused(capsys, "benchmark", *options)
    assert (tmp_path / "there.png").read_text() == "keep"
    assert not (tmp_path / "nowhere").exists()


def test_a_damaged_compressed_run_is_named(causal, tmp_path, capsys):
    small = tmp_path / "small"
    assert main(["compress", str(causal), "--output", str(small), "--method", "quantize"]) == 0
    weights = small / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    assert "weights.safetensors was changed since it was written" in refused(capsys, "generate", small)
