"""Stories: reproducible, aligned between languages, invertible as text, held out where asked."""

import hashlib
import itertools
import math

import pytest

from plm_core.storyworld_v1 import EOS, StoryWorld
from plm_core.storyworld_v1.lexicon import HELD_OUT, build_lexicons
from plm_core.storyworld_v1.words import article, plural


def digest(world, count=50):
    """One number for the words and the probabilities of the first stories."""
    lines = [f"{' '.join(story.words)} {story.nats:.6f}" for story in world.stories(0, "train", count)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


GOLDEN = {
    ("small", "en"): "b69bf998d0b38825f2a8742a3163720f7d11b335d2e4b30f8994fec3da20b19c",
    ("small", "zh"): "2f5bf707070575ad359adedd5d303e9ce437d94ce370c4a991ee438bda1442f9",
    ("full", "en"): "3135ce51ba3bd87999bb288a34256ef19b188e9e2949c9260c76ed3167a41934",
    ("full", "zh"): "9318d0b5f0a40940a6c5eadc2d04e4cb2a6422a5508374e488cb2aaebd292c90",
}
"""Digests of the first stories. They change only with the worlds themselves, which makes stored results stale."""


def test_stories_are_the_same_on_every_platform(world):
    assert digest(world) == GOLDEN[world.size, world.language]


def test_seeds_reproduce(world):
    again = StoryWorld(world.size, world.language)
    assert digest(again, 5) == digest(world, 5)
    streams = [next(world.stories(seed, split)).words for seed in (0, 1) for split in ("train", "valid", "test")]
    assert len({tuple(words) for words in streams}) == 6


def test_splits_share_no_story(small):
    seen = {tuple(story.words) for story in small.stories(0, "train", 1000)}
    assert not any(tuple(story.words) in seen for story in small.stories(0, "test", 300))


def test_both_languages_tell_the_same_events(world):
    other = StoryWorld(world.size, {"en": "zh", "zh": "en"}[world.language])
    for story, twin in zip(world.stories(2, count=40), other.stories(2, count=40), strict=True):
        events, twins = ([(s.kind.name, [key(v) for v in s.values]) for s in t.sentences] for t in (story, twin))
        assert events == twins


def key(value):
    return value if isinstance(value, int) else (value.key, value.plural, tuple(value.forms["en"].values()))


def test_text_splits_back_into_its_words(world):
    stories = list(world.stories(6, count=200))
    text = "\n".join(story.text for story in stories) + "\n"
    assert world.split(text) == [word for story in stories for word in story.words]


def test_vocabulary_holds_every_word_and_is_shared_by_held_out_worlds(world):
    known = set(world.vocabulary)
    assert len(known) == len(world.vocabulary)
    assert world.vocabulary[0] == EOS
    assert all(known.issuperset(story.words) for story in world.stories(1, count=100))
    held = StoryWorld(world.size, world.language, people="held_out", combinations="held_out")
    assert held.vocabulary == world.vocabulary
    low, high = {"small": (150, 500), "full": (2500, 10_000)}[world.size]
    assert low <= len(known) <= high


def test_held_out_names_and_combinations_never_meet_the_seen_ones(world):
    def names_and_pairs(part):
        there = StoryWorld(world.size, world.language, people=part, combinations=part)
        names, pairs = set(), set()
        for story in there.stories(0, count=60):
            state = story.final_state
            names |= {person.entry.key for person in state.people}
            pairs |= {(thing.entry.forms["en"]["colour"], thing.entry.key) for thing in state.things}
        return names, pairs

    seen, held_out = names_and_pairs("seen"), names_and_pairs("held_out")
    assert not seen[0] & held_out[0]
    assert not seen[1] & held_out[1]
    parts = {part: build_lexicons(world.size, part, part) for part in HELD_OUT}
    for name in ("people", "things"):
        whole, rest, kept = (len(parts[part][name].entries) for part in ("all", "seen", "held_out"))
        assert rest + kept == whole
        assert 0.1 < kept / whole < 0.3


def test_open_entries_are_drawn_with_their_weights(small):
    """The frequency of every place in first sentences lies within 5 standard errors of its probability."""
    first = [story.sentences[0].values[1].key for story in small.stories(9, count=1500)]
    places = small.lexicons["places"]
    for entry in places.entries:
        share = entry.weight / places.total
        error = math.sqrt(share * (1 - share) / len(first))
        assert abs(first.count(entry.key) / len(first) - share) < 5 * error


def test_names_are_no_other_words(world):
    spoken = ("noun", "adj", "went", "go", "sound")
    others = {
        entry.forms[world.language].get(form, "")
        for lexicon in world.lexicons.values()
        for entry in lexicon.entries
        for form in spoken
    }
    fixed = {step for choices in world.choices.values() for p in choices.either for step in p.steps}
    assert not (others | fixed) & world.names
    for name, lexicon in world.lexicons.items():
        told = [tuple(entry.forms[world.language].items()) for entry in lexicon.entries]
        assert len(set(told)) == len(told), name


def test_stories_end_and_streams_are_endless(world):
    stream = world.stories(3)
    lengths = [len(story.words) for story in itertools.islice(stream, 300)]
    assert max(lengths) < 2000
    assert len(world.tokens(at_least=3000)) >= 3000
    with pytest.raises(ValueError, match="split must be"):
        world.stories(0, "dev")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("huge",), "size"), (("small", "fr"), "language")],
)
def test_user_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        StoryWorld(*arguments)
    with pytest.raises(ValueError, match="people must be one of"):
        StoryWorld(people="some")


def test_english_spelling():
    assert [plural(n) for n in ("berry", "key", "box", "brush", "knife")] == [
        "berries", "keys", "boxes", "brushes", "knives",
    ]  # fmt: skip
    assert (article("old"), article("red")) == ("an", "a")
