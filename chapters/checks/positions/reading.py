"""Checks of the exercise that reads an experiment on longer texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from plm_chapters.checks.feedback import Check, CheckFailed, Draw

CAUSES = ("order not learnt", "left by the window", "distances or number of keys", "no order far back", "carries over")

diagnosis = Check("diagnose: what a longer text does to a model")


def _case(
    draw: Draw,
    cause: str,
    *,
    high: bool = False,
    drop: bool = False,
    partly: bool = False,
    above: bool = False,
    suffers: bool = False,
) -> dict[str, float]:
    """Accuracies that show one cause clearly: differences that decide are at most 0.03 or at least 0.15.

    With ``high`` the rule without order scores high at the trained length, so no fixed threshold replaces it; with
    ``drop`` it scores much lower on far questions, so neither of its two scores replaces the other. With ``partly`` the
    window raises the accuracy on near questions, but not to that at the trained length. With ``above``, near questions
    that suffer are still answered better than any rule without order, and than far ones. With ``suffers``, near
    questions are answered much worse than at the trained length, whatever the cause, and the window restores them.
    """
    few = torch.rand(5, generator=draw.generator) * 0.03
    bag_home = (0.78 if high else 0.50) + draw.integer(0, 3) / 100
    gain = 0.42 if above else 0.17 if high else draw.integer(17, 28) / 100
    home = bag_home + (0.0 if cause == "order not learnt" else gain) + float(few[0])
    home = min(home, 1.0)
    broken = home - 0.2 - draw.integer(0, 5 if above or suffers else 10) / 100
    bag_far = bag_home - 0.02 - draw.integer(0, 4) / 100 - (0.2 if drop else 0.0)
    case = {
        "home": home,
        "whole_near": home - float(few[1]),
        "window_near": home - float(few[2]),
        "whole_far": bag_far + 0.15 + draw.integer(0, 2) / 100,
        "chance": 0.25,
        "bag_home": bag_home,
        "bag_far": bag_far,
    }
    if cause == "left by the window":
        case |= {"whole_near": broken, "window_near": broken + float(few[3])}
        if partly:
            case |= {"whole_near": broken - 0.15, "window_near": home - 0.16 - float(few[3])}
    elif cause == "distances or number of keys":
        case |= {"whole_near": broken}
    elif cause in ("order not learnt", "no order far back"):
        case |= {"whole_far": bag_far + float(few[4])}
    if above:
        case |= {"whole_far": bag_far + float(few[4])}
    if suffers:
        case |= {"whole_near": broken}
    return case


def _expect(diagnose: Callable[..., Any], cause: str, case: dict[str, float], hint: str) -> None:
    said = diagnose(**case)
    if said not in CAUSES:
        raise CheckFailed(f"diagnose returned {said!r}: return one of {', '.join(map(repr, CAUSES))}")
    if said != cause:
        shown = ", ".join(f"{name} {value:.2f}" for name, value in case.items())
        raise CheckFailed(f"with {shown} you say {said!r}. {hint}")


@diagnosis.stage("the trained length")
def _(diagnose: Callable[..., Any], separating: Any, draw: Draw) -> None:
    hint = "A reader who ignores order does as well at the trained length: there is no skill that could be lost."
    for high, drop in ((False, False), (True, False), (True, True), (False, True)):
        _expect(diagnose, "order not learnt", _case(draw, "order not learnt", high=high, drop=drop), hint)
    first = " Near questions suffer too, but the first string that applies counts, and this one stands first."
    for high in (False, True):
        _expect(diagnose, "order not learnt", _case(draw, "order not learnt", high=high, suffers=True), hint + first)


@diagnosis.stage("near questions")
def _(diagnose: Callable[..., Any], separating: Any, draw: Draw) -> None:
    restores = "The window restores trained distances and the trained number of keys, yet near questions still suffer"
    no_position = "The window helps, and it changes no position: positions cannot be the cause."
    compare = " Both *suffer* and *helps* are measured from `home`, however far above other numbers a score may be."
    left, restored = "left by the window", "distances or number of keys"
    _expect(diagnose, restored, _case(draw, restored, above=True), no_position + compare)
    _expect(diagnose, left, _case(draw, left, above=True), restores + "." + compare)
    for high in (False, True):
        _expect(diagnose, left, _case(draw, left, high=high), restores + ".")
        _expect(diagnose, restored, _case(draw, restored, high=high), no_position)
        partly = _case(draw, left, high=high, partly=True)
        _expect(diagnose, left, partly, restores + ": a rise that stays below `home` leaves a cause in place.")


@diagnosis.stage("far questions")
def _(diagnose: Callable[..., Any], separating: Any, draw: Draw) -> None:
    beats = "Near questions are answered as at home, and far ones clearly better than without order"
    level = "The model is above chance on far questions, but so is a reader who ignores order: compare with that one."
    for high, drop in ((False, False), (True, False), (True, True)):
        hint = beats + (": what counts is `bag_far`, the rule on these questions." if drop else ".")
        _expect(diagnose, "carries over", _case(draw, "carries over", high=high, drop=drop), hint)
        _expect(diagnose, "no order far back", _case(draw, "no order far back", high=high, drop=drop), level)


@diagnosis.stage("the separating run")
def _(diagnose: Callable[..., Any], separating: Any, draw: Draw) -> None:
    wrong = {
        "A": "more training at 32 tokens still meets no new distance and no larger number of keys",
        "B": "here distances and the number of keys grow together, as before",
        "D": "halving the window makes both smaller at once",
    }
    if separating in wrong:
        raise CheckFailed(f"run {separating} does not separate the two: {wrong[separating]}")
    if separating != "C":
        raise CheckFailed(f"separating should be one of the letters 'A' to 'D', got {separating!r}")
