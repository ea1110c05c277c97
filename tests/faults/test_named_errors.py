"""The mistakes that the documentation names: each has a message that says what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.faults.harness import plm

CONFIG = "corpus: {corpus}\noutput: {output}\ncontext: 16\nbatch_size: 2\ntrain: {{steps: 1, warmup_steps: 0}}\n"


@pytest.fixture
def trained_on(tmp_path: Path) -> Callable[..., str]:
    """The message of a training on a corpus."""

    def message(corpus: object, *overrides: str) -> str:
        (tmp_path / "config.yaml").write_text(CONFIG.format(corpus=corpus, output=tmp_path / "out"), encoding="utf-8")
        done = plm("train", tmp_path / "config.yaml", *overrides)
        assert not done.complaint, done
        return done.err

    return message


def test_a_missing_corpus_is_named(trained_on: Callable[..., str], tmp_path: Path) -> None:
    assert "nothing.txt" in trained_on(tmp_path / "nothing.txt")


def test_a_text_in_another_encoding_is_refused_with_the_byte_and_a_way_out(
    trained_on: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "latin.txt").write_bytes("café au lait\n".encode("latin-1") * 50)
    assert "not UTF-8: byte 0xe9 at position 3" in trained_on(tmp_path / "latin.txt")


@pytest.mark.parametrize("content", ["", " \n\n \n"])
def test_an_empty_corpus_is_refused(content: str, trained_on: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(content)
    assert "empty" in trained_on(tmp_path / "empty.txt")


def test_the_nearest_key_is_named(trained_on: Callable[..., str]) -> None:
    assert "did you mean 'context'" in trained_on("storyworld-small-en", "contxt=8")


def test_without_a_gpu_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = plm("info", "--device", "cuda")
    assert not done.complaint
    assert "no CUDA GPU here" in done.err


def test_a_tokenizer_of_another_model_is_refused_with_both_sizes(causal: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("one two three\n" * 5)
    (tmp_path / "config.json").write_text('{"vocab_size": 5000}')
    done = plm(
        *("data", "tokenize", tmp_path / "text.txt", "--output", tmp_path / "out"),
        *("--tokenizer", causal, "--model", tmp_path / "config.json"),
    )
    assert not done.complaint
    assert "5000" in done.err.replace(",", "")


def test_a_damaged_checkpoint_is_named(causal: Path, copy_of: Callable[[Path], Path]) -> None:
    run = copy_of(causal)
    for path in run.rglob("weights.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    done = plm("generate", run)
    assert not done.complaint
    assert "weights.safetensors is damaged" in done.err


def test_without_a_network_the_message_says_where_to_put_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise requests.ConnectionError("no route")

    monkeypatch.setattr("plm_core.data.download.requests.get", refuse)
    monkeypatch.setenv("PLM_DATA_DIR", str(tmp_path / "data"))
    done = plm("data", "get", "text8")
    assert not done.complaint
    assert "put the file at" in done.err
    shutil.rmtree(tmp_path / "data", ignore_errors=True)
