"""nanoGPT's character setting for a CPU once more, with its network, batches and steps, and an optimiser of our choice.

Network, data, batch, context and number of steps are those of 09b_tinyshakespeare; in the same budget only what the
optimiser does is chosen: AdamW with a rate of its own, and Muon for the matrices of the blocks beside AdamW for the
rest. The rate of each is swept: five or more values, each with all steps and a seed of its own, by the loss on the last
tenth of the training text, which is not trained on in the sweep; while the best is an edge, the sweep goes on. Warm-up,
schedule, decay and clipping are those of 09b_tinyshakespeare and were not swept.

Criterion, set before the runs: an optimiser beats the published loss of 1.88 nats if the loss on the last tenth of the
whole text is below it with each of three seeds. Nothing is chosen on that tenth.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch

from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.data.batches import WindowBatches
from plm_core.data.datasets import tinyshakespeare
from plm_core.data.tokenizer_training import train_characters
from plm_core.objectives.causal_lm import CausalLM
from plm_core.training.config import OptimizerName
from plm_core.training.trainer import Trainer

published = importlib.import_module("plm_chapters.experiments.09b_tinyshakespeare")

OPTIMIZERS: dict[str, OptimizerName] = {"AdamW, swept": "adamw", "Muon, swept": "muon"}
RATES = {"AdamW, swept": [1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2], "Muon, swept": [5e-3, 1e-2, 2e-2, 4e-2, 8e-2]}
VARIANTS = list(OPTIMIZERS)
SEEDS = [0]
"""The seeds of the trainings are inside."""
MODEL_SEEDS, SWEEP_SEED = [1, 2, 3], 100


def trained(variant: str, size: int, train: np.ndarray, held_out: np.ndarray, *, rate: float, seed: int) -> float:
    """The loss on held-out text after the last step, in nats a character."""
    torch.manual_seed(seed)
    model = published.build(size)
    source = WindowBatches(train, context=published.CONTEXT, batch_size=published.BATCH, seed=seed)
    valid = WindowBatches(held_out, context=published.CONTEXT, batch_size=64, seed=0).in_order()
    config = published.CONFIG.replace(learning_rate=rate, optimizer=OPTIMIZERS[variant], eval_every=published.STEPS)
    trainer = Trainer(model, CausalLM(), source, config, valid_batches=valid, quiet=True)
    trainer.fit()
    return [float(record["valid/loss"]) for record in trainer.records if "valid/loss" in record][-1]


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Sweep the rate of an optimiser, and train with the best one."""
    torch.set_num_threads(1)
    tokenizer = train_characters([tinyshakespeare("train")])
    train = np.array(tokenizer.encode(tinyshakespeare("train")))
    test = np.array(tokenizer.encode(tinyshakespeare("validation") + tinyshakespeare("test")))
    cut = len(train) * 9 // 10

    def measure(rate: float) -> float:
        return trained(variant, len(tokenizer), train[:cut], train[cut:], rate=rate, seed=SWEEP_SEED)

    swept = sweep(measure, RATES[variant], factor=2, further=3)
    rate = best_rate(swept)
    return {
        "rate": rate,
        "sweep": {f"{each:.3g}": swept[each] for each in sorted(swept)},
        "test": [trained(variant, len(tokenizer), train, test, rate=rate, seed=each) for each in MODEL_SEEDS],
    }
