"""The recall task of the chapter on positions, and the stretched rotary positions that it measures."""

from __future__ import annotations

import pytest
import torch

from plm_chapters.experiments import position_recall as recall
from plm_core.models.positions import Rope


def drawn(count: int = 50, length: int = 40) -> recall.Streams:
    return recall.streams(count, length, torch.Generator().manual_seed(3))


def test_answers_and_distances_follow_from_the_latest_statement() -> None:
    data = drawn()
    for ids, answers, distances in zip(*(part.tolist() for part in data), strict=True):
        place: dict[int, int] = {}
        told: dict[int, int] = {}
        for t, event in enumerate(ids):
            if event < recall.PEOPLE * recall.PLACES:
                person, where = divmod(event, recall.PLACES)
                assert distances[t] == 0
                place[person], told[person] = where, t
            else:
                person = event - recall.PEOPLE * recall.PLACES
                assert answers[t] == place[person]
                assert distances[t] == t - told[person] > 0


@pytest.mark.parametrize("variant", recall.SCHEMES)
def test_models_read_together_as_they_read_alone(variant: str) -> None:
    models = recall.build(variant, [0, 1])
    ids = drawn(4, 20).ids
    both = recall.together(models, ids, per_model=False)
    for model, logits in zip(models, both, strict=True):
        torch.testing.assert_close(logits, model(ids))


def test_a_window_hides_what_lies_before_it() -> None:
    (model,) = recall.build("rope", [0])
    ids = drawn(2, 20).ids
    changed = ids.clone()
    changed[:, 0] = (changed[:, 0] + 1) % (recall.PEOPLE * recall.PLACES)
    near = recall.LAYERS * 3  # with a window of 4, each layer reaches 3 events farther back
    one, other = model(ids, window=4), model(changed, window=4)
    torch.testing.assert_close(one[:, near + 1 :], other[:, near + 1 :])
    assert not torch.allclose(one[:, near], other[:, near])


@pytest.mark.parametrize("repair", recall.REPAIRS)
def test_scores_of_stretched_rope_depend_on_the_distance_only(repair: str) -> None:
    scheme = recall.ScaledRope(8, repair, 4.0)
    q, k = torch.randn(2, 1, 1, 6, 8).unbind()
    here, there = scheme.rotate(q, k, q_offset=0), scheme.rotate(q, k, q_offset=50)
    torch.testing.assert_close(here[0] @ here[1].mT, there[0] @ there[1].mT, atol=1e-4, rtol=1e-4)


def test_stretched_rope_reaches_the_angles_it_promises() -> None:
    plain = Rope(8)
    x = torch.randn(1, 1, 33, 8)
    torch.testing.assert_close(
        recall.ScaledRope(8, "as trained", 4.0).rotate(x, x, q_offset=0)[0], plain.rotate(x, x, q_offset=0)[0]
    )
    omega = torch.tensor(recall.ScaledRope(8, "as trained", 4.0).omega)
    assert torch.allclose(torch.tensor(recall.ScaledRope(8, "interpolated", 4.0).omega), omega / 4)
    scaled = torch.tensor(recall.ScaledRope(8, "base scaled", 4.0).omega) / omega
    assert torch.allclose(scaled[[0, -1]], torch.tensor([1.0, 0.25]))
    yarn = torch.tensor(recall.ScaledRope(8, "yarn", 4.0).omega) / omega
    assert torch.allclose(yarn, torch.tensor([1.0, 0.25, 0.25, 0.25]))


def test_an_unknown_repair_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown repair"):
        recall.ScaledRope(8, "glue", 4.0)
