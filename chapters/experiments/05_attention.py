"""Looking things up: attention against memories of fixed size, with and without the scale, with one head and several.

The task is a phone book of (name, room) cards and a question, a name; the answer is the room on that name's card. Three
groups of variants share it:

- *memories*: how the page is read, and so what is kept of it before the question is known;
- *scale*: attention by one head of width K, trained with and without the division by the square root of K;
- *heads*: the question holds two names, in order, and both rooms are wanted; all variants have the same parameters.

Each variant runs at the best of five rates, which ``05a_attention_rates`` chose on other pages and initial weights.
Pages are drawn afresh at every step, so no model can memorise them. The criterion, set before the runs: one variant
beats another if the 95 % interval (Student) of the paired differences, seed by seed, does not hold zero.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from plm_chapters.notebook import load_results
from plm_core.models.attention import attend
from plm_core.models.multi_head import MultiHeadAttention
from plm_core.runtime import Runtime, seed_everything, setup

_NAMES = (
    "Ada Alan Anna Bela Bo Carl Cleo Dan Dora Eli Emma Finn Gina Hugo Ida Ivan "
    "Jan Jia Kai Lea Leo Lin Max Mei Nils Noa Otto Rosa Sam Tom Uma Zoe"
)
NAMES = tuple(_NAMES.split())
ROOMS = len(NAMES)
PAIRS = 12
"""Cards in a phone book with which a question asks for one name."""
PAIRS_OF_TWO = 4
"""Cards in a phone book with which a question asks for two."""
WIDTH = 32
"""Width D of the vectors of names, rooms and cards."""

MEMORIES = ["bag of words", "digest 128", "recurrent 64", "outer product 8", "outer product 32"]
MEMORIES += ["hard attention", "attention"]
SCALES = [f"{name}, K = {width}" for width in (64, 512) for name in ("scaled", "plain")]
HEADS = ["1 head", "2 heads"]
VARIANTS = MEMORIES + SCALES + HEADS
SEEDS = [0, 1, 2]
STEPS = dict.fromkeys(MEMORIES, 500) | dict.fromkeys(SCALES, 200) | dict.fromkeys(HEADS, 800)


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train a variant at its best rate and measure it on pages that neither training nor the choice has seen."""
    rt = setup(seed=seed, preset=preset)
    rate = best_rate(variant)
    (model,), history = train(variant, rt, rates=(rate,))
    accuracies = [each for (each,) in history["accuracy"]]
    return {"rate": rate, "steps": history["steps"], "accuracy": accuracies, **measure(variant, model, rt)}


def best_rate(variant: str) -> float:
    """The rate at which a variant was most often right in the stored sweep."""
    runs = load_results("05a_attention_rates")["runs"]
    sweep: dict[str, float] = next(run["accuracy"] for run in runs if run["variant"] == variant)
    return float(max(sweep, key=lambda rate: sweep[rate]))


def measure(variant: str, model: Reader, rt: Runtime) -> dict[str, Any]:
    """Share of right answers on test pages, with memories also on pages of other sizes, and what the model holds."""
    measured: dict[str, Any] = {"final_accuracy": accuracy(model, rt, examples=8192)}
    if variant in MEMORIES:
        sizes = (2, 4, 8, 16, 32)
        measured["accuracy_by_pairs"] = {str(n): accuracy(model, rt, pairs=n, examples=2048) for n in sizes}
        measured["numbers_kept"] = numbers_kept(variant)
    return measured | {"parameters": sum(parameter.numel() for parameter in model.parameters())}


