"""Language modelling on a bidirectional trunk: a mask decides which tokens may be seen.

One trunk can so be trained as a causal model in one stage and as a masked one in the next. Shapes: B rows, T tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from plm_core.data.batch import Batch, real_tokens
from plm_core.data.labels import IGNORE
from plm_core.objectives.masked_lm import MaskedLM, with_masked_positions


class PrefixLM(MaskedLM):
    """The sum of -log p(next token) over the tokens after a prefix, which is read in both directions.

    The batch needs ``input_ids`` and ``labels`` of the next tokens
    (:func:`~plm_core.data.labels.next_token_labels`), (B, T), and may have ``attention_mask`` (B, T), bool, and
    ``prefix_lengths``, (B,); without these no prefix is read in both directions, and the model is causal. The model is
    a :class:`~plm_core.models.bert.Bert`: its masked-language-model head predicts the *next* token here.

    Args:
        label_smoothing: as :class:`~plm_core.objectives.causal_lm.CausalLM` has it.

    Source: Raffel et al. (2020), section 3.2.1, "prefix LM".
    """

    name = "prefix_lm"

    def for_evaluation(self) -> PrefixLM:
        """The same task without label smoothing."""
        return type(self)()

    def prepare(self, batch: Batch) -> Batch:
        """Add the mask of the prefixes, (B, T, T), and the labelled positions; drop labels inside a prefix."""
        return with_masked_positions(with_prefix_mask(batch))

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """The ids, the mask of the prefixes and the labelled positions."""
        return super().inputs(self.prepare(batch))

    def score(self, output: Any, batch: Batch) -> Any:
        """Score the head's logits (N, V) against the labels of the N labelled positions."""
        return super().score(output, self.prepare(batch))

    def count(self, batch: Batch) -> int:
        """The number of tokens to be predicted: those that follow a prefix."""
        return super().count(self.prepare(batch))


class CausalTrunkLM(PrefixLM):
    """The same without prefixes: every token is predicted from those before it."""

    name = "causal_lm"


def with_prefix_mask(batch: Batch) -> Batch:
    """The batch with a mask (B, T, T) that lets a token see its prefix and the tokens up to itself; once.

    What the last token of a prefix predicts is the first label; earlier labels are inside the prefix, where the model
    reads the token that it would have to predict.
    """
    if "attention_mask" in batch and batch["attention_mask"].dim() == 3:
        return batch
    labels_BT, ids_BT = batch["labels"], batch["input_ids"]
    prefix_B1 = batch.get("prefix_lengths", labels_BT.new_zeros(len(labels_BT)))[:, None]
    mask_BTT = prefix_mask(prefix_B1[:, 0], real_tokens(batch))
    inside_BT = torch.arange(ids_BT.shape[1], device=ids_BT.device) < prefix_B1 - 1
    without = ("token_indices", "cu_seqlens")  # they describe rows without such a mask
    kept = {key: value for key, value in batch.items() if key not in without}
    return {**kept, "attention_mask": mask_BTT, "labels": labels_BT.masked_fill(inside_BT, IGNORE)}


def prefix_mask(prefix_lengths: Tensor, real_BT: Tensor) -> Tensor:
    """Which tokens may see which, bool (B, T, T): the prefix, and those up to themselves; padding sees nothing.

    Args:
        prefix_lengths: tokens of each row's prefix, (B,).
        real_BT: bool, (B, T), False for padding.

    >>> prefix_mask(torch.tensor([2]), torch.ones(1, 3, dtype=torch.bool))[0].int()
    tensor([[1, 1, 0],
            [1, 1, 0],
            [1, 1, 1]], dtype=torch.int32)
    """
    places_T = torch.arange(real_BT.shape[1], device=real_BT.device)
    causal_TT = places_T[None, :] <= places_T[:, None]
    in_prefix_BT = places_T < prefix_lengths[:, None]
    return (causal_TT | in_prefix_BT[:, None, :]) & real_BT[:, None, :] & real_BT[:, :, None]
