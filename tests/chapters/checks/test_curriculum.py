"""The checks on pretraining in stages: right answers pass for any seed, typical mistakes meet the message for them."""

import itertools
import math
import random

import numpy as np
import pytest
import torch

from plm_chapters.checks.curriculum import floors, forgetting, pairs, replay, stages
from plm_core.data.token_pairs import TokenPairConfig
from plm_core.objectives.relative_position import lowest_loss


def pair_labels(pairs_P2, width, k):
    """One pair after the other, as plain numbers."""
    labels = []
    for i, j in pairs_P2.tolist():
        if i // width != j // width:
            labels.append(2 * k)
        else:
            labels.append(max(j - i, -k) + k if j < i else min(j - i, k) + k - 1)
    return labels


def prefix_mask(prefix_B, real_BT):
    """One entry after the other."""
    rows, width = real_BT.shape
    mask_BTT, scored_BT = torch.zeros(rows, width, width).bool(), torch.zeros(rows, width).bool()
    for row, length in enumerate(real_BT.sum(dim=1).tolist()):
        prefix = int(prefix_B[row])
        for token in range(length):
            mask_BTT[row, token, : max(prefix, token + 1)] = True
        scored_BT[row, max(prefix - 1, 0) : length - 1] = True
    return mask_BTT, scored_BT


def hand_on(each_stage, patience):
    """By looking back from every evaluation."""
    found = []
    for evaluations in each_stage:
        for count in range(1, len(evaluations) + 1):
            losses = [loss for _, loss in evaluations[:count]]
            best = losses.index(min(losses))
            if count - 1 - best == patience:
                break
        found.append([evaluations[best][0], evaluations[count - 1][0]])
    return found


def replay_shares(sizes, temperature, replay):
    if not sizes:
        return torch.ones(1)
    earlier = (torch.tensor(sizes, dtype=torch.float64).log() / temperature).softmax(0)
    return torch.cat([replay * earlier, torch.tensor([1 - replay])])


def epochs(sizes, shares, batches, batch_size):
    return batches * batch_size * np.array(shares)[: len(sizes)] / np.array(sizes)


def schedule(shares, batches, seed):
    return random.Random(seed).choices(range(len(shares)), weights=shares, k=batches)


def floor(rows, k):
    return lowest_loss(rows, TokenPairConfig(max_distance=k), special_ids=[], sees="texts")


RIGHT = {
    pairs.distances: (pair_labels,),
    pairs.reading: (prefix_mask,),
    floors.without_positions: (floor,),
    stages.prediction: (1, torch.tensor(-0.9129), 23.0, "rises"),
    stages.handing_on: (hand_on,),
    replay.replaying: (replay_shares, schedule, lambda *each: epochs(*each).tolist()),
}


@pytest.mark.parametrize("exercise", RIGHT, ids=lambda each: each.title)
@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_right_answers_pass(exercise, seed):
    outcomes = exercise.run(*RIGHT[exercise], seed=seed)
    assert [outcome.message for outcome in outcomes if not outcome.passed] == []
    assert len(outcomes) == len(exercise.stages)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_floor_counted_pair_by_pair_is_that_of_the_library(k):
    rows = [[3, 1, 2, 1], [1, 1, 3, 2], [2, 2, 2, 2, 2], [0, 1, 2, 3, 4, 5], [1, 2, 1, 3, 1]]
    assert floors._floor(rows, k) == pytest.approx(floor(rows, k))


@pytest.mark.parametrize("seed", range(3))
def test_stage_m_forgets_c_and_replay_keeps_part_of_it(seed):
    measured = forgetting.new_stage(seed)
    assert measured["after C"] + 0.1 < measured["after M with replay"] < measured["after M"] - 0.1


def test_moments_of_another_stage_move_a_weight_the_wrong_way_for_22_steps():
    moves = forgetting.first_steps(keep_moments=True)
    assert [number for number, move in enumerate(moves, start=1) if move < 0] == list(range(1, 23))
    assert forgetting.first_steps(keep_moments=False) == pytest.approx([1.0] * 30)


def nearest_first(pairs_P2, width, k):
    distance_P = pairs_P2[:, 1] - pairs_P2[:, 0]
    labels_P = distance_P.abs().clamp(max=k) - 1
    return torch.where(distance_P > 0, labels_P + k, labels_P)


def round_robin(shares, batches, seed):
    return [number % len(shares) for number in range(batches)]


