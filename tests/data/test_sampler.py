"""Batches are a pure function of their number; every epoch holds every example exactly once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.data.sampler import Sampler


def epochs_of(sampler, count):
    """The examples of the first epochs, in the order in which they are seen."""
    steps = sampler.steps_per_epoch
    batches = [sampler.batch(index) for index in range(count * steps)]
    assert [epoch for epoch, _ in batches] == [epoch for epoch in range(count) for _ in range(steps)]
    return [
        [example for _, numbers in batches[epoch * steps : (epoch + 1) * steps] for example in numbers]
        for epoch in range(count)
    ]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 9), st.booleans())
@settings(deadline=None)
def test_every_epoch_has_every_example_exactly_once_in_another_order(lengths, batch_size, by_length):
    sampler = Sampler(len(lengths), batch_size, seed=0, lengths=lengths if by_length else None)
    epochs = epochs_of(sampler, 3)
    assert all(sorted(epoch) == list(range(len(lengths))) for epoch in epochs)
    if len(lengths) > 20:
        assert epochs[0] != epochs[1] != epochs[2]


@given(st.integers(1, 40), st.integers(1, 9))
@settings(deadline=None)
def test_only_one_batch_of_an_epoch_is_short(num_examples, batch_size):
    sampler = Sampler(num_examples, batch_size, seed=0)
    sizes = [len(sampler.batch(step)[1]) for step in range(sampler.steps_per_epoch)]
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
    assert 1 <= sizes[-1] <= batch_size
    assert [len(numbers) for numbers in sampler.in_order()] == sizes


@pytest.mark.parametrize("lengths", [None, [1 + number % 7 for number in range(100)]])
def test_a_batch_follows_from_seed_and_number_whatever_was_asked_before(lengths):
    first, second = (Sampler(100, 8, seed=5, lengths=lengths) for _ in range(2))
    for index in range(30):
        second.batch(index)
    assert first.batch(54) == second.batch(54)
    assert first.batch(54) != Sampler(100, 8, seed=6, lengths=lengths).batch(54)


def test_validation_sees_every_example_once_in_order():
    assert [list(numbers) for numbers in Sampler(5, 2, seed=0).in_order()] == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize(("num_examples", "batch_size"), [(0, 4), (4, 0)])
def test_sizes_that_make_no_batch_are_refused(num_examples, batch_size):
    with pytest.raises(ValueError, match="at least one example and a batch_size of 1"):
        Sampler(num_examples, batch_size, seed=0)
