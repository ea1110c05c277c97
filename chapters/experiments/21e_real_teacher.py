"""A real teacher of six blocks, and students of one to three that are trained on its answers and stored in few bits.

The teachers are those of :mod:`~plm_chapters.experiments.real_teachers`: MiniLM, fine-tuned on TREC's questions or on
sentence polarity for EPOCHS epochs. Every student has the width of its teacher and keeps its table of words, positions
and types, more than half of all weights, as it is; its blocks and its classifier are trained.

- "TREC", "polarity": students that are trained for as many steps as their teacher was, in one order of the texts per
  seed. With two blocks all four combinations: *random* (BERT's initial weights in blocks and classifier) or *copied*
  (blocks and classifier of the teacher), *labels* alone or *soft* (half of the loss the teacher's probabilities at
  temperature 2, the library's defaults). With one and three blocks: copied, soft. One rate for each start, and the
  blocks that are copied, come from 21f_real_choices. Copied students have had their teacher's training as well.
- In the same variants, "starts": pairs of blocks to start from, at once and after SHORT epochs on soft labels.
- In the same variants, "files": the copied students of two and three blocks on soft labels as ONNX files that keep
  their integers (RECIPES): blocks of 4 or 8 bits, rounded to the nearest integer or by GPTQ on 256 training texts, the
  table of words in 4 bits; what is scored is the file. Inputs of a layer are rounded to 8 bits as they come.
- "TREC, speed", "polarity, speed": files of the same shapes against the teacher's in floats, all in ONNX Runtime on one
  thread, in turns: one text of median length, and 32 texts drawn by the seed. Weights do not matter for time, so these
  are not trained. Peak memory at the 32 texts, with the first seed only. Beside them the teacher in 8 bits
  (``quantize_onnx``).

Scored are accuracy and cross-entropy in nats on the whole validation and test parts. Floors: the frequencies of the
classes, and a bag of words on the whole training part, its penalty of three chosen on the validation part.

Criterion, set before the runs. Of the RECIPES whose file takes at most 1/8 of the bytes of the teacher's file in floats
and that are at least 3 times faster with one text (mean over the seeds, on both tasks), the one that loses the smallest
share of the teacher's accuracy on the validation parts (mean over seeds and tasks) is chosen. The goal counts as
reached if it loses at most 2 % of the teacher's accuracy on the test part of each task, mean over the seeds; the upper
end of the 95 % interval (Student's t) stands beside it.

Two comparisons in nats on the test part, on each task, paired by seed: soft against labels for two copied blocks, and
copied against random for two blocks on soft labels. Four in all: a difference counts if its interval of level
1 - 0.05 / 4 (Bonferroni, Student's t) does not contain zero. Accuracy and all else is description. That the teacher is
worth distilling is a condition for all of this: two random blocks on labels must lose to it with every seed, in nats
and in accuracy.

What the results do not show: what longer training, a narrower student or other weights and temperatures give; students
whose table is trained; whether a copied student is more than its teacher's training went on with; pretraining of the
student on unlabelled text, as DistilBERT and MiniLM itself had it; other processors, whose integer kernels differ.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from plm_chapters.experiments import real_teachers
from plm_chapters.experiments.fine_tuning_runs import batches, classes, new_model
from plm_chapters.experiments.real_scores import by_length, floors, score
from plm_chapters.experiments.real_teachers import EPOCHS, TASKS, Split, Task, moments_of, sample, steps_for, texts
from plm_chapters.notebook import load_results
from plm_core.compression.distill import Distillation, DistillConfig, copy_layers
from plm_core.compression.export import export_onnx, quantize_onnx
from plm_core.compression.export_quantized import export_quantized
from plm_core.compression.gptq import gptq
from plm_core.compression.onnx_model import OnnxModel
from plm_core.compression.quantize import QuantizeConfig, QuantizedLinear, quantize_model
from plm_core.compression.quantized_tables import quantized_tables
from plm_core.compression.structure import block_linears
from plm_core.data.batch import Batch
from plm_core.evaluation.benchmark import Candidate, measure
from plm_core.models.heads import SequenceClassifier
from plm_core.models.replacement import replace_modules
from plm_core.objectives.classification import Classification
from plm_core.objectives.inputs import model_inputs
from plm_core.runtime import setup
from plm_core.training.freezing import freeze_below

VARIANTS = [*TASKS, *(f"{task}, speed" for task in TASKS)]
SEEDS = [0, 1, 2, 3, 4]

SHORT = 0.5
"""Epochs after which pairs of blocks to start from are compared, and rates are chosen."""
ORDER = 10
"""Added to the seed for the order of the texts, which is not that of the fine-tuning."""
STARTS = [(1, 2), (1, 4), (1, 6), (3, 6)]
"""Pairs of the teacher's blocks: the first, the first with a later one, and the pair that is evenly spaced."""
ROUNDS = 60


