"""The task in the prompt: a causal network that answers without being fine-tuned, and facts put before a question.

A Transformer of 0.1 M parameters is pretrained on WORDS words of StoryWorld, every word predicted from those before it.
A row holds ROW stories one after the other, so that a prompt with examples is no longer than what it was trained on.

*Moods.* Of a story without its last sentence, which of four moods does that sentence tell? The story decides it: the
ideal reader is right in (nearly) all cases. "prompt, k examples": the network reads k other stories, whole, then the
story and "in the end , NAME was" (NAME is whom the story names first), and the class is the one whose words, proud or
pleased and so on, have the highest probability together; nothing is trained. "cue alone" leaves the story out.
"fine-tuned": a new layer on the last state, all weights trained, with 40, 160 and 640 labelled stories; "random
weights": the same without pretraining, with three times the steps, with 160 and 640; "words and pairs": logistic
regression, its penalty chosen on the validation stories. The stories of pretraining tell their moods, so the
pretrained network has met thousands of examples of this very task; that is what a prompt relies on.

*Facts.* Questions about the beginning of a story, of the kinds of :mod:`~plm_chapters.experiments.story_dialogues`. The
network reads facts and then the question, and names a word. Facts are "none", FEW sentences of the story, the "last",
"random" ones or those "retrieved", or the "whole" beginning. Retrieved are the sentences whose words in common with the
question have the largest sum of log(N / n), where n of N training sentences have the word; of equal ones the later. For
each kind of facts a copy of the network is fine-tuned on questions with facts of that kind. "last place or person" is a
rule: the last word of the facts that is a place, or a name if that is asked. The ideal reader of the whole beginning is
always right.

Rates: 15i_prompt_rates, with a network of its own. Five networks, each with its own stories, labels and order.

Criterion, set before the run, differences of test accuracy paired by network, with intervals of 1 - 0.05 / 6 (Student's
t): on moods, prompt with no example minus fine-tuned with 160 labels, prompt with three examples minus with none, and
fine-tuned minus random weights with 160; on facts, retrieved minus random, retrieved minus last, and whole minus
retrieved. A difference counts if its interval does not contain zero.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from plm_chapters.experiments import fine_tuning_runs as runs
from plm_chapters.experiments import story_dialogues as talk
from plm_chapters.experiments import storyworld_models as models
from plm_chapters.notebook import load_results
from plm_core.data.batches import PaddedBatches
from plm_core.data.labelled_rows import LabelledBatches, Row
from plm_core.data.tokenizers import pad
from plm_core.evaluation.bag_of_words import BagOfWords
from plm_core.evaluation.validation import validate
from plm_core.models.gpt import Gpt
from plm_core.models.heads import SequenceClassifier
from plm_core.objectives.classification import Classification
from plm_core.runtime import setup
from plm_core.storyworld import StoryWorld
from plm_core.storyworld.goals import FATES
from plm_core.storyworld.story import EOS, mix
from plm_core.storyworld.tasks import MoodExample, moods
from plm_core.training.trainer import Trainer

VARIANTS = ["network"]
SEEDS = [0, 1, 2, 3, 4]
SHAPE, RATE = "Transformer, 0.1 M", 0.016
"""The shape, and the peak learning rate that the page on StoryWorld takes for it."""
WORDS, ROW = 2_400_000, 4
EXAMPLES = [0, 1, 2, 3]
LABELS = [40, 160, 640]
STEPS, MORE_STEPS = 100, 300
"""Steps of 16 stories of the fine-tuned network, and of the one with random weights."""
VALIDATED, TESTED = 200, 400
"""Stories on which choices are made, and test stories."""
STRENGTHS = runs.STRENGTHS
QUESTIONED, ASKED = 1_200, 120
"""Stories with up to six questions each, to fine-tune on, and to choose or to test by."""
FEW = 4
KINDS = ["none", "last", "random", "retrieved", "whole"]


@cache
def world() -> StoryWorld:
    """The world of the stories."""
    return StoryWorld("small", "en")


@cache
def words() -> list[str]:
    """The words by their ids: those of the stories, of the questions, and the marks."""
    return talk.all_words(world())


@cache
def number() -> dict[str, int]:
    """The ids of the words."""
    return {word: index for index, word in enumerate(words())}


# --- pretraining ----------------------------------------------------------------------------------------------------


def pretrained(seed: int, folder: Path | None = None) -> Gpt:
    """The network of a seed, trained on rows of whole stories."""
    model = models.make_model(SHAPE, len(words()), seed)
    assert isinstance(model, Gpt)
    documents = models.training_documents(world(), seed, WORDS)
    rows = [[token for each in documents[n : n + ROW] for token in each] for n in range(0, len(documents), ROW)]
    source = PaddedBatches(rows, batch_size=models.BATCH_STORIES // ROW, pad_id=0, seed=seed)
    models.train(model, documents, rate=RATE, seed=seed, folder=folder, source=source)
    return model.eval()


def copy_of(model: Gpt) -> Gpt:
    """The same network once more."""
    other = Gpt(model.config)
    other.load_state_dict(model.state_dict())
    return other


@torch.no_grad()
def next_word(model: Gpt, prompts: Iterable[Sequence[str]]) -> Tensor:
    """The log probabilities of every word after each prompt, (N, V); before a prompt stands ``<eos>``."""
    found, model = [], model.eval()
    rows = [[0, *(number()[word] for word in prompt)] for prompt in prompts]
    for start in range(0, len(rows), 40):
        part = rows[start : start + 40]
        logits_BTV = model(pad(part, 0))  # padding on the right, which no real token attends to
        found.append(logits_BTV[torch.arange(len(part)), [len(row) - 1 for row in part]].float().log_softmax(-1))
    return torch.cat(found)


# --- moods ----------------------------------------------------------------------------------------------------------


@cache
def stories(split: str) -> list[MoodExample]:
    """The stories without their last sentence on which choices are made or that are the test."""
    return list(moods(world(), VALIDATED if split == "valid" else TESTED, split=split))


def labelled(count: int, seed: int) -> list[MoodExample]:
    """Labelled stories, fewer always among more; none of them is read in pretraining."""
    return list(moods(world(), max(LABELS), seed=1_000 + seed))[:count]


@cache
def mood_words() -> Tensor:
    """Which words say which class, (C, V) of zeros and ones."""
    said_CV = torch.zeros(len(FATES), len(words()))
    for row, mood in zip(said_CV, FATES, strict=True):
        for entry in world().lexicons.moods[mood].entries:
            row[number()[entry.forms["en"]["adj"]]] = 1
    return said_CV


@cache
def names() -> frozenset[str]:
    """The names of the world's people."""
    lexicons = world().lexicons
    return frozenset(
        entry.forms["en"]["name"] for place in lexicons.settings.entries for entry in lexicons.people(place).entries
    )


