"""Classification of whole texts: one label for a row."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from plm_core.data.batch import Batch
from plm_core.data.labels import IGNORE
from plm_core.objectives.base import LossParts, Objective
from plm_core.objectives.causal_lm import check_smoothing, token_losses
from plm_core.objectives.inputs import model_inputs


class Classification(Objective):
    """The sum of -log p(label) over texts.

    The batch needs ``labels``, integers (B,); IGNORE leaves a row out. The model returns logits (B, C).

    Args:
        label_smoothing: as :class:`~plm_core.objectives.causal_lm.CausalLM` has it.
    """

    name = "classification"

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = check_smoothing(label_smoothing)

    def for_evaluation(self) -> Classification:
        """The same task without label smoothing."""
        return Classification()

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """The ids, with mask and token types where the batch has them."""
        return model_inputs(batch)

    def score(self, output: Tensor, batch: Batch) -> LossParts:
        """Score logits (B, C) against labels (B,)."""
        return token_losses(output, batch["labels"], label_smoothing=self.label_smoothing)

    def count(self, batch: Batch) -> int:
        """The number of labelled rows."""
        return int((batch["labels"] != IGNORE).sum())
