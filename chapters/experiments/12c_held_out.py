"""The optimisers of 12_optimisation on stories that chose nothing; SGD unclipped; regularisers at several strengths.

The learning rates of ``CHOSEN`` were found on the validation stories. Here the same runs are made again and the model
is evaluated once, on test stories. ``UNCLIPPED`` gives the runs without clipping learning rates of their own. The runs
on few stories choose strength and stopping step on the validation stories, and are tested at that step.

The criterion: two variants differ if the interval of the mean paired difference over the three seeds (95 %, t with two
degrees of freedom) leaves out zero.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from plm_chapters.notebook import load_experiment
from plm_core.data.batch import Batch
from plm_core.data.batches import PaddedBatches
from plm_core.evaluation.validation import validate
from plm_core.runtime import setup
from plm_core.storyworld_v1 import StoryWorld
from plm_core.training.gradients import DivergedError

grid = load_experiment("12_optimisation")

SEEDS = [0, 1, 2]
CHOSEN = ["SGD 1", "momentum 0.3", "Adam 0.03", "AdamW 0.03", "Muon 0.1"]
SCHEDULES = ["AdamW 0.01", "AdamW 0.01, constant", "AdamW 0.03, constant"]
UNCLIPPED = {"SGD": [0.03, 0.1, 0.3], "AdamW": [0.03]}
STRENGTHS = {
    "weight decay": [0.3, 1.0, 3.0],
    "L2 in Adam": [1e-4, 1e-3, 0.01, 0.1],
    "dropout": [0.05, 0.1, 0.2, 0.4],
    "label smoothing": [0.05, 0.1, 0.2],
}


def regulariser(name: str, strength: float) -> Any:
    """The plan of a run on few stories with one regulariser."""
    if name == "weight decay":
        return grid.Plan({"weight_decay": strength}, few_stories=True)
    if name == "L2 in Adam":
        return grid.Plan({"optimizer": "adam", "weight_decay": strength}, few_stories=True)
    if name == "dropout":
        model = {"hidden_dropout_prob": strength, "attention_probs_dropout_prob": strength}
        return grid.Plan(model=model, few_stories=True)
    return grid.Plan(label_smoothing=strength, few_stories=True)


def make_plans() -> dict[str, Any]:
    """Every variant by its name."""
    plans = {variant: grid.PLANS[variant] for variant in CHOSEN + SCHEDULES}
    for name, rates in UNCLIPPED.items():
        for rate in rates:
            train = {**grid.OPTIMIZERS[name], "learning_rate": rate, "max_grad_norm": 0.0}
            plans[f"{name} {rate:g}, no clipping"] = grid.Plan(train)
    plans["few stories, nothing"] = grid.PLANS["few stories, nothing"]
    for name, strengths in STRENGTHS.items():
        for strength in strengths:
            plans[f"few stories, {name} {strength:g}"] = regulariser(name, strength)
    return plans


PLANS = make_plans()
VARIANTS = list(PLANS)


def read_test(count: int) -> tuple[Sequence[Batch], float]:
    """Test stories as batches, and their entropy in nats per word."""
    world = StoryWorld("small", "en")
    number = {word: i for i, word in enumerate(world.vocabulary)}
    stories = list(world.stories(seed=0, split="test", count=count))
    rows = [[0, *(number[word] for word in story.words)] for story in stories]
    floor = sum(story.nats for story in stories) / sum(len(story.words) for story in stories)
    return PaddedBatches(rows, batch_size=20, pad_id=0, seed=0).in_order(), floor


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one variant with one seed.

    Returns:
        ``valid``: pairs of step and validation loss; ``test``: the test loss of the weights with the lowest validation
        loss for the runs on few stories, of the final weights for the others, None if the run diverged; ``floor``: the
        entropy of the test stories. All in nats per word.
    """
    rt = setup(seed=seed, preset=preset, precision="fp32")
    plan = PLANS[variant]
    text = grid.text_of(plan, seed, rt)
    model = grid.build(plan, seed, len(text.group_of_word), rt)
    objective = grid.CausalLM(label_smoothing=plan.label_smoothing)
    config = grid.train_config(plan, rt)
    trainer = grid.Trainer(model, objective, text.source, config, hardware=grid.Hardware(rt.device), quiet=True)
    test, floor = read_test(rt.choose(laptop=100, gpu=400))
    valid: list[tuple[int, float]] = []
    kept: dict[str, Any] = {}
    model.train()
    try:
        for step in range(1, config.steps + 1):
            trainer.step()
            if step % config.eval_every == 0:
                valid.append((step, validate(model, objective, text.valid, device=rt.device)["loss"]))
                if valid[-1][1] == min(loss for _, loss in valid):
                    kept = copy.deepcopy(model.state_dict())
    except DivergedError:
        return {"valid": valid, "test": None, "floor": floor}
    model.load_state_dict(kept)
    return {"valid": valid, "test": validate(model, objective, test, device=rt.device)["loss"], "floor": floor}