def cue(example: MoodExample) -> list[str]:
    """The beginning of a last sentence, about the person whom the story names first."""
    return ["in", "the", "end", ",", next(word for word in example.words if word in names()), "was"]


def by_prompt(model: Gpt, count: int, seed: int, *, with_story: bool = True) -> float:
    """The share of test stories whose mood the network names after so many other stories, without training."""
    known = list(world().stories(2_000 + seed, "train", 300))
    right, draw = 0, Random(mix(seed, count, 3))
    prompts = []
    for example in stories("test"):
        before = [
            word for story in draw.sample(known, count) for word in (*story.words, EOS)
        ]  # as in a row of training
        prompts.append([*before, *(example.words if with_story else ()), *cue(example)])
    classes_N = (next_word(model, prompts).exp() @ mood_words().T).argmax(1)
    for index, example in zip(classes_N.tolist(), stories("test"), strict=True):
        right += FATES[index] == example.label
    return right / TESTED


def batches(examples: Sequence[MoodExample], *, size: int = 16, seed: int = 0) -> LabelledBatches:
    """Stories and their moods."""
    rows: list[Row] = [
        {"input_ids": [0, *(number()[word] for word in each.words)], "labels": FATES.index(each.label)}
        for each in examples
    ]
    return LabelledBatches(rows, batch_size=size, pad_id=0, seed=seed)


