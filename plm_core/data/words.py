"""Words in sequences of token ids, for every kind of tokenizer: where one begins, and which tokens are white space.

A word is what BERT's splitting calls one (Devlin et al. 2019): a run of letters, digits and signs; a punctuation mark
and a Chinese character are words of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from tokenizers import decoders, models, pre_tokenizers

from plm_core.data.bpe import BYTES
from plm_core.data.tokenizers import Tokenizer
from plm_core.data.wordpiece import is_chinese, is_punctuation


def word_starts(ids: Sequence[int], tokenizer: Tokenizer) -> list[bool]:
    """True at the tokens that begin a word; a special token and white space that stands alone begin one as well.

    A sequence put together from several texts is best given text by text: where one ends without a full stop, no rule
    can see that the next one begins.

    Args:
        ids: token ids.
        tokenizer: what made them.
    """
    backend = tokenizer.backend
    if isinstance(backend.model, models.WordPiece):
        prefix = backend.model.continuing_subword_prefix
        return [not (backend.id_to_token(token) or "").startswith(prefix) for token in ids]
    if isinstance(backend.model, models.WordLevel) and not isinstance(backend.pre_tokenizer, pre_tokenizers.Split):
        return [True] * len(ids)
    content = [b"" if token in tokenizer.special_ids else token_bytes(tokenizer, token) for token in ids]
    starts = []
    before = b""  # the end of the text so far
    for number, own in enumerate(content):
        if not own:
            starts.append(True)
            before = b""
            continue
        first = b"".join(content[number : number + 4])[:4].decode("utf-8", errors="ignore")[:1]
        last = before.decode("utf-8", errors="ignore")[-1:]
        inside_character = 0x80 <= own[0] < 0xC0
        starts.append(not inside_character and not _goes_on(last, first))
        before = (before + own)[-8:]
    return starts


def _goes_on(last: str, first: str) -> bool:
    """Whether two neighbouring characters belong to one word."""
    return bool(last and first) and _in_word(last) and _in_word(first)


def _in_word(character: str) -> bool:
    return not (character.isspace() or is_punctuation(character) or is_chinese(character))


def token_bytes(tokenizer: Tokenizer, token: int) -> bytes:
    """The UTF-8 bytes that a token stands for; those of byte-level BPE may be a part of a character."""
    text = tokenizer.backend.id_to_token(token) or ""
    if isinstance(tokenizer.backend.decoder, decoders.ByteLevel):
        return bytes(BYTES[letter] for letter in text if letter in BYTES)
    return text.replace("▁", " ").encode()


@lru_cache(maxsize=8)
def white_space_tokens(tokenizer: Tokenizer) -> np.ndarray:
    """Which ids stand for nothing but white space, bool (V,)."""
    found = np.zeros(tokenizer.vocab_size, dtype=bool)
    for token in range(tokenizer.vocab_size):
        found[token] = (
            token not in tokenizer.special_ids
            and token_bytes(tokenizer, token).decode("utf-8", errors="replace").isspace()
        )
    return found