def draw_pages(batch: int, pairs: int, generator: torch.Generator, *, asked: int = 1) -> tuple[Tensor, ...]:
    """Draw phone books with distinct names and distinct rooms.

    Returns:
        Names (B, S), rooms (B, S), the names asked for (B, asked), and the rooms that answer them (B, asked).
    """
    names_BS = torch.rand(batch, len(NAMES), generator=generator).argsort(1)[:, :pairs]
    rooms_BS = torch.rand(batch, ROOMS, generator=generator).argsort(1)[:, :pairs]
    card_BA = torch.rand(batch, pairs, generator=generator).argsort(1)[:, :asked]
    return names_BS, rooms_BS, names_BS.gather(1, card_BA), rooms_BS.gather(1, card_BA)


class Reader(nn.Module):
    """Answer questions about a phone book; subclasses say how the cards are read.

    Args:
        asked: how many names a question holds.
        width: width of what :meth:`read` returns.
    """

    def __init__(self, *, asked: int = 1, width: int = WIDTH) -> None:
        super().__init__()
        self.asked, self.pairs = asked, PAIRS if asked == 1 else PAIRS_OF_TWO
        self.name = nn.Embedding(len(NAMES), WIDTH)
        self.room = nn.Embedding(ROOMS, WIDTH)
        self.answer = perceptron(asked * WIDTH + width, asked * ROOMS)

    def forward(self, names_BS: Tensor, rooms_BS: Tensor, question_BA: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of the rooms, (B, asked, rooms), and the log probability of the card looked at, (B,), if sampled."""
        cards_BSD = (self.name(names_BS) + self.room(rooms_BS)) / math.sqrt(2)
        question_BD = self.name(question_BA).flatten(1)
        read_BD, log_prob_B = self.read(cards_BSD, question_BD)
        logits_BV = self.answer(torch.cat([question_BD, read_BD], dim=-1))
        return logits_BV.unflatten(1, (self.asked, ROOMS)), log_prob_B

    def read(self, cards_BSD: Tensor, question_BD: Tensor) -> tuple[Tensor, Tensor | None]:
        """Turn many cards into one vector."""
        raise NotImplementedError


class Bag(Reader):
    """The mean of all words, whatever the question."""

    def read(self, cards_BSD: Tensor, question_BD: Tensor) -> tuple[Tensor, None]:
        return cards_BSD.mean(dim=1), None


class Digest(Reader):
    """The mean of the cards after a small network has read each of them: ``width`` numbers for the page."""

    def __init__(self, width: int) -> None:
        super().__init__(width=width)
        self.digest = perceptron(WIDTH, width)

    def read(self, cards_BSD: Tensor, question_BD: Tensor) -> tuple[Tensor, None]:
        return self.digest(cards_BSD).mean(dim=1), None


class Recurrent(Reader):
    """A gated recurrent unit that reads card after card: its last state, ``width`` numbers, stands for the page."""

    def __init__(self, width: int) -> None:
        super().__init__(width=width)
        self.gates = nn.Linear(WIDTH + width, 2 * width)
        self.candidate = nn.Linear(WIDTH + width, width)

    def read(self, cards_BSD: Tensor, question_BD: Tensor) -> tuple[Tensor, None]:
        state_BW = cards_BSD.new_zeros(len(cards_BSD), self.candidate.out_features)
        for card_BD in cards_BSD.unbind(1):
            keep_BW, reset_BW = self.gates(torch.cat([card_BD, state_BW], -1)).sigmoid().chunk(2, -1)
            new_BW = self.candidate(torch.cat([card_BD, reset_BW * state_BW], -1)).tanh()
            state_BW = keep_BW * state_BW + (1 - keep_BW) * new_BW
        return state_BW, None


class OuterProduct(Reader):
    """A table of ``width`` x D numbers: the sum of the outer products of keys and values, read by a query."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.key = nn.Linear(WIDTH, width, bias=False)
        self.value = nn.Linear(WIDTH, WIDTH, bias=False)
        self.query = nn.Linear(WIDTH, width, bias=False)

    def read(self, cards_BSD: Tensor, question_BD: Tensor) -> tuple[Tensor, None]:
        table_BKD = self.key(cards_BSD).mT @ self.value(cards_BSD)  # made before the question is known
        return (self.query(question_BD)[:, None] @ table_BKD)[:, 0], None


class Attention(Reader):
    """Soft attention from the question to the cards, with one or several heads."""

    def __init__(self, *, num_heads: int = 1, asked: int = 1) -> None:
        super().__init__(asked=asked)
        self.ask = nn.Identity() if asked == 1 else nn.Linear(asked * WIDTH, WIDTH)
        self.attention = MultiHeadAttention(WIDTH, num_heads)

    def read(self, cards_BSD: Tensor, question_BD: Tensor) -> tuple[Tensor, Tensor | None]:
        read_B1D, _ = self.attention(self.ask(question_BD)[:, None], cards_BSD, need_weights=True)
        return read_B1D[:, 0], None


class HardAttention(Attention):
    """Sample one card in training, take the likeliest in evaluation."""

    def read(self, cards_BSD: Tensor, question_BD: Tensor) -> tuple[Tensor, Tensor]:
        weights_BS = self.attention(question_BD[:, None], cards_BSD, need_weights=True)[1][:, 0, 0]
        noise_BS = -(-torch.rand_like(weights_BS).clamp_min(1e-9).log()).log() if self.training else 0.0
        index_B1 = (weights_BS.log() + noise_BS).argmax(-1, keepdim=True)  # Gumbel noise: a sample of the weights
        card_BD = cards_BSD.gather(1, index_B1[..., None].expand(-1, 1, WIDTH))[:, 0]
        read_BD = self.attention.output(self.attention.value(card_BD))
        return read_BD, weights_BS.gather(1, index_B1)[:, 0].log()


class WideAttention(Reader):
    """One head of width K whose queries and keys start with components of variance 1, scaled or not."""

    def __init__(self, width: int, *, scaled: bool) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(WIDTH, width, bias=False), nn.Linear(WIDTH, width, bias=False)
        self.value = nn.Linear(WIDTH, WIDTH, bias=False)
        self.scale = width**-0.5 if scaled else 1.0
        for linear in (self.query, self.key, self.value):
            nn.init.normal_(linear.weight, std=WIDTH**-0.5)  # inputs of variance 1: outputs of variance 1

    def read(self, cards_BSD: Tensor, question_BD: Tensor) -> tuple[Tensor, None]:
        q_B11K = self.query(question_BD)[:, None, None]
        k_B1SK, v_B1SD = self.key(cards_BSD)[:, None], self.value(cards_BSD)[:, None]
        read_B11D, _ = attend(q_B11K, k_B1SK, v_B1SD, scale=self.scale, implementation="explicit")
        return read_B11D[:, 0, 0], None


def perceptron(inputs: int, outputs: int) -> nn.Module:
    """Two linear layers with a rectifier between them."""
    return nn.Sequential(nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, outputs))


