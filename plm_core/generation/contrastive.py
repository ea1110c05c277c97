"""Contrastive search: of the likeliest tokens, take the one whose hidden state least resembles an earlier one.

Shapes are written into names: T tokens, K candidates, D model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from plm_core.evaluation.modes import evaluation_mode
from plm_core.generation.decoding import check_prompts
from plm_core.generation.sampling import check_finite, top_tokens
from plm_core.models.gpt import Gpt
from plm_core.models.vocabulary_loss import vocabulary_logits


def contrastive_search(
    model: Gpt,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    top_k: int = 4,
    alpha: float = 0.6,
    stop_token_id: int | None = None,
) -> list[int]:
    """Continue a prompt by contrastive search, which draws nothing at random.

    Each of the K likeliest tokens is scored by (1 - alpha) times its probability, minus alpha times the largest cosine
    between its last hidden state and those of all tokens before it. The cost of a token is one forward pass with K
    rows; the cache of the chosen row is kept.

    Args:
        model: a causal language model; it is put into evaluation mode and back.
        prompt: token ids, at least one.
        max_new_tokens: how many tokens to add at most; prompt and continuation must fit into the model's context.
        top_k: K, at least 1; 1 is greedy search.
        alpha: weight of the dissimilarity, from 0 (greedy search) to 1.
        stop_token_id: the sequence ends where it has written this token.

    Returns:
        The prompt and its continuation.

    Raises:
        ValueError: a setting outside its range, an empty prompt, one that leaves no room for ``max_new_tokens``, or
            logits that are not finite.

    Source: Su et al. (2022), "A contrastive framework for neural text generation".
    """
    context, vocabulary = model.config.max_position_embeddings, model.config.vocab_size
    check_prompts([prompt], context)
    if max_new_tokens < 0 or (context is not None and len(prompt) + max_new_tokens > context):
        raise ValueError(
            f"a prompt of {len(prompt)} tokens and {max_new_tokens} new ones do not fit a context of {context}"
        )
    if not 1 <= top_k <= vocabulary or not 0 <= alpha <= 1:
        raise ValueError(f"top_k must lie in 1 to {vocabulary} and alpha in 0 to 1, got {top_k} and {alpha}")
    tokens = list(prompt)
    device = next(model.parameters()).device
    with evaluation_mode(model, keep_random_state=False), torch.inference_mode():
        cache = model.new_cache()
        states_TD = model.hidden_states(torch.tensor([tokens], device=device), cache=cache)[0]
        last_D, seen_TD = states_TD[-1], normalize(states_TD, dim=-1)
        while len(tokens) < len(prompt) + max_new_tokens:
            logits_1V = vocabulary_logits(model.lm_head, last_D[None, None])[0].float()
            check_finite(logits_1V.amax(-1))
            tokens_K = top_tokens(logits_1V, top_k)[0]
            cache.select(torch.zeros(top_k, dtype=torch.long, device=device))
            states_KD = model.hidden_states(tokens_K[:, None], cache=cache)[:, 0]
            scores_K = contrast(logits_1V.softmax(-1)[0, tokens_K], states_KD, seen_TD, alpha)
            best_1 = scores_K.argmax()[None]
            cache.select(best_1)
            last_D = states_KD[best_1[0]]
            seen_TD = torch.cat((seen_TD, normalize(last_D, dim=-1)[None]))
            tokens.append(int(tokens_K[best_1[0]]))
            if tokens[-1] == stop_token_id:
                break
    return tokens


def contrast(probabilities_K: Tensor, states_KD: Tensor, seen_TD: Tensor, alpha: float) -> Tensor:
    """The scores of candidates, (K,): likely and unlike the text so far is high.

    Args:
        probabilities_K: of the candidates.
        states_KD: their last hidden states.
        seen_TD: the last hidden states of all tokens so far, each divided by its length.
        alpha: weight of the dissimilarity.
    """
    similarity_K = (normalize(states_KD, dim=-1) @ seen_TD.T).amax(-1)
    return (1 - alpha) * probabilities_K - alpha * similarity_K
