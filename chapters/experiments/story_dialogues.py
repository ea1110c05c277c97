"""Summaries and dialogues about stories, and what an answer that is not right is: the world knows every answer.

A text that does not agree with its source is a *hallucination*. It *contradicts* the story if it is made of what the
story mentions (intrinsic), and is *invented* if it names somebody or something that the story does not mention
(extrinsic; the terms are those of Maynez et al. 2020 and Ji et al. 2023).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

from plm_chapters.experiments.story_generation import END, Writer
from plm_core.generation.beam import Beam
from plm_core.generation.constrained import OneOf
from plm_core.generation.decoding import generate
from plm_core.generation.sampling import Sampling
from plm_core.storyworld import Story, StoryWorld
from plm_core.storyworld.state import UNKNOWN, State
from plm_core.storyworld.story import EOS, mix
from plm_core.storyworld.tasks import SummaryExample, phrases_of, summaries

SUMMARY, ASK, SAY = "<summary>", "<ask>", "<say>"
"""Words that no story holds: what follows is a summary, a question, or the answer to it."""
TURNS = 6
"""Questions and answers in a dialogue."""
VERDICTS = ["right", "contradicts", "invented", "garbled"]

ANSWERS = {"greedy": Sampling(0), "plain sampling": Sampling(), "top-p 0.9": Sampling(top_p=0.9)}
SMOOTHING = 0.03
"""Of the counting rule; of 0.01, 0.03, 0.1 and 0.3 the best on 120 summaries of the validation split."""
CONSTRAINED = "plain sampling, only words of the story"
SEARCHES = {"beam 4": Beam(4, 40, alpha=0.6), "beam 16": Beam(16, 40, alpha=0.6)}


def all_words(world: StoryWorld) -> list[str]:
    """The world's vocabulary, the further words of questions and summaries, and the three marks."""
    own = world.vocabulary
    return [*own, *sorted(phrases_of(world).vocabulary() - set(own)), SUMMARY, ASK, SAY]


@dataclass(frozen=True)
class Turn:
    """A question about a story and its answer, which is one word."""

    kind: str
    asked: list[str]
    answer: str


def turns(world: StoryWorld, state: State, random: Random) -> list[Turn]:
    """Questions about a state, in random order: where people and things are, who has what, who believes what."""
    phrases, language = phrases_of(world), world.language
    places = [place.forms[language]["noun"] for place in state.places]
    people = [person.forms[language]["name"] for person in state.people]
    things = range(len(state.things) - 1)  # without the hidden one
    found = [
        Turn("where is the thing", phrases.say("where_thing", state, t=t), places[state.place_of(t)]) for t in things
    ]
    for p, at in enumerate(state.at):
        found.append(Turn("where is the person", phrases.say("where_person", state, p=p), places[at]))
        for t in things:
            believed = state.believed_place(p, t)
            if believed != UNKNOWN:
                wrong = believed != state.place_of(t)
                kind = "what is believed, wrongly" if wrong else "what is believed, rightly"
                found.append(Turn(kind, phrases.say("belief", state, p=p, t=t), places[believed]))
    for t in things:
        if state.location[t] < 0:
            found.append(Turn("who has it", phrases.say("who_has", state, t=t), people[-1 - state.location[t]]))
    random.shuffle(found)
    return found[:TURNS]


@dataclass(frozen=True)
class Dialogue:
    """The beginning of a story and questions about it."""

    words: list[str]
    turns: list[Turn]
    places: list[str]
    people: list[str]


def dialogues(world: StoryWorld, count: int, *, seed: int, split: str) -> Iterator[Dialogue]:
    """Dialogues about beginnings of stories, cut without regard to how the story goes on."""
    found = 0
    for number, story in enumerate(world.stories(seed, split)):
        random = Random(mix(seed, number, 161))
        shown = random.randint(5, world.limits.latest)
        if len(story.sentences) > shown:
            yield dialogue(story, shown, random)
            found += 1
        if found == count:
            return


def dialogue(story: Story, shown: int, random: Random) -> Dialogue:
    """A dialogue about the first sentences of a story."""
    state, language = story.state_after(shown), story.world.language
    return Dialogue(
        [word for sentence in story.sentences[:shown] for word in sentence.words],
        turns(story.world, state, random),
        [place.forms[language]["noun"] for place in state.places],
        [person.forms[language]["name"] for person in state.people],
    )


def documents(world: StoryWorld, count: int, *, seed: int) -> list[list[int]]:
    """Documents to fine-tune on, as ids: as many stories with a summary as beginnings with a dialogue."""
    number = {word: index for index, word in enumerate(all_words(world))}
    told = [[*each.words, SUMMARY, *each.label] for each in summaries(world, count, seed=seed)]
    for each in dialogues(world, count, seed=seed + 1, split="train"):
        told.append([*each.words, *(word for turn in each.turns for word in (ASK, *turn.asked, SAY, turn.answer, "."))])
    return [[END, *(number[word] for word in words), END] for words in told]


