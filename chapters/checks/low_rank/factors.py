"""Checks of the exercises on low rank: singular values by pencil, thin pairs, moments and adapters.

Letters: M outputs, N inputs, R rank, T tokens. A weight is (M, N), as in ``nn.Linear``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor

Function = Callable[..., Any]

# --- 1: by pencil ---------------------------------------------------------------------------------------------------

pencil = Check("Two singular values by pencil")


@pencil.stage("singular values")
def _(values: Any, kept: Any, error: Any, draw: Draw) -> None:
    mistakes = {
        "the singular values are listed in falling order": torch.tensor([30.0, 45.0]),
        "multiply the lengths of column and row: a length is the root of a sum of squares": torch.tensor(
            [225.0, 100.0]
        ),
        "these are the lengths of the rows alone: the columns have length 3": torch.tensor([15.0, 10.0]),
    }
    message = "Each term is a column times a row: multiply their lengths."
    expect_close(values, torch.tensor([45.0, 30.0]), what="values", message=message, mistakes=mistakes)


@pencil.stage("energy kept")
def _(values: Any, kept: Any, error: Any, draw: Draw) -> None:
    mistakes = {
        "energy is a sum of squares: square the singular values before you divide": torch.tensor(0.6),
        "this is what the smaller one holds: rank 1 keeps the larger": torch.tensor(900 / 2925),
    }
    message = "The square of what is kept, over the sum of both squares."
    expect_close(kept, torch.tensor(2025 / 2925), what="kept", message=message, mistakes=mistakes, tolerance=0.005)


@pencil.stage("an input")
def _(values: Any, kept: Any, error: Any, draw: Draw) -> None:
    mistakes = {
        "this is the output of what is kept; the error is the rest": torch.tensor(0.0),
        "this is the squared length: take the root": torch.tensor(300.0**2),
    }
    message = "What is cut is (2, -1, 2) times (8, 6): apply it to the input and take the length."
    expect_close(error, torch.tensor(300.0), what="error", message=message, mistakes=mistakes)


# --- 2: when it saves -----------------------------------------------------------------------------------------------

saving = Check("largest_rank: when a pair saves weights")


def expect_rank(largest_rank: Function, m: int, n: int, share: float) -> None:
    """Compare with a search over all ranks."""
    value = largest_rank(m, n, share)
    if isinstance(value, Tensor):
        value = value.item()
    right = max([r for r in range(1, min(m, n) + 1) if r * (m + n) <= share * m * n + 1e-9], default=0)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != right:
        where = f"for {m} outputs, {n} inputs and a share of {share:g}"
        if value == int(share * min(m, n)) and value != right:
            raise CheckFailed(f"{where}: {value} is a share of the ranks; count the weights of the pair, R·(M + N)")
        if isinstance(value, int | float) and not isinstance(value, bool) and value == right + 1:
            raise CheckFailed(f"{where}: a pair of rank {value} has more weights than that. Round down")
        raise CheckFailed(f"{where}: {value!r} where {right} is right")


@saving.stage("square layers")
def _(largest_rank: Function, draw: Draw) -> None:
    for size in (8 * n for n in draw.sizes(3, 2, 20)):
        expect_rank(largest_rank, size, size, 0.5)
    expect_rank(largest_rank, 128, 128, 1.0)


@saving.stage("oblong layers")
def _(largest_rank: Function, draw: Draw) -> None:
    for m, n in zip(draw.sizes(6, 20, 90), draw.sizes(6, 100, 900), strict=True):
        expect_rank(largest_rank, m, n, 0.3)
        expect_rank(largest_rank, n, m, 0.8)


@saving.stage("no rank at all")
def _(largest_rank: Function, draw: Draw) -> None:
    value = largest_rank(draw.integer(4, 9), 1000, 0.001)
    if isinstance(value, int) and value == 1:
        raise CheckFailed("even rank 1 has more weights than the share allows: return 0")
    expect_rank(largest_rank, 4, 6, 0.1)
    expect_rank(largest_rank, 3, 900, 0.01)


# --- 3: thin pairs --------------------------------------------------------------------------------------------------

thin = Check("thin: a pair by singular values")


def both(answer: Any, m: int, n: int, rank: int) -> tuple[Tensor, Tensor]:
    """The two factors that the student's function returned."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise CheckFailed(
            f"thin(weight, rank) should return the pair (up, down), but it returned {type(answer).__name__}"
        )
    hint = {"U has the outputs: it belongs into up, transposed V into down": (n, rank)}
    up = expect_tensor(answer[0], (m, rank), what="up", hints=hint)
    return up, expect_tensor(answer[1], (rank, n), what="down", hints={"transpose it: (R, N)": (n, rank)})


@thin.stage("shapes")
def _(make: Function, draw: Draw) -> None:
    m, n = draw.sizes(2, 5, 12)
    both(make(draw.normal(m, n), 3), m, n, 3)


