"""Pairs of sequences for an encoder-decoder: the encoder reads the source, the decoder writes the target.

The target is shifted once, here: the decoder's input begins with a start token and its labels end with the end token,
so that the logits at each place are scored against the label at the same place. Padding stands on the right. A causal
decoder needs no mask for it, and its labels leave it out. Shapes: B rows, S source tokens, T target tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from plm_core.data.batch import Batch, BatchSource, LazyBatches, padding_mask
from plm_core.data.labels import IGNORE
from plm_core.data.masking import example_generator
from plm_core.data.sampler import Sampler
from plm_core.data.tokenizers import pad

Ids = Sequence[int]


class SequencePairs(Protocol):
    """Sources and targets, each a pure function of the example and the epoch."""

    @property
    def lengths(self) -> Sequence[int]:
        """The tokens of each example, source and target together: examples of a batch have similar lengths."""
        ...

    def pair(self, example: int, *, epoch: int = 0) -> tuple[Ids, Ids]:
        """The token ids of one example's source and target, without start and end tokens."""
        ...


class ParallelTexts:
    """Pairs that are the same in every epoch, such as sentences and their translations.

    Args:
        sources, targets: token ids, one sequence for each example, without start and end tokens.

    Raises:
        ValueError: no example, or another number of sources than of targets.
    """

    def __init__(self, sources: Sequence[Ids], targets: Sequence[Ids]) -> None:
        if len(sources) != len(targets) or not len(sources):
            raise ValueError(
                f"every source needs its target: got {len(sources)} sources and {len(targets)} targets, expected the "
                "same number, at least 1"
            )
        self.sources, self.targets = sources, targets
        self.lengths = [len(source) + len(target) for source, target in zip(sources, targets, strict=True)]

    def pair(self, example: int, *, epoch: int = 0) -> tuple[Ids, Ids]:
        """Source and target of one example; the epoch changes nothing."""
        return self.sources[example], self.targets[example]

    def within(self, longest: int) -> ParallelTexts:
        """The pairs of which neither side has more tokens than that, for training; in evaluation all pairs count.

        Raises:
            ValueError: no pair is left.
        """
        kept = [
            number
            for number, (source, target) in enumerate(zip(self.sources, self.targets, strict=True))
            if max(len(source), len(target)) <= longest
        ]
        return ParallelTexts([self.sources[number] for number in kept], [self.targets[number] for number in kept])


class SequencePairBatches:
    """Batches of sequence pairs for :class:`~plm_core.objectives.seq2seq.Seq2SeqLM`.

    Args:
        pairs: the examples.
        start_id: the token that the decoder's input begins with.
        end_id: the token that ends every source and every target. An empty source is this token alone.
        pad_id: what fills the shorter rows.
        batch_size: rows of a batch, B; one batch of an epoch, at any place, may have fewer.
        seed: decides the order, anew in every epoch.
        max_length: the longest sequence that the model takes, in tokens with the added one; None for no limit.

    Raises:
        ValueError: an example is too long. It is not cut: a translation that stops in the middle teaches to stop there.

    >>> texts = ParallelTexts([[7, 8]], [[9]])
    >>> batch = SequencePairBatches(texts, start_id=1, end_id=2, pad_id=0, batch_size=1, seed=0).batch(0)
    >>> [batch[name].tolist() for name in ("input_ids", "decoder_input_ids", "labels")]
    [[[7, 8, 2]], [[1, 9]], [[9, 2]]]
    """

    def __init__(
        self,
        pairs: SequencePairs,
        *,
        start_id: int,
        end_id: int,
        pad_id: int,
        batch_size: int,
        seed: int,
        max_length: int | None = None,
    ) -> None:
        self.pairs, self.start_id, self.end_id, self.pad_id = pairs, start_id, end_id, pad_id
        self.max_length = max_length
        self.sampler = Sampler(len(pairs.lengths), batch_size, seed=seed, lengths=pairs.lengths)

    def batch(self, index: int) -> Batch:
        """The batch of that number.

        ``input_ids`` (B, S) and its ``attention_mask`` (B, S), bool; ``decoder_input_ids`` (B, T) and ``labels``
        (B, T), IGNORE where the target has ended.
        """
        epoch, numbers = self.sampler.batch(index)
        return self._collate(numbers, epoch)

    def in_order(self) -> LazyBatches:
        """Every example once, always as in epoch 0: for validation."""
        return LazyBatches(self.sampler.in_order(), lambda numbers: self._collate(numbers, 0))

    def _collate(self, numbers: Sequence[int], epoch: int) -> Batch:
        sources, targets = [], []
        for number in numbers:
            source, target = self.pairs.pair(number, epoch=epoch)
            longest = 1 + max(len(source), len(target))
            if self.max_length is not None and longest > self.max_length:
                raise ValueError(
                    f"example {number} has {len(source)} source and {len(target)} target tokens and one more on each "
                    f"side, the limit is {self.max_length}: leave it out (ParallelTexts.within), or raise the limit"
                )
            sources.append([*source, self.end_id])
            targets.append([*target, self.end_id])
        labels_BT = pad(targets, IGNORE)
        return {
            "input_ids": pad(sources, self.pad_id),
            "attention_mask": padding_mask([len(source) for source in sources]),
            "decoder_input_ids": shift_right(labels_BT, start_id=self.start_id, pad_id=self.pad_id),
            "labels": labels_BT,
        }