@dataclass(frozen=True)
class Student:
    """How a student is made."""

    blocks: int = 2
    start: Literal["random", "copied"] = "copied"
    soft: bool = True


STUDENTS = {
    "2 random, labels": Student(start="random", soft=False),
    "2 random, soft": Student(start="random"),
    "2 copied, labels": Student(soft=False),
    "2 copied, soft": Student(),
    "1 copied, soft": Student(blocks=1),
    "3 copied, soft": Student(blocks=3),
}


@dataclass(frozen=True)
class Recipe:
    """How a student is stored."""

    blocks: int
    bits: Literal[4, 8]
    rounding: Literal["nearest", "gptq"] = "nearest"
    group: int = 128
    """Weights of a block that share a scale; long groups make the faster products."""
    table_group: int = 32
    """Numbers of a word vector that share a scale."""


RECIPES = {
    "3 blocks, 4 bits": Recipe(3, 4),
    "3 blocks, 4 bits, GPTQ": Recipe(3, 4, "gptq"),
    "2 blocks, 4 bits": Recipe(2, 4),
    "2 blocks, 4 bits, GPTQ": Recipe(2, 4, "gptq"),
    "2 blocks, 8 bits": Recipe(2, 8),
}
FLOATS = {f"{blocks} blocks, floats": blocks for blocks in (6, 3, 2)}
EIGHT = "6 blocks, 8 bits"


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """One task with one seed: its students and their files, or the time that these take."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    task = next(task for task in TASKS if variant.startswith(task))
    return students(task, seed, preset) if variant == task else speed(task, seed)


# --- students --------------------------------------------------------------------------------------------------------


@cache
def choices(task: Task, preset: str) -> dict[str, Any]:
    """The rate of each start, and the blocks to copy for each size, by 21f_real_choices."""
    return next(run for run in load_results("21f_real_choices", preset)["runs"] if run["variant"] == task)


class Answers(nn.Module):
    """A teacher that has read the training part once and answers from memory, with the same logits to a rounding error.

    Args:
        model: the teacher.
        task: the task whose training texts it will be given.
    """

    def __init__(self, model: SequenceClassifier, task: Task) -> None:
        super().__init__()
        self.model, self.config = model.eval(), model.config
        self.logits: dict[tuple[int, ...], Tensor] = {}
        with torch.no_grad():
            for batch in by_length(task, "train")[0]:
                self.logits |= dict(zip(rows_of(batch), model(**model_inputs(batch)), strict=True))

    def forward(self, input_ids: Tensor, *, attention_mask: Tensor, **_: Any) -> Tensor:
        """Logits of the classes, (B, C), of texts that were read."""
        rows = rows_of({"input_ids": input_ids, "attention_mask": attention_mask})
        return torch.stack([self.logits[row] for row in rows])


def rows_of(batch: Batch) -> list[tuple[int, ...]]:
    """The ids of each text without padding."""
    pairs = zip(batch["input_ids"], batch["attention_mask"], strict=True)
    return [tuple(ids[real].tolist()) for ids, real in pairs]


def scored(model: nn.Module, task: Task) -> dict[str, dict[str, float]]:
    """Accuracy and cross-entropy on the validation and the test part."""
    parts: tuple[Split, ...] = ("validation", "test")
    return {part: score(model, task, part) for part in parts}


def fresh(teacher: SequenceClassifier, blocks: Sequence[int], seed: int, *, copied: bool = True) -> SequenceClassifier:
    """A student before its training, with as many blocks as are named, from these or from random weights."""
    torch.manual_seed(1000 + seed)
    student = SequenceClassifier(cast(Any, teacher.config.replace(num_hidden_layers=len(blocks))))
    if copied:
        copy_layers(teacher, student, blocks)
    student.encoder.embeddings.load_state_dict(teacher.encoder.embeddings.state_dict())
    freeze_below(student, 1)
    return student


def taught(
    student: SequenceClassifier, task: Task, answers: Answers | None, *, rate: float, order: int, epochs: float
) -> nn.Module:
    """Train a student on labels alone, or on the answers as well."""
    objective = Classification()
    distillation = answers and Distillation(objective, cast(Any, answers), cast(Any, student), DistillConfig())
    steps = steps_for(task, epochs)
    return real_teachers.train(student, task, steps=steps, rate=rate, seed=order, objective=distillation or objective)


def students(task: Task, seed: int, preset: str) -> dict[str, Any]:
    """All students of a teacher, the pairs of blocks to start from, and the files."""
    chosen, teacher = choices(task, preset), cast(SequenceClassifier, real_teachers.teacher(task, seed))
    answers = Answers(teacher, task)
    found: dict[str, Any] = {"floors": floors(task), "teacher": scored(teacher, task), "steps": steps_for(task)}
    made: dict[str, nn.Module] = {}
    for name, spec in STUDENTS.items():
        blocks, copied = chosen["blocks"][str(spec.blocks)], spec.start == "copied"
        student = fresh(teacher, blocks, seed, copied=copied)
        rate = chosen["rates"][spec.start]["rate"]
        told = answers if spec.soft else None
        made[name] = taught(student, task, told, rate=rate, order=seed + ORDER, epochs=EPOCHS)
        found[name] = scored(made[name], task) | {"rate": rate, "blocks": blocks if copied else []}
    found["starts"] = {}
    for pair in STARTS:
        student = fresh(teacher, pair, seed)
        entry = {"at once": scored(student, task)["test"]}
        rate = chosen["rates"]["copied"]["rate"]
        taught(student, task, answers, rate=rate, order=seed + ORDER, epochs=SHORT)
        found["starts"]["{} and {}".format(*pair)] = entry | {"after": scored(student, task)["test"]}
    found["files"] = files({n: made[f"{n} copied, soft"] for n in (2, 3)}, task, seed)
    return found


# --- files -----------------------------------------------------------------------------------------------------------


def small(model: nn.Module, recipe: Recipe, moments: dict[str, Tensor] | None = None) -> nn.Module:
    """A copy with integers in its blocks and in its table of words; the classifier stays in floats."""
    made = copy.deepcopy(model)
    config = QuantizeConfig(
        bits=recipe.bits, granularity="group", group_size=recipe.group, embeddings=False, scale_bits=16
    )
    chosen = set(block_linears(made))

    def by_inputs(name: str, layer: nn.Linear) -> QuantizedLinear:
        integers = gptq(layer.weight, cast(dict[str, Tensor], moments)[name], config.weights)
        return QuantizedLinear.from_integers(integers, layer.bias, config)

    quantize_model(made, config, choose=lambda name, _: name in chosen, make=by_inputs if moments else None)
    replace_modules(made, quantized_tables(made, bits=4, group_size=recipe.table_group, scale_bits=16))
    return made


def files(trained: dict[int, nn.Module], task: Task, seed: int) -> dict[str, Any]:
    """The bytes and the scores of the file of each recipe."""
    shown, found = sample(task, seed), {}
    moments = {blocks: moments_of(model, shown) for blocks, model in trained.items()}
    with tempfile.TemporaryDirectory() as scratch:
        for name, recipe in RECIPES.items():
            path = Path(scratch) / "student.onnx"
            by_inputs = moments[recipe.blocks] if recipe.rounding == "gptq" else None
            export_quantized(small(trained[recipe.blocks], recipe, by_inputs), path)
            found[name] = scored(OnnxModel(path, threads=1), task) | {"bytes": path.stat().st_size}
    return found


# --- speed -----------------------------------------------------------------------------------------------------------


def speed(task: Task, seed: int) -> dict[str, Any]:
    """Bytes, and how many times faster than the teacher in floats, for each shape."""
    one, many = speed_inputs(task, seed)
    teacher = cast(SequenceClassifier, new_model(len(classes(task)), seed=seed))
    shapes = {blocks: fresh(teacher, range(1, blocks + 1), seed).eval() for blocks in FLOATS.values()}
    with tempfile.TemporaryDirectory() as scratch:
        paths = {name: Path(scratch) / f"{number}.onnx" for number, name in enumerate([*FLOATS, EIGHT, *RECIPES])}
        for name, blocks in FLOATS.items():
            export_onnx(shapes[blocks], paths[name])
        base_name = next(iter(FLOATS))
        quantize_onnx(paths[base_name], paths[EIGHT])
        for name, recipe in RECIPES.items():
            if recipe.rounding == "nearest":
                export_quantized(small(shapes[recipe.blocks], recipe), paths[name])
        candidates = {
            name: Candidate(OnnxModel(path, threads=1), path, model_inputs(one), model_inputs(many), lambda _: {})
            for name, path in paths.items()
            if path.is_file()
        }
        rows = {row.name: row for row in measure(candidates, rounds=ROUNDS, threads=1, memory=seed == SEEDS[0])}
    base = rows[base_name]
    times = {
        name: {
            "bytes": row.bytes,
            "milliseconds": row.latency.median * 1e3,
            "faster": row.latency.speedup_over(base.latency),
            "faster_at_32": row.batch.speedup_over(base.batch),
            "texts_per_second": len(many["input_ids"]) / row.batch.median,
        }
        | ({"memory": row.memory} if row.memory else {})
        for name, row in rows.items()
    }
    return {"tokens": one["input_ids"].shape[1], "tokens_of_32": many["input_ids"].shape[1], "times": times}


def speed_inputs(task: Task, seed: int) -> tuple[Batch, Batch]:
    """A test text of median length, and 32 drawn by the seed."""
    shown, numbers = texts(task, "test")
    single = batches((shown, numbers), size=1)
    order = sorted(range(len(shown)), key=lambda n: len(cast(list[int], single.rows[n]["input_ids"])))
    drawn = torch.randperm(len(shown), generator=torch.Generator().manual_seed(seed))[:32].tolist()
    return single.collate([order[len(order) // 2]]), single.collate(drawn)
