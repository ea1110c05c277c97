"""Attention against summaries of fixed width on a retrieval task, and the heads of a small model of real text.

Retrieval: a phone book of (name, room) cards and a question (a name); the answer is the room on that name's card. The
variants differ in how the cards are read, and in nothing else. Text: a causal character model of two layers of
attention, trained on Python's documentation, what its heads attend to, and what becomes of it with the usual bugs.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.data.corpora import python_documentation
from plm_core.models.attention import visible_keys
from plm_core.models.multi_head import MultiHeadAttention
from plm_core.models.positions import Rope
from plm_core.runtime import Runtime, seed_everything, setup

BUGS = ("none", "wrong axis", "no scale", "mask after softmax", "wrong reshape", "padding attended to")
VARIANTS = ["bag of words", "fixed summary", "hard attention", "attention", "text"]
VARIANTS += [f"bug: {bug}" for bug in BUGS[:5]]  # the windows of text hold no padding
SEEDS = [0, 1, 2]

_NAMES = (
    "Ada Alan Anna Bela Bo Carl Cleo Dan Dora Eli Emma Finn Gina Hugo Ida Ivan "
    "Jan Jia Kai Lea Leo Lin Max Mei Nils Noa Otto Rosa Sam Tom Uma Zoe"
)
NAMES = tuple(_NAMES.split())
ROOMS = len(NAMES)
PAIRS = 12
"""Cards in a phone book."""
RECALL_STEPS = 800


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one variant with one seed and measure it."""
    rt = setup(seed=seed, preset=preset)
    if variant == "text":
        model = train_text(rt)
        return measure_heads(model, held_out(rt, model))
    if variant.startswith("bug: "):
        model = train_text(rt, bug=variant.removeprefix("bug: "))
        return measure_leak(model, held_out(rt, model))
    return measure_recall(*train_recall(variant, rt), rt)


# Retrieval


