"""Relative positions: predict from the states of two tokens how far apart they stand, and in which direction.

Also the lowest loss that is possible without positions, computed exactly for given texts: what a trained model has to
be compared with before its loss means anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from plm_core.data.batch import Batch
from plm_core.data.token_pairs import TokenPairConfig, distance_labels
from plm_core.models.pair_head import PairOutput
from plm_core.objectives.base import LossParts, Objective
from plm_core.objectives.inputs import transformer_inputs, with_sequences

Sees = Literal["nothing", "tokens", "texts"]


class RelativePosition(Objective):
    """The sum of -log p(label) over pairs of tokens.

    The batch needs ``token_pairs``, (P, 2), and ``token_pair_labels``, (P,), of
    :class:`~plm_core.data.token_pairs.TokenPairBatches`; the model is a
    :class:`~plm_core.models.pair_head.BertWithPairs`. All labels are equally frequent, so an untrained model's loss is
    close to :func:`labels_entropy`.
    """

    name = "relative_position"

    def prepare(self, batch: Batch) -> Batch:
        """Add where the sequences begin and end."""
        return with_sequences(batch)

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """The ids, the mask, the sequences and the pairs."""
        return transformer_inputs(batch) | {"token_pairs": batch["token_pairs"]}

    def score(self, output: PairOutput, batch: Batch) -> LossParts:
        """Score the logits (P, C) of the pairs."""
        assert output.pair_logits is not None  # because of token_pairs
        logits_PC, labels_P = output.pair_logits.float(), batch["token_pair_labels"]
        total = F.cross_entropy(logits_PC, labels_P, reduction="sum")
        return LossParts(total, len(labels_P), {"accuracy": (logits_PC.detach().argmax(dim=-1) == labels_P).sum()})

    def count(self, batch: Batch) -> int:
        """The number of pairs."""
        return len(batch["token_pair_labels"])


def labels_entropy(config: TokenPairConfig) -> float:
    """The entropy of the labels, in nats: the lowest loss of a model that knows nothing about the pair.

    >>> round(labels_entropy(TokenPairConfig(max_distance=8)), 3)
    2.773
    """
    return math.log(config.num_labels)


def initial_excess_bound(logits_PC: Tensor) -> float:
    """The most by which the mean loss can exceed the entropy of the labels, where logits know nothing of the labels.

    If labels are uniform and independent of the logits z, the expected loss of a pair is log C plus the logarithm of
    the mean of exp(z - mean z), which is at least 0 and at most (max z - min z)² / 8 (Hoeffding 1963, lemma 1).

    Args:
        logits_PC: of a model before training, (P, C).
    """
    range_P = logits_PC.amax(dim=-1) - logits_PC.amin(dim=-1)
    return float((range_P.double() ** 2 / 8).mean())


def lowest_loss(
    texts: Sequence[Sequence[int]], config: TokenPairConfig, *, special_ids: Sequence[int], sees: Sees
) -> float:
    """The lowest mean loss that any model can have on the pairs of these texts, in nats, computed exactly.

    Pairs are distributed as :class:`~plm_core.data.token_pairs.TokenPairs` draws them, from every text alike. The
    lowest loss is the conditional entropy of the label, given what the model knows of a pair:

    - ``"nothing"``: nothing;
    - ``"tokens"``: which two tokens they are, without their texts;
    - ``"texts"``: which two tokens they are, and all tokens of their texts, but not the order of these. This is all
      that a bidirectional Transformer without positions can know: permuting a row permutes its states and changes
      nothing else. A causal one can know more, for its mask tells first from last.

    The model is allowed to know the texts by heart, so the value is a floor for these texts and no forecast for others.
    A long text in which every token occurs once gives its order away to a model that knows it by heart: then the floor
    is 0, and what a model reaches on *unseen* texts is to be compared with ``"tokens"``.

    Args:
        texts: token ids of each row.
        config: which pairs are drawn.
        special_ids: ids that are part of no pair.
        sees: what the model knows.

    Raises:
        ValueError: no text is long enough for a pair, or an unknown ``sees``.
    """
    if sees not in ("nothing", "tokens", "texts"):
        raise ValueError(f"unknown sees {sees!r}: use 'nothing', 'tokens' or 'texts'")
    special = set(special_ids)
    rows = []
    for text in texts:
        places = np.array([place for place, token in enumerate(text) if token not in special], dtype=np.int64)
        if len(places) > config.max_distance:
            rows.append((np.asarray(text, dtype=np.int64)[places], places))
    if not rows:
        raise ValueError(f"no text has more than max_distance = {config.max_distance} ordinary tokens")
    if sees == "nothing":
        return math.log(config.num_labels - (config.negatives and len(rows) == 1))
    bags: dict[bytes, int] = {}
    bag_of = [bags.setdefault(np.sort(ids).tobytes(), len(bags)) for ids, _ in rows]
    sizes = np.bincount(bag_of)
    vocabulary = 1 + max(int(ids.max()) for ids, _ in rows)
    negatives = config.negatives and len(rows) > 1
    num_labels = 2 * config.max_distance + negatives
    counted: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for (ids, places), bag in zip(rows, bag_of, strict=True):
        known = bag * vocabulary**2 if sees == "texts" else 0
        key_NN = known + ids[:, None] * vocabulary + ids[None, :]
        label_NN = distance_labels(places[None, :] - places[:, None], config.max_distance)
        weights = 1 / (num_labels * len(rows) * np.bincount(label_NN[label_NN >= 0], minlength=num_labels).clip(1))
        is_pair = label_NN >= 0
        counted.append((key_NN[is_pair], label_NN[is_pair], weights[label_NN[is_pair]]))
        if negatives:
            share = 1 / (num_labels * len(rows) * (len(rows) - 1) * len(ids) ** 2)
            same = (sizes[bag] - 1) * share if sees == "texts" else -share
            counted.append((key_NN.ravel(), np.full(key_NN.size, num_labels - 1), np.full(key_NN.size, same)))
    keys, labels, mass = (np.concatenate(each) for each in zip(*counted, strict=True))
    unique, inverse = np.unique(keys, return_inverse=True)
    table = np.bincount(inverse * num_labels + labels, mass, minlength=len(unique) * num_labels)
    table_UC = table.reshape(len(unique), num_labels)
    if negatives and sees == "tokens":
        share_V = np.stack([np.bincount(ids, minlength=vocabulary) / len(ids) for ids, _ in rows]).sum(axis=0)
        anywhere_U = share_V[unique // vocabulary] * share_V[unique % vocabulary]  # in any two rows, also in the same
        table_UC[:, -1] += anywhere_U / (num_labels * len(rows) * (len(rows) - 1))
    table_UC = np.maximum(table_UC, 0.0)  # differences of equal numbers
    whole_U1 = table_UC.sum(axis=1, keepdims=True)
    ratio = np.divide(table_UC, whole_U1, out=np.ones_like(table_UC), where=table_UC > 0)
    return float(-(table_UC * np.log(ratio)).sum())
