"""Who gives, who asks: relations of two people in sentences of StoryWorld, with and without pretraining.

Two people are marked in a sentence, in random order; the class says whether one gives the other something (offers,
lends and brings it) or asks for something, and which of the two does it: four classes, equally frequent. A sentence
determines its class, so the ideal reader is always right. A bag of words sees whether there is giving or asking, but
not who does it. In most sentences it is the first-named, so that the order of the marks says nearly all of the rest.

Arms: the pretrained network of :mod:`~plm_chapters.experiments.fine_tuning_runs`, and the same with random weights.
Both read the states of the two markers (:class:`~plm_core.models.heads.RelationClassifier`). LABELLED sentences, STEPS
steps of 16, otherwise as there. Five rates or more by the loss on 120 validation sentences with seed 0; then three
other seeds on 300 test sentences. No sentence is in two parts. Floors: "words" is a bag of words without the marks;
"first-named" adds to its verb the rule that the first-named person does it; "words and order" is a bag of words in
which every word is told apart by which mark comes first.

Criterion, set before the run: the difference of the accuracies, paired by seed, counts if its 95 % interval (Student's
t) does not contain zero.
"""

from __future__ import annotations

import itertools
import random
from functools import cache
from typing import Any

import torch
from torch import nn

from plm_chapters.experiments import fine_tuning_runs as runs
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.data.labelled_rows import LabelledBatches
from plm_core.data.relations import parse_marked, relation_row
from plm_core.evaluation.bag_of_words import BagOfWords, words_of
from plm_core.evaluation.validation import validate
from plm_core.models.heads import RelationClassifier
from plm_core.objectives.relations import RelationClassification
from plm_core.runtime import setup
from plm_core.storyworld import StoryWorld
from plm_core.training.trainer import Trainer

FLOORS = ["words", "first-named", "words and order"]
VARIANTS = [*FLOORS, "pretrained", "random weights"]
SEEDS = [0]
"""The seeds of the runs are inside."""
MODEL_SEEDS = [1, 2, 3]
GIVING = {"hand": 0, "offer": 0, "bring": 0, "aid_pack": 0, "give_away": 1}
"""Events in which one gives the other something, and whether the first- or the second-named is the one.

Where the sentence says "let", it is the first-named in all of them.
"""
ASKING = {"beg": 0, "invite": 0, "ask": 0, "ask_fruit": 0}
CLASSES = ["e1 asks e2", "e1 gives e2", "e2 asks e1", "e2 gives e1"]
LABELLED, STEPS, MAX_LENGTH = 160, 40, 48
RATES = [3e-5, 1e-4, 3e-4, 1e-3, 3e-3]
COUNTS = {"train": 640, "valid": 120, "test": 300}


@cache
def sentences(split: str) -> list[tuple[str, str]]:
    """Different marked sentences of a split and their classes, equally many of each; none is in two splits."""
    quota = COUNTS[split] // len(CLASSES)
    earlier = list(COUNTS)[: list(COUNTS).index(split)]
    known = {plain(text) for part in earlier for text, _ in sentences(part)}
    draw = random.Random(f"marks {split}")
    found: dict[str, list[tuple[str, str]]] = {name: [] for name in CLASSES}
    for story in StoryWorld().stories(0, split):
        for sentence in story.sentences:
            made = marked(sentence, draw)
            if made is None or plain(made[0]) in known or len(found[made[1]]) >= quota:
                continue
            known.add(plain(made[0]))
            found[made[1]].append(made)
        if all(len(each) >= quota for each in found.values()):
            break
    return list(itertools.chain.from_iterable(zip(*found.values(), strict=True)))


def marked(sentence: Any, draw: random.Random) -> tuple[str, str] | None:
    """A sentence with its two people marked, and its class; None if it tells no giving or asking between two people."""
    kind = sentence.event[0]
    if kind not in GIVING and kind not in ASKING:
        return None
    steps = sentence.pattern.steps
    places = [n for n, step in enumerate(steps) if not isinstance(step, str) and step.tag == "name"]
    if len(places) != 2:
        return None
    actor = 0 if "let" in steps else GIVING.get(kind, ASKING.get(kind))  # "tom let ben have ...": the first-named gives
    first = draw.randrange(2)  # which of the two is e1
    words = list(sentence.words)
    for order, place in enumerate(places):
        mark = 1 if order == first else 2
        words[place] = f"<e{mark}>{words[place]}</e{mark}>"
    subject = 1 if actor == first else 2
    return " ".join(words), f"e{subject} {'gives' if kind in GIVING else 'asks'} e{3 - subject}"


