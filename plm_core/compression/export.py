"""Models as ONNX files, for programs without torch, and their int8 forms for ONNX Runtime's integer kernels.

What a file computes is in :mod:`plm_core.compression.onnx_graphs`.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from plm_core.compression.onnx_graphs import Graph, graph
from plm_core.files import require_file
from plm_core.runtime import check_threads

if TYPE_CHECKING:
    import onnxruntime

Arrays = Mapping[str, np.ndarray]


def export_onnx(model: nn.Module, path: Path | str) -> None:
    """Write a model as an ONNX file with dynamic batch and length, by torch's exporter.

    Args:
        model: a Bert, a Gpt or a text classifier on a Bert, compressed or not. Integer weights are read back to floats;
            :func:`~plm_core.compression.export_quantized.export_quantized` keeps them.
        path: the file to write.

    Raises:
        ValueError: another kind of model, blocks with different numbers of heads in a Gpt, or a missing package.
    """
    require("onnx", "onnxscript")
    write_graph(graph(model), path)


def write_graph(module: Graph, path: Path | str) -> None:
    """Trace a graph with torch's exporter and write it as an ONNX file."""
    arguments, shapes = module.example()
    with torch.no_grad(), quiet(logging.getLogger("torch.onnx")):
        program = torch.onnx.export(
            module,
            arguments,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(module.inputs),
            output_names=list(module.outputs),
            verbose=False,
        )
    assert program is not None
    for node in program.model.graph:  # where in Python it came from: paths of this machine, and half a small file
        node.metadata_props.clear()
    program.save(str(path))


def require(*packages: str) -> None:
    """Raise ValueError, with the command that installs it, if a package of the extra "export" is missing."""
    if missing := [package for package in packages if importlib.util.find_spec(package) is None]:
        raise ValueError(f"ONNX files need {', '.join(missing)}: pip install 'plm-core[export]'")


@contextmanager
def quiet(logger: logging.Logger) -> Iterator[None]:
    """Suppress messages about optional packages, internals, and steps that are skipped on purpose."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def open_onnx(path: Path | str, *, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Open an ONNX file with ONNX Runtime on the CPU.

    Integer products are exact on every processor. Without the setting below, x86 processors that lack the VNNI
    instructions add two products of 8-bit integers in 16 bits and clip the sum: products of extreme weights were wrong
    by up to 43 % on such a machine, which computed them in 0.25 ms instead of 0.28 ms. A program of your own that runs
    an int8 file should set the same session option, ``session.x64quantprecision``.

    Args:
        path: the file.
        threads: cores to use, from 1 to :data:`~plm_core.runtime.MAX_THREADS`; torch's number by default.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is damaged or no ONNX model, or another number of threads.
    """
    require("onnxruntime")
    import onnxruntime

    require_file(Path(path), "ONNX file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = check_threads(threads) or torch.get_num_threads()
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.inter_op_num_threads = 1
    # idle workers sleep: one that spins keeps a core from whatever is run, or timed, next
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the classes of ONNX Runtime's errors are not public
        raise ValueError(f"{path} is damaged or no ONNX model: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """The error message of an engine, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def quantize_onnx(source: Path | str, target: Path | str, *, calibration: Iterable[Arrays] | None = None) -> None:
    """Write the int8 form of an ONNX file: integer weights with a scale for each row, and integer activations.

    Args:
        source: a file of :func:`export_onnx`.
        target: the file to write.
        calibration: inputs by name, to choose the ranges of activations on (static); None rounds them as they come
            (dynamic).

    Raises:
        FileNotFoundError: no such file.
        ValueError: no calibration input, or a file that is damaged or no ONNX model.
    """
    require("onnx", "onnxruntime")
    import onnx
    from onnxruntime import quantization

    require_file(Path(source), "ONNX file")
    samples = [dict(inputs) for inputs in calibration or ()]
    if calibration is not None and not samples:
        raise ValueError("static quantisation needs at least one input to choose the ranges on")
    try:
        model = onnx.load(source)
        onnx.checker.check_model(model)
    except Exception as error:  # of the parser, of the checker, or for weights that lie outside the file's folder
        raise ValueError(f"{source} is damaged or no ONNX model: {first_line(error)}") from error
    del model.graph.value_info[:]  # shapes of the exporter's intermediate names confuse the quantiser's own inference
    prepared = Path(target).with_suffix(".prepared.onnx")
    int8 = quantization.QuantType.QInt8
    try:
        onnx.save(model, prepared)
        with quiet(logging.getLogger()):
            if calibration is None:
                quantization.quantize_dynamic(prepared, target, per_channel=True, weight_type=int8)
                return
            quantization.quantize_static(
                prepared,
                target,
                Samples(samples),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,  # with signed ones x86 reads the weights back to floats
                weight_type=int8,
                op_types_to_quantize=["MatMul", "Gemm"],
            )
    finally:
        prepared.unlink(missing_ok=True)


class Samples:
    """Calibration inputs as ONNX Runtime's quantiser reads them: one after the other, then None."""

    def __init__(self, samples: list[dict[str, np.ndarray]]) -> None:
        self.left = iter(samples)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input."""
        return next(self.left, None)

    def __iter__(self) -> Samples:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        return next(self.left)


def runner(session: onnxruntime.InferenceSession) -> Callable[[Mapping[str, Tensor]], list[Tensor]]:
    """A function from named tensors to the list of a session's outputs as tensors."""

    def run(inputs: Mapping[str, Tensor]) -> list[Tensor]:
        arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
        return [torch.from_numpy(array) for array in session.run(None, arrays)]

    return run
