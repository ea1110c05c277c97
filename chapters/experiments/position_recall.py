"""A recall task for position schemes: where was the person last seen?

**Task.** Every token is one event. ``Anna goes to the kitchen`` is one token, ``Where is Anna?`` is another, whose
answer is the place in the *latest* statement about Anna. A stream begins with nobody placed, so the evidence for every
question lies inside the stream, at a distance that is known exactly. *Near* questions have their evidence less than
``LENGTH`` events back, the trained length; *far* ones have it farther back.

**Baselines**, computed on the questions and on the visible events that the model has (:func:`score_rule`):

- The ceiling is 1: a reader who sees the evidence and the order answers every question.
- *Chance* is 1 / ``PLACES``: nothing about the person is visible.
- The *majority rule* reads the visible events as a bag and names the place that most statements about the person name;
  ties are shared. Places are drawn independently and uniformly, so each of the person's statements is equally likely to
  be the latest: this rule is the best possible reader that ignores order. It is far above chance.

**Criterion.** A model is said to *read order* on a kind of question only if the interval of its accuracy minus that of
the majority rule lies above zero. The intervals are Student's, over seeds that are paired: the seed fixes the training
streams and the test streams, which are the same for all schemes, and the initial weights, which are not, since schemes
with parameters draw them first. An interval therefore covers the choice of the test questions as well. The experiments
that use the task state the number of comparisons.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from plm_core.models.config import TransformerConfig
from plm_core.models.positions import Learned, PositionScheme, Rope, Sinusoidal
from plm_core.models.relative_positions import Alibi, Shaw, T5Bias, TransformerXL
from plm_core.models.transformer import Stack, initialise

PEOPLE, PLACES = 8, 4
LENGTH = 32
"""Events in a training stream."""
LENGTHS = (32, 64, 128)
"""Events in a test stream: one, two and four times the trained length."""
HIDDEN, LAYERS, HEADS = 32, 2, 4
STEPS, BATCH = 2000, 16
TEST_STREAMS, SCORED = 400, 16
"""Test streams of each length and seed, and the number of last events among which their questions are scored."""

MODEL_SEEDS = [0, 1, 2, 3, 4]


class Streams(NamedTuple):
    """Streams of events, each (B, T)."""

    ids: Tensor
    """Statement of person p and place q: ``p * PLACES + q``. Question about p: ``PEOPLE * PLACES + p``."""
    answers: Tensor
    """The place of the person named, before the event; -1 where nobody has said."""
    distances: Tensor
    """Events between a question and its evidence; 0 for statements."""


def streams(count: int, length: int, generator: torch.Generator) -> Streams:
    """Draw streams: with probability 1/2 a question about somebody placed, else a statement about anybody."""
    rows = torch.arange(count)
    place = torch.full((count, PEOPLE), -1)
    told_at = torch.full((count, PEOPLE), -1)
    ids, answers, distances = [], [], []
    for t in range(length):
        asks = (torch.rand(count, generator=generator) < 0.5) & (place >= 0).any(1)
        lots = torch.rand(count, PEOPLE, generator=generator)
        person = torch.where(asks, lots.masked_fill(place < 0, -1).argmax(1), lots.argmax(1))
        new = torch.randint(PLACES, (count,), generator=generator)
        ids.append(torch.where(asks, PEOPLE * PLACES + person, person * PLACES + new))
        answers.append(place[rows, person])
        distances.append(torch.where(asks, t - told_at[rows, person], 0))
        place[rows, person] = torch.where(asks, place[rows, person], new)
        told_at[rows, person] = torch.where(asks, told_at[rows, person], t)
    return Streams(torch.stack(ids, 1), torch.stack(answers, 1), torch.stack(distances, 1))


@lru_cache(maxsize=16)
def test_streams(length: int, seed: int) -> Streams:
    """The test streams of one seed, the same for all schemes; the questions among the last ``SCORED`` events count."""
    return streams(TEST_STREAMS, length, torch.Generator().manual_seed(10_000 * (seed + 1) + length))


SCHEMES = {
    "none": lambda: PositionScheme(),
    "learned": lambda: Learned(max(LENGTHS), HIDDEN),
    "sinusoidal": lambda: Sinusoidal(HIDDEN),
    "rope": lambda: Rope(HIDDEN // HEADS),
    "shaw": lambda: Shaw(HIDDEN // HEADS, max_distance=16),
    "t5": lambda: T5Bias(HEADS, bidirectional=False),
    "t5_near": lambda: T5Bias(HEADS, max_distance=24, bidirectional=False),
    "transformer_xl": lambda: TransformerXL(HIDDEN, HEADS),
    "alibi": lambda: Alibi(HEADS),
}
"""The schemes with the settings of their papers. ``t5_near`` is T5 whose last bucket lies inside the trained length."""


class Recall(nn.Module):
    """A decoder that names the place at every question.

    Under sinusoidal positions, whose entries are of size one, the embeddings of the events are drawn from N(0, 1/D) and
    multiplied by sqrt(D) (Vaswani et al., 2017, section 3.4), as in :class:`plm_core.models.inputs.Embeddings`, whose
    check of the ids does not work for several models in one pass.
    """

    def __init__(self, scheme: PositionScheme) -> None:
        super().__init__()
        config = TransformerConfig(
            vocab_size=PEOPLE * (PLACES + 1),
            hidden_size=HIDDEN,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            intermediate_size=2 * HIDDEN,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        self.scheme = scheme
        self.events = nn.Embedding(config.vocab_size, HIDDEN)
        self.stack = Stack(config, scheme)
        self.places = nn.Linear(HIDDEN, PLACES)
        self.scale = math.sqrt(HIDDEN) if isinstance(scheme, Sinusoidal) else 1.0
        initialise(self, std=0.1, residual_std=0.1)
        if self.scale != 1.0:
            nn.init.normal_(self.events.weight, std=1 / self.scale)

    def embed(self, ids_BT: Tensor) -> Tensor:
        """Event embeddings with what the scheme adds to them, (B, T, D)."""
        return self.scheme.embed(self.scale * self.events(ids_BT))

    def forward(self, ids_BT: Tensor, *, window: int | None = None) -> Tensor:
        """Logits of the places, (B, T, PLACES); with ``window``, each event attends to that many last events only."""
        mask = None
        if window is not None:
            t = torch.arange(ids_BT.shape[1], device=ids_BT.device)
            mask = (t[:, None] - t < window)[None, None]  # (1, 1, T, T)
        return self.places(self.stack(self.embed(ids_BT), mask=mask, is_causal=True))


def build(variant: str, seeds: list[int]) -> list[Recall]:
    """Models with one scheme, whose initial weights differ."""
    models = []
    for seed in seeds:
        torch.manual_seed(seed)
        models.append(Recall(SCHEMES[variant]()))
    return models


def parameters_of_modules(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter of every module, by one name each: a parameter that two modules share has two names."""
    return {
        f"{name}.{own}" if name else own: parameter
        for name, module in model.named_modules()
        for own, parameter in module.named_parameters(recurse=False)
    }