# --- summaries ------------------------------------------------------------------------------------------------------


def judge_summary(example: SummaryExample, words: Sequence[str], known: set[str]) -> str:
    """Right if the story supports the summary with positive probability; else what is wrong with it.

    Args:
        example: the story, with every summary that it supports.
        words: the summary, without ``<eos>``.
        known: the words of :func:`summary_words`.
    """
    if tuple(words) in example.ideal:
        return "right"
    if any(word not in known and word not in example.words for word in words):
        return "invented"
    return "contradicts" if well_formed(words, known) else "garbled"


def summary_words(world: StoryWorld) -> set[str]:
    """The words of which summaries are made beside names, things and places."""
    return phrases_of(world).vocabulary() | {"wanted", "to", ",", "."}


def well_formed(words: Sequence[str], known: set[str]) -> bool:
    """Whether words have the form of a summary: somebody wanted something, and one of the four outcomes."""
    text = " ".join(words)
    endings = (" , and did it alone .", " , and did it with help .", " , but gave up .", " , but was refused .")
    body = next((text.removesuffix(end) for end in endings if text.endswith(end)), None)
    return body is not None and body.split()[1:3] == ["wanted", "to"] and body.count("wanted") == 1


class CountingRule:
    """Summaries by counting, the floor for a network that was fine-tuned on the same examples.

    The protagonist is the person whom the story names first. The goal is what a sentence says that this person wanted
    to do; where none does, naive Bayes chooses among the goals that were seen, by the story's pairs of neighbouring
    words, in which the protagonist's name is replaced. The outcome is chosen by naive Bayes too, by the words and pairs
    of the last three sentences.

    Args:
        examples: the summaries to count.
    """

    def __init__(self, examples: Iterable[SummaryExample]) -> None:
        self.names: set[str] = set()
        goals, outcomes = [], []
        for example in examples:
            self.names.add(example.label[0])
            comma = len(example.label) - 1 - example.label[::-1].index(",")
            goals.append((example.label[1:comma], self._pairs(example, example.label[0])))
            outcomes.append((example.label[comma:], self._last(example)))
        self.goal, self.outcome = NaiveBayes(goals), NaiveBayes(outcomes)

    def summary(self, example: SummaryExample) -> tuple[str, ...]:
        """The words of the summary of a story."""
        hero = next(word for word in example.words if word in self.names)
        told = [words[1:] for words in _sentences(example) if words[:1] == (hero,) and words[1:3] == ("wanted", "to")]
        goal = told[0] if told else self.goal.likeliest(self._pairs(example, hero))
        return (hero, *goal, *self.outcome.likeliest(self._last(example)))

    @staticmethod
    def _pairs(example: SummaryExample, hero: str) -> set[Hashable]:
        found: set[Hashable] = set()
        for sentence in _sentences(example):
            words = ["<hero>" if word == hero else word for word in sentence]
            found.update(pairwise(words))
        return found

    @staticmethod
    def _last(example: SummaryExample) -> set[Hashable]:
        words = [word for sentence in _sentences(example)[-3:] for word in sentence]
        return {*words, *pairwise(words)}


class NaiveBayes:
    """Naive Bayes by the features that an example has; features that were never seen are ignored.

    Args:
        examples: pairs of a label and the set of features.
        smoothing: the share of each feature in one imagined example of every label, which smooths the counts.
    """

    def __init__(self, examples: Iterable[tuple[tuple[str, ...], set[Hashable]]], smoothing: float = SMOOTHING) -> None:
        self.count: Counter[tuple[str, ...]] = Counter()
        self.features: dict[tuple[str, ...], Counter[Hashable]] = {}
        self.smoothing = smoothing
        for label, features in examples:
            self.count[label] += 1
            self.features.setdefault(label, Counter()).update(features)

    def likeliest(self, features: Iterable[Hashable]) -> tuple[str, ...]:
        """The most probable label; of several equally probable ones that which was seen first."""
        known = [feature for feature in features if any(feature in seen for seen in self.features.values())]

        def score(label: tuple[str, ...]) -> float:
            count, seen = self.count[label], self.features[label]
            return math.log(count) + math.fsum(
                math.log((seen[feature] + self.smoothing) / (count + 1)) for feature in known
            )

        return max(self.count, key=score)


def _sentences(example: SummaryExample) -> list[tuple[str, ...]]:
    return [tuple(each.split()) for each in " ".join(example.words).split(" .") if each.strip()]


