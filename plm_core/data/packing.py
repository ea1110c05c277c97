"""Rows of a fixed length made of documents of any length: packed, or padded with little waste.

Shapes: B rows, T tokens. Masks are bool, True = may be attended.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from plm_core.data import labels


@dataclass(frozen=True)
class Piece:
    """A part of one document: tokens ``start`` to before ``end`` of document ``document``."""

    document: int
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


def pack(lengths: Sequence[int] | np.ndarray, row_length: int, *, min_piece: int | None = None) -> list[list[Piece]]:
    """Arrange documents in rows of at most ``row_length`` tokens, with few tokens left over.

    Documents longer than a row are cut into rows; what remains of them is treated as a document. The others stay whole
    unless ``min_piece`` is given: the longest first, each into the fullest row that still has room (best-fit
    decreasing). Rows of about eight documents or more are then nearly full. With fewer documents in a row, some must be
    cut to fill it. Empty documents are left out.

    Args:
        lengths: tokens of each document.
        row_length: tokens of a row.
        min_piece: cut a document that fits nowhere, if a row that has begun has room for one part of it and both parts
            have at least this many tokens; then fewer than ``min_piece`` tokens of nearly every row stay empty. The
            parts are separate texts to the model. None cuts no document that fits into a row.

    Returns:
        The rows. They follow from the arguments alone.

    Raises:
        ValueError: a row without room, or an empty smallest piece.

    Source: best-fit packing for language models, Krell et al. (2021), section 3.
    """
    if row_length < 1 or (min_piece is not None and min_piece < 1):
        raise ValueError(f"row_length and min_piece must be at least 1, got {row_length} and {min_piece}")
    rows: list[list[Piece]] = []
    waiting: list[tuple[int, int, int]] = []  # (-tokens, document, start): a heap, the longest first
    for document, length in enumerate(map(int, lengths)):
        whole = length - length % row_length
        rows += [[Piece(document, start, start + row_length)] for start in range(0, whole, row_length)]
        if whole < length:
            waiting.append((whole - length, document, whole))
    heapq.heapify(waiting)
    with_room: list[list[list[Piece]]] = [[] for _ in range(row_length + 1)]  # rows by the tokens they still take
    room_exists = np.zeros(row_length + 1, dtype=bool)
    while waiting:
        tokens, document, start = heapq.heappop(waiting)
        tokens = -tokens
        fitting = np.flatnonzero(room_exists[tokens:])
        if fitting.size:
            room = tokens + int(fitting[0])
        elif (
            min_piece
            and (smaller := np.flatnonzero(room_exists[: max(tokens - min_piece + 1, 0)])).size
            and (smaller[-1] >= min_piece)
        ):
            room = int(smaller[-1])
            heapq.heappush(waiting, (room - tokens, document, start + room))
            tokens = room
        else:
            room = row_length
            rows.append([])
            with_room[room].append(rows[-1])
        row = with_room[room].pop()
        room_exists[room] = bool(with_room[room])
        row.append(Piece(document, start, start + tokens))
        if room > tokens:
            with_room[room - tokens].append(row)
            room_exists[room - tokens] = True
    return rows


def efficiency(rows: Sequence[Sequence[Piece]], row_length: int) -> float:
    """The share of a packed tensor that is text, between 0 and 1."""
    return sum(len(piece) for row in rows for piece in row) / (len(rows) * row_length)


@dataclass(frozen=True)
class PackedBatch:
    """Packed rows as tensors, all (B, T).

    Attributes:
        input_ids: token ids, int64.
        document_ids: which document of its row each token belongs to, from 0; -1 for padding, int64.
        position_ids: the place of each token in its piece, from 0, int64.
    """

    input_ids: Tensor
    document_ids: Tensor
    position_ids: Tensor

    @property
    def attention_mask(self) -> Tensor:
        """Block-diagonal, (B, T, T) bool; see :func:`same_document`."""
        return same_document(self.document_ids)

    def next_token_labels(self) -> Tensor:
        """What a causal language model must predict at each place, (B, T): the next token of the same document.

        The last token of a document and padding get :data:`plm_core.data.labels.IGNORE`.
        """
        real = self.document_ids >= 0
        return labels.next_token_labels(self.input_ids, attention_mask=real, document_ids=self.document_ids)


def same_document(document_ids_BT: Tensor) -> Tensor:
    """A mask that lets a token see the tokens of its own document only, (B, T, T) bool; padding sees nothing.

    For :func:`plm_core.models.attention.attend` add the axis of heads: ``mask[:, None]``.
    """
    same = document_ids_BT[:, :, None] == document_ids_BT[:, None, :]
    return same & (document_ids_BT >= 0)[:, :, None]


def collate_packed(
    documents: Mapping[int, Tensor] | Sequence[Tensor],
    rows: Sequence[Sequence[Piece]],
    *,
    row_length: int,
    pad_id: int,
) -> PackedBatch:
    """Build the tensors of some packed rows.

    Args:
        documents: token ids of each document by its number, (length,); a :class:`~plm_core.data.token_files.TokenFile`
            serves.
        rows: rows of :func:`pack`.
        row_length: T.
        pad_id: what fills the end of a row.
    """
    shape = (len(rows), row_length)
    input_ids = torch.full(shape, pad_id, dtype=torch.int64)
    document_ids = torch.full(shape, -1, dtype=torch.int64)
    position_ids = torch.zeros(shape, dtype=torch.int64)
    for b, row in enumerate(rows):
        t = 0
        for number, piece in enumerate(row):
            place = slice(t, t + len(piece))
            input_ids[b, place] = torch.as_tensor(documents[piece.document][piece.start : piece.end])
            document_ids[b, place] = number
            position_ids[b, place] = torch.arange(len(piece))
            t += len(piece)
        assert t <= row_length, f"row {b} holds {t} tokens, more than {row_length}"
    return PackedBatch(input_ids, document_ids, position_ids)


def padding_share(mask_BT: Tensor) -> float:
    """The share of a batch that is padding, between 0 and 1."""
    return 1 - mask_BT.float().mean().item()


def length_groups(
    lengths: Sequence[int] | np.ndarray, batch_size: int, *, seed: int, epoch: int
) -> Iterator[list[int]]:
    """Batches of examples of similar length, in random order: padded, they waste little.

    Examples are shuffled and cut into pools of 50 batches; each pool is sorted by length and cut into batches, and the
    batches are shuffled. A pure function of its arguments.

    Args:
        lengths: tokens of each example.
        batch_size: examples of a batch; one batch, at any place, may have fewer.
        seed, epoch: decide the order.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), 50 * batch_size):
        pool = sorted(order[start : start + 50 * batch_size].tolist(), key=lambda example: int(lengths[example]))
        batches += [pool[first : first + batch_size] for first in range(0, len(pool), batch_size)]
    for index in generator.permutation(len(batches)):
        yield batches[index]
