"""Integers instead of floats: the quality that each choice loses, outlier channels, and training with rounding.

Every model is a copy of a trained causal teacher; its quality is bits per character on unseen stories. ``stretch_rows``
and ``stretch_channels`` rescale a model by powers of two so that its float outputs keep every bit, while its integer
outputs change.

What the results do not show: the teacher needs little of its depth; the stretched channels are made, and ``smooth``
undoes them, by the same operation, so its success is no evidence about outliers that training makes; int4 loses too
little for a verdict on training with rounding, which was run at one learning rate; torchao is timed without
``torch.compile``. The stored static results come from a calibration that thinned its sample by a fixed step and counted
padding. The sizes of channels still count it.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from plm_chapters.experiments.teachers import Task, train
from plm_core.compression import export, onnx_graphs
from plm_core.compression.calibration import Method, calibrate
from plm_core.compression.integers import quantize, round_to
from plm_core.compression.quantization_aware import finish, prepare
from plm_core.compression.quantize import (
    LAYER_FORMAT,
    TOKEN_FORMAT,
    QuantizeConfig,
    Range,
    quantize_model,
)
from plm_core.compression.structure import linear_layers, stored_bytes
from plm_core.evaluation.benchmark import file_bytes, time_in_turns
from plm_core.models.blocks import Block
from plm_core.models.gpt import Gpt

METHODS: tuple[Method, ...] = ("minmax", "percentile", "mse")
WEIGHTS = {
    "int8 tensor": QuantizeConfig(granularity="tensor"),
    "int8 channel": QuantizeConfig(),
    "int4 tensor": QuantizeConfig(bits=4, granularity="tensor"),
    "int4 channel": QuantizeConfig(bits=4),
    "int4 group": QuantizeConfig(bits=4, granularity="group"),
}
DYNAMIC = QuantizeConfig(activations="dynamic")
STATIC = QuantizeConfig(activations="static")

VARIANTS = ["as trained", "stretched", "training", "kernels"]
SEEDS = [0, 1, 2]

CHANNELS = 4
"""Of the 128 channels that enter a block, how many are stretched."""
FACTORS = (8, 32, 128)
STEPS, RATE = 60, 1e-3
WIDE = {"hidden_size": 768, "num_hidden_layers": 1, "num_attention_heads": 12, "intermediate_size": 3072}
"""One block as wide as BERT-base."""
LENGTHS = (64, 1)
"""Tokens that are read at once: a sentence or two, and one."""


def quantized(model: nn.Module, config: QuantizeConfig, ranges: dict[str, Range] | None = None) -> nn.Module:
    """An integer copy of a model."""
    made = copy.deepcopy(model)
    quantize_model(made, config, ranges=ranges)
    return made


def static(model: nn.Module, task: Task, method: Method, *, seed: int = 0, batches: int = 8) -> nn.Module:
    """An integer copy whose input ranges are chosen on training stories."""
    sample = task.sample(seed, batches)
    return quantized(model, STATIC, calibrate(model, lambda m: task.run(m, sample), method=method))


@contextmanager
def rounded_inputs(model: nn.Module, ranges: dict[str, Range] | None = None) -> Iterator[None]:
    """Round what flows into the linear layers and leave the weights floats: with a scale for each token, or ranges."""
    hooks = []
    for name, layer in linear_layers(model).items():

        def round_input(module: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> Tensor:
            (x,) = inputs
            if ranges is None:
                return quantize(x, TOKEN_FORMAT).dequantize()
            scale = torch.tensor([[ranges[name].scale]])
            return round_to(x, scale, torch.tensor([[ranges[name].zero_point]]), LAYER_FORMAT).dequantize()

        hooks.append(layer.register_forward_pre_hook(round_input))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def norms_and_readers(model: Gpt) -> list[tuple[nn.LayerNorm, list[nn.Linear]]]:
    """Every norm of the blocks with the linear layers that read it."""
    pairs: list[tuple[nn.LayerNorm, list[nn.Linear]]] = []
    for block in model.decoder.layers:
        assert isinstance(block, Block)
        assert isinstance(block.attention_norm, nn.LayerNorm)
        assert isinstance(block.feed_forward_norm, nn.LayerNorm)
        attention = block.attention
        pairs.append((block.attention_norm, [attention.query, attention.key, attention.value]))
        pairs.append((block.feed_forward_norm, [block.feed_forward.up]))
    return pairs


@torch.no_grad()
def move_scale(norm: nn.LayerNorm, readers: list[nn.Linear], factors_D: Tensor) -> None:
    """Multiply channels of a norm's output and divide the columns that read them: the products stay the same."""
    norm.weight.mul_(factors_D)
    norm.bias.mul_(factors_D)
    for layer in readers:
        layer.weight.div_(factors_D)


