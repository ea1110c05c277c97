"""The page *Your own text* works as it stands: its commands run, in order, on a tiny text."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from plm_core.cli import main
from tests.book.pages import commands, run_snippet, write_tiny_configuration

TEXT = "The river runs past the old mill , and the miller takes his boat to sell bread in the town ."


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "book" / "your_own_text.md").read_text(encoding="utf-8")


@pytest.fixture
def desk(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the page asks for: a text, another one, prompts, and its configuration, made tiny."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    words = TEXT.split()
    documents = [" ".join(words[i:] + words[:i]) + "\n" + TEXT for i in range(len(words))]
    Path("my_text.txt").write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    Path("held_out.txt").write_text("\n\n".join(documents[:3]) + "\n", encoding="utf-8")
    Path("prompts.txt").write_text("The river\nThe old mill\n", encoding="utf-8")
    write_tiny_configuration(page, steps=4, vocab_size=300)
    return tmp_path


def test_its_commands_run_in_order_and_transformers_continues_as_plm_generate_does(desk, page, capsys) -> None:
    written = commands(page)
    assert {command[0] for command in written} >= {"train", "evaluate", "generate", "data", "export", "import"}
    for arguments in written:
        # The tiny run has fewer steps, and goes on to fewer.
        tiny = [re.sub(r"^train\.steps=\d+$", "train.steps=6", argument) for argument in arguments]
        assert main(tiny) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "bits per byte" in said
    assert list(Path("runs/my_gpt").glob("**/events.out.tfevents*")), "TensorBoard has something to show"

    run_snippet(page, "your_own_text.md")
    theirs = capsys.readouterr().out
    command = ["generate", "runs/my_gpt", "--prompt", "The river", "--max-new-tokens", "20", "--temperature", "0"]
    assert main(command) == 0
    assert capsys.readouterr().out == theirs


def test_the_parts_of_the_library_that_it_names_exist(page) -> None:
    names = re.findall(r"`(plm_core(?:\.\w+)+)`", page)
    assert "plm_core.data.documents.sentences" in names
    for module, _, attribute in (name.rpartition(".") for name in names):
        assert hasattr(importlib.import_module(module), attribute), f"{module}.{attribute}"


def test_what_it_says_may_change_on_a_resume_is_what_may_change(page) -> None:
    from plm_core.runs.resume import MAY_CHANGE_ON_RESUME

    [sentence] = re.findall(r"What may differ is (.*?)\. Any other change", page)
    assert {*re.findall(r"`([\w.]+)`", sentence), "output"} == MAY_CHANGE_ON_RESUME


def test_the_rules_and_tokenizers_it_lists_are_those_there_are(page) -> None:
    from plm_core.data.documents import RULES
    from plm_core.runs.config import TOKENIZER_KINDS

    rows = re.findall(r"^\| `(\w+)` (?:\(the default\) )?\| [^|]+\| ", page, re.MULTILINE)
    rows.remove("documents")  # the head of its table
    assert sorted(rows) == sorted([*RULES, *TOKENIZER_KINDS])
