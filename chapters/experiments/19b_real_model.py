"""The weights and the inputs of a real model as small numbers: MiniLM, fine-tuned on questions and on film reviews.

The models are those of :mod:`~plm_chapters.experiments.real_teachers`, one of each task and seed. What is rounded are
the 36 linear layers of the six blocks, 10.6 of 22.6 million parameters; embeddings, norms, biases and the classifier
stay floats. Every method that looks at text looks at the same 256 training texts of its seed, each once.

- "weights": rounded without training. "nearest", "GPTQ", "AWQ", and "AWQ, GPTQ" (AWQ's scales, then GPTQ on the scaled
  weight) at 4, 3 and 2 bits, with a scale and a zero point for each row or for each 64 neighbours of a row; 8 bits by
  rows, NF4 (blocks of 64), MXFP4 (blocks of 32) and FP8 e4m3 (by rows), all three to the nearest number. Scales have 16
  bits, MXFP4's 8; they are counted, and so are zero points and the scales of columns that AWQ divides the inputs by.
- "inputs": 8-bit weights by rows with 8-bit inputs: a scale for each token, or one range for each layer that holds all
  values of the 256 texts; without smoothing also one that leaves out one value in a thousand. The same after
  SmoothQuant of three strengths; query, key and value share their factors, as they share their input. Then weights in
  floats and inputs of 4 bits, a scale for each token, smoothed in the same ways: 8 bits may leave nothing to mend.
- "outliers": for every layer the largest absolute input of each channel on the 256 texts; the largest channel against
  the median one, and which it is; also before the fine-tuning.
- "training": EPOCHS further epochs on the training part, of all weights but the embeddings, with the weights of the
  blocks rounded in every step to 2 bits in groups of 64; and as many without, followed by rounding to the nearest or by
  GPTQ. Both arms see the same texts in the same order, one that the model has not been trained in. The rate of each is
  chosen by the cross-entropy on the validation part after SWEPT steps from the model of seed 0, in an order (100) that
  no scored run has; for the arm without rounding, after GPTQ. The sweep goes on while the best is the lowest or the
  highest, by at most two rates.

Measured on the whole test part: accuracy, cross-entropy in nats for each text, and the share of texts for which another
class is named than by the model in floats. Floors: the most frequent class of the test part, and a bag of words that
has seen the whole training part.

Criterion, set before the run: the cross-entropies of GPTQ and of AWQ minus that of rounding to the nearest, at 4 and at
3 bits in groups of 64, on each task: eight differences, paired by seed. A difference counts if its interval, Student's
with two degrees of freedom and the level 1 - 0.05 / 8 (Bonferroni), excludes zero. All else is description.

What the results do not show: larger models, other lengths of text, models that write text; GPTQ with inputs from blocks
that were rounded before, as its authors have it; AWQ's clipping of ranges; learned ranges in training, or longer
training; time. Three seeds vary the head, the order of fine-tuning and the 256 texts, not the pretrained network.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from plm_chapters.experiments import real_teachers
from plm_chapters.experiments.fine_tuning_runs import classes, new_model
from plm_chapters.experiments.real_scores import by_length, changed, floors, logits, score, scores
from plm_chapters.experiments.real_teachers import TASKS, Task, steps_for
from plm_chapters.experiments.sweeps import sweep
from plm_core.compression.awq import Scaled, awq, smoothing
from plm_core.compression.calibration import Method, calibrate
from plm_core.compression.float_formats import fp8, mxfp4, nf4
from plm_core.compression.gptq import gptq
from plm_core.compression.inputs import watched_inputs
from plm_core.compression.integers import Granularity, IntegerFormat, quantize
from plm_core.compression.quantization_aware import finish_in_floats, prepare
from plm_core.compression.quantize import QuantizeConfig, quantize_model
from plm_core.compression.structure import block_linears
from plm_core.data.batch import Batch
from plm_core.models.replacement import replace_modules
from plm_core.training.freezing import freeze_below
from plm_core.training.gradients import DivergedError

VARIANTS: list[Task] = list(TASKS)
SEEDS = [0, 1, 2]

BITS = (4, 3, 2)
GROUP = 64
SCALE_BITS: Literal[16] = 16
SHARED: dict[str, Granularity] = {"row": "channel", "groups": "group"}
METHODS = ("nearest", "GPTQ", "AWQ", "AWQ, GPTQ")
STRENGTHS = (0.25, 0.5, 0.75)
COARSE = 4
"""Bits of inputs that show what 8 bits may hide."""

EPOCHS = 0.5
SWEPT = 40
ORDER, SWEEP_ORDER = 10, 100
"""Numbers of the order of the texts, the first one added to the seed: not that of the fine-tuning."""
RATES = [2e-5, 5e-5, 1e-4, 2e-4, 4e-4]

Weights = Mapping[str, Tensor]
"""The weights of the layers of the blocks, (M, K) each, by name."""


def run(variant: Task, seed: int, preset: str) -> dict[str, Any]:
    """Everything on one task with one seed."""
    torch.set_num_threads(1)
    teacher = real_teachers.teacher(variant, seed)
    exact_NC = logits(teacher, variant, "test")
    found: dict[str, Any] = {"floors": floors(variant), "float": judged(teacher, exact_NC, variant)}
    for name, part in {"weights": weights, "inputs": inputs, "training": training}.items():
        found[name] = part(teacher, exact_NC, variant, seed)
    before = new_model(len(classes(variant)), seed=seed).eval()
    for name, model in {"outliers": teacher, "outliers before": before}.items():
        found[name] = outliers(largest_inputs(model, real_teachers.sample(variant, seed)))
    found["sizes"] = {
        "blocks": sum(layer.weight.numel() for layer in block_linears(teacher).values()),
        "all": sum(parameter.numel() for parameter in teacher.parameters()),
    }
    return found | {"sweeps": sweeps(variant)}


def judged(model: nn.Module, exact_NC: Tensor, task: Task) -> dict[str, float]:
    """The scores of a model on the test part, and the share of texts for which it names another class than before."""
    said_NC = logits(model, task, "test")
    return scores(said_NC, by_length(task, "test")[1]) | {"changed": changed(said_NC, exact_NC)}


def layout(bits: int, shared: str) -> IntegerFormat:
    """Integers with a zero point, for rows or for groups."""
    format_of = partial(IntegerFormat, symmetric=False, group_size=GROUP, scale_bits=SCALE_BITS)
    return format_of(bits=bits, granularity=SHARED[shared])


def bits_each(rows: int, columns: int, integers: IntegerFormat, *, column_scales: bool = False) -> float:
    """Bits of a weight, with its share of scale, zero point and, for AWQ, of the scales of the columns."""
    sharing = integers.group_size if integers.granularity == "group" else columns
    extra = integers.scale_bits + (0 if integers.symmetric else integers.bits)
    return integers.bits + extra / sharing + (SCALE_BITS / rows if column_scales else 0)


def rounded(model: nn.Module, new: Weights) -> nn.Module:
    """A copy with other weights in its blocks."""
    made = copy.deepcopy(model)
    with torch.no_grad():
        for name, layer in block_linears(made).items():
            layer.weight.copy_(new[name])
    return made


def by_gptq(model: nn.Module, moments: Weights, integers: IntegerFormat) -> Weights:
    """The weights as GPTQ rounds them."""
    layers = block_linears(model)
    return {name: gptq(layer.weight, moments[name], integers).dequantize() for name, layer in layers.items()}


def by_nearest(model: nn.Module, integers: IntegerFormat) -> Weights:
    """Every weight at the nearest integer."""
    return {
        name: quantize(layer.weight.detach(), integers).dequantize() for name, layer in block_linears(model).items()
    }


def scaled_gptq(weight_MK: Tensor, moments_KK: Tensor, scaled: Scaled, integers: IntegerFormat) -> Tensor:
    """GPTQ on a weight whose columns were multiplied by AWQ's scales, as it acts on inputs that are not divided."""
    scale_K = scaled.input_scale
    outer_KK = torch.outer(scale_K, scale_K).to(moments_KK)
    return gptq(weight_MK.detach() * scale_K, moments_KK / outer_KK, integers).dequantize() / scale_K


