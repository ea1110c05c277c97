"""A sampler that is stopped and resumed gives the batches that it would have given."""

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.data.sampler import Sampler


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 30), st.booleans())
@settings(deadline=None)
def test_a_saved_position_continues_exactly(num_examples, batch_size, steps, shuffle):
    def new():
        return Sampler(num_examples, batch_size, seed=3, shuffle=shuffle, drop_last=False)

    straight = list(islice(new(), steps + 10))
    stopped = new()
    before = list(islice(stopped, steps))
    resumed = new()
    resumed.load_state_dict(stopped.state_dict())
    assert before + list(islice(resumed, 10)) == straight


@given(st.integers(1, 40), st.integers(1, 9))
@settings(deadline=None)
def test_every_epoch_has_every_example_once_in_another_order(num_examples, batch_size):
    sampler = Sampler(num_examples, batch_size, seed=0, drop_last=False)
    epochs = [
        [example for step in range(sampler.steps_per_epoch) for example in sampler.batch(epoch, step)]
        for epoch in range(3)
    ]
    assert all(sorted(epoch) == list(range(num_examples)) for epoch in epochs)
    if num_examples > 20:
        assert epochs[0] != epochs[1] != epochs[2]


def test_a_batch_is_a_function_of_seed_epoch_and_step_alone():
    first, second = Sampler(100, 8, seed=5), Sampler(100, 8, seed=5)
    for _ in islice(second, 30):
        pass
    assert first.batch(4, 2) == second.batch(4, 2)
    assert first.batch(4, 2) != Sampler(100, 8, seed=6).batch(4, 2)
    assert (first.epoch, first.step) == (0, 0)


def test_ranks_share_each_global_batch():
    ranks = [Sampler(50, 4, seed=0, rank=rank, world_size=3) for rank in range(3)]
    alone = Sampler(50, 12, seed=0)
    assert {rank.steps_per_epoch for rank in ranks} == {4}
    for step in range(4):
        assert [example for rank in ranks for example in rank.batch(1, step)] == alone.batch(1, step)


def test_dropping_the_last_batch_drops_other_examples_every_epoch():
    sampler = Sampler(10, 4, seed=0)
    left_out = [set(range(10)) - {e for step in range(2) for e in sampler.batch(epoch, step)} for epoch in range(4)]
    assert all(len(out) == 2 for out in left_out)
    assert len({frozenset(out) for out in left_out}) > 1


def test_bad_sizes_and_foreign_positions_are_refused():
    with pytest.raises(ValueError, match="make no batch"):
        Sampler(3, 4, seed=0)
    with pytest.raises(ValueError, match="rank"):
        Sampler(30, 4, seed=0, rank=2, world_size=2)
    with pytest.raises(ValueError, match="drop_last"):
        Sampler(30, 4, seed=0, world_size=2, drop_last=False)
    state = Sampler(30, 4, seed=0).state_dict()
    with pytest.raises(ValueError, match="num_examples=30, this sampler has num_examples=31"):
        Sampler(31, 4, seed=0).load_state_dict(state)
    with pytest.raises(ValueError, match="seed"):
        Sampler(30, 4, seed=1).load_state_dict(state)
