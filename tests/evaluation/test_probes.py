"""Linear probes against scikit-learn's logistic regression, and what they must not depend on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from plm_core.evaluation.probes import fit_linear_probe


def examples(seed: int, count: int = 120, width: int = 6, classes: int = 3):
    """Features of overlapping classes, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels_N = torch.arange(count) % classes
    centres_CD = torch.randn(classes, width, generator=generator)
    return centres_CD[labels_N] + 1.5 * torch.randn(count, width, generator=generator), labels_N


@pytest.mark.parametrize("weight_decay", [0.001, 0.01, 0.3])
def test_probabilities_are_those_of_scikit_learn(weight_decay: float) -> None:
    features_ND, labels_N = examples(0)
    probe = fit_linear_probe(features_ND, labels_N, weight_decay=weight_decay, max_iter=500)
    scaler = StandardScaler().fit(features_ND.numpy())
    scaler.scale_ = features_ND.std(0).numpy()  # the unbiased deviation, as torch has it
    theirs = LogisticRegression(C=1 / (2 * weight_decay * len(labels_N)), tol=1e-8, max_iter=5000)
    theirs.fit(scaler.transform(features_ND.numpy()), labels_N.numpy())
    fresh_ND, fresh_labels_N = examples(1)
    expected_NC = torch.tensor(theirs.predict_proba(scaler.transform(fresh_ND.numpy()))).float()
    torch.testing.assert_close(probe.logits(fresh_ND).softmax(-1), expected_NC, atol=2e-3, rtol=0)
    score = theirs.score(scaler.transform(fresh_ND.numpy()), fresh_labels_N.numpy())
    assert probe.accuracy(fresh_ND, fresh_labels_N) == pytest.approx(score, abs=1.01 / len(fresh_labels_N))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(-50, 50))
def test_units_of_the_features_do_not_matter(seed: int, scale: float, shift: float) -> None:
    features_ND, labels_N = examples(seed, count=60, width=3, classes=2)
    plain = fit_linear_probe(features_ND, labels_N).logits(features_ND).softmax(-1)
    moved_ND = features_ND * scale + shift
    torch.testing.assert_close(
        fit_linear_probe(moved_ND, labels_N).logits(moved_ND).softmax(-1), plain, atol=0.01, rtol=0
    )


def test_random_labels_cannot_be_learned() -> None:
    generator = torch.Generator().manual_seed(2)
    features_ND, labels_N = torch.randn(4000, 5, generator=generator), torch.randint(2, (4000,), generator=generator)
    probe = fit_linear_probe(features_ND[:2000], labels_N[:2000])
    assert abs(probe.accuracy(features_ND[2000:], labels_N[2000:]) - 0.5) < 5 * (0.25 / 2000) ** 0.5


def test_a_constant_feature_changes_nothing() -> None:
    features_ND, labels_N = examples(3)
    wider_ND = torch.cat([features_ND, torch.full((len(features_ND), 1), 7.0)], dim=1)
    plain, wider = fit_linear_probe(features_ND, labels_N), fit_linear_probe(wider_ND, labels_N)
    torch.testing.assert_close(wider.logits(wider_ND), plain.logits(features_ND), atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (torch.zeros(3, 2, 2), torch.tensor([0, 1, 0]), "features"),
        (torch.zeros(3, 2), torch.tensor([0, 1]), "labels"),
        (torch.zeros(3, 2), torch.tensor([1, 1, 1]), "two classes"),
        (torch.zeros(1, 2), torch.tensor([1]), "two classes"),
    ],
)
def test_what_cannot_be_fitted_is_refused(features, labels, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_linear_probe(features, labels)
