"""Replaced-token detection: which tokens of a text are not the original ones (Clark et al. 2020)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_core.data.batch import Batch, real_tokens
from plm_core.data.labels import IGNORE
from plm_core.models.electra import ElectraOutput
from plm_core.objectives.base import Joint, LossParts, Objective
from plm_core.objectives.inputs import transformer_inputs, with_sequences
from plm_core.objectives.masked_lm import MaskedLM, with_masked_positions

DISCRIMINATOR_WEIGHT = 50.0
"""Lambda of Clark et al. (2020), appendix A: a loss over two classes is much smaller than one over a vocabulary."""


def replaced_token_detection(weight: float = DISCRIMINATOR_WEIGHT) -> Joint:
    """ELECTRA's loss for an :class:`~plm_core.models.electra.Electra`: the generator's mean over the masked tokens,
    plus the weight times the discriminator's mean over all real tokens, from one forward pass.

    The batch is that of :class:`~plm_core.objectives.masked_lm.MaskedLM`. In the paper every chosen token becomes
    [MASK] (``MaskingConfig(mask_share=1.0, random_share=0.0)``); the published code leaves 15 % of them as they are
    (``MaskingConfig(mask_share=0.85, random_share=0.0)``). In either case the generator's sample replaces them all.

    Args:
        weight: of the discriminator's mean.

    Source: Clark et al. (2020), section 3.1, with means in place of the sums there, as in the published code.
    """
    return Joint([MaskedLM(), ReplacedTokens()], [1.0, weight])


class ReplacedTokens(Objective):
    """The discriminator's part: the sum of binary cross-entropies over all real tokens, the special ones included.

    A token counts as replaced if it differs from the original, so that a sample that happens to equal the original
    counts as original. The model is an :class:`~plm_core.models.electra.Electra`; the batch needs ``input_ids``
    already corrupted and ``labels`` as :class:`plm_core.data.masking.Masker` makes them.

    The metrics are the shares of the tokens that were judged rightly (``accuracy``), that were replaced
    (``replaced``), and that were replaced and found to be so (``found``).

    Args:
        seed: of a random generator of its own for the samples, which goes on from batch to batch; for evaluation, which
            is to give the same numbers again and to leave torch's global generator alone. None draws the samples with
            the global one, whose state is saved and restored with a run.
    """

    name = "replaced_tokens"

    def __init__(self, *, seed: int | None = None) -> None:
        self.seed = seed
        self.random_generator: torch.Generator | None = None  # made for the device of the first batch

    def for_evaluation(self) -> ReplacedTokens:
        """The same task with a random generator of its own, which begins anew."""
        return ReplacedTokens(seed=0 if self.seed is None else self.seed)

    def prepare(self, batch: Batch) -> Batch:
        """Add ``masked_positions``, (N,), the indices of the chosen positions in reading order, and where the sequences
        begin and end."""
        return with_sequences(with_masked_positions(batch))

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """The ids, the mask, the sequences and the chosen positions, and what the samples are drawn with."""
        inputs = {**transformer_inputs(batch), "masked_positions": with_masked_positions(batch)["masked_positions"]}
        if self.seed is not None and self.random_generator is None:
            self.random_generator = torch.Generator(batch["input_ids"].device).manual_seed(self.seed)
        return inputs | {"random_generator": self.random_generator}

    def score(self, output: ElectraOutput, batch: Batch) -> LossParts:
        """Score the discriminator's logits (B, T) against whether the token that it read is the original."""
        real_BT = real_tokens(batch)
        replaced_BT = (output.corrupted_ids != original_ids(batch)) & real_BT
        logits_BT = output.replaced_logits.float().masked_fill(~real_BT, 0.0)
        losses_BT = F.binary_cross_entropy_with_logits(logits_BT, replaced_BT.float(), reduction="none")
        judged_BT = logits_BT.detach() > 0
        metrics = {
            "accuracy": ((judged_BT == replaced_BT) & real_BT).sum(),
            "replaced": replaced_BT.sum(),
            "found": (judged_BT & replaced_BT).sum(),
        }
        return LossParts(losses_BT.masked_fill(~real_BT, 0.0).sum(), real_BT.sum(), metrics)

    def count(self, batch: Batch) -> int:
        """The number of real tokens."""
        return int(real_tokens(batch).sum())


def original_ids(batch: Batch) -> Tensor:
    """The ids before they were corrupted, (B, T): the label where a token was chosen, elsewhere the id."""
    return torch.where(batch["labels"] == IGNORE, batch["input_ids"], batch["labels"])
