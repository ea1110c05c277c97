"""No text has two derivations: sought by telling, in many states, every event in every way."""

import math
from random import Random

import pytest

from plm_core.storyworld_v1 import IdealReader
from plm_core.storyworld_v1.patterns import Step


def states(world, seeds, every):
    """States from the stories of some seeds, with a cursor at each."""
    for seed in seeds:
        cursor = IdealReader(world).cursor()
        for number, sentence in enumerate(world.story(seed).sentences):
            if (number + seed) % every == 0:
                yield cursor.copy()
            for word in sentence.words:
                cursor.push(word)


def derivations(world, state):
    for kind in world.kinds(state):
        for closed in kind.bindings(state):
            for pattern in world.choices[kind].allowed(state, closed):
                yield kind, closed, pattern


def test_every_event_told_in_every_way_is_understood(world):
    """A search for counterexamples: the cursor refuses, by assertion, a sentence with two derivations."""
    random = Random(1)
    tried = 0
    for cursor in states(world, range(100, 103 if world.size == "full" else 112), every=6):
        for kind, closed, pattern in derivations(world, cursor.state):
            opened = tuple(world.lexicons[name].draw(random.random, cursor.state.used) for _, name in kind.opens)
            values = closed + opened
            steps = pattern.steps
            words = [step.say(cursor.state, values) if isinstance(step, Step) else step for step in steps]
            reader = cursor.copy()
            nats = math.fsum(reader.push(word) for word in words)
            found = reader.sentences[-1]
            assert (found.kind, found.values, found.pattern) == (kind, values, pattern), words
            assert nats == pytest.approx(world.nats(cursor.state, kind, values, pattern), abs=1e-9)
            tried += 1
    assert tried > 1000, tried


def sentences(cursor):
    """All sentences that may follow, word by word, each with its probability."""
    found = {}
    open_ends = [((), cursor, 1.0)]
    while open_ends:
        words, here, probability = open_ends.pop()
        for word, share in here.next_word().items():
            there = here.copy()
            there.push(word)
            if there.derivations is None:
                found[(*words, word)] = probability * share
            else:
                open_ends.append(((*words, word), there, probability * share))
    return found


def test_all_sentences_of_a_state_are_a_distribution(small):
    """Where a wish is made or fruit is stored, the list of all sentences is short enough to write out."""
    story = small.story(7)
    cursor = IdealReader(small).cursor()
    for sentence in story.sentences:
        if sentence.kind.name in ("want", "store"):
            following = sentences(cursor)
            assert math.fsum(following.values()) == pytest.approx(1.0, abs=1e-9)
            assert tuple(sentence.words) in following
            for words, probability in following.items():
                assert words[-1] == small.full_stop
                assert small.full_stop not in words[:-1]
                assert probability > 0
        for word in sentence.words:
            cursor.push(word)
