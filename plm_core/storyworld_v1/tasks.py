"""Labels that a story carries for free: mood, tags, questions, summaries, relations, pairs of sentences.

Every label is a function of the story's events and state, not of its wording, so labels are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from plm_core.data.examples import LabelledText, TaggedSentence, Translation
from plm_core.storyworld_v1.evidence import Evidence
from plm_core.storyworld_v1.patterns import Step
from plm_core.storyworld_v1.world import EOS, Sentence, Story, StoryWorld

MOODS = ("glad", "sad", "angry")
"""The hero is glad to have what he or she wanted, angry if somebody else has it, and sad if nobody has it."""

_TAG_NAMES = {"name": "PER", "place": "LOC", "thing": "OBJ"}
_JOINTS = {"的"}
_ANSWERS = {
    "ask_lying": "at", "ask_held": "holder", "ask_colour": "colour", "ask_person": "at", "ask_count": "num",
    "ask_mood": "mood", "ask_wish": "noun", "ask_job": "job", "ask_town": "town",
    "ask_bond": "noun", "ask_hour": "noun",
}  # fmt: skip


def mood(story: Story) -> str:
    """The mood of a story, one of ``MOODS``."""
    return story.sentences[-1].kind.name.removeprefix("close_")


def moods(stories: Iterable[Story], *, whole: bool = False) -> Iterator[LabelledText]:
    """Texts with the story's mood as label, for classification.

    Args:
        stories: the stories.
        whole: keep the last sentence, which says the mood in so many words; without it the mood must be inferred
            from who has what.
    """
    for story in stories:
        told = story.sentences if whole else story.sentences[:-1]
        yield LabelledText(story.world.write([sentence.words for sentence in told]), mood(story))


def tags(sentence: Sentence) -> list[str]:
    """A tag for each word of a sentence: B-, I- with PER, LOC or OBJ, or O."""
    found = ["O"] * len(sentence.words)
    previous: tuple[int, int, str] | None = None
    for index, step in enumerate(sentence.pattern.steps):
        if not isinstance(step, Step) or not step.tag:
            continue
        name = _TAG_NAMES[step.tag]
        joined = previous is not None and previous[1:] == (step.slot, name)
        if joined and previous is not None and set(sentence.words[previous[0] + 1 : index]) <= _JOINTS:
            found[previous[0] + 1 : index + 1] = [f"I-{name}"] * (index - previous[0])
        else:
            found[index] = f"B-{name}"
        previous = (index, step.slot, name)
    return found


def tagged_sentences(stories: Iterable[Story]) -> Iterator[TaggedSentence]:
    """Sentences with tags for names, places and objects (BIO)."""
    for story in stories:
        for sentence in story.sentences:
            yield TaggedSentence(tuple(sentence.words), tuple(tags(sentence)))


@dataclass(frozen=True)
class Question:
    """A question about a story, with its answer as a span of the context.

    Attributes:
        context: all words of the story before the question.
        words: the words of the question, its mark included.
        answer: the word that answers it.
        start: the position in the context where the answer stands; the span ends after this word.
        distance: number of words from there to the answer in the story.
        kind: what is asked, for example ``"ask_lying"``.
    """

    context: list[str]
    words: list[str]
    answer: str
    start: int
    distance: int
    kind: str


def _answer(sentence: Sentence) -> int:
    mark = max(index for index, word in enumerate(sentence.words) if word in ("?", "？"))
    form = _ANSWERS[sentence.kind.name]
    return next(
        index
        for index, step in enumerate(sentence.pattern.steps)
        if index > mark and isinstance(step, Step) and step.form == form
    )


def questions(stories: Iterable[Story]) -> Iterator[Question]:
    """The questions that the stories ask, with spans as in extractive question answering.

    The span is the word that tells the fact; where the fact was told by another word, the last occurrence of the
    answer. Questions whose answer does not stand in the context (a count never told, say) are left out.
    """
    for story in stories:
        evidence = Evidence()
        context: list[str] = []
        for number, (state, sentence) in enumerate(story.replay()):
            before = state.copy()
            if sentence.kind.name in _ANSWERS:
                index = _answer(sentence)
                answer, step = sentence.words[index], sentence.pattern.steps[index]
                assert isinstance(step, Step)
                known = evidence.latest(step.facts(state, sentence.values))
                places = [position for position, word in enumerate(context) if word == answer]
                if places:
                    told = known is not None and known[0] in places
                    start = known[0] if known is not None and told else places[-1]
                    mark = max(i for i, word in enumerate(sentence.words) if word in ("?", "？"))
                    distance = len(context) + index - start
                    asked = sentence.words[: mark + 1]
                    yield Question(list(context), asked, answer, start, distance, sentence.kind.name)
            after = before.copy()
            story.world.advance(after, sentence.kind, sentence.values)
            evidence.learn(sentence, before, after, len(context), number)
            context += sentence.words


def summary(story: Story) -> list[list[str]]:
    """The story in a few plain sentences: the wish, what became of the wanted thing, and the end.

    Each is told by the first pattern of its kind, with names, so that the same events have the same summary.
    """
    told = []
    for state, sentence in story.replay():
        kind, values = sentence.kind, sentence.values
        about = kind.name in ("take", "drop", "give") and values[-1] == state.wanted
        if about or kind.name == "want" or kind.name.startswith("close_"):
            steps = story.world.choices[kind].named[0].steps
            told.append([step.say(state, values) if isinstance(step, Step) else step for step in steps])
    return told


@dataclass(frozen=True)
class Relation:
    """A fact that holds at the end of a story, such as ``Relation("mira", "has", "red ball")``."""

    head: str
    relation: str
    tail: str


def relations(story: Story) -> list[Relation]:
    """Who is where, who has what, what lies where, and (in ``full``) who is what to whom, at the end of a story."""
    state, language = story.final_state, story.world.language
    names = [person.entry.forms[language]["name"] for person in state.people]
    places = [place.forms[language]["noun"] for place in state.places]
    found = []
    for name, person in zip(names, state.people, strict=True):
        found.append(Relation(name, "is at", places[person.at]))
        if person.job is not None and person.town is not None:
            found.append(Relation(name, "works as", person.job.forms[language]["noun"]))
            found.append(Relation(name, "comes from", person.town.forms[language]["name"]))
    for thing in state.things:
        forms = thing.entry.forms[language]
        called = forms["colour"] + {"en": " ", "zh": "的"}[language] + forms["noun"]
        if thing.holder is None:
            found.append(Relation(called, "is at", places[thing.at]))
        else:
            found.append(Relation(names[thing.holder], "has", called))
    found += [Relation(names[p], f"is {bond.forms[language]['noun']} of", names[q]) for p, q, bond in state.bonds]
    return found


def parallel(
    size: str = "small", *, seed: int = 0, split: str = "train", count: int | None = None, **parts: str
) -> Iterator[tuple[Story, Story]]:
    """The same stories in English and in Chinese; sentence ``i`` of one tells what sentence ``i`` of the other tells.

    Args:
        size: ``"small"`` or ``"full"``.
        seed: the seed of the corpus.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        count: number of stories; None for an endless stream.
        parts: ``people`` and ``combinations``, as for :class:`~plm_core.storyworld_v1.world.StoryWorld`.
    """
    worlds = [StoryWorld(size, language, **parts) for language in ("en", "zh")]
    yield from zip(*(world.stories(seed, split, count) for world in worlds), strict=True)


def translations(pairs: Iterable[tuple[Story, Story]]) -> Iterator[Translation]:
    """Pairs of sentences, as text: English and its Chinese counterpart."""
    for english, chinese in pairs:
        for one, other in zip(english.sentences, chinese.sentences, strict=True):
            yield Translation(english.world.write([one.words]), chinese.world.write([other.words]))


def documents(stories: Iterable[Story]) -> Iterator[list[list[str]]]:
    """Each story as a list of sentences of words: what pairs of neighbouring sentences are drawn from."""
    for story in stories:
        yield [sentence.words for sentence in story.sentences]


def story_sentences(story: Story) -> list[str]:
    """The sentences of a story as words between spaces; the end-of-story word is left out."""
    return [" ".join(word for word in sentence.words if word != EOS) for sentence in story.sentences]
