"""Sentence-pair objectives: does the second segment follow the first?"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from plm_core.data.batch import Batch
from plm_core.data.labels import IGNORE
from plm_core.models.bert import BertOutput
from plm_core.objectives.base import LossParts, Objective
from plm_core.objectives.inputs import transformer_inputs, with_sequences


class NextSentence(Objective):
    """The sum of -log p(label) over pairs: label 0, the second segment follows the first; 1, it is from elsewhere.

    The batch needs ``pair_labels``, (B,), as :class:`plm_core.data.sentence_pairs.SentencePairs` makes them; IGNORE
    leaves a row out. Source: Devlin et al. (2019), section 3.1.
    """

    name = "next_sentence"

    def prepare(self, batch: Batch) -> Batch:
        """Add where the sequences begin and end."""
        return with_sequences(batch)

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """The ids, the mask, the sequences and the token types."""
        return transformer_inputs(batch)

    def score(self, output: BertOutput, batch: Batch) -> LossParts:
        """Score the pair head's logits (B, 2)."""
        logits_B2, labels_B = output.seq_relationship_logits.float(), batch["pair_labels"]
        total = F.cross_entropy(logits_B2, labels_B, ignore_index=IGNORE, reduction="sum")
        correct = (logits_B2.detach().argmax(dim=-1) == labels_B).sum()
        return LossParts(total, (labels_B != IGNORE).sum(), {"accuracy": correct})

    def count(self, batch: Batch) -> int:
        """The number of labelled pairs."""
        return int((batch["pair_labels"] != IGNORE).sum())


class SentenceOrder(NextSentence):
    """The same head and loss, on pairs whose negatives are swapped, not foreign (Lan et al. 2020, section 3.1)."""

    name = "sentence_order"
