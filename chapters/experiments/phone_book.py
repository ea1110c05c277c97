"""A phone book to look things up in: the task, the models that read it, and how they are trained and tuned.

A page holds cards, each a name and a room; a question holds a name; the answer is the room on that name's card. The
experiments 05, 05a, 05c, 05d and 05e share this module. Pages are drawn afresh at every step, so no model can memorise
them, and every model is trained at the best of several rates; see :mod:`phone_book_tuning`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.models.attention import attend
from plm_core.models.multi_head import MultiHeadAttention
from plm_core.runtime import Runtime, seed_everything

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
PAIRS_OF_SIZE = 32
"""Cards in the phone book of the comparison of softmax and memory: every name and every room is on every page."""
WIDTH = 32
"""Width D of the vectors of names, rooms and cards."""

MEMORIES = ["bag of words", "outer product 8", "outer product 32", "hard attention", "attention"]
SUMMARIES = ["digest 128", "digest 512", "recurrent 64", "recurrent 128"]
SIZES = ["softmax", "no softmax"]
SCALES = [f"{name}, K = {width}" for width in (64, 512) for name in ("scaled", "plain", "small")]
HEADS = ["1 head", "2 heads"]
VARIANTS = MEMORIES + SUMMARIES + SIZES + SCALES + HEADS
STEPS = dict.fromkeys(MEMORIES, 500) | dict.fromkeys(SUMMARIES, 2000) | dict.fromkeys(SIZES, 800)
STEPS |= dict.fromkeys(SCALES, 200) | dict.fromkeys(HEADS, 1600)
"""Training steps of 64 pages."""
EVERY = 25
"""Steps between two points of a learning curve."""


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
        pairs: how many cards a page has in training.
    """

    def __init__(self, *, asked: int = 1, width: int = WIDTH, pairs: int = PAIRS) -> None:
        super().__init__()
        self.asked, self.pairs = asked, pairs
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


class Summary(Reader):
    """``width`` numbers made of the page before the question is known; the question then weighs each of them.

    Without the weighing, the answering network alone has to bring question and page together; it then stayed near
    chance (an earlier version of the experiment, 500 steps).
    """

    def __init__(self, width: int) -> None:
        super().__init__(width=width)
        self.question = nn.Linear(WIDTH, width)

    def read(self, cards_BSD: Tensor, question_BD: Tensor) -> tuple[Tensor, None]:
        return self.summary(cards_BSD) * self.question(question_BD), None

    def summary(self, cards_BSD: Tensor) -> Tensor:
        """The page in ``width`` numbers, (B, width)."""
        raise NotImplementedError


class Digest(Summary):
    """The mean over the cards of ``width`` rectified features of each of them."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.features = nn.Linear(WIDTH, width)

    def summary(self, cards_BSD: Tensor) -> Tensor:
        return self.features(cards_BSD).relu().mean(dim=1)


class Recurrent(Summary):
    """A gated recurrent unit that reads card after card: its last state, ``width`` numbers, stands for the page."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.unit = nn.GRU(WIDTH, width, batch_first=True)

    def summary(self, cards_BSD: Tensor) -> Tensor:
        return self.unit(cards_BSD)[1][0]


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
        super().__init__(asked=asked, pairs=PAIRS if asked == 1 else PAIRS_OF_TWO)
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


class SizedMemory(Reader):
    """A key and a value for each of 32 cards, or a table of fixed size, and a read with a softmax or without one.

    Args:
        width: width K of queries and keys.
        softmax: weigh the cards by the softmax of the scores, or by the scores themselves, which need only the table
            of K x D numbers.
    """

    def __init__(self, width: int, *, softmax: bool) -> None:
        super().__init__(pairs=PAIRS_OF_SIZE)
        self.softmax = softmax
        self.query, self.key = nn.Linear(WIDTH, width, bias=False), nn.Linear(WIDTH, width, bias=False)
        self.value = nn.Linear(WIDTH, WIDTH, bias=False)

    def read(self, cards_BSD: Tensor, question_BD: Tensor) -> tuple[Tensor, None]:
        q_B1K, k_BSK, v_BSD = self.query(question_BD)[:, None], self.key(cards_BSD), self.value(cards_BSD)
        weights_B1S = q_B1K @ k_BSK.mT / math.sqrt(q_B1K.shape[-1])
        weights_B1S = weights_B1S.softmax(-1) if self.softmax else weights_B1S
        return (weights_B1S @ v_BSD)[:, 0], None