@thin.stage("all ranks give the weight back")
def _(make: Function, draw: Draw) -> None:
    for m, n in ((9, 9), (7, 11), (11, 7)):
        weight, rank = draw.normal(m, n), min(m, n)
        up, down = both(make(weight, rank), m, n, rank)
        u, s, vt = torch.linalg.svd(weight, full_matrices=False)
        mistakes = {
            "the singular values are in there twice: each factor gets their root": (u * s.square()) @ vt,
            "the singular values are missing": u @ vt,
            "each factor gets the root of the singular values, or one factor all of them": (u * s.sqrt()) @ vt,
        }
        if m == n:
            mistakes["this is the transposed weight: U belongs into up"] = weight.T
        expect_close(up @ down, weight, what="up @ down at full rank", mistakes=mistakes, tolerance=1e-3)


@thin.stage("the best of its rank")
def _(make: Function, draw: Draw) -> None:
    weight = draw.normal(10, 14)
    up, down = both(make(weight, 4), 10, 14, 4)
    u, s, vt = torch.linalg.svd(weight, full_matrices=False)
    mistakes = {"the last singular values were kept: keep the first": (u[:, -4:] * s[-4:]) @ vt[-4:]}
    right = (u[:, :4] * s[:4]) @ vt[:4]
    expect_close(up @ down, right, what="up @ down at rank 4", mistakes=mistakes, tolerance=1e-3)


@thin.stage("both factors of one size")
def _(make: Function, draw: Draw) -> None:
    up, down = both(make(draw.normal(10, 14), 4), 10, 14, 4)
    message = "Column i of up and row i of down should be equally long: each gets the root of singular value i."
    expect_close(up.norm(dim=0), down.norm(dim=1), what="lengths of up's columns", message=message, tolerance=1e-3)


# --- 4: moments -----------------------------------------------------------------------------------------------------

moments = Check("Second moments and the error of outputs")


@moments.stage("shape")
def _(second_moments: Function, output_error: Function, draw: Draw) -> None:
    b, t, n = draw.sizes(3, 2, 7)
    mask = torch.ones(b, t, dtype=torch.bool)
    hint = {"multiply x transposed by x: (N, T) times (T, N)": (t, t)}
    expect_tensor(second_moments(draw.normal(b, t, n), mask), (n, n), what="second_moments(x, mask)", hints=hint)


@moments.stage("not centred, and padding does not count")
def _(second_moments: Function, output_error: Function, draw: Draw) -> None:
    x, mask = draw.normal(3, 6, 4) + 2, torch.arange(6) < torch.tensor([[6], [4], [1]])
    real = x[mask]
    right = real.T @ real / len(real)
    padded = x * mask[..., None]
    mistakes = {
        "the padding is in it: only tokens whose mask is True count": x.flatten(0, 1).T @ x.flatten(0, 1) / 18,
        "the sum is right; divide by the number of real tokens, not of all": padded.flatten(0, 1).T
        @ padded.flatten(0, 1)
        / 18,
        "this is the covariance: second moments do not subtract the mean": real.T.cov(correction=0),
        "this is the covariance: do not subtract the mean": real.T.cov(),
        "divide the sum by the number of real tokens": real.T @ real,
    }
    expect_close(second_moments(x, mask), right, what="second_moments(x, mask)", mistakes=mistakes)


@moments.stage("error of outputs")
def _(second_moments: Function, output_error: Function, draw: Draw) -> None:
    error, x = draw.normal(5, 7), draw.normal(300, 7) * torch.linspace(0.2, 3, 7)
    a = x.T @ x / len(x)
    right = (x @ error.T).square().sum(1).mean()
    mistakes = {
        "this is the error of the weights: the moments stand between E and its transpose": error.square().sum(),
        "sum over the outputs, do not take their mean": right / 5,
        "this is the root: the mean squared length is asked for": right.sqrt(),
    }
    message = "The trace of E·A·Eᵀ."
    expect_close(output_error(error, a), right, what="output_error(E, A)", mistakes=mistakes, message=message)


# --- 5: predict, then run -------------------------------------------------------------------------------------------

prediction = Check("Predict: energies and ranks")


def measure(seed: int = 0) -> dict[str, float]:
    """Measure a random weight of 128 x 128, and inputs that lie in a subspace of dimension 8.

    Returns:
        ``random_energy``: what the first 32 ranks of the weight hold. ``needed_rank``: the rank at which a pair weighed
        by the moments of such inputs has an output error below a millionth. ``weight_error``: the error of that pair's
        weights over the error of the plain pair of the same rank. ``repeated``: the share of energy that the first 32
        ranks hold when the weight is stacked on a copy of itself.
    """
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(128, 128, generator=generator, dtype=torch.double)
    x = torch.randn(1000, 8, generator=generator, dtype=torch.double) @ torch.randn(
        8, 128, generator=generator, dtype=torch.double
    )
    values = torch.linalg.svdvals(weight).square()
    outputs = torch.linalg.svdvals(weight @ x.T).square()
    tails = 1 - outputs.cumsum(0) / outputs.sum()
    rank = int((tails > 1e-6).sum()) + 1
    basis = torch.linalg.svd(x, full_matrices=False).Vh[:rank]  # the pair: project the inputs, then the weight
    aware_error = (weight - weight @ basis.T @ basis).square().sum()
    stacked = torch.linalg.svdvals(torch.cat([weight, weight])).square()
    return {
        "random_energy": float(values[:32].sum() / values.sum()),
        "needed_rank": rank,
        "weight_error": float(aware_error / values[rank:].sum()),
        "repeated": float(stacked[:32].sum() / stacked.sum()),
    }