def shift_right(labels: Tensor, *, start_id: int, pad_id: int) -> Tensor:
    """The decoder's input for these labels, (B, T): the start token, then each label one place later.

    Without the shift the decoder reads at every place the token that it is to predict there; its loss falls to zero and
    it has learned to copy.

    Args:
        labels: integers, (B, T), IGNORE where nothing is to be predicted.
        start_id: the first token of every row.
        pad_id: what stands in the input where a label is IGNORE.

    >>> shift_right(torch.tensor([[5, 6, 2], [7, 2, -100]]), start_id=1, pad_id=0)
    tensor([[1, 5, 6],
            [1, 7, 2]])
    """
    inputs = labels.masked_fill(labels == IGNORE, pad_id).roll(1, dims=1)
    inputs[:, 0] = start_id
    return inputs


class ScheduledSamplingBatches:
    """Adds to each batch which of the decoder's inputs are to be replaced by the model's own tokens, and their draws.

    What is replaced is a pure function of the seed and of the batch's number, as every other corruption; the objective
    (:class:`~plm_core.objectives.seq2seq.ScheduledSampling`) has no random numbers of its own.

    Args:
        source: batches with ``decoder_input_ids`` and ``labels``.
        share: from the number of a batch to the share of the inputs to be replaced, in [0, 1]; see
            :func:`inverse_sigmoid_share`.
        seed: the seed of all draws.

    Source: Bengio et al. (2015), section 2.4.
    """

    def __init__(self, source: BatchSource, share: Callable[[int], float], *, seed: int) -> None:
        self.source, self.share, self.seed = source, share, seed

    def batch(self, index: int) -> Batch:
        """The batch of that number, with ``uses_own_token``, bool, and ``own_token_draws``, in [0, 1), both (B, T).

        The start token and what follows the end of a target are never replaced.

        Raises:
            ValueError: the share of this batch lies outside [0, 1].
        """
        batch, share = self.source.batch(index), self.share(index)
        if not 0 <= share <= 1:
            raise ValueError(f"the share of replaced tokens must lie in [0, 1], got {share} for batch {index}")
        labels_BT = batch["labels"]
        uniform_2BT = torch.from_numpy(example_generator(self.seed, 0, index).random((2, *labels_BT.shape)))
        uses_own_BT = (uniform_2BT[0] < share) & (labels_BT != IGNORE)
        uses_own_BT[:, 0] = False
        return {**batch, "uses_own_token": uses_own_BT, "own_token_draws": uniform_2BT[1]}


def inverse_sigmoid_share(index: int, *, k: float) -> float:
    """The share of own tokens after so many batches, 1 - k / (k + exp(index / k)): nearly 0 at first, 1 in the end.

    Args:
        index: the number of the batch.
        k: at least 1; the share is one half at batch k·ln(k).

    Source: Bengio et al. (2015), section 2.4, "inverse sigmoid decay" of the share of given tokens.

    >>> [round(inverse_sigmoid_share(index, k=10), 2) for index in (0, 23, 100)]
    [0.09, 0.5, 1.0]
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return float(1 / (1 + k * np.exp(-index / k)))
