"""Source and target hold the text between them; shares and lengths are exact; every way to cut is equally likely."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plm_core.data.sequence_pairs import SequencePairBatches
from plm_core.data.span_corruption import (
    SpanCorruption,
    SpanCorruptionConfig,
    composition,
    corrupt,
    draw_spans,
    fill_in,
)

SENTINELS = range(1000, 1200)
CONFIGS = st.builds(
    SpanCorruptionConfig, rate=st.floats(0.02, 0.95), mean_span_length=st.floats(1, 6), dynamic=st.booleans()
)


@given(text=st.lists(st.integers(3, 9), min_size=2, max_size=80), config=CONFIGS, epoch=st.integers(0, 5))
def test_nothing_is_lost_and_the_counts_are_those_of_the_configuration(text, config, epoch):
    source, target = SpanCorruption([text], sentinel_ids=SENTINELS, config=config, seed=1).pair(0, epoch=epoch)
    tokens, spans = config.counts(len(text))
    assert fill_in(source, target, SENTINELS) == text
    assert 1 <= tokens < len(text)
    assert len(target) == tokens + spans + 1
    assert len(source) == len(text) - tokens + spans
    assert [token for token in source if token >= 1000] == list(SENTINELS[:spans])
    assert [token for token in target if token >= 1000] == list(SENTINELS[: spans + 1])
    holes = [place for place, token in enumerate(source) if token >= 1000]
    assert all(later - earlier > 1 for earlier, later in pairwise(holes)), "spans do not touch"
    assert spans < config.sentinels(len(text))


def test_the_example_of_the_module():
    mia, put, the, red, cup, on, table, and_, left = range(9)
    text = [mia, put, the, red, cup, on, the, table, and_, left]
    source, target = corrupt(text, [(2, 5), (8, 9)], [100, 101, 102])
    assert source == [mia, put, 100, on, the, table, 101, left]
    assert target == [100, the, red, cup, 101, and_, 102]


def test_the_usual_setting_cuts_15_percent_in_spans_of_three():
    """On T5's 512 tokens: 77 tokens in 26 spans."""
    assert SpanCorruptionConfig().counts(512) == (77, 26)


def test_pairs_are_a_pure_function_of_seed_epoch_and_example():
    texts = [list(range(3, 40)), list(range(5, 30))]
    one = SpanCorruption(texts, sentinel_ids=SENTINELS, seed=4)
    other = SpanCorruption(texts[::-1][::-1], sentinel_ids=SENTINELS, seed=4)
    other.pair(0, epoch=7)
    assert one.pair(1, epoch=2) == other.pair(1, epoch=2)
    assert one.pair(1, epoch=2) != one.pair(1, epoch=3)
    assert one.pair(1) != SpanCorruption(texts, sentinel_ids=SENTINELS, seed=5).pair(1)
    static = SpanCorruption(texts, sentinel_ids=SENTINELS, seed=4, config=SpanCorruptionConfig(dynamic=False))
    assert static.pair(1, epoch=3) == static.pair(1) == one.pair(1)


def test_every_way_to_place_spans_is_equally_likely():
    """6 tokens, 3 of them in 2 spans: 2 ways of lengths, 6 of gaps. Pearson's statistic of 24,000 draws (11 degrees
    of freedom) exceeds 45.1 with probability 5e-6."""
    generator = np.random.default_rng(0)
    n = 24_000
    counts = Counter(tuple(draw_spans(6, 3, 2, generator)) for _ in range(n))
    assert len(counts) == 12
    assert sum((count - n / 12) ** 2 / (n / 12) for count in counts.values()) < 45.1


@given(total=st.integers(1, 30), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_a_composition_has_positive_parts_that_add_up(total, share, seed):
    parts = 1 + round(share * (total - 1))
    found = composition(total, parts, np.random.default_rng(seed))
    assert len(found) == parts
    assert sum(found) == total
    assert min(found) >= 1


def test_a_models_own_target_is_filled_in_as_far_as_it_goes():
    assert fill_in([11, 1000, 14, 1001], [7, 1001, 15, 1005, 8], SENTINELS) == [11, 14, 15]


def test_they_make_batches():
    texts = [list(range(3, 3 + length)) for length in range(2, 30)]
    pairs = SpanCorruption(texts, sentinel_ids=range(40, 60))
    source = SequencePairBatches(pairs, start_id=0, end_id=1, pad_id=2, batch_size=5, seed=0)
    sizes = [source.pairs.pair(number) for number in range(len(texts))]
    assert [len(one) + len(other) for one, other in sizes] == list(pairs.lengths)
    first, again = source.batch(11), source.batch(11)
    assert first["labels"].tolist() == again["labels"].tolist()


@pytest.mark.parametrize(
    ("texts", "sentinels", "message"),
    [
        ([], SENTINELS, "0 texts"),
        ([[3, 4], [5]], SENTINELS, "has 1 tokens"),
        ([[3, 1000, 4]], SENTINELS, "text 0 holds a sentinel"),
        ([list(range(3, 100))], [1000, 1001], "needs 6 different sentinels, got 2"),
        ([list(range(3, 100))], [1000] * 9, "got 1"),
    ],
)
def test_what_cannot_be_corrupted_is_refused(texts, sentinels, message):
    with pytest.raises(ValueError, match=message):
        SpanCorruption(texts, sentinel_ids=sentinels)


@pytest.mark.parametrize("settings", [{"rate": 0.0}, {"rate": 1.0}, {"mean_span_length": 0.5}])
def test_settings_outside_their_range_are_refused(settings):
    with pytest.raises(ValueError, match="SpanCorruptionConfig"):
        SpanCorruptionConfig(**settings)
