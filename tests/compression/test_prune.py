"""Pruning: exact counts, patterns, schedules, and units that are really gone."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.compression.prune import (
    GradualPruning,
    MovementScores,
    apply_masks,
    best_two_of_four,
    choose_masks,
    cubic_sparsity,
    magnitude_scores,
    random_scores,
    sparsity,
)
from plm_core.compression.structure import block_linears, stored_bytes
from plm_core.compression.structured import (
    attentions,
    feed_forwards,
    importance,
    least_important,
    remove_heads,
    remove_neurons,
)
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.objectives.causal_lm import CausalLM


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1), scope=st.sampled_from(["global", "layer"]), seed=st.integers(0, 1000), ties=st.booleans())
def test_exactly_that_share_goes(share, scope, seed, ties):
    generator = torch.Generator().manual_seed(seed)
    scores = {"a": torch.rand(3, 5, generator=generator), "b": torch.rand(7, 4, generator=generator)}
    if ties:
        scores = {name: (score * 3).round() for name, score in scores.items()}
    masks = choose_masks(scores, share, scope=scope)
    removed = {name: int((~mask).sum()) for name, mask in masks.items()}
    if scope == "global":
        assert sum(removed.values()) == round(share * 43)
        kept = torch.cat([scores[n][m] for n, m in masks.items()])
        gone = torch.cat([scores[n][~m] for n, m in masks.items()])
        assert not len(kept) or not len(gone) or kept.min() >= gone.max()
    else:
        assert removed == {"a": round(share * 15), "b": round(share * 28)}


@given(rows=st.integers(1, 5), fours=st.integers(1, 6), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_two_of_every_four_stay_and_they_are_the_largest(rows, fours, seed):
    score = torch.rand(rows, 4 * fours, generator=torch.Generator().manual_seed(seed))
    kept = best_two_of_four(score).view(-1, 4)
    assert (kept.sum(-1) == 2).all()
    groups = score.view(-1, 4)
    assert (groups.masked_fill(~kept, 9).amin(-1) >= groups.masked_fill(kept, -1).amax(-1)).all()


def test_a_pruned_model_has_that_share_of_zeros(gpt):
    total = sum(layer.weight.numel() for layer in block_linears(gpt).values())
    apply_masks(gpt, choose_masks(magnitude_scores(gpt), 0.9))
    assert sparsity(gpt) == round(0.9 * total) / total
    assert stored_bytes(gpt) == stored_bytes(Gpt(gpt.config))  # zeros take as much room as any number


def test_movement_is_the_sum_of_minus_weight_times_gradient(gpt, ids):
    optimizer = torch.optim.SGD(gpt.parameters(), lr=0.1)
    scores, expected = MovementScores(gpt, optimizer), None
    name, layer = next(iter(block_linears(gpt).items()))
    for _ in range(3):
        optimizer.zero_grad()
        CausalLM()(gpt, {"input_ids": ids, "labels": ids.roll(-1, 1)}).total.backward()
        step = -(layer.weight * layer.weight.grad).detach()
        expected = step if expected is None else expected + step
        optimizer.step()
    torch.testing.assert_close(scores()[name], expected)
    scores.close()


def test_gradual_pruning_keeps_the_zeros_through_momentum(gpt, ids):
    optimizer = torch.optim.AdamW(gpt.parameters(), lr=0.01)
    schedule = partial(cubic_sparsity, final=0.8, start=0, end=6)
    pruning = GradualPruning(gpt, optimizer, scores=lambda: magnitude_scores(gpt), schedule=schedule)
    shares = []
    for _ in range(9):
        optimizer.zero_grad()
        CausalLM()(gpt, {"input_ids": ids, "labels": ids.roll(-1, 1)}).total.backward()
        optimizer.step()
        shares.append(sparsity(gpt))
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(0.8, abs=1e-4)
    pruning.close()


def test_the_cubic_schedule_is_zhu_and_guptas():
    assert cubic_sparsity(0, final=0.9, start=2, end=10) == 0
    assert cubic_sparsity(6, final=0.8, start=2, end=10) == pytest.approx(0.8 * (1 - 0.5**3))
    assert cubic_sparsity(99, final=0.9, start=2, end=10) == 0.9


@pytest.mark.parametrize("position", ["none", "learned", "sinusoidal", "rope"])
def test_removing_heads_that_add_nothing_changes_no_output(position, ids):
    torch.manual_seed(0)
    shape = GptConfig(vocab_size=40, hidden_size=32, intermediate_size=48, position=position, initializer_range=0.2)
    model = Gpt(shape).eval()
    name, layer = next(iter(attentions(model).items()))
    with torch.no_grad():
        for head in (1, 3):
            layer.output.weight[:, head * 8 : head * 8 + 8] = 0
    before, size = model(ids), stored_bytes(model)
    remove_heads(model, {name: [1, 3]})
    torch.testing.assert_close(model(ids), before, rtol=1e-5, atol=1e-5)
    assert stored_bytes(model) == size - 4 * (4 * 16 * 32 + 3 * 16)
    with torch.no_grad():
        cache = model.new_cache()
        steps = torch.cat([model(ids[:, t : t + 1], cache=cache) for t in range(ids.shape[1])], dim=1)
    torch.testing.assert_close(steps, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
def test_removing_neurons_that_add_nothing_changes_no_output(activation, ids):
    torch.manual_seed(0)
    shape = GptConfig(vocab_size=40, hidden_size=32, intermediate_size=48, hidden_act=activation, initializer_range=0.2)
    model = Gpt(shape).eval()
    name, layer = next(iter(feed_forwards(model).items()))
    with torch.no_grad():
        layer.down.weight[:, :20] = 0
    before = model(ids)
    remove_neurons(model, {name: range(20)})
    torch.testing.assert_close(model(ids), before, rtol=1e-5, atol=1e-5)
    assert layer.up.out_features == layer.down.in_features == 28


def test_importance_finds_the_units_that_add_nothing(gpt, ids):
    attention, network = (
        attentions(gpt)["decoder.layers.0.attention"],
        feed_forwards(gpt)["decoder.layers.1.feed_forward"],
    )
    with torch.no_grad():
        attention.output.weight[:, 8:16] = 0
        network.down.weight[:, 5] = 0
    gpt.train()
    heads, neurons = importance(gpt, CausalLM(), [{"input_ids": ids, "labels": ids.roll(-1, 1)}])
    assert heads["decoder.layers.0.attention"][1] == 0
    assert (heads["decoder.layers.0.attention"] > 0).sum() == 3
    assert neurons["decoder.layers.1.feed_forward"][5] == 0
    assert least_important(heads, 1 / 8) == {"decoder.layers.0.attention": [1]}
    assert gpt.training
    assert all(parameter.grad is None for parameter in gpt.parameters())


def test_no_layer_loses_its_last_unit():
    scores = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([30.0, 40.0])}
    assert least_important(scores, 0.5) == {"a": [0], "b": [0]}
    with pytest.raises(ValueError, match="at most 2 can"):
        least_important(scores, 0.75)


def test_bad_input_is_refused(gpt):
    scores = random_scores(gpt, seed=0)
    with pytest.raises(ValueError, match="expected 0 to 1"):
        choose_masks(scores, 1.5)
    with pytest.raises(ValueError, match="unknown scope"):
        choose_masks(scores, 0.5, scope="row")
    with pytest.raises(ValueError, match=r"must be 0\.5"):
        choose_masks(scores, 0.6, scope="2:4")
    with pytest.raises(ValueError, match="into fours"):
        best_two_of_four(torch.ones(2, 6))
    with pytest.raises(ValueError, match="not finite"):
        choose_masks({"a": torch.tensor([float("nan")])}, 0.5)
    name = next(iter(attentions(gpt)))
    with pytest.raises(ValueError, match="no layer is called"):
        remove_heads(gpt, {"nothing": [0]})
    with pytest.raises(ValueError, match="there is no head 7"):
        remove_heads(gpt, {name: [7]})
    with pytest.raises(ValueError, match="keep at least one"):
        remove_heads(gpt, {name: [0, 1, 2, 3]})
    alibi = Gpt(GptConfig(vocab_size=9, hidden_size=16, intermediate_size=16, position="alibi"))
    with pytest.raises(ValueError, match="Alibi holds something for each head"):
        remove_heads(alibi, {next(iter(attentions(alibi))): [0]})
    with pytest.raises(ValueError, match="must end after"):
        cubic_sparsity(1, final=0.5, start=3, end=3)