def expect_prediction(value: Any, seen: float, *, what: str, tolerance: float, why: str) -> None:
    """Compare a predicted number with the measured one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CheckFailed(f"{what} is {'still ...' if value is ... else repr(value)}: give a number")
    if not abs(value - seen) <= tolerance:  # so that NaN fails, too
        raise CheckFailed(f"{what}: predicted {value:g}, measured {seen:.3g}. {why}")


@prediction.stage("energy of random numbers")
def _(random_energy: Any, needed_rank: Any, repeated: Any, worse: Any, draw: Draw) -> None:
    why = "Random numbers have no equal singular values: the first quarter of the ranks holds well over a quarter."
    seen = measure(draw.seed % 2**31)["random_energy"]
    expect_prediction(random_energy, seen, what="random_energy", tolerance=0.1, why=why)


@prediction.stage("rank that the inputs need")
def _(random_energy: Any, needed_rank: Any, repeated: Any, worse: Any, draw: Draw) -> None:
    why = "Outputs cannot fill more directions than the inputs do, whatever the rank of the weight."
    seen = measure(draw.seed % 2**31)["needed_rank"]
    expect_prediction(needed_rank, seen, what="needed_rank", tolerance=0.5, why=why)


@prediction.stage("a copy below")
def _(random_energy: Any, needed_rank: Any, repeated: Any, worse: Any, draw: Draw) -> None:
    why = "The copy makes every singular value larger by one factor: shares stay."
    seen = measure(draw.seed % 2**31)["repeated"]
    expect_prediction(repeated, seen, what="repeated", tolerance=0.1, why=why)


@prediction.stage("error of the weights")
def _(random_energy: Any, needed_rank: Any, repeated: Any, worse: Any, draw: Draw) -> None:
    if not isinstance(worse, bool):
        raise CheckFailed(f"worse is {'still ...' if worse is ... else repr(worse)}: choose True or False")
    seen = measure(draw.seed % 2**31)["weight_error"]
    if worse != (seen > 1):
        raise CheckFailed(
            f"measured: {seen:.2f} times the plain pair's error. The plain pair has the smallest error of the weights "
            "that there is; any other pair of its rank can only have a larger one"
        )


# --- 7: adapters ----------------------------------------------------------------------------------------------------

adapters = Check("swap: from one task's adapter to another's")


def adapter(draw: Draw, rank: int, alpha: float) -> dict[str, Any]:
    """Factors B (8, R) and A (R, 6) with their alpha."""
    return {"b": draw.normal(8, rank), "a": draw.normal(rank, 6), "alpha": alpha}


def change(of: dict[str, Any]) -> Tensor:
    """What an adapter adds to the weight."""
    added: Tensor = of["alpha"] / of["a"].shape[0] * of["b"] @ of["a"]
    return added


@adapters.stage("an adapter to a bare weight")
def _(swap: Function, draw: Draw) -> None:
    weight, new = draw.normal(8, 6), adapter(draw, 3, 12.0)
    right = weight + change(new)
    mistakes = {
        "the scale alpha / R is missing": weight + new["b"] @ new["a"],
        "the scale is alpha divided by the rank": weight + 12 * new["b"] @ new["a"],
        "this is the adapter alone: add it to the weight": change(new),
    }
    expect_close(swap(weight, None, new), right, what="swap(weight, None, new)", mistakes=mistakes)


@adapters.stage("one adapter for another")
def _(swap: Function, draw: Draw) -> None:
    weight, old, new = draw.normal(8, 6), adapter(draw, 2, 5.0), adapter(draw, 4, 12.0)
    merged = weight + change(old)
    mistakes = {
        "the old adapter is still in it: take it off first": merged + change(new),
        "the old adapter was added once more": merged + change(old) + change(new),
        "each adapter has a rank and an alpha of its own": merged - 3.0 * old["b"] @ old["a"] + change(new),
    }
    expect_close(swap(merged, old, new), weight + change(new), what="swap(merged, old, new)", mistakes=mistakes)


@adapters.stage("the weight given is left alone")
def _(swap: Function, draw: Draw) -> None:
    weight, old = draw.normal(8, 6), adapter(draw, 2, 5.0)
    merged = weight + change(old)
    before = merged.clone()
    back = expect_tensor(swap(merged, old, None), (8, 6), what="swap(merged, old, None)")
    expect_close(
        merged, before, what="the weight that was given", message="It was changed in place: make a new tensor."
    )
    expect_close(back, weight, what="swap(merged, old, None)", message="Without a new adapter the bare weight remains.")