def score_summaries(writer: Writer, examples: Sequence[SummaryExample], *, seed: int) -> dict[str, dict[str, float]]:
    """The shares of the verdicts for every method."""
    known = summary_words(writer.world)
    prompts = [[*example.words, SUMMARY] for example in examples]
    written: dict[str, list[list[str]]] = {}
    marked = AllowingMarks(writer)
    for name, sampling in ANSWERS.items():
        written[name] = marked.sampled(prompts, sampling, stop=EOS, most=40, seed=seed)
    for name, beam in SEARCHES.items():
        written[name] = [words for words, _ in marked.searched(prompts, beam, stop=EOS)]
    return {
        name: shares(
            judge_summary(e, [w for w in words if w != EOS], known) for e, words in zip(examples, texts, strict=True)
        )
        for name, texts in written.items()
    }


class AllowingMarks(Writer):
    """A writer whose network may write every word that it was fine-tuned on."""

    def __init__(self, writer: Writer) -> None:
        super().__init__(writer.model, writer.words, writer.world)
        self.beyond = range(0)


# --- dialogues ------------------------------------------------------------------------------------------------------


def judge_answer(asked: Dialogue, turn: Turn, words: Sequence[str]) -> str:
    """Right if it is the world's answer; else what is wrong with it."""
    if list(words) == [turn.answer]:
        return "right"
    if len(words) != 1:
        return "garbled"
    (word,) = words
    if word in (asked.people if turn.kind == "who has it" else asked.places):
        return "contradicts"
    return "garbled" if word in asked.words else "invented"


def score_dialogues(writer: Writer, asked: Sequence[Dialogue], *, seed: int) -> dict[str, dict[str, Any]]:
    """The verdicts on answers by every method, over all turns.

    Returns:
        For every method the shares of the verdicts, and ``by_kind``, the share of right answers for each kind of
        question. The rules name the place or the person that the story mentioned last.
    """
    found = {}
    for name, sampling in [*ANSWERS.items(), (CONSTRAINED, Sampling())]:
        answers = converse(writer, asked, name, sampling, seed=seed)
        found[name] = _by_kind(
            [
                (turn.kind, judge_answer(each, turn, words))
                for each, said in zip(asked, answers, strict=True)
                for turn, words in zip(each.turns, said, strict=True)
            ]
        )
    last = [(turn.kind, judge_answer(each, turn, [_last(each, turn)])) for each in asked for turn in each.turns]
    found["rule: last mention"] = _by_kind(last)
    return found


def converse(
    writer: Writer, asked: Sequence[Dialogue], name: str, sampling: Sampling, *, seed: int
) -> list[list[list[str]]]:
    """The words of every answer of each dialogue; each answer is kept in the dialogue that goes on."""
    texts: list[list[str]] = [list(each.words) for each in asked]
    said: list[list[list[str]]] = [[] for _ in asked]
    for place in range(TURNS):
        going = [row for row, each in enumerate(asked) if place < len(each.turns)]
        for row in going:
            texts[row] += [ASK, *asked[row].turns[place].asked, SAY]
        answers = _answers(
            writer, [texts[row] for row in going], [asked[row] for row in going], name, sampling, mix(seed, place)
        )
        for row, words in zip(going, answers, strict=True):
            said[row].append(words)
            texts[row] += [*words, "."]
    return said


def _last(each: Dialogue, turn: Turn) -> str:
    names = each.people if turn.kind == "who has it" else each.places
    return next(word for word in reversed(each.words) if word in names)


def _answers(
    writer: Writer, prompts: list[list[str]], asked: list[Dialogue], name: str, sampling: Sampling, seed: int
) -> list[list[str]]:
    if name != CONSTRAINED:
        texts = AllowingMarks(writer).sampled(prompts, sampling, stop=".", most=6, seed=seed)
        return [words[: words.index(".")] if "." in words else words for words in texts]
    found, stop = [], writer.number["."]
    for number, (prompt, each) in enumerate(zip(prompts, asked, strict=True)):
        allowed = [[writer.number[word]] for word in (*each.places, *each.people)]
        ids = writer.ids(prompt)
        (tokens,) = generate(
            writer.model, [ids], max_new_tokens=2, constraint=OneOf(allowed), stop_token_id=stop, seed=mix(seed, number)
        )
        found.append([writer.words[token] for token in tokens[len(ids) :] if token != stop])
    return found


def shares(verdicts: Iterable[str]) -> dict[str, float]:
    """The share of each verdict, and their number."""
    counts = Counter(verdicts)
    return {verdict: counts[verdict] / counts.total() for verdict in VERDICTS} | {"count": counts.total()}


def _by_kind(verdicts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    kinds = sorted({kind for kind, _ in verdicts})
    right = {kind: [verdict == "right" for each, verdict in verdicts if each == kind] for kind in kinds}
    found: dict[str, Any] = shares(verdict for _, verdict in verdicts)
    return found | {"by_kind": {kind: math.fsum(hits) / len(hits) for kind, hits in right.items()}}
