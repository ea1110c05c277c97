"""What can be taken out of a small BERT: weights, by three scores in two situations; heads; and what it buys.

Weights are pruned while a model trains: in *transfer*, when the masked model learns to tell the mood of a story, and in
*pretraining* that goes on. Heads are removed from trained models, alone and one after the other: see ``head_removal``.

What the results do not show: which score is better in transfer. There are two learning rates, 100 steps on a laptop and
the published form of movement at one rate only, and the accuracies sit on plateaus. No dense model was trained on for
as many steps, so what pruning costs after training has no control.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from plm_chapters.experiments.head_removal import study_heads
from plm_chapters.experiments.teachers import Model, Task, train
from plm_core.compression.prune import (
    GradualPruning,
    MovementScores,
    Scope,
    apply_masks,
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
from plm_core.evaluation.benchmark import time_in_turns
from plm_core.models.classifier import BertClassifier
from plm_core.models.replacement import replace_modules
from plm_core.storyworld_v1.tasks import MOODS
from plm_core.training.trainer import Trainer

Situation = Literal["transfer", "pretraining"]
Score = Literal["magnitude", "movement", "random", "none"]
Units = dict[str, list[int]]

STEPS = {"laptop": {"transfer": 100, "pretraining": 50}, "gpu": {"transfer": 1500, "pretraining": 1500}}
EVERY = 5
"""Steps between two choices of the masks."""
RATES = {0.5: (5e-4, 2e-3), 0.9: (5e-4, 2e-3)}
"""Peak rates of the transfer runs, by sparsity: too few to find the best one of either score."""
SHARES = (0.3, 0.5, 0.7, 0.8, 0.9)
"""Of weights removed without any training."""


@dataclass(frozen=True)
class Plan:
    """One way to prune a model while it trains."""

    situation: Situation
    score: Score
    sparsity: float
    learning_rate: float = 2e-3
    """The peak."""
    scope: Scope = "global"
    gradual: bool = True
    remembering: bool = False
    """Keep the values of removed weights, as movement pruning was published: see :class:`RememberingMovement`."""
    units: bool = False
    """Remove heads and neurons before the training, the same share of both, instead of weights during it."""


def make_plans() -> dict[str, Plan]:
    """Every training run by its name."""
    plans = {}
    for score in ("magnitude", "movement"):
        for share, rates in RATES.items():
            for rate in rates:
                plans[f"transfer, {score}, {share:.0%}, rate {rate:g}"] = Plan("transfer", score, share, rate)
        plans[f"pretraining, {score}, 90%"] = Plan("pretraining", score, 0.9)
    plans["transfer, movement, 90%, remembering"] = Plan("transfer", "movement", 0.9, 5e-4, remembering=True)
    plans["transfer, random, 90%"] = Plan("transfer", "random", 0.9)
    plans["pretraining, magnitude, 90%, at once"] = Plan("pretraining", "magnitude", 0.9, gradual=False)
    plans["pretraining, magnitude, 50%, at once"] = Plan("pretraining", "magnitude", 0.5, gradual=False)
    plans["pretraining, 2:4"] = Plan("pretraining", "magnitude", 0.5, scope="2:4", gradual=False)
    plans["pretraining, heads and neurons, 50%"] = Plan("pretraining", "none", 0.5, units=True)
    return plans


PLANS = make_plans()
VARIANTS = ["without training", "heads", "latency", *PLANS]
SEEDS = [0, 1, 2]


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """One variant with one seed: of teacher, of training text, of chance."""
    if variant == "without training":
        return without_training(seed, preset)
    if variant == "heads":
        return study_heads(seed, preset)
    if variant == "latency":
        return latency()
    return prune(variant, seed, preset)


def prune(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Carry a plan out.

    Returns:
        Quality and loss, the share of zeros, the bytes, and ``lost``: the share of zeros among the tenth of the weights
        that were largest before.
    """
    plan = PLANS[variant]
    task, model = start_of(plan, seed, preset)
    largest = choose_masks(magnitude_scores(model), 0.9)
    prune_in_training(model, task, plan, seed)
    found = {**task.measure(model), "sparsity": sparsity(model), "bytes": stored_bytes(model)}
    if not plan.units:
        zero = [block_linears(model)[name].weight[mask] == 0 for name, mask in largest.items()]
        found["lost"] = torch.cat(zero).float().mean().item()
    return found


# Weights


