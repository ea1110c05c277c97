"""Predictions as text: continue a text, at once or as a stream, and fill masked places of a text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from plm_core.data.texts import read_blocks
from plm_core.data.tokenize import frame, unknown_id
from plm_core.data.tokenizers import Tokenizer
from plm_core.evaluation.modes import evaluation_mode
from plm_core.generation.constrained import Constraint
from plm_core.generation.decoding import check_prompts, stream
from plm_core.generation.sampling import Sampling
from plm_core.generation.stop_strings import StopStrings
from plm_core.models.bert import Bert
from plm_core.models.gpt import Gpt

MASK = "[MASK]"

DEFAULT = Sampling()
"""Draw from the model's distribution as it is."""

CONTEXT = 8
"""Tokens before a piece of text that are decoded with it: they decide whether a space stands between."""
HELD_BACK = 3
"""A character has at most four bytes, so that at most three tokens wait for the rest of theirs."""
INCOMPLETE = "\ufffd"
"""How a tokenizer shows bytes that are not a whole character."""

Group = tuple[int, list["Continuation"], Iterator[list[tuple[int, int]]]]
"""Prompts that are continued at once: the number of the first, their texts, and their tokens step by step."""


def continue_text(
    model: Bert | Gpt,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
) -> str:
    """One prompt and its continuation, up to the end of the document: :func:`continue_texts` for a single prompt."""
    sampling = Sampling(temperature, top_k, top_p)
    return continue_texts(model, tokenizer, [prompt], max_new_tokens=max_new_tokens, sampling=sampling, seed=seed)[0]


def continue_texts(model: Bert | Gpt, tokenizer: Tokenizer, prompts: Sequence[str], **settings: Any) -> list[str]:
    """Prompts and their continuations, each up to the end of its document; all prompts are continued at once.

    Args:
        model: a Gpt.
        tokenizer: its tokenizer.
        prompts: beginnings; an empty one begins a document.
        **settings: ``max_new_tokens`` and, optionally, ``sampling`` (:class:`~plm_core.generation.sampling.Sampling`),
            ``seed``, ``batch_size``, ``stop_strings`` and ``constraint``, as of :func:`stream_texts`.

    Returns:
        For each prompt the prompt as it was given, followed by the text of the new tokens. Special tokens are neither
        drawn, except for the end of the document, nor shown.

    Raises:
        ValueError: the model is a Bert, or a setting or prompt does not fit.
    """
    texts = list(prompts)
    for row, piece in stream_texts(model, tokenizer, prompts, **settings):
        texts[row] += piece
    return texts


def stream_texts(
    model: Bert | Gpt,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    sampling: Sampling = DEFAULT,
    seed: int | None = None,
    batch_size: int = 32,
    first: int = 0,
    stop_strings: Sequence[str] = (),
    constraint: Constraint | None = None,
) -> Iterator[tuple[int, str]]:
    """The continuations of :func:`continue_texts` as they come, for a group of prompts after the other.

    Args:
        model, tokenizer, prompts: as of :func:`continue_texts`.
        max_new_tokens: how many tokens to add at most to each prompt.
        sampling: how tokens are drawn.
        seed: seed of the draws; None takes one from torch's global generator.
        batch_size: how many prompts are continued at once; it changes nothing in the texts.
        first: the number of the first prompt, where these are a part of a larger set (see
            :func:`~plm_core.generation.decoding.stream`).
        stop_strings: a continuation ends before the first of them that it contains, wherever its tokens begin and end.
        constraint: what the continuations may be; see :mod:`plm_core.generation.constrained`.

    Yields:
        Pairs of a prompt's number and the next piece of its continuation, which holds complete characters only.

    Raises:
        ValueError: as :func:`continue_texts`, at the call.
    """
    if not isinstance(model, Gpt):
        raise ValueError("this run trained a masked model: use `plm fill-mask`; generating needs objective causal_lm")
    begin, (end,) = frame(tokenizer)
    encoded = [begin + tokenizer.encode(prompt) for prompt in prompts]
    beyond = range(tokenizer.vocab_size, model.config.vocab_size)  # ids without a token, if the model was given more
    check_prompts(encoded, model.config.max_position_embeddings)
    written = [Continuation(Detokenizer(tokenizer, ids), StopStrings(stop_strings), end) for ids in encoded]

    def group(start: int) -> Group:
        texts = written[start : start + batch_size]
        steps = stream(
            model,
            encoded[start : start + batch_size],
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            constraint=constraint,
            stop_token_id=end,
            suppressed_token_ids=[*sorted(tokenizer.special_ids - {end}), *beyond],
            seed=seed,
            first=first + start,
            ends=lambda place, token: texts[place].add(token),
        )
        return start, texts, steps

    groups = map(group, range(0, len(encoded), batch_size))
    checked = chain([next(groups)], groups)  # the first group is made now, so that a wrong setting is refused now
    return _pieces(checked)


