"""Examples with labels as rows of token ids, and their batches: the source of batches in fine-tuning.

A row is a mapping by the names of a batch. A list has one entry for each token and is padded; a number or a tuple
belongs to the whole row. Shapes: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from plm_core.data.batch import Batch, LazyBatches, padding_mask
from plm_core.data.conll import AlignedSentence
from plm_core.data.labels import IGNORE
from plm_core.data.sampler import Sampler
from plm_core.data.squad import SpanWindow
from plm_core.data.tokenizers import Tokenizer, pad

Row = Mapping[str, list[int] | list[bool] | tuple[int, ...] | int]

FLAGS = ("word_starts", "candidates")
"""Lists of true and false; padding is false."""


class LabelledBatches:
    """Rows in batches of similar length, padded on the right to the longest.

    Args:
        rows: the examples, all with the same names.
        batch_size: rows of a batch; one batch of an epoch, at any place, may have fewer.
        pad_id: what fills the shorter rows.
        seed: decides the order, anew in every epoch.

    Raises:
        ValueError: no row.
    """

    def __init__(self, rows: Sequence[Row], *, batch_size: int, pad_id: int, seed: int) -> None:
        if not rows:
            raise ValueError("there is no example")
        self.rows, self.pad_id = rows, pad_id
        lengths = [len(_tokens(row)) for row in rows]
        self.sampler = Sampler(len(rows), batch_size, seed=seed, lengths=lengths)

    def batch(self, index: int) -> Batch:
        """The batch of that number: the entries of its rows, and ``attention_mask``, (B, T)."""
        return self.collate(self.sampler.batch(index)[1])

    def in_order(self) -> LazyBatches:
        """Every row once, in the order given: for validation and prediction."""
        return LazyBatches(self.sampler.in_order(), self.collate)

    def collate(self, numbers: Sequence[int]) -> Batch:
        """The batch of the rows with these numbers."""
        rows = [self.rows[number] for number in numbers]
        made = {"attention_mask": padding_mask([len(_tokens(row)) for row in rows])}
        for name, value in rows[0].items():
            values = [row[name] for row in rows]
            if isinstance(value, list):
                filled = pad(values, {"input_ids": self.pad_id, "labels": IGNORE}.get(name, 0))  # type: ignore[arg-type]
                made[name] = filled.bool() if name in FLAGS else filled
            else:
                made[name] = torch.tensor(values)
        return made


def _tokens(row: Row) -> list[int] | list[bool]:
    tokens = row["input_ids"]
    assert isinstance(tokens, list)
    return tokens


class TextRows(NamedTuple):
    """The rows of texts."""

    rows: list[Row]
    truncated: int
    """How many of them were cut."""


def text_rows(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    *,
    pairs: Sequence[str] | None = None,
    labels: Sequence[int] | None = None,
    max_length: int,
    block: int = 1000,
) -> TextRows:
    """Rows of whole texts with a class each, for a classifier.

    Args:
        texts: the texts.
        tokenizer: the model's.
        pairs: second texts, one for each; rows then have token types.
        labels: numbers of classes, one for each text; None for texts whose class is to be predicted.
        max_length: tokens of the longest row, special ones included. The end of a longer text is cut off, of the longer
            one first in a pair.
        block: texts that are tokenised at a time.

    Raises:
        ValueError: lists of different lengths, or a length without room for a token.
    """
    for what, values in (("pairs", pairs), ("labels", labels)):
        if values is not None and len(values) != len(texts):
            raise ValueError(f"{len(texts)} texts, but {len(values)} {what}")
    rows: list[Row] = []
    truncated = 0
    for first in range(0, len(texts), block):
        chosen = slice(first, first + block)
        seconds = None if pairs is None else pairs[chosen]
        whole = tokenizer.batch(texts[chosen], seconds)
        too_long = int((whole["attention_mask"].sum(dim=1) > max_length).sum())
        if too_long:
            whole = tokenizer.batch(texts[chosen], seconds, max_length=max_length, truncation="longest_first")
        truncated += too_long
        for number, length in enumerate(whole["attention_mask"].sum(dim=1).tolist()):
            row: dict[str, list[int] | list[bool] | tuple[int, ...] | int] = {}
            row["input_ids"] = whole["input_ids"][number, :length].tolist()
            if pairs is not None:
                row["token_type_ids"] = whole["token_type_ids"][number, :length].tolist()
            if labels is not None:
                row["labels"] = labels[first + number]
            rows.append(row)
    return TextRows(rows, truncated)


def tagged_row(sentence: AlignedSentence) -> Row:
    """The row of a tagged sentence, for a classifier of tokens."""
    return {"input_ids": sentence.input_ids, "labels": sentence.labels, "word_starts": sentence.word_starts}


def span_row(window: SpanWindow) -> Row:
    """The row of a question with its text, for an extractor of spans."""
    return {
        "input_ids": window.input_ids,
        "token_type_ids": window.token_type_ids,
        "candidates": window.candidates,
        "start_positions": window.start,
        "end_positions": window.end,
    }
