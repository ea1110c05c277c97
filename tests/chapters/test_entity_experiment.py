"""Names in newswire: the rules that find them without a network, and a run of every arm on a made corpus."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from plm_chapters.experiments import newswire_names as newswire
from plm_chapters.notebook import load_experiment
from plm_core.data.examples import TaggedSentence

experiment = load_experiment("15f_entities")


def tagged(text: str) -> TaggedSentence:
    """A sentence of words, each with its tag behind a stroke; O where there is none."""
    pairs = [(word, tag or "O") for word, _, tag in (piece.partition("/") for piece in text.split())]
    return TaggedSentence(tuple(word for word, _ in pairs), tuple(tag for _, tag in pairs))


KNOWN = [
    tagged("Ana/B-PER Gil/I-PER vive en Gil/B-LOC"),
    tagged("Gil/B-LOC de Ana/B-PER de/I-PER"),
    tagged("de Gil/B-LOC de de"),
]


def test_a_word_takes_its_most_frequent_tag() -> None:
    assert newswire.usual_tags(KNOWN, [tagged("de Gil y Ana")]) == [["O", "B-LOC", "O", "B-PER"]]


def test_known_names_are_longest_first_and_mostly_names() -> None:
    found = newswire.known_names(KNOWN, [tagged("Ana Gil , Gil y Ana de Ana")])
    assert found == [["B-PER", "I-PER", "O", "B-LOC", "O", "B-PER", "I-PER", "O"]]
    assert newswire.known_names([*KNOWN, tagged("Ana/B-PER")], [tagged("Ana de")]) == [["B-PER", "I-PER"]]
    assert newswire.known_names([*KNOWN, tagged("de/B-ORG")], [tagged("de")]) == [["O"]]


def test_features_see_neighbours_and_capitals() -> None:
    one, other, lower = (list(newswire.features(text.split()))[1] for text in ("a Gil b", "c Gil b", "a gil b"))
    assert set(one) - set(other) == {"-1 a", "before a Gil"}
    assert "shape 0 Xx" in one
    assert "shape 0 x" in lower
    assert "lower gil" in set(one) & set(lower)


@pytest.fixture
def made_corpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The experiment on made sentences, with a few steps; capitals and the word before tell names and their kinds."""
    draw = random.Random(0)

    def sentence() -> TaggedSentence:
        name = "".join(draw.choices("abcdefgh", k=4)).capitalize()
        kind, before = draw.choice([("PER", "don"), ("LOC", "en")])
        return tagged(f"hoy {before} {name}/B-{kind} {name}/I-{kind} {draw.choice(['habla', 'duerme'])} .")

    parts = {split: [sentence() for _ in range(n)] for split, n in (("train", 60), ("validation", 30), ("test", 30))}
    kept = [newswire.sentences, experiment.tokenizer, experiment.names, experiment.rows]
    monkeypatch.setattr(newswire, "conll2002", lambda split, language: parts[split])
    monkeypatch.setattr(newswire, "FEW", 40)
    for name, value in {
        "VOCABULARY": 120, "WIDTH": 16, "PRETRAINING": 16, "TRIED": 3, "STEPS": {"few": 6, "all": 8}, "MORE": 2,
        "PRETRAINING_RATES": [5e-3, 1e-2], "RATES": [3e-3, 1e-2], "STRENGTHS": [1.0, 3.0],
    }.items():  # fmt: skip
        monkeypatch.setattr(experiment, name, value)
    monkeypatch.setattr(experiment.runs, "MODEL_SEEDS", [1, 2])
    for each in kept:
        each.cache_clear()
    yield experiment
    for each in kept:
        each.cache_clear()


def test_every_arm_gives_a_result_that_can_be_stored(made_corpus: ModuleType, tmp_path: Path) -> None:
    found = {}
    for variant in made_corpus.VARIANTS:
        arm = variant.removeprefix("spanish, ")
        found[arm] = json.loads(json.dumps(made_corpus.run(variant, 0, "laptop", tmp_path / arm)))
    assert found["floors"]["only O"]["f1"] == 0
    assert found["floors"]["labelled"] == {"few": 40, "all": 60}
    assert found["features"]["all"]["f1"] == [1.0]
    for arm, count in itertools.product(("pretrained", "random weights"), ("few", "all")):
        assert len(found[arm][count]["f1"]) == 2
    assert found["random weights"]["more"]["steps"] == 16
    curve = found["pretrained"]["pretraining"]["curve"]
    assert [each["step"] for each in curve] == list(range(2, 17, 2))


def test_an_interrupted_run_goes_on(made_corpus: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made_corpus.run("spanish, pretrained", 0, "laptop", tmp_path / "once")
    whole = made_corpus.fine_tuned
    calls = itertools.count()

    def stopping(*args: object, **settings: object) -> object:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return whole(*args, **settings)

    monkeypatch.setattr(made_corpus, "fine_tuned", stopping)
    with pytest.raises(KeyboardInterrupt):
        made_corpus.run("spanish, pretrained", 0, "laptop", tmp_path / "twice")
    again = made_corpus.run("spanish, pretrained", 0, "laptop", tmp_path / "twice")
    assert again["pretraining"]["curve"] == first["pretraining"]["curve"]
    assert [again[count]["f1"] for count in ("few", "all")] == [first[count]["f1"] for count in ("few", "all")]
