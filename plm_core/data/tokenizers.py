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
from typing import Any

import tokenizers
import torch
from tokenizers import Encoding, models
from torch import Tensor

from plm_core.data.encodings import Truncation, check_text, truncate
from plm_core.data.special_tokens import ROLES, TokenizerSettings, parse_tokenizer, read_settings, usual_special_tokens
from plm_core.files import read_text

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[BOS]", "[EOS]")
"""The same seven in every tokenizer of ours, as ids 0 to 6, so that one tokenizer serves every model family."""

MAX_REMEMBERED = 2**17
"""Number of words whose ids a tokenizer caches; they take some 30 MB."""
MAX_REMEMBERED_LENGTH = 40
"""The longest stretch without a space whose ids are cached: longer ones, frequent in Chinese, seldom occur again."""

_BORDER = re.compile(r"(?<=\S)(?= \S)")
"""The place before a single space between two characters. No tokenizer here makes a token across it."""

Batch = dict[str, Tensor]


def _id_of(role: str, doc: str) -> Any:
    """The property of a tokenizer that gives the id of a role, or raises ValueError where it has no such token."""
    return property(lambda tokenizer: tokenizer.token_id(role), doc=doc)


class Tokenizer:
    """A trained tokenizer. Train one with :mod:`plm_core.data.tokenizer_training`, or read one by :meth:`load`.

    Ours have the seven :data:`SPECIAL_TOKENS` as ids 0 to 6. A tokenizer made elsewhere keeps its own ids, special
    tokens and normalisation; its settings name the role of each special token.

    Args:
        backend: a tokenizer of the ``tokenizers`` library.
        settings: roles and limits of a tokenizer that is not ours; by default the roles follow from the usual
            spellings of special tokens.

    Raises:
        ValueError: a vocabulary of ours whose ids have gaps.
    """

    def __init__(self, backend: tokenizers.Tokenizer, settings: TokenizerSettings | None = None) -> None:
        self.is_ours = all(backend.token_to_id(token) == index for index, token in enumerate(SPECIAL_TOKENS))
        if self.is_ours:  # "[MASK]" inside a text is six characters, not an instruction
            length = None if settings is None else settings.max_length
            settings = TokenizerSettings(dict(zip(ROLES, SPECIAL_TOKENS, strict=True)), length, True)
        elif settings is None:
            settings = TokenizerSettings(usual_special_tokens(backend))
        self.backend, self.settings = backend, settings
        self.truncation = backend.truncation
        backend.no_truncation()  # a text is cut only if the caller chooses a truncation
        backend.no_padding()
        backend.encode_special_tokens = settings.split_special_tokens
        self._ids: dict[str, int] = {}
        for role, token in settings.special_tokens.items():
            token_id = backend.token_to_id(token)
            if token_id is None:
                raise ValueError(f"{role} {token!r} is not in the tokenizer's vocabulary")
            self._ids[role] = token_id
        added = backend.get_added_tokens_decoder()
        self.special_ids = frozenset(self._ids.values()) | {id for id, token in added.items() if token.special}
        self._known: dict[str, list[int]] = {}
        highest = max(backend.get_vocab().values(), default=-1)
        self.vocab_size: int = backend.get_vocab_size() if self.is_ours else highest + 1
        if highest >= self.vocab_size or highest < 0:
            raise ValueError(
                f"the tokenizer's file is inconsistent: it has {self.vocab_size} tokens, but token id {highest} is out "
                f"of range (0 to {self.vocab_size - 1}); train it again"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is read anew: the library's own copies forget how special tokens in a text are read."""
        return _reopened, (self.backend.to_str(), self.settings)

    def token_id(self, role: str) -> int:
        """The id of the token with a role, such as ``"mask_token"``.

        Raises:
            ValueError: the tokenizer has no such token.
        """
        if role not in self._ids:
            has = ", ".join(f"{role} {token}" for role, token in self.settings.special_tokens.items()) or "none"
            raise ValueError(
                f"this tokenizer has no {role}, which is needed here; its special tokens: {has}. Use a tokenizer and a "
                "model that were made for this task"
            )
        return self._ids[role]

    @property
    def pad_id(self) -> int:
        """What fills short rows. A tokenizer without padding (GPT-2's) lends its end token: masks hide it anyway."""
        return self.token_id("pad_token" if "pad_token" in self._ids else "eos_token")

    unk_id = _id_of("unk_token", "The token of what is not in the vocabulary.")
    cls_id = _id_of("cls_token", "The first token of an encoder's input.")
    sep_id = _id_of("sep_token", "What stands after each text of an encoder's input.")
    mask_id = _id_of("mask_token", "What stands for a hidden token.")
    bos_id = _id_of("bos_token", "The first token of a document.")
    eos_id = _id_of("eos_token", "The last token of a document.")

    def __len__(self) -> int:
        return self.vocab_size

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of everything that decides which ids a text gets; token files carry it."""
        content = self.backend.to_str()
        if not self.is_ours:
            content += json.dumps([sorted(self._ids.items()), self.settings.split_special_tokens])
        return hashlib.sha256(content.encode()).hexdigest()

    def normalise(self, text: str) -> str:
        """The text as the model will see it: Unicode form and case as they were chosen at training."""
        normalizer = self.backend.normalizer
        return text if normalizer is None else normalizer.normalize_str(text)

    def encode(self, text: str, pair: str | None = None, *, add_special_tokens: bool = False) -> list[int]:
        """Token ids of a text, or of two.

        Args:
            text: any string.
            pair: a second text, for tasks on two.
            add_special_tokens: frame the ids as ``[CLS] text [SEP]`` or ``[CLS] text [SEP] pair [SEP]``; a tokenizer
                made elsewhere frames them in its own way.

        Raises:
            ValueError: a text with half a surrogate pair, which is no character.
        """
        return self.encoding(text, pair, add_special_tokens=add_special_tokens).ids

    def encoding(self, text: str, pair: str | None = None, *, add_special_tokens: bool = False) -> Encoding:
        """All that is known about the tokens of a text: ``ids``, ``tokens``, ``offsets`` (from and to which character
        of the text each token goes), ``word_ids``, ``type_ids`` and ``special_tokens_mask``."""
        check_text(text, pair or "")
        return self.backend.encode(text, pair, add_special_tokens=add_special_tokens)

    def encode_all(self, texts: Sequence[str], *, add_special_tokens: bool = False) -> list[list[int]]:
        """Token ids of many texts: what :meth:`encode` gives for each, many times faster.

        A text is cut at spaces that no token of ours crosses. Most of the pieces are words that have occurred before;
        their ids are cached, and the library encodes the others, on all cores.

        Raises:
            ValueError: a text with half a surrogate pair, which is no character.
        """
        check_text(*texts)
        if not self.is_ours:
            encodings = self.backend.encode_batch_fast(texts, add_special_tokens=add_special_tokens)
            return [encoding.ids for encoding in encodings]
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
        """The text of token ids; the table at the head of this module states how it differs from the original.

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
            ValueError: a sequence is longer than ``max_length``, ``pairs`` has another length than ``texts``, or a
                text holds half a surrogate pair.
        """
        if pairs is not None and len(pairs) != len(texts):
            raise ValueError(f"{len(texts)} texts and {len(pairs)} pairs: give one pair for each text")
        check_text(*texts, *(pairs or ()))
        firsts = self.backend.encode_batch(list(texts), add_special_tokens=False)
        seconds: list[Encoding] | list[None] = [None] * len(texts)
        if pairs is not None:
            seconds = self.backend.encode_batch(list(pairs), add_special_tokens=False)
        framing = self.backend.num_special_tokens_to_add(pairs is not None) if add_special_tokens else 0
        encodings = []
        for first, second in zip(firsts, seconds, strict=True):
            if max_length is not None and truncation is not None:
                truncate(first, second, max_length - framing, truncation)
            encodings.append(self.backend.post_process(first, second, add_special_tokens))
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
        room = max_length - len(self.encode(question)) - self.backend.num_special_tokens_to_add(is_pair=True)
        if room <= stride:
            raise ValueError(
                f"max_length {max_length} leaves room for {room} tokens of context, which must be more than the "
                f"stride {stride}: raise max_length, or lower the stride"
            )
        question_encoding = self.backend.encode(question, add_special_tokens=False)
        context_encoding = self.backend.encode(context, add_special_tokens=False)
        context_encoding.truncate(room, stride=stride)
        windows = (context_encoding, *context_encoding.overflowing)
        return [self.backend.post_process(question_encoding, window) for window in windows]

    def save(self, folder: str | Path) -> Path:
        """Write a folder that :meth:`load` and Hugging Face's ``AutoTokenizer.from_pretrained`` read."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        stored = tokenizers.Tokenizer.from_str(self.backend.to_str())
        if self.truncation is not None:  # that of a tokenizer made elsewhere
            stored.enable_truncation(**self.truncation)
        stored.save(str(folder / "tokenizer.json"))
        config: dict[str, object] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "split_special_tokens": self.settings.split_special_tokens,
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
            **{role: self.settings.special_tokens.get(role) for role in ROLES},
        }
        if self.settings.max_length is not None:
            config["model_max_length"] = self.settings.max_length
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        return folder

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read a tokenizer from a folder with ``tokenizer.json``, ours or Hugging Face's, or from that file.

        Raises FileNotFoundError if there is none, and ValueError if it, or what stands beside it, is damaged.
        """
        path = Path(path)
        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            raise FileNotFoundError(f"no tokenizer at {path}: expected a folder with tokenizer.json, or that file")
        backend = parse_tokenizer(read_text(file, "tokenizer"), file)
        return cls(backend, read_settings(file.parent, backend))


def _reopened(content: str, settings: TokenizerSettings) -> Tokenizer:
    return Tokenizer(parse_tokenizer(content, "the copy"), settings)


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
