"""Predictions for people: fill the blanks of a text, continue a text."""

from __future__ import annotations

from typing import Any

import torch

from plm_core.data.tokenizers import Tokenizer
from plm_core.generation.decoding import generate
from plm_core.models.bert import Bert
from plm_core.models.gpt import Gpt

MASK = "[MASK]"


@torch.no_grad()
def fill(model: Bert | Gpt, tokenizer: Tokenizer, text: str, *, top: int = 5) -> list[list[tuple[str, float]]]:
    """The likeliest tokens at each ``[MASK]`` of a text, with their probabilities.

    Args:
        model: a Bert.
        tokenizer: its tokenizer.
        text: a text with one blank or more.
        top: how many tokens for each blank.

    Raises:
        ValueError: the model is a Gpt, or the text has no blank.
    """
    if not isinstance(model, Bert):
        raise ValueError("this run trained a causal model: use `plm generate`; filling blanks needs a masked objective")
    pieces = text.split(MASK)
    if len(pieces) < 2:
        raise ValueError(f"the text has no {MASK}: put one where a token is missing")
    ids = [tokenizer.cls_id]
    for number, piece in enumerate(pieces):
        ids += ([tokenizer.mask_id] if number else []) + tokenizer.encode(piece)
    ids_1T = torch.tensor([[*ids, tokenizer.sep_id]])
    logits_NV = model.eval()(ids_1T, masked_positions=ids_1T == tokenizer.mask_id).prediction_logits
    assert logits_NV is not None
    probabilities, tokens = logits_NV.softmax(-1).topk(min(top, tokenizer.vocab_size))
    return [
        [(tokenizer.backend.id_to_token(token) or "", p) for token, p in zip(row, row_p, strict=True)]
        for row, row_p in zip(tokens.tolist(), probabilities.tolist(), strict=True)
    ]


def continue_text(model: Bert | Gpt, tokenizer: Tokenizer, prompt: str, **settings: Any) -> str:
    """Prompt and continuation as text, up to the end of the document.

    Args:
        model: a Gpt.
        tokenizer: its tokenizer.
        prompt: the beginning; empty begins a document.
        **settings: of :func:`plm_core.generation.sampling.generate`.

    Raises:
        ValueError: the model is a Bert, or a setting or prompt does not fit.
    """
    if not isinstance(model, Gpt):
        raise ValueError("this run trained a masked model: use `plm fill-mask`; generating needs objective causal_lm")
    start = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(prompt)]])
    ids = generate(model, start, stop_token_id=tokenizer.eos_id, **settings)[0].tolist()
    return tokenizer.decode([token for token in ids[1:] if token != tokenizer.eos_id])
