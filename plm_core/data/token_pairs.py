"""Pairs of tokens and how far apart they stand, for relative-position pretraining.

The label of a pair (i, j) is the clipped distance with its direction (Shaw et al. 2018, section 3.2, clip it alike)::

    j - i     <= -k   ...   -1     1   ...   >= k     j stands in another row
    label         0   ...  k-1     k   ...   2k-1     2k, with negatives only

The pairs are a pure function of (seed, epoch, example), but for the row that a negative's second token stands in, which
is another one of the same batch. Shapes: B rows, T tokens, P pairs of all rows together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from plm_core.config import Config
from plm_core.data.batch import Batch, LazyBatches, padding_mask
from plm_core.data.masking import example_generator
from plm_core.data.sampler import Sampler
from plm_core.data.tokenizers import pad


@dataclass(frozen=True)
class TokenPairConfig(Config):
    """Which pairs are drawn."""

    max_distance: int = 8
    """The distance k from which on all distances have one label in each direction."""
    pairs_per_row: int = 16
    """How many pairs are drawn from each row; 0 is refused."""
    negatives: bool = False
    """Whether pairs whose tokens stand in two rows are drawn as well, as one label more."""

    def validate(self) -> None:
        """Refuse numbers below one."""
        self.require_positive("max_distance", "pairs_per_row")

    @property
    def num_labels(self) -> int:
        """Number of labels: 2k, and one for negatives."""
        return 2 * self.max_distance + self.negatives


class TokenPairs:
    """Draws pairs of tokens from the rows of a batch, every label equally often.

    A row's labels are drawn without repetition until each was drawn once, then anew; a label's pair is drawn uniformly
    from those of the row. A row of k ordinary tokens or fewer has no pair at distance k. It gives no pairs, for it
    could not give all labels equally often.

    Args:
        special_ids: ids that are never part of a pair: padding, [CLS], [SEP], ...
        config: which pairs.
        seed: the seed of all draws.
    """

    def __init__(self, *, special_ids: Sequence[int], config: TokenPairConfig | None = None, seed: int = 0) -> None:
        self.config = TokenPairConfig() if config is None else config
        self.special, self.seed = torch.tensor(sorted(set(special_ids)), dtype=torch.int64), seed

    def ordinary(self, ids_T: Tensor) -> list[int]:
        """The places of a row's ordinary tokens; none if the row is too short."""
        places = (~torch.isin(ids_T, self.special)).nonzero()[:, 0].tolist()
        return places if len(places) > self.config.max_distance else []

    def __call__(self, input_ids: Tensor, examples: Sequence[int], *, epoch: int = 0) -> tuple[Tensor, Tensor]:
        """Draw the pairs of a batch.

        Args:
            input_ids: integers, (B, T), padded with a special id.
            examples: the number of each row's example in the corpus, B of them.
            epoch: the pass over the corpus.

        Returns:
            The pairs, (P, 2), as places among the B·T of the batch in reading order, and their labels, (P,).
        """
        k, width = self.config.max_distance, input_ids.shape[1]
        rows = [self.ordinary(ids_T) for ids_T in input_ids]
        usable = [number for number, places in enumerate(rows) if places]
        pairs, labels = [], []
        for number in usable:
            generator = example_generator(self.seed, epoch, examples[number])
            others = [other for other in usable if other != number]
            by_label = pairs_by_label(tuple(rows[number]), k)
            for label in self.draw_labels(generator, with_negatives=bool(others)):
                if label < 2 * k:
                    first, second = by_label[label][generator.integers(len(by_label[label]))]
                    place = number * width + int(second)
                else:
                    first = rows[number][generator.integers(len(rows[number]))]
                    other = others[generator.integers(len(others))]
                    place = other * width + rows[other][generator.integers(len(rows[other]))]
                pairs.append((number * width + int(first), place))
                labels.append(label)
        return torch.tensor(pairs, dtype=torch.int64).view(-1, 2), torch.tensor(labels, dtype=torch.int64)

    def draw_labels(self, generator: np.random.Generator, *, with_negatives: bool) -> list[int]:
        """The labels of a row's pairs; where no other row is at hand, the label of negatives is left out."""
        choices = self.config.num_labels - (self.config.negatives and not with_negatives)
        rounds = -(-self.config.pairs_per_row // choices)
        drawn = np.concatenate([generator.permutation(choices) for _ in range(rounds)])
        return drawn[: self.config.pairs_per_row].tolist()


@lru_cache(maxsize=512)
def pairs_by_label(places: tuple[int, ...], max_distance: int) -> tuple[np.ndarray, ...]:
    """All pairs of a row by label: for each of the 2k labels the pairs of places, (pairs, 2)."""
    places_N = np.array(places)
    distance_NN = places_N[None, :] - places_N[:, None]
    label_NN = distance_labels(distance_NN, max_distance)
    found = []
    for label in range(2 * max_distance):
        first, second = np.nonzero(label_NN == label)
        found.append(np.stack((places_N[first], places_N[second]), axis=1))
    return tuple(found)


def distance_labels(distance: np.ndarray, max_distance: int) -> np.ndarray:
    """The labels of distances j - i, of any shape; -1 for a distance of 0, which is no pair.

    >>> distance_labels(np.array([-9, -2, -1, 0, 1, 2, 9]), 2).tolist()
    [0, 0, 1, -1, 2, 3, 3]
    """
    clipped = np.clip(distance, -max_distance, max_distance)
    return np.where(clipped == 0, -1, clipped + max_distance - (clipped > 0))


class TokenPairBatches:
    """Texts with pairs of their tokens: one text per row, ``[CLS] text [SEP]`` or as given, padded to the longest.

    Rows are *not* grouped by length, so that the other rows of a batch are a uniform choice of the corpus.

    Args:
        texts: token ids of each row, special tokens included.
        pairs: draws the pairs.
        pad_id: what fills the shorter rows; one of the special ids.
        batch_size: rows of a batch, B; the last batch of an epoch may have fewer.
        seed: decides the order, anew in every epoch.

    Raises:
        ValueError: no text is long enough for a pair.
    """

    def __init__(
        self, texts: Sequence[Sequence[int]], *, pairs: TokenPairs, pad_id: int, batch_size: int, seed: int
    ) -> None:
        self.texts, self.pairs, self.pad_id = texts, pairs, pad_id
        if not any(pairs.ordinary(torch.as_tensor(text)) for text in texts):
            raise ValueError(
                f"none of {len(texts)} texts has more than max_distance = {pairs.config.max_distance} ordinary tokens: "
                "lower it, or give longer texts"
            )
        self.sampler = Sampler(len(texts), batch_size, seed=seed)

    def batch(self, index: int) -> Batch:
        """The batch of that number: ids and mask, (B, T), ``token_pairs`` (P, 2) and ``token_pair_labels`` (P,)."""
        epoch, numbers = self.sampler.batch(index)
        return self._collate(numbers, epoch)

    def in_order(self) -> LazyBatches:
        """Every text once, always with the same pairs: for validation."""
        return LazyBatches(self.sampler.in_order(), lambda numbers: self._collate(numbers, 0))

    def _collate(self, numbers: Sequence[int], epoch: int) -> Batch:
        rows = [self.texts[number] for number in numbers]
        ids_BT = pad(rows, self.pad_id)
        pairs_P2, labels_P = self.pairs(ids_BT, numbers, epoch=epoch)
        mask_BT = padding_mask([len(row) for row in rows])
        return {
            "input_ids": ids_BT,
            "attention_mask": mask_BT,
            "token_pairs": pairs_P2,
            "token_pair_labels": labels_P,
        }
