"""Windows of characters of real English through a code: its size against the loss, and learning to remove noise.

Text: Python's own documentation, split by document. An example is a window of WINDOW characters, each as a one-hot
vector over the alphabet (the COMMON most frequent characters and one for all others). What counts is the share of right
characters when the likeliest is taken at each place.

- "code": a linear autoencoder, whose optimum the principal components give exactly, and one with hidden layers, for
  four sizes of the code. The network is trained on cross-entropy, for STEPS batches, each size with its own sweep;
  three seeds. Floor: the most frequent character.
- "noise": a share NOISE of the characters of the input is replaced by others drawn evenly. Two networks of the same
  shape with a code wider than needed: one learned to give its input back, one to give back the characters before the
  replacement (denoising). Each has its own sweep, by its own task's loss on validation windows; both are scored on
  corrupted test windows, at the replaced characters and at the others. Baselines: the input as it is; for each place
  the character that is most frequent between the two neighbours, read from the corrupted window (counts of training
  text), at replaced places.

Criterion, set before the run: denoising helps if the interval of the paired difference of the shares of right
characters over the whole window (Student's t, three seeds, 95 %) does not contain zero. The budget is small, and
nothing is said about what larger networks reach.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.data.corpora import python_documentation
from plm_core.models.autoencoder import Autoencoder, corrupt, principal_components, project
from plm_core.runtime import setup

CODES = [4, 8, 16, 32]
PLAIN, DENOISING = "plain", "denoising"
VARIANTS = ["noise", *(f"code {size}" for size in CODES)]
SEEDS = [0]
"""The seeds of the weights are inside a run."""
MODEL_SEEDS = [1, 2, 3]
RATES = [5e-4, 1e-3, 2e-3, 4e-3, 8e-3]
WINDOW, COMMON, HIDDEN, WIDE, NOISE = 8, 47, 128, 64, 0.15
STEPS, BATCH, TESTED = 400, 128, 4000


@cache
def alphabet() -> list[str]:
    """The most frequent characters of the training documents."""
    counts: Counter[str] = Counter()
    for document in documents("train"):
        counts.update(document)
    return sorted(character for character, _ in counts.most_common(COMMON))


@cache
def documents(split: str) -> list[str]:
    """The texts of a part: of ten documents one is for validation and one for test."""
    parts = {0: "test", 1: "valid"}
    return [each.text for number, each in enumerate(python_documentation()) if parts.get(number % 10, "train") == split]


@cache
def windows(split: str) -> Tensor:
    """All windows of a part as ids, (N, WINDOW); the last id stands for every rare character."""
    place = {character: number for number, character in enumerate(alphabet())}
    rows = [torch.tensor([place.get(character, COMMON) for character in text]) for text in documents(split)]
    return torch.cat([ids.unfold(0, WINDOW, 1) for ids in rows if len(ids) >= WINDOW])


def chosen(split: str, count: int, seed: int) -> Tensor:
    """Some windows of a part, drawn with a seed."""
    everything = windows(split)
    return everything[torch.randint(len(everything), (count,), generator=torch.Generator().manual_seed(seed))]


def one_hot(ids_BT: Tensor) -> Tensor:
    """Windows as vectors, (B, WINDOW · (COMMON + 1))."""
    return F.one_hot(ids_BT, COMMON + 1).flatten(1).float()


def scores(model: Autoencoder, ids_BT: Tensor) -> Tensor:
    """The score of each character at each place, (B, WINDOW, COMMON + 1)."""
    return model(one_hot(ids_BT)).unflatten(1, (WINDOW, COMMON + 1))


def loss_of(model: Autoencoder, source_BT: Tensor, target_BT: Tensor) -> Tensor:
    """The mean surprisal of the characters of the target."""
    return F.cross_entropy(scores(model, source_BT).flatten(0, 1), target_BT.flatten())


def noisy(ids_BT: Tensor, seed: int) -> Tensor:
    """Windows with a share of their characters replaced, the same for the same seed."""
    return corrupt(ids_BT, COMMON + 1, NOISE, torch.Generator().manual_seed(seed))[0]


def train(code_size: int, *, rate: float, seed: int, denoise: bool = False) -> tuple[Autoencoder, float]:
    """A trained autoencoder and its loss on validation windows."""
    torch.manual_seed(seed)
    model = Autoencoder(WINDOW * (COMMON + 1), code_size, hidden_sizes=(HIDDEN,))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    generator = torch.Generator().manual_seed(seed)
    everything = windows("train")
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / STEPS)
        ids_BT = everything[torch.randint(len(everything), (BATCH,), generator=generator)]
        source_BT = corrupt(ids_BT, COMMON + 1, NOISE, generator)[0] if denoise else ids_BT
        loss = loss_of(model, source_BT, ids_BT)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        valid = chosen("valid", TESTED, 1)
        return model, float(loss_of(model, noisy(valid, 2) if denoise else valid, valid))


def swept_and_trained(code_size: int, *, denoise: bool = False) -> tuple[dict[str, Any], list[Autoencoder]]:
    """The sweep of an arm, and its networks of MODEL_SEEDS at the best rate."""
    losses = sweep(lambda rate: train(code_size, rate=rate, seed=0, denoise=denoise)[1], RATES, factor=2, further=3)
    rate = best_rate(losses)
    models = [train(code_size, rate=rate, seed=each, denoise=denoise)[0] for each in MODEL_SEEDS]
    return {"rate": rate, "sweep": {f"{each:.2g}": losses[each] for each in sorted(losses)}}, models


def most_frequent() -> float:
    """The share of test characters that are the most frequent one of the training text."""
    return float((windows("test") == windows("train").flatten().mode().values).float().mean())


@cache
def between() -> Tensor:
    """The character that is most frequent between each pair of neighbours in the training text."""
    size = COMMON + 1
    rows = windows("train")
    counts = torch.zeros(size * size * size)
    counts.index_put_(((rows[:, 0] * size + rows[:, 2]) * size + rows[:, 1],), torch.ones(len(rows)), accumulate=True)
    return counts.view(size, size, size).argmax(dim=-1)


@torch.no_grad()
def run_code(size: int) -> dict[str, Any]:
    """The linear and the deep autoencoder of one size of the code."""
    test = chosen("test", TESTED, 3)
    mean_I, components_ZI = principal_components(one_hot(chosen("train", 20_000, 4)), size)
    linear = project(one_hot(test), mean_I, components_ZI).unflatten(1, (WINDOW, COMMON + 1)).argmax(-1)
    with torch.enable_grad():
        result, models = swept_and_trained(size)
    return result | {
        "linear": float((linear == test).float().mean()),
        "deep": [float((scores(model, test).argmax(-1) == test).float().mean()) for model in models],
        "loss": [float(loss_of(model, test, test)) for model in models],
        "most frequent": most_frequent(),
    }


@torch.no_grad()
def run_noise() -> dict[str, Any]:
    """Both networks on corrupted windows, beside the input as it is and counts of neighbours."""
    test = chosen("test", TESTED, 5)
    source = noisy(test, 6)
    changed = source != test
    result: dict[str, Any] = {"share changed": float(changed.float().mean())}
    inner = changed[:, 1:-1]
    guess = between()[source[:, :-2], source[:, 2:]]
    result["neighbours"] = float((guess == test[:, 1:-1])[inner].float().mean())
    for arm in (PLAIN, DENOISING):
        with torch.enable_grad():
            result[arm], models = swept_and_trained(WIDE, denoise=arm == DENOISING)
        hits = [scores(model, source).argmax(-1) == test for model in models]
        result[arm]["all"] = [float(hit.float().mean()) for hit in hits]
        result[arm]["changed"] = [float(hit[changed].float().mean()) for hit in hits]
        result[arm]["changed, inner"] = [float(hit[:, 1:-1][inner].float().mean()) for hit in hits]
        result[arm]["unchanged"] = [float(hit[~changed].float().mean()) for hit in hits]
    return result


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """One size of the code, or both networks on noise."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    return run_noise() if variant == "noise" else run_code(int(variant.split()[1]))
