"""The choice of the next token: the distribution that a model's logits stand for, filtered, and draws from it.

Shapes are written into names: B batch, V vocabulary, C candidates (the tokens that filters have left).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from plm_core.generation.filters import near_likeliest, typical

FIRST_CANDIDATES = 64
"""How many of the likeliest tokens are sorted at first for top-p; more where they hold less than the probability."""
DRAWS_AT_ONCE = 128
"""Random numbers that are drawn ahead for each sequence."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen from its distribution.

    First the temperature sharpens (below 1) or flattens (above 1) the distribution. Then filters keep some tokens, each
    of those that the ones before have left, in the order of the fields: top-k the k likeliest, top-p the smallest set
    of likeliest tokens that holds at least the probability p, min-p those that are not much less probable than the
    likeliest, typical sampling those whose surprisal is near the entropy.

    Raises:
        ValueError: a setting outside its range.
    """

    temperature: float = 1.0
    """Not negative and finite. At 0 the likeliest token is always taken (greedy search)."""
    top_k: int | None = None
    """At least 1; None keeps all tokens. Of equally likely tokens those with the lowest ids are kept."""
    top_p: float | None = None
    """In (0, 1]; None keeps all tokens (Holtzman et al. 2020, "nucleus sampling")."""
    min_p: float | None = None
    """In (0, 1], relative to the likeliest token: :func:`~plm_core.generation.filters.near_likeliest`."""
    typical_p: float | None = None
    """In (0, 1], the probability that is kept: :func:`~plm_core.generation.filters.typical`."""
    repetition_penalty: float = 1.0
    """Positive; above 1, tokens of the text so far become rarer: :func:`~plm_core.generation.filters.penalise`. It
    changes the logits, before the temperature, and also what greedy search takes."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"the temperature must be a number from 0 upwards, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}")
        for name, share in (("top_p", self.top_p), ("min_p", self.min_p), ("typical_p", self.typical_p)):
            if share is not None and not 0 < share <= 1:
                raise ValueError(f"{name} must lie in (0, 1], got {share}")
        if not 0 < self.repetition_penalty < math.inf:
            raise ValueError(f"repetition_penalty must be a positive number, got {self.repetition_penalty}")

    @property
    def is_greedy(self) -> bool:
        """Whether only the likeliest token can be drawn."""
        return self.temperature == 0 or self.top_k == 1


def next_token_probabilities(
    logits_BV: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    typical_p: float | None = None,
) -> Tensor:
    """The distribution that the next token is drawn from; the settings are those of :class:`Sampling`.

    Args:
        logits_BV: (B, V); -inf for a token that must not be drawn.

    Returns:
        Probabilities, (B, V), in fp32.

    Raises:
        ValueError: a setting outside its range, or logits without a finite maximum, such as NaN.
    """
    return distribution(logits_BV, Sampling(temperature, top_k, top_p, min_p, typical_p))


def distribution(logits_BV: Tensor, sampling: Sampling) -> Tensor:
    """The same as :func:`next_token_probabilities`, given the settings; penalties must be in the logits already."""
    if sampling.is_greedy:
        tokens_B1 = likeliest(logits_BV)[:, None]
        return torch.zeros_like(logits_BV, dtype=torch.float32).scatter(-1, tokens_B1, 1.0)
    probabilities_BC, tokens_BC = candidates(logits_BV, sampling)
    if tokens_BC is None:
        return probabilities_BC
    return torch.zeros_like(logits_BV, dtype=torch.float32).scatter(-1, tokens_BC, probabilities_BC)


def choose(logits_BV: Tensor, sampling: Sampling, uniform_B: Tensor | None) -> Tensor:
    """The next token of each sequence, (B,): the likeliest, or one drawn by inverting the cumulative distribution.

    Args:
        logits_BV: (B, V).
        sampling: how to choose.
        uniform_B: for each sequence a random number in [0, 1), fp64; None where the search is greedy.

    Raises:
        ValueError: logits without a finite maximum, such as NaN.
    """
    if uniform_B is None or sampling.is_greedy:
        return likeliest(logits_BV)
    probabilities_BC, tokens_BC = candidates(logits_BV, sampling)
    index_B = draw(probabilities_BC, uniform_B)
    return index_B if tokens_BC is None else tokens_BC.gather(-1, index_B[:, None])[:, 0]


def draw(probabilities_BC: Tensor, uniform_B: Tensor) -> Tensor:
    """Draw from distributions by inverting their cumulative sums: an index in 0 to C - 1 for each, (B,).

    Args:
        probabilities_BC: (B, C); not negative, of any positive sum.
        uniform_B: for each a random number in [0, 1), fp64.
    """
    cumulative_BC = probabilities_BC.cumsum(-1, dtype=torch.float64)
    total_B1 = cumulative_BC[:, -1:]
    point_B1 = torch.minimum(uniform_B[:, None] * total_B1, torch.nextafter(total_B1, torch.zeros_like(total_B1)))
    return torch.searchsorted(cumulative_BC, point_B1, right=True)[:, 0]  # never an index of probability 0


def likeliest(logits_BV: Tensor) -> Tensor:
    """The likeliest token of each sequence, (B,); of several the one with the lowest id.

    Raises:
        ValueError: logits without a finite maximum, such as NaN.
    """
    tokens_B = logits_BV.argmax(-1)
    check_finite(logits_BV.gather(-1, tokens_B[:, None]))
    return tokens_B


