"""Sources of training batches: each a pure function of the batch's number.

Epochs, shuffling and corruption follow from the number and the seed, so the position in the data is one integer; a
resumed run needs nothing else. Shapes: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from plm_core.data.batch import Batch, LazyBatches, padding_mask, sequence_layout
from plm_core.data.labels import next_token_labels
from plm_core.data.masking import Masker
from plm_core.data.packing import Piece, collate_packed, pack
from plm_core.data.sampler import Sampler
from plm_core.data.sentence_pairs import SentencePairs
from plm_core.data.tokenizers import Tokenizer, pad


class WindowBatches:
    """Windows of one long text, each beginning at a random place: the simplest source for a causal model.

    Args:
        ids: the text as token ids, (N,); an array or a memory map of one.
        context: tokens of a window, T.
        batch_size: windows of a batch, B.
        seed: decides where the windows begin.

    Raises:
        ValueError: the text is too short for one window and its last label.
    """

    def __init__(self, ids: np.ndarray, *, context: int, batch_size: int, seed: int) -> None:
        if len(ids) < context + 1:
            raise ValueError(
                f"the corpus has {len(ids)} tokens, a context of {context} needs at least {context + 1}: "
                "use a shorter context or more text"
            )
        self.ids, self.context, self.batch_size, self.seed = ids, context, batch_size, seed

    def batch(self, index: int) -> Batch:
        """The batch of that number: ``input_ids`` and ``labels``, (B, T) each."""
        generator = np.random.default_rng([self.seed, index])
        starts = generator.integers(len(self.ids) - self.context, size=self.batch_size)
        return self._windows(starts)

    def in_order(self) -> list[Batch]:
        """The whole text once, in windows side by side: for validation. A rest that fills no window is left out."""
        starts = np.arange(0, len(self.ids) - self.context, self.context)
        return [
            self._windows(starts[first : first + self.batch_size]) for first in range(0, len(starts), self.batch_size)
        ]

    def _windows(self, starts: np.ndarray) -> Batch:
        rows = np.stack([self.ids[start : start + self.context + 1] for start in starts]).astype(np.int64)
        windows = torch.from_numpy(rows)
        return {"input_ids": windows[:, :-1].contiguous(), "labels": windows[:, 1:].contiguous()}


class PackedBatches:
    """Whole documents packed into rows; no token attends to, or is predicted from, another document.

    Args:
        documents: token ids of each document.
        row_length: tokens of a row, T.
        batch_size: rows of a batch, B; the last batch of an epoch may have fewer.
        pad_id: what fills the end of a row.
        seed: decides the order of the rows, anew in every epoch.
    """

    def __init__(
        self, documents: Sequence[Tensor], *, row_length: int, batch_size: int, pad_id: int, seed: int
    ) -> None:
        self.documents, self.row_length, self.pad_id = documents, row_length, pad_id
        self.rows = pack([len(document) for document in documents], row_length)
        self.sampler = Sampler(len(self.rows), batch_size, seed=seed)

    def batch(self, index: int) -> Batch:
        """The batch of that number: ids, labels and positions, (B, T), a mask, (B, T, T), and where the documents are.

        ``token_indices``, (N,), are the positions of its N real tokens, ``cu_seqlens``, (S + 1,), where each of its S
        documents begins and ends among them.
        """
        _, numbers = self.sampler.batch(index)
        return self._collate([self.rows[number] for number in numbers])

    def in_order(self) -> LazyBatches:
        """Every row once: for validation."""
        return LazyBatches(self.sampler.in_order(), lambda group: self._collate([self.rows[row] for row in group]))

    def _collate(self, rows: list[list[Piece]]) -> Batch:
        packed = collate_packed(self.documents, rows, row_length=self.row_length, pad_id=self.pad_id)
        return {
            "input_ids": packed.input_ids,
            "labels": packed.next_token_labels(),
            "position_ids": packed.position_ids,
            "attention_mask": packed.attention_mask,
            **sequence_layout(packed.document_ids >= 0, [len(piece) for row in rows for piece in row]),
        }


class PaddedBatches:
    """One document per row, for models that cannot keep packed documents apart.

    Rows of a batch have similar lengths and are padded on the right, where no real token of a causal
    model attends to it; so there is no mask, only labels that leave the padding out.

    Args:
        documents: token ids of each document.
        batch_size: rows of a batch, B.
        pad_id: what fills the shorter rows.
        seed: decides the order, anew in every epoch.

    Raises:
        ValueError: no document.
    """

    def __init__(self, documents: Sequence[Sequence[int]], *, batch_size: int, pad_id: int, seed: int) -> None:
        if not documents:
            raise ValueError("the corpus is empty: there is no document")
        self.documents, self.pad_id = documents, pad_id
        lengths = [len(document) for document in documents]
        self.sampler = Sampler(len(documents), batch_size, seed=seed, lengths=lengths)

    def batch(self, index: int) -> Batch:
        """The batch of that number: ids and labels, (B, T) each, T the longest row's length.

        ``token_indices`` and ``cu_seqlens`` locate its documents, as in :class:`PackedBatches`.
        """
        _, numbers = self.sampler.batch(index)
        return self._collate(numbers)

    def in_order(self) -> LazyBatches:
        """Every document once: for validation."""
        return LazyBatches(self.sampler.in_order(), self._collate)

    def _collate(self, numbers: Sequence[int]) -> Batch:
        rows = [self.documents[number] for number in numbers]
        lengths = [len(row) for row in rows]
        ids, real = pad(rows, self.pad_id), padding_mask(lengths)
        return {
            "input_ids": ids,
            "labels": next_token_labels(ids, attention_mask=real),
            **sequence_layout(real, lengths),
        }


class MaskedBatches:
    """One text per row, corrupted for masked language modelling: ``[CLS] text [SEP]``, padded to the longest.

    Args:
        texts: token ids of each text, special tokens not included; read when a batch needs them.
        tokenizer: gives the special tokens.
        masker: corrupts the rows.
        max_length: the longest row, special tokens included; longer texts are cut.
        batch_size: rows of a batch, B.
        seed: decides the order, anew in every epoch. Rows of a batch have similar lengths.
        word_starts: for each text, True at the first token of each word; needed to mask whole words, or spans of them.

    Raises:
        ValueError: no text.
    """

    def __init__(
        self,
        texts: Sequence[Sequence[int]],
        *,
        tokenizer: Tokenizer,
        masker: Masker,
        max_length: int,
        batch_size: int,
        seed: int,
        word_starts: Sequence[Sequence[bool]] | None = None,
    ) -> None:
        if not texts:
            raise ValueError("the corpus is empty: there is no text to mask")
        self.tokenizer, self.masker = tokenizer, masker
        self.texts, self.word_starts, self.room = texts, word_starts, max_length - 2
        lengths = [min(len(text), self.room) for text in texts]
        self.sampler = Sampler(len(texts), batch_size, seed=seed, lengths=lengths)

    def batch(self, index: int) -> Batch:
        """The batch of that number: corrupted ids, mask and labels, (B, T) each."""
        epoch, numbers = self.sampler.batch(index)
        return self._collate(numbers, epoch)

    def in_order(self) -> LazyBatches:
        """Every text once, always with the same mask: for validation."""
        return LazyBatches(self.sampler.in_order(), lambda numbers: self._collate(numbers, 0))

    def _collate(self, numbers: Sequence[int], epoch: int) -> Batch:
        cls, sep = self.tokenizer.cls_id, self.tokenizer.sep_id
        rows = [[cls, *self.texts[number][: self.room], sep] for number in numbers]
        ids = pad(rows, self.tokenizer.pad_id)
        starts = None
        if self.word_starts is not None:
            starts = pad([[True, *self.word_starts[number][: self.room], True] for number in numbers], True).bool()
        corrupted, labels = self.masker(ids, numbers, epoch=epoch, word_starts=starts)
        lengths = [len(row) for row in rows]
        real = padding_mask(lengths)
        return {
            "input_ids": corrupted,
            "attention_mask": real,
            "labels": labels,
            **sequence_layout(real, lengths),
        }


class MaskedPairBatches:
    """Sentence pairs, corrupted for masked language modelling: ``[CLS] first [SEP] second [SEP]`` (BERT's input).

    Args:
        pairs: makes the pair of each example and epoch.
        tokenizer: gives the special tokens.
        masker: corrupts the rows.
        batch_size: rows of a batch, B; the last batch of an epoch may have fewer.
        seed: decides the order, anew in every epoch.
    """

    def __init__(
        self, pairs: SentencePairs, *, tokenizer: Tokenizer, masker: Masker, batch_size: int, seed: int
    ) -> None:
        self.pairs, self.tokenizer, self.masker = pairs, tokenizer, masker
        self.sampler = Sampler(len(pairs), batch_size, seed=seed)

    def batch(self, index: int) -> Batch:
        """The batch of that number: ids, mask, token types and labels, (B, T) each, and ``pair_labels``, (B,)."""
        epoch, numbers = self.sampler.batch(index)
        return self._collate(numbers, epoch)

    def in_order(self) -> LazyBatches:
        """Every example of epoch 0 once, always with the same mask: for validation."""
        return LazyBatches(self.sampler.in_order(), lambda numbers: self._collate(numbers, 0))

    def _collate(self, numbers: Sequence[int], epoch: int) -> Batch:
        drawn = [self.pairs.pair(number, epoch=epoch) for number in numbers]
        cls, sep = self.tokenizer.cls_id, self.tokenizer.sep_id
        rows = [[cls, *p.first, sep, *p.second, sep] for p in drawn]
        types = [[0] * (len(p.first) + 2) + [1] * (len(p.second) + 1) for p in drawn]
        corrupted, labels = self.masker(pad(rows, self.tokenizer.pad_id), numbers, epoch=epoch)
        lengths = [len(row) for row in rows]
        real = padding_mask(lengths)
        return {
            "input_ids": corrupted,
            "attention_mask": real,
            **sequence_layout(real, lengths),
            "token_type_ids": pad(types, 0),
            "labels": labels,
            "pair_labels": torch.tensor([p.label for p in drawn]),
        }
