"""A batch: tensors by name, and which of its tokens are real.

========================  ==============  ======================================================================
``input_ids``             (B, T)          token ids, padding included
``labels``                (B, T) or (B,)  what is to be predicted, :data:`~plm_core.data.labels.IGNORE` where nothing is
``attention_mask``        (B, T)          bool, True for a real token; absent where the model needs none
``attention_mask``        (B, T, T)       bool, True where a token may attend to another, for packed documents
``position_ids``          (B, T)          positions that begin anew with each document of a packed row
``token_type_ids``        (B, T)          0 for the first sentence of a pair, 1 for the second
``token_indices``         (N,)            where the N real tokens stand among the B·T positions, in reading order
``cu_seqlens``            (S + 1,)        int32, where each of the S sequences begins among the real tokens, and the end
========================  ==============  ======================================================================

The last two come from the source of the batch, so that no model has to read the sequences off a mask.
Shapes: B rows, T tokens of a row, N real tokens, S sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Protocol, overload

import torch
from torch import Tensor

Batch = Mapping[str, Tensor]


class BatchSource(Protocol):
    """Training batches as a pure function of their number: epochs, shuffling and corruption follow from it."""

    def batch(self, index: int) -> Batch:
        """The batch of that number, from 0, without end."""
        ...


def real_tokens(batch: Batch) -> Tensor:
    """Which positions of a batch hold a real token and no padding, bool (B, T).

    They are given by ``token_indices`` if the batch has them, or else by the mask; without either every token is real.
    In a packed batch, whose mask is (B, T, T), a real token attends to itself.
    """
    ids_BT, mask = batch["input_ids"], batch.get("attention_mask")
    if "token_indices" in batch:
        real_N = torch.zeros(ids_BT.numel(), dtype=torch.bool, device=ids_BT.device)
        return real_N.index_fill(0, batch["token_indices"], True).view_as(ids_BT)
    if mask is None:
        return torch.ones_like(ids_BT, dtype=torch.bool)
    return mask if mask.dim() == 2 else mask.diagonal(dim1=1, dim2=2)


def padding_mask(lengths: Sequence[int]) -> Tensor:
    """The bool mask, (B, T), of rows with these lengths that are padded on the right to the longest of them."""
    lengths_B = torch.tensor(lengths)
    return torch.arange(int(lengths_B.max())) < lengths_B[:, None]


def sequence_layout(real_BT: Tensor, lengths: Sequence[int]) -> dict[str, Tensor]:
    """The entries ``token_indices`` and ``cu_seqlens`` of a batch.

    Args:
        real_BT: bool, True for a real token, (B, T).
        lengths: real tokens of each sequence, in reading order.
    """
    return {
        "token_indices": real_BT.flatten().nonzero()[:, 0],
        "cu_seqlens": torch.tensor([0, *accumulate(lengths)], dtype=torch.int32),
    }


class LazyBatches(Sequence[Batch]):
    """A finite sequence of batches, each made when it is accessed.

    Args:
        groups: what each batch is made of.
        make: makes a batch.
    """

    def __init__(self, groups: Sequence[Sequence[int]], make: Callable[[Sequence[int]], Batch]) -> None:
        self.groups, self.make = groups, make

    def __len__(self) -> int:
        return len(self.groups)

    @overload
    def __getitem__(self, index: int) -> Batch: ...
    @overload
    def __getitem__(self, index: slice) -> LazyBatches: ...
    def __getitem__(self, index: int | slice) -> Batch | LazyBatches:
        if isinstance(index, slice):
            return LazyBatches(self.groups[index], self.make)
        return self.make(self.groups[index])