def in_two_blocks(shares, batches, seed):
    """Replay is drawn for the second half only, twice as often as it should be."""
    twice = [2 * share for share in shares[:-1]]
    drawn = np.random.default_rng(seed).choice(len(shares), size=batches, p=[*twice, 1 - sum(twice)])
    return [len(shares) - 1 if number < 100 else int(task) for number, task in enumerate(drawn)]


def with_schedule(replaced):
    return (replay_shares, replaced, lambda *each: epochs(*each).tolist())


def without_ties(each_stage, patience):
    """An equal loss counts as a gain."""
    return stages._simulate(each_stage, patience, stages._Rule(ties=True))


def whole_stage(each_stage, patience):
    """Patience is ignored."""
    return [(min(each, key=lambda pair: pair[1])[0], each[-1][0]) for each in each_stage]


MISTAKES = [
    (pairs.distances, (lambda p, width, k: p.clone(),), "one label for each pair"),
    (pairs.distances, (lambda p, width, k: p[:, 0].float(),), "so integers"),
    (pairs.distances, (nearest_first,), "the farthest has 0"),
    (pairs.distances, (lambda p, width, k: (p[:, 1] - p[:, 0]).abs().clamp(max=k) - 1,), "the direction is lost"),
    (pairs.reading, (lambda prefix_B, real_BT: real_BT,), "should return two things"),
    (pairs.reading, (lambda *each: (prefix_mask(*each)[0][0], prefix_mask(*each)[1]),), "a mask of its own"),
    (pairs.reading, (lambda *each: (prefix_mask(*each)[0].mT, prefix_mask(*each)[1]),), "the wrong way round"),
    (pairs.reading, (lambda prefix_B, real_BT: prefix_mask(0 * prefix_B, real_BT),), "from left to right only"),
    (pairs.reading, (lambda prefix_B, real_BT: prefix_mask(prefix_B + 1, real_BT),), "one token too long"),
    (floors.without_positions, (lambda rows, k: math.log(2 * k),), "the words say all"),
    (floors.without_positions, (lambda rows, k: floors._floor(rows, k, weigh="corpus"),), "first a row is drawn"),
    (floors.without_positions, (lambda rows, k: floors._floor(rows, k, ordered=False),), "taken in any order"),
    (floors.without_positions, (lambda rows, k: floors._floor(rows, k, weigh="pair"),), "near distances"),
    (stages.prediction, (-1, -0.913, 23, "rises"), "against its gradient"),
    (stages.prediction, (0.447, -0.913, 23, "rises"), "bias correction is missing"),
    (stages.prediction, (1, -0.89, 23, "rises"), "not divided by the root"),
    (stages.prediction, (1, -1, 23, "rises"), "the new gradient counts as well"),
    (stages.prediction, (1, -0.913, 30, "rises"), "find the first n"),
    (stages.prediction, (1, -0.913, 23, "up"), 'should be "falls", "stays" or "rises"'),
    (stages.prediction, (1, -0.913, 23, "falls"), "it rises"),
    (stages.handing_on, (without_ties,), "an equal loss is no gain"),
    (stages.handing_on, (whole_stage,), "patience"),
    (stages.handing_on, (lambda each_stage, patience: [each[-1][0] for each in each_stage],), "two steps"),
    (replay.replaying, with_schedule(round_robin), "is the seed used?"),
    (replay.replaying, with_schedule(lambda *each: schedule(*each)[1:]), "199 numbers for 200 batches"),
    (replay.replaying, with_schedule(in_two_blocks), "in each half they are not"),
]


@pytest.mark.parametrize(("exercise", "answers", "message"), MISTAKES, ids=[message for *_, message in MISTAKES])
def test_mistakes_meet_the_message_that_names_them(exercise, answers, message):
    failed = [outcome.message for outcome in exercise.run(*answers) if not outcome.passed]
    assert any(message in each for each in failed), failed


def test_a_stage_without_a_loss_of_its_own_is_named():
    nothing = [(None, 0), (0, 0), (0, 0)]
    with pytest.raises(stages.CheckFailed, match="no best loss of its own"):
        stages.handing_on.grade("every stage by its own losses", lambda *_: nothing)


def test_every_mistake_about_patience_can_show():
    """The search for stages on which a mistake shows ends, for every mistake and patience."""
    for rule, patience in itertools.product(stages.RULES.values(), (2, 3)):
        draw = stages.Draw("patience", patience)
        shown = 0
        for _ in range(300):
            each = [stages._evaluations(draw, 10)]
            shown += stages._simulate(each, patience, rule) != stages._simulate(each, patience)
        assert shown > 3, rule
