"""Rows of a token file for training, found without reading its tokens: what they are made of is a few arrays.

Shapes: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from plm_core.data.batch import Batch, LazyBatches, sequence_layout
from plm_core.data.packing import Piece, collate_packed, pack
from plm_core.data.sampler import Sampler
from plm_core.data.sentence_pairs import sentence_runs
from plm_core.data.token_files import TokenFile
from plm_core.data.tokenizers import Tokenizer
from plm_core.data.words import word_starts

PACKED_TOGETHER = 2**14
"""Documents that are packed in one go. More fill the rows no better, and take memory."""


class DocumentBatches:
    """The documents of a token file in rows; no token sees, or is predicted from, another document.

    A document that is longer than a row is cut into pieces that overlap by one token, so that every token but a
    document's first is predicted exactly once in an epoch. Several short pieces share a row. What a token is predicted
    from depends on its own document alone: the same text has the same loss wherever it stands.

    Args:
        file: the documents, each framed.
        row_length: tokens of a row, T.
        batch_size: rows of a batch, B; the last batch of an epoch may have fewer.
        pad_id: what fills the end of a row.
        seed: decides the order of the rows, anew in every epoch.
    """

    def __init__(self, file: TokenFile, *, row_length: int, batch_size: int, pad_id: int, seed: int) -> None:
        self.file, self.row_length, self.pad_id = file, row_length, pad_id
        self.pieces = _overlapping_pieces(file.starts, row_length)
        self.order, self.row_starts = _packed(np.diff(self.pieces)[:, 0], row_length)
        self.sampler = Sampler(self.num_rows, batch_size, seed=seed)

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        return len(self.row_starts) - 1

    def batch(self, index: int) -> Batch:
        """The batch of that number: ``input_ids`` and ``labels``, (B, T).

        Where rows hold several documents, also ``position_ids``, the mask (B, T, T) and where the documents are
        (:mod:`plm_core.data.batch`).
        """
        return self._collate(self.sampler.batch(index)[1])

    def in_order(self) -> LazyBatches:
        """Every row once: for validation."""
        return LazyBatches(self.sampler.in_order(), self._collate)

    def _collate(self, numbers: Sequence[int]) -> Batch:
        rows: list[list[Piece]] = []
        texts: dict[int, Tensor] = {}
        for row in numbers:
            rows.append([])
            for piece in self.order[self.row_starts[row] : self.row_starts[row + 1]].tolist():
                start, end = self.pieces[piece].tolist()
                texts[piece] = self.file.span(start, end)
                rows[-1].append(Piece(piece, 0, end - start))
        packed = collate_packed(texts, rows, row_length=self.row_length, pad_id=self.pad_id)
        batch = {"input_ids": packed.input_ids, "labels": packed.next_token_labels()}
        if all(len(row) == 1 and len(row[0]) == self.row_length for row in rows):
            return batch
        return {
            **batch,
            "position_ids": packed.position_ids,
            "attention_mask": packed.attention_mask,
            **sequence_layout(packed.document_ids >= 0, [len(piece) for row in rows for piece in row]),
        }


def _overlapping_pieces(starts: np.ndarray, row_length: int) -> np.ndarray:
    """Where the pieces of all documents begin and end, (P, 2): at most ``row_length`` tokens, overlapping by one."""
    lengths = np.diff(starts)
    step = row_length - 1
    counts = np.maximum(1, -(-(lengths - 1) // step))
    first = np.repeat(np.cumsum(counts) - counts, counts)
    begins = np.repeat(starts[:-1], counts) + (np.arange(counts.sum()) - first) * step
    ends = np.minimum(begins + row_length, np.repeat(starts[1:], counts))
    return np.stack([begins, ends], axis=1)


def _packed(lengths: np.ndarray, row_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of whole pieces: the pieces in the order of the rows, and where each row begins among them."""
    full = np.flatnonzero(lengths == row_length)
    rest = np.flatnonzero((lengths < row_length) & (lengths > 1))  # one token alone predicts nothing
    orders, sizes = [full], [np.ones(len(full), dtype=np.int64)]
    for first in range(0, len(rest), PACKED_TOGETHER):
        group = rest[first : first + PACKED_TOGETHER]
        rows = pack(lengths[group], row_length)
        orders.append(group[[piece.document for row in rows for piece in row]])
        sizes.append(np.array([len(row) for row in rows], dtype=np.int64))
    return np.concatenate(orders), np.concatenate([[0], np.cumsum(np.concatenate(sizes))])


class SentenceRows(Sequence[list[int]]):
    """Rows of whole consecutive lines of one document, as many as fit; lines longer than a row are cut.

    Args:
        file: the documents.
        max_tokens: the most tokens of a row, special tokens not counted.
    """

    def __init__(self, file: TokenFile, max_tokens: int) -> None:
        self.file = file
        self._lines, self._rows = _cut_lines(file, max_tokens)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> list[int]:  # type: ignore[override]
        return [token for line in self.sentences(index) for token in line]

    def sentences(self, index: int) -> list[list[int]]:
        """The lines of a row, as token ids."""
        first, last = self._rows[index].tolist()
        return [self.file.tokens[start:end].tolist() for start, end in self._lines[first:last].tolist()]


class RowWordStarts(Sequence[list[bool]]):
    """For each row of sentences, True at the tokens that begin a word; every sentence begins with one.

    Args:
        rows: the rows.
        tokenizer: what made their ids.
    """

    def __init__(self, rows: SentenceRows, tokenizer: Tokenizer) -> None:
        self.rows, self.tokenizer = rows, tokenizer

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> list[bool]:  # type: ignore[override]
        return [start for line in self.rows.sentences(index) for start in word_starts(line, self.tokenizer)]


def _cut_lines(file: TokenFile, max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Where lines begin and end in the tokens, (L, 2), long ones cut; and which lines each row has, (R, 2)."""
    lines: list[np.ndarray] = []
    rows: list[tuple[int, int]] = []
    before = 0
    for document in range(len(file)):
        spans = file.lines_of(document)
        spans = spans[spans[:, 1] > spans[:, 0]]
        if (spans[:, 1] - spans[:, 0] > max_tokens).any():
            spans = np.array(
                [(at, min(at + max_tokens, end)) for start, end in spans for at in range(start, end, max_tokens)]
            )
        if len(spans):
            lines.append(np.array(spans))
            for first, last in sentence_runs((spans[:, 1] - spans[:, 0]).tolist(), max_tokens):
                rows.append((before + first, before + last))
            before += len(spans)
    empty = np.empty((0, 2), dtype=np.int64)
    return np.concatenate([empty, *lines]), np.array(rows, dtype=np.int64).reshape(-1, 2)


class SentenceDocuments(Sequence[list[list[int]]]):
    """The documents of a token file as lists of lines, each a list of token ids; those without a line are left out.

    Args:
        file: the documents.
    """

    def __init__(self, file: TokenFile) -> None:
        self.file = file
        self._documents = [number for number in range(len(file)) if len(self._lines(number))]

    def _lines(self, number: int) -> np.ndarray:
        spans = self.file.lines_of(number)
        return spans[spans[:, 1] > spans[:, 0]]

    def __len__(self) -> int:
        return len(self._documents)

    def __getitem__(self, index: int) -> list[list[int]]:  # type: ignore[override]
        return [self.file.tokens[start:end].tolist() for start, end in self._lines(self._documents[index]).tolist()]

    def __iter__(self) -> Iterator[list[list[int]]]:
        return (self[number] for number in range(len(self)))
