"""Filters of the next token: by its probability beside the likeliest, by how typical it is, by the text so far.

Shapes are written into names: B sequences, V vocabulary, C candidates (the tokens that filters have left).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class LogitsFilter(Protocol):
    """A filter that depends on what has been written; generation calls both methods at each step."""

    def apply(self, logits_BV: Tensor, rows: Sequence[int]) -> Tensor:
        """The changed logits, (B, V), of the sequences with the given numbers."""
        ...

    def update(self, written: Sequence[tuple[int, int]]) -> None:
        """Take note of new tokens, as pairs of a sequence's number and a token."""
        ...


def near_likeliest(probabilities_BC: Tensor, min_p: float) -> Tensor:
    """Keep tokens at least ``min_p`` times as probable as the likeliest; the rest gets probability 0.

    Args:
        probabilities_BC: (B, C).
        min_p: in (0, 1].

    Returns:
        Probabilities, (B, C), which sum to 1.

    Source: Nguyen et al. (2025), "Turning up the heat: min-p sampling for creative and coherent LLM outputs".

    >>> near_likeliest(torch.tensor([[0.5, 0.3, 0.2]]), 0.5)
    tensor([[0.6250, 0.3750, 0.0000]])
    """
    lowest_B1 = min_p * probabilities_BC.amax(-1, keepdim=True)
    kept_BC = probabilities_BC.masked_fill(probabilities_BC < lowest_B1, 0.0)
    return kept_BC / kept_BC.sum(-1, keepdim=True)


def typical(probabilities_BC: Tensor, mass: float) -> Tensor:
    """Keep the smallest set of the most typical tokens that holds a probability; the rest gets probability 0.

    A token is typical if its surprisal is near the mean surprisal, the entropy. The likeliest token may be left out.

    Args:
        probabilities_BC: (B, C).
        mass: the probability, in (0, 1].

    Returns:
        Probabilities, (B, C), which sum to 1. Of equally typical tokens the first ones are kept.

    Source: Meister et al. (2023), "Locally typical sampling".

    >>> typical(torch.tensor([[0.6, 0.2, 0.1, 0.1]]), 0.2)
    tensor([[0., 1., 0., 0.]])
    """
    entropy_B1 = torch.special.entr(probabilities_BC).sum(-1, keepdim=True)
    distance_BC = (-probabilities_BC.log() - entropy_B1).abs()
    order_BC = distance_BC.sort(dim=-1, stable=True).indices
    sorted_BC = probabilities_BC.gather(-1, order_BC)
    before_BC = sorted_BC.cumsum(-1, dtype=torch.float64) - sorted_BC
    outside_BC = before_BC >= mass
    outside_BC[:, 0] = False
    kept_BC = torch.zeros_like(probabilities_BC).scatter(-1, order_BC, sorted_BC.masked_fill(outside_BC, 0.0))
    return kept_BC / kept_BC.sum(-1, keepdim=True)


def penalise(logits_BV: Tensor, seen_BV: Tensor, penalty: float) -> Tensor:
    """Divide positive logits of tokens that occur already by a penalty, and multiply negative ones.

    What it does depends on where the logits have their zero, which the softmax ignores; it is a rule of thumb.

    Args:
        logits_BV: (B, V).
        seen_BV: bool, (B, V), True for tokens that stand in the text.
        penalty: positive; above 1 it makes repetition rarer, 1 changes nothing.

    Source: Keskar et al. (2019), "CTRL: a conditional transformer language model for controllable generation", which
    divides all logits; multiplying the negative ones is what the libraries do, since dividing would favour them.
    """
    penalised_BV = torch.where(logits_BV > 0, logits_BV / penalty, logits_BV * penalty)
    return torch.where(seen_BV, penalised_BV, logits_BV)


class RepetitionPenalty:
    """The filter :func:`penalise` for sequences that grow: all tokens of a prompt and of its continuation count.

    Args:
        prompts: token ids of each.
        vocab_size: V.
        penalty: as of :func:`penalise`.
        device: where the logits are.

    Raises:
        ValueError: a token that is not in the vocabulary.
    """

    def __init__(
        self, prompts: Sequence[Sequence[int]], vocab_size: int, penalty: float, device: torch.device | str
    ) -> None:
        for token in {token for prompt in prompts for token in prompt}:
            if not 0 <= token < vocab_size:
                raise ValueError(f"a prompt holds token {token}, but ids are 0 to {vocab_size - 1}")
        self.penalty = penalty
        self.seen_BV = torch.zeros(len(prompts), vocab_size, dtype=torch.bool, device=device)
        self.update([(row, token) for row, prompt in enumerate(prompts) for token in prompt])

    def apply(self, logits_BV: Tensor, rows: Sequence[int]) -> Tensor:
        """The penalised logits, (B, V), of the sequences with the given numbers."""
        return penalise(logits_BV, self.seen_BV[list(rows)], self.penalty)

    def update(self, written: Sequence[tuple[int, int]]) -> None:
        """Take note of new tokens, as pairs of a sequence's number and a token."""
        places = torch.tensor(written, device=self.seen_BV.device)
        self.seen_BV[places[:, 0], places[:, 1]] = True
