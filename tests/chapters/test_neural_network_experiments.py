"""The experiments of the chapter on neural networks: windows, the network, sweeps, smoothing and mixtures."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from plm_chapters.experiments.sweeps import sweep
from plm_chapters.experiments.window_network import (
    WindowNetwork,
    best_share,
    mixed,
    surprisals,
    train,
    windows,
)
from plm_chapters.notebook import load_experiment

stories = load_experiment("01_neural_networks")


def test_windows_hold_the_tokens_before_and_never_reach_into_another_document() -> None:
    ids, following = windows([[1, 2, 3], [4]], 2, start=9)
    assert ids.tolist() == [[9, 9], [9, 1], [1, 2], [9, 9]]
    assert following.tolist() == [1, 2, 3, 4]


def test_without_a_hidden_layer_scores_are_linear_in_the_embeddings() -> None:
    torch.manual_seed(0)
    model = WindowNetwork(5, context=2, embedding_size=3, hidden_size=0)
    a, b, c, d = (model(torch.tensor([row])) for row in ([0, 1], [2, 1], [0, 4], [2, 4]))
    torch.testing.assert_close(a - b, c - d)


def test_the_linear_layer_differs_from_the_network_only_by_the_tanh() -> None:
    kinds = (WindowNetwork, stories.LinearNetwork)
    network, linear = (kind(5, context=2, embedding_size=3, hidden_size=4) for kind in kinds)
    linear.load_state_dict(network.state_dict())
    a, b, c, d = (linear(torch.tensor([row])) for row in ([0, 1], [2, 1], [0, 4], [2, 4]))
    torch.testing.assert_close(a - b, c - d)
    with torch.no_grad():
        network.hidden.weight.mul_(1e-3)
        linear.hidden.weight.mul_(1e-3)
    torch.testing.assert_close(network(torch.tensor([[0, 1]])), linear(torch.tensor([[0, 1]])))


def test_place_tables_add_one_row_for_each_place() -> None:
    model = stories.PlaceTables(4, 2)
    assert not model(torch.tensor([[3, 4]])).any()
    torch.nn.init.normal_(model.tables.weight)
    torch.nn.init.normal_(model.bias)
    rows_nUV = model.tables.weight.view(2, 5, 4)
    expected = rows_nUV[0, [3, 1]] + rows_nUV[1, [4, 1]] + model.bias
    torch.testing.assert_close(model(torch.tensor([[3, 4], [1, 1]])), expected)


def test_surprisals_are_cross_entropy_without_dropout() -> None:
    torch.manual_seed(0)
    model = WindowNetwork(5, context=2, embedding_size=3, hidden_size=4, dropout=0.9).train()
    ids, following = torch.randint(5, (9000, 2)), torch.randint(5, (9000,))
    found = surprisals(model, ids, following)
    assert model.training
    expected = F.cross_entropy(model.eval()(ids), following, reduction="none")
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-5)


def test_training_reads_every_window_once_before_any_twice() -> None:
    met: list[int] = []

    class Note(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            met.extend(x[:, 0].int().tolist())
            return super().forward(x)

    rows = torch.arange(12.0)[:, None]
    train(Note(1, 2), rows, torch.zeros(12, dtype=torch.long), rate=1e-3, steps=6, seed=0, batch_size=4)
    assert sorted(met[:12]) == sorted(met[12:]) == list(range(12))


def test_the_network_learns_what_follows() -> None:
    ids, following = windows([[0, 1, 2] * 200], 1, start=3)
    torch.manual_seed(0)
    model = WindowNetwork(3, context=1, embedding_size=4, hidden_size=8)
    train(model, ids, following, rate=1e-2, steps=200, seed=0, batch_size=32)
    assert surprisals(model, ids, following)[1:].mean() < 0.05


@pytest.mark.parametrize(("best", "expected"), [(0.1, 3), (30.0, 5), (0.001, 6)])
def test_a_sweep_goes_on_while_the_best_is_at_an_edge(best: float, expected: int) -> None:
    found = sweep(lambda rate: abs(math.log(rate / best)), [0.01, 0.1, 1.0], factor=10.0, further=3)
    assert len(found) >= min(expected, 4)
    chosen = min(found, key=found.__getitem__)
    assert min(found) < chosen < max(found) or len(found) == 6


def test_a_loss_that_is_not_a_number_is_never_the_best() -> None:
    found = sweep(lambda rate: math.nan if rate > 0.5 else rate, [0.1, 0.3, 1.0], factor=3.0, further=1)
    assert found[1.0] == math.inf
    assert min(found, key=found.__getitem__) < 0.3


def test_a_mixture_is_a_mean_of_probabilities() -> None:
    first, second = -np.log(np.array([0.5, 0.1])), -np.log(np.array([0.1, 0.5]))
    np.testing.assert_allclose(np.exp(-mixed(first, second, 0.25)), [0.2, 0.4])
    assert best_share(first, second) == pytest.approx(0.5)
    assert best_share(first, first + 1) == 1.0


def test_additive_smoothing_is_counting_with_a_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    size, start, order = stories.size(), stories.size(), 3
    pairs: Counter[tuple[int, ...]] = Counter()
    contexts: Counter[tuple[int, ...]] = Counter()
    for ids in stories.training(0, 3000):
        padded = [start] * (order - 1) + ids
        for end in range(order - 1, len(padded)):
            pairs[tuple(padded[end - 2 : end + 1])] += 1
            contexts[tuple(padded[end - 2 : end])] += 1
    document = stories.held_out("valid")[0]
    padded = [start] * (order - 1) + document
    expected = [
        -math.log(
            (pairs[tuple(padded[end - 2 : end + 1])] + 0.01) / (contexts[tuple(padded[end - 2 : end])] + 0.01 * size)
        )
        for end in range(order - 1, len(padded))
    ]
    full = stories.training
    monkeypatch.setattr(stories, "training", lambda seed, words=3000: full(seed, 3000))
    found = stories.additive(0, order, 0.01, "valid")[: len(document)]
    np.testing.assert_allclose(found, expected)


def test_the_floor_is_below_every_n_gram_model() -> None:
    nats = stories.kneser_ney(0, 4, "valid")
    assert len(nats) == len(stories.ideal("valid"))
    assert stories.ideal("valid").mean() < 0.5 * nats.mean()
