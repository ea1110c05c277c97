"""A run may start from the weights of another one; what does not fit is named before anything is written."""

from __future__ import annotations

import pytest
import torch

from plm_core.runs.compress import compress_run
from plm_core.runs.interchange import export_folder
from plm_core.runs.open import Run
from plm_core.runs.pretrain import pretrain
from plm_core.runs.start import start_model, start_tokenizer, with_initial_shape
from tests.runs.conftest import tiny_config


def further(finished, output, **changes):
    """A run from the finished one's weights that leaves the model's shape open."""
    return tiny_config(output, init_from=str(finished), **changes).replace(model={})


def test_a_run_starts_from_anothers_weights_tokenizer_and_shape(finished, tmp_path):
    config = with_initial_shape(further(finished, tmp_path / "next", seed=5))
    source = Run.open(finished)
    model = start_model(config, start_tokenizer(config, source), source)
    for name, tensor in source.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    pretrain(config, quiet=True)
    opened = Run.open(tmp_path / "next")
    assert opened.config.model_config(1) == source.config.model_config(1)
    assert opened.tokenizer.fingerprint == source.tokenizer.fingerprint


def test_a_run_that_began_from_another_resumes_without_it(finished, tmp_path):
    config = further(finished, tmp_path / "next")
    pretrain(config, quiet=True)
    gone = config.replace(train=config.train.replace(steps=6))
    assert pretrain(gone, resume=True, quiet=True).steps == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"hidden_size": 32}}, r"do not fit Gpt; .*shape: .*Leave `model` out"),
        ({"objective": "masked_lm"}, "holds a Gpt, but the objective masked_lm trains a Bert"),
        ({"init_from": "no/such/folder"}, "is not the output folder|no folder"),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_anything_is_written(finished, tmp_path, changes, message):
    config = tiny_config(tmp_path / "next", **{"init_from": str(finished), **changes})
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        pretrain(config, quiet=True)
    assert not any(tmp_path.iterdir())


def test_a_context_longer_than_the_given_models_is_refused(finished, tmp_path):
    with pytest.raises(ValueError, match=r"init_from=.*the model has 64 positions"):
        pretrain(further(finished, tmp_path / "next", context=100), quiet=True)


def test_a_compressed_run_is_no_start(finished, tmp_path):
    compress_run(finished, tmp_path / "small", ["quantize"], quiet=True)
    with pytest.raises(ValueError, match="is a compressed model"):
        pretrain(further(tmp_path / "small", tmp_path / "next"), quiet=True)


def test_a_warm_up_that_never_ends_is_pointed_out(tmp_path, capsys):
    pretrain(tiny_config(tmp_path / "run", train={"warmup_steps": 4}), quiet=True)
    assert "the warm-up of 4 steps does not end within the run's 4" in capsys.readouterr().err


def test_a_ready_tokenizer_is_taken_if_its_ids_mean_the_same(finished, tmp_path):
    source = Run.open(finished)
    config = further(finished, tmp_path / "next")
    assert start_tokenizer(config.replace(tokenizer=str(finished)), source).vocab_size == source.tokenizer.vocab_size
    text = tmp_path / "other.txt"
    text.write_text("\n\n".join(f"sentence {n} is another one" for n in range(60)), encoding="utf-8")
    other = tiny_config(tmp_path / "other", corpus=str(text), train={"steps": 1})
    pretrain(other, quiet=True)
    with pytest.raises(ValueError, match="has another vocabulary than the weights"):
        start_tokenizer(config.replace(tokenizer=str(tmp_path / "other")), source)


def test_the_report_gives_perplexity_and_bits_per_byte(run_folder):
    report = pretrain(tiny_config(run_folder), resume=True, quiet=True)
    [line] = [line for line in report.lines() if "validation loss" in line]
    assert "perplexity" in line
    assert "bits per byte" in line


def test_a_run_starts_from_a_hugging_face_folder(finished, tmp_path):
    export_folder(finished, tmp_path / "hf")
    pretrain(further(tmp_path / "hf", tmp_path / "next"), quiet=True)
    opened = Run.open(tmp_path / "next")
    assert opened.config.init_from == tmp_path / "hf"
    assert len(opened.tokenizer) == len(Run.open(finished).tokenizer)
