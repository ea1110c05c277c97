"""``python -m benchmarks int8``: a BERT classifier at batch 1 on a CPU, in floats and in 8-bit integers."""

from __future__ import annotations

import copy
import json
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.results import describe_run, save_result
from benchmarks.shapes import bert_config
from plm_core.compression.export import export_onnx, open_onnx, quantize_onnx, runner
from plm_core.evaluation.benchmark import Timing, time_in_turns
from plm_core.models.classifier import BertClassifier, ClassifierConfig

FILES = {
    "onnxruntime fp32": "fp32.onnx",
    "onnxruntime int8 dynamic": "dynamic.onnx",
    "onnxruntime int8 static": "static.onnx",
}
REFERENCE = "torch fp32"

Inputs = dict[str, Tensor]


def int8(
    *,
    shape: str = "bert-base",
    lengths: tuple[int, ...] = (32, 128),
    threads: tuple[int, ...] = (1, 2),
    rounds: int = 15,
    folder: Path | None = None,
    save: bool = True,
) -> dict[str, Any]:
    """Time one sequence in torch and in ONNX Runtime, calls taken in turns.

    Weights are drawn at random: time does not depend on them.

    Args:
        shape: bert-base, small or tiny.
        lengths: tokens of the sequence.
        threads: numbers of threads to measure with, one after the other.
        rounds: counted calls of each candidate, after three that are not counted.
        folder: where the ONNX files are kept, and found by the next call; a temporary folder by default.
        save: store the result under benchmarks/results.
    """
    config = bert_config(shape, vocab_size=30522, length=max(lengths), dropout=0.0)
    settings = {"shape": shape, "lengths": list(lengths), "rounds": rounds, "batch_size": 1}
    torch.manual_seed(0)
    model = BertClassifier(ClassifierConfig(**vars(config))).eval()
    with tempfile.TemporaryDirectory() as scratch:
        kept = folder or Path(scratch)
        write_files(model, kept, length=max(lengths))
        rows = [row for count in threads for row in measured(model, kept, lengths, threads=count, rounds=rounds)]
        profiles = [
            {"candidate": name, "length": length, "share": profile(kept / file, sequence(model, length), Path(scratch))}
            for name, file in FILES.items()
            for length in lengths
        ]
        sizes = {name: (kept / file).stat().st_size for name, file in FILES.items()}
    result = describe_run(settings) | {"rows": rows, "profiles": profiles, "bytes": sizes}
    result["versions"] |= {name: version(name) for name in ("onnxruntime", "torchao")}
    for row in rows:
        print(f"{row['threads']} threads, {row['length']:>3} tokens, {row['candidate']:<26} {told(row)}")
    if save:
        save_result(f"int8_{shape}", result)
    return result


def told(row: dict[str, Any]) -> str:
    """Milliseconds with quartiles, and the speed relative to torch, for people."""
    low, high = row["quartiles_ms"]
    return f"{row['median_ms']:.1f} ms ({low:.1f} to {high:.1f}), {row['speedup']:.2f} times {REFERENCE}"


def sequence(model: BertClassifier, length: int, *, batch: int = 1, seed: int = 0) -> Inputs:
    """Random ids without padding."""
    shape, generator = (batch, length), torch.Generator().manual_seed(seed)
    return {
        "input_ids": torch.randint(5, model.config.vocab_size, shape, generator=generator),
        "attention_mask": torch.ones(shape, dtype=torch.bool),
        "token_type_ids": torch.zeros(shape, dtype=torch.long),
    }


def write_files(model: BertClassifier, folder: Path, *, length: int) -> None:
    """Export the model and make its integer forms, where the folder does not hold them yet."""
    folder.mkdir(parents=True, exist_ok=True)
    floats, dynamic, static = (folder / file for file in FILES.values())
    if not floats.exists():
        export_onnx(model, floats)
    if not dynamic.exists():
        quantize_onnx(floats, dynamic)
    if not static.exists():
        samples = [sequence(model, length, seed=seed) for seed in range(1, 5)]
        arrays = [{name: tensor.numpy() for name, tensor in sample.items()} for sample in samples]
        quantize_onnx(floats, static, calibration=arrays)


def measured(
    model: BertClassifier, folder: Path, lengths: tuple[int, ...], *, threads: int, rounds: int
) -> list[dict[str, Any]]:
    """A row for each length and candidate, all with the same number of threads.

    Raises:
        ValueError: the exported model does not compute what the model computes.
    """
    sessions = {name: runner(open_onnx(folder / file, threads=threads)) for name, file in FILES.items()}
    engines: dict[str, Callable[[Inputs], Any]] = {REFERENCE: lambda inputs: model(**inputs), **sessions}
    if (integers := torchao_int8(model)) is not None:
        engines["torchao int8 dynamic"] = lambda inputs: integers(**inputs)
    rows = []
    for length in lengths:
        inputs = sequence(model, length)
        calls = {name: partial(engine, inputs) for name, engine in engines.items()}
        with torch.no_grad():
            answers = {name: as_logits(call()) for name, call in calls.items()}
        exact = answers[REFERENCE]
        if not torch.allclose(answers["onnxruntime fp32"], exact, atol=1e-3):
            raise ValueError("the exported model's logits differ from the model's: there is nothing to compare")
        timings = time_in_turns(calls, rounds=rounds, threads=threads)
        for name, timing in timings.items():
            error = float((answers[name] - exact).abs().max() / exact.abs().max())
            rows.append({"candidate": name, "length": length, "threads": threads, "error": round(error, 4)})
            rows[-1] |= summary(timing, timings[REFERENCE])
    return rows


def as_logits(answer: Tensor | list[Tensor]) -> Tensor:
    """The logits, whichever engine they come from."""
    return answer if isinstance(answer, Tensor) else answer[0]


def summary(timing: Timing, reference: Timing) -> dict[str, Any]:
    """Milliseconds, and how many times faster than the reference, by the median of ratios."""
    return {
        "median_ms": round(timing.median * 1e3, 2),
        "quartiles_ms": [round(second * 1e3, 2) for second in timing.quartiles],
        "speedup": round(timing.speedup_over(reference), 3),
    }


def torchao_int8(model: BertClassifier) -> BertClassifier | None:
    """The model with torchao's dynamic int8 layers; None where the package is missing."""
    try:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_
    except ImportError:
        return None
    made = copy.deepcopy(model)
    quantize_(made, Int8DynamicActivationInt8WeightConfig(set_inductor_config=False))
    return made


def profile(path: Path, inputs: Inputs, scratch: Path, *, calls: int = 5) -> dict[str, float]:
    """The share of each kind of operation in ONNX Runtime's time with one thread, the largest eight."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_profiling = True
    options.profile_file_prefix = str(scratch / "profile")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    for _ in range(calls):
        session.run(None, arrays)
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    runs = [event for event in events if event["name"] == "model_run"]
    begin = statistics.median([event["ts"] for event in runs])  # calls before the middle one warm up
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time") and event["ts"] >= begin:
            spent[event["args"]["op_name"]] += event["dur"]
    return {name: round(duration / spent.total(), 3) for name, duration in spent.most_common(8)}