def draw_cards(batch: int, pairs: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw phone books with distinct names and distinct rooms: names (B, S), rooms (B, S), question (B), answer (B)."""
    names_BS = torch.rand(batch, len(NAMES), generator=generator).argsort(1)[:, :pairs]
    rooms_BS = torch.rand(batch, ROOMS, generator=generator).argsort(1)[:, :pairs]
    asked_B1 = torch.randint(pairs, (batch, 1), generator=generator)
    return names_BS, rooms_BS, names_BS.gather(1, asked_B1)[:, 0], rooms_BS.gather(1, asked_B1)[:, 0]


class Recall(nn.Module):
    """Answer questions about a phone book; the variant says how the cards are read."""

    def __init__(self, variant: str, hidden_size: int = 32) -> None:
        super().__init__()
        self.variant = variant
        self.name = nn.Embedding(len(NAMES), hidden_size)
        self.room = nn.Embedding(ROOMS, hidden_size)
        self.attention = MultiHeadAttention(hidden_size, num_heads=1)
        self.digest = perceptron(hidden_size, hidden_size)
        self.answer = perceptron(2 * hidden_size, ROOMS)

    def forward(self, names_BS: Tensor, rooms_BS: Tensor, question_B: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of the rooms, (B, rooms), and the log probability of the card looked at, (B,), if one was sampled."""
        cards_BSD = self.name(names_BS) + self.room(rooms_BS)
        question_BD = self.name(question_B)
        read_BD, log_prob_B = self.read(cards_BSD, question_BD)
        return self.answer(torch.cat([question_BD, read_BD], dim=-1)), log_prob_B

    def read(self, cards_BSD: Tensor, question_BD: Tensor) -> tuple[Tensor, Tensor | None]:
        """Turn many cards into one vector."""
        if self.variant == "bag of words":  # the mean of all words, whatever the question
            return cards_BSD.mean(dim=1), None
        if self.variant == "fixed summary":  # each card is digested before the mean
            return self.digest(cards_BSD).mean(dim=1), None
        if self.variant == "attention":  # cross attention from the question to the cards
            return self.attention(question_BD[:, None], cards_BSD)[:, 0], None
        return self.look_at_one(cards_BSD, question_BD)

    def look_at_one(self, cards_BSD: Tensor, question_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Hard attention: sample one card in training, take the likeliest in evaluation."""
        weights_BS = self.attention(question_BD[:, None], cards_BSD, need_weights=True)[1][:, 0, 0]
        index_B1 = weights_BS.multinomial(1) if self.training else weights_BS.argmax(-1, keepdim=True)
        card_BD = cards_BSD[torch.arange(len(index_B1)), index_B1[:, 0]]
        read_BD = self.attention.output(self.attention.value(card_BD))
        return read_BD, weights_BS.gather(1, index_B1)[:, 0].log()


def perceptron(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 4 * inputs), nn.ReLU(), nn.Linear(4 * inputs, outputs))


def train_recall(variant: str, rt: Runtime) -> tuple[Recall, dict[str, list[float]]]:
    """Train on fresh phone books at every step; the history holds the accuracy on others, every 25 steps."""
    seed_everything(rt.seed)
    model = Recall(variant).to(rt.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(rt.seed)
    baseline = math.log(ROOMS)
    history: dict[str, list[float]] = {"steps": [], "accuracy": []}
    for step in range(1, RECALL_STEPS + 1):
        cards, answer_B = split_answer(draw_cards(64, PAIRS, generator), rt)
        logits_BV, log_prob_B = model(*cards)
        loss_B = F.cross_entropy(logits_BV, answer_B, reduction="none")
        loss = loss_B.mean()
        if log_prob_B is not None:  # REINFORCE: raise the probability of looks that lost less than usual
            loss = loss + ((loss_B.detach() - baseline) * log_prob_B).mean()
            baseline = 0.9 * baseline + 0.1 * loss_B.mean().item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 25 == 0:
            history["steps"].append(step)
            history["accuracy"].append(accuracy(model, rt, pairs=PAIRS, examples=1024))
    return model, history


def split_answer(batch: tuple[Tensor, ...], rt: Runtime) -> tuple[tuple[Tensor, ...], Tensor]:
    *cards, answer_B = (tensor.to(rt.device) for tensor in batch)
    return tuple(cards), answer_B


@torch.no_grad()
def accuracy(model: Recall, rt: Runtime, *, pairs: int, examples: int) -> float:
    """Share of right answers on phone books that training has not drawn."""
    cards, answer_B = split_answer(draw_cards(examples, pairs, torch.Generator().manual_seed(10_000 + rt.seed)), rt)
    model.eval()
    right = model(*cards)[0].argmax(-1) == answer_B
    model.train()
    return right.float().mean().item()


def measure_recall(model: Recall, history: dict[str, list[float]], rt: Runtime) -> dict[str, Any]:
    """Add to the history the final accuracy, the accuracy on books of other sizes, and the number of parameters."""
    return {
        **history,
        "final_accuracy": accuracy(model, rt, pairs=PAIRS, examples=8192),
        "accuracy_by_pairs": {str(n): accuracy(model, rt, pairs=n, examples=4096) for n in (2, 4, 8, 16, 32)},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


# Text


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
        allowed, _whole = visible_keys(None if self.bug == "padding attended to" else mask, True, T, T, x_BTD.device)
        assert allowed is not None, "causal attention always has a mask"
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

    def __init__(self, alphabet: str, *, bug: str | None = None, hidden_size: int = 128, num_heads: int = 4) -> None:
        super().__init__()
        attention = MultiHeadAttention if bug is None else partial(BuggyAttention, bug=bug)
        self.alphabet, self.block = alphabet, 64
        self.embedding = nn.Embedding(len(alphabet) + 1, hidden_size)  # the last one stands for characters never seen
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_size) for _ in range(3))
        rope = Rope(hidden_size // num_heads)  # tells positions apart: the subject of the next chapter
        self.layers = nn.ModuleList(attention(hidden_size, num_heads, position=rope) for _ in range(2))
        self.unembedding = nn.Linear(hidden_size, len(alphabet) + 1)

    def encode(self, text: str) -> Tensor:
        """Character numbers, (T,)."""
        number = {character: i for i, character in enumerate(self.alphabet)}
        return torch.tensor([number.get(character, len(self.alphabet)) for character in text])

    def forward(self, ids_BT: Tensor) -> Tensor:
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


def texts() -> tuple[str, str]:
    """Training and held-out text: every tenth document is held out."""
    documents = python_documentation()
    train = "\n".join(document.text for i, document in enumerate(documents) if i % 10)
    return train, "\n".join(document.text for i, document in enumerate(documents) if i % 10 == 0)


def windows(ids_T: Tensor, count: int, length: int, generator: torch.Generator) -> Tensor:
    """Random windows of a text, (count, length)."""
    starts = torch.randint(len(ids_T) - length, (count,), generator=generator)
    return ids_T[starts[:, None] + torch.arange(length)]


def train_text(rt: Runtime, *, bug: str | None = None) -> TextModel:
    """Train on windows of the documentation, with a bug for a shorter time."""
    seed_everything(rt.seed)
    text = texts()[0]
    model = TextModel("".join(sorted(set(text))), bug=bug)
    ids_T = model.encode(text)
    model.to(rt.device)
    batch = rt.choose(laptop=24, gpu=128)
    steps = rt.choose(laptop=400, gpu=4000) if bug is None else rt.choose(laptop=150, gpu=1500)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(rt.seed)
    for _ in range(steps):
        window_BT = windows(ids_T, batch, model.block + 1, generator).to(rt.device)
        loss = F.cross_entropy(model(window_BT[:, :-1]).flatten(0, 1), window_BT[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def held_out(rt: Runtime, model: TextModel, *, count: int = 256) -> Tensor:
    """Windows of the held-out text, (count, block + 1)."""
    generator = torch.Generator().manual_seed(1)
    return windows(model.encode(texts()[1]), count, model.block + 1, generator).to(rt.device)


def measure_heads(model: TextModel, window_BT: Tensor) -> dict[str, Any]:
    """What the heads look at on held-out text, and what each is worth.

    Returns:
        ``bits_per_character``; ``by_distance``: the mean weight on the key 0, 1, ... 7 characters back, by layer and
        head; ``to_latest_space``: the mean weight on the latest space, and ``to_latest_space_expected``: what that
        would be if the head knew distances only; ``cost_of_removal``: bits per character lost without each head;
        ``gain_from_copy``: bits per character saved if the context is a copy of the text that comes.
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
        "gain_from_copy": gain_from_copy(model, window_BT),
    }


@torch.no_grad()
def bits_per_character(model: TextModel, window_BT: Tensor, *, without: tuple[int, int] | None = None) -> float:
    """Mean loss in bits per character, with all heads or without one (layer, head), whose output is set to zero."""
    hook = None
    if without is not None:
        layer = model.layers[without[0]]
        assert isinstance(layer, MultiHeadAttention)
        width = layer.output.in_features // layer.num_heads
        own = slice(without[1] * width, (without[1] + 1) * width)
        kept = torch.ones(layer.output.in_features, device=window_BT.device)
        kept[own] = 0
        hook = layer.output.register_forward_pre_hook(lambda _, inputs: (inputs[0] * kept,))
    loss = F.cross_entropy(model(window_BT[:, :-1]).flatten(0, 1), window_BT[:, 1:].flatten())
    if hook is not None:
        hook.remove()
    return loss.item() / math.log(2)


@torch.no_grad()
def gain_from_copy(model: TextModel, window_BT: Tensor) -> float:
    """Bits per character that a model saves on a text if the same text stands right before it."""
    half = model.block // 2
    text_BT = window_BT[:, half : 2 * half]
    costs = []
    for context_BT in (window_BT[:, :half], text_BT):
        logits_BTV = model(torch.cat([context_BT, text_BT], dim=1)[:, :-1])[:, half:]
        costs.append(F.cross_entropy(logits_BTV.flatten(0, 1), text_BT[:, 1:].flatten()).item() / math.log(2))
    return costs[0] - costs[1]


@torch.no_grad()
def measure_leak(model: TextModel, window_BT: Tensor) -> dict[str, float]:
    """Bits for the character after 16, 24, ... 56 others: with the rest of the window present, and with it cut off."""
    ends = range(16, model.block, 8)
    full_BTV = model(window_BT[:, :-1])
    whole = torch.stack([F.cross_entropy(full_BTV[:, end - 1], window_BT[:, end]) for end in ends])
    cut = torch.stack([F.cross_entropy(model(window_BT[:, :end])[:, -1], window_BT[:, end]) for end in ends])
    return {"bits_as_trained": whole.mean().item() / math.log(2), "bits_in_use": cut.mean().item() / math.log(2)}
