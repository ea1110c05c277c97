"""A tuned LSTM beside a Transformer, on questions whose evidence lies at a known distance.

**Task.** That of :mod:`position_recall`: a stream of events about eight people, statements and questions; the answer is
the place in the latest statement about the person. What has to be kept is always the same, the last place of eight
people; what varies is how far back the evidence for a question lies. Streams have 48 events and are drawn afresh.
Questions among the last 16 events are scored, so that behind each distance there is a history of the same length.

**Arms**, of equal parameters to 2 %, equal steps and equal events: a Transformer of 2 blocks with rotary positions, and
LSTMs of one and of two layers. A step of the LSTM takes less time; an LSTM that makes more steps was planned, and was
not run.
Each arm has its own sweep of rates, the best of five or more by the loss on validation streams, with a seed that is
used for nothing else; if it is the lowest or the highest, the sweep goes on. Five other seeds are then trained at that
rate and read test streams, the same for all arms. The Transformer is compared with each LSTM. The number of steps was
set after one trial of the Transformer and of the LSTM of one layer.

**Baselines.** Chance is 1/4; the majority rule, the best reader that ignores order, names the place that most visible
statements about the person name; a reader who sees everything is always right.

**Criterion**, set before the runs: at a range of distances the arms differ if the interval of the difference of their
accuracies, paired by seed (Student's t, four degrees of freedom), does not contain zero. There are five ranges, and
each interval has 99 %, which makes 95 % together for each LSTM and 90 % for both (Bonferroni).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_chapters.experiments.position_recall import PEOPLE, PLACES, Recall, Streams, streams
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.models.counting import num_parameters
from plm_core.models.positions import Rope
from plm_core.models.recurrent import RecurrentConfig, RecurrentLM
from plm_core.runtime import setup

VARIANTS = ["Transformer", "LSTM, 1 layer", "LSTM, 2 layers"]
SEEDS = [0]
MODEL_SEEDS = [1, 2, 3, 4, 5]
RATES = [1e-3, 2.5e-3, 6e-3, 1.6e-2, 4e-2]
STEPS, WARMUP, BATCH, LENGTH = 600, 30, 32, 48
WIDTHS = {1: 45, 2: 32}
"""Width of an LSTM by its number of layers."""
RANGES = [(1, 4), (5, 8), (9, 16), (17, 24), (25, 32)]
"""Distances, in events, between a question and its evidence."""
TEST_STREAMS, SCORED = 2000, 16
"""Test streams, and the number of last events among which their questions are scored."""


class Recurrent(nn.Module):
    """An LSTM that names the place at every question; initial embeddings are drawn from N(0, 1)."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        size, width = PEOPLE * (PLACES + 1), WIDTHS[layers]
        self.lstm = RecurrentLM(RecurrentConfig(size, width, layers, hidden_dropout_prob=0.0, initializer_range=1.0))
        self.places = nn.Linear(width, PLACES)

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Logits of the places, (B, T, PLACES)."""
        return self.places(self.lstm.hidden_states(ids_BT)[0])


def build(variant: str) -> nn.Module:
    """The model of an arm, with fresh initial weights."""
    return Recall(Rope(8)) if variant == "Transformer" else Recurrent(int(variant.split()[1]))


def question_loss(model: nn.Module, data: Streams) -> Tensor:
    """Mean loss of the questions of streams, in nats; guessing costs log(PLACES)."""
    asked = data.distances > 0
    return F.cross_entropy(model(data.ids)[asked], data.answers[asked])


def train(variant: str, seed: int, rate: float) -> nn.Module:
    """Train one arm: AdamW, linear warm-up, linear decay to zero, gradients clipped to norm 1."""
    torch.manual_seed(seed)
    model, generator = build(variant), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, fused=True)
    for step in range(STEPS):
        if step % 50 == 0:
            data = streams(50 * BATCH, LENGTH, generator)
            batches = list(zip(*(part.split(BATCH) for part in data), strict=True))
        optimizer.param_groups[0]["lr"] = rate * min((step + 1) / WARMUP, 1 - step / STEPS)
        optimizer.zero_grad()
        question_loss(model, Streams(*batches[step % 50])).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def held_out(split: str) -> Streams:
    """Validation or test streams."""
    return streams(TEST_STREAMS, LENGTH, torch.Generator().manual_seed({"valid": 10_001, "test": 10_002}[split]))


def by_distance(right: Tensor, data: Streams) -> list[float]:
    """Mean of ``right``, (B, T), over the scored questions of each range of distances."""
    right, distances = right[:, -SCORED:], data.distances[:, -SCORED:]
    return [round(right[(distances >= low) & (distances <= high)].mean().item(), 4) for low, high in RANGES]


@torch.no_grad()
def accuracy(model: nn.Module) -> list[float]:
    """Share of right answers to the test questions of each range of distances."""
    data = held_out("test")
    return by_distance((model(data.ids).argmax(-1) == data.answers).float(), data)


def majority() -> list[float]:
    """The accuracy of the majority rule in each range of distances; ties are shared."""
    data = held_out("test")
    told = F.one_hot(data.ids, PEOPLE * (PLACES + 1))[..., : PEOPLE * PLACES].cumsum(1).unflatten(-1, (PEOPLE, PLACES))
    person = (data.ids - PEOPLE * PLACES).clamp(min=0)  # of a question; for statements the number is not used
    counts = told.gather(2, person[..., None, None].expand(-1, -1, 1, PLACES))[:, :, 0]  # (B, T, PLACES)
    named = (counts == counts.amax(-1, keepdim=True)).float()
    right = (named / named.sum(-1, keepdim=True)).gather(-1, data.answers.clamp(min=0)[..., None])[..., 0]
    return by_distance(right, data)


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Sweep the rates of one arm with one seed, then train it at the best of them with each of MODEL_SEEDS."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)

    @torch.no_grad()
    def valid_loss(model: nn.Module) -> float:
        return question_loss(model, held_out("valid")).item()

    swept = sweep(lambda rate: valid_loss(train(variant, seed, rate)), RATES, factor=2.5, further=4)
    best = best_rate(swept)
    return {
        "sweep": {f"{rate:.2g}": swept[rate] for rate in sorted(swept)},
        "rate": best,
        "test": [accuracy(train(variant, each, best)) for each in MODEL_SEEDS],
        "untrained": accuracy(build(variant).eval()),
        "majority": majority(),
        "parameters": num_parameters(build(variant)),
    }
