"""Corruption for masked language modelling, as a pure function of (seed, epoch, example).

Every position of every example gets its own random numbers from a counter-based generator. They are the same whichever
worker draws them, in whatever order, and whether or not the run was resumed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from plm_core.config import Config
from plm_core.data.labels import IGNORE

Unit = Literal["token", "word", "span"]

SPAN_STOP = 0.2  # SpanBERT: lengths are geometric with this rate,
SPAN_MAX = 10  # among lengths up to this, which makes 3.8 tokens on average


@dataclass(frozen=True)
class MaskingConfig(Config):
    """How tokens are chosen and by what they are replaced (Devlin et al. 2019, section 3.1)."""

    rate: float = 0.15
    """Share of the ordinary tokens that is chosen for prediction."""
    mask_share: float = 0.8
    """Share of the chosen tokens that becomes [MASK]."""
    random_share: float = 0.1
    """Share of the chosen tokens that becomes a random ordinary token; the rest stays as it is."""
    unit: Unit = "token"
    """What is chosen as a whole: single tokens, whole words, or spans of geometric length (Joshi et al. 2020)."""
    exact: bool = False
    """Choose exactly round(rate x tokens) tokens of each batch instead of drawing for each: static shapes."""
    dynamic: bool = True
    """Draw a new mask in every epoch (Liu et al. 2019); otherwise every epoch repeats that of epoch 0."""

    def validate(self) -> None:
        """Refuse shares that are no probabilities, and exact counts of units larger than a token."""
        self.require_probability("rate")
        if not (self.mask_share >= 0 and self.random_share >= 0 and self.mask_share + self.random_share <= 1):
            raise ValueError(
                f"MaskingConfig: mask_share {self.mask_share} and random_share {self.random_share} must not be "
                "negative and add up to at most 1"
            )
        if self.exact and self.unit != "token":
            raise ValueError(f"MaskingConfig: an exact count needs unit 'token', not {self.unit!r}")


class Masker:
    """Corrupts batches for masked language modelling.

    Args:
        vocab_size: replacements are drawn from the ids below it.
        mask_token_id: the id of [MASK].
        special_ids: ids that are never chosen and never drawn: padding, [CLS], [SEP], [MASK], ...
        config: how to corrupt.
        seed: the seed of all draws.

    Raises:
        ValueError: the mask token is not among the special ids, or nothing ordinary is left.
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        mask_token_id: int,
        special_ids: Sequence[int],
        config: MaskingConfig | None = None,
        seed: int = 0,
    ) -> None:
        if mask_token_id not in special_ids:
            raise ValueError(f"the mask token {mask_token_id} must be one of the special ids {sorted(special_ids)}")
        self.config = MaskingConfig() if config is None else config
        self.mask_token_id = mask_token_id
        self.special = torch.tensor(sorted(set(special_ids)))
        self.ordinary = torch.tensor(sorted(set(range(vocab_size)) - set(special_ids)))
        if not len(self.ordinary):
            raise ValueError(
                f"a vocabulary of {vocab_size} with {len(self.special)} special tokens has no ordinary one"
            )
        self.seed = seed

    def __call__(
        self, input_ids: Tensor, examples: Sequence[int], *, epoch: int = 0, word_starts: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Corrupt a batch.

        Args:
            input_ids: integers, (B, T), padded with a special id.
            examples: the number of each row's example in the corpus, B of them.
            epoch: the pass over the corpus; matters for dynamic masking only.
            word_starts: bool, (B, T), True at the first token of each word; needed for whole words. With it spans are
                runs of complete words, without it runs of tokens.

        Returns:
            The corrupted ids and the labels, (B, T) each: the original id where a token was chosen, else IGNORE.

        Raises:
            ValueError: the unit is a whole word and ``word_starts`` is missing.
        """
        choose, act, draw = self._uniforms(examples, input_ids.shape[1], epoch)
        may_choose = ~torch.isin(input_ids, self.special)
        chosen = self._choose(choose, may_choose, word_starts)
        labels = input_ids.masked_fill(~chosen, IGNORE)
        config = self.config
        to_mask = chosen & (act < config.mask_share)
        to_draw = chosen & ~to_mask & (act < config.mask_share + config.random_share)
        replacements = self.ordinary[(draw * len(self.ordinary)).long()]
        corrupted = input_ids.masked_fill(to_mask, self.mask_token_id)
        return torch.where(to_draw, replacements, corrupted), labels

    def _uniforms(self, examples: Sequence[int], length: int, epoch: int) -> Tensor:
        """Three numbers in [0, 1) for each position of each example: (3, B, T)."""
        epoch = epoch if self.config.dynamic else 0
        rows = [example_generator(self.seed, epoch, example).random((length, 3)) for example in examples]
        return torch.from_numpy(np.stack(rows)).permute(2, 0, 1)  # by position first: padding changes no draw

    def _choose(self, uniform: Tensor, may_choose: Tensor, word_starts: Tensor | None) -> Tensor:
        if self.config.unit == "span":
            return choose_spans(uniform, may_choose, rate=self.config.rate, word_starts=word_starts)
        if self.config.unit == "word":
            if word_starts is None:
                raise ValueError("whole-word masking needs word_starts: True at the first token of each word")
            starts = word_starts | ~may_choose
            starts[:, 0] = True
            columns = torch.arange(uniform.shape[1]).expand_as(starts)
            first = torch.where(starts, columns, 0).cummax(dim=1).values  # the start of each token's word
            uniform = uniform.gather(1, first)
        if not self.config.exact:
            return may_choose & (uniform < self.config.rate)
        count = round(self.config.rate * int(may_choose.sum()))
        order = uniform.masked_fill(~may_choose, 2.0).flatten().argsort(stable=True)
        chosen = torch.zeros(uniform.numel(), dtype=torch.bool)
        chosen[order[:count]] = True
        return chosen.view_as(may_choose)


def choose_spans(uniform: Tensor, may_choose: Tensor, *, rate: float, word_starts: Tensor | None = None) -> Tensor:
    """Choose spans of ordinary tokens until the rate is reached in each row (Joshi et al. 2020, section 3.1).

    The random order of the positions decides where spans start, and the low bits of a position's random number decide
    how long its span is (:func:`span_length`): that many complete words, as in the paper, if it is told where words
    start, else that many tokens. A span ends early before a special token, before a chosen token, and before a word
    for which the rate leaves no room.

    Args:
        uniform: a random number for each position, (B, T).
        may_choose: bool, (B, T), True at ordinary tokens.
        rate: share of the ordinary tokens to choose.
        word_starts: bool, (B, T), True at the first token of each word; a special token ends a word, too.

    Returns:
        bool, (B, T), True at the chosen tokens.
    """
    chosen = torch.zeros_like(may_choose)
    starts = torch.ones_like(may_choose)
    if word_starts is not None:
        starts = word_starts | ~may_choose | F.pad(~may_choose, (1, 0), value=True)[:, :-1]
    order = uniform.argsort(dim=1, stable=True)
    for row in range(len(uniform)):
        free, first = may_choose[row].tolist(), starts[row].tolist()
        real = sum(free)
        budget = int(rate * real + uniform[row, -1].item())  # rounded up or down at random: right on average
        for position in order[row].tolist():
            if budget <= 0:
                break
            fraction = uniform[row, position].item() * 2**20 % 1  # the low bits: independent of the order
            while not first[position]:
                position -= 1
            for _ in range(span_length(fraction)):
                end = next((t for t in range(position + 1, len(free)) if first[t]), len(free))
                if position == len(free) or not free[position] or end - position > budget:
                    break
                free[position:end] = [False] * (end - position)
                chosen[row, position:end] = True
                budget -= end - position
                position = end
    return chosen


def span_length(uniform: float) -> int:
    """A span's length by inversion: P(length = n) is proportional to 0.8^n for n from 1 to 10.

    >>> [span_length(u) for u in (0.0, 0.5, 0.999)]
    [1, 3, 10]
    """
    stay = 1 - SPAN_STOP
    return 1 + int(math.log1p(-uniform * (1 - stay**SPAN_MAX)) / math.log(stay))


def example_generator(seed: int, epoch: int, example: int) -> np.random.Generator:
    """The random generator that belongs to one example in one epoch: Philox, keyed by all three numbers.

    Source: Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3".
    """
    return np.random.Generator(np.random.Philox(key=np.array([seed, (epoch << 40) | example], dtype=np.uint64)))
