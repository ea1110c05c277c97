"""How large a batch should be: the noise of the gradient, and the steps that batches of several sizes need.

Model, stories and AdamW are those of 12_optimisation; the learning rate is constant after WARMUP steps.

**Steps.** For each batch size B, in stories, the number of steps until the loss on validation stories first falls to
TARGET; it is measured again after each further tenth of the steps (see ``checks``), and interpolated between two
measurements. Each B has its own learning rate, of five or more the one that needs the fewest steps with a seed of its
own; while the best is an edge, the sweep goes on. A training that has not arrived after LONGEST stories counts as
infinitely long. Reported are three other seeds.

**Noise** (McCandlish et al. 2018, appendix A.1). At several points of one training with B = 8, the gradients of GROUPS
batches are computed and not used. With the mean squared norm of one batch's gradient and the squared norm of the mean
of all, both without bias: |G|^2 = (B_l n_l - B_s n_s) / (B_l - B_s) and tr(S) = (n_s - n_l) / (1 / B_s - 1 / B_l), and
the noise scale is tr(S) / |G|^2, in stories. Its paper predicts steps = fewest * (1 + noise scale / B) for SGD.

Criterion, set before the run: the fit of steps = fewest * (1 + critical / B) to the means over the seeds describes the
sizes if it misses none by more than a fifth; else the page says where it fails. The noise scale is compared with the
fitted critical size by its order of magnitude, a factor of three.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_chapters.notebook import load_experiment
from plm_core.evaluation.validation import validate
from plm_core.objectives.causal_lm import CausalLM
from plm_core.runtime import Runtime, setup
from plm_core.training.config import TrainConfig
from plm_core.training.gradients import DivergedError
from plm_core.training.hardware import Hardware
from plm_core.training.trainer import Trainer

grid = load_experiment("12_optimisation")

SIZES = {
    2: [1.25e-3, 2.5e-3, 5e-3, 1e-2, 2e-2],
    8: [2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2],
    32: [5e-3, 1e-2, 2e-2, 4e-2, 8e-2],
    128: [5e-3, 1e-2, 2e-2, 4e-2, 8e-2],
}
"""Stories in a batch, and the learning rates to begin with."""
FURTHER = 2
VARIANTS = ["noise", *(f"{size} stories" for size in SIZES)]
SEEDS = [0]
"""The seeds of the networks are inside."""
MODEL_SEEDS, SWEEP_SEED = [1, 2, 3], 100
TARGET, WARMUP, LONGEST = 1.2, 10, 16_000
GROUPS, POINTS = 64, [0, 50, 100, 200, 400, 800]


def trainer_of(size: int, rate: float, seed: int, rt: Runtime) -> tuple[Trainer, Any]:
    """A training with batches of so many stories, and its stories."""
    text = grid.read_text(seed, stories=LONGEST, batch_size=size, valid_stories=rt.choose(laptop=60, gpu=200))
    model = grid.build(grid.Plan(), seed, len(text.group_of_word), rt)
    config = TrainConfig(
        steps=LONGEST // size, warmup_steps=WARMUP, schedule="constant", learning_rate=rate, weight_decay=0.1
    )
    return Trainer(model, CausalLM(), text.source, config, hardware=Hardware(rt.device), quiet=True), text


def checks(steps: int) -> list[int]:
    """The steps at which the validation loss is measured: each about a tenth later than the one before."""
    found = [WARMUP]
    while found[-1] < steps:
        found.append(min(steps, found[-1] + max(2, found[-1] // 10)))
    return found


def steps_needed(size: int, rate: float, seed: int, rt: Runtime) -> float:
    """Steps until the validation loss is TARGET, or infinity."""
    trainer, text = trainer_of(size, rate, seed, rt)
    before, loss_before = 0, math.log(len(text.group_of_word))
    for check in checks(trainer.config.steps):
        trainer.model.train()
        try:
            while trainer.progress.step < check:
                trainer.step()
        except DivergedError:
            return math.inf
        loss = validate(trainer.model.eval(), CausalLM(), text.valid, device=rt.device)["loss"]
        if loss <= TARGET:
            return before + (check - before) * (loss_before - TARGET) / (loss_before - loss)
        before, loss_before = check, loss
    return math.inf


def noise_scale(gradients: list[Tensor], size: int) -> dict[str, float]:
    """The noise scale in stories, and the two estimates that it is the ratio of, from batches of so many stories."""
    large = size * len(gradients)
    small_square = float(torch.stack([gradient.square().sum() for gradient in gradients]).mean())
    large_square = float(torch.stack(gradients).mean(0).square().sum())
    signal = (large * large_square - size * small_square) / (large - size)
    noise = (small_square - large_square) / (1 / size - 1 / large)
    return {"signal": signal, "noise": noise, "scale": noise / signal if signal > 0 else math.inf}


def gradient(trainer: Trainer, number: int) -> Tensor:
    """The gradient of one batch, flat; the weights stay as they are."""
    batch = trainer.objective.prepare(trainer.source.batch(number))
    parts = CausalLM()(trainer.model, {name: value.to(trainer.device) for name, value in batch.items()})
    gradients = torch.autograd.grad(parts.total / parts.count, list(trainer.model.parameters()))
    return torch.cat([each.flatten() for each in gradients])


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """The noise on the way of one training, or the steps that one batch size needs."""
    rt = setup(seed=seed, preset=preset, precision="fp32")
    torch.set_num_threads(1)
    if variant == "noise":
        found = []
        for each in MODEL_SEEDS:
            trainer, text = trainer_of(8, 1e-2, each, rt)
            trainer.model.train()
            points = []
            for point in POINTS:
                while trainer.progress.step < point:
                    trainer.step()
                loss = validate(trainer.model.eval(), CausalLM(), text.valid, device=rt.device)["loss"]
                trainer.model.train()
                gradients = [gradient(trainer, trainer.config.steps - 1 - number) for number in range(GROUPS)]
                points.append({"step": point, "loss": loss} | noise_scale(gradients, 8))
            found.append(points)
        return {"points": found}
    size = int(variant.split()[0])
    swept = sweep(lambda rate: steps_needed(size, rate, SWEEP_SEED, rt), SIZES[size], factor=2, further=FURTHER)
    rate = best_rate(swept)
    return {
        "rate": rate,
        "sweep": {f"{each:.3g}": swept[each] if swept[each] < math.inf else None for each in sorted(swept)},
        "steps": [steps_needed(size, rate, each, rt) for each in MODEL_SEEDS],
    }
