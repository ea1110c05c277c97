"""A character model of two layers of attention on real text: what its heads look at, and what bugs do to it.

The text is Python's documentation; every tenth document is for testing, every tenth of the others for validation. The
model is trained at each of five rates; the chapter reports the rate with the best mean validation loss, on test text.
The models with bugs train for fewer steps at one rate: they show a symptom, and are not compared for their quality.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.data.corpora import python_documentation
from plm_core.models.attention import causal_mask
from plm_core.models.multi_head import MultiHeadAttention
from plm_core.models.positions import Rope
from plm_core.runtime import Runtime, seed_everything, setup

RATES = (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
BUGS = ("none", "mask after softmax", "wrong axis", "wrong reshape", "no scale")
VARIANTS = [f"rate {rate:g}" for rate in RATES] + [f"bug: {bug}" for bug in BUGS]
SEEDS = [0, 1, 2]
LENGTH = 64
"""Characters in a window."""


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one variant with one seed and measure it."""
    rt = setup(seed=seed, preset=preset)
    kind, _, value = variant.partition(" ")
    if kind == "bug:":
        model = train_text(rt, rate=4e-3, steps=rt.choose(laptop=60, gpu=1000), bug=value)
        return measure_leak(model, sample("test", rt, model))
    model = train_text(rt, rate=float(value), steps=rt.choose(laptop=300, gpu=4000))
    validation_bits = bits_per_character(model, sample("validation", rt, model))
    return {"validation_bits": validation_bits, **measure_heads(model, sample("test", rt, model))}


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
        self.alphabet = alphabet
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


def texts() -> dict[str, str]:
    """The text of each split: ``"train"``, ``"validation"`` and ``"test"``."""
    split: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for number, document in enumerate(python_documentation()):
        name = {0: "test", 5: "validation"}.get(number % 10, "train")
        split[name].append(document.text)
    return {name: "\n".join(documents) for name, documents in split.items()}


def windows(ids_T: Tensor, count: int, length: int, generator: torch.Generator) -> Tensor:
    """Random windows of a text, (count, length)."""
    starts = torch.randint(len(ids_T) - length, (count,), generator=generator)
    return ids_T[starts[:, None] + torch.arange(length)]


def sample(split: str, rt: Runtime, model: TextModel, *, count: int = 96) -> Tensor:
    """Windows of a split, the same for all runs, (count, LENGTH + 1)."""
    return windows(model.encode(texts()[split]), count, LENGTH + 1, torch.Generator().manual_seed(1)).to(rt.device)


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


def measure_heads(model: TextModel, window_BT: Tensor) -> dict[str, Any]:
    """What the heads look at, and what each is worth.

    Returns:
        ``bits_per_character``; ``by_distance``: the mean weight on the key 0, 1, ... 7 characters back, by layer and
        head; ``to_latest_space``: the mean weight on the latest space, and ``to_latest_space_expected``: what that
        would be if the head knew distances only; ``cost_of_removal``: bits per character lost without each head.
    """
    bits, ids_BT = bits_per_character(model, window_BT), window_BT[:, :-1]
    start, length = 16, ids_BT.shape[1]  # queries with at least 16 characters before them
    positions_S = torch.arange(length, device=ids_BT.device)
    weights = model.weights(ids_BT)[..., start:, :]  # (layers, B, H, T, S)
    back_TS = positions_S[start:, None] - positions_S
    by_distance = torch.stack([weights[..., back_TS == d].mean(dim=(1, 3)) for d in range(length)], dim=-1)

    space = model.encode(" ").to(ids_BT.device)
    latest_BT = torch.where(ids_BT == space, positions_S, -1).cummax(dim=1).values[:, start:]
    on_latest_BTS = positions_S == latest_BT[..., None]
    latest_back_BT = (positions_S[start:] - latest_BT)[latest_BT >= 0]
    heads = [(layer, head) for layer in range(weights.shape[0]) for head in range(weights.shape[2])]
    return {
        "bits_per_character": bits,
        "by_distance": by_distance[..., :8].flatten(0, 1).tolist(),
        "to_latest_space": [weights[layer, :, head][on_latest_BTS].mean().item() for layer, head in heads],
        "to_latest_space_expected": [by_distance[layer, head, latest_back_BT].mean().item() for layer, head in heads],
        "cost_of_removal": [bits_per_character(model, window_BT, without=pair) - bits for pair in heads],
    }


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


def counting_baselines() -> dict[str, float]:
    """Bits per character of the test text by counts of the training text: one, two and three characters, add 0.01."""
    split = texts()
    size = len(set(split["train"])) + 1
    bits = {}
    for order in (1, 2, 3):
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
