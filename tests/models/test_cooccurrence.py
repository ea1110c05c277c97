"""Counts of neighbours, PMI, its decomposition and tf-idf, each against a slow or a foreign computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfTransformer

from plm_core.models.cooccurrence import cooccurrence, pmi, shifted_ppmi, svd_vectors, tf_idf


def text(seed: int = 0, length: int = 60, vocab_size: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(vocab_size, (length,), generator=generator)
    return ids, torch.randint(5, (length,), generator=generator).sort().values


@pytest.mark.parametrize("dynamic", [False, True])
def test_counts_are_those_of_a_double_loop(dynamic: bool) -> None:
    ids, sentences = text()
    slow = torch.zeros(7, 7)
    for i in range(len(ids)):
        for j in range(len(ids)):
            distance = abs(i - j)
            if 1 <= distance <= 3 and sentences[i] == sentences[j]:
                slow[ids[i], ids[j]] += (4 - distance) / 3 if dynamic else 1
    counts = cooccurrence(ids, sentences, window=3, vocab_size=7, dynamic=dynamic)
    torch.testing.assert_close(counts, slow)


def test_a_text_shorter_than_the_window_has_the_pairs_that_it_has() -> None:
    counts = cooccurrence(torch.tensor([0, 1]), torch.zeros(2, dtype=torch.int64), window=5, vocab_size=2)
    assert counts.tolist() == [[0, 1], [1, 0]]


def test_pmi_of_independent_words_is_zero_and_of_strangers_minus_infinity() -> None:
    independent = torch.outer(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0]))
    torch.testing.assert_close(pmi(independent), torch.zeros(3, 3), atol=1e-6, rtol=0)
    assert pmi(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))[0, 0] == -math.inf


def test_pmi_by_hand() -> None:
    counts = torch.tensor([[0.0, 6.0, 2.0], [6.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    expected = math.log((6 / 16) / ((8 / 16) * (6 / 16)))
    assert pmi(counts)[0, 1].item() == pytest.approx(expected)
    raised = 6**0.75 / (8**0.75 + 6**0.75 + 2**0.75)
    assert pmi(counts, smoothing=0.75)[0, 1].item() == pytest.approx(math.log((6 / 8) / raised))


def test_shifted_ppmi_has_no_negative_entry_and_no_nan_for_words_that_never_occur() -> None:
    counts = torch.zeros(4, 4)
    counts[0, 1] = counts[1, 0] = 3
    for shift in (1.0, 5.0):
        found = shifted_ppmi(counts, shift=shift)
        assert bool((found >= 0).all())
        assert not found.isnan().any()
    assert shifted_ppmi(counts)[0, 1].item() == pytest.approx(math.log(2))
    assert shifted_ppmi(counts, shift=5.0)[0, 1].item() == 0


def test_svd_keeps_inner_products_if_nothing_is_cut_off() -> None:
    matrix = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    vectors = svd_vectors(matrix, 8, power=1.0)
    torch.testing.assert_close(vectors @ vectors.T, matrix @ matrix.T, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="between 1 and 8"):
        svd_vectors(matrix, 9)


def test_the_random_projection_gives_the_same_as_the_exact_decomposition() -> None:
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(1200, 10, generator=generator)
    matrix = factors @ factors.T
    before = torch.get_rng_state()
    vectors = svd_vectors(matrix, 10, power=1.0)
    assert torch.equal(before, torch.get_rng_state())
    exact = np.linalg.svd(matrix.numpy(), compute_uv=False)[:10]
    np.testing.assert_allclose(vectors.norm(dim=0).numpy(), exact, rtol=1e-3)


def test_tf_idf_is_that_of_scikit_learn() -> None:
    counts = torch.randint(0, 4, (6, 9), generator=torch.Generator().manual_seed(0)).float()
    expected = TfidfTransformer().fit_transform(counts.numpy()).toarray()
    np.testing.assert_allclose(tf_idf(counts).numpy(), expected, rtol=1e-5)