def together(models: list[Recall], ids: Tensor, *, per_model: bool, window: int | None = None) -> Tensor:
    """Logits of several models of one architecture in one pass, which costs little more than a pass of one of them.

    Args:
        models: M models.
        ids: streams, (M, B, T) if ``per_model``, else (B, T), read by every model.
        per_model: whether each model has streams of its own.
        window: see :meth:`Recall.forward`.

    Returns:
        Logits, (M, B, T, PLACES).
    """
    parts = zip(*(parameters_of_modules(model).items() for model in models), strict=True)
    stacked = {part[0][0]: torch.stack([tensor for _, tensor in part]) for part in parts}

    def one(parameters: dict[str, Tensor], ids_BT: Tensor) -> Tensor:
        return functional_call(models[0], parameters, (ids_BT,), {"window": window}, tie_weights=False)

    with sdpa_kernel(SDPBackend.MATH):  # the fused kernel has no rule for several models at once
        return vmap(one, in_dims=(0, 0 if per_model else None))(stacked, ids)


def train(models: list[Recall], rates: list[float], *, seeds: list[int], steps: int = STEPS) -> Tensor:
    """Train models side by side on fresh streams: warm-up over an eighth of the steps, linear decay over the last half.

    Returns:
        The loss of each step (row) and model (column), in nats a question.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    groups = [{"params": list(model.parameters()), "lr": 0.0} for model in models]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    device, losses = next(models[0].parameters()).device, []
    pools: list[Streams] = []
    for step in range(steps):
        first = step % 100 * BATCH
        if first == 0:
            pools = [streams(100 * BATCH, LENGTH, generator) for generator in generators]
        batch = Streams(*(torch.stack(part)[:, first : first + BATCH] for part in zip(*pools, strict=True)))
        ids, answers, distances = (part.to(device) for part in batch)  # (M, B, T) each
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(8 * (step + 1) / steps, 2 * (steps - step) / steps, 1.0)
        asked = distances > 0
        logits = together(models, ids, per_model=True)
        nats = F.cross_entropy(logits.movedim(-1, 1), answers.clamp(min=0), reduction="none")  # (M, B, T)
        loss_M = (nats * asked).sum((1, 2)) / asked.sum((1, 2))
        optimizer.zero_grad()
        loss_M.sum().backward()
        for model in models:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss_M.detach().cpu())
    return torch.stack(losses)


Score = dict[str, list[float]]
"""``accuracy``, one number for each model, and the number of ``questions`` that it was asked."""


def _by_distance(right_by_seed: list[Tensor], length: int, seeds: list[int]) -> dict[str, Score]:
    """Mean share of right answers to near and to far questions, one for each seed."""
    found: dict[str, Score] = {}
    for right, seed in zip(right_by_seed, seeds, strict=True):
        distances = test_streams(length, seed).distances[:, -SCORED:]
        far = distances[distances > 0] >= LENGTH  # (questions,)
        for kind, which in (("near", ~far), ("far", far)):
            if length > LENGTH or kind == "near":
                score = found.setdefault(kind, {"accuracy": [], "questions": []})
                score["accuracy"].append(round(right[which].mean().item(), 4))
                score["questions"].append(int(which.sum()))
    return found


@torch.no_grad()
def score(
    models: list[Recall],
    length: int,
    *,
    seeds: list[int],
    truncate: bool = False,
    keep_positions: bool = False,
    window: int | None = None,
) -> dict[str, Score]:
    """Score the last questions of the test streams, each model on the streams of its own seed.

    Args:
        models: trained models of one scheme.
        length: events in a stream.
        seeds: the seed of each model.
        truncate: show, for each question, its last ``LENGTH`` events only, as if the stream began there.
        keep_positions: with ``truncate``, add to these events what the scheme adds at their positions in the whole
            stream. This changes nothing for schemes that add nothing to the input: they see distances only.
        window: let each event attend to that many last events only, at their true positions.

    Returns:
        A score for ``near`` questions and, if streams are longer than those of the training, for ``far`` ones.
    """
    right = []
    for model, seed in zip(models, seeds, strict=True):
        data, device = test_streams(length, seed), next(model.parameters()).device
        asked = data.distances[:, -SCORED:] > 0  # (B, SCORED)
        if truncate and keep_positions:
            x_BTD = model.embed(data.ids.to(device))
            x_BTD = x_BTD[:, -SCORED - LENGTH + 1 :].unfold(1, LENGTH, 1).mT[asked.to(device)]  # (questions, LENGTH, D)
            parts = [model.places(model.stack(part, is_causal=True))[:, -1].cpu() for part in x_BTD.split(400)]
            guesses = torch.cat(parts).argmax(-1)  # (questions,)
        elif truncate:
            ids = data.ids[:, -SCORED - LENGTH + 1 :].unfold(1, LENGTH, 1)[asked]  # (questions, LENGTH)
            parts = [model(part.to(device))[:, -1].cpu() for part in ids.split(400)]
            guesses = torch.cat(parts).argmax(-1)  # (questions,)
        else:
            parts = [model(part.to(device), window=window)[:, -SCORED:].cpu() for part in data.ids.split(50)]
            guesses = torch.cat(parts)[asked].argmax(-1)
        right.append((guesses == data.answers[:, -SCORED:][asked]).float())
    return _by_distance(right, length, seeds)


def score_rule(length: int, *, seeds: list[int], visible: int | None = None) -> dict[str, Score]:
    """Score the majority rule, the best reader without order, on the questions of :func:`score`.

    Args:
        length: events in a stream.
        seeds: the seeds of the test streams.
        visible: how many last events the rule counts, that of the question included; default: all.
    """
    right = []
    for seed in seeds:
        data = test_streams(length, seed)
        told = F.one_hot(data.ids, PEOPLE * (PLACES + 1))[..., : PEOPLE * PLACES].cumsum(1)  # (B, T, people * places)
        if visible is not None:
            told = told - F.pad(told, (0, 0, visible, 0))[:, :length]
        asked = data.distances > 0
        asked[:, :-SCORED] = False
        person = data.ids[asked] - PEOPLE * PLACES  # (questions,)
        counts = told[asked].view(-1, PEOPLE, PLACES)[torch.arange(len(person)), person]  # (questions, PLACES)
        named = (counts == counts.amax(-1, keepdim=True)).float()
        right.append((named / named.sum(-1, keepdim=True)).gather(-1, data.answers[asked][:, None])[:, 0])
    return _by_distance(right, length, seeds)


def score_everywhere(models: list[Recall], seeds: list[int]) -> dict[str, dict[str, Score]]:
    """Whole streams of each length; of the longest also the last events alone, and attention to the last events."""
    longest = LENGTHS[-1]
    return {f"{length}": score(models, length, seeds=seeds) for length in LENGTHS} | {
        "truncated": score(models, longest, seeds=seeds, truncate=True),
        "window": score(models, longest, seeds=seeds, window=LENGTH),
    }


def score_rule_everywhere(seeds: list[int]) -> dict[str, dict[str, Score]]:
    """The majority rule beside :func:`score_everywhere`: for both shortened readings it counts the last events only.

    Under the window a model of two layers can see more than that: through its first layer, traces of events up to
    ``2 * (LENGTH - 1)`` back.
    """
    shortened = score_rule(LENGTHS[-1], seeds=seeds, visible=LENGTH)
    return {f"{length}": score_rule(length, seeds=seeds) for length in LENGTHS} | {
        "truncated": shortened,
        "window": shortened,
    }
