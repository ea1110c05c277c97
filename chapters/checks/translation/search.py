"""Checks of the exercises on what is written: BLEU from counts, and beam search with a length penalty."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw
from plm_core.evaluation.bleu import Bleu, bleu

Sentences = list[list[str]]

# --- 5: BLEU --------------------------------------------------------------------------------------------------------

counting = Check("BLEU from counts")

BleuFunction = Callable[[Sentences, Sentences], Any]


def _number(value: Any) -> float:
    if value is None or value is ...:
        raise CheckFailed("corpus_bleu should return a number from 0 to 100")
    return float(value)


def _bleu(hypotheses: Sentences, references: Sentences) -> Bleu:
    return bleu(hypotheses, [[reference] for reference in references])


def _corpus(draw: Draw, *, shorter: bool) -> tuple[Sentences, Sentences]:
    """Outputs that share most words with their references, and are shorter or longer than these."""
    words = [f"w{number}" for number in range(12)]
    hypotheses, references = [], []
    for length in draw.sizes(3, 8, 16):
        reference = [words[draw.integer(0, 11)] for _ in range(length)]
        hypothesis = list(reference)
        hypothesis[draw.integer(0, 1)] = "x"
        hypotheses.append(hypothesis[:-2] if shorter else [*hypothesis, "y", "y"])
        references.append(reference)
    return hypotheses, references


@counting.stage("clipped counts")
def _(function: BleuFunction, draw: Draw) -> None:
    word = f"w{draw.integer(0, 9)}"
    hypothesis = [word] * 6 + ["a", "b", "c", "d", "e"]
    reference = [word, "a", "b", "c", "d", "e"]
    found, right = _number(function([hypothesis], [reference])), _bleu([hypothesis], [reference]).score
    if not abs(found - right) <= 1e-6:
        raise CheckFailed(
            f"expected {right:.3f}, got {found:.3f}: an n-gram counts at most as often as the reference has it"
        )


@counting.stage("the brevity penalty")
def _(function: BleuFunction, draw: Draw) -> None:
    for shorter in (True, False):
        hypotheses, references = _corpus(draw, shorter=shorter)
        found, right = _number(function(hypotheses, references)), _bleu(hypotheses, references)
        if abs(found - right.score) <= 1e-6:
            continue
        if abs(found * right.brevity_penalty - right.score) <= 1e-6:
            raise CheckFailed("outputs that are too short are not punished: multiply by exp(1 - r / c)")
        ratio = right.reference_length / right.hypothesis_length
        if not shorter and abs(found - right.score * math.exp(1 - ratio)) <= 1e-6:
            raise CheckFailed("long outputs earn no bonus: the penalty is at most 1")
        raise CheckFailed(
            f"expected {right.score:.3f}, got {found:.3f} on outputs of another length than the references"
        )


@counting.stage("a corpus")
def _(function: BleuFunction, draw: Draw) -> None:
    hypotheses, references = _corpus(draw, shorter=True)
    hypotheses[0][0] = references[1][0] = "z"  # in another sentence's reference only
    hypotheses[1][0] = "x"
    found, right = _number(function(hypotheses, references)), _bleu(hypotheses, references).score
    alone = [_bleu([one], [other]).score for one, other in zip(hypotheses, references, strict=True)]
    if not abs(found - right) <= 1e-6:
        if abs(found - sum(alone) / len(alone)) <= 1e-6:
            raise CheckFailed("this is the mean over sentences: add up the counts of all sentences first")
        raise CheckFailed(
            f"expected {right:.3f}, got {found:.3f}: compare each output with its own reference, clip, and only then "
            "add up counts and lengths over the sentences"
        )


# --- 6: beam search -------------------------------------------------------------------------------------------------

searching = Check("Beam search")

LogP = Callable[[Sequence[int]], Tensor]
BeamFunction = Callable[[LogP, int, int, int, float], Any]
TOKENS, END, LONGEST = 4, 0, 4


class _Model:
    """Log-probabilities of the next token, drawn once for every prefix; ``read`` holds the prefixes that were given."""

    def __init__(self, draw: Draw, *, ends: float = 0.0) -> None:
        self.read: set[tuple[int, ...]] = set()
        self.table: dict[tuple[int, ...], Tensor] = {}
        for length in range(LONGEST):
            for prefix in itertools.product(range(TOKENS), repeat=length):
                logits = draw.normal(TOKENS, scale=1.5)
                logits[END] += ends
                self.table[prefix] = logits.log_softmax(dim=0)

    def __call__(self, prefix: Sequence[int]) -> Tensor:
        self.read.add(tuple(prefix))
        return self.table[tuple(prefix)].clone()

    def outputs(self) -> list[tuple[float, tuple[int, ...]]]:
        """Every output with its log-probability: ended, or of the greatest length."""
        found = []
        for length in range(1, LONGEST + 1):
            for tokens in itertools.product(range(TOKENS), repeat=length):
                if END in tokens[:-1] or (tokens[-1] != END and length < LONGEST):
                    continue
                found.append((sum(float(self.table[tokens[:t]][tokens[t]]) for t in range(length)), tokens))
        return found

    def best(self, alpha: float) -> tuple[int, ...]:
        """The output with the best score."""
        return max(self.outputs(), key=lambda each: each[0] / len(each[1]) ** alpha)[1]

    def greedy(self) -> tuple[int, ...]:
        """The likeliest token at each place."""
        tokens: tuple[int, ...] = ()
        while len(tokens) < LONGEST and (not tokens or tokens[-1] != END):
            tokens = (*tokens, int(self.table[tokens].argmax()))
        return tokens


def _found(function: BeamFunction, model: _Model, width: int, alpha: float) -> tuple[int, ...]:
    found = function(model, width, LONGEST, END, alpha)
    if found is None or found is ...:
        raise CheckFailed("beam should return the tokens of the best output")
    return tuple(int(token) for token in found)


def _model(draw: Draw, wanted: Callable[[_Model], bool], *, ends: float = 0.0) -> _Model:
    """A model on which a mistake shows."""
    while True:
        model = _Model(draw, ends=ends)
        if wanted(model):
            return model


@searching.stage("width 1 is greedy")
def _(function: BeamFunction, draw: Draw) -> None:
    for _ in range(3):
        model = _model(draw, lambda each: len(each.greedy()) > 2 and each.greedy() != each.best(0.0))
        found = _found(function, model, 1, 0.0)
        if found and found[-1] != END and len(found) < LONGEST:
            raise CheckFailed("an output ends with the end token, or has the greatest length")
        if found != model.greedy():
            raise CheckFailed(f"with width 1 the likeliest token at each place is taken: {model.greedy()}, not {found}")


@searching.stage("a wide beam finds the best")
def _(function: BeamFunction, draw: Draw) -> None:
    for _ in range(3):
        model = _model(draw, lambda each: each.greedy() != each.best(0.0))
        if (found := _found(function, model, 200, 0.0)) != model.best(0.0):
            hint = "is it the likeliest, or the first that ended? " if found and found[-1] == END else ""
            raise CheckFailed(f"a beam as wide as all outputs must find {model.best(0.0)}, not {found}: {hint}".strip())
    for _ in range(3):
        model = _Model(draw, ends=-3.0)  # ends are rare, so that the beam stays full
        _found(function, model, 2, 0.0)
        extended = max(sum(len(prefix) == length for prefix in model.read) for length in range(LONGEST))
        if extended > 2:
            raise CheckFailed(
                f"with width 2, {extended} outputs of one length were extended: keep the `width` likeliest of all "
                "extensions together, not of each output's own"
            )


@searching.stage("the length penalty")
def _(function: BeamFunction, draw: Draw) -> None:
    for _ in range(3):
        model = _model(draw, lambda each: len(each.best(0.0)) < len(each.best(1.0)), ends=1.0)
        found = _found(function, model, 200, 1.0)
        if found == model.best(1.0):
            continue
        if found == model.best(0.0) or len(found) < len(model.best(1.0)):
            raise CheckFailed("short outputs still win: divide the log-probability by the length to the power of alpha")
        raise CheckFailed(f"by score the best is {model.best(1.0)}, not {found}")
