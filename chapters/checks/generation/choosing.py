"""Checks of the exercises on filters and on draws: by pencil, predicted, nucleus sampling, speculative decoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_frequencies, expect_tensor

# --- 1: filters by pencil -------------------------------------------------------------------------------------------

pencil = Check("Four filters by pencil")

KEYS = ("temperature", "top_p", "min_p", "typical")


def _row(answer: Any, name: str, right: Sequence[float], hints: Mapping[str, Sequence[float]]) -> None:
    if not isinstance(answer, Mapping) or set(answer) != set(KEYS):
        raise CheckFailed("by_pencil should be a dictionary with the keys temperature, top_p, min_p and typical")
    if answer[name] is ... or answer[name] is None:
        raise CheckFailed(f"{name} is still missing")
    mistakes: dict[str, Tensor | Callable[[], Tensor]] = {hint: torch.tensor(wrong) for hint, wrong in hints.items()}
    expect_close(answer[name], torch.tensor(right), what=f"the row {name}", mistakes=mistakes, tolerance=2e-3)


@pencil.stage("temperature")
def _(answer: Any, draw: Draw) -> None:
    hints = {
        "this is temperature 2: one half squares the probabilities": [0.3694, 0.2612, 0.1847, 0.1847],
        "the squares are not divided by their sum": [1 / 4, 1 / 16, 1 / 64, 1 / 64],
    }
    _row(answer, "temperature", [8 / 11, 2 / 11, 1 / 22, 1 / 22], hints)


@pencil.stage("nucleus")
def _(answer: Any, draw: Draw) -> None:
    hints = {
        "the first two hold 0.75 already: before the third, that is not below 0.75": [4 / 7, 2 / 7, 1 / 7, 0],
        "what is left is not divided by its sum": [1 / 2, 1 / 4, 0, 0],
        "a word stays if the likelier ones hold less than p: the second one does": [1.0, 0.0, 0.0, 0.0],
    }
    _row(answer, "top_p", [2 / 3, 1 / 3, 0.0, 0.0], hints)


@pencil.stage("min-p and typical")
def _(answer: Any, draw: Draw) -> None:
    hints = {
        "the bound is 1/8, 0.25 times the largest probability, and exactly 1/8 stays": [2 / 3, 1 / 3, 0.0, 0.0],
    }
    _row(answer, "min_p", [1 / 2, 1 / 4, 1 / 8, 1 / 8], hints)
    hints = {"the likeliest word is not the most typical one: compare surprisals with 1.75 bits": [1.0, 0.0, 0.0, 0.0]}
    _row(answer, "typical", [0.0, 1.0, 0.0, 0.0], hints)


# --- 2: predict -----------------------------------------------------------------------------------------------------

predicted = Check("Speculation, length and cache, predicted")


def _number(answer: Any, place: int) -> float:
    if not isinstance(answer, Sequence) or len(answer) != 4 or any(each is ... or each is None for each in answer):
        raise CheckFailed("numbers should be a list of four numbers")
    return float(answer[place])


@predicted.stage("accepted")
def _(answer: Any, draw: Draw) -> None:
    first = _number(answer, 0)
    if abs(first - 1 / 3) < 0.01:
        raise CheckFailed("that is how often the draft proposes each word: add up min(p, q) over the words")
    if not abs(first - 11 / 15) <= 0.005:  # so that NaN fails, too
        raise CheckFailed("a word is proposed with q and accepted with min(1, p / q): add up min(p, q)")
    if not abs(_number(answer, 1) - 1) <= 0.005:
        raise CheckFailed("after a rejection the word is drawn in proportion to max(p - q, 0): where is that positive?")


@predicted.stage("length")
def _(answer: Any, draw: Draw) -> None:
    third = _number(answer, 2)
    if abs(third + 2) < 0.01:
        raise CheckFailed("-1 is larger than -2: the better score is the larger one")
    if not abs(third + 1) <= 0.01:
        raise CheckFailed("divide each log-probability by its number of tokens")


@predicted.stage("cache")
def _(answer: Any, draw: Draw) -> None:
    fourth = _number(answer, 3)
    if fourth in (1_024_000, 1_024_000.0):
        raise CheckFailed("a factor of 2 is missing: both keys and values are kept, and 16 bits are two bytes")
    if fourth == 4_096_000:
        raise CheckFailed("16 bits are two bytes")
    if fourth != 2_048_000:
        raise CheckFailed("two tensors, times layers, times width, times bytes, times tokens")


# --- 3: nucleus sampling --------------------------------------------------------------------------------------------

nucleus = Check("Nucleus sampling")

NucleusFunction = Callable[[Tensor, float, float], Any]


def _nucleus(logits_BV: Tensor, top_p: float, temperature: float) -> Tensor:
    rows = []
    for logits_V in logits_BV.double():
        p_V = (logits_V / temperature).softmax(-1)
        kept, held = torch.zeros_like(p_V), 0.0
        for token in p_V.argsort(descending=True).tolist():
            if held >= top_p and held > 0:
                break
            kept[token], held = p_V[token], held + p_V[token].item()
        rows.append(kept / kept.sum())
    return torch.stack(rows)


def _found(function: NucleusFunction, logits_BV: Tensor, top_p: float, temperature: float) -> Tensor:
    return expect_tensor(function(logits_BV.clone(), top_p, temperature), tuple(logits_BV.shape))


@nucleus.stage("shape")
def _(function: NucleusFunction, draw: Draw) -> None:
    batch, words = draw.sizes(2, 2, 7)
    found = _found(function, draw.normal(batch, words), 0.7, 1.0)
    if not torch.allclose(found.double().sum(-1), torch.ones(batch, dtype=torch.float64), atol=1e-5):
        raise CheckFailed("the probabilities of each row should add up to 1: divide by what is left")


@nucleus.stage("the smallest set")
def _(function: NucleusFunction, draw: Draw) -> None:
    logits_BV = torch.stack(
        [torch.tensor([0.1, 0.5, 0.15, 0.25]).log()[torch.tensor(order)] for order in ((0, 1, 2, 3), (3, 0, 2, 1))]
    )
    short = torch.stack([torch.tensor([0.0, 1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 0.0, 1.0])])
    expect_close(
        _found(function, logits_BV, 0.6, 1.0),
        _nucleus(logits_BV, 0.6, 1.0),
        what="the distribution at p = 0.6",
        mistakes={"the word that crosses p belongs to the set: 0.5 alone is less than 0.6.": short},
        message="keep a word if the likelier ones together have less than p, and put words back in their places.",
    )
    sharp = torch.tensor([[5.0, 0.0, 0.0]])
    expect_close(
        _found(function, sharp, 0.1, 1.0),
        torch.tensor([[1.0, 0.0, 0.0]]),
        what="the distribution at a small p",
        message="the likeliest word always stays.",
    )


@nucleus.stage("temperature first")
def _(function: NucleusFunction, draw: Draw) -> None:
    logits_BV = draw.normal(5, 9, scale=2.0)
    for temperature in (0.5, 3.0):
        after = _nucleus(logits_BV, 0.8, 1.0) ** (1 / temperature)
        expect_close(
            _found(function, logits_BV, 0.8, temperature),
            _nucleus(logits_BV, 0.8, temperature),
            what=f"the distribution at temperature {temperature}",
            mistakes={
                "the set was chosen before the temperature: divide the logits first.": after
                / after.sum(-1, keepdim=True),
                "the temperature does nothing.": _nucleus(logits_BV, 0.8, 1.0),
                "logits are divided by the temperature, not multiplied.": _nucleus(logits_BV, 0.8, 1 / temperature),
            },
        )


# --- 4: speculative decoding ----------------------------------------------------------------------------------------

speculation = Check("Accept or replace")

VerifyFunction = Callable[[Tensor, Tensor, int, float, float], Any]


def _pair(function: VerifyFunction, *arguments: Any) -> tuple[bool, int]:
    found = function(*arguments)
    if not isinstance(found, tuple) or len(found) != 2:
        raise CheckFailed("verify should return two values: whether the word is accepted, and the word")
    return bool(found[0]), int(found[1])


@speculation.stage("accepted")
def _(function: VerifyFunction, draw: Draw) -> None:
    p_V, q_V = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([0.4, 0.4, 0.2])
    for u, right in ((0.49, True), (0.51, False)):
        accepted, word = _pair(function, p_V, q_V, 0, u, 0.0)
        if accepted != right:
            raise CheckFailed(
                f"word 0 has p / q = 0.5, and u is {u}: it should be {'accepted' if right else 'rejected'}"
            )
        if accepted and word != 0:
            raise CheckFailed("an accepted word is the proposed one")
    if not _pair(function, p_V, q_V, 1, 0.999, 0.0)[0]:
        raise CheckFailed("where p is at least q the word is always accepted")


@speculation.stage("replaced")
def _(function: VerifyFunction, draw: Draw) -> None:
    p_V, q_V = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([0.4, 0.4, 0.2])
    words = [_pair(function, p_V, q_V, 0, 0.9, v)[1] for v in (0.1, 0.4, 0.6, 0.9)]
    if 0 in words:
        raise CheckFailed("a rejected word came back: draw in proportion to max(p - q, 0), not to p")
    if words != [1, 1, 2, 2]:
        raise CheckFailed(
            f"max(p - q, 0) is (0, 0.1, 0.1), so v below 0.5 gives word 1 and above it word 2; got {words}"
        )


@speculation.stage("the distribution")
def _(function: VerifyFunction, draw: Draw) -> None:
    p_V, q_V = draw.normal(5, scale=1.5).softmax(-1), draw.normal(5, scale=1.5).softmax(-1)
    numbers = torch.rand(6000, 2, generator=draw.generator).tolist()
    proposed = q_V.multinomial(6000, replacement=True, generator=draw.generator).tolist()
    counts = torch.zeros(5)
    for word, (u, v) in zip(proposed, numbers, strict=True):
        counts[_pair(function, p_V, q_V, word, u, v)[1]] += 1
    expect_frequencies(
        counts, p_V.double(), message="accepted and replaced words together must have the distribution p."
    )
