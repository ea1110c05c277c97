"""What a run is, is checked when it is opened; what is the user's in its folder is never written, moved or deleted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from plm_core.cli import main
from plm_core.ownership import file_sha256, marker
from plm_core.runs.folder import CONFIG_FILE, LOCK_FILE, MARKER, only_user, write_run_files
from plm_core.runs.open import Run
from plm_core.runs.pretrain import pretrain
from plm_core.training.checkpoints.directory import BEST, KIND, MANIFEST, STATE, WEIGHTS, complete
from tests.runs.conftest import contents, tiny_config


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


@pytest.mark.parametrize("name", [CONFIG_FILE, "tokenizer.json", MARKER])
@pytest.mark.parametrize("damage", [truncate, edit, Path.unlink])
def test_a_changed_part_of_a_run_is_named_when_it_is_opened_or_resumed(run_folder, damage, name):
    if (name, damage) == (MARKER, edit):
        pytest.skip("a line end more leaves the JSON of the marker as it was")
    damage(run_folder / name)
    for use in (lambda: Run.open(run_folder), lambda: pretrain(tiny_config(run_folder), resume=True, quiet=True)):
        with pytest.raises((ValueError, FileNotFoundError), match=name.replace(".", r"\.")):
            use()


@pytest.mark.parametrize("name", [WEIGHTS, STATE, MANIFEST])
def test_a_damaged_best_checkpoint_is_named_and_no_other_is_taken_in_its_place(run_folder, name):
    [best] = complete(run_folder, BEST)
    truncate(best / name)
    with pytest.raises(ValueError, match=rf"{best.name}.*(is damaged|is incomplete).*move it away"):
        Run.open(run_folder)
    best.rename(run_folder / "aside")
    Run.open(run_folder)


def test_weights_that_are_not_finite_are_refused(run_folder, capsys):
    [best] = complete(run_folder, BEST)
    weights = load_file(best / WEIGHTS)
    name = next(iter(weights))
    weights[name][0] = torch.nan
    save_file(weights, best / WEIGHTS)
    (best / MANIFEST).write_bytes(marker(KIND, {n: file_sha256(best / n) for n in (WEIGHTS, STATE)}))
    assert main(["evaluate", str(run_folder)]) == 2
    assert "not finite" in capsys.readouterr().err


def test_a_marker_that_leads_out_of_the_folder_is_refused(run_folder, tmp_path):
    (tmp_path / "secret").write_text("x")
    (run_folder / MARKER).write_bytes(marker("run 1", {"../secret": file_sha256(tmp_path / "secret")}))
    with pytest.raises(ValueError, match="is damaged: expected file names in the folder"):
        Run.open(run_folder)


@pytest.mark.parametrize(
    "name", [CONFIG_FILE, "tokenizer.json", MARKER, "metrics.jsonl", "learning_curve.png", "train.tokens/x"]
)
def test_a_new_run_refuses_files_of_the_user_before_it_writes_anything(tmp_path, name):
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("# my own\n")
    with pytest.raises(FileExistsError, match="is there already"):
        pretrain(tiny_config(tmp_path / "out"), quiet=True)
    assert contents(tmp_path / "out") == {name: b"# my own\n"}


def test_files_of_the_user_under_other_names_stay_as_they_are(tmp_path):
    mine = {"notes.txt": b"1", "best-of-all/weights.safetensors": b"2", "step-1/x": b"3", "my.tokens": b"4"}
    for name, content in mine.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    pretrain(tiny_config(tmp_path), quiet=True)
    assert {name: (tmp_path / name).read_bytes() for name in mine} == mine
    assert Run.open(tmp_path).config == tiny_config(tmp_path)


@pytest.mark.parametrize("name", [LOCK_FILE, "metrics.jsonl", "speed.jsonl", "learning_curve.png", CONFIG_FILE])
def test_resume_writes_through_no_link(run_folder, tmp_path, name):
    target = tmp_path / "target"
    path = run_folder / name
    target.write_bytes(path.read_bytes() if path.exists() else b"mine")
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    before = contents(run_folder)
    with pytest.raises((FileExistsError, ValueError), match="symbolic link"):
        pretrain(tiny_config(run_folder, train={"steps": 6}), resume=True, quiet=True)
    assert contents(run_folder) == before


def test_a_lock_file_of_the_user_keeps_its_content(tmp_path):
    (tmp_path / LOCK_FILE).write_text("mine")
    with only_user(tmp_path):
        pass
    assert (tmp_path / LOCK_FILE).read_text() == "mine"


def test_a_start_that_was_killed_between_its_files_can_be_repeated(tmp_path, monkeypatch):
    written = []

    def killed(path, content):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        original(path, content)

    from plm_core.runs import folder as module

    original = module.replace_file
    monkeypatch.setattr(module, "replace_file", killed)
    with pytest.raises(KeyboardInterrupt):
        pretrain(tiny_config(tmp_path), quiet=True)
    monkeypatch.undo()
    assert not (tmp_path / "tokenizer.json").exists()
    pretrain(tiny_config(tmp_path, seed=1), quiet=True)
    assert Run.open(tmp_path).config.seed == 1


def test_a_replacement_that_was_cut_short_leaves_a_run_that_opens(run_folder, monkeypatch):
    from plm_core.runs import folder as module

    original = module.replace_file
    before = Run.open(run_folder).config
    new = before.replace(train=before.train.replace(steps=9))
    for instant in range(1, 3):
        calls = []

        def killed(path, content, calls=calls, instant=instant):
            calls.append(path)
            if len(calls) > instant:
                raise KeyboardInterrupt
            original(path, content)

        monkeypatch.setattr(module, "replace_file", killed)
        with pytest.raises(KeyboardInterrupt):
            write_run_files(run_folder, {CONFIG_FILE: new.to_yaml().encode(), **tokenizer_files(run_folder)})
        monkeypatch.undo()
        assert Run.open(run_folder).config in (before, new)


def tokenizer_files(folder: Path) -> dict[str, bytes]:
    names = json.loads((folder / MARKER).read_text())["files"]
    return {name: (folder / name).read_bytes() for name in names if name != CONFIG_FILE}