def classify(model: Gpt, count: int, *, rate: float, seed: int, steps: int, on: str) -> dict[str, float]:
    """Train all weights and a new layer on labelled stories; loss and accuracy on other ones."""
    torch.manual_seed(seed)
    classifier = SequenceClassifier.from_pretrained(model, len(FATES), pooling="last")
    source = batches(labelled(count, seed), seed=seed)
    trainer = Trainer(classifier, Classification(), source, runs.settings_for(steps, rate), quiet=True)
    trainer.fit()
    found = validate(classifier, Classification(), batches(stories(on), size=50).in_order())
    return {"loss": found["loss"], "accuracy": found["classification/accuracy"]}


def untrained(seed: int) -> Gpt:
    """The same network without pretraining, other weights than those that the pretrained one began with."""
    model = models.make_model(SHAPE, len(words()), 500 + seed)
    assert isinstance(model, Gpt)
    return model


def counted(count: int, seed: int) -> dict[str, float]:
    """Accuracy of logistic regression on words and pairs, its penalty chosen on the validation stories."""
    told = labelled(count, seed)
    texts = [runs.with_pairs(" ".join(each.words)) for each in told]
    labels = [FATES.index(each.label) for each in told]

    def accuracy(model: BagOfWords, on: str) -> float:
        found = model.predict([runs.with_pairs(" ".join(each.words)) for each in stories(on)])
        return sum(FATES[one] == each.label for one, each in zip(found, stories(on), strict=True)) / len(stories(on))

    fitted = {each: BagOfWords(texts, labels, len(FATES), strength=each) for each in STRENGTHS}
    best = max(fitted, key=lambda each: accuracy(fitted[each], "valid"))
    return {"strength": best, "accuracy": accuracy(fitted[best], "test")}


