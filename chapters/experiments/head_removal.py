"""What a small BERT loses with its heads: each one removed alone, and all of them in several orders.

Beside it, where each head looks.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from plm_chapters.experiments.teachers import Model, Task
from plm_core.compression.structured import attentions, importance, least_important, remove_heads
from plm_core.data.batch import Batch
from plm_core.models.transformer import Trace

HEADS_REMOVED = (4, 8, 12, 16, 18)
"""Of 24; six layers keep one each."""
PLACES = ("frame", "itself", "before", "after", "2 to 5 away", "farther")


def study_heads(seed: int, preset: str) -> dict[str, Any]:
    """Every head removed alone, all heads removed in several orders, and what they look at."""
    found: dict[str, Any] = {}
    for kind in ("masked", "mood"):
        task = Task(kind, preset)
        model = task.teacher(seed)
        scores = torch.stack(list(importance(model, task.objective, task.sample(seed))[0].values()))
        damage = damage_of_each(model, task)
        found[kind] = {"loss": loss_of(model, task), "damage": damage.tolist(), "importance": scores.tolist()}
        found[kind]["rank correlation"] = rank_correlation(damage.flatten(), scores.flatten())
        if kind == "masked":
            found["looks at"] = looks_at(model, task.valid[0])
            found["removed"] = remove_in_order(model, task, scores, damage, seed)
    return found


def loss_of(model: nn.Module, task: Task) -> float:
    """Nats for each prediction, on a part of the validation stories: always the same ones, so differences are exact."""
    return task.measure(model, task.valid[:2])["nats"]


def without_heads(model: Model, heads: Mapping[str, Sequence[int]]) -> Model:
    """A copy without these heads."""
    smaller = copy.deepcopy(model)
    remove_heads(smaller, heads)
    return smaller


def damage_of_each(model: Model, task: Task) -> Tensor:
    """How much the loss rises when one head is removed, in nats: (layers, H)."""
    whole = loss_of(model, task)
    return torch.tensor(
        [
            [loss_of(without_heads(model, {name: [head]}), task) - whole for head in range(layer.num_heads)]
            for name, layer in attentions(model).items()
        ]
    )


def remove_in_order(model: Model, task: Task, scores: Tensor, damage: Tensor, seed: int) -> dict[str, list[float]]:
    """The loss after removing heads: by importance, by damage alone, and by chance."""
    generator = torch.Generator().manual_seed(seed)
    orders = {
        "importance": scores,
        "damage": damage,
        "random": torch.rand(scores.shape, generator=generator),
    }
    names = list(attentions(model))
    found = {}
    for order, values in orders.items():
        by_layer = dict(zip(names, values, strict=True))
        chosen = [least_important(by_layer, count / scores.numel()) for count in HEADS_REMOVED]
        found[order] = [loss_of(without_heads(model, units), task) for units in chosen]
    return found


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's: the correlation of the ranks of two series without ties."""
    ranks = torch.stack([values.argsort().argsort().double() for values in (a, b)])
    return torch.corrcoef(ranks)[0, 1].item()


@torch.no_grad()
def looks_at(model: Model, batch: Batch) -> list[list[list[float]]]:
    """Where the gaps of a batch look, by layer and head: the mean weight on each of PLACES.

    The frame is [CLS] and [SEP]; before and after are the direct neighbours.
    """
    trace = Trace(keep_attentions=True)
    ids_BT, mask_BT = batch["input_ids"], batch["attention_mask"]
    model(ids_BT, attention_mask=mask_BT, trace=trace)
    gaps_BT = batch["labels"] >= 0
    T = ids_BT.shape[1]
    offset_TS = torch.arange(T) - torch.arange(T)[:, None]
    last_B = mask_BT.sum(1) - 1
    frame_BTS = torch.zeros(len(ids_BT), T, T, dtype=torch.bool)
    frame_BTS[:, :, 0] = True
    frame_BTS[torch.arange(len(ids_BT)), :, last_B] = True
    distance_TS = offset_TS.abs()
    where = [
        offset_TS == 0,
        offset_TS == -1,
        offset_TS == 1,
        (distance_TS > 1) & (distance_TS <= 5),
        distance_TS > 5,
    ]
    places = [frame_BTS, *(place_TS & ~frame_BTS for place_TS in where)]
    found = []
    for weights_BHTS in trace.attentions:
        sums = [(weights_BHTS * place_BTS[:, None]).sum(-1).transpose(1, 2)[gaps_BT].mean(0) for place_BTS in places]
        found.append(torch.stack(sums, -1).tolist())  # (H, places)
    return found
