"""Damaged folders in Hugging Face's layout: ``plm import`` refuses each with one message and writes nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.harness import failures, nothing_changes, plm
from tests.faults.test_run_folders import all_damages, replacements

REQUIRED = ("config.json", "model.safetensors", "tokenizer.json")
SIZES = ("vocab_size", "n_embd", "n_layer", "n_head", "n_positions", "num_hidden_layers", "hidden_size")
ABSURD = [-1, 0, 10**9, 10**30, 1.5, "x", None, [], True]


@pytest.fixture
def folder(causal: Path, tmp_path: Path) -> Path:
    done = plm("export", causal, "--output", tmp_path / "exported", "--format", "huggingface")
    assert done.code == 0, done
    return tmp_path / "exported"


def test_a_damaged_folder_is_refused(folder: Path, copy_of: Callable[[Path], Path], user: Path, tmp_path: Path) -> None:
    draw, told = random.Random(0), []
    assert plm("import", folder, tmp_path / "whole").code == 0
    for name in REQUIRED:
        content, copy = (folder / name).read_bytes(), copy_of(folder)
        path = copy / name
        for what, replace in replacements(path, user):
            path.unlink()
            replace()
            with nothing_changes(tmp_path):
                told.append((f"{name}: {what}", plm("import", copy, tmp_path / "new").complaint))
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
            path.write_bytes(content)
        cut = [
            (what, damaged) for what, damaged in all_damages(name, content, draw) if what.startswith(("cut", "deep"))
        ]
        for what, damaged in cut:
            path.write_bytes(damaged)
            with nothing_changes(tmp_path):
                told.append((f"{name}: {what}", plm("import", copy, tmp_path / "new").complaint))
    assert not failures(told), failures(told)


def test_a_configuration_with_absurd_sizes_is_refused(folder: Path, tmp_path: Path) -> None:
    told, original = [], json.loads((folder / "config.json").read_text())
    for key in SIZES:
        for value in ABSURD if key in original else ():
            (folder / "config.json").write_text(json.dumps({**original, key: value}))
            with nothing_changes(tmp_path):
                told.append((f"{key} = {value!r}", plm("import", folder, tmp_path / "new").complaint))
    assert len(told) >= 3 * len(ABSURD)
    assert not failures(told), failures(told)
