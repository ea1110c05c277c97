"""Units of a language model's loss, and the loss of a long text.

A loss in nats per token depends on how long the tokens are. Bits per character do not: they are what a compressor that
uses the model would need (Shannon 1948), and compare models with different tokenizers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.evaluation.modes import evaluation_mode


@dataclass(frozen=True)
class TextLoss:
    """The loss of a text: a sum, and what it can be divided by."""

    nats: float
    """Sum of -log p over the scored tokens."""
    tokens: int
    """Number of scored tokens."""
    characters: int | None = None
    """Number of characters that these tokens stand for, where known."""

    @property
    def nats_per_token(self) -> float:
        """Mean loss in nats."""
        return self.nats / self.tokens

    @property
    def bits_per_token(self) -> float:
        """Mean loss in bits: nats / ln 2."""
        return self.nats_per_token / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp of the mean loss: the number of equally likely tokens that would be as hard to guess; infinite where no
        float can hold it."""
        try:
            return math.exp(self.nats_per_token)
        except OverflowError:
            return math.inf

    @property
    def bits_per_character(self) -> float:
        """Bits over characters.

        Raises:
            ValueError: the number of characters is not known.
        """
        if self.characters is None:
            raise ValueError("bits per character need the number of characters that the scored tokens stand for")
        return self.nats / math.log(2) / self.characters


@torch.no_grad()
def text_loss(
    model: nn.Module,
    ids_N: Tensor,
    *,
    context: int,
    stride: int | None = None,
    batch_size: int = 16,
    characters: int | None = None,
) -> TextLoss:
    """The loss of a causal language model on one long text, each token but the first scored exactly once.

    Windows of ``context`` tokens move by ``stride``; a window scores only the tokens that the one before it did not
    reach. A small stride gives every token a long context and costs more; stride = context is the cheapest, and
    overestimates the loss of the first tokens of every window, which have little context.

    Args:
        model: returns logits (B, T, V) for ids (B, T).
        ids_N: the text, (N,).
        context: window length in tokens.
        stride: step between windows, at most the context; half of it by default.
        batch_size: windows scored at once.
        characters: number of characters that the tokens after the first stand for.

    Raises:
        ValueError: a text of fewer than two tokens, or a stride that would skip tokens.
    """
    stride = max(1, context // 2) if stride is None else stride
    if len(ids_N) < 2:
        raise ValueError(f"a text of {len(ids_N)} token(s) has nothing to predict: at least two are needed")
    if not 1 <= stride <= context:
        raise ValueError(f"the stride must lie between 1 and the context {context}, got {stride}")
    starts = list(range(0, max(1, len(ids_N) - 1 - context + stride), stride))
    nats = 0.0
    with evaluation_mode(model):
        for first in range(0, len(starts), batch_size):
            windows = [ids_N[start : start + context + 1] for start in starts[first : first + batch_size]]
            for group in equal_lengths(windows):
                inputs_BT, targets_BT = torch.stack(group)[:, :-1], torch.stack(group)[:, 1:].clone()
                logits = model(inputs_BT)
                losses = F.cross_entropy(logits.float().flatten(0, 1), targets_BT.flatten(), reduction="none")
                losses = losses.view_as(targets_BT).double()
                for row, window in enumerate(group):
                    is_first = first == 0 and window is windows[0]
                    fresh = window.shape[0] - 1 if is_first else min(stride, window.shape[0] - 1 - (context - stride))
                    nats += losses[row, -fresh:].sum().item()
    return TextLoss(nats, len(ids_N) - 1, characters)


def equal_lengths(windows: list[Tensor]) -> list[list[Tensor]]:
    """Split windows into the full ones and the shorter last one."""
    full = [window for window in windows if len(window) == len(windows[0])]
    rest = [window for window in windows if len(window) != len(windows[0])]
    return [group for group in (full, rest) if group]
