"""Causal language modelling: predict every token from those before it."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from plm_core.data.batch import Batch
from plm_core.data.labels import IGNORE
from plm_core.models.vocabulary_loss import TokenLosses
from plm_core.objectives.base import LossParts, Objective
from plm_core.objectives.inputs import model_inputs, transformer_inputs, with_sequences


class CausalLM(Objective):
    """The sum of -log p(next token) over the positions that have one.

    The batch needs ``labels`` as :func:`plm_core.data.labels.next_token_labels` makes them: already shifted, once, in
    the data. The model returns logits (B, T, V).

    Args:
        label_smoothing: share of the target's probability that is spread over the whole vocabulary
            (Szegedy et al. 2016), in training; evaluation reports the loss without it.
        sliced: let the model compute its loss itself instead of its logits, which then never exist all at once: less
            memory and time for a large vocabulary. The model must take ``labels`` and ``sequences``, as
            :class:`~plm_core.models.gpt.Gpt` does.

    Raises:
        ValueError: a share outside [0, 1).
    """

    name = "causal_lm"

    def __init__(self, *, label_smoothing: float = 0.0, sliced: bool = False) -> None:
        self.label_smoothing = check_smoothing(label_smoothing)
        self.sliced = sliced

    def for_evaluation(self) -> CausalLM:
        """The same task without label smoothing."""
        return CausalLM(sliced=self.sliced)

    def prepare(self, batch: Batch) -> Batch:
        """Add where the sequences begin and end, if the model takes them."""
        return with_sequences(batch) if self.sliced else batch

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """The ids, with mask and positions where the batch has them, and the labels if the model computes the loss."""
        if self.sliced:
            return transformer_inputs(batch) | {"labels": batch["labels"], "label_smoothing": self.label_smoothing}
        return model_inputs(batch)

    def score(self, output: Tensor | TokenLosses, batch: Batch) -> LossParts:
        """Score logits (B, T, V) against labels (B, T)."""
        if isinstance(output, TokenLosses):
            return LossParts(output.total, (batch["labels"] != IGNORE).sum(), {"accuracy": output.correct})
        return token_losses(output, batch["labels"], label_smoothing=self.label_smoothing)

    def count(self, batch: Batch) -> int:
        """The number of labelled positions."""
        return int((batch["labels"] != IGNORE).sum())


def token_losses(logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> LossParts:
    """The summed cross-entropy of token predictions, in nats, and how many were right.

    Args:
        logits: (..., V), in any precision; the loss is computed in fp32.
        labels: integers, (...); IGNORE positions add nothing.
        label_smoothing: as :class:`CausalLM` has it.
    """
    logits_NV, labels_N = logits.flatten(0, -2).float(), labels.flatten()
    total = F.cross_entropy(logits_NV, labels_N, ignore_index=IGNORE, reduction="sum", label_smoothing=label_smoothing)
    correct = (logits_NV.detach().argmax(dim=-1) == labels_N).sum()
    return LossParts(total, (labels_N != IGNORE).sum(), {"accuracy": correct})


def check_smoothing(label_smoothing: float) -> float:
    """Return the share, or raise ValueError if it lies outside [0, 1)."""
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing is a share of the probability: expected 0 <= it < 1, got {label_smoothing}")
    return label_smoothing