def candidates(logits_BV: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor | None]:
    """The tokens that the filters leave, and their probabilities.

    The vocabulary is never sorted as a whole: ``topk`` finds the k likeliest, and top-p sorts as many of the likeliest
    tokens as hold the probability p.

    Returns:
        Probabilities (B, C) in fp32, which sum to 1, and token ids (B, C); None for the ids if C is the vocabulary, in
        the order of the ids.

    Raises:
        ValueError: logits without a finite maximum, such as NaN.
    """
    logits_BC, tokens_BC = logits_BV.float(), None
    highest_B1 = logits_BC.amax(-1, keepdim=True)
    check_finite(highest_B1)
    if sampling.top_k is not None and sampling.top_k < logits_BC.shape[-1]:
        tokens_BC = top_tokens(logits_BC, sampling.top_k)
        logits_BC = logits_BC.gather(-1, tokens_BC)
    lowest_temperature = torch.finfo(torch.float32).tiny  # a smaller one would be rounded to zero
    probabilities_BC = ((logits_BC - highest_B1) / max(sampling.temperature, lowest_temperature)).softmax(-1)
    if sampling.top_p is not None and sampling.top_p < 1:
        probabilities_BC, order_BC = nucleus(logits_BC, probabilities_BC, sampling.top_p)
        tokens_BC = order_BC if tokens_BC is None else tokens_BC.gather(-1, order_BC)
    if sampling.min_p is not None:
        probabilities_BC = near_likeliest(probabilities_BC, sampling.min_p)
    if sampling.typical_p is not None and sampling.typical_p < 1:
        probabilities_BC = typical(probabilities_BC, sampling.typical_p)
    return probabilities_BC, tokens_BC


def top_tokens(logits_BV: Tensor, k: int) -> Tensor:
    """The tokens with the k highest logits, (B, k), in ascending order; of equal ones those with the lowest ids."""
    logits_BK, tokens_BK = logits_BV.topk(k)
    border_B1 = logits_BK[:, -1:]
    if not bool(((logits_BV >= border_B1).sum(-1) > k).any()):
        return tokens_BK.sort(-1).values
    above_BV, level_BV = logits_BV > border_B1, logits_BV == border_B1  # there are equal ones on both sides
    room_B1 = k - above_BV.sum(-1, keepdim=True)
    kept_BV = above_BV | (level_BV & (level_BV.cumsum(-1) <= room_B1))
    return kept_BV.nonzero()[:, 1].view(-1, k)


def nucleus(logits_BV: Tensor, probabilities_BV: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The smallest sets of likeliest tokens that hold at least a probability; of equal ones those with the lowest ids.

    Returns:
        Probabilities (B, C), which sum to 1, in descending order and zero where a set is smaller than the largest; and
        the tokens, (B, C).
    """
    size, vocabulary = min(FIRST_CANDIDATES, probabilities_BV.shape[-1]), probabilities_BV.shape[-1]
    while True:
        tokens_BC = logits_BV.topk(size).indices.sort(-1).values
        logits_BC, order_BC = logits_BV.gather(-1, tokens_BC).sort(dim=-1, descending=True, stable=True)
        tokens_BC = tokens_BC.gather(-1, order_BC)
        kept_BC = probabilities_BV.gather(-1, tokens_BC)
        before_BC = kept_BC.cumsum(-1, dtype=torch.float64) - kept_BC  # the probability of all likelier tokens
        outside_BC = before_BC >= top_p
        outside_BC[:, 0] = False
        lowest_B = logits_BC.masked_fill(outside_BC, torch.inf).amin(-1)
        if size == vocabulary or bool((lowest_B > logits_BC[:, -1]).all()):  # no token of a set is missing
            break
        size = min(8 * size, vocabulary)
    kept_BC = kept_BC.masked_fill(outside_BC, 0.0)
    return kept_BC / kept_BC.sum(-1, keepdim=True), tokens_BC


def check_finite(highest: Tensor) -> None:
    """Raise ValueError if a sequence's highest logit is not a finite number."""
    if not math.isfinite(highest.sum(dtype=torch.float64)):  # cheaper than to check each
        raise ValueError(
            "the model's logits are not finite, so there is no likeliest token: its weights are damaged, or its "
            "training diverged, or a mask or constraint forbids every token"
        )


def uniform_numbers(seed: int | None, sequences: int, *, device: torch.device, first: int = 0) -> Iterator[Tensor]:
    """Random numbers for draws, without end: at each step one in [0, 1) for each sequence, (B,) in fp64.

    The numbers of a sequence are a pure function of the seed and the sequence's number. They depend neither on the
    number of sequences beside it nor on the device.

    Args:
        seed: from 0 to 2^64 - 1; None takes one from torch's global generator.
        sequences: B.
        device: where the numbers are needed.
        first: the number of the first sequence.

    Raises:
        ValueError: a seed outside its range.

    Source: the generator is Philox (Salmon et al. 2011), keyed by seed and sequence.
    """
    if seed is not None and not 0 <= seed < 2**64:
        raise ValueError(f"the seed must lie between 0 and 2^64 - 1, got {seed}")
    seed = int(torch.randint(2**63 - 1, ())) if seed is None else seed
    return _numbers(seed, range(first, first + sequences), device)


def _numbers(seed: int, sequences: range, device: torch.device) -> Iterator[Tensor]:
    generators = [np.random.Generator(np.random.Philox(key=[seed, row])) for row in sequences]
    ahead = 1
    while True:
        numbers = np.stack([generator.random(ahead) for generator in generators], axis=1)
        yield from torch.from_numpy(numbers).to(device)
        ahead = DRAWS_AT_ONCE
