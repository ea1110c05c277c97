"""A recall task for position schemes: where was the person last seen?

Every token is one event. ``Anna goes to the kitchen`` is one token, ``Where is Anna?`` is another, whose answer is the
place in the *latest* statement about Anna. A stream begins with nobody placed, so the evidence for every question lies
inside the stream, at a distance that is known exactly. A reader who sees the evidence answers without error (0 nats);
one who does not can only guess among the places. Content finds the statements about a person, position decides which
of them is the latest: a model that cannot use order cannot answer.
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
from plm_core.models.counting import num_parameters
from plm_core.models.positions import Learned, PositionScheme, Rope, Sinusoidal
from plm_core.models.relative_positions import Alibi, Shaw, T5Bias, TransformerXL
from plm_core.models.transformer import Stack, initialise

PEOPLE, PLACES = 8, 4
LENGTH = 32
"""Events in a training stream."""
LENGTHS = (32, 64, 128)
"""Events in a test stream: one, two and four times the trained length."""
HIDDEN, LAYERS, HEADS = 32, 2, 4
STEPS, SWEEP_STEPS, BATCH = 400, 160, 16
TEST_STREAMS, SCORED = 200, 16
"""Test streams of each length, and the number of last events among which their questions are scored."""


MODEL_SEEDS = [0, 1, 2, 3, 4]
SWEEP_SEED = 100
RATES = [2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2]


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


@lru_cache(maxsize=8)
def test_streams(length: int) -> Streams:
    """The streams on which all models are tested; the questions among the last ``SCORED`` events count."""
    return streams(TEST_STREAMS, length, torch.Generator().manual_seed(10_000 + length))


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
    """A decoder that names the place at every question."""

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
        initialise(self, std=0.1, residual_std=0.1)

    def forward(self, ids_BT: Tensor, *, window: int | None = None) -> Tensor:
        """Logits of the places, (B, T, PLACES); with ``window``, each event attends to that many last events only."""
        mask = None
        if window is not None:
            t = torch.arange(ids_BT.shape[1], device=ids_BT.device)
            mask = (t[:, None] - t < window)[None, None]  # (1, 1, T, T)
        x_BTD = self.scheme.embed(self.events(ids_BT))
        return self.places(self.stack(x_BTD, mask=mask, is_causal=True))


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
"""``accuracy`` and ``nats`` a question, one number for each model, and the number of ``questions``."""


@torch.no_grad()
def score(models: list[Recall], length: int, *, truncate: bool = False, window: int | None = None) -> dict[str, Score]:
    """Score the last questions of the test streams.

    Args:
        models: trained models of one scheme.
        length: events in a stream.
        truncate: show, for each question, its last ``LENGTH`` events only, as if the stream began there.
        window: let each event attend to that many last events only, at their true positions.

    Returns:
        A score for ``near`` questions, whose evidence lies less than ``LENGTH`` events back, and for ``far`` ones.
    """
    data, device = test_streams(length), next(models[0].parameters()).device
    asked = data.distances[:, -SCORED:] > 0  # (B, SCORED)
    if truncate:
        ids = data.ids[:, -SCORED - LENGTH + 1 :].unfold(1, LENGTH, 1)[asked]  # (questions, LENGTH)
        logits = torch.cat(
            [together(models, part.to(device), per_model=False)[:, :, -1].cpu() for part in ids.split(400)], 1
        )
    else:
        parts = [
            together(models, part.to(device), per_model=False, window=window)[:, :, -SCORED:].cpu()
            for part in data.ids.split(25)
        ]
        logits = torch.cat(parts, 1)[:, asked]  # (M, questions, PLACES)
    answers = data.answers[:, -SCORED:][asked].expand(len(models), -1)
    nats = F.cross_entropy(logits.movedim(-1, 1), answers, reduction="none")  # (M, questions)
    right = (logits.argmax(-1) == answers).float()
    far = data.distances[:, -SCORED:][asked] >= LENGTH
    return {
        name: {"accuracy": rounded(right[:, which]), "nats": rounded(nats[:, which]), "questions": [int(which.sum())]}
        for name, which in (("near", ~far), ("far", far))
        if which.any()
    }


def rounded(values_MQ: Tensor) -> list[float]:
    """Each model's mean; four decimals are more than the test's size supports."""
    return [round(value, 4) for value in values_MQ.mean(1).tolist()]


def score_everywhere(models: list[Recall]) -> dict[str, dict[str, Score]]:
    """Whole streams of each length; of the longest also the last events alone, and attention to the last events."""
    longest = LENGTHS[-1]
    return {f"{length}": score(models, length) for length in LENGTHS} | {
        "truncated": score(models, longest, truncate=True),
        "window": score(models, longest, window=LENGTH),
    }


REPAIRS = ("as trained", "interpolated", "base scaled", "yarn")


class ScaledRope(Rope):
    """RoPE stretched to texts that are longer by a factor than those of its training.

    - ``interpolated``: every angle divided by the factor (Chen et al., 2023).
    - ``base scaled``: the base multiplied by ``factor^(K / (K - 2))``, which leaves the fastest pair as it is and
      divides the angles of the slowest by the factor ("NTK-aware" scaling; Peng et al., 2024, section 3.1).
    - ``yarn``: pairs that turn at least ``KEPT`` times in the trained length keep their angles, those that turn less
      than once are interpolated, those between are mixed; queries and keys grow by ``0.1 ln(factor) + 1``
      (Peng et al., 2024, sections 3.2 and 3.4; there KEPT is 32, for windows of thousands of tokens).
    """

    KEPT = 4

    def __init__(self, head_size: int, repair: str, factor: float, *, trained_length: int = LENGTH) -> None:
        super().__init__(head_size)
        omega = self.base ** (-torch.arange(0, head_size, 2, dtype=torch.float64) / head_size)  # (K / 2,)
        self.growth = 1.0
        if repair == "interpolated":
            omega = omega / factor
        elif repair == "base scaled":
            base = self.base * factor ** (head_size / (head_size - 2))
            omega = base ** (-torch.arange(0, head_size, 2, dtype=torch.float64) / head_size)
        elif repair == "yarn":
            turns = trained_length * omega / (2 * math.pi)
            kept = ((turns - 1) / (self.KEPT - 1)).clamp(0, 1)
            omega = kept * omega + (1 - kept) * omega / factor
            self.growth = 0.1 * math.log(factor) + 1
        elif repair != "as trained":
            raise ValueError(f"unknown repair {repair!r}: use one of {', '.join(REPAIRS)}")
        self.omega = omega.tolist()

    def rotate(self, q_BHTK: Tensor, k_BHTK: Tensor, *, q_offset: int) -> tuple[Tensor, Tensor]:
        t_T = torch.arange(q_offset, q_offset + q_BHTK.shape[-2], device=q_BHTK.device, dtype=torch.float32)
        angles = t_T[:, None] * torch.tensor(self.omega, device=q_BHTK.device, dtype=torch.float32)  # (T, K / 2)
        cos, sin = self.growth * angles.cos(), self.growth * angles.sin()
        return self._turn(q_BHTK, cos, sin), self._turn(k_BHTK, cos, sin)


def repaired(model: Recall, repair: str, factor: float) -> Recall:
    """A copy of a model trained with RoPE, its angles stretched."""
    scheme = ScaledRope(HIDDEN // HEADS, repair, factor)
    other = Recall(scheme)
    other.load_state_dict(model.state_dict())
    return other.to(next(model.parameters()).device)


def run_scheme(variant: str, seed: int) -> dict[str, object]:
    """Sweep the rate, train five models, test them; with RoPE, test them once more with stretched angles."""
    torch.set_num_threads(1)  # at this size more threads only wait for each other
    swept = sweep(variant)
    rate = min(swept, key=swept.__getitem__)
    seeds = [seed + each for each in MODEL_SEEDS]
    models = build(variant, seeds)
    losses = train(models, [rate] * len(models), seeds=seeds)
    result: dict[str, object] = {
        "parameters": num_parameters(models[0]),
        "rate": rate,
        "sweep": {f"{each:g}": loss for each, loss in sorted(swept.items())},
        "model_seeds": seeds,
        "losses": [[round(loss, 4) for loss in row] for row in losses.view(-1, 20, len(models)).mean(1).T.tolist()],
        "test": score_everywhere(models),
    }
    if variant == "rope":
        factor = LENGTHS[-1] / LENGTHS[0]
        stretched = {repair: [repaired(model, repair, factor) for model in models] for repair in REPAIRS}
        result["repairs"] = {
            repair: {f"{length}": score(copies, length) for length in (LENGTHS[0], LENGTHS[-1])}
            for repair, copies in stretched.items()
        }
    return result


def sweep(variant: str) -> dict[float, float]:
    """The final loss of each learning rate, with fewer steps; the best is never at the edge."""
    found: dict[float, float] = {}
    wanted = list(RATES)
    while wanted:
        seeds = [SWEEP_SEED] * len(wanted)
        losses = train(build(variant, seeds), wanted, seeds=seeds, steps=SWEEP_STEPS)
        found |= dict(zip(wanted, losses[-20:].mean(0).nan_to_num(math.inf).tolist(), strict=True))
        best = min(found, key=found.__getitem__)
        wanted = [best / 2] if best == min(found) else [best * 2] if best == max(found) else []
    return {rate: round(loss, 4) for rate, loss in found.items()}