# --- facts ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A question about the beginning of a story.

    Attributes:
        sentences: the words of every sentence so far.
        asked: the words of the question.
        answer: the answer, one word.
        kind: what is asked.
    """

    sentences: list[list[str]]
    asked: list[str]
    answer: str
    kind: str


def questions(count: int, *, seed: int, split: str) -> list[Asked]:
    """Questions about the beginnings of so many stories, cut without regard to how they go on."""
    found: list[Asked] = []
    told = 0
    for index, story in enumerate(world().stories(seed, split)):
        draw = Random(mix(seed, index, 161))
        shown = draw.randint(5, world().limits.latest)
        if len(story.sentences) > shown:
            sentences = [list(each.words) for each in story.sentences[:shown]]
            for turn in talk.turns(world(), story.state_after(shown), draw):
                found.append(Asked(sentences, turn.asked, turn.answer, turn.kind))
            told += 1
        if told == count:
            break
    return found


@cache
def rarity() -> dict[str, float]:
    """log(N / n) of every word that n of N training sentences have."""
    told = [set(each.words) for story in world().stories(3_000, "train", 500) for each in story.sentences]
    counts = Counter(word for each in told for word in each)
    return {word: math.log(len(told) / n) for word, n in counts.items()}


def facts(each: Asked, kind: str, draw: Random) -> list[str]:
    """The words that stand before a question."""
    sentences, count = each.sentences, len(each.sentences)
    if kind == "random":
        chosen = draw.sample(range(count), min(FEW, count))
    elif kind == "retrieved":
        shared = [math.fsum(rarity().get(word, 0.0) for word in set(each.asked) & set(told)) for told in sentences]
        chosen = sorted(range(count), key=lambda place: (shared[place], place))[-FEW:]
    else:
        chosen = list(range(count))[{"none": count, "last": -FEW, "whole": 0}[kind] :]
    return [word for place in sorted(chosen) for word in sentences[place]]


def prompts(asked: Sequence[Asked], kind: str, seed: int) -> list[list[str]]:
    """Facts of a kind, the question, and the mark of the answer."""
    draw = Random(mix(seed, KINDS.index(kind), 9))
    return [[*facts(each, kind, draw), talk.ASK, *each.asked, talk.SAY] for each in asked]


def answering(model: Gpt, kind: str, *, rate: float, seed: int) -> Gpt:
    """A copy of the network that is fine-tuned on questions with facts of a kind."""
    asked = questions(QUESTIONED, seed=4_000 + seed, split="train")
    documents = [
        [0, *(number()[word] for word in (*prompt, each.answer)), 0]
        for prompt, each in zip(prompts(asked, kind, seed), asked, strict=True)
    ]
    tuned = copy_of(model)
    models.train(tuned, documents, rate=rate, seed=seed)
    return tuned.eval()


def answered(model: Gpt, kind: str, *, on: str) -> tuple[list[bool], float]:
    """Which of the questions of a split are answered rightly, and the mean surprisal of the right answers, in nats."""
    asked = questions(ASKED, seed=0, split=on)
    logs_NV = next_word(model, prompts(asked, kind, 0))
    right = [words()[int(row.argmax())] == each.answer for row, each in zip(logs_NV, asked, strict=True)]
    nats = [-float(row[number()[each.answer]]) for row, each in zip(logs_NV, asked, strict=True)]
    return right, math.fsum(nats) / len(nats)


def by_rule(kind: str) -> list[bool]:
    """Which test questions the last place, or name, of the facts answers rightly."""
    asked = questions(ASKED, seed=0, split="test")
    places = {each.answer for each in questions(QUESTIONED, seed=4_000, split="train") if each.kind != "who has it"}
    found, draw = [], Random(mix(0, KINDS.index(kind), 9))
    for each in asked:
        wanted: Callable[[str], bool] = names().__contains__ if each.kind == "who has it" else places.__contains__
        found.append(next(filter(wanted, reversed(facts(each, kind, draw))), "") == each.answer)
    return found


def held(right: Sequence[bool], asked: Sequence[Asked]) -> dict[str, Any]:
    """The share of right answers, over all and by what is asked."""
    by_kind = {
        kind: [hit for hit, each in zip(right, asked, strict=True) if each.kind == kind]
        for kind in sorted({each.kind for each in asked})
    }
    return {
        "accuracy": sum(right) / len(right),
        "by_kind": {kind: sum(hits) / len(hits) for kind, hits in by_kind.items()},
    }


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Pretrain one network, and measure what it does with prompts and with fine-tuning."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    (rates,) = load_results("15i_prompt_rates", "laptop")["runs"]
    model = pretrained(seed, folder)
    told = stories("test")
    result: dict[str, Any] = {
        "words": WORDS,
        "ceiling": sum(max(each.ideal.values()) for each in told) / len(told),
        "majority": max(Counter(each.label for each in told).values()) / len(told),
        "cue alone": by_prompt(model, 0, seed, with_story=False),
        "prompt": {str(count): by_prompt(model, count, seed) for count in EXAMPLES},
        "fine-tuned": {},
        "random weights": {},
        "words and pairs": {str(count): counted(count, seed) for count in LABELS},
    }
    for count in LABELS:
        for arm, start, steps in (("fine-tuned", model, STEPS), ("random weights", untrained(seed), MORE_STEPS)):
            if arm == "random weights" and count < 160:
                continue
            rate = rates["moods"][arm]["rate"]
            result[arm][str(count)] = classify(start, count, rate=rate, seed=seed, steps=steps, on="test")
    asked = questions(ASKED, seed=0, split="test")
    result["questions"] = Counter(each.kind for each in asked)
    answers = Counter(each.answer for each in asked)
    result["most frequent answer"] = max(answers.values()) / len(asked)
    result["facts"], result["rule"] = {}, {}
    for kind in KINDS:
        tuned = answering(
            model, kind, rate=rates["facts"]["whole" if kind == "whole" else "retrieved"]["rate"], seed=seed
        )
        right, nats = answered(tuned, kind, on="test")
        result["facts"][kind] = held(right, asked) | {"nats": nats}
        if kind != "none":
            result["rule"][kind] = held(by_rule(kind), asked)
    return result
