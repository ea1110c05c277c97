"""Checks of the exercises on stages: how one begins, when it ends, and what it hands on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import torch

from plm_chapters.checks.curriculum.forgetting import first_steps, new_stage
from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor

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