def build(variant: str) -> Reader:
    """The model of a variant, with fresh initial weights.

    Raises:
        ValueError: an unknown variant.
    """
    kinds: dict[str, Callable[[], Reader]] = {
        "bag of words": Bag,
        "digest 128": partial(Digest, 128),
        "recurrent 64": partial(Recurrent, 64),
        "outer product 8": partial(OuterProduct, 8),
        "outer product 32": partial(OuterProduct, 32),
        "hard attention": HardAttention,
        "attention": Attention,
        "1 head": partial(Attention, num_heads=1, asked=2),
        "2 heads": partial(Attention, num_heads=2, asked=2),
    }
    if variant in SCALES:
        name, _, width = variant.partition(", K = ")
        return WideAttention(int(width), scaled=name == "scaled")
    if variant not in kinds:
        raise ValueError(f"unknown variant {variant!r}: choose one of {', '.join(VARIANTS)}")
    return kinds[variant]()


def numbers_kept(variant: str, pairs: int = PAIRS) -> int:
    """How many numbers a variant keeps of a page before it knows the question."""
    kind, _, width = variant.rpartition(" ")
    if variant.endswith("attention"):
        return 2 * WIDTH * pairs  # a key and a value for each card
    if kind == "outer product":
        return int(width) * WIDTH
    return int(width) if width.isdigit() else WIDTH


