"""Optimisers, schedules, clipping and warm-up in runs of STEPS steps, each with a sweep of its own.

The Transformer, the stories and the batches are those of 12_optimisation, which has 80 steps. Here each way to train
reads 16,000 stories, each once. It has its own learning rate: five or more, each trained for all STEPS steps with a
seed of its own, by the loss on validation stories; while the best is an edge, the sweep goes on. The optimisers then
have their own weight decay, at that rate. The models that are reported have other seeds, and are evaluated once, on
test stories, with their last weights. What is not named in a variant: a linear fall to a twentieth, WARMUP steps of
warm-up, clipping to 1.

The weight decay of AdamW and of Muon is decoupled; that of momentum and of "Adam with L2" is a penalty in the gradient.
The schedules, no warm-up and no clipping keep AdamW's 0.1, and are compared with AdamW at that strength (PARTNERS). The
runs at a constant learning rate also keep running means of their weights (EMA), which cost no step; the mean that is
reported is the one of EMAS that is best on validation stories, for each seed, at the rate chosen without it.

Criterion, set before the run: two ways differ if the interval of the mean paired difference of the test loss over the
seeds (Student's t) leaves out zero. There are nine comparisons, so each interval is one of 99.44 %. (Planned were three
seeds. With three such an interval is 7.7 standard deviations to either side; when the first ways had come in, two seeds
were added to all. The runs at a decay of 0.1 were added then, too, because AdamW's own came out as 0.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_chapters.notebook import load_experiment
from plm_core.data.batch import Batch
from plm_core.evaluation.validation import validate
from plm_core.objectives.causal_lm import CausalLM
from plm_core.runtime import Runtime, setup
from plm_core.training.config import TrainConfig
from plm_core.training.gradients import DivergedError
from plm_core.training.hardware import Hardware
from plm_core.training.progress import Running
from plm_core.training.trainer import Trainer

grid = load_experiment("12_optimisation")
held_out = load_experiment("12c_held_out")

STEPS, WARMUP, BATCH = 2_000, 100, 8
SEEDS = [0]
"""The seeds of the networks are inside."""
MODEL_SEEDS, SWEEP_SEED = [1, 2, 3, 4, 5], 100
EMAS = [0.98, 0.99, 0.995, 0.998]
POINTS = 20
"""Times at which the validation loss is measured, evenly spaced."""


@dataclass(frozen=True)
class StableDecay(TrainConfig):
    """Warm-up-stable-decay: constant after the warm-up, a straight line to the end over the last fifth of the steps."""

    def rate(self, step: int) -> float:
        """The learning rate of the step after so many successful ones."""
        constant = min(1.0, (step + 1) / (self.warmup_steps + 1))
        left = (self.steps - 1 - step) / (self.steps // 5)
        return self.learning_rate * constant * max(self.final_fraction, min(1.0, left))


@dataclass(frozen=True)
class Way:
    """A way to train: fields of TrainConfig, the learning rates and the strengths of weight decay to begin with."""

    train: dict[str, Any]
    rates: Sequence[float]
    decays: Sequence[float] = ()
    config: type[TrainConfig] = TrainConfig
    keeps_means: bool = False


ADAMW_RATES = [2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2]
ADAMW = {"optimizer": "adamw", "weight_decay": 0.1}
MOMENTUM = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.0}
WAYS = {
    "AdamW": Way(ADAMW, ADAMW_RATES, [0.0, 0.3, 1.0]),
    "AdamW, decay 0.1": Way(ADAMW, ADAMW_RATES),
    "Muon": Way({"optimizer": "muon", "weight_decay": 0.1}, [5e-3, 1e-2, 2e-2, 4e-2, 8e-2], [0.0, 0.3, 1.0]),
    "Adam with L2": Way({"optimizer": "adam", "weight_decay": 0.0}, ADAMW_RATES, [1e-6, 1e-5, 1e-4, 1e-3]),
    "momentum": Way(MOMENTUM, [0.05, 0.1, 0.2, 0.4, 0.8], [1e-5, 1e-4, 1e-3]),
    "constant": Way(ADAMW | {"schedule": "constant"}, ADAMW_RATES, keeps_means=True),
    "warm-up-stable-decay": Way(ADAMW, ADAMW_RATES, config=StableDecay),
    "cosine": Way(ADAMW | {"schedule": "cosine"}, ADAMW_RATES),
    "AdamW, not clipped": Way(ADAMW | {"max_grad_norm": 0.0}, ADAMW_RATES),
    "momentum, not clipped": Way(MOMENTUM | {"max_grad_norm": 0.0}, [0.05, 0.1, 0.2, 0.4, 0.8], [1e-5, 1e-4, 1e-3]),
    "no warm-up": Way(ADAMW | {"warmup_steps": 0}, ADAMW_RATES),
}
VARIANTS = list(WAYS)
PARTNERS = {
    **dict.fromkeys(("Muon", "Adam with L2", "momentum"), "AdamW"),
    **dict.fromkeys(
        ("constant", "warm-up-stable-decay", "cosine", "AdamW, not clipped", "no warm-up"), "AdamW, decay 0.1"
    ),
    "momentum, not clipped": "momentum",
}
"""What each way is compared with."""


def config_of(way: Way, *, rate: float, decay: float | None, rt: Runtime) -> TrainConfig:
    """The settings of one training."""
    steps = rt.choose(laptop=STEPS, gpu=10_000)
    settings: dict[str, Any] = {
        "steps": steps,
        "warmup_steps": WARMUP,
        "schedule": "linear",
        "final_fraction": 0.05,
    } | way.train
    if decay is not None:
        settings["weight_decay"] = decay
    return way.config(learning_rate=rate, **settings)


@cache
def stories(seed: int, rt: Runtime) -> Any:
    """As many stories as a training reads, and validation stories."""
    count = rt.choose(laptop=STEPS, gpu=10_000) * BATCH
    return grid.read_text(seed, stories=count, batch_size=BATCH, valid_stories=rt.choose(laptop=100, gpu=400))


@cache
def test_stories(rt: Runtime) -> tuple[Sequence[Batch], float]:
    """Stories that choose nothing, and their entropy in nats per word."""
    return held_out.read_test(rt.choose(laptop=400, gpu=1_000))


def loss_of(model: nn.Module, batches: Sequence[Batch], rt: Runtime) -> float:
    """Loss in nats per word."""
    return validate(model, CausalLM(), batches, device=rt.device)["loss"]


def train(config: TrainConfig, seed: int, rt: Runtime, *, keeps_means: bool = False, points: int = 1) -> dict[str, Any]:
    """One training.

    Returns:
        ``valid``, pairs of step and validation loss, infinite at the end if the run diverged; ``model``;
        ``valid_means`` and ``means``, the validation loss and the model of each running mean of the weights, by EMA;
        ``norms``, the gradient norm before clipping, a mean for each point.
    """
    text = stories(seed, rt)
    model = grid.build(grid.Plan(), seed, len(text.group_of_word), rt)
    trainer = Trainer(model, CausalLM(), text.source, config, hardware=Hardware(rt.device), quiet=True)
    means = {}
    if keeps_means:
        means = {share: AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(share)) for share in EMAS}
    valid: list[tuple[int, float]] = []
    norms: list[float] = []
    model.train()
    try:
        for step in range(1, config.steps + 1):
            trainer.step()
            for mean in means.values():
                mean.update_parameters(model)
            if step % (config.steps // points) == 0:
                valid.append((step, loss_of(model.eval(), text.valid, rt)))
                norms.append(trainer.running.means()["grad_norm"])
                trainer.running = Running()
                model.train()
    except DivergedError:
        valid.append((trainer.progress.step, math.inf))
    found = {share: loss_of(mean.module.eval(), text.valid, rt) for share, mean in means.items()}
    return {"valid": valid, "model": model.eval(), "valid_means": found, "means": means, "norms": norms}


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Sweep one way to train, and train it with each of MODEL_SEEDS.

    Returns:
        ``rate`` and ``sweep``, ``decay`` and ``decays``: what was chosen, and the validation losses behind it.
        ``test``, ``curves`` and ``norms``, for each seed; ``means``, of those that keep them; ``floor``. All losses in
        nats per word.
    """
    rt = setup(seed=seed, preset=preset, precision="fp32")
    torch.set_num_threads(1)
    way = WAYS[variant]

    def measure(rate: float, decay: float | None = None) -> float:
        return train(config_of(way, rate=rate, decay=decay, rt=rt), SWEEP_SEED, rt)["valid"][-1][1]

    swept = sweep(measure, way.rates, factor=2, further=3)
    rate = best_rate(swept)
    usual = float(way.train["weight_decay"])
    decays = {usual: swept[rate]} | {decay: measure(rate, decay) for decay in way.decays}
    decay = best_rate(decays)
    test, floor = test_stories(rt)
    result: dict[str, Any] = {
        "rate": rate,
        "sweep": {f"{each:.3g}": swept[each] for each in sorted(swept)},
        "decay": decay,
        "decays": {f"{each:g}": decays[each] for each in sorted(decays)},
        "floor": floor,
        "test": [],
        "curves": [],
        "norms": [],
        "means": [],
    }
    for each in MODEL_SEEDS:
        config = config_of(way, rate=rate, decay=decay, rt=rt)
        found = train(config, each, rt, keeps_means=way.keeps_means, points=POINTS)
        result["test"].append(loss_of(found["model"], test, rt))
        result["curves"].append(found["valid"])
        result["norms"].append(found["norms"])
        if way.keeps_means:
            best = best_rate(found["valid_means"])
            loss = loss_of(found["means"][best].module.eval(), test, rt)
            result["means"].append({"share": best, "test": loss, "valid": found["valid_means"]})
    return result
