"""Where a text is cut says nothing that the ceiling leaves out: a reader that looks at the length is no better."""

import math
from collections import Counter, defaultdict

import pytest

from plm_core.storyworld import IdealReader, StoryWorld
from plm_core.storyworld.mixture import Mixture
from plm_core.storyworld.pairs import next_sentences, sentence_orders
from plm_core.storyworld.questions import purpose, questions
from plm_core.storyworld.tasks import MoodExample, before_the_last, moods, relations, summaries

HIDDEN = StoryWorld(hidden_goals=1.0, revealed_goals=0.0)


MANY = 2000
"""So many examples show that a cut at a share of the story betrays its mood."""


def gain_by_length(world, examples, words_of, kind_of=lambda label: label):
    """What the ideal reader's probabilities gain, weighed by how frequent labels are among examples of a length.

    The weights are counted on one half of the examples and tried on the other, both ways.

    Returns:
        The mean gain in nats and its standard error: above zero only if the length tells what ``ideal`` leaves out.
    """
    lengths = [words_of(each).count(world.full_stop) for each in examples]
    order = sorted(range(len(examples)), key=lengths.__getitem__)
    group = [0] * len(examples)
    for rank, index in enumerate(order):  # five groups of about equal size, never splitting a length
        group[index] = group[order[rank - 1]] if rank and lengths[order[rank - 1]] == lengths[index] else rank
    bins = [number * 5 // len(examples) for number in group]
    gains = []
    for half in (0, 1):
        seen, expected = defaultdict(Counter), defaultdict(Counter)
        for index, each in enumerate(examples):
            if index % 2 == half:
                seen[bins[index]][kind_of(each.label)] += 1
                for label, share in each.ideal.items():
                    expected[bins[index]][kind_of(label)] += share
        for index, each in enumerate(examples):
            if index % 2 != half:
                counts, usual = seen[bins[index]], expected[bins[index]]
                weight = {x: (counts[kind_of(x)] + 10) / (usual[kind_of(x)] + 10) for x in each.ideal}
                total = math.fsum(share * weight[x] for x, share in each.ideal.items())
                gains.append(math.log(weight[each.label] / total))
    mean = math.fsum(gains) / len(gains)
    return mean, math.sqrt(math.fsum((gain - mean) ** 2 for gain in gains) / (len(gains) - 1) / len(gains))


def cut_by_share(world, count, share):
    """Moods as they must not be cut: at a share of the story's own length."""
    reader = IdealReader(world)
    for story in world.stories(0, "train", count):
        words = [word for each in story.sentences[: round(share * (len(story.sentences) - 1))] for word in each.words]
        yield MoodExample(words, story.fate, reader.cursor(words).moods())


def test_a_cut_at_a_share_of_the_story_would_betray_the_mood():
    world = StoryWorld()
    mean, error = gain_by_length(world, list(cut_by_share(world, MANY, 0.6)), lambda each: each.words)
    assert mean > 3 * error


TASKS = {
    "moods of beginnings": lambda world, count: moods(world, count, share=0.6),
    "moods of whole stories": moods,
    "relations": lambda world, count: relations(world, count, share=0.6),
    "relations of whole stories": relations,
    "summaries": summaries,
    "reasons": lambda world, count: questions(world, count, about="reason"),
    "next sentences": next_sentences,
    "orders of sentences": sentence_orders,
}


def kind_of(label):
    """What labels have in common, where there are too many to count each."""
    if isinstance(label, bool | str):
        return label
    if isinstance(label, tuple):
        return label[:2]
    return " ".join(label.tail.split()[:2])


@pytest.mark.parametrize("task", TASKS)
def test_the_length_of_what_is_shown_does_not_beat_the_ceiling(task):
    world = HIDDEN if task in ("summaries", "relations of whole stories") else StoryWorld()
    examples = list(TASKS[task](world, MANY if task == "moods of beginnings" else 250))
    shown = (lambda each: each.context) if task == "reasons" else (lambda each: each.words)
    mean, error = gain_by_length(world, examples, shown, kind_of)
    assert mean < 2.5 * error + 1e-9


def test_before_the_last_sentence_the_reader_knows_that_it_is_the_last():
    reader, changed = IdealReader(HIDDEN), 0
    for story in HIDDEN.stories(seed=5, count=40):
        cursor = reader.cursor(word for each in story.sentences[:-1] for word in each.words)
        found = before_the_last(cursor)
        assert math.isclose(sum(found.values()), 1.0)
        weights = {}
        for latent, weight in cursor.latents.items():
            options = Mixture(HIDDEN, cursor.state, {latent: 1.0}).total
            weights[latent] = weight * sum(p for (kind, _), p in options.items() if kind.startswith("end_"))
        total = sum(weights.values())
        assert all(found.get(latent, 0.0) == pytest.approx(weight / total) for latent, weight in weights.items())
        changed += any(abs(found.get(latent, 0.0) - weight) > 0.01 for latent, weight in cursor.latents.items())
    assert changed
    with pytest.raises(ValueError, match="cannot end"):
        before_the_last(reader.cursor(word for each in story.sentences[:6] for word in each.words))


def test_the_purposes_of_going_add_up_to_the_probability_of_going():
    world, seen = StoryWorld(), 0
    reader = IdealReader(world)
    for story in world.stories(seed=6, count=25):
        for index, sentence in enumerate(story.sentences):
            if sentence.event[0] != "go" or sentence.event[1][0] != 0:
                continue
            cursor = reader.cursor(word for each in story.sentences[:index] for word in each.words)
            parts = [
                weight * sum(purpose(world, cursor.state, latent, sentence.event).values())
                for latent, weight in cursor.latents.items()
            ]
            assert math.fsum(parts) == pytest.approx(cursor.mixture.total[sentence.event])
            seen += 1
    assert seen > 20
