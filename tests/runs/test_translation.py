"""Translation from the command line: it trains, resumes to the same bits, translates, and names every mistake."""

from pathlib import Path

import pytest
import torch
import yaml

from plm_core.cli import main
from plm_core.generation.beam import Beam
from plm_core.runs.open import Run
from plm_core.runs.translation import (
    Translator,
    load_pairs,
    read_pairs,
    read_translation_config,
    story_pairs,
    train_translation,
)
from plm_core.training.trainer import Trainer
from tests.runs.conftest import contents

WORDS = ["red", "blue", "cup", "hat", "box"]
FOREIGN = ["rot", "blau", "tasse", "hut", "kiste"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A file of 125 pairs: three words, and the same three in the other language, backwards."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.tsv"
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(125, generator=generator).tolist()
    lines = []
    for number in order:
        digits = [number // 25, number // 5 % 5, number % 5]
        lines.append(f"{' '.join(WORDS[d] for d in digits)}\t{' '.join(FOREIGN[d] for d in digits[::-1])}")
    path.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return path


def settings(pairs, output, **changes):
    values = {
        "objective": "seq2seq",
        "corpus": str(pairs),
        "output": str(output),
        "tokenizer": "words",
        "max_length": 8,
        "batch_size": 25,
        "precision": "fp32",
        "model": {
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_decoder_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        },
        "train": {"steps": 6, "warmup_steps": 2, "eval_every": 3, "save_every": 2, "log_every": 3},
    }
    return values | changes


@pytest.fixture
def write(pairs, tmp_path, monkeypatch):
    """Write a configuration file with changes; its path."""
    monkeypatch.setenv("PLM_DEVICE", "cpu")

    def written(output="run", **changes):
        path = tmp_path / f"{output}.yaml"
        path.write_text(yaml.safe_dump(settings(pairs, tmp_path / output, **changes)), encoding="utf-8")
        return path

    return written


@pytest.fixture(scope="module")
def learned(pairs, tmp_path_factory):
    """The folder of a run that has learned its pairs; not to be changed."""
    folder = tmp_path_factory.mktemp("learned")
    train = {"steps": 160, "warmup_steps": 10, "eval_every": 40, "learning_rate": 8e-3, "weight_decay": 0.0}
    (folder / "run.yaml").write_text(yaml.safe_dump(settings(pairs, folder / "run", train=train)), encoding="utf-8")
    train_translation(read_translation_config(folder / "run.yaml"), quiet=True)
    return folder / "run"


def test_it_translates_what_it_was_never_shown(learned, pairs):
    """Every held-out triple of words, whatever the width; an empty text stays empty."""
    held_out = read_pairs(pairs)[-12:]
    translator = Translator.open(learned)
    for beam in (None, Beam(width=1, max_new_tokens=8), Beam(width=6, max_new_tokens=8, penalty="division")):
        found = translator.translate([*(pair.source for pair in held_out), ""], beam=beam)
        right = sum(output == pair.target for output, pair in zip(found, held_out, strict=False))
        assert right >= 10
        assert found[-1] == ""


def test_texts_side_by_side_change_nothing(learned):
    translator, texts = Translator.open(learned), ["red cup", "box", "blue blue hat", "hat red"]
    assert translator.translate(texts) == [translator.translate([text])[0] for text in texts]


def test_the_command_translates_lines_and_scores_them(learned, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("red cup hat\n\nbox box red\n", encoding="utf-8")
    (tmp_path / "right.txt").write_text("hut tasse rot\n\nrot kiste kiste\n", encoding="utf-8")
    assert main(["translate", str(learned), "--text", "red cup hat"]) == 0
    one = capsys.readouterr().out
    command = ["translate", str(learned), "--file", str(tmp_path / "in.txt"), "--width", "2"]
    assert main([*command, "--references", str(tmp_path / "right.txt")]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == one.strip()
    assert out.splitlines()[1] == ""
    assert len(out.splitlines()) == 3
    assert "chrF" in err


@pytest.mark.parametrize("dies_at", [2, 5])
def test_stopped_and_resumed_it_is_the_same_run(write, monkeypatch, tmp_path, capsys, dies_at):
    assert main(["train", str(write("whole"))]) == 0
    assert "best of 6 steps" in capsys.readouterr().out
    calls, step = [], Trainer.step

    def mortal(self):
        calls.append(1)
        if len(calls) == dies_at:
            raise RuntimeError("the power failed")
        return step(self)

    monkeypatch.setattr(Trainer, "step", mortal)
    with pytest.raises(RuntimeError, match="power"):
        train_translation(read_translation_config(write("run")), quiet=True)
    monkeypatch.setattr(Trainer, "step", step)
    assert main(["train", str(write("run")), "--resume"]) == 0
    whole, resumed = (
        {name: content for name, content in contents(tmp_path / folder).items() if name.endswith("safetensors")}
        for folder in ("whole", "run")
    )
    assert whole == resumed


def test_reversed_it_learns_the_other_direction(write):
    train, valid = load_pairs(read_translation_config(write(reverse=True)))
    assert (len(train), len(valid)) == (113, 12)
    assert all(set(pair.source.split()) <= set(FOREIGN) for pair in (*train, *valid))
    limited = load_pairs(read_translation_config(write(max_pairs=7)))
    assert len(limited[0]) == 7


def test_storyworlds_sentences_are_pairs():
    found = story_pairs("storyworld-small", 3, "train", 0)
    again = story_pairs("storyworld-small", 3, "train", 0)
    assert found == again
    assert len(found) > 20
    assert all(pair.source.isascii() and not pair.target.isascii() for pair in found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpus": "nowhere.tsv"}, "expected a file of pairs or one of multi30k"),
        ({"model": {"vocab_size": 3}}, "vocab_size follows from the tokenizer"),
        ({"model": {"hidden": 3}}, "did you mean"),
        ({"label_smoothing": 1.0}, "label_smoothing is a probability"),
        ({"max_length": 2}, "expected the same number, at least 1"),
    ],
)
def test_mistakes_in_training_are_named_and_leave_nothing_behind(write, capsys, tmp_path, changes, message):
    assert main(["train", str(write(**changes))]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_files_that_hold_no_pairs_are_refused(tmp_path):
    path = tmp_path / "pairs.tsv"
    for text, message in (("one\ttwo\nthree\n", "line 2"), ("a\tb\tc\n", "got 3 parts"), ("\n", "no pair")):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            read_pairs(path)


def test_mistakes_in_translating_are_named(learned, capsys, tmp_path):
    for arguments, message in (
        ([], "give either --text or --file"),
        (["--text", "red " * 9], "divide it into sentences"),
        (["--text", "red", "--width", "0"], "expected 1 <= outputs <= width"),
        (["--text", "red", "--max-new-tokens", "99"], "at most 8 tokens"),
        (["--text", "red", "--alpha", "-1"], "would make short outputs win"),
    ):
        assert main(["translate", str(learned), *arguments]) == 2
        assert message in capsys.readouterr().err
    assert main(["evaluate", str(learned)]) == 2
    assert "use `plm translate`" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError):
        Translator.open(tmp_path)
    with pytest.raises(ValueError, match="translation run"):
        Run.open(learned)


def test_a_run_of_another_kind_or_another_configuration_is_refused(finished, write, capsys, learned):
    assert main(["translate", str(finished), "--text", "red"]) == 2
    assert "is not the output of a translation run" in capsys.readouterr().err
    path = write()
    assert main(["train", str(path)]) == 0
    capsys.readouterr()
    assert main(["train", str(path)]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert main(["train", str(path), "seed=3", "--resume"]) == 2
    assert "the configuration is not the one in" in capsys.readouterr().err


def test_the_configurations_that_come_with_the_book_are_valid():
    folder = Path(__file__).parents[2] / "configs" / "translation"
    for path in folder.glob("*.yaml"):
        assert read_translation_config(path).output.name == f"translation_{path.stem}"
