"""Sequence to sequence: predict every target token from the source and the target tokens before it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from plm_core.data.batch import Batch
from plm_core.data.labels import IGNORE
from plm_core.objectives.base import LossParts, Objective
from plm_core.objectives.causal_lm import check_smoothing, token_losses

INPUTS = ("input_ids", "attention_mask", "decoder_input_ids")


class Seq2SeqLM(Objective):
    """The sum of -log p(target token | source, earlier target tokens): teacher forcing.

    The decoder reads the *given* target tokens, whatever it would have written itself, so all places are computed at
    once (Williams and Zipser 1989). The batch is one of
    :class:`~plm_core.data.sequence_pairs.SequencePairBatches`: already shifted, once, in the data. The model takes
    ``input_ids``, ``attention_mask`` and ``decoder_input_ids`` and returns logits (B, T, V), as
    :class:`~plm_core.models.seq2seq.Seq2Seq` does.

    Args:
        label_smoothing: share of the target's probability that is spread over the whole vocabulary in training
            (Szegedy et al. 2016; Vaswani et al. 2017, section 5.4); evaluation reports the loss without it.

    Raises:
        ValueError: a share outside [0, 1).
    """

    name = "seq2seq"

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = check_smoothing(label_smoothing)

    def for_evaluation(self) -> Seq2SeqLM:
        """The same task with given prefixes and without label smoothing."""
        return Seq2SeqLM()

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """Source ids and mask, and the shifted target."""
        return {key: batch[key] for key in INPUTS if key in batch}

    def score(self, output: Tensor, batch: Batch) -> LossParts:
        """Score logits (B, T, V) against labels (B, T)."""
        return token_losses(output, batch["labels"], label_smoothing=self.label_smoothing)

    def count(self, batch: Batch) -> int:
        """The number of target tokens, end tokens included."""
        return int((batch["labels"] != IGNORE).sum())


class ScheduledSampling(Seq2SeqLM):
    """Teacher forcing in which some of the decoder's inputs are tokens that the model itself has drawn.

    The model runs twice. From the given target it first predicts every token, without gradients; at the chosen places
    a token is drawn from the prediction and takes the given one's place in the input of the second pass, whose loss
    counts. The labels stay as they are. Own tokens thus depend on *given* prefixes, not on other own tokens: that is
    what keeps all places parallel in a Transformer (Mihaylova and Martins 2019), where the recurrent original draws
    one token after the other (Bengio et al. 2015).

    The batch needs ``uses_own_token`` and ``own_token_draws``, (B, T), of
    :class:`~plm_core.data.sequence_pairs.ScheduledSamplingBatches`.

    Args:
        label_smoothing: as :class:`Seq2SeqLM` has it.
    """

    def __call__(self, model: nn.Module, batch: Batch) -> LossParts:
        """Run the model twice and score the second pass."""
        mixed = with_own_tokens(model, self.inputs(batch), batch)
        return self.score(model(**mixed), batch)

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, LossParts]:
        """The loss of the second pass by name."""
        return {self.name: self(model, batch)}


def with_own_tokens(model: nn.Module, inputs: dict[str, Any], batch: Batch) -> dict[str, Any]:
    """The inputs with the model's own tokens at the chosen places of ``decoder_input_ids``.

    Args:
        model: from inputs to logits (B, T, V).
        inputs: of :meth:`Seq2SeqLM.inputs`.
        batch: with the choice of the places and the draws.
    """
    given_BT, uses_own_BT = inputs["decoder_input_ids"], batch["uses_own_token"]
    with torch.no_grad():
        own_BT = drawn_tokens(model(**inputs), batch["own_token_draws"])
    before_BT = own_BT.roll(1, dims=1)  # what is drawn at t is read at t + 1; nothing is read at 0, the start token
    return inputs | {"decoder_input_ids": torch.where(uses_own_BT, before_BT, given_BT)}


def drawn_tokens(logits_BTV: Tensor, uniform_BT: Tensor) -> Tensor:
    """Tokens drawn from their distributions by inversion, (B, T).

    Args:
        logits_BTV: (B, T, V).
        uniform_BT: for each token a number in [0, 1), fp64.
    """
    cumulative_BTV = logits_BTV.float().softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
    total_BT1 = cumulative_BTV[..., -1:]
    below_total_BT1 = torch.nextafter(total_BT1, torch.zeros_like(total_BT1))
    point_BT1 = torch.minimum(uniform_BT[..., None] * total_BT1, below_total_BT1)
    return (cumulative_BTV <= point_BT1).sum(dim=-1)  # never a token of probability 0


def lowest_smoothed_loss(label_smoothing: float, vocab_size: int) -> float:
    """The lowest loss that training with label smoothing can show, in nats per token: never 0.

    The smoothed target gives the label the probability 1 - s + s / V and every other token s / V. Cross-entropy is
    lowest where the prediction equals the target, and is its entropy there.

    Args:
        label_smoothing: s, in [0, 1).
        vocab_size: V.

    Raises:
        ValueError: a share outside [0, 1), or an empty vocabulary.

    >>> round(lowest_smoothed_loss(0.1, 10_000), 3)
    1.246
    """
    if vocab_size < 1:
        raise ValueError(f"vocab_size must be at least 1, got {vocab_size}")
    other = check_smoothing(label_smoothing) / vocab_size
    if other == 0:
        return 0.0
    label = 1 - label_smoothing + other
    return -label * math.log(label) - (vocab_size - 1) * other * math.log(other)
