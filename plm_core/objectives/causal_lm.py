"""Causal language modelling: predict every token from those before it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_core.data.labels import IGNORE
from plm_core.models.inputs import expand_mask
from plm_core.models.varlen import PackedSequences
from plm_core.models.vocabulary_loss import TokenLosses
from plm_core.objectives.base import Batch, LossParts, Objective

MODEL_INPUTS = ("input_ids", "attention_mask", "position_ids", "token_type_ids")


class CausalLM(Objective):
    """The sum of -log p(next token) over the positions that have one.

    The batch needs ``labels`` as :func:`plm_core.data.labels.next_token_labels` makes them: already shifted, once, in
    the data. The model returns logits (B, T, V).

    Args:
        label_smoothing: share of the target's probability that is spread over the whole vocabulary
            (Szegedy et al. 2016), in training; evaluation reports the loss without it.
        sliced: ask the model for its loss in place of its logits, which then never exist all at once: less memory and
            time for a large vocabulary. The model must take ``labels``, and on a GPU
            :class:`~plm_core.models.varlen.PackedSequences` as a mask, as :class:`~plm_core.models.gpt.Gpt` does.

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
        """Add the bounds of the sequences, if the model takes them."""
        return with_sequences(batch) if self.sliced else batch

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """The ids, with mask and positions where the batch has them, and the labels if the model scores them."""
        if self.sliced:
            return ragged_inputs(batch) | {"labels": batch["labels"], "label_smoothing": self.label_smoothing}
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


def model_inputs(batch: Batch) -> dict[str, Any]:
    """The entries of a batch that are inputs of a Transformer."""
    return {key: batch[key] for key in MODEL_INPUTS if key in batch}


def ragged_inputs(batch: Batch) -> dict[str, Any]:
    """The same for a model that takes the sequences of a batch in place of a mask.

    It gets them on a GPU, where a look at the mask would make the host wait. On a CPU the model takes that look itself.
    """
    inputs, ids_BT, mask = model_inputs(batch), batch["input_ids"], batch.get("attention_mask")
    if ids_BT.device.type == "cpu" or "sequence_bounds" not in batch:
        return inputs
    B, T = ids_BT.shape
    mask = expand_mask(mask, batch=B, queries=T, keys=T)
    return inputs | {"attention_mask": PackedSequences(batch["token_places"], batch["sequence_bounds"], (B, T), mask)}


def with_sequences(batch: Batch) -> Batch:
    """Add where the real tokens of a batch stand, and the bounds of its sequences once they stand in one row.

    ``token_places``, (N,), and ``sequence_bounds``, (S + 1,), are those of
    :class:`~plm_core.models.varlen.PackedSequences`. Sources that know them have added them already; else they are read
    from a padding mask (B, T).
    """
    mask_BT = batch.get("attention_mask")
    if "sequence_bounds" in batch or mask_BT is None or mask_BT.dim() != 2 or not mask_BT.any():
        return batch
    lengths_S = mask_BT.sum(dim=1)
    lengths_S = lengths_S[lengths_S > 0]
    bounds = torch.cat([lengths_S.new_zeros(1), lengths_S.cumsum(0)]).to(torch.int32)
    return {**batch, "token_places": mask_BT.flatten().nonzero()[:, 0], "sequence_bounds": bounds}
