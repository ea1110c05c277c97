"""Beam search from text to text: the likeliest continuations that a causal model can write."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from plm_core.data.tokenize import frame
from plm_core.data.tokenizers import Tokenizer
from plm_core.evaluation.modes import evaluation_mode
from plm_core.generation.beam import Beam, search
from plm_core.generation.candidates import PromptRows
from plm_core.generation.decoding import check_prompts
from plm_core.generation.text import Detokenizer
from plm_core.models.bert import Bert
from plm_core.models.gpt import Gpt


def search_texts(model: Bert | Gpt, tokenizer: Tokenizer, prompts: Sequence[str], beam: Beam) -> list[str]:
    """Prompts and their best continuations by beam search, each up to the end of its document.

    Args:
        model: a Gpt.
        tokenizer: its tokenizer.
        prompts: beginnings; an empty one begins a document.
        beam: how to search; only the best output is shown.

    Returns:
        For each prompt the prompt as it was given, followed by the text of the new tokens. Special tokens are neither
        written, except for the end of the document, nor shown.

    Raises:
        ValueError: the model is a Bert, or prompt and continuation do not fit the model's context.
    """
    if not isinstance(model, Gpt):
        raise ValueError("this run trained a masked model: use `plm fill-mask`; generating needs objective causal_lm")
    begin, (end,) = frame(tokenizer)
    encoded = [begin + tokenizer.encode(prompt) for prompt in prompts]
    context = model.config.max_position_embeddings
    check_prompts(encoded, context)
    longest = max(map(len, encoded)) + beam.max_new_tokens - 1  # the last token is written and not read
    if context is not None and longest > context:
        raise ValueError(
            f"prompt and continuation may have {longest} tokens, the model's context is {context}: beam search takes "
            f"max_new_tokens of at most {context + 1 - max(map(len, encoded))} here"
        )
    beyond = range(tokenizer.vocab_size, model.config.vocab_size)
    suppressed = [*sorted(tokenizer.special_ids - {end}), *beyond]
    texts = []
    with evaluation_mode(model, keep_random_state=False), torch.inference_mode():
        for prompt, ids in zip(prompts, encoded, strict=True):
            rows = PromptRows(model, [ids], beam.width, suppressed=suppressed)
            ((best, *_),) = search(rows, 1, beam, stop_token_id=end, device=rows.device)
            text = Detokenizer(tokenizer, ids)
            written = [text.add(token) for token in best.tokens if token != end]
            texts.append(prompt + "".join(written) + text.rest())
    return texts
