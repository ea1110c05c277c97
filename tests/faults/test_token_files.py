"""Damaged token files: a TokenFile either opens, or says in a ValueError what is wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from plm_core.data.token_files import TokenFile
from tests.faults.conftest import text
from tests.faults.harness import failures, nothing_changes, plm
from tests.faults.test_run_folders import all_damages, replacements


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text(text(10), encoding="utf-8")
    done = plm("data", "tokenize", tmp_path / "text.txt", "--output", tmp_path / "tokens", "--train", "words")
    assert done.code == 0, done
    return tmp_path / "tokens"


def opened(path: Path) -> str:
    """What is wrong with the way in which a token file is refused; empty if it opens and can be read to its end.

    Ids beyond the vocabulary are found when the file is used, by whoever reads all of it.
    """
    try:
        file = TokenFile(path)
        for number in range(len(file)):
            assert len(file[number]) == file.lengths[number]
    except (ValueError, FileNotFoundError) as error:
        return "" if str(path) in str(error) else f"a message without the path: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def test_a_damaged_token_file_is_refused(tokens: Path, user: Path, copy_of: Callable[[Path], Path]) -> None:
    draw, told = random.Random(0), []
    for original in sorted(path for path in tokens.rglob("*") if path.is_file()):
        name, content = original.relative_to(tokens), original.read_bytes()
        if name.parts[0] == "tokenizer":
            continue
        for what, damaged in all_damages(original.name, content, draw):
            folder = copy_of(tokens)
            (folder / name).write_bytes(damaged)
            told.append((f"{name}: {what}", opened(folder)))
        folder = copy_of(tokens)
        for what, replace in replacements(folder / name, user):
            (folder / name).unlink(missing_ok=True)
            replace()
            with nothing_changes(user):
                told.append((f"{name}: {what}", opened(folder)))
            if (folder / name).is_dir() and not (folder / name).is_symlink():
                (folder / name).rmdir()
    assert len(told) > 60
    assert not failures(told), failures(told)
