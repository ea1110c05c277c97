"""Corruption is a pure function, never touches special tokens, and has the promised statistics.

Statistical tests state their false-alarm rate: with independent draws, a share p of n draws lies within z standard
errors sqrt(p(1-p)/n) of p except with probability 2·Q(z); z = 5 makes that 6e-7. Seeds are fixed, so they cannot flake;
the rate says how surprising a failure after a change of the generator would be.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.data.labels import IGNORE
from plm_core.data.masking import Masker, MaskingConfig, span_length

PAD, CLS, SEP, MASK = 0, 1, 2, 3
SPECIAL = [PAD, CLS, SEP, MASK]
VOCABULARY = 50


def masker(**config):
    seed = config.pop("seed", 0)
    return Masker(
        vocab_size=VOCABULARY, mask_token_id=MASK, special_ids=SPECIAL, config=MaskingConfig(**config), seed=seed
    )


def sentences(rows, length, seed=0):
    ids = torch.randint(4, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))
    ids[:, 0], ids[:, -1] = CLS, SEP
    return ids


def within(share, expected, n, z=5.0):
    return abs(share - expected) <= z * math.sqrt(expected * (1 - expected) / n)


def test_15_percent_are_chosen_and_replaced_80_10_10():
    ids = sentences(4000, 130)
    corrupted, labels = masker(rate=0.15)(ids, range(4000))
    chosen = labels != IGNORE
    ordinary = (ids >= 4).sum().item()
    n = chosen.sum().item()
    assert within(n / ordinary, 0.15, ordinary)
    masked = (corrupted == MASK) & chosen
    kept = (corrupted == ids) & chosen
    drawn = chosen & ~masked & ~kept
    assert within(masked.sum().item() / n, 0.8, n)
    unchanged_draw = 0.1 / (VOCABULARY - len(SPECIAL))  # a random token may be the original one
    assert within(kept.sum().item() / n, 0.1 + unchanged_draw, n)
    assert within(drawn.sum().item() / n, 0.1 - unchanged_draw, n)
    counts = torch.bincount(corrupted[drawn], minlength=VOCABULARY).float()
    assert counts[:4].sum() == 0
    per_token = drawn.sum().item() / (VOCABULARY - 4)
    assert (counts[4:] - per_token).abs().max() < 5.5 * math.sqrt(per_token)


def test_no_special_token_in_ten_million_draws():
    draw = masker(rate=0.9, mask_share=0.0, random_share=1.0)
    ids = sentences(1250, 1000)
    special = torch.tensor(SPECIAL)
    positions = 0
    for epoch in range(9):
        corrupted, labels = draw(ids, range(1250), epoch=epoch)
        chosen = labels != IGNORE
        positions += chosen.sum().item()
        assert not torch.isin(corrupted[chosen], special).any()
        assert not torch.isin(labels[chosen], special).any()
        assert corrupted.max() < VOCABULARY
    assert positions >= 10**7


@pytest.mark.parametrize("unit", ["token", "word", "span"])
def test_special_tokens_and_padding_stay(unit):
    ids = sentences(50, 40)
    ids[:, 30:] = PAD
    starts = torch.rand(ids.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    corrupted, labels = masker(rate=0.5, unit=unit)(ids, range(50), word_starts=starts)
    special = torch.isin(ids, torch.tensor(SPECIAL))
    assert torch.equal(corrupted[special], ids[special])
    assert (labels[special] == IGNORE).all()
    untouched = labels == IGNORE
    assert torch.equal(corrupted[untouched], ids[untouched])
    assert torch.equal(labels[~untouched], ids[~untouched])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 1000), order=st.permutations(range(6)))
def test_corruption_is_a_pure_function_of_seed_epoch_and_example(seed, epoch, order):
    ids = sentences(6, 20)
    make = masker(seed=seed)
    together = make(ids, range(6), epoch=epoch)
    shuffled = make(ids[list(order)], order, epoch=epoch)
    for whole, part in zip(together, shuffled, strict=True):
        assert torch.equal(whole[list(order)], part)


def test_padding_changes_no_draw():
    ids = sentences(8, 20)
    longer = torch.cat([ids, torch.full((8, 13), PAD)], dim=1)
    make = masker()
    for short, long in zip(make(ids, range(8)), make(longer, range(8)), strict=True):
        assert torch.equal(short, long[:, :20])


def test_dynamic_masks_change_with_the_epoch_and_static_ones_do_not():
    ids = sentences(20, 50)
    dynamic, static = masker(), masker(dynamic=False)
    assert not torch.equal(dynamic(ids, range(20), epoch=0)[1], dynamic(ids, range(20), epoch=1)[1])
    assert torch.equal(static(ids, range(20), epoch=0)[1], static(ids, range(20), epoch=1)[1])


def test_an_exact_count_chooses_that_many_tokens_of_every_batch():
    ids = sentences(7, 33)
    for rate in (0.0, 0.15, 0.4):
        labels = masker(rate=rate, exact=True)(ids, range(7))[1]
        assert (labels != IGNORE).sum() == round(rate * 7 * 31)


def test_whole_words_are_chosen_as_a_whole():
    ids = sentences(200, 50)
    starts = torch.rand(ids.shape, generator=torch.Generator().manual_seed(2)) < 0.4
    starts[:, 1] = True
    labels = masker(rate=0.3, unit="word")(ids, range(200), word_starts=starts)[1]
    chosen = labels != IGNORE
    inside = ~starts[:, 2:-1]  # ordinary tokens that continue the word to their left
    assert torch.equal(chosen[:, 2:-1][inside], chosen[:, 1:-2][inside])
    words = (starts[:, 1:-1]).sum().item()
    assert within(chosen[:, 1:-1][starts[:, 1:-1]].sum().item() / words, 0.3, words)


def test_spans_have_the_promised_lengths_and_rate():
    ids = sentences(1500, 200)
    chosen = masker(rate=0.05, unit="span")(ids, range(1500))[1] != IGNORE
    assert chosen[:, 1:-1].float().mean().item() == pytest.approx(0.05, abs=0.003)
    starts = chosen & ~torch.nn.functional.pad(chosen, (1, 0))[:, :-1]
    mean = chosen.sum().item() / starts.sum().item()
    assert 0.75 * 3.8 < mean < 1.25 * 3.8  # ends and budget shorten some, neighbours join others


def test_spans_cut_no_word_and_have_the_promised_rate():
    ids = sentences(1500, 200)
    ids[:, 150:] = PAD
    ids[:, 149] = SEP
    starts = torch.rand(ids.shape, generator=torch.Generator().manual_seed(3)) < 0.6
    starts[:, 1] = False  # a row that begins inside a word: what is left of it counts as one
    chosen = masker(rate=0.15, unit="span")(ids, range(1500), word_starts=starts)[1] != IGNORE
    inside = ~starts[:, 2:149]
    assert torch.equal(chosen[:, 2:149][inside], chosen[:, 1:148][inside])
    assert chosen[:, 1:149].float().mean().item() == pytest.approx(0.15, abs=0.01)
    assert chosen[:, 1].any()
    assert not chosen[:, 149:].any()
    begun = chosen[:, 1:149] & ~torch.nn.functional.pad(chosen[:, 1:149], (1, 0))[:, :-1]
    assert 3 < (chosen & starts)[:, 1:149].sum() / begun.sum() < 4.5  # words of a span; neighbours join


def test_spans_of_tokens_ignore_no_position():
    ids = sentences(20, 60)
    every = torch.ones_like(ids, dtype=torch.bool)
    by_token = masker(rate=0.3, unit="span")(ids, range(20))
    by_word = masker(rate=0.3, unit="span")(ids, range(20), word_starts=every)
    assert all(map(torch.equal, by_token, by_word))  # words of one token each: the same spans


def test_span_lengths_are_those_of_the_paper():
    lengths = [span_length((i + 0.5) / 100_000) for i in range(100_000)]
    assert (min(lengths), max(lengths)) == (1, 10)
    assert sum(lengths) / len(lengths) == pytest.approx(3.8, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": 1.5}, "rate is a probability"),
        ({"mask_share": 0.9, "random_share": 0.2}, "add up to at most 1"),
        ({"exact": True, "unit": "span"}, "exact count needs unit 'token'"),
        ({"unit": "letter"}, "expected one of"),
    ],
)
def test_impossible_settings_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaskingConfig(**arguments)


def test_a_vocabulary_without_the_needed_tokens_is_refused():
    with pytest.raises(ValueError, match="must be one of the special ids"):
        Masker(vocab_size=9, mask_token_id=3, special_ids=[0, 1])
    with pytest.raises(ValueError, match="no ordinary one"):
        Masker(vocab_size=2, mask_token_id=1, special_ids=[0, 1])


def test_whole_word_masking_without_word_starts_is_refused():
    with pytest.raises(ValueError, match="word_starts"):
        masker(unit="word")(sentences(1, 5), [0])
