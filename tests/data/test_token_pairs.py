"""Labels are the clipped distance and direction, each equally often; pairs depend on seed, epoch and example alone."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.data.token_pairs import TokenPairBatches, TokenPairConfig, TokenPairs, distance_labels, pairs_by_label

PAD, CLS, SEP = 0, 1, 2
SPECIAL = (PAD, CLS, SEP)


def drawer(seed=0, **config):
    return TokenPairs(special_ids=SPECIAL, config=TokenPairConfig(**config), seed=seed)


def rows(lengths, width=None):
    """Rows [CLS] tokens [SEP] of these numbers of ordinary tokens."""
    width = max(lengths) + 2 if width is None else width
    ids = torch.zeros(len(lengths), width, dtype=torch.int64)
    for row, length in enumerate(lengths):
        ids[row, : length + 2] = torch.tensor([CLS, *range(3, 3 + length), SEP])
    return ids


@given(
    lengths=st.lists(st.integers(0, 14), min_size=1, max_size=5),
    k=st.integers(1, 6),
    pairs_per_row=st.integers(1, 20),
    negatives=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_every_label_is_what_it_says(lengths, k, pairs_per_row, negatives, epoch):
    ids = rows(lengths)
    width = ids.shape[1]
    draw = drawer(max_distance=k, pairs_per_row=pairs_per_row, negatives=negatives)
    pairs, labels = draw(ids, range(len(lengths)), epoch=epoch)
    usable = [row for row, length in enumerate(lengths) if length > k]
    assert len(pairs) == len(labels) == pairs_per_row * len(usable)
    for (first, second), label in zip(pairs.tolist(), labels.tolist(), strict=True):
        assert {int(ids.flatten()[place]) for place in (first, second)}.isdisjoint(SPECIAL)
        assert first // width in usable
        if label == 2 * k:
            assert negatives
            assert first // width != second // width
            continue
        assert first // width == second // width
        distance = second - first
        assert label == int(distance_labels(np.array(distance), k))
        expected = distance if abs(distance) < k else k * (1 if distance > 0 else -1)
        assert (label - k if label < k else label - k + 1) == expected
    for row in usable:  # every label as often as every other, as far as the number of pairs allows
        counts = Counter(labels[pairs[:, 0] // width == row].tolist())
        choices = 2 * k + (negatives and len(usable) > 1)
        assert set(counts) <= set(range(choices))
        assert max(counts.values()) - min(counts.get(label, 0) for label in range(choices)) <= 1


def test_a_labels_pairs_are_equally_likely():
    """10 tokens, label >= 8: three pairs. Each frequency of 3,000 draws is within 5 standard errors: 2e-6."""
    draw, ids = drawer(max_distance=8, pairs_per_row=16), rows([10])
    drawn = Counter()
    for example in range(3000):
        pairs, labels = draw(ids, [example])
        drawn[tuple(pairs[labels == 15][0].tolist())] += 1
    assert set(drawn) == {(1, 9), (2, 10), (1, 10)}
    assert all(abs(count / 3000 - 1 / 3) < 5 * (2 / 9 / 3000) ** 0.5 for count in drawn.values())


def test_pairs_are_a_pure_function_of_seed_epoch_and_example():
    draw, ids = drawer(max_distance=4), rows([9, 12])
    whole, whole_labels = draw(ids, [5, 8], epoch=2)
    alone, alone_labels = draw(ids[1:], [8], epoch=2)
    assert torch.equal(whole[16:] - ids.shape[1], alone)
    assert torch.equal(whole_labels[16:], alone_labels)
    wider, _ = draw(rows([9, 12], width=30)[1:], [8], epoch=2)
    assert torch.equal(wider, alone), "padding changes no draw"
    assert not torch.equal(draw(ids[1:], [8], epoch=3)[0], alone)
    assert not torch.equal(drawer(seed=1, max_distance=4)(ids[1:], [8], epoch=2)[0], alone)


def test_all_pairs_of_a_row_have_one_label():
    by_label = pairs_by_label((1, 2, 3, 4, 5), 3)
    assert sum(map(len, by_label)) == 5 * 4
    assert [len(each) for each in by_label] == [3, 3, 4, 4, 3, 3]


@settings(max_examples=20)
@given(st.lists(st.lists(st.integers(3, 9), max_size=12), min_size=1, max_size=12), st.booleans())
def test_batches_hold_every_text_once_and_pairs_of_their_own(texts, negatives):
    texts = [*texts, list(range(3, 12))]
    draw = drawer(max_distance=3, negatives=negatives)
    source = TokenPairBatches(texts, pairs=draw, pad_id=PAD, batch_size=4, seed=0)
    found = []
    for batch in source.in_order():
        found += [ids[real].tolist() for ids, real in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
        assert batch["token_pairs"].shape == (len(batch["token_pair_labels"]), 2)
    assert found == texts
    assert all(torch.equal(source.batch(2)[key], value) for key, value in source.batch(2).items())


def test_texts_too_short_for_the_greatest_distance_are_refused():
    with pytest.raises(ValueError, match="none of 2 texts has more than max_distance = 4"):
        TokenPairBatches([[3, 4, 5, 6], [CLS, 3, SEP]], pairs=drawer(max_distance=4), pad_id=PAD, batch_size=2, seed=0)
    with pytest.raises(ValueError, match="max_distance"):
        TokenPairConfig(max_distance=0)
