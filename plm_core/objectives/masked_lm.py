"""Masked language modelling: predict the chosen tokens from what is left on both sides (Devlin et al. 2019)."""

from __future__ import annotations

from typing import Any

from plm_core.data.labels import IGNORE
from plm_core.models.bert import BertOutput
from plm_core.objectives.base import Batch, LossParts, Objective
from plm_core.objectives.causal_lm import check_smoothing, ragged_inputs, token_losses, with_sequences


class MaskedLM(Objective):
    """The sum of -log p(original token) over the chosen positions; the head runs on those alone.

    The batch needs ``input_ids`` already corrupted and ``labels`` as :class:`plm_core.data.masking.Masker` makes them.

    Args:
        label_smoothing: as :class:`~plm_core.objectives.causal_lm.CausalLM` has it.
    """

    name = "masked_lm"

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = check_smoothing(label_smoothing)

    def for_evaluation(self) -> MaskedLM:
        """The same task without label smoothing."""
        return MaskedLM()

    def prepare(self, batch: Batch) -> Batch:
        """Add ``masked_positions``, (N,): where predictions are wanted, as numbers in reading order; and the bounds of
        the sequences."""
        return with_sequences(with_masked_positions(batch))

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """The ids, the mask, and where predictions are wanted; the heads are all that is read."""
        places = with_masked_positions(batch)["masked_positions"]
        return {**ragged_inputs(batch), "masked_positions": places, "heads_only": True}

    def score(self, output: BertOutput, batch: Batch) -> LossParts:
        """Score the head's logits (N, V) against the labels of the N chosen positions."""
        assert output.prediction_logits is not None  # inputs() asked for them
        labels_N = batch["labels"].flatten()[with_masked_positions(batch)["masked_positions"]]
        return token_losses(output.prediction_logits, labels_N, label_smoothing=self.label_smoothing)

    def count(self, batch: Batch) -> int:
        """The number of chosen positions."""
        return int((batch["labels"] != IGNORE).sum())


def with_masked_positions(batch: Batch) -> Batch:
    """Add ``masked_positions``, unless the batch has them."""
    if "masked_positions" in batch:
        return batch
    return {**batch, "masked_positions": (batch["labels"] != IGNORE).flatten().nonzero().squeeze(1)}
