"""The marked sentences of the chapter on fine-tuning: right classes, no leak, and no class in the words alone."""

from __future__ import annotations

import itertools
import re
from collections import Counter

import pytest

from plm_chapters.notebook import load_experiment
from plm_core.evaluation.bag_of_words import words_of

relations, runs = load_experiment("15b_relations"), load_experiment("fine_tuning_runs")
PARTS = ("train", "valid", "test")


@pytest.mark.parametrize("part", PARTS)
def test_the_class_says_who_acts(part: str) -> None:
    """Read off the plain sentences by patterns of their own, for those that have one."""
    seen = 0
    for text, label in relations.sentences(part):
        giving = re.fullmatch(r"<e(\d)>\w+</e\1> (?:gave|offered) .*<e(\d)>.*", text)
        asking = re.fullmatch(r"<e(\d)>\w+</e\1> (?:asked|begged|invited) <e(\d)>.*", text)
        found = giving or asking
        if found:
            verb = "gives" if giving else "asks"
            assert label == f"e{found[1]} {verb} e{found[2]}", text
            seen += 1
    assert seen > len(relations.sentences(part)) / 4


def test_hunger_is_not_giving() -> None:
    """The one kind of sentence in which the second-named person gives."""
    given = [(text, label) for text, label in relations.sentences("train") if "was hungry" in text]
    for text, label in given:
        hungry = re.match(r"<e(\d)>", text)
        assert hungry is None or label == f"e{3 - int(hungry[1])} gives e{hungry[1]}", text


def test_who_lets_somebody_have_something_gives_it() -> None:
    marked = [example for part in PARTS for example in relations.sentences(part)]
    let = [(re.match(r"<e(\d)>\w+</e\1> let <e(\d)>", text), label) for text, label in marked]
    found = [(label, f"e{match[1]} gives e{match[2]}") for match, label in let if match]
    assert len(found) > 5
    assert all(label == expected for label, expected in found), found


def test_no_sentence_is_in_two_parts_and_the_classes_are_equally_frequent() -> None:
    plain = {part: {relations.plain(text) for text, _ in relations.sentences(part)} for part in PARTS}
    for one, other in itertools.combinations(PARTS, 2):
        assert not plain[one] & plain[other]
    for part in PARTS:
        counts = Counter(label for _, label in relations.sentences(part))
        assert set(counts) == set(relations.CLASSES)
        assert len(set(counts.values())) == 1


def test_pairs_of_words_are_words_of_their_own() -> None:
    """The bag of words must not take a pair apart again, nor lose a mark or the first word's place."""
    found = words_of(runs.with_pairs("Who are you?"))
    assert found == ["who", "are", "you", "mark63", "start_who", "who_are", "are_you", "you_mark63"]
    one, other = (set(words_of(runs.with_pairs(text))) for text in ("mira saw ben", "ben saw mira"))
    assert one != other