def stretch_channels(model: Gpt, factor: float, *, seed: int = 0) -> Gpt:
    """A copy in which a few channels are large behind every norm of the blocks, the same ones everywhere.

    The outputs stay the same: what a norm's channel is multiplied by, the columns that read it are divided by
    (:func:`move_scale`). Such channels are what large models have by themselves
    (Dettmers et al. 2022, on LLM.int8()).

    Args:
        model: a Gpt whose blocks have layer norms at their entries; it is left as it is.
        factor: what the channels are multiplied by; a power of two changes no bit of the outputs.
        seed: draws the CHANNELS channels, out of the D of the model's width.

    Returns:
        The copy.
    """
    made = copy.deepcopy(model)
    width = made.config.hidden_size
    chosen = torch.randperm(width, generator=torch.Generator().manual_seed(seed))[:CHANNELS]
    factors_D = torch.ones(width).index_fill(0, chosen, factor)
    for norm, readers in norms_and_readers(made):
        move_scale(norm, readers, factors_D)
    return made


@torch.no_grad()
def stretch_rows(model: Gpt, factor: float) -> Gpt:
    """A copy in which two components of every query are large and those of the keys small by the same factor.

    Rotary positions turn components 0 and 1 as a pair, so they have one factor.
    """
    made = copy.deepcopy(model)
    for block in made.decoder.layers:
        assert isinstance(block, Block)
        attention = block.attention
        width = attention.query.out_features // attention.num_heads
        factors_K = torch.ones(width).index_fill(0, torch.tensor([0, 1]), factor)
        factors_D1 = factors_K.repeat(attention.num_heads)[:, None]
        for layer, by in ((attention.query, factors_D1), (attention.key, 1 / factors_D1)):
            layer.weight.mul_(by)
            layer.bias.mul_(by[:, 0])
    return made


@torch.no_grad()
def channel_sizes(model: Gpt, run: Callable[[nn.Module], object]) -> list[Tensor]:
    """The largest size of each channel behind every norm of the blocks, (D,) each, over a sample of text."""
    pairs = norms_and_readers(model)
    sizes = [torch.zeros(norm.normalized_shape) for norm, _ in pairs]

    def watch(norm: nn.LayerNorm, size_D: Tensor) -> RemovableHandle:
        def record(module: nn.Module, inputs: tuple[Tensor, ...], out_BTD: Tensor) -> None:
            size_D.copy_(size_D.maximum(out_BTD.abs().flatten(0, -2).amax(0)))

        return norm.register_forward_hook(record)

    hooks = [watch(norm, size_D) for (norm, _), size_D in zip(pairs, sizes, strict=True)]
    try:
        run(model)
    finally:
        for hook in hooks:
            hook.remove()
    return sizes


