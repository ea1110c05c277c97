"""Staged feedback on a student's answer: what every check of an exercise is made of.

A :class:`Check` is a list of stages, each a function that takes the answer and a source of fresh inputs, and raises
:class:`CheckFailed` with a message that names the likely mistake. A student calls the check and reads the stages up to
the first failure; an autograder calls :meth:`Check.grade` for one stage at a time, with a seed of its own, so that
the same stages meet other inputs and earn partial marks.
"""

from __future__ import annotations

import hashlib
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

VISIBLE_SEED = 0
"""The seed of the inputs that students see; an autograder uses another one."""

FALSE_ALARM_RATE = 1e-6
"""The probability with which a statistical stage may reject a right answer."""

StageFunction = Callable[..., None]


class CheckFailed(AssertionError):
    """An answer is not right yet; the message says what was seen and names the likely mistake."""


class Draw:
    """A source of fresh inputs, determined by its key alone: the same key draws the same inputs on every machine."""

    def __init__(self, *key: object) -> None:
        digest = hashlib.sha256(repr(key).encode()).digest()
        self.seed = int.from_bytes(digest[:6], "big")
        self.generator = torch.Generator().manual_seed(self.seed)

    def normal(self, *shape: int, scale: float = 1.0) -> Tensor:
        """A float32 tensor of independent normal values with standard deviation ``scale``."""
        return torch.randn(shape, generator=self.generator) * scale

    def integer(self, low: int, high: int) -> int:
        """One integer, both ends included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def sizes(self, count: int, low: int, high: int) -> list[int]:
        """Integers that all differ, so that two axes of a tensor are never exchanged unnoticed."""
        order = torch.randperm(high + 1 - low, generator=self.generator)
        return (order[:count] + low).tolist()


@dataclass(frozen=True)
class Outcome:
    """What one stage said about an answer; the message of a passed stage is empty."""

    stage: str
    passed: bool
    message: str = ""


class Check:
    """The stages of one exercise, in the order in which a student meets them.

    Args:
        title: what the exercise asks for, in a few words; it heads the feedback.

    Example::

        softmax = Check("softmax")

        @softmax.stage("shape")
        def _(answer, draw):
            expect_tensor(answer(draw.normal(2, 3)), (2, 3))
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.stages: dict[str, StageFunction] = {}

    def stage(self, name: str) -> Callable[[StageFunction], StageFunction]:
        """Add the decorated function ``stage(*answers, draw)`` as the last stage, under a name unique in the check."""
        assert name not in self.stages, f"stage {name!r} of check {self.title!r} is defined twice"

        def add(function: StageFunction) -> StageFunction:
            self.stages[name] = function
            return function

        return add

    def grade(self, stage: str, *answers: Any, seed: int | None = None) -> None:
        """Run one stage alone; autograders call this.

        Args:
            stage: the name of the stage.
            answers: the student's functions or values, in the order in which the check takes them.
            seed: the seed of the inputs; ``None`` means the one that students see.

        Raises:
            CheckFailed: the answer is missing or not right; also when the student's code raised an error.
            ValueError: the check has no stage of that name.
        """
        if stage not in self.stages:
            raise ValueError(f"check {self.title!r} has no stage {stage!r}; it has {', '.join(self.stages)}")
        draw = Draw(VISIBLE_SEED if seed is None else seed, self.title, stage)
        if all(answer is ... or answer is None for answer in answers):
            raise CheckFailed("there is no answer yet: replace the dots by yours and run the cell")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draw.seed)
            try:
                self.stages[stage](*answers, draw)
            except CheckFailed:
                raise
            except (Exception, SystemExit) as error:
                raise CheckFailed(_describe_error(error)) from error

    def run(self, *answers: Any, seed: int | None = None) -> list[Outcome]:
        """Run the stages in order, up to and including the first that fails."""
        outcomes: list[Outcome] = []
        for stage in self.stages:
            try:
                self.grade(stage, *answers, seed=seed)
            except CheckFailed as failure:
                return [*outcomes, Outcome(stage, False, str(failure))]
            outcomes.append(Outcome(stage, True))
        return outcomes

    def __call__(self, *answers: Any) -> None:
        """Print the feedback on an answer; students call this. Nothing is raised, so "run all cells" goes on."""
        outcomes = self.run(*answers)
        print(self.title)
        for outcome in outcomes:
            print(f"  {'✓' if outcome.passed else '✗'} {outcome.stage}")
            for line in outcome.message.splitlines():
                print(f"      {line}")
        left = len(self.stages) - len(outcomes)
        if outcomes[-1].passed:
            print("  All stages passed.")
        elif left:
            print(f"  … {left} more {'stage' if left == 1 else 'stages'} after this one")


def call_by_hand(function: Callable[..., Any], *inputs: Tensor) -> Any:
    """Call a student's function that works out gradients by hand: on copies of the inputs, and with autograd off."""
    with torch.inference_mode():
        found = function(*(x.clone() for x in inputs))
    return tree_map_only(Tensor, torch.clone, found)  # an ordinary tensor again


