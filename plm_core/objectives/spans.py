"""Extraction of spans: where the answer to a question begins and ends in a text."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_core.data.batch import Batch
from plm_core.data.labels import IGNORE
from plm_core.models.heads import SpanLogits
from plm_core.objectives.base import LossParts, Objective
from plm_core.objectives.inputs import model_inputs


class SpanExtraction(Objective):
    """The sum of -log p(first token) - log p(last token) of the answer over texts.

    The batch needs ``start_positions`` and ``end_positions``, integers (B,), the first and the last token of the
    answer; IGNORE in either leaves a row out. A question without an answer has position 0, the [CLS] token, for both.
    ``candidates``, bool (B, T), restricts where an answer may begin and end; where questions may be without an answer,
    position 0 is one of them. The model returns :class:`~plm_core.models.heads.SpanLogits`. Accuracy counts rows with
    both ends right.

    Source: Devlin et al. (2019), sections 4.2 and 4.3.
    """

    name = "span_extraction"

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """The ids, with mask, positions, token types and candidates where the batch has them."""
        return model_inputs(batch) | ({"candidates": batch["candidates"]} if "candidates" in batch else {})

    def score(self, output: SpanLogits, batch: Batch) -> LossParts:
        """Score both ends' logits, (B, T) each, against their positions."""
        counted_B = counted_rows(batch)
        total, right_B = output.start.new_zeros(()), counted_B
        for logits_BT, name in ((output.start, "start_positions"), (output.end, "end_positions")):
            labels_B = batch[name].masked_fill(~counted_B, IGNORE)
            total = total + F.cross_entropy(logits_BT, labels_B, ignore_index=IGNORE, reduction="sum")
            right_B = right_B & (logits_BT.detach().argmax(dim=-1) == labels_B)
        return LossParts(total, counted_B.sum(), {"accuracy": right_B.sum()})

    def count(self, batch: Batch) -> int:
        """The number of texts with an answer or the label that there is none."""
        return int(counted_rows(batch).sum())


def counted_rows(batch: Batch) -> Tensor:
    """Which rows have a label for both ends, bool (B,).

    Raises:
        ValueError: an end before its start or beyond the row, or at a token that is no candidate.
    """
    start_B, end_B, length = batch["start_positions"], batch["end_positions"], batch["input_ids"].shape[1]
    counted_B = (start_B != IGNORE) & (end_B != IGNORE)
    if start_B.device.type == "cpu" and not torch.compiler.is_compiling():
        wrong_B = counted_B & ((start_B < 0) | (end_B < start_B) | (end_B >= length))
        if wrong_B.any():
            row = int(wrong_B.nonzero()[0])
            raise ValueError(
                f"row {row}: the span from token {int(start_B[row])} to {int(end_B[row])} does not lie in its row of "
                f"{length} tokens"
            )
        if "candidates" in batch:
            ends_B2 = torch.stack([start_B, end_B], dim=1).clamp(min=0)
            wrong_B = counted_B & ~batch["candidates"].gather(1, ends_B2).all(dim=1)
            if wrong_B.any():
                row = int(wrong_B.nonzero()[0])
                raise ValueError(f"row {row}: its span begins or ends at a token that is not among the candidates")
    return counted_B


class Spans(NamedTuple):
    """The best span of each text, and how it compares with the answer that there is none."""

    start: Tensor
    """The first token, integers, (B,)."""
    end: Tensor
    """The last token, integers, (B,)."""
    score: Tensor
    """The sum of the two logits, (B,)."""
    null_score: Tensor
    """The same for a span of position 0 alone, the [CLS] token, (B,)."""


def best_spans(logits: SpanLogits, *, max_length: int, candidates: Tensor | None = None) -> Spans:
    """The span with the highest sum of start and end logit among those that do not end before they begin.

    A question counts as having no answer where ``null_score`` exceeds ``score`` by more than a threshold that is chosen
    on validation data (Devlin et al. 2019, section 4.3).

    Args:
        logits: of a :class:`~plm_core.models.heads.SpanExtractor`.
        max_length: tokens of the longest span.
        candidates: bool, (B, T), where a span may begin or end; None for all but position 0 of each row.

    Raises:
        ValueError: a maximal length below 1.
    """
    if max_length < 1:
        raise ValueError(f"the longest span must have at least one token, got max_length {max_length}")
    rows, length = logits.start.shape
    lowest = torch.finfo(logits.start.dtype).min
    if candidates is None:
        candidates = (torch.arange(length, device=logits.start.device) > 0).expand(rows, length)
    # halves: the sum of two of the lowest numbers would be minus infinity
    start_BT, end_BT = (x.masked_fill(~candidates, lowest) / 2 for x in (logits.start, logits.end))
    sums_BTT = start_BT[:, :, None] + end_BT[:, None, :]
    ordered_TT = torch.ones(length, length, dtype=torch.bool, device=sums_BTT.device).triu().tril(max_length - 1)
    score_B, place_B = sums_BTT.masked_fill(~ordered_TT, -torch.inf).flatten(1).max(dim=1)
    null_score_B = logits.start[:, 0] + logits.end[:, 0]
    return Spans(place_B // length, place_B % length, score_B * 2, null_score_B)