def plain(text: str) -> str:
    """A sentence without its marks."""
    return text.replace("<e1>", "").replace("</e1>", "").replace("<e2>", "").replace("</e2>", "")


def batches(examples: list[tuple[str, str]], *, size: int = runs.BATCH, seed: int = 0) -> LabelledBatches:
    """Marked sentences in batches."""
    tokenizer = runs.source()[1]
    rows = [
        relation_row(parse_marked(text), tokenizer, label=CLASSES.index(label), max_length=MAX_LENGTH)[0]
        for text, label in examples
    ]
    return LabelledBatches(rows, batch_size=size, pad_id=tokenizer.pad_id, seed=seed)


def labelled(seed: int) -> list[tuple[str, str]]:
    """LABELLED training sentences, drawn from many."""
    return random.Random(seed).sample(sentences("train"), LABELLED)


def train(start: str, *, rate: float, seed: int, steps: int = STEPS) -> nn.Module:
    """Train all weights on the sentences of a seed."""
    trunk = runs.source()[0] if start == "pretrained" else runs.untrained(seed)
    torch.manual_seed(seed)
    model = RelationClassifier.from_pretrained(trunk, len(CLASSES))
    settings = runs.settings_for(steps, rate)
    trainer = Trainer(model, RelationClassification(), batches(labelled(seed), seed=seed), settings, quiet=True)
    torch.manual_seed(1000 + seed)  # dropout
    trainer.fit()
    return model


def score(model: nn.Module, split: str) -> dict[str, float]:
    """Loss and accuracy, in evaluation mode."""
    found = validate(model, RelationClassification(), batches(sentences(split), size=50).in_order())
    return {"loss": found["loss"], "accuracy": found["relation_classification/accuracy"]}


def floor(kind: str, seed: int) -> float:
    """The accuracy of one of FLOORS."""
    examples, tested = labelled(seed), sentences("test")
    if kind == "first-named":
        verbs = ["asks", "gives"]
        model = BagOfWords(
            [plain(text) for text, _ in examples],
            [verbs.index(name.split()[1]) for _, name in examples],
            2,
            strength=10.0,
        )
        told = model.predict([plain(text) for text, _ in tested])
        found = [
            f"e{first_mark(text)} {verbs[n]} e{3 - first_mark(text)}" for n, (text, _) in zip(told, tested, strict=True)
        ]
    else:
        seen = plain if kind == "words" else with_order
        numbers = [CLASSES.index(name) for _, name in examples]
        model = BagOfWords([seen(text) for text, _ in examples], numbers, len(CLASSES), strength=10.0)
        found = [CLASSES[n] for n in model.predict([seen(text) for text, _ in tested])]
    return sum(one == label for one, (_, label) in zip(found, tested, strict=True)) / len(tested)


def first_mark(text: str) -> int:
    """Which of the two marked people is named first."""
    return 1 if text.index("<e1>") < text.index("<e2>") else 2


def with_order(text: str) -> str:
    """A sentence without its marks, every word of it followed by the number of the first mark."""
    return " ".join(f"{word}{first_mark(text)}" for word in words_of(plain(text)) if word.isalnum())


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Sweep the rates of one arm, then train with each of MODEL_SEEDS."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    if variant in FLOORS:
        return {"accuracy": [floor(variant, each) for each in MODEL_SEEDS]}
    swept = sweep(
        lambda rate: score(train(variant, rate=rate, seed=0), "valid")["loss"], RATES, factor=10**0.5, further=3
    )
    rate = best_rate(swept)
    scores = [score(train(variant, rate=rate, seed=each), "test") for each in MODEL_SEEDS]
    return {
        "rate": rate,
        "sweep": {f"{each:.2g}": swept[each] for each in sorted(swept)},
        "accuracy": [each["accuracy"] for each in scores],
        "loss": [each["loss"] for each in scores],
    }