@torch.no_grad()
def smooth(model: Gpt, run: Callable[[nn.Module], object]) -> Gpt:
    """A copy in which each channel is as large behind its norm as in the columns that read it.

    The factor is the root of Xiao et al. (2023) with strength 1/2, to the nearest power of two: no bit changes.
    """
    made = copy.deepcopy(model)
    for (norm, readers), size_D in zip(norms_and_readers(made), channel_sizes(made, run), strict=True):
        columns_D = torch.stack([layer.weight.abs().amax(0) for layer in readers]).amax(0)
        ratio_D = columns_D.clamp(min=1e-8) / size_D.clamp(min=1e-8)
        move_scale(norm, readers, ratio_D.log2().div(2).round().exp2())
    return made


def as_trained(seed: int, preset: str) -> dict[str, Any]:
    """The teacher as it is, with every choice for weights and inputs."""
    task = Task("causal", preset)
    teacher = task.teacher(seed)
    sample = task.sample(seed)
    sizes = torch.stack(channel_sizes(teacher, lambda m: task.run(m, sample)))
    quality: dict[str, float] = {"float": task.quality(teacher)}
    numbers: dict[str, int] = {"float": stored_bytes(teacher)}
    for name, config in WEIGHTS.items():
        model = quantized(teacher, config)
        quality[name], numbers[name] = task.quality(model), stored_bytes(model)
    with rounded_inputs(teacher):
        quality["inputs per token"] = task.quality(teacher)
    quality["dynamic"] = task.quality(quantized(teacher, DYNAMIC))
    for method in METHODS:
        quality[f"static {method}"] = task.quality(static(teacher, task, method, seed=seed))
    return {
        "quality": quality,
        "bytes": numbers,
        "channels": (sizes.amax(-1) / sizes.median(-1).values).tolist(),
    }


def stretched(seed: int, preset: str) -> dict[str, Any]:
    """The same function with large rows, or with large channels, in integers."""
    task = Task("causal", preset)
    teacher = task.teacher(seed)
    sample = task.sample(seed)
    run_sample: Callable[[nn.Module], object] = lambda m: task.run(m, sample)  # noqa: E731
    quality: dict[str, float] = {}
    rows = stretch_rows(teacher, FACTORS[-1])
    for name in ("int8 tensor", "int8 channel"):
        quality[f"rows, {name}"] = task.quality(quantized(rows, WEIGHTS[name]))
    for factor in FACTORS:
        model = stretch_channels(teacher, factor, seed=seed)
        quality[f"{factor} weights"] = task.quality(quantized(model, WEIGHTS["int8 channel"]))
        with rounded_inputs(model):
            quality[f"{factor} inputs"] = task.quality(model)
    quality[f"{factor} dynamic"] = task.quality(quantized(model, DYNAMIC))
    for method in METHODS:
        quality[f"{factor} static {method}"] = task.quality(static(model, task, method, seed=seed))
    smoothed = smooth(model, run_sample)
    quality[f"{factor} smoothed, dynamic"] = task.quality(quantized(smoothed, DYNAMIC))
    quality[f"{factor} smoothed, static"] = task.quality(static(smoothed, task, "percentile", seed=seed))
    return {"quality": quality}


def training(seed: int, preset: str) -> dict[str, Any]:
    """Steps of training with rounding, and as many without, before the weights become 4-bit integers."""
    task = Task("causal", preset)
    quality: dict[str, float] = {}
    control = train(task.teacher(seed), task, steps=STEPS, learning_rate=RATE, seed=seed)
    quality["control float"] = task.quality(control)
    for granularity in ("tensor", "channel"):
        config = WEIGHTS[f"int4 {granularity}"]
        quality[f"control {granularity}"] = task.quality(quantized(control, config))
        quality[f"aware {granularity}"] = task.quality(aware(task, config, seed))
    return {"quality": quality}


def aware(task: Task, config: QuantizeConfig, seed: int) -> nn.Module:
    """The teacher trained with rounding, then turned into integers."""
    model = task.teacher(seed)
    prepare(model, config)
    train(model, task, steps=STEPS, learning_rate=RATE, seed=seed)
    finish(model, config)
    return model