def weights(teacher: nn.Module, exact_NC: Tensor, task: Task, seed: int) -> dict[str, Any]:
    """The model with rounded weights in every way, without training."""
    layers = block_linears(teacher)
    moments = real_teachers.moments_of(teacher, real_teachers.sample(task, seed))
    total = sum(layer.weight.numel() for layer in layers.values())
    found: dict[str, Any] = {}

    def add(name: str, new: Weights, bits: Mapping[str, float]) -> None:
        mean = sum(bits[each] * layer.weight.numel() for each, layer in layers.items()) / total
        found[name] = judged(rounded(teacher, new), exact_NC, task) | {"bits": mean}

    def sizes(integers: IntegerFormat, *, column_scales: bool = False) -> dict[str, float]:
        shapes = {name: (layer.out_features, layer.in_features) for name, layer in layers.items()}
        return {name: bits_each(*shape, integers, column_scales=column_scales) for name, shape in shapes.items()}

    for bits in BITS:
        for shared in SHARED:
            integers = layout(bits, shared)
            scaled = {name: awq(layer.weight, moments[name], integers) for name, layer in layers.items()}
            both = {n: scaled_gptq(layer.weight, moments[n], scaled[n], integers) for n, layer in layers.items()}
            one, two = sizes(integers), sizes(integers, column_scales=True)
            add(f"{bits} bits, {shared}, nearest", by_nearest(teacher, integers), one)
            add(f"{bits} bits, {shared}, GPTQ", by_gptq(teacher, moments, integers), one)
            add(f"{bits} bits, {shared}, AWQ", {name: each.dequantize() for name, each in scaled.items()}, two)
            add(f"{bits} bits, {shared}, AWQ, GPTQ", both, two)
    eight = QuantizeConfig(scale_bits=SCALE_BITS).weights
    add("8 bits, row, nearest", by_nearest(teacher, eight), sizes(eight))
    floats = {name: layer.weight.detach() for name, layer in layers.items()}
    for kind, make in {"NF4": nf4, "MXFP4": mxfp4}.items():
        codes = {name: make(weight) for name, weight in floats.items()}
        new = {name: each.dequantize() for name, each in codes.items()}
        add(kind, new, {name: each.bits_per_number for name, each in codes.items()})
    small = {name: fp8(weight) for name, weight in floats.items()}
    new = {name: number.float() * scale for name, (number, scale) in small.items()}
    add("FP8", new, {name: 8 + SCALE_BITS / layer.in_features for name, layer in layers.items()})
    return found


