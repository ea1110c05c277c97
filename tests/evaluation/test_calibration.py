"""Calibration equals scikit-learn's curve; the temperature is the minimum that an optimiser finds."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from plm_core.evaluation.calibration import brier, ece_by_chance, fit_temperature, reliability

EXAMPLES = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def tensors(examples):
    confidence, right = zip(*examples, strict=True)
    return torch.tensor(confidence, dtype=torch.float64), torch.tensor(right)


@settings(deadline=None)
@example([(0.0, False)] * 4 + [(1.0, False), (1.0, False), (0.5, False), (0.75, False)], 3, "count")  # on an edge
@given(EXAMPLES, st.integers(1, 12), st.sampled_from(["width", "count"]))
def test_the_diagram_is_that_of_scikit_learn(examples, bins, binning) -> None:
    confidence_N, right_N = tensors(examples)
    strategy = {"width": "uniform", "count": "quantile"}[binning]
    labels = np.append(right_N.numpy(), [True, False])  # scikit-learn wants both outcomes; the two extra share 0 and 1
    values = np.append(confidence_N.numpy(), [0.0, 1.0])
    accuracy, confidence = calibration_curve(labels, values, n_bins=bins, strategy=strategy)
    found = reliability(torch.tensor(values), torch.tensor(labels), bins=bins, binning=binning)
    np.testing.assert_allclose(found.accuracy_K, accuracy, atol=1e-12)
    np.testing.assert_allclose(found.confidence_K, confidence, atol=1e-12)


@given(EXAMPLES, st.integers(1, 12))
def test_the_error_is_its_definition(examples, bins) -> None:
    """Sum over bins of |number right - sum of confidences|, over N; a bin holds its upper edge."""
    confidence_N, right_N = tensors(examples)
    edges, total = np.linspace(0, 1, bins + 1), 0.0
    for place in range(bins):
        inside = [(c, r) for c, r in examples if (edges[place] < c or place == 0) and c <= edges[place + 1]]
        total += abs(sum(c for c, _ in inside) - sum(r for _, r in inside))
    found = reliability(confidence_N, right_N, bins=bins)
    assert found.ece == pytest.approx(total / len(examples), abs=1e-9)
    assert found.counts_K.sum() == len(examples)
    assert found.ece <= found.largest_gap + 1e-12


def test_a_calibrated_model_has_an_error_by_chance() -> None:
    confidence_N = torch.rand(500, generator=torch.Generator().manual_seed(0))
    right_N = torch.rand(500, generator=torch.Generator().manual_seed(1)) < confidence_N
    floor = ece_by_chance(confidence_N)
    assert floor > 0.02
    assert ece_by_chance(confidence_N.repeat(16)) == pytest.approx(floor / 4, rel=0.15)  # falls with sqrt(N)
    assert reliability(confidence_N, right_N).ece == pytest.approx(floor, rel=0.6)
    assert reliability(confidence_N, ~right_N).ece > 5 * floor


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 5))
def test_the_temperature_is_the_minimum_that_scipy_finds(seed, sharpness) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits_NC = torch.randn(200, 4, generator=generator, dtype=torch.float64)
    labels_N = torch.multinomial(logits_NC.softmax(-1), 1, generator=generator)[:, 0]
    logits_NC *= sharpness

    def loss(log_temperature: float) -> float:
        return torch.nn.functional.cross_entropy(logits_NC / np.exp(log_temperature), labels_N).item()

    expected = minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-10})
    found = fit_temperature(logits_NC, labels_N)
    assert loss(np.log(found)) <= expected.fun + 1e-12
    assert found == pytest.approx(float(np.exp(expected.x)), rel=1e-4)


def test_the_temperature_that_drew_the_labels_comes_back_and_mends_the_error() -> None:
    """20,000 examples: the estimate's standard error is about 0.02."""
    generator = torch.Generator().manual_seed(3)
    logits_NC = 2 * torch.randn(20_000, 5, generator=generator)
    labels_N = torch.multinomial((logits_NC / 2.5).softmax(-1), 1, generator=generator)[:, 0]
    temperature = fit_temperature(logits_NC, labels_N)
    assert temperature == pytest.approx(2.5, abs=0.1)

    def error(logits_NC):
        confidence_N, answer_N = logits_NC.softmax(-1).max(-1)
        return reliability(confidence_N, answer_N == labels_N).ece

    assert error(logits_NC / temperature) < 0.02 < 0.2 < error(logits_NC)


def test_where_all_is_right_the_temperature_is_the_lowest() -> None:
    assert fit_temperature(torch.eye(3), torch.arange(3)) == pytest.approx(0.01)
    assert fit_temperature(-torch.eye(3), torch.arange(3)) == pytest.approx(100)


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_the_brier_score_is_that_of_scikit_learn(seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    probabilities_NC = torch.rand(30, 3, generator=generator, dtype=torch.float64).softmax(-1)
    labels_N = torch.randint(3, (30,), generator=generator)
    expected = brier_score_loss(labels_N.numpy(), probabilities_NC.numpy(), labels=[0, 1, 2], scale_by_half=False)
    assert brier(probabilities_NC, labels_N) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reliability(torch.tensor([1.5]), torch.tensor([True])), "probabilities, not logits"),
        (lambda: reliability(torch.tensor([float("nan")]), torch.tensor([True])), "outside"),
        (lambda: reliability(torch.zeros(0), torch.zeros(0)), "must be"),
        (lambda: reliability(torch.zeros(2), torch.zeros(3)), "must be"),
        (lambda: reliability(torch.zeros(2), torch.zeros(2), bins=0), "bins"),
        (lambda: reliability(torch.zeros(2), torch.zeros(2), binning="mass"), "width or count"),
        (lambda: ece_by_chance(torch.zeros(2), simulations=0), "simulation"),
        (lambda: fit_temperature(torch.zeros(2, 3), torch.zeros(3, dtype=torch.long)), "a fit needs"),
        (lambda: fit_temperature(torch.full((1, 2), torch.inf), torch.zeros(1, dtype=torch.long)), "not finite"),
        (lambda: brier(torch.zeros(2), torch.zeros(2, dtype=torch.long)), "the score needs"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
