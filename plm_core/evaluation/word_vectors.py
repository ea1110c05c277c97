"""What word vectors know: nearest neighbours, analogies, agreement with people's judgements, and associations (WEAT).

Vectors are the rows of a matrix (V, D); words are given by the numbers of their rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import torch
import torch.nn.functional as F
from torch import Tensor


def cosines(vectors: Tensor, queries: Tensor) -> Tensor:
    """The cosine of each query (N, D) with each vector (V, D): (N, V). A vector of zeros has the cosine 0."""
    return F.normalize(queries, dim=-1) @ F.normalize(vectors, dim=-1).T


def nearest(vectors: Tensor, queries: Tensor, *, exclude: Sequence[Iterable[int]] | None = None, k: int = 1) -> Tensor:
    """The k rows with the largest cosine to each query, the nearest first.

    Args:
        vectors: (V, D).
        queries: (N, D).
        exclude: for each query the rows that may not be answers, such as the words of the query itself.
        k: how many.

    Returns:
        (N, k), numbers of rows.
    """
    scores_NV = cosines(vectors, queries)
    for number, rows in enumerate(exclude or []):
        scores_NV[number, list(rows)] = -torch.inf
    return scores_NV.topk(k, dim=-1).indices


def same_category(vectors: Tensor, categories: Tensor) -> Tensor:
    """For each vector, whether its nearest other vector is of its category; bool, (N,).

    Args:
        vectors: (N, D), of words whose categories are known.
        categories: (N,), integers.
    """
    scores_NN = cosines(vectors, vectors).fill_diagonal_(-torch.inf)
    return categories[scores_NN.argmax(dim=-1)] == categories


def analogies(vectors: Tensor, questions: Tensor, *, exclude: bool = True) -> Tensor:
    """Answer "a is to b as c is to ..." by the vector nearest to b - a + c, all of length 1 (Mikolov et al. 2013).

    Args:
        vectors: (V, D).
        questions: (N, 3), rows of a, b and c.
        exclude: whether a, b and c are barred as answers.

    Returns:
        (N,), rows.
    """
    unit = F.normalize(vectors, dim=-1)
    a, b, c = (unit[questions[:, place]] for place in range(3))
    barred: list[list[int]] | None = questions.tolist() if exclude else None
    return nearest(vectors, b - a + c, exclude=barred)[:, 0]


def spearman(first: Tensor, second: Tensor) -> float:
    """The rank correlation of two lists of numbers (N,); equal numbers share the mean of their ranks."""

    def ranks(values: Tensor) -> Tensor:
        _, place, count = values.unique(return_inverse=True, return_counts=True)
        return (count.cumsum(0).double() - (count.double() - 1) / 2)[place]

    return float(torch.corrcoef(torch.stack([ranks(first), ranks(second)]))[0, 1])


@dataclass(frozen=True)
class Association:
    """The result of a WEAT.

    Attributes:
        effect: the difference of the two groups' mean associations in standard deviations of all (Cohen's d); between
            -2 and 2.
        p: the share of all divisions of the targets whose statistic is at least as large (one-sided).
        divisions: the number of divisions that were looked at.
    """

    effect: float
    p: float
    divisions: int


def association(vectors: Tensor, attributes: tuple[Tensor, Tensor]) -> Tensor:
    """Mean cosine with the first attributes minus mean cosine with the second, for each vector (N, D): (N,)."""
    first, second = (cosines(group, vectors).mean(dim=-1) for group in attributes)
    return first - second


def weat(
    targets: tuple[Tensor, Tensor], attributes: tuple[Tensor, Tensor], *, most: int = 20_000, seed: int = 0
) -> Association:
    """Word Embedding Association Test (Caliskan, Bryson and Narayanan 2017).

    Args:
        targets: two groups of words, (N, D) each, of the same size.
        attributes: two groups of words with which they are compared.
        most: the largest number of divisions of the targets into halves; if there are more, so many are drawn, and the
            division that is given counts as one of them.
        seed: of the divisions drawn.

    Raises:
        ValueError: the two groups of targets differ in size.
    """
    size = len(targets[0])
    if size != len(targets[1]):
        raise ValueError(f"both groups of targets must be of one size, not {size} and {len(targets[1])}")
    s = association(torch.cat(targets), attributes).double()
    effect = float((s[:size].mean() - s[size:].mean()) / s.std())
    observed = s[:size].sum()
    if comb(2 * size, size) <= most:
        halves = torch.tensor(list(combinations(range(2 * size), size)))
        sums = s[halves].sum(dim=1)
    else:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.rand(most - 1, 2 * size, generator=generator).argsort(dim=1)[:, :size]
        sums = torch.cat([s[drawn].sum(dim=1), observed[None]])
    return Association(effect, float((sums >= observed - 1e-9).double().mean()), len(sums))
