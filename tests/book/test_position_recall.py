"""The recall task of the chapter on positions, and the stretched rotary positions that it measures."""

from __future__ import annotations

import pytest
import torch

from plm_chapters.experiments import position_recall as recall
from plm_chapters.experiments import position_runs as runs
from plm_chapters.experiments.rope_stretching import REPAIRS, ScaledRope
from plm_chapters.notebook import load_experiment, load_results
from plm_core.models.config import TransformerConfig
from plm_core.models.inputs import Embeddings
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


def test_events_are_scaled_under_sinusoidal_positions_only() -> None:
    """As in the library's embeddings: the sum has an event's part and a position's part of like size."""
    ids = torch.arange(recall.PEOPLE * (recall.PLACES + 1))[None]
    for variant in recall.SCHEMES:
        (model,) = recall.build(variant, [0])
        config = TransformerConfig(ids.shape[1], recall.HIDDEN, recall.LAYERS, recall.HEADS, 2 * recall.HIDDEN)
        assert model.scale == Embeddings(config, model.scheme).scale
        added = model.embed(ids) - model.scheme.embed(torch.zeros(*ids.shape, recall.HIDDEN))
        torch.testing.assert_close(added, model.scale * model.events(ids), atol=1e-6, rtol=1e-4)
        assert added.std().item() == pytest.approx(1.0 if variant == "sinusoidal" else 0.1, rel=0.1)


def test_a_window_hides_what_lies_before_it() -> None:
    (model,) = recall.build("rope", [0])
    ids = drawn(2, 20).ids
    changed = ids.clone()
    changed[:, 0] = (changed[:, 0] + 1) % (recall.PEOPLE * recall.PLACES)
    near = recall.LAYERS * 3  # with a window of 4, each layer reaches 3 events farther back
    one, other = model(ids, window=4), model(changed, window=4)
    torch.testing.assert_close(one[:, near + 1 :], other[:, near + 1 :])
    assert not torch.allclose(one[:, near], other[:, near])


def test_the_majority_rule_names_what_most_visible_statements_name(monkeypatch: pytest.MonkeyPatch) -> None:
    data = drawn(20, 40)
    monkeypatch.setattr(recall, "test_streams", lambda length, seed: data)
    for visible in (None, 10):
        near, far = [], []
        for ids, answers, distances in zip(*(part.tolist() for part in data), strict=True):
            for t in range(40 - recall.SCORED, 40):
                if distances[t] == 0:
                    continue
                person = ids[t] - recall.PEOPLE * recall.PLACES
                seen = ids[0 if visible is None else t - visible + 1 : t]
                counts = [seen.count(person * recall.PLACES + place) for place in range(recall.PLACES)]
                named = [place for place, count in enumerate(counts) if count == max(counts)]
                right = (answers[t] in named) / len(named)
                (near if distances[t] < recall.LENGTH else far).append(right)
        found = recall.score_rule(40, seeds=[0], visible=visible)
        for kind, rights in (("near", near), ("far", far)):
            assert found[kind]["questions"] == [len(rights)]
            assert found[kind]["accuracy"][0] == pytest.approx(sum(rights) / len(rights), abs=1e-4)


