"""Text to token ids and back: characters, words, byte-level BPE and WordPiece, over the Hugging Face library.

The algorithms that chapter 02 builds stand in :mod:`plm_core.data.bpe` and :mod:`plm_core.data.wordpiece`, and a test
shows that this module gives the same ids; the work is done by the ``tokenizers`` library, which is many times faster.

What decoding gives back (``normalise`` is :meth:`Tokenizer.normalise`):

=============  ==================================================================================================
characters     ``decode(encode(x)) == normalise(x)`` if every character is in the vocabulary; others become [UNK]
BPE            ``decode(encode(x)) == normalise(x)`` for every string: bytes have no unknowns
words          equal after all white space is removed, if every word is in the vocabulary
WordPiece      equal after all white space is removed, if every letter is in the vocabulary, alone and as ##letter
=============  ==================================================================================================
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

import tokenizers
import torch
from tokenizers import Encoding, models
from torch import Tensor

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[BOS]", "[EOS]")
"""The same seven in every tokenizer, as ids 0 to 6, so that one tokenizer serves every model family."""

MAX_REMEMBERED = 2**17
"""How many words a tokenizer remembers the ids of; they take some 30 MB."""
MAX_REMEMBERED_LENGTH = 40
"""Longer stretches without a blank are not remembered: they will hardly come again. Chinese text has many."""

_BORDER = re.compile(r"(?<=\S)(?= \S)")
"""Before a blank that stands alone between two characters. No tokenizer here makes a token across it."""

Truncation = Literal["longest_first", "only_first", "only_second"]
Batch = dict[str, Tensor]


class Tokenizer:
    """A trained tokenizer. Train one with :mod:`plm_core.data.tokenizer_training`, or read one by :meth:`load`.

    Args:
        backend: a tokenizer of the ``tokenizers`` library that has the seven :data:`SPECIAL_TOKENS` as ids 0 to 6.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        for index, token in enumerate(SPECIAL_TOKENS):
            if backend.token_to_id(token) != index:
                raise ValueError(
                    f"the tokenizer has {token} as id {backend.token_to_id(token)}, expected {index}: "
                    f"train it with plm_core.data.tokenizer_training, or use its own library for it"
                )
        backend.encode_special_tokens = True  # "[MASK]" inside a text is six characters, not an instruction
        self.backend = backend
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id, self.bos_id, self.eos_id = range(7)
        self.special_ids = frozenset(range(len(SPECIAL_TOKENS)))
        self.vocab_size: int = backend.get_vocab_size()
        self._known: dict[str, list[int]] = {}
        highest = max(backend.get_vocab().values())
        if highest >= self.vocab_size:
            raise ValueError(
                f"the tokenizer's file is inconsistent: it has {self.vocab_size} tokens, but token id {highest} is out "
                f"of range (0 to {self.vocab_size - 1}); train it again"
            )

    def __len__(self) -> int:
        return self.vocab_size

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of everything that decides which ids a text gets; token files carry it."""
        return hashlib.sha256(self.backend.to_str().encode()).hexdigest()

    def normalise(self, text: str) -> str:
        """The text as the model will see it: Unicode form and case as they were chosen at training."""
        normalizer = self.backend.normalizer
        return text if normalizer is None else normalizer.normalize_str(text)

    def encode(self, text: str, pair: str | None = None, *, add_special_tokens: bool = False) -> list[int]:
        """Token ids of a text, or of two.

        Args:
            text: any string.
            pair: a second text, for tasks on two.
            add_special_tokens: frame the ids as ``[CLS] text [SEP]`` or ``[CLS] text [SEP] pair [SEP]``.
        """
        return self.encoding(text, pair, add_special_tokens=add_special_tokens).ids

    def encoding(self, text: str, pair: str | None = None, *, add_special_tokens: bool = False) -> Encoding:
        """All that is known about the tokens of a text: ``ids``, ``tokens``, ``offsets`` (from and to which character
        of the text each token goes), ``word_ids``, ``type_ids`` and ``special_tokens_mask``."""
        return self.backend.encode(text, pair, add_special_tokens=add_special_tokens)

    def encode_all(self, texts: Sequence[str], *, add_special_tokens: bool = False) -> list[list[int]]:
        """Token ids of many texts: what :meth:`encode` gives for each, many times faster.

        A text is cut at blanks that no token crosses. Most of the pieces are words that have been seen before; what the
        library said about them is remembered, and it is asked, on all cores, about the others.
        """
        cut = [_BORDER.split(text) for text in texts]
        known = self._known
        new = list({piece for pieces in cut for piece in pieces if piece not in known})
        if len(known) + len(new) > MAX_REMEMBERED:
            known.clear()
            new = list({piece for pieces in cut for piece in pieces})
        encodings = self.backend.encode_batch_fast(new, add_special_tokens=False)
        known.update(zip(new, (encoding.ids for encoding in encodings), strict=True))
        encoded = [list(chain.from_iterable(map(known.__getitem__, pieces))) for pieces in cut]
        for piece in new:
            if len(piece) > MAX_REMEMBERED_LENGTH:
                del known[piece]
        return [[self.cls_id, *ids, self.sep_id] for ids in encoded] if add_special_tokens else encoded

    def tokens(self, text: str) -> list[str]:
        """The tokens as people read them: BPE's bytes are shown as text where they are whole characters."""
        if not isinstance(self.backend.model, models.BPE):
            return self.encoding(text).tokens
        return [self.decode([token]) for token in self.encode(text)]

    def decode(self, ids: Sequence[int] | Tensor, *, skip_special_tokens: bool = False) -> str:
        """The text of token ids; the table at the head of this module says how near it comes to the original.

        Raises:
            ValueError: an id is out of range.
        """
        listed = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        for position, token in enumerate(listed):
            if not 0 <= token < self.vocab_size:
                raise ValueError(
                    f"token id {token} at position {position} is out of range: this tokenizer has ids 0 to "
                    f"{self.vocab_size - 1}. Was the text encoded by another tokenizer?"
                )
        return self.backend.decode(listed, skip_special_tokens=skip_special_tokens)

    def batch(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        max_length: int | None = None,
        truncation: Truncation | None = None,
        add_special_tokens: bool = True,
    ) -> Batch:
        """Encode texts to tensors, padded on the right to the longest of them.

        Args:
            texts: B texts.
            pairs: B second texts, or None.
            max_length: the longest sequence allowed, in tokens with special ones; None for no limit.
            truncation: what to cut where a sequence is longer. None cuts nothing and raises instead: what is cut is
                lost silently, and in a question-answering task it may be the answer (see :meth:`windows`).
            add_special_tokens: as in :meth:`encode`.

        Returns:
            ``input_ids`` (B, T) int64, ``attention_mask`` (B, T) bool with True for real tokens, ``token_type_ids``
            (B, T) int64 with 1 for the second text.

        Raises:
            ValueError: a sequence is longer than ``max_length``, or ``pairs`` has another length than ``texts``.
        """
        if pairs is not None and len(pairs) != len(texts):
            raise ValueError(f"{len(texts)} texts and {len(pairs)} pairs: give one pair for each text")
        if max_length is not None and truncation is not None:
            self.backend.enable_truncation(max_length, strategy=truncation)
        try:
            inputs = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
            encodings = self.backend.encode_batch(inputs, add_special_tokens=add_special_tokens)
        finally:
            self.backend.no_truncation()
        for number, encoding in enumerate(encodings):
            if max_length is not None and len(encoding) > max_length:
                raise ValueError(
                    f"text {number} has {len(encoding)} tokens, the limit is {max_length}: choose a truncation "
                    f"('longest_first', 'only_first', 'only_second'), use windows(), or raise the limit"
                )
        return {
            "input_ids": pad([encoding.ids for encoding in encodings], self.pad_id),
            "attention_mask": pad([[1] * len(encoding) for encoding in encodings], 0).bool(),
            "token_type_ids": pad([encoding.type_ids for encoding in encodings], 0),
        }

    def windows(self, question: str, context: str, *, max_length: int, stride: int) -> list[Encoding]:
        """Cut a context that is too long into overlapping windows, each after the whole question.

        Args:
            question, context: the two texts.
            max_length: tokens of one window, with question and special tokens.
            stride: tokens by which two neighbouring windows overlap.

        Returns:
            Encodings whose ``offsets`` point into the whole context; together they hold every token of it.

        Raises:
            ValueError: the question leaves no room for more than ``stride`` tokens of context.
        """
        room = max_length - len(self.encode(question)) - 3
        if room <= stride:
            raise ValueError(
                f"max_length {max_length} leaves room for {room} tokens of context, which must be more than the "
                f"stride {stride}: raise max_length, or lower the stride"
            )
        self.backend.enable_truncation(max_length, stride=stride, strategy="only_second")
        try:
            first = self.backend.encode(question, context)
        finally:
            self.backend.no_truncation()
        return [first, *first.overflowing]

    def save(self, folder: str | Path) -> Path:
        """Write a folder that :meth:`load` and Hugging Face's ``AutoTokenizer.from_pretrained`` read."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.backend.save(str(folder / "tokenizer.json"))
        names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token", "bos_token", "eos_token")
        config: dict[str, object] = {"tokenizer_class": "PreTrainedTokenizerFast", "split_special_tokens": True}
        config["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
        config |= dict(zip(names, SPECIAL_TOKENS, strict=True))
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        return folder

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read a tokenizer from a folder of :meth:`save`, or from its ``tokenizer.json``.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is no tokenizer, or not one of this module.
        """
        path = Path(path)
        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            raise FileNotFoundError(f"no tokenizer at {path}: expected a folder with tokenizer.json, or that file")
        try:
            backend = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare Exception
            raise ValueError(f"{file} is not a tokenizer.json of the tokenizers library: {error}") from error
        return cls(backend)


def pad(sequences: Sequence[Sequence[int]], value: int, *, multiple_of: int = 1) -> Tensor:
    """Stack sequences of integers into one int64 tensor (B, T), filled up on the right.

    Args:
        sequences: B sequences.
        value: what fills the shorter ones.
        multiple_of: round T up to a multiple of this (GPUs like 8).
    """
    longest = max(map(len, sequences), default=0)
    padded = torch.full((len(sequences), -(-longest // multiple_of) * multiple_of), value, dtype=torch.int64)
    for row, sequence in enumerate(sequences):
        padded[row, : len(sequence)] = torch.as_tensor(sequence, dtype=torch.int64)
    return padded
