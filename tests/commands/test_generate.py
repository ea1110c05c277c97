"""``plm generate`` and ``plm fill-mask``: several prompts, streams, unknown characters, refused numbers."""

from types import SimpleNamespace

import pytest
import torch

from plm_core.cli import main
from plm_core.data.tokenizer_training import train_characters
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.runs.open import Run


@pytest.fixture(autouse=True)
def run(monkeypatch):
    """A run that was never trained: what the command does with a model does not depend on its weights."""
    torch.manual_seed(0)
    tokenizer = train_characters(["the cat sat on the mat ."])
    config = GptConfig.tiny(tokenizer.vocab_size).replace(max_position_embeddings=32)
    opened = SimpleNamespace(tokenizer=tokenizer, model=Gpt(config))
    monkeypatch.setattr(Run, "open", lambda folder: opened)


def generate(capsys, *arguments):
    assert main(["generate", "run", "--max-new-tokens", "12", "--seed", "4", *map(str, arguments)]) == 0
    return capsys.readouterr()


def test_a_stream_shows_the_same_texts(capsys, tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("the cat\n\nthe mat sat\n", encoding="utf-8")
    texts = generate(capsys, "--prompts", file).out
    first, second = texts.split("\n-----\n")
    assert first.startswith("the cat")
    assert second.startswith("the mat sat")
    assert generate(capsys, "--prompts", file, "--stream").out == texts
    assert generate(capsys, "--prompt", "the cat", "--stream").out == f"{first}\n"


def test_unknown_characters_of_a_prompt_are_reported_on_stderr(capsys):
    shown = generate(capsys, "--prompt", "the Ж cat")
    assert shown.out.startswith("the Ж cat")
    assert "'Ж'" in shown.err
    assert "[UNK]" in shown.err
    assert generate(capsys, "--prompt", "the cat").err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-new-tokens", "-5"], "max_new_tokens"),
        (["--temperature", "nan"], "temperature"),
        (["--temperature", "-0.1"], "temperature"),
        (["--top-p", "nan"], "top_p"),
        (["--top-k", "0"], "top_k"),
        (["--seed", "-1"], "seed"),
        (["--prompt", "a", "--prompts", "file"], "exclude each other"),
        (["--prompts", "nowhere.txt"], "nowhere.txt"),
        (["--prompt", "the " * 10], "shorten it"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_message(capsys, arguments, message):
    assert main(["generate", "run", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("plm: ")
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize("arguments", [["--temperature", "1e-40"], ["--top-p", "1e-300"], ["--max-new-tokens", "0"]])
def test_numbers_at_the_edge_of_their_range_work(capsys, arguments):
    assert main(["generate", "run", "--prompt", "the", *arguments]) == 0
    assert capsys.readouterr().out.startswith("the")