def train(
    variant: str, rt: Runtime, *, rates: Sequence[float], steps: int | None = None
) -> tuple[list[Reader], dict[str, Any]]:
    """Train one copy at each rate with Adam, all copies in one batched computation.

    Returns:
        The trained copies, and a history: every 25 ``steps`` the ``accuracy`` of each copy on pages of their own.
    """
    seed_everything(rt.seed)
    model = build(variant).to(rt.device)
    generator = torch.Generator().manual_seed(rt.seed)
    weights = {name: each.detach().expand(len(rates), *each.shape).clone() for name, each in model.named_parameters()}
    first, second = ({name: torch.zeros_like(each) for name, each in weights.items()} for _ in range(2))
    baseline_R = torch.full((len(rates),), math.log(ROOMS), device=rt.device)
    rate_R = torch.tensor(rates, device=rt.device)

    def loss_of(weights: dict[str, Tensor], page: tuple[Tensor, ...], answer_BA: Tensor, baseline: Tensor) -> Any:
        logits_BAV, log_prob_B = functional_call(model, weights, page)
        loss_B = F.cross_entropy(logits_BAV.mT, answer_BA, reduction="none").mean(1)
        loss = loss_B.mean()
        if log_prob_B is not None:  # REINFORCE: raise the probability of looks that lost less than usual
            loss = loss + ((loss_B.detach() - baseline) * log_prob_B).mean()
        return loss, loss_B.detach().mean()

    gradients_of = vmap(grad(loss_of, has_aux=True), in_dims=(0, None, None, 0), randomness="different")
    history: dict[str, Any] = {"steps": [], "accuracy": []}
    for step in range(1, (steps or STEPS[variant]) + 1):
        *page, answer_BA = (each.to(rt.device) for each in draw_pages(64, model.pairs, generator, asked=model.asked))
        gradients, loss_R = gradients_of(weights, tuple(page), answer_BA, baseline_R)
        baseline_R = 0.9 * baseline_R + 0.1 * loss_R
        for name, gradient in gradients.items():  # Adam
            first[name].lerp_(gradient, 0.1)
            second[name].lerp_(gradient.square(), 0.001)
            size = (second[name] / (1 - 0.999**step)).sqrt() + 1e-8
            rate = rate_R.view(-1, *[1] * (gradient.dim() - 1))
            weights[name] -= rate * first[name] / (1 - 0.9**step) / size
        if step % 25 == 0:
            copies = copies_of(model, weights)
            history["steps"].append(step)
            history["accuracy"].append([accuracy(each, rt, examples=512, pages=30_000) for each in copies])
    return copies_of(model, weights), history


def copies_of(model: Reader, weights: dict[str, Tensor]) -> list[Reader]:
    """One model for each entry of the first axis of the weights."""
    copies = []
    for number in range(len(next(iter(weights.values())))):
        each = copy.deepcopy(model)
        each.load_state_dict({name: stacked[number] for name, stacked in weights.items()})
        copies.append(each)
    return copies


@torch.no_grad()
def accuracy(model: Reader, rt: Runtime, *, examples: int, pairs: int | None = None, pages: int = 10_000) -> float:
    """Share of questions answered right, every name of them; ``pages`` + seed says which pages are drawn."""
    generator = torch.Generator().manual_seed(pages + rt.seed)
    *page, answer_BA = draw_pages(examples, pairs or model.pairs, generator, asked=model.asked)
    model.eval()
    right_B = (model(*(each.to(rt.device) for each in page))[0].argmax(-1) == answer_BA.to(rt.device)).all(-1)
    model.train()
    return right_B.float().mean().item()
