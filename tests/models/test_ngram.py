"""Kneser-Ney n-grams: proper distributions, the published formula by hand, and what lower orders are for."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.models.ngram import KneserNey, modified_discounts


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=30), min_size=1, max_size=5),
    st.integers(1, 4),
    st.lists(st.integers(0, 5), max_size=6),
)
def test_every_context_has_a_proper_distribution(documents, order, context):
    model = KneserNey(6, order=order).fit(documents)
    probabilities = model.next_token(context)
    assert probabilities.min() > 0
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-12)


def test_a_formula_that_takes_nothing_away_is_not_followed():
    """One word seen three times and two seen four times would give D3 = 3 - 4·Y·2/1 < 0, and unseen words nothing."""
    assert modified_discounts(np.array([3, 4, 4]))[3] > 0
    model = KneserNey(6, order=1).fit([[0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]])
    assert model.next_token([]).min() > 0


def test_surprisals_are_those_of_the_next_token_distribution():
    rng = np.random.default_rng(0)
    document = rng.integers(0, 9, 60)
    model = KneserNey(9, order=3).fit([rng.integers(0, 9, 300)])
    expected = [-math.log(model.next_token(document[:i])[token]) for i, token in enumerate(document)]
    assert model.nats(document) == pytest.approx(expected)


def test_a_bigram_model_has_the_probabilities_computed_by_hand():
    """The formula of the paper, written out over plain dictionaries, for a corpus with counts of 1, 2, 3 and more."""
    document = [int(c) for c in "0120130120301230120012331"]
    size, start = 4, 4
    bigrams = Counter(zip([start, *document], document, strict=False))
    discounts = modified_discounts(np.array(list(bigrams.values())))
    continuation = Counter(token for _, token in bigrams)
    low = modified_discounts(np.array(list(continuation.values())))

    def unigram(token):
        types = sum(continuation.values())
        left = sum(low[min(count, 3)] for count in continuation.values()) / types
        count = continuation[token]
        return (count - low[min(count, 3)]) / types + left / size

    def bigram(context, token):
        counts = {b: n for (a, b), n in bigrams.items() if a == context}
        total, count = sum(counts.values()), counts.get(token, 0)
        left = sum(discounts[min(n, 3)] for n in counts.values()) / total
        return (count - discounts[min(count, 3)]) / total + left * unigram(token)

    model = KneserNey(size, order=2).fit([document])
    for context in range(size):
        assert model.next_token([context]) == pytest.approx([bigram(context, token) for token in range(size)])


@pytest.mark.parametrize(("size", "order"), [(4, 12), (50_000, 5), (50_000, 20)])
def test_long_ngrams_of_large_vocabularies_have_the_probabilities_of_the_formula(size, order):
    """The recursion of the paper over dictionaries of tuples, where (V + 1) ** order may need hundreds of bits."""
    rng = np.random.default_rng(order)
    texts = [[size - 1 - int(token) for token in rng.choice(4, 60, p=[0.6, 0.2, 0.1, 0.1])] for _ in range(3)]
    counts = [Counter() for _ in range(order + 1)]
    for text in texts[:2]:
        padded = [size] * (order - 1) + text
        for end in range(order, len(padded) + 1):
            counts[order][tuple(padded[end - order : end])] += 1
    for length in range(order - 1, 0, -1):
        counts[length] = Counter(gram[1:] for gram in counts[length + 1])

    def probability(gram):
        if not gram:
            return 1 / size
        same = {g: n for g, n in counts[len(gram)].items() if g[:-1] == gram[:-1]}
        if not same:
            return probability(gram[1:])
        discounts = modified_discounts(np.array(list(counts[len(gram)].values())))
        own = same.get(gram, 0) - discounts[min(same.get(gram, 0), 3)]
        left = sum(discounts[min(n, 3)] for n in same.values())
        return (own + left * probability(gram[1:])) / sum(same.values())

    padded = [size] * (order - 1) + texts[2]
    expected = [-math.log(probability(tuple(padded[end - order : end]))) for end in range(order, len(padded) + 1)]
    assert KneserNey(size, order=order).fit(texts[:2]).nats(texts[2]) == pytest.approx(expected)


def test_discounts_are_those_of_chen_and_goodman():
    counts = np.repeat([1, 2, 3, 4], [10, 5, 3, 2])
    y = 10 / 20
    assert modified_discounts(counts) == pytest.approx([0, 1 - 2 * y * 5 / 10, 2 - 3 * y * 3 / 5, 3 - 4 * y * 2 / 3])


def test_contexts_end_at_documents():
    separate = KneserNey(4, order=2).fit([[0, 1], [2, 3]])
    joined = KneserNey(4, order=2).fit([[0, 1, 2, 3]])
    assert joined.next_token([1])[2] > separate.next_token([1])[2]


def test_impossible_settings_and_texts_are_refused_with_what_to_do():
    with pytest.raises(ValueError, match="at least 1"):
        KneserNey(4, order=0)
    with pytest.raises(ValueError, match=r"0\.\.3"):
        KneserNey(4).fit([[4]])
    with pytest.raises(ValueError, match="nothing to count"):
        KneserNey(4).fit([])
    with pytest.raises(ValueError, match="call fit"):
        KneserNey(4).nats([1])
