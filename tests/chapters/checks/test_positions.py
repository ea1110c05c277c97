"""The checks on positions: right answers pass for any seed, and typical mistakes meet the message that names them."""

import math

import pytest
import torch

from plm_chapters.checks.positions import schemes as check
from plm_core.models.positions import Rope
from plm_core.models.relative_positions import T5Bias, relative_positions


def rotate(x_TK, first):
    return Rope(x_TK.shape[-1]).rotate(x_TK[None, None], x_TK[None, None], q_offset=first)[0][0, 0]


def alibi_after_cache(slope, cached, new):
    return -slope * relative_positions(new, cached + new, cached).abs()


def share(slope, near, length):
    return sum(math.exp(-slope * d) for d in range(near)) / sum(math.exp(-slope * d) for d in range(length))


def bucket(relative, num_buckets, max_distance, bidirectional=True):
    return T5Bias(1, num_buckets=num_buckets, max_distance=max_distance, bidirectional=bidirectional).bucket(relative)


def one_too_far(relative, num_buckets, max_distance):
    """log((d + 1) / exact) for far distances: wrong next to the edges of the buckets only."""
    moved = bucket(relative + relative.sign(), num_buckets, max_distance)
    return torch.where(relative.abs() < num_buckets // 4, bucket(relative, num_buckets, max_distance), moved)


def by_key(x_TL, keys):
    length = x_TL.shape[0]
    return torch.stack([x_TL[t, length - 1 - t : length - 1 - t + keys] for t in range(length)])


def swap(x_TK):
    """Exchange the two columns of each pair."""
    return x_TK.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)


RIGHT = {
    check.pencil: ([-1.5, -1, -0.5, 0], 1.65),
    check.attention_share: ([0.9, 0.1], share),
    check.rotation: (rotate,),
    check.cached_bias: (alibi_after_cache,),
    check.buckets: (bucket,),
    check.diagonals: (by_key,),
}


@pytest.mark.parametrize("exercise", RIGHT, ids=lambda each: each.title)
@pytest.mark.parametrize("seed", [None, 1, 2, 3, 4, 5])
def test_right_answers_pass(exercise, seed):
    outcomes = exercise.run(*RIGHT[exercise], seed=seed)
    assert [outcome.message for outcome in outcomes if not outcome.passed] == []
    assert len(outcomes) == len(exercise.stages)


@pytest.mark.parametrize("exercise", RIGHT, ids=lambda each: each.title)
def test_no_stage_accepts_a_missing_answer(exercise):
    for stage in exercise.stages:
        for missing in (..., None, lambda *args: None):
            with pytest.raises(check.CheckFailed):
                exercise.grade(stage, *[missing] * len(RIGHT[exercise]))


MISTAKES = [
    (check.pencil, "wrong end", ([0, -0.5, -1, -1.5], 1.65)),
    (check.pencil, "slope is missing", ([-3, -2, -1, 0], 1.65)),
    (check.pencil, "other way round", ([-1.5, -1, -0.5, 0], 0.61)),
    (check.pencil, "not a matrix", (torch.zeros(4, 4), 1.65)),
    (check.attention_share, "between 0 and 1", ([90, 2], share)),
    (check.attention_share, "among them", ([0.9, 0.1], lambda s, near, n: share(s, near, n) * 0.99)),
    (check.rotation, "no angle at all", (lambda x, first: rotate(x, first + 1),)),
    (check.rotation, "same number of positions", (lambda x, first: rotate(x, 0) * (x.sign() if first else 1),)),
    (check.rotation, "same angle", (lambda x, first: x,)),
    (check.rotation, "wrong way round", (lambda x, first: swap(rotate(swap(x), first)),)),
    (check.cached_bias, "cached keys too", (lambda slope, cached, new: torch.zeros(new, new),)),
    (check.cached_bias, "not after it", (lambda m, old, new: -m * relative_positions(new, old + new, old + 1).abs(),)),
    (check.buckets, "integers", (lambda r, n, m: bucket(r, n, m).float(),)),
    (check.buckets, "for decoders", (lambda r, n, m: bucket(r, n, m, bidirectional=False),)),
    (check.buckets, "logarithmic scale", (lambda r, n, m: bucket(r, n, 2 * m),)),
    (check.buckets, "Far distances share", (one_too_far,)),
    (check.diagonals, "the diagonals are the keys", (lambda x, keys: torch.zeros(len(x), keys),)),
    (check.diagonals, "no row moves", (lambda x, keys: x[:, len(x) - 1 :],)),
]  # fmt: skip


@pytest.mark.parametrize(("exercise", "message", "answers"), MISTAKES, ids=[message for _, message, _ in MISTAKES])
def test_typical_mistakes_are_named(exercise, message, answers):
    last = exercise.run(*answers)[-1]
    assert not last.passed
    assert message in last.message
