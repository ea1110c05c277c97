"""Masked language modelling: predict the chosen tokens from what is left on both sides (Devlin et al. 2019)."""

from __future__ import annotations

from typing import Any

from plm_core.data.labels import IGNORE
from plm_core.models.bert import BertOutput
from plm_core.objectives.base import Batch, LossParts, Objective
from plm_core.objectives.causal_lm import model_inputs, token_losses


class MaskedLM(Objective):
    """The sum of -log p(original token) over the chosen positions; the head runs on those alone.

    The batch needs ``input_ids`` already corrupted and ``labels`` as :class:`plm_core.data.masking.Masker` makes them.
    """

    name = "masked_lm"

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """The ids, the mask, and where predictions are wanted."""
        return {**model_inputs(batch), "masked_positions": batch["labels"] != IGNORE}

    def score(self, output: BertOutput, batch: Batch) -> LossParts:
        """Score the head's logits (N, V) against the labels of the N chosen positions."""
        assert output.prediction_logits is not None  # inputs() asked for them
        labels = batch["labels"]
        return token_losses(output.prediction_logits, labels[labels != IGNORE])

    def count(self, batch: Batch) -> int:
        """The number of chosen positions."""
        return int((batch["labels"] != IGNORE).sum())
