"""The checks on masking: right answers pass for any seed, and typical mistakes meet the message that names them."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from plm_chapters.checks.feedback import CheckFailed
from plm_chapters.checks.masked_lm import masking as check
from plm_chapters.checks.masked_lm import targets


def corrupt(ids_BT, special, mask_id, vocab_size, generator):
    ordinary = torch.tensor([i for i in range(vocab_size) if i not in special.tolist()])
    choose_BT, act_BT, draw_BT = torch.rand((3, *ids_BT.shape), generator=generator)
    chosen_BT = ~torch.isin(ids_BT, special) & (choose_BT < 0.15)
    random_BT = ordinary[(draw_BT * len(ordinary)).long()]
    shown_BT = torch.where(act_BT < 0.8, mask_id, torch.where(act_BT < 0.9, random_BT, ids_BT))
    return torch.where(chosen_BT, shown_BT, ids_BT), torch.where(chosen_BT, ids_BT, -100)


def masked_loss(logits_BTV, labels_BT):
    total = F.cross_entropy(logits_BTV.flatten(0, 1), labels_BT.flatten(), ignore_index=-100, reduction="sum")
    return total, (labels_BT != -100).sum()


def spread(starts_T, coins_T):
    return coins_T[starts_T].repeat_interleave(torch.bincount(starts_T.long().cumsum(0) - 1))


def make_pairs(documents, generator):
    def draw(n):
        return int(torch.randint(n, (), generator=generator))

    pairs = []
    for number, document in enumerate(documents):
        others = [other for n, other in enumerate(documents) if n != number]
        for first, successor in itertools.pairwise(document):
            if draw(2):
                pairs.append((first, successor, 0))
            else:
                other = others[draw(len(others))]
                pairs.append((first, other[draw(len(other))], 1))
    return pairs


def fill(transition_VV, left, right, length, place):
    """By summing over every way to fill the gap."""
    weights_V = torch.zeros(len(transition_VV), dtype=transition_VV.dtype)
    for words in torch.cartesian_prod(*[torch.arange(len(transition_VV))] * length).reshape(-1, length).tolist():
        path = [left, *words, right]
        weights_V[words[place]] += torch.stack([transition_VV[a, b] for a, b in itertools.pairwise(path)]).prod()
    return weights_V / weights_V.sum()


RIGHT = {
    check.pencil: (3 / 4, 28 / 29, 4 / 5),
    check.prediction: (0.12, 0.015, 0.5),
    check.corruption: (corrupt,),
    check.whole_words: (spread,),
    targets.loss_parts: (masked_loss,),
    targets.pair_making: (make_pairs,),
}


@pytest.mark.parametrize("exercise", RIGHT, ids=lambda each: each.title)
@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_right_answers_pass(exercise, seed):
    outcomes = exercise.run(*RIGHT[exercise], seed=seed)
    assert [outcome.message for outcome in outcomes if not outcome.passed] == []
    assert len(outcomes) == len(exercise.stages)


@pytest.mark.parametrize("stage", ["a distribution", "one word missing"])
def test_the_posterior_equals_summing_over_every_filling(stage):
    targets.chain.grade(stage, fill)


def test_the_posterior_of_longer_gaps_equals_summing():
    transition_VV = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.6, 0.3, 0.1]], dtype=torch.float64)
    for length in (1, 2, 4):
        for place in range(length):
            reference = targets._fill_reference(transition_VV, 0, 2, length, place)
            torch.testing.assert_close(fill(transition_VV, 0, 2, length, place), reference)


def in_place(ids_BT, special, mask_id, vocab_size, generator):
    shown_BT, labels_BT = corrupt(ids_BT, special, mask_id, vocab_size, generator)
    ids_BT.copy_(shown_BT)
    return ids_BT, labels_BT


def two_coins(ids_BT, special, mask_id, vocab_size, generator):
    """The second coin is tossed with a tenth instead of a half: 80/2/18."""
    first_BT, second_BT, draw_BT, choose_BT = torch.rand((4, *ids_BT.shape), generator=generator)
    chosen_BT = ~torch.isin(ids_BT, special) & (choose_BT < 0.15)
    random_BT = 5 + (draw_BT * (vocab_size - 5)).long()
    shown_BT = torch.where(first_BT < 0.8, mask_id, torch.where(second_BT < 0.1, random_BT, ids_BT))
    return torch.where(chosen_BT, shown_BT, ids_BT), torch.where(chosen_BT, ids_BT, -100)


def masked_words(ids_BT, special, mask_id, vocab_size, generator):
    _shown_BT, labels_BT = corrupt(ids_BT, special, mask_id, vocab_size, generator)
    return torch.where(torch.isin(ids_BT, special), ids_BT, mask_id), labels_BT


def nan_loss(logits_BTV, labels_BT):
    chosen_BT = labels_BT != -100
    mean = F.cross_entropy(logits_BTV.flatten(0, 1), labels_BT.flatten(), ignore_index=-100)
    return mean * chosen_BT.sum(), chosen_BT.sum()


def detached_loss(logits_BTV, labels_BT):
    total, count = masked_loss(logits_BTV, labels_BT)
    return total.item(), count


def backwards_fill(transition_VV, left, right, length, place):
    weights_V = transition_VV[left] * transition_VV[right]
    return weights_V / weights_V.sum()


MISTAKES = [
    (check.prediction, (0.12, 0.135, 0.5), "[MASK] is no wrong word"),
    (check.prediction, (0.12, 0.015, 0.1), "[MASK] is to be left out"),
    (check.pencil, (3 / 4, 7 / 8, 4 / 5), "the prior is missing"),
    (check.pencil, (3 / 4, 28 / 29, 1 / 2), "tells nothing"),
    (check.corruption, (in_place,), "changed in place"),
    (check.corruption, (two_coins,), "two borders"),
    (check.corruption, (masked_words,), "was not chosen has changed"),
    (targets.loss_parts, (nan_loss,), "gives NaN"),
    (targets.loss_parts, (detached_loss,), "carries no gradient"),
    (targets.pair_making, (lambda documents, generator: [(d[-1], d[0], 1) for d in documents],), "no successor"),
    (targets.chain, (backwards_fill,), "the wrong way round"),
    (check.whole_words, (lambda starts_T, coins_T: coins_T.float(),), "should be bool"),
]


@pytest.mark.parametrize(("exercise", "answers", "message"), MISTAKES, ids=[message for *_, message in MISTAKES])
def test_mistakes_meet_the_message_that_names_them(exercise, answers, message):
    failed = [outcome.message for outcome in exercise.run(*answers) if not outcome.passed]
    assert any(message in each for each in failed), failed


def test_feedback_is_raised_as_a_failed_check():
    with pytest.raises(CheckFailed, match="all positions"):
        targets.loss_parts.grade("count", lambda logits, labels: (logits.sum(), labels.numel()))
