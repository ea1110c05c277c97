"""How fast the shapes on the frontier are in ONNX Runtime, against the teacher in torch; and one small model, deployed.

Weights do not matter for time, so most of these models are untrained. The small one is distilled anew from its teacher,
exported, and judged by the file that would be shipped: quality, bytes and time of one and the same file. All models of
a task are timed in turns, on one thread, after a warm-up: one forward pass of whole sequences, never token by token.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from plm_chapters.experiments.teachers import KINDS, Kind, Task
from plm_chapters.notebook import load_experiment
from plm_core.compression.low_rank import factorise_model
from plm_core.compression.onnx_model import OnnxModel
from plm_core.compression.saved import save_compressed
from plm_core.compression.structured import importance
from plm_core.evaluation.benchmark import Candidate, measure
from plm_core.models.bert import positions_of_heads

VARIANTS: list[Kind] = list(KINDS)
SEEDS = [0, 1, 2]

frontier = load_experiment("21b_frontier")

SMALL = "distil, int8"
"""The recipe of the small model."""
FEW = ["teacher", "distil", SMALL]
TIMED: dict[Kind, list[str]] = {
    "causal": [
        "teacher",
        "int8",
        "units, int8",
        "rank, int8",
        "distil",
        SMALL,
        "distil, units, int8",
        "distil, rank, int8",
    ],
    "masked": FEW,
    "mood": FEW,
}
IN_TORCH = "teacher, torch"
TOKENS: dict[Kind, int] = {"causal": 112, "masked": 48, "mood": 48}
"""Of a sequence, about as many as a story or a row has."""
ROUNDS = 20


def run(variant: Kind, seed: int, preset: str) -> dict[str, Any]:
    """Distil the small model of one seed and measure all shapes; their memory with the first seed only."""
    task = Task(variant, preset)
    teacher = task.teacher(seed)
    work = frontier.Work(task, seed, teacher, task.teacher(seed))
    frontier.distil(work)
    found = speed(task, TIMED[variant], {"distil": work.model}, rounds=ROUNDS, memory=seed == SEEDS[0])
    found[IN_TORCH]["quality"] = task.quality(teacher)
    return found


def speed(
    task: Task, recipes: list[str], trained: Mapping[str, nn.Module], *, rounds: int, memory: bool = True
) -> dict[str, dict[str, float]]:
    """For each shape milliseconds of one sequence, how many times faster it is than the teacher in torch, and so on.

    The quality of those that were trained is measured as well.
    """
    ids_BT = torch.randint(5, task.new_model().config.vocab_size, (32, TOKENS[task.kind]))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        teacher = task.new_model().eval()
        save_compressed(teacher, folder / "teacher")
        candidates = {IN_TORCH: candidate(task, teacher, folder / "teacher", ids_BT)}
        files: dict[str, tuple[Path, Path]] = {}
        for recipe in recipes:
            shape = recipe.removesuffix("int8").removesuffix(", ")
            if shape not in files:
                files[shape] = frontier.export(trained.get(shape) or shaped(task, shape), folder, f"shape{len(files)}")
            file = files[shape][recipe.endswith("int8")]
            candidates[recipe] = candidate(task, OnnxModel(file, threads=1), file, ids_BT, judged=shape in trained)
        rows = {row.name: row for row in measure(candidates, rounds=rounds, threads=1, memory=memory)}
    base = rows[IN_TORCH]
    return {
        name: {
            "milliseconds": row.latency.median * 1e3,
            "faster": row.latency.speedup_over(base.latency),
            "faster_at_32": row.batch.speedup_over(base.batch),
            "tokens_per_second": row.throughput,
            "bytes": row.bytes,
        }
        | ({"memory": row.memory} if row.memory else {})
        | dict(row.quality)
        for name, row in rows.items()
    }


def candidate(task: Task, model: nn.Module, file: Path, ids_BT: torch.Tensor, *, judged: bool = False) -> Candidate:
    """A model that is asked for the next words, for one gap in eight, or for the mood."""

    def inputs(ids_BT: torch.Tensor) -> dict[str, Any]:
        if task.kind != "masked":
            return {"input_ids": ids_BT}
        gaps_BT = torch.zeros_like(ids_BT, dtype=torch.bool)
        gaps_BT[:, ::8] = True
        queries_BT = positions_of_heads(ids_BT, gaps_BT)
        return {"input_ids": ids_BT, "masked_positions": gaps_BT, "query_positions": queries_BT}

    def quality(model: nn.Module) -> dict[str, float]:
        return {"quality": task.quality(model)} if judged else {}

    return Candidate(model, file, inputs(ids_BT[:1]), inputs(ids_BT), quality)


def shaped(task: Task, recipe: str) -> nn.Module:
    """An untrained model of the shape that a recipe leaves."""
    model = task.new_model()
    for step in recipe.split(", "):
        if step == "distil":
            frontier.keep_blocks(model, frontier.BLOCKS)
        elif step == "units":
            frontier.cut_units(model, *importance(model, task.objective, task.sample(batches=1)))
        elif step == "rank":
            factorise_model(model, frontier.SHARE)
    return model.eval()