def test_truncation_shows_a_question_its_last_events_only() -> None:
    """What a model answers to a truncated far question cannot depend on the person's place: it is at chance."""

    class Copy(recall.Recall):
        """Answers with the place of the latest visible statement about the person: the ideal reader."""

        def forward(self, ids_BT: torch.Tensor, *, window: int | None = None) -> torch.Tensor:
            place = torch.full((len(ids_BT), recall.PEOPLE), -1)
            out, rows = torch.zeros(*ids_BT.shape, recall.PLACES), torch.arange(len(ids_BT))
            for t, event in enumerate(ids_BT.T):
                told = event < recall.PEOPLE * recall.PLACES
                person = torch.where(told, event // recall.PLACES, event - recall.PEOPLE * recall.PLACES)
                place[rows[told], person[told]] = event[told] % recall.PLACES
                out[rows, t, place[rows, person].clamp(min=0)] = 1.0
            return out

    reader = Copy(recall.SCHEMES["none"]())
    whole = recall.score([reader], recall.LENGTHS[-1], seeds=[0])
    cut = recall.score([reader], recall.LENGTHS[-1], seeds=[0], truncate=True)
    assert whole["near"]["accuracy"] == whole["far"]["accuracy"] == cut["near"]["accuracy"] == [1.0]
    assert abs(cut["far"]["accuracy"][0] - 1 / recall.PLACES) < 0.1


@pytest.mark.parametrize("variant", recall.SCHEMES)
def test_truncation_at_true_positions_differs_where_positions_are_added_only(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = drawn(20, 60)
    monkeypatch.setattr(recall, "test_streams", lambda length, seed: data)
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(recall, "_by_distance", lambda right, length, seeds: seen.extend(right))
    models = recall.build(variant, [0])
    for kept in (False, True):
        recall.score(models, 60, seeds=[0], truncate=True, keep_positions=kept)
    assert torch.equal(*seen) == (variant not in ("learned", "sinusoidal"))


@pytest.mark.parametrize("variant", ["learned", "sinusoidal"])
def test_truncation_at_true_positions_shows_the_last_events_with_their_own_rows(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = drawn(5, 60)
    monkeypatch.setattr(recall, "test_streams", lambda length, seed: data)
    found: list[torch.Tensor] = []
    monkeypatch.setattr(recall, "_by_distance", lambda right, length, seeds: found.extend(right))
    (model,) = recall.build(variant, [0])
    recall.score([model], 60, seeds=[0], truncate=True, keep_positions=True)
    expected = []
    for row in range(5):
        for t in range(60 - recall.SCORED, 60):
            if data.distances[row, t] > 0:
                first = t - recall.LENGTH + 1
                words = model.scale * model.events(data.ids[row : row + 1, first : t + 1])
                x = model.scheme.embed(words, offset=first)
                guess = model.places(model.stack(x, is_causal=True))[0, -1].argmax()
                expected.append(float(guess == data.answers[row, t]))
    assert found[0].tolist() == expected


def test_pairs_are_interpolated_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[list[float]] = []
    monkeypatch.setattr(runs, "score", lambda models, length, seeds: tried.append(models[0].scheme.omega))
    runs.score_pairs(recall.build("rope", [0]), [0])
    plain = torch.tensor(runs.stretched("as trained").omega)
    ratios = (plain / torch.tensor(tried)).round(decimals=4)
    one = torch.eye(4)
    assert torch.equal(ratios, torch.cat((1 + 3 * one, 4 - 3 * one)))


def test_a_band_adds_its_distances_to_the_window() -> None:
    bands = load_experiment("06f_bands")
    (model,) = recall.build("rope", [0])
    ids = drawn(2, recall.LENGTHS[-1]).ids
    under_mask = model.places(model.stack(model.events(ids), mask=bands.allowed("none"), is_causal=True))
    torch.testing.assert_close(under_mask, model(ids, window=recall.LENGTH))
    last_row = bands.allowed("64-78")[0, 0, -1].flip(0)  # by distance from the last event
    assert last_row.nonzero()[:, 0].tolist() == [*range(32), *range(64, 79)]


def test_only_the_named_pairs_are_slowed() -> None:
    bands = load_experiment("06f_bands")
    plain = torch.tensor(runs.stretched("as trained").omega)
    ratios = {slowed: (plain / torch.tensor(bands.slowed_pairs(slowed).omega)).tolist() for slowed in bands.SLOWED}
    assert ratios == {
        "as trained": pytest.approx([1, 1, 1, 1]),
        "pair 2": pytest.approx([1, 4, 1, 1]),
        "pairs 3, 4": pytest.approx([1, 1, 4, 4]),
    }


@pytest.mark.parametrize("repair", REPAIRS)
def test_scores_of_stretched_rope_depend_on_the_distance_only(repair: str) -> None:
    scheme = ScaledRope(8, repair, 4.0, trained_length=32)
    q, k = torch.randn(2, 1, 1, 6, 8).unbind()
    here, there = scheme.rotate(q, k, q_offset=0), scheme.rotate(q, k, q_offset=50)
    torch.testing.assert_close(here[0] @ here[1].mT, there[0] @ there[1].mT, atol=1e-4, rtol=1e-4)


def test_stretched_rope_reaches_the_angles_it_promises() -> None:
    plain = Rope(8)
    x = torch.randn(1, 1, 33, 8)
    torch.testing.assert_close(
        ScaledRope(8, "as trained", 4.0, trained_length=32).rotate(x, x, q_offset=0)[0],
        plain.rotate(x, x, q_offset=0)[0],
    )
    omega = torch.tensor(ScaledRope(8, "as trained", 4.0, trained_length=32).omega)
    assert torch.allclose(torch.tensor(ScaledRope(8, "interpolated", 4.0, trained_length=32).omega), omega / 4)
    scaled = torch.tensor(ScaledRope(8, "base scaled", 4.0, trained_length=32).omega) / omega
    assert torch.allclose(scaled[[0, -1]], torch.tensor([1.0, 0.25]))
    yarn = torch.tensor(ScaledRope(8, "yarn", 4.0, trained_length=32).omega) / omega
    assert torch.allclose(yarn, torch.tensor([1.0, 0.25, 0.25, 0.25]))


def test_longer_training_takes_the_rates_that_the_sweeps_chose() -> None:
    stored = [
        run for name in ("06_positional_encoding", "06b_learned_biases") for run in load_results(name, "laptop")["runs"]
    ]
    chosen = {run["variant"]: run["rate"] for run in stored}
    for name in ("06d_more_steps", "06e_more_steps_t5"):
        rates = load_experiment(name).RATES
        assert rates == {variant: chosen[variant] for variant in rates}
    assert chosen["rope"] == load_experiment("06f_bands").RATE


def test_an_unknown_repair_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown repair"):
        ScaledRope(8, "glue", 4.0, trained_length=32)
