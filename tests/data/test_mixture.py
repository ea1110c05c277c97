"""Mixtures keep their shares, read every source without gaps, and are a pure function of the batch's number."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.data.mixture import BLOCK, MixtureBatches, all_tagged, temperature_shares


class Numbered:
    """A source whose batches say which they are."""

    def __init__(self, name):
        self.name = name

    def batch(self, index):
        return {"input_ids": torch.tensor([[self.name, index]])}


def mixture(shares, **settings):
    return MixtureBatches([Numbered(name) for name in range(len(shares))], shares, **{"seed": 0} | settings)


@given(shares=st.lists(st.floats(0.01, 1), min_size=1, max_size=4), group=st.integers(1, 4), seed=st.integers(0, 9))
@settings(max_examples=20)
def test_every_source_is_read_in_its_own_order_without_gaps(shares, group, seed):
    source = mixture(shares, group=group, seed=seed)
    found = {}
    for index in range(3 * group * 40):
        batch = source.batch(index)
        name, number = batch["input_ids"][0].tolist()
        assert int(batch["task"]) == name
        assert number == found.get(name, -1) + 1
        found[name] = number
        assert name == source.batch(index // group * group)["input_ids"][0, 0], "a group is one source's"


@pytest.mark.parametrize("first", [0, 5 * BLOCK + 17])
def test_any_batch_can_be_made_first(first):
    shares = [0.2, 0.8]
    in_order = mixture(shares)
    for index in range(first, first + 3):
        assert mixture(shares).place(index) == in_order.place(index)
    counts = Counter(in_order.place(index)[0] for index in range(first))
    assert in_order.place(first)[1] == counts[in_order.place(first)[0]]


def test_sources_are_drawn_by_their_shares():
    """Of 8,192 draws each frequency lies within 5 standard errors: a false alarm has probability 3 x 6e-7."""
    shares, n = [1.0, 2.0, 5.0], 8 * BLOCK
    counts = Counter(mixture(shares, seed=4).place(index)[0] for index in range(n))
    for name, share in enumerate(shares):
        p = share / 8
        assert abs(counts[name] / n - p) < 5 * math.sqrt(p * (1 - p) / n)


@given(sizes=st.lists(st.floats(1, 1e12), min_size=1, max_size=5), temperature=st.floats(0.2, 100))
def test_temperature_shares_are_powers_of_the_sizes(sizes, temperature):
    shares = temperature_shares(sizes, temperature)
    assert sum(shares) == pytest.approx(1)
    for one, size in zip(shares, sizes, strict=True):
        for other, another in zip(shares, sizes, strict=True):
            assert one * (another / size) ** (1 / temperature) == pytest.approx(other)


def test_temperature_one_keeps_the_sizes_and_a_high_one_levels_them():
    assert temperature_shares([3, 1], 1) == pytest.approx([0.75, 0.25])
    assert temperature_shares([3, 1], 1e6) == pytest.approx([0.5, 0.5], abs=1e-5)


def test_validation_batches_name_their_source():
    batches = all_tagged([[{"input_ids": torch.zeros(1, 1)}], [{"input_ids": torch.ones(1, 1)}] * 2])
    assert [int(batch["task"]) for batch in batches] == [0, 1, 1]


@pytest.mark.parametrize("shares", [[], [-1.0, 2.0], [0.0]])
def test_shares_that_do_not_fit_are_refused(shares):
    with pytest.raises(ValueError, match="a mixture needs a share"):
        mixture(shares)
    with pytest.raises(ValueError, match="positive numbers"):
        temperature_shares(shares, 1.0)
    with pytest.raises(ValueError, match="group"):
        mixture([1.0], group=0)
