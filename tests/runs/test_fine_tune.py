"""Fine-tuning from files to a report: it learns, keeps what it should, opens again, and names what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from plm_core import cli
from plm_core.data.label_names import LabelNames
from plm_core.data.labelled_rows import LabelledBatches
from plm_core.evaluation.bag_of_words import BagOfWords
from plm_core.models.lora import load_lora, lora_layers
from plm_core.runs.config import RunConfig
from plm_core.runs.fine_tune import PART_FILE, FineTuned, ScoredTrainer, fine_tune, open_source
from plm_core.runs.fine_tune_config import FineTuneConfig, Method, read_fine_tune_config
from plm_core.runs.fine_tune_tasks import STRENGTHS, TextTask, set_aside
from plm_core.runs.open import Run, trained_weights
from plm_core.runs.predict import predict_file
from plm_core.runs.pretrain import pretrain
from plm_core.weights import read_weights

NAMES, PLACES, VERBS = ("ann", "bob", "lee", "kim"), ("york", "rome", "oslo"), ("likes", "hates", "sees")
SENTENCES = [
    f"{name} {verb} {place} and {other}" for name in NAMES for verb in VERBS for place in PLACES for other in NAMES
]


def train_source(folder: Path, objective: str) -> None:
    (folder / "corpus.txt").write_text("\n\n".join(SENTENCES), encoding="utf-8")
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    values = {
        "corpus": str(folder / "corpus.txt"),
        "output": str(folder / "run"),
        "objective": objective,
        "tokenizer": "words",
        "context": 16,
        "batch_size": 8,
        "precision": "fp32",
        "model": {**shape, "max_position_embeddings": 16, "initializer_range": 0.2},
        "train": {"steps": 2, "warmup_steps": 1},
    }
    pretrain(RunConfig.from_dict(values), quiet=True)


@pytest.fixture(scope="session")
def sources(once_per_run: Callable[[str, Callable[[Path], object]], Path]) -> dict[str, Path]:
    """The folders of a masked and a causal run; not to be changed."""
    return {
        objective: once_per_run(f"tune-{objective}", lambda folder, o=objective: train_source(folder, o)) / "run"
        for objective in ("masked_lm", "causal_lm")
    }


@pytest.fixture
def make(sources, tmp_path) -> Callable[..., FineTuneConfig]:
    """A configuration with a table of texts, whose class is decided by their verb."""
    rows = [{"text": text, "label": "good" if "likes" in text else "bad"} for text in SENTENCES]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows[::2])), encoding="utf-8")
    (tmp_path / "test.tsv").write_text(
        "text\tlabel\n" + "".join(f"{row['text']}\t{row['label']}\n" for row in rows[1::2]), encoding="utf-8"
    )
    tags = {**dict.fromkeys(NAMES, "B-PER"), **dict.fromkeys(PLACES, "B-LOC")}
    for name, chosen in (("train", SENTENCES[::2]), ("test", SENTENCES[1::2])):
        lines = ["".join(f"{word} {tags.get(word, 'O')}\n" for word in text.split()) for text in chosen]
        (tmp_path / f"{name}.conll").write_text("\n".join(lines), encoding="utf-8")

    def made(source: str = "masked_lm", **changes) -> FineTuneConfig:
        ending = ".conll" if changes.get("task") == "tags" else ".jsonl"
        values = {
            "task": "texts",
            "init_from": str(sources[source]),
            "train_file": tmp_path / f"train{ending}",
            "test_file": tmp_path / ("test.conll" if ending == ".conll" else "test.tsv"),
            "output": tmp_path / "out",
            "max_length": 16,
            "epochs": 8,
            "learning_rate": 0.02,
        }
        return FineTuneConfig.from_dict(values | changes)

    return made


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("masked_lm", {}),
        ("masked_lm", {"pooling": "mean", "metric": "loss"}),
        ("causal_lm", {}),
        ("masked_lm", {"task": "tags"}),
        ("causal_lm", {"task": "tags", "metric": "accuracy"}),
    ],
)
def test_a_model_learns_beats_the_majority_and_opens_again(make, source, changes):
    config = make(source, **changes)
    report = fine_tune(config, quiet=True)
    assert report.scores["accuracy"] > 0.95
    assert report.scores["f1"] > report.baselines["majority"]["f1"]
    assert report.scored_on == str(config.test_file)
    assert report.examples["training"] + report.examples["validation"] == len(SENTENCES) / 2
    assert report.truncated == {"training": 0, "validation": 0, "test": 0}
    assert report.trained_parameters == report.parameters
    stored = json.loads((config.output / "report.json").read_text(encoding="utf-8"))
    assert stored["scores"] == report.scores
    assert stored["config"]["epochs"] == 8
    for name in ("confusion.png", "calibration.png", "fine_tune.yaml", "tokenizer.json"):
        assert (config.output / name).stat().st_size > 0
    assert any(line.startswith("  majority") for line in report.lines())

    with pytest.raises(ValueError, match="holds a fine-tuned model: use `plm predict`"):
        Run.open(config.output)
    opened = FineTuned.open(config.output)
    assert opened.config == config
    texts, labels = opened.task.read(config.test_file)
    split = opened.task.split("test", texts, labels)
    batches = LabelledBatches(split.rows, batch_size=5, pad_id=opened.task.tokenizer.pad_id, seed=3).in_order()
    assert opened.task.scores(split, opened.task.predict(opened.model, split, batches).labels) == report.scores


@pytest.mark.parametrize("method", ["head", "biases", "lora", "adapters", "prompt"])
def test_each_method_trains_its_part_and_leaves_the_rest_as_it_was_pretrained(make, method: Method):
    config = make(method=method, epochs=2, lora={"rank": 2}, adapters={"bottleneck": 4}, prompt={"length": 2})
    report = fine_tune(config, quiet=True)
    assert 0 < report.trained_parameters < 0.7 * report.parameters
    pretrained = read_weights(trained_weights(Path(config.init_from)))
    tuned = {
        name.replace(".base.", "."): tensor for name, tensor in read_weights(trained_weights(config.output)).items()
    }
    changed = {name for name in tuned if name in pretrained and not torch.equal(tuned[name], pretrained[name])}
    allowed = {"head": (), "biases": ("bias",), "lora": (), "adapters": ("norm.weight", "norm.bias"), "prompt": ()}[
        method
    ]
    assert all(name.endswith(allowed or ("nothing",)) for name in changed)
    assert bool(changed) == bool(allowed)
    assert (config.output / PART_FILE).exists() == (method in ("lora", "adapters", "prompt"))
    opened = FineTuned.open(config.output)
    if method == "lora":
        source, _ = open_source(config.init_from)
        model = opened.task.make_model(source).eval()
        load_lora(model, config.output / PART_FILE)
        ids = torch.arange(5)[None] + 7
        assert len(lora_layers(model)) == 4
        torch.testing.assert_close(model(ids), opened.model(ids), rtol=0, atol=0)


def test_pairs_of_texts_are_classified(make, tmp_path):
    rows = [
        {"text": a, "pair": b, "label": int(a == b)} for a in NAMES for b in NAMES for _ in range(3 if a == b else 1)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows * 2)), encoding="utf-8")
    config = make(train_file=tmp_path / "pairs.jsonl", test_file=None, pair_column="pair", epochs=1)
    report = fine_tune(config, quiet=True)
    assert report.scored_on.startswith("a tenth of")
    assert set(report.examples) == {"training", "validation"}
    assert any(line.startswith("repeated texts") for line in report.remarks)
    (tmp_path / "new.csv").write_text("text,pair\nann,bob\n", encoding="utf-8")
    header, line = predict_file(config.output, tmp_path / "new.csv").splitlines()
    assert header == "label\tprobability\ttext\tpair"
    assert line.split("\t")[2:] == ["ann", "bob"]


def test_predictions_are_written_for_texts_and_sentences(make, tmp_path, capsys):
    fine_tune(make(), quiet=True)
    (tmp_path / "new.csv").write_text("text\nbob likes rome and ann\nbob hates rome and ann\n", encoding="utf-8")
    assert cli.main(["predict", str(tmp_path / "out"), str(tmp_path / "new.csv")]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header == "label\tprobability\ttext"
    assert [line.split("\t")[0] for line in lines] == ["good", "bad"]
    assert lines[0].endswith("\tbob likes rome and ann")

    fine_tune(make(task="tags", output=tmp_path / "tags"), quiet=True)
    (tmp_path / "new.txt").write_text("kim sees oslo\n\nann\n", encoding="utf-8")
    arguments = ["predict", str(tmp_path / "tags"), str(tmp_path / "new.txt"), "--output", str(tmp_path / "new.conll")]
    assert cli.main(arguments) == 0
    expected = "kim\tB-PER\nsees\tO\noslo\tB-LOC\n\nann\tB-PER\n\n"
    assert (tmp_path / "new.conll").read_text(encoding="utf-8") == expected
    assert cli.main(arguments) == 2
    assert "exists already" in capsys.readouterr().err


def test_the_penalty_of_the_bag_of_words_is_chosen_by_the_validation_texts(make):
    """One text in ten is of the rare class, told by one word of ten: a strong penalty leaves it unseen."""
    config = make()
    task = TextTask(config, open_source(config.init_from)[1], LabelNames(("bad", "good")))
    texts = [f"ann bob lee kim york rome oslo hates and {'likes' if n % 10 == 0 else 'sees'}" for n in range(20)]
    labels = ["good" if "likes" in text else "bad" for text in texts]
    split = task.split("texts", texts, labels)
    bags = {each: BagOfWords(texts, [int(label == "good") for label in labels], 2, strength=each) for each in STRENGTHS}
    right = {
        each: sum(a == (b == "good") for a, b in zip(bag.predict(texts), labels, strict=True))
        for each, bag in bags.items()
    }
    assert right[STRENGTHS[0]] == 18  # the rare class is never said
    assert max(right.values()) == 20
    assert task.baselines(split, split, split)["bag of words"]["accuracy"] == 1.0
    wrong = task.split("reversed", texts, ["good" if label == "bad" else "bad" for label in labels])
    assert task.baselines(split, wrong, split)["bag of words"]["accuracy"] == 0.9  # chosen by what it is given


def test_the_command_takes_a_file_and_single_values(make, tmp_path, capsys):
    config = make(epochs=1)
    config.save(tmp_path / "c.yaml")
    assert read_fine_tune_config(tmp_path / "c.yaml", ["epochs=2", "lora.rank=3"]).lora.rank == 3
    assert cli.main(["fine-tune", str(tmp_path / "c.yaml"), "batch_size=8"]) == 0
    out = capsys.readouterr().out
    assert out.index("classes: bad") < out.index("full: ")  # before training
    assert "among the training examples too" not in out
    assert "bag of words" in out
    assert cli.main(["fine-tune", str(tmp_path / "c.yaml")]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert cli.main(["fine-tune", str(tmp_path / "c.yaml"), "metod=lora"]) == 2
    assert "did you mean 'method'" in capsys.readouterr().err


def test_an_interrupted_run_ends_as_the_uninterrupted_one(make, tmp_path, monkeypatch):
    whole = make(output=tmp_path / "whole", epochs=3)
    fine_tune(whole, quiet=True)
    cut = make(output=tmp_path / "cut", epochs=3)
    evaluate, calls = ScoredTrainer.evaluate, []

    def interrupted(trainer, log):
        calls.append(trainer.progress.step)
        if len(calls) == 2:
            raise KeyboardInterrupt
        evaluate(trainer, log)

    monkeypatch.setattr(ScoredTrainer, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(cut, quiet=True)
    with pytest.raises(ValueError, match="began with epochs=3, not 4: resume it as it began"):
        fine_tune(cut.replace(epochs=4), resume=True, quiet=True)
    report = fine_tune(cut, resume=True, quiet=True)
    assert report.steps == calls[0] * 3
    expected, found = (read_weights(trained_weights(config.output)) for config in (whole, cut))
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    with pytest.raises(FileNotFoundError, match="is not the output folder of"):
        fine_tune(make(output=tmp_path / "none"), resume=True, quiet=True)


def test_examples_with_the_same_content_are_never_in_both_parts():
    texts = [f"text {number % 7}" for number in range(40)]
    labels = [str(number) for number in range(40)]
    train, valid = set_aside(texts, labels, seed=0, where="a.csv")
    assert set(train[0]).isdisjoint(valid[0])
    assert sorted([*train[1], *valid[1]], key=int) == labels
    assert set_aside(texts, labels, seed=0, where="a.csv") == (train, valid)
    with pytest.raises(ValueError, match=r"a\.csv: one example cannot be divided"):
        set_aside(["a", "a"], ["x", "y"], seed=0, where="a.csv")


@pytest.mark.parametrize(
    ("changes", "content", "message"),
    [
        ({"test_file": "bad.csv"}, "text,label\nann likes oslo,goood\n", "unknown label 'goood': did you mean 'good'"),
        ({"train_file": "bad.csv"}, "text,label\na,good\nb,good\n", "every example is 'good': there is one class only"),
        ({"train_file": "bad.csv"}, "words,label\na,good\n", "no column for the text was named"),
        (
            {"train_file": "bad.csv", "label_column": "labl"},
            "text,label\na,b\n",
            "no column 'labl': did you mean",
        ),
        ({"train_file": "none.csv"}, "", "no text file at"),
        ({"max_length": 17}, "", "max_length 17 is above the 16 tokens that"),
        ({"init_from": "nothing"}, "", "is not the output folder of"),
        ({"task": "tags", "test_file": "bad.conll"}, "ann B-PET\n", "sentence 1: .* has the unknown label 'B-PET'"),
        ({"task": "tags", "test_file": "bad.conll"}, "ann O\nlee I-PER\n", "line 2: I-PER cannot follow O"),
        ({"method": "lora", "lora": {"targets": ["querry"]}}, "", "no linear layer 'querry' for LoRA"),
        ({"pooling": "first", "source": "causal_lm"}, "", "its first token has seen no other token"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(make, tmp_path, monkeypatch, changes, content, message):
    monkeypatch.chdir(tmp_path)
    for name in ("bad.csv", "bad.conll"):
        if name in changes.values():
            (tmp_path / name).write_text(content, encoding="utf-8")
    config = make(changes.pop("source", "masked_lm"), **changes)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        fine_tune(config, quiet=True)
    assert not config.output.exists()


def test_settings_of_the_other_task_and_other_folders_are_refused(make, sources):
    with pytest.raises(ValueError, match="text_column belongs to the task texts"):
        make(task="tags", text_column="text")
    with pytest.raises(ValueError, match="epochs must be positive"):
        make(epochs=0)
    with pytest.raises(FileNotFoundError, match="is not the output folder of `plm fine-tune`"):
        FineTuned.open(sources["masked_lm"])
    config = make(epochs=1)
    fine_tune(config, quiet=True)
    with pytest.raises((FileNotFoundError, ValueError), match=re.escape(str(config.output))):
        Run.open(config.output)


@pytest.mark.parametrize("name", ["texts", "tags", "answers", "relations"])
def test_the_configurations_that_come_with_the_library_are_complete(root, name):
    config = read_fine_tune_config(root / "configs" / "fine_tune" / f"{name}.yaml", ["output=runs/other"])
    assert config.task == name
    assert config.train_config(examples=1600).steps == config.epochs * 100
    assert config.train_config(examples=100).steps == -(-config.min_steps // 7) * 7 > config.epochs * 7


def test_few_examples_are_seen_more_often_but_evaluated_as_often(make):
    config = make(epochs=2, batch_size=10, min_steps=45, evaluations_per_epoch=2)
    few, many = config.train_config(examples=95), config.train_config(examples=1000)
    assert (few.steps, few.eval_every) == (50, 12)  # five times ten batches, evaluated after every quarter
    assert (many.steps, many.eval_every) == (200, 50)
    with pytest.raises(ValueError, match="min_steps"):
        make(min_steps=-1)


@pytest.mark.parametrize("source", ["masked_lm", "causal_lm"])
def test_relations_of_marked_words_are_learned(make, tmp_path, source):
    """The relation follows from the verb; a causal model has read it by the second word."""
    for name, chosen in (("train", SENTENCES[::2]), ("test", SENTENCES[1::2])):
        rows = []
        for text in chosen:
            first, verb, second, *rest = text.split()
            marked = " ".join([f"<e1>{first}</e1>", verb, f"<e2>{second}</e2>", *rest])
            rows.append(json.dumps({"text": marked, "label": verb}))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    files = {"train_file": tmp_path / "train.jsonl", "test_file": tmp_path / "test.jsonl"}
    config = make(source, task="relations", epochs=16, learning_rate=0.005, **files)
    report = fine_tune(config, quiet=True)
    assert report.scores["accuracy"] > 0.95
    assert set(report.per_class) == set(VERBS)
    predicted = predict_file(config.output, tmp_path / "test.jsonl").splitlines()[1:]
    share = sum(line.split("\t")[0] in line.split("\t")[2] for line in predicted) / len(predicted)
    assert share == pytest.approx(report.scores["accuracy"])
    assert all(line.split("\t")[2].count("<e1>") == 1 and "@" not in line for line in predicted)  # marks as in the file
    (tmp_path / "bad.jsonl").write_text('{"text": "ann likes rome", "label": "likes"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"bad\.jsonl, line 1: the mark <e1> is missing"):
        fine_tune(config.replace(test_file=tmp_path / "bad.jsonl", output=tmp_path / "other"), quiet=True)