class WideAttention(Reader):
    """One head of width K whose queries and keys start with components of variance 1, scaled or not.

    Args:
        width: width K of queries and keys.
        kind: ``"scaled"``: scores are divided by the square root of K; ``"plain"``: they are not; ``"small"``: they
            are not, but queries and keys start smaller, so that the first scores are those of the scaled head.
    """

    def __init__(self, width: int, kind: str) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(WIDTH, width, bias=False), nn.Linear(WIDTH, width, bias=False)
        self.value = nn.Linear(WIDTH, WIDTH, bias=False)
        self.scale = width**-0.5 if kind == "scaled" else 1.0
        for linear in (self.query, self.key, self.value):
            nn.init.normal_(linear.weight, std=WIDTH**-0.5)  # inputs of variance 1: outputs of variance 1
        if kind == "small":
            for linear in (self.query, self.key):
                linear.weight.data *= width**-0.25

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
        "digest 512": partial(Digest, 512),
        "recurrent 64": partial(Recurrent, 64),
        "recurrent 128": partial(Recurrent, 128),
        "outer product 8": partial(OuterProduct, 8),
        "outer product 32": partial(OuterProduct, 32),
        "hard attention": HardAttention,
        "attention": Attention,
        "softmax": partial(SizedMemory, 32, softmax=True),
        "no softmax": partial(SizedMemory, 32, softmax=False),
        "1 head": partial(Attention, num_heads=1, asked=2),
        "2 heads": partial(Attention, num_heads=2, asked=2),
    }
    if variant in SCALES:
        kind, _, width = variant.partition(", K = ")
        return WideAttention(int(width), kind)
    if variant not in kinds:
        raise ValueError(f"unknown variant {variant!r}: choose one of {', '.join(VARIANTS)}")
    return kinds[variant]()


def train(variant: str, rt: Runtime, *, rate: float, steps: int | None = None) -> tuple[Reader, dict[str, list[Any]]]:
    """Train a variant with Adam.

    Returns:
        The trained model, and a history: every ``EVERY`` ``steps`` the ``accuracy`` on pages of their own.
    """
    seed_everything(rt.seed)
    model = build(variant).to(rt.device)
    generator = torch.Generator().manual_seed(rt.seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    baseline = math.log(ROOMS)
    history: dict[str, list[Any]] = {"steps": [], "accuracy": []}
    for step in range(1, (steps or STEPS[variant]) + 1):
        *page, answer_BA = (each.to(rt.device) for each in draw_pages(64, model.pairs, generator, asked=model.asked))
        logits_BAV, log_prob_B = model(*page)
        loss_B = F.cross_entropy(logits_BAV.mT, answer_BA, reduction="none").mean(1)
        loss = loss_B.mean()
        if log_prob_B is not None:  # REINFORCE: raise the probability of looks that lost less than usual
            loss = loss + ((loss_B.detach() - baseline) * log_prob_B).mean()
            baseline = 0.9 * baseline + 0.1 * loss_B.mean().item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % EVERY == 0:
            history["steps"].append(step)
            history["accuracy"].append(accuracy(model, rt, examples=512, pages=30_000))
    return model, history


@torch.no_grad()
def accuracy(model: Reader, rt: Runtime, *, examples: int, pairs: int | None = None, pages: int = 10_000) -> float:
    """Share of questions answered right, every name of them; ``pages`` + seed says which pages are drawn."""
    generator = torch.Generator().manual_seed(pages + rt.seed)
    *page, answer_BA = draw_pages(examples, pairs or model.pairs, generator, asked=model.asked)
    model.eval()
    right_B = (model(*(each.to(rt.device) for each in page))[0].argmax(-1) == answer_BA.to(rt.device)).all(-1)
    model.train()
    return right_B.float().mean().item()
