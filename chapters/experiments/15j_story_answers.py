"""Answers as spans of stories, or none: a small BERT that is pretrained here, the same from random weights, and a rule.

Questions about the beginnings of StoryWorld's stories of eight or nine sentences: where a thing or a person is, who has
a thing, and where somebody thinks that a thing is. Half of them have an answer, of which the last mention in the text
is the label. The other half are questions about another story that name somebody or something that this one does not
mention; they have none. The world knows all answers, so an ideal reader is always right.

Network: a BERT of BLOCKS blocks of width WIDTH with rotary positions and norms before the branches, whose vocabulary is
the world's words. It is pretrained once, with seed 0, on masked tokens of STORIES stories that no question is about, by
Muon; MASKED of the tokens are chosen.

- "pretrained": all weights and the new layer are trained on LABELLED questions, STEPS steps of 16, AdamW, a linear
  warm-up over a tenth of the steps, a linear fall to zero, dropout 0.1. The score of no answer is compared with that
  of the best span of one word, without a threshold.
- "random weights": the same from initial weights, drawn anew for each seed; and "more", with MORE times the steps.
- "rule": none if a name or thing of the question does not stand in the text; else the last place, or name, of the text.
  It has no training, but is made for these questions.

Care: each arm has its own sweep of four learning rates or more by the loss on VALIDATED questions with seed 0; it goes
on while the best is the lowest or the highest. "more" begins with the best rate of the shorter training and its
neighbours. Pretraining has three rates or more, by the loss on masked tokens of validation stories after TRIED steps.
Then seeds 1 to 5, scored on TESTED questions; a seed draws the new layer, the random weights, the order and the
dropout. (A first sweep of "random weights", by the share of right answers, had found "none" for every question at
every rate, so that it could not choose; no other arm had been run then.)

Criterion, set before the run, for the share of right answers, paired by seed, with intervals of 1 - 0.05 / 3 (Student's
t): "pretrained" minus "random weights", minus "more", and minus the rule, which is one number. A difference counts if
its interval does not contain zero.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import torch

from plm_chapters.experiments import fine_tuning_runs as runs
from plm_chapters.experiments import story_dialogues as talk
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.data.batches import MaskedBatches
from plm_core.data.labelled_rows import LabelledBatches, Row, span_row
from plm_core.data.masking import Masker, MaskingConfig
from plm_core.data.squad import Answer, Question, SpanWindow, span_windows
from plm_core.data.tokenizer_training import word_tokenizer
from plm_core.data.tokenizers import Tokenizer
from plm_core.evaluation.validation import validate
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.counting import num_parameters
from plm_core.models.heads import SpanExtractor
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.objectives.spans import SpanExtraction, best_spans
from plm_core.runs.fine_tune_tasks import outputs
from plm_core.runtime import setup
from plm_core.storyworld import StoryWorld
from plm_core.storyworld.story import EOS, mix
from plm_core.training.gradients import DivergedError
from plm_core.training.trainer import Trainer

VARIANTS = ["rule", "pretrained", "random weights"]
SEEDS = [0]
"""The seeds of the runs are inside."""
WIDTH, BLOCKS = 64, 3
STORIES, MASKED, MASKED_IN_TESTS = 16_000, 0.3, 0.15
PRETRAINING, TRIED = 4_000, 600
PRETRAINING_RATES = [5e-3, 1e-2, 2e-2]
LABELLED = 2_560
STEPS, MORE = 640, 3
RATES = [3e-4, 1e-3, 3e-3, 1e-2]
VALIDATED, TESTED = 300, 600
SPLITS = {"train": 10, "valid": 0, "test": 0}
"""The seeds of the stories that are asked about."""


@cache
def world() -> StoryWorld:
    """The world, with short stories."""
    return StoryWorld("small", "en", sentences=(8, 9))


@cache
def tokenizer() -> Tokenizer:
    """The words of the stories and of the questions."""
    return word_tokenizer([word for word in talk.all_words(world()) if word != EOS])


@cache
def naming_words() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """The words for people, things and places of the world."""
    lexicons = world().lexicons
    people: set[str] = set()
    things: set[str] = set()
    places: set[str] = set()
    for setting in lexicons.settings.entries:
        people |= {entry.forms["en"]["name"] for entry in lexicons.people(setting).entries}
        things |= {entry.forms["en"]["noun"] for entry in lexicons.things(setting, None).entries}
        places |= {entry.forms["en"]["noun"] for entry in lexicons.places(setting).entries}
    return frozenset(people), frozenset(things), frozenset(places)


@cache
def questions(split: str) -> list[Question]:
    """Questions about different stories, every second one without an answer."""
    wanted = {"train": LABELLED, "valid": VALIDATED, "test": TESTED}[split]
    told = _asked(split)
    words, turn = next(told)
    found: list[Question] = []
    for other_words, other in told:
        number = len(found)
        if number == wanted:
            break
        text = " ".join(words)
        if number % 2 == 0 and turn.answer in words:
            before = len(words) - 1 - words[::-1].index(turn.answer)
            start = len(" ".join(words[:before])) + 1
            found.append(Question(str(number), " ".join(turn.asked), text, (Answer(turn.answer, start),)))
        elif number % 2 == 1 and not named(other.asked) <= set(words):
            found.append(Question(str(number), " ".join(other.asked), text, ()))
        words, turn = other_words, other
    return found


def _asked(split: str) -> Iterator[tuple[list[str], talk.Turn]]:
    """The words of the beginnings of stories, cut without regard to how they go on, and a question about each."""
    for index, story in enumerate(world().stories(SPLITS[split], split)):
        draw = Random(mix(SPLITS[split], index, 15))
        shown = draw.randint(5, world().limits.latest)
        if len(story.sentences) > shown:
            turns = talk.turns(world(), story.state_after(shown), draw)
            kind = draw.choice(sorted({each.kind for each in turns}))  # else half would be about beliefs
            turn = next(each for each in turns if each.kind == kind)
            yield [word for sentence in story.sentences[:shown] for word in sentence.words], turn


def named(asked: Sequence[str]) -> set[str]:
    """The people and things that a question names."""
    people, things, _ = naming_words()
    return {word for word in asked if word in people or word in things}


def by_rule(question: Question) -> str:
    """The answer of the rule, "" for none."""
    words, asked = question.context.split(), question.question.split()
    if not named(asked) <= set(words):
        return ""
    people, _, places = naming_words()
    return next((word for word in reversed(words) if word in (people if asked[:2] == ["who", "has"] else places)), "")


def right(question: Question, answer: str) -> bool:
    """Whether an answer is the right word, or rightly none."""
    return answer == (question.answers[0].text if question.answers else "")


def shares(asked: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
    """The shares of right answers: over all, of questions with an answer, and of those without."""
    hits = [right(each, answer) for each, answer in zip(asked, answers, strict=True)]
    with_answer = [hit for hit, each in zip(hits, asked, strict=True) if each.answers]
    without = [hit for hit, each in zip(hits, asked, strict=True) if not each.answers]
    return {
        "right": sum(hits) / len(hits),
        "with answer": sum(with_answer) / len(with_answer),
        "without": sum(without) / len(without),
    }


# --- the network ----------------------------------------------------------------------------------------------------


def build(seed: int) -> Bert:
    """The network with initial weights."""
    torch.manual_seed(seed)
    return Bert(
        BertConfig(
            vocab_size=len(tokenizer()),
            hidden_size=WIDTH,
            num_hidden_layers=BLOCKS,
            num_attention_heads=WIDTH // 32,
            intermediate_size=4 * WIDTH,
            max_position_embeddings=None,
            position="rope",
            norm_position="pre",
            initializer_range=0.05,
        )
    )


def masked(split: str) -> MaskedBatches:
    """Stories with masked tokens."""
    training = split == "train"
    masker = Masker(
        vocab_size=len(tokenizer()),
        mask_token_id=tokenizer().mask_id,
        special_ids=sorted(tokenizer().special_ids),
        config=MaskingConfig(rate=MASKED if training else MASKED_IN_TESTS),
        seed=0,
    )
    stories = world().stories(20, split, STORIES if training else 200)
    texts = [tokenizer().encode(" ".join(story.words[:-1])) for story in stories]
    return MaskedBatches(texts, tokenizer=tokenizer(), masker=masker, max_length=256, batch_size=16, seed=0)


def pretrain(rate: float, steps: int) -> tuple[Bert, dict[str, float]]:
    """Train the network on masked tokens; and its loss and accuracy on those of validation stories."""
    model = build(0)
    settings = runs.settings_for(steps, rate).replace(optimizer="muon")
    torch.manual_seed(1000)  # dropout
    Trainer(model, MaskedLM(), masked("train"), settings, quiet=True).fit()
    found = validate(model, MaskedLM(), masked("valid").in_order())
    return model, {"nats": found["masked_lm/loss"], "accuracy": found["masked_lm/accuracy"]}


@cache
def windows(split: str) -> list[SpanWindow]:
    """The questions with their texts, in tokens; none is cut."""
    return [span_windows(each, tokenizer(), max_length=256, stride=16)[0] for each in questions(split)]


def batches(rows: Sequence[Row], *, size: int = runs.BATCH, seed: int = 0) -> LabelledBatches:
    """Questions with their texts in batches."""
    return LabelledBatches(rows, batch_size=size, pad_id=tokenizer().pad_id, seed=seed)


@torch.no_grad()
def answers(model: SpanExtractor, split: str) -> list[str]:
    """The word, or none, with which the network answers each question of a split."""
    found: list[str] = []
    source = batches([span_row(each) for each in windows(split)], size=50).in_order()
    for logits, batch in outputs(model, SpanExtraction(), source):
        text_BT = batch["candidates"].clone()
        text_BT[:, 0] = False
        best = best_spans(logits, max_length=1, candidates=text_BT)
        for row in range(len(best.start)):
            window = windows(split)[len(found)]
            none = bool(best.null_score[row] > best.score[row])
            found.append("" if none else window.text(int(best.start[row]), int(best.end[row])))
    return found


def fine_tuned(trunk: Bert, *, steps: int, rate: float, seed: int, on: str) -> dict[str, float]:
    """Train all weights on labelled questions and score; a run that diverges finds nothing."""
    source = batches([span_row(each) for each in windows("train")], seed=seed)
    torch.manual_seed(seed)
    model = SpanExtractor.from_pretrained(trunk)
    torch.manual_seed(1000 + seed)  # dropout
    try:
        Trainer(model, SpanExtraction(), source, runs.settings_for(steps, rate), quiet=True).fit()
    except DivergedError:
        return {"right": 0.0, "with answer": 0.0, "without": 0.0, "loss": math.inf}
    loss = validate(model, SpanExtraction(), batches([span_row(each) for each in windows(on)], size=50).in_order())[
        "loss"
    ]
    return shares(questions(on), answers(model, on)) | {"loss": loss}


def measured(trunk: Callable[[int], Bert], kept: Any, steps: int, rates: Sequence[float]) -> dict[str, Any]:
    """Sweep the rates, then train with each of the seeds and score on the test questions."""

    def at(rate: float, seed: int, on: str) -> dict[str, float]:
        make = partial(fine_tuned, trunk(seed), steps=steps, rate=rate, seed=seed, on=on)
        found: dict[str, float] = kept.get(f"{steps} {rate:.2g} {seed} {on}", make)
        return found

    swept = sweep(lambda rate: at(rate, 0, "valid")["loss"], rates, factor=10**0.5, further=3)
    rate = best_rate(swept)
    found = [at(rate, each, "test") for each in runs.MODEL_SEEDS]
    return {name: [each[name] for each in found] for name in found[0]} | {
        "steps": steps,
        "rate": rate,
        "sweep": {f"{each:.2g}": swept[each] for each in sorted(swept)},
    }


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """One arm with all its seeds."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    if variant == "rule":
        asked = questions("test")
        lengths = [len(each.input_ids) for each in windows("test")]
        return shares(asked, [by_rule(each) for each in asked]) | {"tokens": sum(lengths) / len(lengths)}
    kept = importlib.import_module("plm_chapters.experiments.15_fine_tuning").Kept(folder)
    told: dict[str, Any] = {"weights": num_parameters(build(0))}
    trunk: Callable[[int], Bert] = build
    if variant == "pretrained":
        swept = sweep(
            lambda rate: kept.get(f"pretraining {rate:.2g}", lambda: pretrain(rate, TRIED)[1])["nats"],
            PRETRAINING_RATES,
            factor=2,
            further=3,
        )
        rate = best_rate(swept)
        model, scores = pretrain(rate, PRETRAINING)
        told["pretraining"] = scores | {"rate": rate, "sweep": {f"{each:.2g}": swept[each] for each in sorted(swept)}}
        trunk = lambda seed: model  # noqa: E731
    told["trained"] = measured(trunk, kept, STEPS, RATES)
    if variant == "random weights":
        near = [told["trained"]["rate"] * 10**power for power in (-0.5, 0, 0.5)]
        told["more"] = measured(trunk, kept, MORE * STEPS, near)
    return told
