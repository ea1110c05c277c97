"""Checks of the exercises on stages: how one begins, when it ends, what it hands on, and what is replayed in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch

from plm_chapters.checks.curriculum.forgetting import first_steps, new_stage
from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_frequencies, expect_tensor
from plm_core.data.mixture import temperature_shares

# --- 2: a new stage, predicted --------------------------------------------------------------------------------------

prediction = Check("A new stage, predicted")


def _number(value: Any, what: str) -> float:
    return float(expect_tensor(value, (), what=what))


@prediction.stage("a new optimiser")
def _(fresh: Any, kept: Any, turn: Any, loss: Any, draw: Draw) -> None:
    expect_close(
        expect_tensor(fresh, (), what="fresh"),
        torch.tensor(first_steps(keep_moments=False)[0]),
        what="fresh",
        tolerance=0.01,
        message="After bias correction both means are those of one gradient: what is g / √(g²)?",
        mistakes={
            "the weight moves against its gradient, and that is negative now.": torch.tensor(-1.0),
            "Adam divides by the size of the gradient: a small one moves the weight as far as a large one.": (
                torch.tensor(0.1)
            ),
            "bias correction is missing: divide the means by 1 - β₁ and 1 - β₂.": torch.tensor(0.1 / math.sqrt(0.05)),
        },
    )


@prediction.stage("the old moments")
def _(fresh: Any, kept: Any, turn: Any, loss: Any, draw: Draw) -> None:
    expect_close(
        expect_tensor(kept, (), what="kept"),
        torch.tensor(first_steps(keep_moments=True)[0]),
        what="kept",
        tolerance=0.01,
        message="The mean of the gradients is 0.9 · 1 + 0.1 · (-0.1), that of their squares 0.95 · 1 + 0.05 · 0.01.",
        mistakes={
            "the mean is still that of stage C, and positive: the weight moves down, whatever the new gradient says.": (
                torch.tensor(0.89 / math.sqrt(0.9505))
            ),
            "the mean was not divided by the root of the mean square.": torch.tensor(-0.89),
            "divide by the root of the mean square, not by the mean square itself.": torch.tensor(-0.89 / 0.9505),
            "the new gradient counts as well, with a weight of 1 - β.": torch.tensor(-1.0),
            "the new gradient decides nothing yet: the mean remembers those of stage C.": torch.tensor(1.0),
        },
    )


@prediction.stage("the turn")
def _(fresh: Any, kept: Any, turn: Any, loss: Any, draw: Draw) -> None:
    moves = first_steps(keep_moments=True)
    right = 1 + next(number for number, move in enumerate(moves) if move > 0)
    found = _number(turn, "turn")
    if found == right - 1:
        raise CheckFailed(f"after {right - 1} steps the mean is still above 0: it turns with the next")
    if found == 1:
        raise CheckFailed("at the first step the mean of the gradients is still 0.89")
    if found != right:
        raise CheckFailed(f"turn is not {found:g}: find the first n for which 0.9ⁿ · 1 - (1 - 0.9ⁿ) · 0.1 is below 0")


@prediction.stage("the loss of C")
def _(fresh: Any, kept: Any, turn: Any, loss: Any, draw: Draw) -> None:
    if loss not in ("falls", "stays", "rises"):
        raise CheckFailed('loss should be "falls", "stays" or "rises"')
    measured = new_stage(draw.seed)
    change = measured["after M"] - measured["after C"]
    right = "stays" if abs(change) < 0.1 else "rises" if change > 0 else "falls"
    if loss != right:
        raise CheckFailed(
            f"it {right}: {measured['after C']:.2f} nats after stage C, {measured['after M']:.2f} after stage M. No "
            "batch of C is left that would hold the trunk and the head where C needs them"
        )


# --- 4: what a stage hands on ---------------------------------------------------------------------------------------

handing_on = Check("hand_on: when a stage ends, and what it hands on")

Evaluations = list[tuple[int, float]]
HandOnFunction = Callable[[list[Evaluations], int], Any]


class _Rule(NamedTuple):
    """How stages end and what they hand on; the defaults are right."""

    reset: bool = True
    against: str = "best"
    allowed: int = 0
    shared: bool = False
    ties: bool = False
    handed: str = "best"


RIGHT = _Rule()


def _simulate(stages: Sequence[Evaluations], patience: int, rule: _Rule = RIGHT) -> list[tuple[int, int]]:
    """For each stage the step whose checkpoint is handed on, and the step after which it ended."""
    found, best, best_step = [], math.inf, 0
    for evaluations in stages:
        if not rule.shared:
            best, best_step = math.inf, 0
        previous, without, ended = math.inf, 0, 0
        for step, loss in evaluations:
            ended = step
            gain = loss < (previous if rule.against == "previous" else best) or (rule.ties and loss == best)
            previous = loss
            if loss < best or (rule.ties and loss == best):
                best, best_step = loss, step
            without = without + 1 if not gain else 0 if rule.reset else without
            if without >= patience + rule.allowed:
                break
        anywhere = min(evaluations, key=lambda each: each[1])[0]
        found.append(({"best": best_step, "last": ended, "anywhere": anywhere}[rule.handed], ended))
    return found


RULES = {
    "evaluations without gain are counted in a row: one that is better than all before begins the count anew.": (
        _Rule(reset=False)
    ),
    "a loss is compared with the one before it; compare it with the lowest so far.": _Rule(against="previous"),
    "the stage ends one evaluation too late: it ends when `patience` of them in a row were without gain.": (
        _Rule(allowed=1)
    ),
    "the stage ends one evaluation too early: `patience` evaluations without gain are waited for.": _Rule(allowed=-1),
    "an equal loss is no gain: the lowest must be undercut.": _Rule(ties=True),
}
LAST = "these are the last weights; handed on are those with the lowest loss."
ANYWHERE = "the lowest loss was measured after the stage had ended: in a real run there is no such checkpoint."
SHARED = (
    "a stage is compared with the losses of an earlier one. They are losses of another objective, and say nothing "
    "about this one: every stage begins with no best loss."
)


def _evaluations(draw: Draw, count: int, *, level: float = 2.0) -> Evaluations:
    """Losses that fall and then wander, with ties."""
    every = 50 * draw.integer(1, 4)
    losses = [level + 0.1 * (max(0, 4 - number) + draw.integer(-2, 3)) for number in range(count)]
    return [(every * (number + 1), round(loss, 1)) for number, loss in enumerate(losses)]


def _handed_on(function: HandOnFunction, stages: list[Evaluations], patience: int) -> list[tuple[int, int]]:
    found = function([list(evaluations) for evaluations in stages], patience)
    if not isinstance(found, list | tuple) or len(found) != len(stages):
        raise CheckFailed(f"hand_on should return a list with one pair for each of the {len(stages)} stages")
    if not all(isinstance(each, list | tuple) and len(each) == 2 for each in found):
        raise CheckFailed("for each stage, two steps: that of the weights handed on, and that after which it ended")
    for each in found:
        if not all(isinstance(step, Integral) for step in each):
            raise CheckFailed(f"a step is a whole number, not {each}: did a stage find no best loss of its own?")
    return [(int(first), int(second)) for first, second in found]


def _expect(
    function: HandOnFunction,
    draw: Draw,
    rules: dict[str, _Rule],
    make: Callable[[], list[Evaluations]],
    side: int,
    *,
    apart_from: Iterable[_Rule] = (),
) -> None:
    """Compare one of the two steps with the truth, on stages where each of these mistakes shows, and the others not."""
    cases: list[tuple[list[Evaluations], int]] = []
    for wanted in rules.values():
        patience, stages = draw.integer(2, 3), make()
        while not _shows(stages, patience, wanted, side) or any(
            _shows(stages, patience, other, side) for other in apart_from
        ):
            stages = make()
        cases.append((stages, patience))
    found = [_side(_handed_on(function, *case), side) for case in cases]
    right = [_side(_simulate(*case), side) for case in cases]
    if found == right:
        return
    for message, rule in rules.items():
        if found == [_side(_simulate(*case, rule), side) for case in cases]:
            raise CheckFailed(message)
    (stages, patience), ours, theirs = next(
        each for each in zip(cases, right, found, strict=True) if each[1] != each[2]
    )
    number = next(number for number in range(len(stages)) if ours[number] != theirs[number])
    what = "the weights handed on are those of" if side == 0 else "the stage ends after"
    raise CheckFailed(
        f"losses {[loss for _, loss in stages[number]]}, evaluated every {stages[number][0][0]} steps, patience "
        f"{patience}: {what} step {ours[number]}, not {theirs[number]}"
    )


def _shows(stages: list[Evaluations], patience: int, rule: _Rule, side: int) -> bool:
    return _side(_simulate(stages, patience, rule), side) != _side(_simulate(stages, patience), side)


def _side(pairs: list[tuple[int, int]], side: int) -> list[int]:
    return [each[side] for each in pairs]


@handing_on.stage("losses that only fall")
def _(function: HandOnFunction, draw: Draw) -> None:
    every, count = 10 * draw.integer(2, 9), draw.integer(4, 7)
    falling = [(every * (number + 1), 3.0 - 0.2 * number) for number in range(count)]
    [(best, ended)] = _handed_on(function, [falling], 2)
    if ended != every * count:
        raise CheckFailed(f"every loss is a gain, so the stage ends with its last evaluation, {every * count}: {ended}")
    if best != every * count:
        raise CheckFailed(f"the lowest loss is the last one, of step {every * count}, and not of {best}")


@handing_on.stage("patience")
def _(function: HandOnFunction, draw: Draw) -> None:
    _expect(function, draw, RULES, lambda: [_evaluations(draw, draw.integer(9, 12))], 1)


@handing_on.stage("the best weights")
def _(function: HandOnFunction, draw: Draw) -> None:
    rules = {LAST: _Rule(handed="last"), ANYWHERE: _Rule(handed="anywhere")}
    _expect(function, draw, rules, lambda: [_evaluations(draw, draw.integer(9, 12))], 0, apart_from=RULES.values())


@handing_on.stage("every stage by its own losses")
def _(function: HandOnFunction, draw: Draw) -> None:
    def make() -> list[Evaluations]:
        return [_evaluations(draw, draw.integer(6, 9), level=level) for level in (1.0, 2.5, 1.5)]

    _expect(function, draw, {SHARED: _Rule(shared=True)}, make, 0)
    _expect(function, draw, {SHARED: _Rule(shared=True), **RULES}, make, 1)


# --- 5: replay ------------------------------------------------------------------------------------------------------

replaying = Check("Replay: shares, epochs and a schedule")

Function = Callable[..., Any]


def _shares(sizes: Sequence[float], temperature: float, replay: float) -> torch.Tensor:
    earlier = [replay * share for share in temperature_shares(sizes, temperature)]
    return torch.tensor([*earlier, 1 - replay], dtype=torch.float64)


@replaying.stage("shares")
def _(replay_shares: Function, schedule: Function, epochs: Function, draw: Draw) -> None:
    sizes, replay = [100.0 * each for each in draw.sizes(3, 2, 40)], draw.integer(1, 4) / 10
    found = replay_shares(list(sizes), 1.0, replay)
    hints = {"the new objective has a share, too: it comes last": (3,)}
    found = expect_tensor(found, (4,), what="replay_shares(...)", hints=hints)
    right = _shares(sizes, 1.0, replay)
    expect_close(
        found,
        right,
        what="the shares",
        message="The earlier objectives divide `replay` among them; the new one has the rest.",
        mistakes={
            "the new objective comes last.": right.roll(1),
            "the shares add up to more than 1: the earlier objectives have only `replay` to divide.": (
                torch.tensor([*temperature_shares(sizes, 1.0), 1 - replay])
            ),
            "the parts are exchanged: `replay` is the share of the earlier objectives together.": (
                _shares(sizes, 1.0, 1 - replay)
            ),
            "each earlier objective has an equal share here; at temperature 1 they go by the sizes.": (
                _shares([1, 1, 1], 1.0, replay)
            ),
        },
    )
    alone = expect_tensor(replay_shares([], 1.0, replay), (1,), what="replay_shares([], 1.0, replay)")
    expect_close(alone, torch.ones(1), message="In the first stage there is nothing to replay: the share is 1.")


@replaying.stage("temperature")
def _(replay_shares: Function, schedule: Function, epochs: Function, draw: Draw) -> None:
    sizes, replay = [10.0 * each for each in draw.sizes(3, 1, 40)], draw.integer(2, 4) / 10
    for temperature in (2.0, 4.0):
        powers = torch.tensor([*([size**temperature for size in sizes]), 0.0], dtype=torch.float64)
        powers = replay * powers / powers.sum()
        powers[-1] = 1 - replay
        flat = (torch.tensor(sizes) / temperature).softmax(0)
        expect_close(
            replay_shares(list(sizes), temperature, replay),
            _shares(sizes, temperature, replay),
            what=f"shares at temperature {temperature:g}",
            message="Shares are proportional to size^(1 / temperature).",
            mistakes={
                "the temperature is ignored.": _shares(sizes, 1.0, replay),
                "the exponent is 1 / temperature: a high temperature makes the shares more alike.": powers.float(),
                "a softmax of the sizes is no power: take it of their logarithms.": (
                    torch.tensor([*(replay * flat).tolist(), 1 - replay])
                ),
            },
        )


@replaying.stage("epochs")
def _(replay_shares: Function, schedule: Function, epochs: Function, draw: Draw) -> None:
    sizes, replay, rows = [100 * each for each in draw.sizes(3, 1, 40)], 0.25, 8 * draw.integer(2, 4)
    batches, shares = 100 * draw.integer(3, 9), _shares(sizes, 2.0, replay).tolist()
    found = epochs(list(sizes), list(shares), batches, rows)
    hints = {"asked are the earlier objectives only: the size of the new one is not given": (4,)}
    found = expect_tensor(found, (3,), what="epochs(...)", hints=hints)
    right = torch.tensor([share * batches * rows / size for share, size in zip(shares, sizes, strict=False)])
    expect_close(
        found,
        right,
        what="the epochs",
        message="So many examples are read of each objective, divided by so many that there are.",
        mistakes={
            "a batch holds `batch_size` examples: multiply by it.": right / rows,
            "this is how many examples are read: divide by how many there are.": right * torch.tensor(sizes),
            "the share of each objective is missing.": torch.tensor([batches * rows / size for size in sizes]),
        },
    )


def _scheduled(schedule: Function, shares: list[float], batches: int, seed: int) -> np.ndarray:
    found = schedule(list(shares), batches, seed)
    if found is None or found is ...:
        raise CheckFailed("schedule should return a list with the number of an objective for each batch")
    drawn = np.asarray([int(each) for each in found])
    if len(drawn) != batches:
        raise CheckFailed(f"schedule returns {len(drawn)} numbers for {batches} batches")
    if drawn.min() < 0 or drawn.max() >= len(shares):
        raise CheckFailed(f"with {len(shares)} objectives the numbers go from 0 to {len(shares) - 1}")
    return drawn


@replaying.stage("the same seed, the same schedule")
def _(replay_shares: Function, schedule: Function, epochs: Function, draw: Draw) -> None:
    shares, seed, batches = _shares([300, 100], 1.0, 0.5).tolist(), draw.integer(1, 10**6), 200
    first = _scheduled(schedule, shares, batches, seed)
    if not np.array_equal(first, _scheduled(schedule, shares, batches, seed)):
        raise CheckFailed("two calls with the same seed differ: make a generator from the seed in every call")
    if all(np.array_equal(first, _scheduled(schedule, shares, batches, seed + n)) for n in (1, 2, 3)):
        raise CheckFailed("other seeds give the same schedule: is the seed used?")
    if not np.array_equal(first[:120], _scheduled(schedule, shares, 120, seed)):
        raise CheckFailed(
            "the first 120 of 200 batches are not those of a schedule of 120: a run that is prolonged would have read "
            "other batches. Draw batch by batch, in order, and shuffle nothing"
        )


@replaying.stage("the shares, from beginning to end")
def _(replay_shares: Function, schedule: Function, epochs: Function, draw: Draw) -> None:
    shares = _shares([300, 100], 1.0, 0.4)
    counts = torch.zeros(2, 3)
    for _ in range(100):
        drawn = torch.as_tensor(_scheduled(schedule, shares.tolist(), 200, draw.integer(1, 10**9)))
        counts += torch.stack([half.bincount(minlength=3) for half in drawn.view(2, 100)])
    whole = counts.sum(dim=0)
    expect_frequencies(whole, shares, message="Outcome i is objective number i: draw it with its share.")
    expect_frequencies(
        counts,
        shares.expand(2, 3),
        message="As a whole the shares are right, in each half they are not: what is replayed in one block is "
        "forgotten after it or before.",
    )