def kernels(seed: int, preset: str) -> dict[str, Any]:
    """Time of float and integer layers by three makers, at two shapes and two lengths, in turns, on one core."""
    torch.manual_seed(seed)
    task = Task("causal", preset)
    teacher = task.teacher(seed)
    wide = Gpt(teacher.config.replace(**WIDE, initializer_range=0.04)).eval()
    ids_T = task.test[0]["input_ids"][0]
    found: dict[str, Any] = {}
    for name, model in {"teacher": teacher, "wide": wide}.items():
        with tempfile.TemporaryDirectory() as folder:
            calls, sizes = makers(model, Path(folder))
            found[name] = {"bytes": sizes}
            for length in LENGTHS:
                found[name][str(length)] = compare(calls, ids_T[None, :length])
    return found


Call = Callable[[Tensor], Tensor]


def makers(model: Gpt, folder: Path) -> tuple[dict[str, Call], dict[str, int]]:
    """The same model by torch, by the taught layers, by torchao and by ONNX Runtime, and the bytes of each."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_

    models: dict[str, nn.Module] = {"torch float": model}
    models["taught weights"] = quantized(model, QuantizeConfig(embeddings=False))
    models["taught dynamic"] = quantized(model, DYNAMIC.replace(embeddings=False))
    models["torchao weights"], models["torchao dynamic"] = copy.deepcopy(model), copy.deepcopy(model)
    quantize_(models["torchao weights"], Int8WeightOnlyConfig(), filter_fn=in_a_block)
    quantize_(models["torchao dynamic"], Int8DynamicActivationInt8WeightConfig(), filter_fn=in_a_block)
    calls: dict[str, Call] = dict(models)
    sizes: dict[str, int] = {}
    for name, made in models.items():
        torch.save(made.state_dict(), folder / "model.pt")
        sizes[name] = file_bytes(folder / "model.pt")
    export.export_onnx(model, folder / "float.onnx")
    export.quantize_onnx(folder / "float.onnx", folder / "dynamic.onnx")
    empty = onnx_graphs.GptGraph(model).empty_past(1)
    for name in ("float", "dynamic"):
        path = folder / f"{name}.onnx"
        calls[f"onnx {name}"] = onnx_call(export.runner(export.open_onnx(path, threads=1)), empty)
        sizes[f"onnx {name}"] = file_bytes(path)
    return calls, sizes


def in_a_block(module: nn.Module, name: str) -> bool:
    """Whether torchao should take a layer: those of the blocks, as the taught ones."""
    return isinstance(module, nn.Linear) and name.startswith("decoder")


def onnx_call(session: Callable[[dict[str, Tensor]], list[Tensor]], empty: Tensor) -> Call:
    """A function from ids to logits."""
    return lambda ids_BT: session(
        {"input_ids": ids_BT, "attention_mask": torch.ones_like(ids_BT, dtype=torch.bool), "past": empty}
    )[0]


@torch.no_grad()
def compare(calls: dict[str, Call], ids_BT: Tensor, *, rounds: int = 12) -> dict[str, dict[str, float]]:
    """Milliseconds, how many times faster than torch, and how far the logits are off, in their standard deviation."""
    logits = {name: call(ids_BT) for name, call in calls.items()}
    exact = logits["torch float"]
    timings = time_in_turns({name: partial(call, ids_BT) for name, call in calls.items()}, rounds=rounds, threads=1)
    return {
        name: {
            "ms": timing.median * 1e3,
            "faster": timing.speedup_over(timings["torch float"]),
            "off": ((logits[name] - exact).pow(2).mean().sqrt() / exact.std()).item(),
        }
        for name, timing in timings.items()
    }


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """One part of the experiment with one seed."""
    parts = {"as trained": as_trained, "stretched": stretched, "training": training, "kernels": kernels}
    return parts[variant](seed, preset)
