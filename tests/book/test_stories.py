"""The page *Stories with known answers* works as it stands: its commands run, in order, on a tiny model."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from plm_core.cli import main
from plm_core.runs.stories import StoryConfig
from plm_core.storyworld.files import TASKS
from tests.book.pages import commands, run_snippet, write_tiny_configuration


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "book" / "stories.md").read_text(encoding="utf-8")


def test_its_commands_run_in_order(page, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.setattr("plm_core.runs.corpus.VALIDATION_STORIES", 12)
    monkeypatch.setattr("plm_core.runs.skills.BASELINE_STORIES", 12)
    write_tiny_configuration(page, steps=2, max_documents=20)
    for arguments in commands(page):
        if "--skills" in arguments:
            arguments += ["--stories", "8"]
        few = [re.sub(r"^100+$", "6", argument) for argument in arguments]
        assert main(few) == 0, capsys.readouterr().err
    assert {path.name for path in Path("runs/my_stories").glob("skills.*")} == {"skills.json", "skills.png"}
    assert Path("by_distance.json").is_file()
    capsys.readouterr()
    run_snippet(page, "stories.md")
    assert " -> " in capsys.readouterr().out


def test_its_tables_name_every_dial_and_every_task(page) -> None:
    named = re.findall(r"^\| (`.+?) \|", page, re.MULTILINE)
    found = {name for cell in named for name in re.findall(r"`([^`]+)`", cell)}
    assert found - {"--task"} == {field.name for field in dataclasses.fields(StoryConfig)} | set(TASKS)
