"""A tiny run, trained once and copied for every test that changes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from plm_core.runs.config import RunConfig
from plm_core.runs.pretrain import pretrain
from tests.tiny_text import TINY_TEXT

TINY = {
    "corpus": str(TINY_TEXT),
    "tokenizer": "words",
    "max_documents": 40,
    "context": 64,
    "batch_size": 4,
    "precision": "fp32",
    "model": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
    "train": {"steps": 4, "warmup_steps": 1, "eval_every": 2, "save_every": 2, "log_every": 2},
}


def tiny_config(output: Path, **changes) -> RunConfig:
    """The configuration of a tiny run; mappings are merged into those of the tiny one."""
    values = {**TINY, "output": str(output)}
    for key, value in changes.items():
        values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
    return RunConfig.from_dict(values)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its path, with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """The folder of a run of four steps; not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    pretrain(tiny_config(folder), quiet=True)
    return folder


@pytest.fixture
def run_folder(finished, tmp_path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(finished, tmp_path / "run", symlinks=True))
