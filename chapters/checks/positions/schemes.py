"""Checks of the exercises on positional encoding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor
from plm_core.models.positions import Rope
from plm_core.models.relative_positions import T5Bias, relative_positions

Function = Callable[..., Any]

pencil = Check("pencil: ALiBi by hand")
attention_share = Check("share: where an ALiBi head looks")
rotation = Check("rotate: RoPE")
cached_bias = Check("alibi_after_cache: a bias for new tokens")
buckets = Check("bucket: T5's distances")
diagonals = Check("by_key: from diagonals to keys")


def _numbers(value: Any, what: str) -> Tensor:
    try:
        return torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckFailed(f"{what} should hold numbers, got {value!r}") from error


# Exercise 1


@pencil.stage("shape")
def _(bias: Any, ratio: Any, draw: Draw) -> None:
    expect_tensor(_numbers(bias, "bias"), (4,), what="bias", hints={"one number for each key, not a matrix": (4, 4)})
    expect_tensor(_numbers(ratio, "ratio"), (), what="ratio")


@pencil.stage("the bias")
def _(bias: Any, ratio: Any, draw: Draw) -> None:
    right = torch.tensor([-1.5, -1.0, -0.5, 0.0])
    expect_close(
        _numbers(bias, "bias"),
        right,
        what="bias",
        message="It is minus the slope times the distance to the query, which stands at position 3.",
        mistakes={
            "the sign is wrong: this bias rewards far keys. ALiBi is a penalty.": lambda: -right,
            "the distance runs from the wrong end: the key at position 3 is the query's own.": lambda: right.flip(0),
            "the slope is missing: the distance is multiplied by 1/2.": lambda: 2 * right,
        },
    )


@pencil.stage("the ratio of weights")
def _(bias: Any, ratio: Any, draw: Draw) -> None:
    expect_close(
        _numbers(ratio, "ratio"),
        torch.tensor(math.exp(0.5)),
        what="ratio",
        tolerance=1e-2,
        message="Softmax turns a difference of scores into a ratio of weights by exp.",
        mistakes={
            "this is the ratio the other way round: nearer over farther is asked.": lambda: torch.tensor(
                math.exp(-0.5)
            ),
            "this is the difference of the two biases: the softmax is still missing.": lambda: torch.tensor(0.5),
        },
    )


# Exercise 2


def _share(slope: float, near: int, length: int) -> Tensor:
    weights = (-slope * torch.arange(length, dtype=torch.float64)).softmax(dim=0)
    return weights[:near].sum()


@attention_share.stage("a prediction")
def _(prediction: Any, share: Function, draw: Draw) -> None:
    values = expect_tensor(_numbers(prediction, "prediction"), (2,), what="prediction")
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise CheckFailed("each prediction is a share between 0 and 1. Whether it is right does not count; write one")


@attention_share.stage("all keys")
def _(prediction: Any, share: Function, draw: Draw) -> None:
    length = draw.integer(5, 50)
    expect_close(
        share(0.3, length, length),
        torch.tensor(1.0),
        what=f"share(0.3, {length}, {length})",
        message="All weights together are 1: is the query's own key, at distance 0, among them?",
    )


@attention_share.stage("reference")
def _(prediction: Any, share: Function, draw: Draw) -> None:
    slope, near, length = 1 / draw.integer(2, 20), draw.integer(2, 8), draw.integer(100, 900)
    expect_close(
        share(slope, near, length),
        _share(slope, near, length),
        what=f"share({slope:.4f}, {near}, {length})",
        message="Softmax over minus slope times distance 0, 1, 2, ...; then the sum over the nearest keys.",
        mistakes={
            "the sign is wrong: these are the weights of a head that loves distance.": (
                lambda: _share(-slope, near, length)
            ),
            "the nearest key is the query's own, at distance 0; yours begins at distance 1.": (
                lambda: (-slope * torch.arange(length, dtype=torch.float64)).softmax(0)[1 : near + 1].sum()
            ),
        },
    )


# Exercise 3


def _rotated(x_TK: Tensor, first: int, pairing: str = "interleaved", sign: int = 1) -> Tensor:
    scheme = Rope(x_TK.shape[-1], pairing=pairing)  # type: ignore[arg-type]
    if sign == 1:
        return scheme.rotate(x_TK[None, None], x_TK[None, None], q_offset=first)[0][0, 0]
    rows = [
        scheme.rotate(r[None, None, None], r[None, None, None], q_offset=-(first + t))[0] for t, r in enumerate(x_TK)
    ]
    return torch.cat(rows, dim=2)[0, 0]


@rotation.stage("shape")
def _(rotate: Function, draw: Draw) -> None:
    length, half = draw.sizes(2, 3, 8)
    x = draw.normal(length, 2 * half)
    expect_tensor(rotate(x, 0), x.shape, what="rotate(x, 0)")


@rotation.stage("lengths are kept")
def _(rotate: Function, draw: Draw) -> None:
    x = draw.normal(5, 8)
    turned = expect_tensor(rotate(x, 7), x.shape, what="rotate(x, 7)")
    expect_close(
        turned.norm(dim=-1),
        x.norm(dim=-1),
        what="the length of a turned row",
        message="A rotation keeps lengths: (a, b) becomes (a cos - b sin, a sin + b cos).",
    )
    expect_close(
        rotate(x, 0)[0], x[0], what="the row at position 0", message="Position 0 is turned by no angle at all."
    )


@rotation.stage("only the distance counts")
def _(rotate: Function, draw: Draw) -> None:
    q, k, move = draw.normal(6, 8), draw.normal(6, 8), draw.integer(3, 60)
    expect_close(
        expect_tensor(rotate(q, move), q.shape, what="rotate(q, ...)") @ rotate(k, move).T,
        rotate(q, 0) @ rotate(k, 0).T,
        what="a score after a move",
        tolerance=1e-3,
        message="Moving queries and keys by the same number of positions must not change q·k.",
    )
    near, far = rotate(q, 0)[0], rotate(q[:1].expand(6, 8), 0)[5]
    if torch.allclose(near, far, atol=1e-4):
        raise CheckFailed("all positions are turned by the same angle: the angle must grow with the position")


@rotation.stage("reference")
def _(rotate: Function, draw: Draw) -> None:
    x, first = draw.normal(9, 12), draw.integer(2, 40)
    expect_close(
        rotate(x, first),
        _rotated(x, first),
        what=f"rotate(x, {first})",
        tolerance=1e-3,
        message="Pair i holds columns 2i and 2i + 1 and turns by 10000^(-2i/K) per position.",
        mistakes={
            "these are the pairs (i, i + K/2) of GPT-NeoX; here neighbours (2i, 2i + 1) are paired.": (
                lambda: _rotated(x, first, "half")
            ),
            "the rotation goes the wrong way round.": lambda: _rotated(x, first, sign=-1),
            "`first` is ignored: row t stands at position first + t.": lambda: _rotated(x, 0),
        },
    )


# Exercise 4


def _cached(slope: float, cached: int, new: int, shift: int = 0) -> Tensor:
    return -slope * relative_positions(new, cached + new, cached + shift).abs().double()


@cached_bias.stage("shape")
def _(alibi_after_cache: Function, draw: Draw) -> None:
    cached, new = draw.sizes(2, 2, 9)
    expect_tensor(
        alibi_after_cache(0.5, cached, new),
        (new, cached + new),
        what=f"alibi_after_cache(0.5, {cached}, {new})",
        hints={
            "the new tokens see the cached keys too": (new, new),
            "rows are the new queries only": (cached + new, cached + new),
        },
    )


@cached_bias.stage("one new token")
def _(alibi_after_cache: Function, draw: Draw) -> None:
    cached = draw.integer(3, 9)
    expect_close(
        alibi_after_cache(0.5, cached, 1),
        _cached(0.5, cached, 1),
        what=f"alibi_after_cache(0.5, {cached}, 1)",
        message="The new token is the last one: its own key is at distance 0, the cached ones before it.",
        mistakes={
            "the new token is taken to stand at position 0: it stands at position `cached`.": (
                lambda: _cached(0.5, cached, 1, -cached)
            ),
            "off by one: positions count from 0, so the first new token stands at `cached`, not before it.": (
                lambda: _cached(0.5, cached, 1, -1)
            ),
            "off by one: the first new token stands at `cached`, not after it.": lambda: _cached(0.5, cached, 1, 1),
        },
    )


@cached_bias.stage("reference")
def _(alibi_after_cache: Function, draw: Draw) -> None:
    cached, new = draw.integer(0, 12), draw.integer(2, 9)
    expect_close(
        alibi_after_cache(0.25, cached, new),
        _cached(0.25, cached, new),
        what=f"alibi_after_cache(0.25, {cached}, {new})",
        message="Row t is the query at position cached + t; column s is the key at position s.",
    )


# Exercise 5


@buckets.stage("shape")
def _(bucket: Function, draw: Draw) -> None:
    rows, columns = draw.sizes(2, 2, 7)
    value = expect_tensor(
        bucket(relative_positions(rows, columns, 0), 16, 64), (rows, columns), what="bucket(relative, 16, 64)"
    )
    if value.is_floating_point():
        raise CheckFailed("buckets are row numbers of a table: return integers (`.long()`)")


@buckets.stage("near distances")
def _(bucket: Function, draw: Draw) -> None:
    near = torch.arange(-3, 4)
    expect_close(
        bucket(near, 16, 64),
        T5Bias(1, num_buckets=16, max_distance=64).bucket(near),
        what="bucket(-3 ... 3)",
        message="The first num_buckets / 4 distances of each direction have a bucket of their own.",
        mistakes={
            "the directions are exchanged: keys in the future use the upper half of the buckets.": (
                lambda: T5Bias(1, num_buckets=16, max_distance=64).bucket(-near)
            ),
            "keys in the future fall into the bucket of distance 0: this is the version for decoders.": (
                lambda: T5Bias(1, num_buckets=16, max_distance=64, bidirectional=False).bucket(near)
            ),
        },
    )


@buckets.stage("reference")
def _(bucket: Function, draw: Draw) -> None:
    count, farthest = 8 * draw.integer(1, 4), draw.integer(50, 200)
    relative = torch.arange(-400, 401)
    right = T5Bias(1, num_buckets=count, max_distance=farthest).bucket(relative)
    value = expect_tensor(bucket(relative, count, farthest), relative.shape, what="bucket(-400 ... 400)")
    if int(value.max()) >= count or int(value.min()) < 0:
        raise CheckFailed(
            f"bucket {int(value.max())} of {count}: distances beyond max_distance share the last bucket of their half"
        )
    exact = count // 4
    distance = relative.abs().double().clamp(min=1)
    place_in_half = torch.log(distance / exact) / math.log(farthest / exact) * exact
    at_an_edge = (place_in_half - place_in_half.round()).abs() < 1e-4  # may fall either way, by rounding
    differs = (value != right) & ~(at_an_edge & ((value - right).abs() == 1))
    wrong = int(differs.sum())
    if wrong:
        place = int(differs.nonzero()[0])
        raise CheckFailed(
            f"{wrong} distances are in another bucket, the first of them {int(relative[place])}: in bucket "
            f"{int(value[place])} where {int(right[place])} is right. Far distances share out the "
            "second half on a logarithmic scale"
        )


# Exercise 6


def _by_key(x_TL: Tensor, keys: int) -> Tensor:
    rows = relative_positions(x_TL.shape[0], keys, 0) + x_TL.shape[0] - 1
    return x_TL.gather(1, rows)


@diagonals.stage("shape")
def _(by_key: Function, draw: Draw) -> None:
    queries, keys = draw.sizes(2, 2, 9)
    expect_tensor(
        by_key(draw.normal(queries, queries + keys - 1), keys),
        (queries, keys),
        what=f"by_key of {queries} queries and {keys} keys",
    )


@diagonals.stage("one query")
def _(by_key: Function, draw: Draw) -> None:
    x = draw.normal(1, 6)
    expect_close(by_key(x, 6), x, what="by_key for one query", message="With one query the diagonals are the keys.")


@diagonals.stage("reference")
def _(by_key: Function, draw: Draw) -> None:
    queries, keys = draw.sizes(2, 4, 12)
    x = draw.normal(queries, queries + keys - 1)
    expect_close(
        by_key(x, keys),
        _by_key(x, keys),
        what="by_key(x, S)",
        message="Row t starts at column T - 1 - t: each row one to the left of the row above.",
        mistakes={
            "rows move the wrong way: row 0 starts at column T - 1, the last row at column 0.": (
                lambda: torch.stack([x[t, t : t + keys] for t in range(queries)])
            ),
            "no row moves: all start at the same column.": lambda: x[:, queries - 1 :],
        },
    )


@diagonals.stage("gradient")
def _(by_key: Function, draw: Draw) -> None:
    x = draw.normal(5, 12).requires_grad_()
    out = expect_tensor(by_key(x, 8), (5, 8), what="by_key(x, 8)")
    if not out.requires_grad:
        raise CheckFailed("no gradient flows back: use tensor operations, not a copy by hand or torch.tensor(...)")
    out.sum().backward()
    used = _by_key(torch.arange(60).view(5, 12), 8).flatten()
    expected = torch.zeros(60).index_fill_(0, used, 1.0).view(5, 12)
    expect_close(x.grad, expected, what="the gradient", message="Each score that is used gets gradient 1, the rest 0.")