def start_of(plan: Plan, seed: int, preset: str) -> tuple[Task, Model]:
    """The task of a plan and the trained model that it starts from."""
    pretrained = Task("masked", preset)
    if plan.situation == "pretraining":
        return pretrained, pretrained.teacher(seed)
    torch.manual_seed(seed)
    return Task("mood", preset), BertClassifier.from_pretrained(pretrained.teacher(seed), len(MOODS))


def prune_in_training(model: Model, task: Task, plan: Plan, seed: int) -> None:
    """Train a model in place and prune it meanwhile.

    The gradual schedule rises from the first tenth of the steps to six tenths. After that the sparsity stays the same,
    but the masks are still chosen anew every EVERY steps, so that a removed weight may come back in place of another.
    """
    steps = STEPS[task.preset][plan.situation]
    if plan.units:
        remove_share(model, task, plan.sparsity, seed)

    def attach(trainer: Trainer) -> None:
        if plan.score == "none":
            return
        schedule: Callable[[int], float] = lambda _: plan.sparsity  # noqa: E731
        if plan.gradual:
            schedule = partial(cubic_sparsity, final=plan.sparsity, start=steps // 10, end=steps * 6 // 10)
        if plan.remembering:
            RememberingMovement(model, trainer.optimizer, schedule)
            return
        scores = scores_of(plan.score, model, trainer.optimizer, seed)
        GradualPruning(model, trainer.optimizer, scores=scores, schedule=schedule, every=EVERY, scope=plan.scope)

    train(model, task, steps=steps, learning_rate=plan.learning_rate, seed=seed, attach=attach)


class RememberingMovement:
    """Movement pruning as published: removed weights keep their values and their scores go on.

    The model computes with weight times mask. The score of every weight, removed or not, grows by minus its kept value
    times the gradient at its place (the straight-through estimator); only the weights that take part are updated. The
    masks are chosen anew every EVERY steps, over all layers together; the work is done in hooks of the optimiser.

    Source: Sanh, Wolf and Rush (2020), section 4.

    Args:
        model: the model in training; the weights of its blocks' linear layers, (M, K) each, are pruned.
        optimizer: its optimiser; every layer must have a gradient before each step.
        schedule: sparsity after a step, counted from 1, as a share of all these weights.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, schedule: Callable[[int], float]) -> None:
        self.layers, self.schedule, self.step = block_linears(model), schedule, 0
        self.values = {name: layer.weight.detach().clone() for name, layer in self.layers.items()}
        self.scores = {name: torch.zeros_like(value) for name, value in self.values.items()}
        self.masks = {name: torch.ones_like(value, dtype=torch.bool) for name, value in self.values.items()}
        optimizer.register_step_pre_hook(self.before_step)
        optimizer.register_step_post_hook(self.after_step)

    @torch.no_grad()
    def before_step(self, *_: Any) -> None:
        """Score, and give the optimiser the kept values."""
        for name, layer in self.layers.items():
            assert layer.weight.grad is not None
            self.scores[name] -= self.values[name] * layer.weight.grad
            layer.weight.grad.mul_(self.masks[name])
            layer.weight.copy_(self.values[name])

    @torch.no_grad()
    def after_step(self, *_: Any) -> None:
        """Keep the values, and give the model the masked ones."""
        self.step += 1
        if self.step % EVERY == 0:
            self.masks = choose_masks(self.scores, self.schedule(self.step))
        for name, layer in self.layers.items():
            self.values[name].copy_(layer.weight)
            layer.weight.mul_(self.masks[name])


def scores_of(
    score: Score, model: nn.Module, optimizer: torch.optim.Optimizer, seed: int
) -> Callable[[], Mapping[str, Tensor]]:
    """What gives the scores of the moment."""
    if score == "movement":
        return MovementScores(model, optimizer)
    if score == "random":
        return lambda: random_scores(model, seed=seed)
    return lambda: magnitude_scores(model)


def remove_share(model: Model, task: Task, share: float, seed: int) -> None:
    """Take the least important heads and neurons out, the same share of both."""
    heads, neurons = importance(model, task.objective, task.sample(seed))
    remove_heads(model, least_important(heads, share))
    remove_neurons(model, least_important(neurons, share))


def without_training(seed: int, preset: str) -> dict[str, Any]:
    """The masked teacher, and what is left of it when weights are zeroed and nothing is learned any more."""
    task = Task("masked", preset)
    teacher = task.teacher(seed)
    mood = Task("mood", preset)
    found: dict[str, Any] = {"teacher": task.measure(teacher), "mood teacher": mood.measure(mood.teacher(seed))}
    known, blind = magnitude_scores(teacher), random_scores(teacher, seed=seed)
    for name, scores, scope in (("global", known, "global"), ("layer", known, "layer"), ("random", blind, "global")):
        shares = SHARES if name != "layer" else SHARES[-2:]
        found[name] = [zeroed(task, teacher, scores, share, scope) for share in shares]  # type: ignore[arg-type]
    found["2:4"] = zeroed(task, teacher, known, 0.5, "2:4")
    return found


def zeroed(task: Task, teacher: Model, scores: Mapping[str, Tensor], share: float, scope: Scope) -> dict[str, float]:
    """The quality on a part of the test stories, with a share of the weights set to zero."""
    model = copy.deepcopy(teacher)
    apply_masks(model, choose_masks(scores, share, scope=scope))
    return {"share": share, **task.measure(model, task.test[:4])}


# Time and bytes


class CsrLinear(nn.Module):
    """A linear layer that stores and multiplies only the weights that are not zero."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight = layer.weight.detach().to_sparse_csr()
        self.bias = layer.bias

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, F)."""
        out_FN = self.weight @ x_BTD.flatten(0, -2).T
        return out_FN.T.unflatten(0, x_BTD.shape[:-1]) + self.bias


def candidates(seed: int = 0, share: float = 0.9) -> dict[str, Model]:
    """One shape in four forms: dense, with zeros, with the zeros left out (CSR), and with heads and neurons removed.

    Time does not depend on the values of weights, so they need no training.
    """
    torch.manual_seed(seed)
    dense = Task("mood").new_model().eval()
    zeros = copy.deepcopy(dense)
    apply_masks(zeros, choose_masks(magnitude_scores(zeros), share))
    csr = copy.deepcopy(zeros)
    replace_modules(csr, {name: CsrLinear(layer) for name, layer in block_linears(csr).items()})
    found = {"dense": dense, "zeros": zeros, "CSR": csr}
    for name, kept in (("half removed", 2), ("three quarters removed", 1)):
        smaller = copy.deepcopy(dense)
        remove_heads(smaller, {layer: range(kept, 4) for layer in attentions(smaller)})
        remove_neurons(smaller, {layer: range(kept * 128, 512) for layer in feed_forwards(smaller)})
        found[name] = smaller
    return found


def latency(rounds: int = 9) -> dict[str, Any]:
    """Seconds of a call of each form, at one and at 32 sequences of 48 tokens; and of one wide layer, by sparsity."""
    found: dict[str, Any] = {}
    models = candidates()
    for batch in (1, 32):
        ids_BT = torch.randint(5, 100, (batch, 48), generator=torch.Generator().manual_seed(0))
        calls = {name: partial(model, ids_BT) for name, model in models.items()}
        times = time_in_turns(calls, rounds=rounds, threads=1)
        found[f"batch {batch}"] = {
            name: {"median": timing.median, "speedup": timing.speedup_over(times["dense"])}
            for name, timing in times.items()
        }
    found["wide layer"] = {str(share): wide_layer(share, rounds) for share in (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)}
    return found


def wide_layer(share: float, rounds: int = 9) -> float:
    """How many times faster a sparse product is than the dense one, for 48 tokens in BERT-base's widest layer.

    The layer, 768 inputs to 3072 outputs (Devlin et al. 2019, section 3), is random, with zeros at random places. The
    sparse product is torch's, from the format CSR (values, column numbers, and where each row begins); both run in
    fp32 with one thread.

    Args:
        share: of zeros, from 0 to 1.
        rounds: counted calls of each product, taken in turns.

    Returns:
        Dense seconds divided by sparse seconds, the median over the rounds: below 1 the sparse product is slower.

    Raises:
        ValueError: fewer than two rounds.
    """
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3072, 768, generator=generator)
    weight[torch.rand(weight.shape, generator=generator) < share] = 0
    x_TD = torch.randn(48, 768, generator=generator)
    csr, x_DT = weight.to_sparse_csr(), x_TD.T.contiguous()
    calls = {"dense": lambda: x_TD @ weight.T, "CSR": lambda: csr @ x_DT}
    times = time_in_turns(calls, rounds=rounds, threads=1)
    return times["CSR"].speedup_over(times["dense"])


def bits_per_weight(share: float, *, value_bits: int = 32, index_bits: int = 0) -> float:
    """Storage of one weight of a layer, on average, when a share is zero.

    Args:
        share: of zeros.
        value_bits: of a weight that is stored.
        index_bits: of the column number beside each weight that is stored; 0: a map of one bit for each weight of the
            layer, zero or not, instead.
    """
    return (1 - share) * (value_bits + index_bits) + (0 if index_bits else 1)
