"""The loss and metrics of a model over batches, computed without changing the model or the random generators."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from plm_core.data.batch import Batch
from plm_core.distributed import Processes
from plm_core.evaluation.modes import evaluation_mode
from plm_core.objectives.base import LossParts


class TermsObjective(Protocol):
    """The part of an objective, plain or joint, that trainer and evaluation use."""

    @property
    def weights(self) -> Mapping[str, float]: ...

    def prepare(self, batch: Batch) -> Batch: ...

    def for_evaluation(self) -> TermsObjective: ...

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, LossParts]: ...

    def counts(self, batch: Batch) -> dict[str, int]: ...


def validate(
    model: nn.Module,
    objective: TermsObjective,
    batches: Iterable[Batch],
    *,
    device: torch.device | str = "cpu",
    processes: Processes | None = None,
) -> dict[str, float]:
    """Mean losses and metrics over batches, each divided once by its count over *all* batches.

    Args:
        model: any module that the objective can run.
        objective: a plain or joint objective; label smoothing is left out.
        batches: a finite series of batches.
        device: where the batches are moved to.
        processes: processes that share the batches, each evaluating some of them; by default this one evaluates all.

    Returns:
        ``loss`` (the weighted sum of the means, nats), and for each term ``<name>/loss``, ``<name>/<metric>`` and
        ``<name>/count``.

    Raises:
        ValueError: there was nothing to evaluate.
    """
    processes = Processes() if processes is None else processes
    totals: dict[str, Tensor] = {}
    counts: dict[str, int] = defaultdict(int)
    objective = objective.for_evaluation()
    with evaluation_mode(model), torch.no_grad():
        for batch, counted in shard_batches(batches, processes):
            batch = objective.prepare(batch)
            for name, count in objective.counts(batch).items():
                counts[name] += count * counted
            for name, part in objective.terms(model, move(batch, device)).items():
                for key, value in part.sums().items():
                    key = f"{name}/{key}"
                    share = value.detach().double() * counted
                    totals[key] = totals.get(key, torch.zeros((), device=value.device)) + share
    if processes.size > 1 and totals:
        counts = defaultdict(int, processes.sum_counts(counts))
        totals = dict(zip(totals, processes.sum(torch.stack(list(totals.values()))), strict=True))
    if not any(counts.values()):
        raise ValueError("nothing to evaluate: the batches hold no token or example that the objective counts")
    result = {key: float(total) / max(1, counts[key.split("/")[0]]) for key, total in totals.items()}
    result |= {f"{name}/count": float(count) for name, count in counts.items()}
    result["loss"] = sum(weight * result[f"{name}/loss"] for name, weight in objective.weights.items())
    return result


def shard_batches(batches: Iterable[Batch], processes: Processes) -> Iterator[tuple[Batch, bool]]:
    """This process's share of the batches, each with whether it counts.

    All processes get the same number, for those that hold parts of a model must run it together; where the batches do
    not come out even, the last ones get one that another process counts.
    """
    if processes.size == 1:
        yield from ((batch, True) for batch in batches)
        return
    batches = list(batches)
    for start in range(0, len(batches), processes.size):
        number = start + processes.rank
        yield batches[min(number, len(batches) - 1)], number < len(batches)


def move(batch: Batch, device: torch.device | str) -> Batch:
    """The batch on a device. For a GPU it is pinned first, so that the copy runs beside the computation."""
    if torch.device(device).type == "cuda":
        batch = {key: value if value.is_cuda else value.pin_memory() for key, value in batch.items()}
    return {key: value.to(device, non_blocking=True) for key, value in batch.items()}
