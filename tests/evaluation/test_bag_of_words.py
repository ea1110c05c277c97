"""The bag of words is the logistic regression on tf-idf that scikit-learn computes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from plm_core.evaluation.bag_of_words import BagOfWords, words_of

TEXTS = [
    "good film , good cast",
    "bad film",
    "a fine cast and a fine story",
    "dull , dull , dull !",
    "the story is bad",
    "what a film !",
    "nothing of it is good",
    "fine",
]
LABELS = [0, 1, 0, 1, 1, 2, 1, 0]


@pytest.mark.parametrize("strength", [0.3, 1.0, 10.0])
def test_logits_equal_scikit_learns(strength):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(analyzer=words_of)
    reference = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000)
    reference.fit(vectorizer.fit_transform(TEXTS), LABELS)
    new = ["a good story", "unknown words", "film , bad film", ""]
    model = BagOfWords(TEXTS, LABELS, 3, strength=strength)
    for texts in (TEXTS, new):
        expected = reference.predict_proba(vectorizer.transform(texts))
        np.testing.assert_allclose(model.logits(texts).softmax(1).numpy(), expected, atol=1e-4)
    assert model.predict(TEXTS) == reference.predict(vectorizer.transform(TEXTS)).tolist()


def common_and_rare_words(count: int) -> tuple[list[str], list[int]]:
    """Texts of words with Zipf's frequencies and labels that follow them loosely: an ill-conditioned problem."""
    generator = np.random.default_rng(0)
    words_NL = np.minimum(generator.zipf(1.3, size=(count, 20)), 60)
    labels_N = ((words_NL > 5).sum(1) + generator.integers(-3, 4, size=count)) % 3
    return [" ".join(f"w{word}" for word in row) for row in words_NL], labels_N.tolist()


def test_a_weak_penalty_reaches_the_minimum_too():
    from sklearn.linear_model import LogisticRegression

    texts, labels = common_and_rare_words(200)
    model = BagOfWords(texts, labels, 3, strength=1000.0)
    features = model._features([Counter(words_of(text)) for text in texts]).to_dense().numpy()
    reference = LogisticRegression(C=1000.0, tol=1e-10, max_iter=1000, solver="newton-cg").fit(features, labels)
    expected = reference.predict_proba(features)
    np.testing.assert_allclose(model.logits(texts).softmax(1).numpy(), expected, atol=1e-3)
    assert model.gradient_norm <= (2 * 1e-8 * len(texts) / 1000) ** 0.5


def test_a_minimum_that_is_not_reached_is_said():
    texts, labels = common_and_rare_words(200)
    with pytest.warns(RuntimeWarning, match="did not reach its minimum in 25 iterations"):
        unfinished = BagOfWords(texts, labels, 3, strength=1000.0, max_iterations=25)
    assert unfinished.gradient_norm > 0.01


def test_order_does_not_count_and_a_separable_task_is_solved():
    texts = [f"{name} {verb} well" for name in ("ann", "bob", "lee") for verb in ("sings", "swims", "runs")]
    labels = [("sings", "swims", "runs").index(text.split()[1]) for text in texts]
    model = BagOfWords(texts, labels, 3, strength=10.0)
    assert model.predict(["sings carol", "well swims", "runs"]) == [0, 1, 2]
    torch.testing.assert_close(model.logits(["ann sings"]), model.logits(["Sings ANN"]))
    few = BagOfWords(texts, labels, 3, max_words=2)
    assert len(few.places) == 2


def test_words_of_chinese_are_its_characters():
    assert words_of("小猫 runs。") == ["小", "猫", "runs", "。"]


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="at least one text and a label for each, got 0 and 0"):
        BagOfWords([], [], 2)
    with pytest.raises(ValueError, match="got 1 and 2"):
        BagOfWords(["a"], [0, 1], 2)
    with pytest.raises(ValueError, match="labels are numbers from 0 to 1, got 0 to 2"):
        BagOfWords(["a", "b"], [0, 2], 2)
