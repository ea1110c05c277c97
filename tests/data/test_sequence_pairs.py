"""Targets are shifted once, padding stands on the right, and every example comes once in an epoch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plm_core.data.labels import IGNORE
from plm_core.data.sequence_pairs import (
    ParallelTexts,
    ScheduledSamplingBatches,
    SequencePairBatches,
    inverse_sigmoid_share,
    shift_right,
)

PAD, START, END = 0, 1, 2
IDS = st.lists(st.integers(3, 20), max_size=7)


def batches(texts, **changes):
    settings = {"start_id": START, "end_id": END, "pad_id": PAD, "batch_size": 3, "seed": 0}
    return SequencePairBatches(texts, **settings | changes)


@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=10))
def test_a_batch_gives_its_texts_back(pairs):
    """What the encoder reads, what the decoder reads and what it must write follow from the texts, and they from it."""
    texts = ParallelTexts([source for source, _ in pairs], [target for _, target in pairs])
    found = []
    for batch in batches(texts).in_order():
        for ids, real, inputs, labels in zip(
            batch["input_ids"], batch["attention_mask"], batch["decoder_input_ids"], batch["labels"], strict=True
        ):
            source, target = ids[real].tolist(), labels[labels != IGNORE].tolist()
            assert source[-1] == target[-1] == END
            assert (ids[~real] == PAD).all()
            assert inputs[: len(target)].tolist() == [START, *target[:-1]], "shifted by one place"
            assert real.int().diff().le(0).all(), "padding stands on the right"
            assert (labels != IGNORE).int().diff().le(0).all()
            found.append((source[:-1], target[:-1]))
    assert found == pairs


def test_an_epoch_holds_every_example_once_and_another_order_than_the_next():
    texts = ParallelTexts([[3 + n] for n in range(10)], [[3 + n] for n in range(10)])
    source = batches(texts)
    epochs = [
        [row for step in range(4) for row in source.batch(4 * epoch + step)["input_ids"][:, 0].tolist()]
        for epoch in range(2)
    ]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(3, 13))
    assert epochs[0] != epochs[1]


def test_batches_are_a_pure_function_of_their_number():
    texts = ParallelTexts([[3] * (n % 5) for n in range(30)], [[4] * (n % 7) for n in range(30)])
    one, other = batches(texts), batches(texts)
    for index in (17, 3, 25):
        first, second = one.batch(index), other.batch(index)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_shift_right_never_shows_a_label_at_its_own_place():
    labels = torch.arange(3, 15).view(2, 6)
    inputs = shift_right(labels, start_id=START, pad_id=PAD)
    assert torch.equal(inputs[:, 1:], labels[:, :-1])
    assert (inputs[:, 0] == START).all()
    assert not (inputs == labels).any()


def test_long_examples_are_refused_and_left_out_only_when_asked():
    texts = ParallelTexts([[3] * 5, [3] * 2], [[4], [4] * 9])
    with pytest.raises(ValueError, match="example 1 has 2 source and 9 target tokens"):
        list(batches(texts, max_length=8).in_order())
    assert ParallelTexts.within(texts, 5).targets == [[4]]
    with pytest.raises(ValueError, match="expected the same number"):
        texts.within(0)


def test_texts_without_their_counterparts_are_refused():
    with pytest.raises(ValueError, match="2 sources and 1 targets"):
        ParallelTexts([[3], [4]], [[5]])


def test_scheduled_sampling_replaces_its_share_and_never_the_start():
    """Of 6,400 places a share of 0.25 is replaced, within 5 standard errors: a false alarm has probability 6e-7."""
    texts = ParallelTexts([[3]] * 64, [[4] * 19] * 64)
    plain = batches(texts, batch_size=64)
    source = ScheduledSamplingBatches(plain, lambda index: 0.25 if index else 1.0, seed=3)
    everything = source.batch(0)
    real = everything["labels"] != IGNORE
    assert not everything["uses_own_token"][:, 0].any()
    assert torch.equal(everything["uses_own_token"][:, 1:], real[:, 1:])
    chosen = [source.batch(index)["uses_own_token"][:, 1:] for index in range(1, 6)]
    n = sum(each.numel() for each in chosen)
    assert abs(sum(int(each.sum()) for each in chosen) / n - 0.25) < 5 * (0.25 * 0.75 / n) ** 0.5
    again = ScheduledSamplingBatches(plain, lambda index: 0.25, seed=3).batch(4)
    assert torch.equal(again["uses_own_token"], source.batch(4)["uses_own_token"])
    assert torch.equal(again["own_token_draws"], source.batch(4)["own_token_draws"])
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        ScheduledSamplingBatches(plain, lambda index: 1.5, seed=3).batch(0)


def test_the_share_rises_from_nearly_zero_to_one_and_is_half_where_it_says():
    shares = [inverse_sigmoid_share(index, k=50) for index in range(0, 2000, 10)]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(1 / 51)
    assert shares[-1] > 0.999
    assert inverse_sigmoid_share(round(50 * 3.912023), k=50) == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ValueError, match="at least 1"):
        inverse_sigmoid_share(0, k=0.5)
