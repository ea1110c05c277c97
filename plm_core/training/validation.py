"""Evaluation that changes nothing: no gradients, dropout off, modes and random generators put back as they were."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from plm_core.objectives.base import Batch, LossParts


class TermsObjective(Protocol):
    """What trainer and evaluation ask of an objective, plain or joint."""

    @property
    def weights(self) -> Mapping[str, float]: ...

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, LossParts]: ...

    def counts(self, batch: Batch) -> dict[str, int]: ...


def validate(
    model: nn.Module, objective: TermsObjective, batches: Iterable[Batch], *, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Mean losses and metrics over batches, each divided once by its count over *all* batches.

    Args:
        model: any module that the objective can run.
        objective: a plain or joint objective.
        batches: a finite series of batches.
        device: where the batches are moved to.

    Returns:
        ``loss`` (the weighted sum of the means, nats), and for each term ``<name>/loss``, ``<name>/<metric>`` and
        ``<name>/count``.

    Raises:
        ValueError: there was nothing to evaluate.
    """
    totals: dict[str, Tensor] = {}
    counts: dict[str, int] = defaultdict(int)
    with left_as_found(model), torch.no_grad():
        for batch in batches:
            for name, part in objective.terms(model, move(batch, device)).items():
                counts[name] += part.count
                for key, value in {"loss": part.total, **part.metrics}.items():
                    key = f"{name}/{key}"
                    totals[key] = totals.get(key, torch.zeros((), device=value.device)) + value.detach().double()
    if not any(counts.values()):
        raise ValueError("nothing to evaluate: the batches hold no token or example that the objective counts")
    result = {key: float(total) / max(1, counts[key.split("/")[0]]) for key, total in totals.items()}
    result |= {f"{name}/count": float(count) for name, count in counts.items()}
    result["loss"] = sum(weight * result[f"{name}/loss"] for name, weight in objective.weights.items())
    return result


@contextlib.contextmanager
def left_as_found(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode, and put back every module's own mode and every random generator afterwards."""
    modes = {module: module.training for module in model.modules()}
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        model.eval()
        try:
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode


def move(batch: Batch, device: torch.device | str) -> Batch:
    """The batch on a device; copies from pinned memory run beside the computation."""
    return {key: value.to(device, non_blocking=True) for key, value in batch.items()}
