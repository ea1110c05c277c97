"""The experiments on word vectors: their data are what they say, and the ceilings are ceilings."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from plm_chapters.notebook import load_experiment
from plm_core.models.cooccurrence import cooccurrence
from plm_core.storyworld import StoryWorld

experiment = load_experiment("03_word_embeddings")
real_vectors = load_experiment("03b_real_vectors")
word_order = load_experiment("03c_word_order")
new_words = load_experiment("03d_new_words")
word_texts = load_experiment("word_texts")


def test_no_word_is_of_two_kinds() -> None:
    times = Counter(word for members in word_texts.KINDS.values() for word in members.split())
    assert max(times.values()) == 1
    kinds = word_texts.storyworld_kinds(StoryWorld("full"))
    assert {"dog", "raven"} <= set(kinds["animals"])
    assert "kitchen" in kinds["places"]
    assert {"apple", "apples"} <= set(kinds["fruits"])


def test_words_of_two_kinds_and_rare_ones_are_not_asked() -> None:
    ids, sentences = torch.tensor([0, 0, 1, 2, 2]), torch.zeros(5, dtype=torch.int64)
    text = word_texts.of_kinds(["a", "b", "c"], ids, sentences, {"x": ["a", "b", "c"], "y": ["c"]}, 2)
    assert text.known.tolist() == [0]


def test_a_word_is_reported_in_every_text_or_in_none() -> None:
    kinds = {"x": ["a", "b", "c"], "y": ["d", "e", "f"]}
    words = [word for members in kinds.values() for word in members]
    sides: dict[int, set[bool]] = {}
    for ids in ([0, 1, 2, 3, 4, 5], [1, 2, 4, 5], [0, 2, 3, 5], [2, 3, 4]):  # rare words are missing here and there
        text = word_texts.of_kinds(words, torch.tensor(ids), torch.zeros(len(ids), dtype=torch.int64), kinds, 1)
        for row, reported in zip(text.known.tolist(), text.reported.tolist(), strict=True):
            sides.setdefault(row, set()).add(reported)
    assert [len(each) for each in sides.values()] == [1] * 6
    assert sorted(next(iter(each)) for each in sides.values()) == [False] * 3 + [True] * 3
    fruits = word_texts.storyworld_kinds(StoryWorld("full"))["fruits"]
    assert (
        {word.endswith("s") for word in fruits[::2]} == {word.endswith("s") for word in fruits[1::2]} == {True, False}
    )


def test_shares_are_those_of_the_reported_words() -> None:
    text = word_texts.of_kinds(list("abcd"), torch.arange(4), torch.zeros(4, dtype=torch.int64), {"x": list("abcd")}, 1)
    right = text.reported
    assert experiment.score(text, lambda text: right)["share"] == 1
    assert experiment.score(text, lambda text: ~right)["share"] == 0


def test_floors_by_hand() -> None:
    ids = torch.tensor([0, 1, 1, 2, 2, 3, 3, 3, 3])
    kinds = {"x": ["a", "b"], "y": ["c", "d"]}
    text = word_texts.of_kinds(["a", "b", "c", "d"], ids, torch.zeros(9, dtype=torch.int64), kinds, 1)
    assert experiment.floor("chance", text).tolist() == pytest.approx([1 / 3] * 4)
    assert experiment.floor("frequency", text).tolist() == pytest.approx([0.5, 0, 0, 0.5])


def test_the_minimum_of_the_expected_loss_is_that_of_shifted_pmi() -> None:
    ids = torch.randint(6, (400,), generator=torch.Generator().manual_seed(0))
    counts = cooccurrence(ids, torch.arange(400) // 5, window=2, vocab_size=6).double() + 1
    noise = experiment.expected_noise(counts, 5)
    optimum = torch.log(counts / noise)
    least = float(experiment.expected_loss(optimum, counts, noise))
    assert experiment.minimum(counts, noise) == pytest.approx(least)
    moved = optimum + 0.1 * torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    assert float(experiment.expected_loss(moved, counts, noise)) > least
    found = experiment.line(optimum, counts)
    assert found["slope"] == pytest.approx(1)
    assert found["intercept"] == pytest.approx(-torch.log(torch.tensor(5.0)).item(), abs=1e-5)


def test_mirror_images_share_their_bag_and_never_their_answer() -> None:
    rows = [row for story in word_order.world().stories(3, "test", 60) for row in word_order.examples(story)]
    two = [row for row in rows if len(row.people) == 2]
    assert two
    for row in two:
        other = row.mirrored()
        assert Counter(other.words) == Counter(row.words)
        assert other.answer != row.answer
        assert other.mirrored() == row
        assert {row.answer, other.answer} == set(row.people)


def test_no_function_of_a_bag_exceeds_the_ceiling() -> None:
    """A reader that is told the best answer for every bag of these very sentences reaches it, and no more."""
    rows = [row for story in word_order.world().stories(4, "test", 60) for row in word_order.examples(story)]
    rows = list({each.words: each for row in rows for each in (row, row.mirrored())}.values())
    two = sum(len(row.people) == 2 for row in rows) / len(rows)
    assert word_order.ceiling(rows) == pytest.approx(1 - two / 2)


def test_the_order_free_reader_is_order_free() -> None:
    torch.manual_seed(0)
    model = word_order.Mean(10, 3)
    ids = torch.tensor([[0, 0, 4, 7, 2]])
    torch.testing.assert_close(model(ids), model(ids.flip(1)))
    assert not torch.allclose(word_order.Gru(10, 3)(ids), word_order.Gru(10, 3)(ids.flip(1)))


def test_the_vote_of_endings_asks_only_the_longest_common_ending() -> None:
    tag_of = {"walked": "vb", "naked": "jj", "baked": "vb", "red": "jj", "dog": "nn"}
    assert new_words.shared_ending("talked", "walked") == 5
    assert new_words.ending_vote("talked", list(tag_of), tag_of) == "vb"
    assert new_words.ending_vote("faked", list(tag_of), tag_of) == "jj"  # naked and baked tie: the first is taken
    assert new_words.ending_vote("bred", list(tag_of), tag_of) == "jj"


def test_words_on_many_pages_weigh_little() -> None:
    weight = real_vectors.weight_of()
    assert weight["the"] == min(weight.values()) < weight["exception"] < weight[""] == max(weight.values())


def test_no_group_of_the_floor_holds_two_forms_of_a_word() -> None:
    assert real_vectors.one_form(["second", "minute", "minutes", "hour", "hours", "eyes", "bus", "ship", "ships"]) == (
        ["second", "minute", "hour", "eyes", "bus", "ship"]
    )
    for kind in real_vectors.UNRELATED:
        words = real_vectors.one_form(word_texts.KINDS[kind].split())
        assert not {f"{word}s" for word in words} & set(words)
    assert all(pair <= {*real_vectors.UNRELATED, "stone", "metal"} for pair in real_vectors.RELATED)


def test_groups_of_weat_are_of_one_size_and_senses_hold_their_word() -> None:
    assert {len(words.split()) for words in real_vectors.GROUPS.values()} == {8}
    for word, senses in real_vectors.SENSES.items():
        texts = [text for sense in senses for text in sense]
        assert len(set(texts)) == 10
        assert all(word in text.lower().rstrip(".").split() for text in texts)
    assert real_vectors.sign_test(15, 3) == pytest.approx(2 * (1 + 18 + 153 + 816) / 2**18)