@torch.no_grad()
def largest_inputs(model: nn.Module, shown: Sequence[Batch]) -> dict[str, Tensor]:
    """The largest absolute input of each channel of the layers of the blocks, (K,), over the real tokens."""
    seen = {name: torch.zeros(layer.in_features) for name, layer in block_linears(model).items()}

    def see(name: str, x_NK: Tensor) -> None:
        if name in seen:
            seen[name] = seen[name].maximum(x_NK.abs().amax(0))

    with watched_inputs(model, see):
        real_teachers.show(model, shown)
    return seen


def outliers(largest: Mapping[str, Tensor]) -> dict[str, dict[str, float]]:
    """The largest channel against the median one, its number, and how many are above ten times the median."""
    return {
        name: {
            "ratio": float(size_K.max() / size_K.median()),
            "channel": int(size_K.argmax()),
            "above ten": int((size_K > 10 * size_K.median()).sum()),
        }
        for name, size_K in largest.items()
    }


class Smoothed(nn.Module):
    """A layer that gets every channel of its input divided by a number of its own."""

    scale: Tensor

    def __init__(self, layer: nn.Linear, scale_K: Tensor) -> None:
        super().__init__()
        self.in_features, self.out_features, self.layer = layer.in_features, layer.out_features, layer
        self.register_buffer("scale", scale_K)

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., M)."""
        out: Tensor = self.layer(x / self.scale)
        return out


@torch.no_grad()
def smoothed(model: nn.Module, largest: Mapping[str, Tensor], strength: float) -> nn.Module:
    """A copy whose layers get smoothed inputs, divided in front of each layer, and multiplied columns.

    The norms cannot take the division on, as in a network that normalises before its layers: here their output is also
    what the next sum starts from.
    """
    made = copy.deepcopy(model)
    layers = block_linears(made)
    readers: dict[str, list[str]] = {}
    for name in layers:
        readers.setdefault(re.sub(r"query|key|value", "input", name), []).append(name)
    new: dict[str, nn.Module] = {}
    for names in readers.values():
        stacked_MK = torch.cat([layers[name].weight for name in names])
        scale_K = smoothing(largest[names[0]], stacked_MK, strength=strength)
        for name in names:
            layers[name].weight.mul_(scale_K)
            new[name] = Smoothed(layers[name], scale_K)
    replace_modules(made, new)
    return made


def in_blocks(model: nn.Module) -> Callable[[str, nn.Linear], bool]:
    """Whether a layer, by its name, belongs to a block."""
    names = set(block_linears(model))
    return lambda name, layer: name in names


def integer(
    model: nn.Module, config: QuantizeConfig, shown: Sequence[Batch], method: Method | None = None
) -> nn.Module:
    """A copy with integer layers in its blocks, and ranges of inputs by a method where they are static."""
    ranges = calibrate(model, partial(real_teachers.show, shown=shown), method=method) if method else None
    made = copy.deepcopy(model)
    quantize_model(made, config, ranges=ranges, choose=in_blocks(model))
    return made


def with_rounded_inputs(model: nn.Module, integers: IntegerFormat) -> nn.Module:
    """A copy in floats whose inputs of the blocks' layers are rounded as they come."""
    made = copy.deepcopy(model)
    for layer in block_linears(made).values():
        layer.register_forward_pre_hook(lambda module, inputs: quantize(inputs[0], integers).dequantize())
    return made


