"""Neighbours, analogies, rank correlation and WEAT."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from scipy.stats import spearmanr

from plm_core.evaluation.word_vectors import analogies, cosines, nearest, same_category, spearman, weat

SQUARE = torch.tensor([[1.0, 0.0, 0.2], [1.0, 1.0, 0.2], [0.0, 0.1, 1.0], [0.0, 1.1, 1.0], [-1.0, -1.0, 0.0]])
"""Row 1 is to row 0 nearly as row 3 is to row 2."""


def test_cosine_of_zeros_is_zero() -> None:
    assert cosines(torch.zeros(1, 3), torch.ones(2, 3)).tolist() == [[0], [0]]


def test_nearest_leaves_out_what_is_excluded() -> None:
    assert nearest(SQUARE, SQUARE[:1])[0, 0] == 0
    assert nearest(SQUARE, SQUARE[:1], exclude=[[0]], k=4)[0].tolist()[0] == 1
    assert 0 not in nearest(SQUARE, SQUARE[:1], exclude=[[0]], k=4)


def test_analogies_bar_the_words_of_the_question() -> None:
    question = torch.tensor([[0, 1, 2]])
    assert analogies(SQUARE, question).item() == 3
    almost_same = torch.tensor([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [0.3, 1.0]])
    assert analogies(almost_same, question, exclude=False).item() == 2
    assert analogies(almost_same, question).item() == 3


def test_same_category_never_compares_a_word_with_itself() -> None:
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [1.0, 0.05]])
    assert same_category(vectors, torch.tensor([0, 0, 1, 1])).tolist() == [False, False, False, False]


def test_spearman_is_that_of_scipy_with_ties() -> None:
    draw = torch.Generator().manual_seed(0)
    first, second = (torch.randint(0, 9, (50,), generator=draw).float() for _ in range(2))
    assert spearman(first, second) == pytest.approx(spearmanr(first.numpy(), second.numpy()).statistic)


def test_weat_is_that_of_all_divisions() -> None:
    draw = torch.Generator().manual_seed(0)
    x, y, a, b = (torch.randn(3, 5, generator=draw) for _ in range(4))
    result = weat((x, y), (a, b))
    both = torch.cat([x, y])
    s = (cosines(a, both).mean(dim=1) - cosines(b, both).mean(dim=1)).tolist()
    observed = sum(s[:3]) - sum(s[3:])
    sums = [sum(s[i] for i in order[:3]) - sum(s[i] for i in order[3:]) for order in permutations(range(6))]
    assert result.p == pytest.approx(sum(value >= observed - 1e-9 for value in sums) / len(sums))
    assert result.divisions == 20
    mean, of = sum(s) / 6, torch.tensor(s)
    assert result.effect == pytest.approx(observed / 3 / of.std().item(), abs=1e-5)
    assert abs(mean - of.mean().item()) < 1e-6


def test_drawn_divisions_estimate_the_exact_p_and_never_give_zero() -> None:
    draw = torch.Generator().manual_seed(1)
    x, y, a, b = (torch.randn(8, 4, generator=draw) for _ in range(4))
    exact, drawn = weat((x, y), (a, b)), weat((x, y), (a, b), most=4000)
    assert abs(exact.p - drawn.p) < 5 * (0.25 / 4000) ** 0.5
    assert weat((a, -a), (a, -a), most=100).p >= 1 / 100
    with pytest.raises(ValueError, match="one size"):
        weat((x, y[:3]), (a, b))
