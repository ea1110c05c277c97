"""Speculative decoding: a small model proposes tokens, a large one checks several of them in one pass.

The tokens that come out have exactly the distribution of the large model alone, whatever the small one proposes; a good
proposal only makes them come faster.

Shapes are written into names: G proposed tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from plm_core.evaluation.modes import evaluation_mode
from plm_core.generation.decoding import CausalModel, check_prompts
from plm_core.generation.sampling import Sampling, distribution, draw, uniform_numbers


@dataclass(frozen=True)
class Speculation:
    """A text that was written by speculative decoding, and what it cost."""

    tokens: list[int]
    """The prompt and its continuation."""
    proposed: int
    """Tokens that the draft model proposed."""
    accepted: int
    """How many of them were accepted."""
    target_passes: int
    """Forward passes of the target model; without speculation there is one for each new token."""


def speculate(
    target: CausalModel,
    draft: CausalModel,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    draft_tokens: int = 4,
    sampling: Sampling | None = None,
    stop_token_id: int | None = None,
    seed: int | None = None,
) -> Speculation:
    """Continue a prompt as the target model would, with fewer passes of it.

    In each round the draft model writes G tokens; the target model reads them in one pass. A token x that the draft
    drew with probability q(x) is accepted with probability min(1, p(x) / q(x)). The first one that is not is replaced
    by a draw in proportion to max(p - q, 0), and the round ends; if all are accepted, the same pass yields one more
    token. Filters of the sampling apply to both distributions.

    Args:
        target: the model whose distribution is wanted; it is put into evaluation mode and back.
        draft: a faster model with the same vocabulary; likewise.
        prompt: token ids, at least one.
        max_new_tokens: how many tokens to add at most; prompt and continuation must fit both models' contexts.
        draft_tokens: G, at least 1.
        sampling: how tokens are drawn; by default from the target's distribution as it is. A repetition penalty is
            refused, since it would depend on the tokens of the round.
        stop_token_id: the sequence ends where this token was drawn.
        seed: seed of the draws; None takes one from torch's global generator.

    Raises:
        ValueError: a setting outside its range, models of different vocabularies, an empty prompt, or one that leaves
            no room for ``max_new_tokens``.

    Sources: Leviathan et al. (2023), "Fast inference from transformers via speculative decoding", algorithm 1; Chen et
    al. (2023), "Accelerating large language model decoding with speculative sampling".
    """
    sampling = Sampling() if sampling is None else sampling
    if sampling.repetition_penalty != 1:
        raise ValueError("speculative decoding takes no repetition penalty")
    if target.config.vocab_size != draft.config.vocab_size:
        raise ValueError(
            f"the models' vocabularies have {target.config.vocab_size} and {draft.config.vocab_size} tokens, but "
            "speculation needs the same one"
        )
    if draft_tokens < 1 or max_new_tokens < 0:
        raise ValueError(f"draft_tokens must be at least 1, max_new_tokens 0, got {draft_tokens}, {max_new_tokens}")
    for model in (target, draft):
        context = model.config.max_position_embeddings
        check_prompts([prompt], context)
        if context is not None and len(prompt) + max_new_tokens > context:
            raise ValueError(
                f"a prompt of {len(prompt)} tokens and {max_new_tokens} new ones do not fit a context of {context}"
            )
    numbers = uniform_numbers(seed, 1, device=next(iter(target.parameters())).device)
    tokens, end = list(prompt), len(prompt) + max_new_tokens
    proposed = accepted = passes = 0
    with (
        evaluation_mode(target, keep_random_state=False),
        evaluation_mode(draft, keep_random_state=False),
        torch.inference_mode(),
    ):
        large, small = _Reader(target, sampling), _Reader(draft, sampling)
        while len(tokens) < end and (tokens[-1] != stop_token_id or len(tokens) == len(prompt)):
            q_GV, drafted = _propose(small, tokens, min(draft_tokens, end - len(tokens) - 1), stop_token_id, numbers)
            p_GV = large.read([*tokens, *drafted], len(drafted) + 1)
            kept, last = verify(p_GV, q_GV, drafted, numbers)
            passes, proposed, accepted = passes + 1, proposed + len(drafted), accepted + kept
            tokens += drafted[:kept]
            if not (kept and tokens[-1] == stop_token_id):
                tokens.append(last)
    return Speculation(tokens, proposed, accepted, passes)


def verify(p_GV: Tensor, q_GV: Tensor, drafted: Sequence[int], numbers: Iterator[Tensor]) -> tuple[int, int]:
    """Check proposed tokens: how many are accepted, and the token that follows them.

    Args:
        p_GV: the target's distributions at each proposed token and after the last one, (G + 1, V).
        q_GV: the draft's distributions that the tokens were drawn from, (G, V).
        drafted: the proposed tokens.
        numbers: random numbers in [0, 1), one at a time, (1,).
    """
    for place, token in enumerate(drafted):
        if next(numbers).item() >= acceptance(p_GV[place], q_GV[place], token):
            return place, _draw(residual(p_GV[place], q_GV[place]), numbers)
    return len(drafted), _draw(p_GV[len(drafted)], numbers)


def acceptance(p_V: Tensor, q_V: Tensor, token: int) -> float:
    """The probability with which a proposed token is accepted: min(1, p / q)."""
    return min(1.0, p_V[token].item() / q_V[token].item())


def residual(p_V: Tensor, q_V: Tensor) -> Tensor:
    """The distribution of the token in place of a rejected one, (V,): in proportion to max(p - q, 0).

    It makes up for what the proposals lack: the probability of accepting token x is min(p, q), and a rejection, which
    has the probability sum of max(p - q, 0), adds max(p - q, 0) to it. The sum is p. Where p and q are equal nothing is
    rejected, up to rounding; then it is p.
    """
    excess_V = (p_V - q_V).clamp(min=0)
    total = excess_V.sum()
    return excess_V / total if total > 0 else p_V


def _propose(
    small: _Reader, tokens: Sequence[int], count: int, stop_token_id: int | None, numbers: Iterator[Tensor]
) -> tuple[Tensor, list[int]]:
    drafted: list[int] = []
    distributions: list[Tensor] = []
    while len(drafted) < count and (not drafted or drafted[-1] != stop_token_id):
        distributions.append(small.read([*tokens, *drafted], 1)[0])
        drafted.append(_draw(distributions[-1], numbers))
    return torch.stack(distributions) if drafted else torch.empty(0), drafted


def _draw(p_V: Tensor, numbers: Iterator[Tensor]) -> int:
    return int(draw(p_V[None], next(numbers)))


class _Reader:
    """A model with its cache, which follows a text that grows and whose end is taken back."""

    def __init__(self, model: CausalModel, sampling: Sampling) -> None:
        self.model, self.sampling, self.cache = model, sampling, model.new_cache()

    def read(self, tokens: Sequence[int], count: int) -> Tensor:
        """The distributions of what follows each of the last ``count`` tokens, (count, V).

        These tokens are read in any case; those before them must be the ones that were read before. That holds here: a
        rejected token is replaced by the last one of the text, which both models read next.
        """
        kept = min(self.cache.length, len(tokens) - count)
        for layer in self.cache.self_attention:
            layer.length = kept
        device = next(iter(self.model.parameters())).device
        logits_1GV = self.model(
            torch.tensor([list(tokens[kept:])], device=device),
            attention_mask=None,
            position_ids=None,
            cache=self.cache,
            logits_to_keep=count,
        )
        return distribution(logits_1GV[0], self.sampling).double()