def expect_tensor(
    value: Any, shape: Sequence[int], *, what: str = "the result", hints: Mapping[str, Sequence[int]] | None = None
) -> Tensor:
    """Return ``value`` as a tensor of the given shape.

    Args:
        value: what the student's code returned; nested lists of numbers are taken as a tensor.
        shape: the expected shape.
        what: how to call the value in messages.
        hints: messages and the wrong shape that each of them explains.

    Raises:
        CheckFailed: it is missing, not numeric, or of another shape.
    """
    if value is None or value is ...:
        raise CheckFailed(
            f"{what} is {'None' if value is None else 'still ...'}: is the code written, and does it `return`?"
        )
    if isinstance(value, list | tuple) or (not isinstance(value, Tensor) and hasattr(value, "__float__")):
        try:
            value = torch.as_tensor(value, dtype=torch.float32)
        except (TypeError, ValueError) as error:
            raise CheckFailed(f"{what} is not a table of numbers without gaps: {value!r}") from error
    if not isinstance(value, Tensor):
        raise CheckFailed(f"{what} should be a tensor, but it is a {type(value).__name__}")
    expected = tuple(shape)
    if tuple(value.shape) != expected:
        for hint, wrong in (hints or {}).items():
            if tuple(value.shape) == tuple(wrong):
                raise CheckFailed(f"{what} has shape {tuple(value.shape)}, expected {expected}: {hint}")
        raise CheckFailed(f"{what} has shape {tuple(value.shape)}, expected {expected}")
    return value


def expect_close(
    value: Any,
    expected: Tensor,
    *,
    what: str = "the result",
    message: str = "",
    mistakes: Mapping[str, Tensor | Callable[[], Tensor]] | None = None,
    tolerance: float = 1e-4,
) -> None:
    """Compare an answer with the truth and, where it differs, with what known mistakes would have given.

    Args:
        value: what the student's code returned.
        expected: the truth, computed without the student's code.
        what: how to call the value in messages.
        message: what to say where no known mistake explains the difference.
        mistakes: messages, and for each the value that this mistake produces, or a function that computes it.
        tolerance: largest absolute difference, relative to the largest expected magnitude where that exceeds 1.

    Raises:
        CheckFailed: the answer is missing, of another shape, not finite or not close to the truth.
    """
    value = expect_tensor(value, expected.shape, what=what).detach().double()
    expected = expected.detach().double()
    if bool(value.isfinite().all()) and _close(value, expected, tolerance):
        return
    for mistake, produce in (mistakes or {}).items():
        wrong = (produce if isinstance(produce, Tensor) else produce()).detach().double()
        if wrong.shape == value.shape and _close(value, wrong, tolerance):
            raise CheckFailed(mistake)
    if not value.isfinite().all():
        raise CheckFailed(f"{what} holds {'NaN' if value.isnan().any() else 'infinity'}. {message}".strip())
    place = tuple(int(i) for i in torch.unravel_index((value - expected).abs().argmax(), expected.shape))
    where = f" at {list(place)}" if place else ""
    raise CheckFailed(
        f"{what} is {value[place].item():.4g}{where} where {expected[place].item():.4g} is right. {message}".strip()
    )


def expect_frequencies(counts: Tensor, probabilities: Tensor, *, message: str) -> None:
    """Compare counts of independent draws with their probabilities by Hoeffding's inequality, cell by cell.

    Args:
        counts: non-negative counts; the last axis runs over the outcomes, every row sums to its number of draws.
        probabilities: the probability of every outcome, of the same shape.
        message: the likely mistake.

    Raises:
        CheckFailed: a frequency lies further from its probability than chance explains. A right sampler fails with
            probability at most :data:`FALSE_ALARM_RATE`, counted over all cells together.
    """
    draws = counts.sum(-1, keepdim=True).double()
    allowed = torch.sqrt(math.log(2 * counts.numel() / FALSE_ALARM_RATE) / (2 * draws))
    excess = (counts / draws - probabilities).abs() - allowed
    if bool((excess > 0).any()):
        place = tuple(int(i) for i in torch.unravel_index(excess.argmax(), excess.shape))
        seen = (counts / draws)[place].item()
        raise CheckFailed(
            f"outcome {list(place)} came up with frequency {seen:.3f}, its probability is "
            f"{probabilities[place].item():.3f}. {message}"
        )


def _close(value: Tensor, expected: Tensor, tolerance: float) -> bool:
    if not bool(value.isfinite().all()):
        return bool(torch.equal(value.isnan(), expected.isnan())) and not bool(expected.isfinite().all())
    if not bool(expected.isfinite().all()):
        return False
    reach = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
    return bool(((value - expected).abs() <= tolerance * reach).all())


def _describe_error(error: BaseException) -> str:
    """One line on an error raised by the student's code: what, and on which of their lines."""
    here = Path(__file__).resolve().parent
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if here not in Path(frame.filename).parents and "site-packages" not in frame.filename
    ]
    where = f", on line {own[-1].lineno} of `{own[-1].name}`" if own else ""
    code = f": {own[-1].line}" if own and own[-1].line else ""
    text = str(error).strip().splitlines()
    return f"your code raised {type(error).__name__}{where}{code}\n{text[0] if text else ''}".strip()
