"""Classification of tokens: one label for each word, such as the name it belongs to or its part of speech."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from plm_core.data.batch import Batch, real_tokens
from plm_core.data.labels import IGNORE
from plm_core.objectives.base import LossParts, Objective
from plm_core.objectives.causal_lm import check_smoothing, token_losses
from plm_core.objectives.inputs import model_inputs


class TokenClassification(Objective):
    """The sum of -log p(label) over words; a word of several tokens counts once, at its first (Devlin et al. 2019).

    The batch needs ``labels``, integers (B, T), IGNORE where nothing is to be predicted. Labels of padding never count,
    and with ``word_starts``, bool (B, T), True at the first token of each word, labels of the other tokens do not
    either. The model returns logits (B, T, C).

    Args:
        label_smoothing: as :class:`~plm_core.objectives.causal_lm.CausalLM` has it.
    """

    name = "token_classification"

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = check_smoothing(label_smoothing)

    def for_evaluation(self) -> TokenClassification:
        """The same task without label smoothing."""
        return TokenClassification()

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """The ids, with mask, positions and token types where the batch has them."""
        return model_inputs(batch)

    def score(self, output: Tensor, batch: Batch) -> LossParts:
        """Score logits (B, T, C) against labels (B, T)."""
        return token_losses(output, counted_labels(batch), label_smoothing=self.label_smoothing)

    def count(self, batch: Batch) -> int:
        """The number of labelled words."""
        return int((counted_labels(batch) != IGNORE).sum())


def counted_labels(batch: Batch) -> Tensor:
    """The labels of a batch, (B, T), IGNORE at padding and at tokens that continue a word.

    Raises:
        ValueError: labels or ``word_starts`` of another shape than the ids.
    """
    counted_BT = real_tokens(batch)
    for name in ("labels", "word_starts"):
        if name in batch and batch[name].shape != counted_BT.shape:
            raise ValueError(f"{name} must have shape {tuple(counted_BT.shape)}, got {tuple(batch[name].shape)}")
    if "word_starts" in batch:
        counted_BT = counted_BT & batch["word_starts"]
    return batch["labels"].masked_fill(~counted_BT, IGNORE)