def read_prompts(path: Path) -> list[str]:
    """The prompts in a UTF-8 file: its lines, without those that are empty.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds no prompt, or is not UTF-8.
    """
    prompts = [line for line in "".join(read_blocks(path)).split("\n") if line.strip()]
    if not prompts:
        raise ValueError(f"{path} holds no prompt: write one into each line")
    return prompts


def _pieces(groups: Iterable[Group]) -> Iterator[tuple[int, str]]:
    for start, texts, steps in groups:
        for tokens in steps:
            for place, _ in tokens:
                if piece := texts[place].take():
                    yield start + place, piece
        for place, text in enumerate(texts):
            if piece := text.rest():
                yield start + place, piece


class Continuation:
    """The text of one continuation as it grows, up to a stop string.

    Args:
        detokenizer: turns its tokens into text.
        stop: finds stop strings.
        end: the token that ends a document, which is no text.
    """

    def __init__(self, detokenizer: Detokenizer, stop: StopStrings, end: int) -> None:
        self.detokenizer, self.stop, self.end = detokenizer, stop, end
        self._new = ""

    def add(self, token: int) -> bool:
        """Add a token; return whether a stop string ends the text here."""
        if token != self.end:
            self._new += self.stop.add(self.detokenizer.add(token))
        return self.stop.stopped

    def take(self) -> str:
        """The text that has become certain and was not returned before."""
        new, self._new = self._new, ""
        return new

    def rest(self) -> str:
        """What was still held back, at the end of the continuation."""
        return self.take() + self.stop.add(self.detokenizer.rest()) + self.stop.rest()


class Detokenizer:
    """Text from tokens that come one by one.

    The text of a token depends on its neighbours: on the one before, whether a space stands between them; and where a
    character is spread over several tokens, none of them is text alone. A piece is therefore decoded with some tokens
    before it, and held back until its last character is complete.

    Args:
        tokenizer: the tokenizer.
        ids: the tokens before, such as the prompt's.
    """

    def __init__(self, tokenizer: Tokenizer, ids: Sequence[int]) -> None:
        self.tokenizer = tokenizer
        self.ids = list(ids)[-CONTEXT:]
        self.shown = len(self.decode(self.ids))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, special ones left out."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def add(self, token: int) -> str:
        """Add a token; return the text that is complete with it and was not returned before."""
        self.ids.append(token)
        text = self.decode(self.ids)
        if text.endswith(INCOMPLETE):
            complete = self.decode(self.ids[:-HELD_BACK])
            text = complete if text.startswith(complete) else ""
        return self.take(text)

    def rest(self) -> str:
        """What is still held back: bytes that the end of the text left without the rest of their character."""
        return self.take(self.decode(self.ids))

    def take(self, text: str) -> str:
        """What of the text is new; then forget tokens that no later piece depends on."""
        new = text[self.shown :]
        self.shown = max(self.shown, len(text))
        if len(self.ids) >= 4 * CONTEXT:
            text, kept = self.decode(self.ids), self.ids[-2 * CONTEXT :]
            tail = self.decode(kept)
            if text.endswith(tail) and self.shown >= len(text) - len(tail):
                self.ids, self.shown = kept, self.shown - (len(text) - len(tail))
        return new


def unknown_parts(tokenizer: Tokenizer, text: str) -> list[str]:
    """The parts of a text that are not in the vocabulary and are read as [UNK], each once, in their order."""
    encoding, unknown = tokenizer.encoding(text), unknown_id(tokenizer)
    parts = [text[start:end] for id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True) if id == unknown]
    return list(dict.fromkeys(parts))


@torch.no_grad()
def fill(model: Bert | Gpt, tokenizer: Tokenizer, text: str, *, top: int = 5) -> list[list[tuple[str, float]]]:
    """The likeliest tokens at each ``[MASK]`` of a text, with their probabilities.

    Args:
        model: a Bert.
        tokenizer: its tokenizer.
        text: a text with at least one ``[MASK]``.
        top: how many tokens for each ``[MASK]``, at least 1.

    Raises:
        ValueError: the model is a Gpt, the text has no ``[MASK]``, or ``top`` is not positive.
    """
    if not isinstance(model, Bert):
        raise ValueError("this run trained a causal model: use `plm generate`; [MASK] needs a masked objective")
    model.require_trained("mlm_head")
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    pieces = text.split(MASK)
    if len(pieces) < 2:
        raise ValueError(f"the text has no {MASK}: put one where a token is missing")
    ids = [tokenizer.cls_id]
    for number, piece in enumerate(pieces):
        ids += ([tokenizer.mask_id] if number else []) + tokenizer.encode(piece)
    ids_1T = torch.tensor([[*ids, tokenizer.sep_id]], device=next(model.parameters()).device)
    with evaluation_mode(model):
        logits_NV = model(ids_1T, masked_positions=ids_1T == tokenizer.mask_id).prediction_logits
    probabilities, tokens = logits_NV.softmax(-1).topk(min(top, tokenizer.vocab_size))
    return [
        [(tokenizer.backend.id_to_token(token) or "", p) for token, p in zip(row, row_p, strict=True)]
        for row, row_p in zip(tokens.tolist(), probabilities.tolist(), strict=True)
    ]
