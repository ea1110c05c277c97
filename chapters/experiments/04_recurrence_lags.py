"""How far back a recurrent network can learn to remember: plain cells, clipping, and gates.

The first symbol of a sequence, one of CLUES, is to be named after the last one; the LAG - 1 symbols between are drawn
from others and say nothing. Batches are new at every step; the loss is taken at the end alone. All networks have WIDTH
numbers in the state, orthogonal initial weights from state to state, and equal steps and batches. Arms:

- "plain, no clipping" and "plain": tanh cells; in the second, as in all others, the gradient norm is clipped to 1;
- "LSTM, half open" and "LSTM, open": the same cell, whose forget gates begin at σ(0) = 0.50 or σ(3) = 0.95.

Every arm has its own sweep of five rates or more for each lag, by the loss on validation sequences, with a seed of its
own, and three other seeds at the best. Floor: chance, 1 in CLUES; ceiling 1, since the answer was shown.

Criterion, set before the run: an arm *learns* a lag if it names at least nine tenths of the test clues, for each seed.
The two LSTMs differ in the initial bias alone: a difference is due to it. The budget is STEPS steps; a lag that is not
learned may be learned by more.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.models.recurrent_cells import initialise
from plm_core.models.recurrent_encoder import LAYERS
from plm_core.runtime import setup

ARMS: dict[str, dict[str, Any]] = {
    "plain, no clipping": {"cell": "rnn", "clip": float("inf")},
    "plain": {"cell": "rnn"},
    "LSTM, half open": {"cell": "lstm", "forget_bias": 0.0},
    "LSTM, open": {"cell": "lstm", "forget_bias": 3.0},
}
VARIANTS = list(ARMS)
SEEDS = [0]
"""The seeds of the weights are inside a run."""
MODEL_SEEDS = [1, 2, 3]
RATES = [2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2]
LAGS = [16, 64]
CLUES, OTHERS, WIDTH, STEPS, BATCH, TESTED = 8, 8, 32, 300, 32, 512


class Memory(nn.Module):
    """One-hot symbols, a recurrent layer, and scores of the clues from its last state."""

    def __init__(self, cell: str, forget_bias: float) -> None:
        super().__init__()
        self.layer = LAYERS[cell](CLUES + OTHERS, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, CLUES)
        initialise(self.layer, forget_bias=forget_bias)

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Scores of the clues, (B, CLUES)."""
        return self.head(self.layer(F.one_hot(ids_BT, CLUES + OTHERS).float())[0][:, -1])


def draw(lag: int, count: int, generator: torch.Generator) -> Tensor:
    """Sequences (count, lag) of a clue and symbols that say nothing."""
    clue_B1 = torch.randint(CLUES, (count, 1), generator=generator)
    return torch.cat([clue_B1, torch.randint(CLUES, CLUES + OTHERS, (count, lag - 1), generator=generator)], dim=1)


def train(arm: str, lag: int, *, rate: float, seed: int) -> tuple[Memory, float, list[float]]:
    """A trained network, its loss on validation sequences, and the norm of the gradient at each step."""
    torch.manual_seed(seed)
    model = Memory(ARMS[arm]["cell"], ARMS[arm].get("forget_bias", 1.0))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    generator = torch.Generator().manual_seed(seed)
    norms = []
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / STEPS)
        ids_BT = draw(lag, BATCH, generator)
        loss = F.cross_entropy(model(ids_BT), ids_BT[:, 0])
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), ARMS[arm].get("clip", 1.0))))
        optimizer.step()
    with torch.no_grad():
        ids_BT = draw(lag, TESTED, torch.Generator().manual_seed(10_000))
        return model, float(F.cross_entropy(model(ids_BT), ids_BT[:, 0])), norms


@torch.no_grad()
def accuracy(model: Memory, lag: int) -> float:
    """The share of test clues that are named."""
    ids_BT = draw(lag, TESTED, torch.Generator().manual_seed(20_000))
    return float((model(ids_BT).argmax(-1) == ids_BT[:, 0]).float().mean())


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """For each lag: sweep the rates of an arm, then train with each of MODEL_SEEDS."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    result: dict[str, Any] = {}
    for lag in LAGS:
        swept = sweep(
            lambda rate, lag=lag: train(variant, lag, rate=rate, seed=0)[1],  # type: ignore[misc]
            RATES,
            factor=2,
            further=3,
        )
        rate = best_rate(swept)
        trained = [train(variant, lag, rate=rate, seed=each) for each in MODEL_SEEDS]
        result[str(lag)] = {
            "rate": rate,
            "sweep": {f"{each:.2g}": swept[each] for each in sorted(swept)},
            "accuracy": [accuracy(model, lag) for model, _, _ in trained],
            "largest norm": [max(norms) for _, _, norms in trained],
            "median norm": [sorted(norms)[len(norms) // 2] for _, _, norms in trained],
        }
    return result
