"""Skip-gram with negative sampling: its pairs, its gradient by hand, its training, and vectors from pieces."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from plm_core.models.cooccurrence import cooccurrence
from plm_core.models.embeddings import (
    SkipGram,
    SkipGramConfig,
    character_ngrams,
    keep_probability,
    negative_sampling_gradients,
    negative_sampling_loss,
    noise_distribution,
    piece_matrix,
    skip_gram_pairs,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = generator(seed)
    shapes = ((6, 4), (6, 4), (6, 3, 4))
    v, u, n = (torch.randn(shape, generator=draw, dtype=torch.float64, requires_grad=True) for shape in shapes)
    return v, u, n, torch.rand(6, 3, generator=draw) < 0.7


def test_gradient_by_hand_is_that_of_autograd() -> None:
    v, u, n, real = random_batch()
    expected = torch.autograd.grad(negative_sampling_loss(v, u, n, real).sum(), (v, u, n))
    for found, right in zip(negative_sampling_gradients(v, u, n, real), expected, strict=True):
        torch.testing.assert_close(found, right, atol=1e-12, rtol=1e-12)


def test_a_sample_that_is_left_out_changes_neither_loss_nor_gradient() -> None:
    v, u, n, real = random_batch()
    moved = n.detach() + 3 * (~real)[:, :, None]
    torch.testing.assert_close(negative_sampling_loss(v, u, n, real), negative_sampling_loss(v, u, moved, real))
    found = negative_sampling_gradients(v, u, n, real), negative_sampling_gradients(v, u, moved, real)
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_pairs_stay_in_their_sentence_and_come_in_both_directions() -> None:
    ids, sentences = torch.tensor([0, 1, 2, 3, 4]), torch.tensor([0, 0, 0, 1, 1])
    pairs = {tuple(pair) for pair in skip_gram_pairs(ids, sentences, 1, generator()).tolist()}
    assert pairs == {(0, 1), (1, 0), (1, 2), (2, 1), (3, 4), (4, 3)}


def test_pairs_occur_as_often_as_the_dynamic_counts_say() -> None:
    """In 4,000 draws no frequency differs from its expectation by more than five standard deviations."""
    ids = torch.arange(6)
    sentences = torch.zeros(6, dtype=torch.int64)
    seen = torch.zeros(6, 6)
    draw = generator()
    for _ in range(4000):
        words, contexts = skip_gram_pairs(ids, sentences, 3, draw).unbind(dim=1)
        seen += torch.bincount(words * 6 + contexts, minlength=36).view(6, 6)
    expected = cooccurrence(ids, sentences, window=3, vocab_size=6, dynamic=True)
    deviation = (expected * (1 - expected) / 4000).sqrt()
    assert bool(((seen / 4000 - expected).abs() <= 5 * deviation + 1e-6).all())


def test_subsampling_and_noise_by_hand() -> None:
    counts = torch.tensor([900, 90, 10])
    assert keep_probability(counts, 0.01).tolist() == pytest.approx([math.sqrt(0.01 / 0.9), math.sqrt(0.01 / 0.09), 1])
    assert keep_probability(counts, 0).tolist() == [1, 1, 1]
    noise = noise_distribution(counts)
    assert (noise[0] / noise[2]).item() == pytest.approx(90**0.75, rel=1e-5)
    assert noise.sum().item() == pytest.approx(1)


def test_one_step_follows_the_gradient_of_the_batch() -> None:
    """The first step of Adagrad moves each number by the rate, against the sign of its gradient."""
    torch.manual_seed(0)
    model = SkipGram(SkipGramConfig(vocab_size=4, hidden_size=3, num_negatives=2)).double().requires_grad_()
    with torch.no_grad():
        model.context_embeddings.normal_()
    words, contexts, negatives = (
        torch.tensor([0, 0, 1]),
        torch.tensor([2, 2, 3]),
        torch.tensor([[3, 2], [1, 1], [0, 0]]),
    )
    real = negatives != contexts[:, None]
    u, n = model.context_embeddings[contexts], model.context_embeddings[negatives]
    loss = negative_sampling_loss(model.word_embeddings[words], u, n, real).sum()
    gradients = torch.autograd.grad(loss, (model.word_embeddings, model.context_embeddings))
    before = [p.detach().clone() for p in (model.word_embeddings, model.context_embeddings)]
    with torch.no_grad():
        squares = [torch.full_like(p, 1e-30) for p in before]
        model._step(words, contexts, negatives, squares, 0.1, True)
    for old, new, gradient in zip(before, (model.word_embeddings, model.context_embeddings), gradients, strict=True):
        torch.testing.assert_close(new.detach(), old - 0.1 * gradient.sign(), atol=1e-9, rtol=0)


def cluster_text() -> tuple[torch.Tensor, torch.Tensor]:
    """Sentences of three words from either of two halves of the vocabulary, 0 to 4 and 5 to 9."""
    ids = torch.randint(5, (3000,), generator=generator())
    sentences = torch.arange(1000).repeat_interleave(3)
    return ids + 5 * (sentences % 2), sentences


@pytest.mark.parametrize("with_pieces", [False, True])
def test_training_finds_two_groups_of_words_that_never_meet(with_pieces: bool) -> None:
    torch.manual_seed(0)
    config = SkipGramConfig(vocab_size=10, hidden_size=8, window=2, subsampling=0)
    pieces = piece_matrix([[f"w{n}"] for n in range(10)], {f"w{n}": n for n in range(10)}) if with_pieces else None
    model = SkipGram(config, pieces)
    losses = model.fit(*cluster_text(), epochs=5, learning_rate=0.2, batch_size=256)
    assert losses[-1] < losses[0] - 0.5
    unit = torch.nn.functional.normalize(model.vectors(), dim=-1)
    similarity = unit @ unit.T
    assert similarity[:5, :5].min() > 0.8
    assert similarity[:5, 5:].max() < 0.2


def test_training_is_determined_by_its_seeds_and_pieces_of_one_change_nothing() -> None:
    found = []
    for pieces in (None, None, piece_matrix([[str(n)] for n in range(10)], {str(n): n for n in range(10)})):
        torch.manual_seed(1)
        model = SkipGram(SkipGramConfig(vocab_size=10, hidden_size=4, window=2), pieces)
        model.fit(*cluster_text(), epochs=1, seed=2)
        found.append(model.vectors())
    assert torch.equal(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])


def test_pieces_of_a_word() -> None:
    assert character_ngrams("ab") == ["<ab>", "<ab", "ab>"]
    pieces = character_ngrams("banana", 3, 4)
    assert Counter(pieces).most_common(1)[0][1] == 1
    assert {"<ba", "ana", "na>", "<ban", "<banana>"} <= set(pieces)


def test_vectors_of_pieces_are_means_and_unknown_words_are_composed() -> None:
    rows = {"a": 0, "b": 1, "c": 2}
    model = SkipGram(SkipGramConfig(vocab_size=2, hidden_size=4), piece_matrix([["a", "b"], ["c"]], rows))
    torch.testing.assert_close(model.vectors()[0], model.word_embeddings[:2].mean(dim=0).detach())
    composed = model.compose(piece_matrix([["b", "c", "unknown"], ["unknown"]], rows))
    torch.testing.assert_close(composed[0], model.word_embeddings[1:].mean(dim=0).detach())
    assert bool((composed[1] == 0).all())
