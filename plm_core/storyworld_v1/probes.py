"""Probes: places in stories where one word is right and known others are wrong, each kind of place for one ability."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from plm_core.storyworld_v1.lexicon import Entry
from plm_core.storyworld_v1.patterns import NUMBER_WORDS, Step
from plm_core.storyworld_v1.state import State
from plm_core.storyworld_v1.tasks import questions
from plm_core.storyworld_v1.world import Sentence, Story


@dataclass(frozen=True)
class Probe:
    """A question to a language model: after these words, is the right word more probable than each wrong one?

    Attributes:
        kind: ``"agreement"``, ``"coreference"``, ``"counting"`` or ``"recall"``.
        words: the story up to the place.
        right: the word that stands there.
        wrong: words of the same sort that cannot stand there.
        difficulty: attractors that differ in number (agreement), words since the pronoun's antecedent
            (coreference), changes of the count so far (counting), words since the answer was told (recall).
    """

    kind: str
    words: list[str]
    right: str
    wrong: list[str]
    difficulty: int


def agreement(stories: Iterable[Story]) -> Iterator[Probe]:
    """``the keys near the table were``: the verb agrees with its subject, not with the nearest noun. English only.

    Raises:
        ValueError: stories in Chinese, which has no agreement.
    """
    for story in stories:
        if story.world.language != "en":
            raise ValueError("Chinese verbs do not agree with their subject: use a world with language='en'")
        told: list[str] = []
        for state, sentence in story.replay():
            if sentence.kind.name.startswith(("describe_", "remark_")):
                index = _index(sentence, "was")
                subject = state.things[sentence.values[0]].entry
                near = [value for (name, _), value in _opens(sentence) if name.startswith("f")]
                differing = sum(entry.plural != subject.plural for entry in near)
                wrong = "was" if subject.plural else "were"
                yield Probe("agreement", told + sentence.words[:index], sentence.words[index], [wrong], differing)
            told += sentence.words


def coreference(stories: Iterable[Story]) -> Iterator[Probe]:
    """``she left the ball in the kitchen``: the place follows from where the one meant by the pronoun is."""
    for story in stories:
        told: list[str] = []
        names: dict[int, int] = {}
        for state, sentence in story.replay():
            if sentence.pattern.pronoun:
                person = sentence.values[sentence.kind.slot("p")]
                pronoun = next(i for i, step in enumerate(sentence.pattern.steps) if _is_subject(sentence, step))
                for index, step in enumerate(sentence.pattern.steps):
                    if index < pronoun or not isinstance(step, Step) or step.form != "at" or step.slot != 0:
                        continue
                    right = sentence.words[index]
                    places = {state.places[who.at].forms[story.world.language]["noun"] for who in state.people}
                    if wrong := sorted(places - {right}):
                        distance = len(told) + pronoun - names[person]
                        yield Probe("coreference", told + sentence.words[:index], right, wrong, distance)
            _note_names(story, state, sentence, len(told), names)
            told += sentence.words


def counting(stories: Iterable[Story]) -> Iterator[Probe]:
    """``she ate two apples , so now she had three``: the count follows from what came before."""
    for story in stories:
        numbers = NUMBER_WORDS[story.world.language][1 : story.world.limits.count + 1]
        told: list[str] = []
        changes: dict[int, int] = {}
        for _, sentence in story.replay():
            if sentence.kind.name in ("eat", "gather", "ask_count"):
                person = sentence.values[0]
                changes[person] = changes.get(person, 0) + (sentence.kind.name != "ask_count")
                index = max(
                    i for i, step in enumerate(sentence.pattern.steps) if isinstance(step, Step) and step.form == "num"
                )
                right = sentence.words[index]
                wrong = [number for number in numbers if number != right]
                yield Probe("counting", told + sentence.words[:index], right, wrong, changes[person])
            told += sentence.words


def recall(stories: Iterable[Story]) -> Iterator[Probe]:
    """``where was the red ball ? it was in the kitchen``: the answer was told long before.

    Wrong are the other words that answer questions of this kind and have been told in the story.
    """
    for story in stories:
        for question in questions([story]):
            wrong = _rivals(story, question.kind, question.context) - {question.answer}
            told = len(question.context)
            words = story.words[: question.start + question.distance]
            if wrong and told:
                yield Probe("recall", words, question.answer, sorted(wrong), question.distance)


_RIVALS = {
    "ask_lying": ("places", "noun"), "ask_person": ("places", "noun"), "ask_held": ("people", "name"),
    "ask_colour": ("things", "colour"), "ask_wish": ("things", "noun"), "ask_job": ("jobs", "noun"),
    "ask_town": ("towns", "name"), "ask_bond": ("relations", "noun"),
}  # fmt: skip


def _rivals(story: Story, kind: str, context: list[str]) -> set[str]:
    if kind not in _RIVALS:
        return set()
    lexicon, form = _RIVALS[kind]
    return set(story.world.lexicons[lexicon].words(story.world.language, form)) & set(context)


def _opens(sentence: Sentence) -> Iterator[tuple[tuple[str, str], Entry]]:
    return zip(sentence.kind.opens, sentence.values[len(sentence.kind.closed) :], strict=True)


def _index(sentence: Sentence, form: str) -> int:
    return next(i for i, step in enumerate(sentence.pattern.steps) if isinstance(step, Step) and step.form == form)


def _is_subject(sentence: Sentence, step: str | Step) -> bool:
    return isinstance(step, Step) and step.form == "he" and step.slot == sentence.kind.slot("p")


def _note_names(story: Story, state: State, sentence: Sentence, start: int, names: dict[int, int]) -> None:
    for index, step in enumerate(sentence.pattern.steps):
        if isinstance(step, Step):
            for fact, number in step.facts(state, sentence.values):
                if fact == "who":
                    names[number] = start + index