def inputs(teacher: nn.Module, exact_NC: Tensor, task: Task, seed: int) -> dict[str, Any]:
    """The model with 8-bit weights and 8-bit inputs, and with 4-bit inputs alone, smoothed or not."""
    shown = real_teachers.sample(task, seed)
    largest = largest_inputs(teacher, shown)
    dynamic, static = (QuantizeConfig(activations=how, embeddings=False) for how in ("dynamic", "static"))
    models = {"": teacher} | {f"smoothed {strength}, ": smoothed(teacher, largest, strength) for strength in STRENGTHS}
    found = {"percentile": judged(integer(teacher, static, shown, "percentile"), exact_NC, task)}
    for name, model in models.items():
        found[f"{name}per token"] = judged(integer(model, dynamic, shown, None), exact_NC, task)
        found[f"{name}min-max"] = judged(integer(model, static, shown, "minmax"), exact_NC, task)
        coarse = with_rounded_inputs(model, IntegerFormat(bits=COARSE))
        found[f"{name}{COARSE} bits per token"] = judged(coarse, exact_NC, task)
    return found


TWO = layout(2, "groups")


def trained(task: Task, start: int, *, order: int, rate: float, steps: int, aware: bool) -> nn.Module:
    """The model after further steps; ``aware``: with the weights of its blocks rounded in them, and at the end."""
    model = real_teachers.teacher(task, start)
    freeze_below(model, 1)
    if aware:
        prepare(model, TWO, choose=in_blocks(model))
    real_teachers.train(model, task, steps=steps, rate=rate, seed=order)
    if aware:
        finish_in_floats(model)
    return model


@cache
def sweeps(task: Task) -> dict[str, dict[str, float]]:
    """The validation cross-entropy of both arms at each rate."""

    def loss(rate: float, aware: bool) -> float:
        try:
            model = trained(task, SEEDS[0], order=SWEEP_ORDER, rate=rate, steps=SWEPT, aware=aware)
        except DivergedError:
            return math.inf
        if not aware:
            moments = real_teachers.moments_of(model, real_teachers.sample(task, SEEDS[0]))
            model = rounded(model, by_gptq(model, moments, TWO))
        return score(model, task, "validation")["nats"]

    arms = {"with rounding": True, "without": False}
    found = {arm: sweep(partial(loss, aware=aware), RATES, factor=2.0, further=2) for arm, aware in arms.items()}
    return {arm: {f"{rate:g}": value for rate, value in sorted(losses.items())} for arm, losses in found.items()}


def training(teacher: nn.Module, exact_NC: Tensor, task: Task, seed: int) -> dict[str, Any]:
    """Further steps with rounding, and as many without before it."""
    rates = {arm: float(min(losses, key=losses.__getitem__)) for arm, losses in sweeps(task).items()}
    steps = steps_for(task, EPOCHS)
    models: dict[str, nn.Module] = {}
    more = partial(trained, task, seed, order=ORDER + seed, steps=steps)
    models["with rounding"] = more(rate=rates["with rounding"], aware=True)
    models["without, float"] = control = more(rate=rates["without"], aware=False)
    models["without, nearest"] = rounded(control, by_nearest(control, TWO))
    moments = real_teachers.moments_of(control, real_teachers.sample(task, seed))
    models["without, GPTQ"] = rounded(control, by_gptq(control, moments, TWO))
    found = {name: judged(model, exact_NC, task) for name, model in models.items()}
    return {"rates": rates, "steps": steps} | found
