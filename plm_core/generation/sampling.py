"""Generation token by token: greedy, temperature, top-k and nucleus sampling, with the key-value cache."""

from __future__ import annotations

import torch
from torch import Tensor

from plm_core.models.gpt import Gpt


def next_token_probabilities(
    logits_BV: Tensor, *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """The distribution that the next token is drawn from.

    First the temperature sharpens (below 1) or flattens (above 1) the distribution; then top-k keeps the k likeliest
    tokens; then top-p keeps the smallest set of likeliest tokens that holds at least the probability p.

    Args:
        logits_BV: (B, V).
        temperature: positive; 0 puts everything on the likeliest token (greedy).
        top_k: at least 1, or None to keep all.
        top_p: in (0, 1], or None to keep all (Holtzman et al. 2020, "nucleus").

    Returns:
        Probabilities, (B, V), in fp32.

    Raises:
        ValueError: a setting outside its range.
    """
    if temperature < 0:
        raise ValueError(f"the temperature must not be negative, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must lie in (0, 1], got {top_p}")
    logits_BV = logits_BV.float()
    if temperature == 0:
        return torch.zeros_like(logits_BV).scatter(-1, logits_BV.argmax(-1, keepdim=True), 1.0)
    probabilities_BV = (logits_BV / temperature).softmax(-1)
    if top_k is None and top_p is None:
        return probabilities_BV
    sorted_BV, order_BV = probabilities_BV.sort(dim=-1, descending=True, stable=True)
    if top_k is not None:
        sorted_BV[:, top_k:] = 0.0
        sorted_BV = sorted_BV / sorted_BV.sum(-1, keepdim=True)
    if top_p is not None:
        before_BV = sorted_BV.cumsum(-1) - sorted_BV  # the probability of all likelier tokens
        sorted_BV = sorted_BV.masked_fill(before_BV >= top_p, 0.0)  # the first token always stays
        sorted_BV = sorted_BV / sorted_BV.sum(-1, keepdim=True)
    return torch.zeros_like(sorted_BV).scatter(-1, order_BV, sorted_BV)


@torch.no_grad()
def generate(
    model: Gpt,
    prompt_BT: Tensor,
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop_token_id: int | None = None,
    seed: int | None = None,
) -> Tensor:
    """Continue prompts of equal length.

    The cache makes a token cost one position instead of the whole text. When the model's context is full, the older
    half of it is forgotten and the cache is filled again with the newer half.

    Args:
        model: a causal language model; it is put into evaluation mode and back.
        prompt_BT: token ids, (B, T), at least one token.
        max_new_tokens: how many tokens to add at most.
        temperature, top_k, top_p: see :func:`next_token_probabilities`.
        stop_token_id: a row that has drawn it repeats it to the end; when all rows have, generation stops.
        seed: seed of the draws; None uses torch's global generator.

    Returns:
        Prompt and continuation, (B, at most T + max_new_tokens).

    Raises:
        ValueError: an empty prompt, or one that is longer than the model's context.
    """
    if prompt_BT.shape[1] < 1:
        raise ValueError("the prompt is empty: give at least one token, for example the one that begins a document")
    context = model.config.max_position_embeddings
    if context is not None and prompt_BT.shape[1] > context:
        raise ValueError(f"the prompt has {prompt_BT.shape[1]} tokens and the model's context {context}: shorten it")
    generator = None if seed is None else torch.Generator(prompt_BT.device).manual_seed(seed)
    was_training = model.training
    model.eval()
    ids_BT, cache, unread_BT = prompt_BT, model.new_cache(), prompt_BT
    stopped_B1 = torch.zeros(len(prompt_BT), 1, dtype=torch.bool, device=prompt_BT.device)
    try:
        for _ in range(max_new_tokens):
            if context is not None and cache.length + unread_BT.shape[1] > context:
                cache.clear()
                unread_BT = ids_BT[:, -max(1, context // 2) :]
            logits_BV = model(unread_BT, cache=cache, logits_to_keep=1)[:, -1]
            probabilities_BV = next_token_probabilities(logits_BV, temperature=temperature, top_k=top_k, top_p=top_p)
            unread_BT = torch.multinomial(probabilities_BV, 1, generator=generator)
            if stop_token_id is not None:
                unread_BT = unread_BT.masked_fill(stopped_B1, stop_token_id)
                stopped_B1 |= unread_BT == stop_token_id
            ids_BT = torch.cat((ids_BT, unread_BT), dim=1)
            if stop_token_id is not None and bool(stopped_B1.all()):
                break
    finally:
        model.train(was_training)
    return ids_BT
