"""Masked language modelling: predict the chosen tokens from the tokens on both sides (Devlin et al. 2019)."""

from __future__ import annotations

from typing import Any

import torch

from plm_core.data.batch import Batch
from plm_core.data.labels import IGNORE
from plm_core.models.bert import BertOutput, positions_of_heads
from plm_core.objectives.base import LossParts, Objective
from plm_core.objectives.causal_lm import check_smoothing, token_losses
from plm_core.objectives.inputs import transformer_inputs, with_sequences


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
        """Add ``masked_positions``, (N,), the indices of the chosen positions in reading order, and where the sequences
        begin and end."""
        return with_sequences(with_masked_positions(batch))

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """The ids, the mask, the sequences and the chosen positions; on a CPU also the tokens that the heads need, to
        which the last block can be restricted. (On a GPU counting them would make the host wait.)"""
        masked_positions = with_masked_positions(batch)["masked_positions"]
        inputs = {**transformer_inputs(batch), "masked_positions": masked_positions}
        if batch["input_ids"].device.type == "cpu" and not torch.compiler.is_compiling():
            inputs["query_positions"] = positions_of_heads(batch["input_ids"], masked_positions)
        return inputs

    def score(self, output: BertOutput, batch: Batch) -> LossParts:
        """Score the head's logits (N, V) against the labels of the N chosen positions."""
        assert output.prediction_logits is not None  # because of masked_positions
        labels_N = batch["labels"].flatten()[with_masked_positions(batch)["masked_positions"]]
        return token_losses(output.prediction_logits, labels_N, label_smoothing=self.label_smoothing)

    def count(self, batch: Batch) -> int:
        """The number of chosen positions."""
        return int((batch["labels"] != IGNORE).sum())


def with_masked_positions(batch: Batch) -> Batch:
    """Add ``masked_positions`` unless the batch has them."""
    if "masked_positions" in batch:
        return batch
    return {**batch, "masked_positions": (batch["labels"] != IGNORE).flatten().nonzero().squeeze(1)}
