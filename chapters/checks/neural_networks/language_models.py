"""Checks of the exercises on language models: losses to predict, smoothing, judging by a floor, and a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor
from plm_core.models.ngram import KneserNey

# --- 2: predict, then run -------------------------------------------------------------------------------------------

predicted = Check("Losses without a computer")

LOSSES = [math.log(1000), math.log(1000), math.log(2), 50 + math.log(2)]


def _expect_loss(losses: Any, place: int, hint: str, mistakes: dict[str, float] | None = None) -> None:
    if not isinstance(losses, list | tuple) or len(losses) != len(LOSSES):
        raise CheckFailed(f"losses should be a list of {len(LOSSES)} numbers, in nats")
    found = losses[place]
    if not isinstance(found, int | float):
        raise CheckFailed(f"loss {place + 1} should be a number, not {found!r}")
    if abs(found - LOSSES[place]) < 0.02:
        return
    for mistake, wrong in (mistakes or {}).items():
        if abs(found - wrong) < 0.02:
            raise CheckFailed(f"loss {place + 1}: {mistake}")
    raise CheckFailed(f"loss {place + 1} is not {found}: {hint}")


@predicted.stage("all scores equal")
def _(losses: Any, draw: Draw) -> None:
    _expect_loss(
        losses,
        0,
        "equal scores give each of the 1,000 words the probability 1/1,000",
        {"these are bits; the loss is asked for in nats": math.log2(1000), "that would be certainty": 0.0},
    )
    _expect_loss(losses, 1, "adding the same number to all scores changes no probability")


@predicted.stage("two favourites")
def _(losses: Any, draw: Draw) -> None:
    _expect_loss(losses, 2, "two words share nearly all of the probability: it is 1/2", {"these are bits": 1.0})


@predicted.stage("sure and wrong")
def _(losses: Any, draw: Draw) -> None:
    _expect_loss(
        losses,
        3,
        "the probability of the right word is about e^0 / (2 · e^50)",
        {"two words have the score 50, so the sum is 2 · e^50": 50.0},
    )


# --- 6: absolute discounting ----------------------------------------------------------------------------------------

discounting = Check("Kneser-Ney for bigrams")

DiscountFunction = Callable[[Tensor, float], Any]


def _counts(draw: Draw) -> Tensor:
    contexts, words = draw.sizes(2, 5, 9)
    counts = torch.randint(0, 4, (contexts, words), generator=draw.generator).double()
    counts[0] = 0.0  # a context that was never seen
    counts[1, 0], counts[:, 1] = 9.0, 0.0  # a frequent pair, and a word that stands in one context only
    counts[2, 1] = 12.0
    return counts


def _bigrams(counts: Tensor, discount: float, *, lower: str = "continuation") -> Tensor:
    """The right answer, or one with a known mistake."""
    weights = (counts > 0).double().sum(0) if lower == "continuation" else counts.sum(0)
    below = weights / weights.sum() if lower != "uniform" else torch.full_like(weights, 1 / len(weights))
    totals = counts.sum(1, keepdim=True)
    saved = discount * (counts > 0).sum(1, keepdim=True)
    p = ((counts - discount).clamp(min=0) + saved * below) / totals.clamp(min=1)
    return torch.where(totals > 0, p, below)


def _discounted(function: DiscountFunction, counts: Tensor, discount: float) -> Tensor:
    return expect_tensor(function(counts.clone(), discount), tuple(counts.shape), what="the probabilities").double()


@discounting.stage("every row sums to 1")
def _(function: DiscountFunction, draw: Draw) -> None:
    counts, discount = _counts(draw)[1:], draw.integer(3, 8) / 10
    sums = _discounted(function, counts, discount).sum(1)
    wrong = ~((sums - 1).abs() <= 1e-6)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        seen = int((counts[row] > 0).sum())
        raise CheckFailed(
            f"row {row} sums to {sums[row].item():.4f}: what the discount takes from the {seen} words "
            "that were seen must be what the lower model gets"
        )


@discounting.stage("the lower model")
def _(function: DiscountFunction, draw: Draw) -> None:
    counts, discount = _counts(draw)[1:], draw.integer(3, 8) / 10
    expect_close(
        _discounted(function, counts, discount),
        _bigrams(counts, discount),
        what="the table of probabilities",
        mistakes={
            "the lower model uses how often a word occurs; it should use the number of different words it follows.": (
                _bigrams(counts, discount, lower="counts")
            ),
            "the lower model treats all words alike; it should use the number of different words each follows.": (
                _bigrams(counts, discount, lower="uniform")
            ),
            "nothing is taken off the counts.": lambda: counts / counts.sum(1, keepdim=True),
        },
        tolerance=1e-6,
    )


@discounting.stage("a context that was never seen")
def _(function: DiscountFunction, draw: Draw) -> None:
    counts, discount = _counts(draw), draw.integer(3, 8) / 10
    found = _discounted(function, counts, discount)
    if not bool(found[0].isfinite().all()):
        raise CheckFailed("the first context was never seen, and 0 / 0 is no probability: use the lower model there")
    expect_close(found[0], _bigrams(counts, discount)[0], what="the row of the context that was never seen")


# --- 7: judged by a floor -------------------------------------------------------------------------------------------

floor = Check("Judged by a floor")

ExcessFunction = Callable[[float, float, float], Any]


@floor.stage("excess in bits")
def _(excess_bits: ExcessFunction, impossible: Any, ranked: Any, draw: Draw) -> None:
    nats, pieces, bottom = draw.integer(20, 60) / 100, draw.integer(11, 30) / 10, draw.integer(5, 15) / 100
    right = (nats * pieces - bottom) / math.log(2)
    found = excess_bits(nats, pieces, bottom)
    if not isinstance(found, int | float):
        raise CheckFailed(f"excess_bits should return a number, but it returned {found!r}")
    mistakes = {
        "the loss is per piece and the floor per word: multiply by the pieces of a word first": (nats - bottom)
        / math.log(2),
        "these are nats: divide by the logarithm of 2": nats * pieces - bottom,
        "the floor was not subtracted": nats * pieces / math.log(2),
    }
    for mistake, wrong in mistakes.items():
        if math.isclose(found, wrong, rel_tol=1e-6) and not math.isclose(wrong, right, rel_tol=1e-6):
            raise CheckFailed(mistake)
    if not math.isclose(found, right, rel_tol=1e-6):
        raise CheckFailed(f"excess_bits({nats}, {pieces}, {bottom}) is {found}, expected {right:.4f}")


@floor.stage("what cannot be")
def _(excess_bits: ExcessFunction, impossible: Any, ranked: Any, draw: Draw) -> None:
    found = set(impossible) if isinstance(impossible, set | list | tuple) else set()
    if found == {"B"}:
        return
    if "D" in found:
        raise CheckFailed(
            "D was scored on its own training stories: there a loss may lie below any floor, since it has seen them"
        )
    if "B" not in found:
        raise CheckFailed("one model is below the floor on a thousand stories that it should never have seen")
    raise CheckFailed(f"of {sorted(found)} some are above the floor, which every honest model is")


@floor.stage("the ranking")
def _(excess_bits: ExcessFunction, impossible: Any, ranked: Any, draw: Draw) -> None:
    if list(ranked) == ["C", "A", "E"]:
        return
    if list(ranked) == ["E", "C", "A"]:
        raise CheckFailed("E's loss is per piece, and a word has two pieces: compare the loss of a whole word")
    if {"B", "D"} & set(ranked):
        raise CheckFailed("B and D cannot be ranked: leave out what leaked and what was scored on training stories")
    raise CheckFailed("rank C, A and E by the loss of a word, the lowest first")


# --- 8: a network against counting ----------------------------------------------------------------------------------

network = Check("A network that beats counting")

LearnFunction = Callable[[Tensor, int], Callable[[Tensor], Any]]
WORDS, CLASSES, SURE, MARGIN = 40, 5, 0.85, 0.5


def _language(draw: Draw, length: int) -> Tensor:
    """A text whose words fall into classes; the class of a word mostly follows from the classes of the two before it.

    For every class of the last word, the class of the word before it decides which class follows, each another one.
    """
    generator = draw.generator
    class_of = torch.arange(WORDS)[torch.randperm(WORDS, generator=generator)] % CLASSES
    follows = [torch.randperm(CLASSES, generator=generator).tolist() for _ in range(CLASSES)]
    members = [torch.nonzero(class_of == each).flatten() for each in range(CLASSES)]
    ids = [0, 1]
    for _ in range(length):
        chosen = follows[int(class_of[ids[-1]])][int(class_of[ids[-2]])]
        if float(torch.rand((), generator=generator)) > SURE:
            chosen = draw.integer(0, CLASSES - 1)
        ids.append(int(members[chosen][draw.integer(0, len(members[chosen]) - 1)]))
    return torch.tensor(ids)


def _predict(function: Callable[[Tensor], Any], contexts: Tensor) -> Tensor:
    if not callable(function):
        raise CheckFailed("learn should return a function from contexts (N, 2) to log-probabilities (N, V)")
    found = expect_tensor(function(contexts), (len(contexts), WORDS), what="the log-probabilities").detach().double()
    sums = found.exp().sum(-1)
    if not bool(((sums - 1).abs() < 1e-4).all()):
        raise CheckFailed("the exponentials of a row do not sum to 1: return log-probabilities, not logits")
    return found


@network.stage("probabilities")
def _(learn: LearnFunction, draw: Draw) -> None:
    text = _language(draw, 600)
    _predict(learn(text, WORDS), text[:20].view(10, 2))


@network.stage("better than counting")
def _(learn: LearnFunction, draw: Draw) -> None:
    text = _language(draw, 7000)
    training, new = text[:4000], text[4000:]
    found = _predict(learn(training, WORDS), new.unfold(0, 2, 1)[:-1])
    loss = float(-found.gather(1, new[2:, None]).mean())
    counted = [
        KneserNey(WORDS, order=order).fit([training.numpy()]).nats(new.numpy())[2:].mean() for order in (1, 2, 3)
    ]
    best = float(min(counted))
    if loss > best - MARGIN:
        raise CheckFailed(
            f"on new text the loss is {loss:.3f}; the best n-gram model reaches {best:.3f}, and {MARGIN} less is asked "
            "for. Are both words of the context used, does a hidden layer with a bend combine them, and is the text "
            "read often enough, but not so often that it is learned by heart?"
        )
