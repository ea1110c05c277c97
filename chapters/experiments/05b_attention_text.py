"""A character model of two layers of attention on real text: what its heads look at, and what bugs do to it.

Two corpora: Python's documentation (*docs*; every tenth document is for testing, every tenth of the others for
validation) and Shakespeare's plays (*plays*; tinyshakespeare with its usual split). Each arm is trained at five rates
for 400 steps with a seed of its own; if the best lies at the edge, the sweep goes on by the same ratio, to at most two
more. Three more seeds are trained for 800 steps at the rate with the best validation loss and measured on test text.
The steps were chosen so that a model spends clearly fewer bits than counts of groups of three characters, that is
given two; 300 were not enough. Counts of groups of four, and modified Kneser-Ney of the order that is best on
validation text, stand beside them: what counting reaches, which these small models do not beat.

A head *prefers* a character if its weight on the latest occurrence exceeds what its weights by distance alone would
give. For each of the ten most frequent characters the head with the largest ratio is chosen on validation text, and its
ratio is measured on test text. Controls: the same positions in another window, and an untrained model. The criterion,
set before the runs: heads single out the *space* if its ratio is the largest of the ten in every seed of a corpus.

The models with bugs train for fewer steps, at three rates: they show a symptom, and are not compared for their quality.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.data.corpora import python_documentation
from plm_core.data.datasets import tinyshakespeare
from plm_core.models.attention import causal_mask
from plm_core.models.multi_head import MultiHeadAttention
from plm_core.models.ngram import KneserNey
from plm_core.models.positions import Rope
from plm_core.runtime import Runtime, seed_everything, setup

RATES = (2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2)
BUGS = ("none", "mask after softmax", "wrong axis", "wrong reshape", "no scale")
BUG_RATES = (2e-3, 4e-3, 8e-3)
ORDERS = (3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 48)
TEXTS = ["docs", "plays"]
VARIANTS = TEXTS + [f"bug: {bug}" for bug in BUGS]
SEEDS = [0]
"""The seeds of training are inside a run."""
LENGTH = 64
"""Characters in a window."""


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Sweep and train one arm with three seeds, or one bug at three rates with three seeds."""
    rt = setup(seed=seed, preset=preset)
    if variant.startswith("bug: "):
        return {f"{rate:g}": [bug_run(variant[5:], rate, each, preset) for each in range(3)] for rate in BUG_RATES}
    split, steps = texts(variant), training_steps(rt)
    rt = setup(seed=100, preset=preset)

    def loss(rate: float) -> float:
        model = train_text(rt, rate=rate, steps=steps // 2, text=split["train"])
        return bits_per_character(model, sample(split["validation"], rt, model))

    swept = sweep(loss, RATES, factor=2, further=2)
    best = best_rate(swept)
    runs = []
    for each in range(3):
        rt = setup(seed=each, preset=preset)
        model = train_text(rt, rate=best, steps=steps, text=split["train"])
        runs.append({"seed": each, **measure_heads(model, split, rt)})
    counts = counting_baselines(split)
    shown = {f"{rate:g}": swept[rate] for rate in sorted(swept)}
    return {
        "validation_bits": shown,
        "rate": best,
        "steps": steps,
        "counting": counts,
        "kneser_ney": kneser_ney(split, model, rt),
        "runs": runs,
    }


def training_steps(rt: Runtime) -> int:
    """Training steps of the arms without bugs."""
    return rt.choose(laptop=800, gpu=4000)


def bug_run(bug: str, rate: float, seed: int, preset: str) -> dict[str, Any]:
    """Train one model with a bug on the documentation and measure its leak."""
    rt = setup(seed=seed, preset=preset)
    model = train_text(rt, rate=rate, steps=rt.choose(laptop=60, gpu=1000), bug=bug)
    return {"seed": seed, **measure_leak(model, sample(texts()["test"], rt, model))}


class BuggyAttention(MultiHeadAttention):
    """Causal self-attention with one of the usual bugs, or none."""

    def __init__(self, hidden_size: int, num_heads: int, *, bug: str, **options: Any) -> None:
        super().__init__(hidden_size, num_heads, **options)
        self.bug = bug

    def split_heads(self, x_BTD: Tensor) -> Tensor:
        if self.bug == "wrong reshape":
            return x_BTD.view(len(x_BTD), self.num_heads, x_BTD.shape[1], -1)  # the right shape, the wrong numbers
        return super().split_heads(x_BTD)

    def forward(self, x_BTD: Tensor, *_: Any, mask: Any = None, need_weights: bool = False, **__: Any) -> Any:
        q_BHTK, k_BHTK, v_BHTK = (self.split_heads(linear(x_BTD)) for linear in (self.query, self.key, self.value))
        if self.position is not None:
            q_BHTK, k_BHTK = self.position.rotate(q_BHTK, k_BHTK, q_offset=0)
        T, K = q_BHTK.shape[2:]
        allowed = causal_mask(T, T, device=x_BTD.device)
        if mask is not None and self.bug != "padding attended to":
            allowed = allowed & mask
            allowed = allowed | ~allowed.any(-1, keepdim=True)  # a row that sees nothing is not looked at
        scores_BHTT = q_BHTK @ k_BHTK.transpose(-2, -1)
        if self.bug != "no scale":
            scores_BHTT = scores_BHTT / math.sqrt(K)
        if self.bug == "mask after softmax":
            weights_BHTT = scores_BHTT.softmax(-1) * allowed
        else:
            axis = -2 if self.bug == "wrong axis" else -1
            weights_BHTT = scores_BHTT.masked_fill(~allowed, -math.inf).softmax(axis)
        out_BTD = self.output(self.merge_heads(weights_BHTT @ v_BHTK))
        return (out_BTD, weights_BHTT) if need_weights else out_BTD


class TextModel(nn.Module):
    """A causal character model: embeddings, two layers of attention and nothing between them."""

    def __init__(self, alphabet: str, *, bug: str | None = None, hidden_size: int = 64, num_heads: int = 4) -> None:
        super().__init__()
        attention = MultiHeadAttention if bug is None else partial(BuggyAttention, bug=bug)
        self.alphabet, self.num_heads = alphabet, num_heads
        self.embedding = nn.Embedding(len(alphabet) + 1, hidden_size)  # the last one stands for characters never seen
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_size) for _ in range(3))
        rope = Rope(hidden_size // num_heads)  # rotates queries and keys by position: the subject of the next chapter
        self.layers = nn.ModuleList(attention(hidden_size, num_heads, position=rope) for _ in range(2))
        self.unembedding = nn.Linear(hidden_size, len(alphabet) + 1)

    def encode(self, text: str) -> Tensor:
        """Character numbers, (T,)."""
        number = {character: i for i, character in enumerate(self.alphabet)}
        return torch.tensor([number.get(character, len(self.alphabet)) for character in text])

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Logits of the next character, (B, T, alphabet + 1)."""
        x_BTD = self.embedding(ids_BT)
        for layer, norm in zip(self.layers, self.norms, strict=False):
            x_BTD = x_BTD + layer(norm(x_BTD), is_causal=True)
        return self.unembedding(self.norms[-1](x_BTD))

    @torch.no_grad()
    def weights(self, ids_BT: Tensor) -> Tensor:
        """Attention weights of all layers and heads: (layers, B, H, T, T)."""
        x_BTD, weights = self.embedding(ids_BT), []
        for layer, norm in zip(self.layers, self.norms, strict=False):
            out_BTD, weights_BHTS = layer(norm(x_BTD), is_causal=True, need_weights=True)
            x_BTD = x_BTD + out_BTD
            weights.append(weights_BHTS)
        return torch.stack(weights)


def texts(corpus: str = "docs") -> dict[str, str]:
    """The text of each split, ``"train"``, ``"validation"`` and ``"test"``, of ``"docs"`` or ``"plays"``."""
    if corpus == "plays":
        return {
            "train": tinyshakespeare("train"),
            "validation": tinyshakespeare("validation"),
            "test": tinyshakespeare("test"),
        }
    split: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for number, document in enumerate(python_documentation()):
        name = {0: "test", 5: "validation"}.get(number % 10, "train")
        split[name].append(document.text)
    return {name: "\n".join(documents) for name, documents in split.items()}


def windows(ids_T: Tensor, count: int, length: int, generator: torch.Generator) -> Tensor:
    """Random windows of a text, (count, length)."""
    starts = torch.randint(len(ids_T) - length, (count,), generator=generator)
    return ids_T[starts[:, None] + torch.arange(length)]


def sample(text: str, rt: Runtime, model: TextModel, *, count: int = 96) -> Tensor:
    """Windows of a text, the same for all runs, (count, LENGTH + 1)."""
    return windows(model.encode(text), count, LENGTH + 1, torch.Generator().manual_seed(1)).to(rt.device)


def train_text(rt: Runtime, *, rate: float, steps: int, bug: str | None = None, text: str = "") -> TextModel:
    """Train on random windows of a text, by default the documentation; the rate rises for a tenth of the steps."""
    seed_everything(rt.seed)
    text = text or texts()["train"]
    model = TextModel("".join(sorted(set(text))), bug=bug)
    ids_T = model.encode(text)
    model.to(rt.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(rt.seed)
    for _ in range(steps):
        window_BT = windows(ids_T, rt.choose(laptop=12, gpu=128), LENGTH + 1, generator).to(rt.device)
        loss = F.cross_entropy(model(window_BT[:, :-1]).flatten(0, 1), window_BT[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def measure_heads(model: TextModel, split: dict[str, str], rt: Runtime) -> dict[str, Any]:
    """What the heads look at, and what each is worth, on test text.

    Returns:
        ``bits_per_character``; ``by_distance``: the mean weight on the key 0, 1, ... 7 characters back, by layer and
        head; ``cost_of_removal``: bits per character lost without each head; ``preference``: for each of the ten most
        frequent ``characters`` the ratio of :func:`preference`, of the head that has the largest on validation text,
        with ``preferring``, the number of that head; ``elsewhere`` and ``untrained``: the same ratio of the same head
        at the positions of another window, and the largest of an untrained model, its head chosen likewise.
    """
    torch.manual_seed(rt.seed)
    untrained = TextModel(model.alphabet, num_heads=model.num_heads).to(rt.device)
    windows_of = {name: sample(split[name], rt, model) for name in ("validation", "test")}
    bits = bits_per_character(model, windows_of["test"])
    heads = [(layer, head) for layer in range(2) for head in range(model.num_heads)]
    ids = {name: window_BT[:, :-1] for name, window_BT in windows_of.items()}
    weights = {name: late_weights(model, ids_BT) for name, ids_BT in ids.items()}
    blank = {name: late_weights(untrained, ids_BT) for name, ids_BT in ids.items()}
    characters = "".join(character for character, _ in Counter(split["train"]).most_common(10))
    rows = []
    for number in model.encode(characters).tolist():
        mine = int(preference(weights["validation"], ids["validation"], number).argmax())
        theirs = int(preference(blank["validation"], ids["validation"], number).argmax())
        ratios = [preference(weights["test"], ids["test"], number, shift=shift)[mine].item() for shift in (0, 1)]
        rows.append((mine, *ratios, preference(blank["test"], ids["test"], number)[theirs].item()))
    named = zip(("preferring", "preference", "elsewhere", "untrained"), map(list, zip(*rows, strict=True)), strict=True)
    return {
        "bits_per_character": bits,
        "by_distance": by_distance(weights["test"])[:, :8].tolist(),
        "cost_of_removal": [bits_per_character(model, windows_of["test"], without=pair) - bits for pair in heads],
        "characters": characters,
        **dict(named),
    }


FIRST = 16
"""The first query that is measured: it has this many characters before it."""


def late_weights(model: TextModel, ids_BT: Tensor) -> Tensor:
    """Attention weights of all heads of both layers for the queries from ``FIRST`` on, (heads, B, T - FIRST, T)."""
    return model.weights(ids_BT)[..., FIRST:, :].transpose(1, 2).flatten(0, 1)


def by_distance(weights_HBTS: Tensor) -> Tensor:
    """Mean weight on the key 0, 1, ... characters back, (heads, distances)."""
    positions_S = torch.arange(weights_HBTS.shape[-1], device=weights_HBTS.device)
    back_TS = positions_S[FIRST:, None] - positions_S
    return torch.stack([weights_HBTS[..., back_TS == d].mean(dim=(1, 2)) for d in range(len(positions_S))], dim=-1)


def preference(weights_HBTS: Tensor, ids_BT: Tensor, number: int, *, shift: int = 0) -> Tensor:
    """Weight on the latest occurrence of a character over what the weights by distance would give there, (heads,).

    Args:
        weights_HBTS: weights of :func:`late_weights`.
        ids_BT: the characters that the model read.
        number: the character.
        shift: look at the places where the character stands that many windows further on, as a control.
    """
    positions_S = torch.arange(ids_BT.shape[1], device=ids_BT.device)
    there_BT = ids_BT.roll(-shift, dims=0) == number
    latest_BT = torch.where(there_BT, positions_S, -1).cummax(dim=1).values[:, FIRST:]
    back_N = (positions_S[FIRST:] - latest_BT)[latest_BT >= 0]
    measured_H = weights_HBTS[:, positions_S == latest_BT[..., None]].mean(-1)
    return measured_H / by_distance(weights_HBTS)[:, back_N].mean(-1)


@torch.no_grad()
def bits_per_character(model: TextModel, window_BT: Tensor, *, without: tuple[int, int] | None = None) -> float:
    """Mean loss in bits per character, with all heads or without one (layer, head), whose output is set to zero."""
    hook = None
    if without is not None:
        layer = model.layers[without[0]]
        assert isinstance(layer, MultiHeadAttention)
        width = layer.output.in_features // layer.num_heads
        kept = torch.ones(layer.output.in_features, device=window_BT.device)
        kept[without[1] * width : (without[1] + 1) * width] = 0
        hook = layer.output.register_forward_pre_hook(lambda _, inputs: (inputs[0] * kept,))
    loss = F.cross_entropy(model(window_BT[:, :-1]).flatten(0, 1), window_BT[:, 1:].flatten())
    if hook is not None:
        hook.remove()
    return loss.item() / math.log(2)


@torch.no_grad()
def measure_leak(model: TextModel, window_BT: Tensor) -> dict[str, float]:
    """Bits for the character after 16, 24, ... 56 others: with the rest of the window present, and with it cut off."""
    ends = range(16, LENGTH, 8)
    full_BTV = model(window_BT[:, :-1])
    whole = torch.stack([F.cross_entropy(full_BTV[:, end - 1], window_BT[:, end]) for end in ends])
    cut = torch.stack([F.cross_entropy(model(window_BT[:, :end])[:, -1], window_BT[:, end]) for end in ends])
    return {"bits_as_trained": whole.mean().item() / math.log(2), "bits_in_use": cut.mean().item() / math.log(2)}


def counting_baselines(split: dict[str, str]) -> dict[str, float]:
    """Bits per character of the test text by counts of groups of one to four characters of the training text, add 0.01.

    A group of n characters predicts its last one from the n - 1 before it.
    """
    size = len(set(split["train"])) + 1
    bits = {}
    for order in (1, 2, 3, 4):
        seen: dict[str, dict[str, int]] = {}
        train, test = split["train"], split["test"]
        for i in range(order - 1, len(train)):
            after = seen.setdefault(train[i - order + 1 : i], {})
            after[train[i]] = after.get(train[i], 0) + 1
        totals = {context: sum(after.values()) for context, after in seen.items()}
        cost = 0.0
        for i in range(order - 1, len(test)):
            context = test[i - order + 1 : i]
            count = seen.get(context, {}).get(test[i], 0)
            cost -= math.log2((count + 0.01) / (totals.get(context, 0) + 0.01 * size))
        bits[str(order)] = cost / (len(test) - order + 1)
    return bits


def kneser_ney(split: dict[str, str], model: TextModel, rt: Runtime) -> dict[str, float]:
    """Modified Kneser-Ney: the order that is best on validation windows, and its bits per character on test windows.

    Like the model it sees no more than the window.
    """
    size, train = len(model.alphabet) + 1, model.encode(split["train"]).numpy()
    rows = {name: sample(split[name], rt, model).cpu().numpy() for name in ("validation", "test")}
    found: dict[str, dict[int, float]] = {name: {} for name in rows}
    for order in ORDERS:
        counter = KneserNey(size, order=order).fit([train])
        for name, windows_NT in rows.items():
            nats = [counter.nats(row)[1:].mean() for row in windows_NT]
            found[name][order] = float(np.mean(nats)) / math.log(2)
    best = min(ORDERS, key=found["validation"].__getitem__)
    return {"order": best, "bits_per_character": found["test"][best]}
