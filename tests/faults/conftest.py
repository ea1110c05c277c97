"""Tiny runs that malformed inputs are tried on, trained once; and a user's folder that nothing may touch."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from plm_core.runs.config import RunConfig
from plm_core.runs.pretrain import pretrain
from tests.faults.harness import users_folder

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "one", "dog", "run", "to", "its", "red", "house"]


def text(documents: int = 40) -> str:
    """Documents of short sentences, the same in every run."""
    lines = [" ".join(WORDS[(start * step) % len(WORDS)] for step in range(1, 9)) for start in range(3 * documents)]
    return "\n\n".join("\n".join(lines[3 * number : 3 * number + 3]) for number in range(documents)) + "\n"


def train(folder: Path, objective: str) -> None:
    """Train a tiny model on the text, with two checkpoints and the best one."""
    (folder / "corpus.txt").write_text(text(), encoding="utf-8")
    config = RunConfig.from_dict(
        {
            "corpus": str(folder / "corpus.txt"),
            "output": str(folder / "run"),
            "objective": objective,
            "tokenizer": "words",
            "context": 32,
            "batch_size": 4,
            "precision": "fp32",
            "validation_batches": 1,
            "model": {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16},
            "train": {"steps": 2, "warmup_steps": 1, "eval_every": 1, "save_every": 1, "log_every": 1},
        }
    )
    pretrain(config, quiet=True)


@pytest.fixture(scope="session")
def causal(once_per_run: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The folder of a causal run; not to be changed."""
    return once_per_run("faults-causal", lambda folder: train(folder, "causal_lm")) / "run"


@pytest.fixture(scope="session")
def masked(once_per_run: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The folder of a masked run; not to be changed."""
    return once_per_run("faults-masked", lambda folder: train(folder, "masked_lm")) / "run"


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    """Copy a folder into this test's own; the second copy replaces the first."""

    def copied(folder: Path) -> Path:
        target = tmp_path / "copy"
        shutil.rmtree(target, ignore_errors=True)
        return Path(shutil.copytree(folder, target, symlinks=True))

    return copied


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A user's folder: ``home``, with files that nothing may touch, and ``outside``, where links lead."""
    return users_folder(tmp_path / "user")
