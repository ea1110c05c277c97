"""Resuming compares the whole configuration; what is refused has changed nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from plm_core.ownership import file_sha256, marker
from plm_core.runs.config import RunConfig
from plm_core.runs.open import Run
from plm_core.runs.pretrain import pretrain
from plm_core.runs.resume import MAY_CHANGE_ON_RESUME, flattened, plain
from plm_core.training.checkpoints.directory import KIND, LAST, MANIFEST, STATE, WEIGHTS, checkpoint_folder
from plm_core.training.checkpoints.state import load_state, save_state
from tests.runs.conftest import contents, tiny_config

REFUSED = {
    "model.num_attention_heads": {"model": {"num_attention_heads": 4}},
    "model.hidden_act": {"model": {"hidden_act": "relu"}},
    "model.position": {"model": {"position": "rope"}},
    "model.hidden_size": {"model": {"hidden_size": 32}},
    "train.optimizer": {"train": {"optimizer": "sgd"}},
    "train.layer_decay": {"train": {"layer_decay": 0.5}},
    "train.learning_rate": {"train": {"learning_rate": 0.1}},
    "batch_size": {"batch_size": 2},
    "seed": {"seed": 1},
    "corpus": {"corpus": "storyworld-small-zh"},
    "objective": {"objective": "masked_lm"},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_change_that_matters_is_named_and_nothing_is_changed(run_folder, name):
    before = contents(run_folder)
    with pytest.raises(ValueError, match=rf"begun with other settings: .*{name} was") as error:
        pretrain(tiny_config(run_folder, **REFUSED[name]), resume=True, quiet=True)
    assert "\n" not in str(error.value)
    assert contents(run_folder) == before


def test_what_may_change_is_a_field_and_is_accepted(run_folder):
    assert flattened(plain(tiny_config(run_folder))).keys() >= MAY_CHANGE_ON_RESUME
    changes = {"eval_every": 3, "save_every": 3, "log_every": 1, "keep_last": 1, "patience": 9}
    report = pretrain(tiny_config(run_folder, precision="auto", train={"steps": 6, **changes}), resume=True, quiet=True)
    assert report is not None
    assert report.steps == 6


def test_the_stored_configuration_says_what_a_resumed_run_did(run_folder):
    longer = tiny_config(run_folder, train={"steps": 6})
    pretrain(longer, resume=True, quiet=True)
    assert RunConfig.load(run_folder / "config.yaml") == longer
    assert Run.open(run_folder).config.train.steps == 6


def test_defaults_that_are_written_out_are_no_change(run_folder):
    stored = Run.open(run_folder).config
    shape = stored.model_config(1).to_dict()
    del shape["vocab_size"]
    spelt = stored.replace(model=shape, output=run_folder)
    assert spelt.model != stored.model
    assert pretrain(spelt, resume=True, quiet=True).steps == 4


def test_a_resume_that_finds_other_data_has_not_replaced_the_token_files(run_folder):
    state = checkpoint_folder(run_folder, 4, LAST)
    before = contents(run_folder)
    tokens = run_folder / "train.tokens" / "tokens.bin"
    content = bytearray(tokens.read_bytes())
    content[: len(content) // 2 * 2 : 2] = b"\x07" * (len(content) // 2)
    tokens.write_bytes(content)
    with pytest.raises(ValueError, match=r"saw other data|damaged|SHA-256"):
        pretrain(tiny_config(run_folder, train={"steps": 6}), resume=True, quiet=True)
    after = contents(run_folder)
    assert state.is_dir()
    assert {name for name in after if after[name] != before.get(name)} <= {"train.tokens/tokens.bin"}


@pytest.mark.parametrize("line", ["[1, 2]", '{"step": "two"}', "null", "mine"])
def test_metrics_that_hold_something_else_stop_a_resume_with_a_message(run_folder, line):
    metrics = run_folder / "metrics.jsonl"
    metrics.write_text(line + "\n" + metrics.read_text())
    before = metrics.read_bytes()
    with pytest.raises(ValueError, match=r"metrics\.jsonl.*line 1"):
        pretrain(tiny_config(run_folder, train={"steps": 6}), resume=True, quiet=True)
    assert metrics.read_bytes() == before


def test_a_run_whose_best_record_is_lost_still_reports(run_folder):
    metrics = run_folder / "metrics.jsonl"
    kept = [line for line in metrics.read_text().splitlines() if "valid/loss" not in json.loads(line)]
    metrics.write_text("".join(line + "\n" for line in kept))
    report = pretrain(tiny_config(run_folder), resume=True, quiet=True)
    assert report.lines()


def test_every_field_of_a_run_is_compared_or_listed(tmp_path: Path):
    """A field added to the configuration is compared unless somebody decides otherwise."""
    names = {field.name for field in dataclasses.fields(RunConfig)}
    assert {name.split(".")[0] for name in MAY_CHANGE_ON_RESUME} <= names
    assert {name.split(".")[0] for name in flattened(plain(tiny_config(tmp_path)))} == names


def test_a_run_that_stopped_before_its_first_record_resumes(run_folder):
    for name in ("metrics.jsonl", "speed.jsonl"):
        (run_folder / name).unlink()
    assert pretrain(tiny_config(run_folder, train={"steps": 6}), resume=True, quiet=True).steps == 6


@pytest.mark.parametrize(
    "changes",
    [{"progress": {"steps": 1}}, {"progress": 3}, {"ranks": [{}]}, {"ranks": 1}, {"optimizer": {}}, {"data": 7}],
)
def test_a_checkpoint_with_another_state_is_answered_with_one_message(run_folder, changes):
    newest = checkpoint_folder(run_folder, 4, LAST)
    save_state({**load_state(newest / STATE), **changes}, newest / STATE)
    (newest / MANIFEST).write_bytes(marker(KIND, {name: file_sha256(newest / name) for name in (WEIGHTS, STATE)}))
    before = contents(run_folder)
    with pytest.raises(ValueError, match=r"state|saw other data") as error:
        pretrain(tiny_config(run_folder, train={"steps": 6}), resume=True, quiet=True)
    assert "\n" not in str(error.value)
    assert contents(run_folder) == before
