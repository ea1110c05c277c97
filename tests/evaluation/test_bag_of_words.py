"""The bag of words is the logistic regression on tf-idf that scikit-learn computes."""

from __future__ import annotations

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
