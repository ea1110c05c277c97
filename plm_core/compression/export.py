"""Models as ONNX files, for programs without torch, and their int8 forms for ONNX Runtime's integer kernels.

The graph takes any batch and any length up to the model's. BERT's runs both heads at every position, a classifier's
ends in its logits; GPT's takes the keys and values of earlier tokens and returns them with the new ones, so that one
graph serves both the first pass (an empty past) and every further token.
"""

from __future__ import annotations

import copy
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

from plm_core.compression.quantize import plain_weights
from plm_core.files import require_file
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.classifier import BertClassifier
from plm_core.models.gpt import Gpt
from plm_core.models.heads import SequenceClassifier
from plm_core.models.kv_cache import Cache, KVCache
from plm_core.models.multi_head import MultiHeadAttention
from plm_core.runtime import check_threads

if TYPE_CHECKING:
    import onnxruntime

Arrays = Mapping[str, np.ndarray]
Example = tuple[tuple[Tensor, ...], tuple[dict[int, str], ...]]

POSITIONS = "position_ids"
BY_TOKEN = {0: "batch", 1: "tokens"}
"""The names of the axes of an input (B, T), of which both may vary."""


def encoder_example() -> Example:
    """Inputs to trace an encoder with, and the names of their axes that may vary."""
    ids = torch.zeros(2, 5, dtype=torch.long)
    return (ids, torch.ones_like(ids, dtype=torch.bool), ids.clone()), (BY_TOKEN,) * 3


class BertGraph(nn.Module):
    """What the exported graph of a :class:`Bert` computes."""

    inputs = ("input_ids", "attention_mask", "token_type_ids")
    outputs = ("last_hidden_state", "prediction_logits", "seq_relationship_logits", "pooler_output")

    def __init__(self, model: Bert) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, T) each -> states (B, T, D), word logits (B, T, V), sentence logits (B, 2), pooled (B, D)."""
        model = self.model
        x_BTD = model.encoder(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        pooled_BD = model.pooler(x_BTD)
        return x_BTD, model.mlm_head(x_BTD), model.nsp_head(pooled_BD), pooled_BD

    def example(self) -> Example:
        """Inputs to trace with, and the names of their axes that may vary."""
        return encoder_example()


class ClassifierGraph(nn.Module):
    """What the exported graph of a text classifier on a Bert computes."""

    inputs = BertGraph.inputs
    outputs = ("logits",)

    def __init__(self, model: BertClassifier | SequenceClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(B, T) each -> logits of the classes (B, C)."""
        return self.model(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)

    def example(self) -> Example:
        """Inputs to trace with, and the names of their axes that may vary."""
        return encoder_example()


class GptGraph(nn.Module):
    """What the exported graph of a :class:`Gpt` computes.

    A model that adds positions to its embeddings takes them as an input: with padding on the left, or with packed
    documents, only the caller knows them. To other models they mean nothing, and there is no such input.
    """

    inputs: tuple[str, ...] = ("input_ids", "attention_mask", "past")
    outputs = ("logits", "present")

    def __init__(self, model: Gpt) -> None:
        super().__init__()
        heads = {layer.num_heads for layer in model.modules() if isinstance(layer, MultiHeadAttention)}
        if len(heads) > 1:
            raise ValueError(
                f"the blocks have {sorted(heads)} heads: their keys and values do not fit one tensor. Remove "
                "equally many heads from every block before an export"
            )
        self.model, self.heads = model, heads.pop()
        if model.embeddings.position is not None:
            self.inputs = (*self.inputs, POSITIONS)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, past: Tensor, position_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Ids and positions (B, T), mask (B, P + T), past (L, 2, B, H, P, K) -> logits (B, T, V) and the present,
        (L, 2, B, H, P + T, K)."""
        layers = [JoinedCache(*past[number]) for number in range(past.shape[0])]
        cache = Cache(0)
        cache.self_attention, cache.cross_attention = list(layers), [KVCache() for _ in layers]
        x_BTD = self.model.hidden_states(
            input_ids, attention_mask=attention_mask, position_ids=position_ids, cache=cache
        )
        # not through the model's forward, which looks at the number of tokens to choose a product and so would fix it
        logits = self.model.lm_head(x_BTD)
        return logits, torch.stack([torch.stack((layer.keys, layer.values)) for layer in layers])

    def example(self) -> Example:
        """Inputs to trace with, and the names of their axes that may vary."""
        past = self.empty_past(2, length=3)
        ids = torch.zeros(2, 5, dtype=torch.long)
        inputs = (ids, torch.ones(2, 8, dtype=torch.bool), past)
        axes = (BY_TOKEN, {0: "batch", 1: "past_and_tokens"}, {2: "batch", 4: "past"})
        if POSITIONS in self.inputs:
            inputs, axes = (*inputs, ids + 3), (*axes, BY_TOKEN)  # type: ignore[assignment]
        return inputs, axes

    def empty_past(self, batch: int, *, length: int = 0) -> Tensor:
        """Zeros in the shape of the past, (L, 2, B, H, length, K)."""
        shape = self.model.config
        return torch.zeros(shape.num_hidden_layers, 2, batch, self.heads, length, shape.head_size)


class JoinedCache(KVCache):
    """A cache that starts from given tensors and joins new ones to them: a graph has no buffer to write into."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self._k, self._v, self.length = keys, values, keys.shape[2]

    def append(self, k_BHTK: Tensor, v_BHTK: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values, old and new."""
        assert self._k is not None and self._v is not None  # noqa: PT018
        self._k, self._v = torch.cat((self._k, k_BHTK), dim=2), torch.cat((self._v, v_BHTK), dim=2)
        self.length = self._k.shape[2]
        return self._k, self._v


Graph = BertGraph | ClassifierGraph | GptGraph


def graph(model: nn.Module) -> Graph:
    """The module that is exported for a model: a copy in evaluation mode, on the CPU, integer weights read back.

    Raises:
        ValueError: as for :func:`graph_of`.
    """
    copied = copy.deepcopy(model).cpu().float().eval()
    plain_weights(copied)
    return graph_of(copied)


def graph_of(model: nn.Module) -> Graph:
    """The module that is exported for a model, with the model itself inside, not a copy.

    Raises:
        ValueError: a model that is neither a Bert, a Gpt nor a text classifier on a Bert, or blocks with different
            numbers of heads in a Gpt.
    """
    if isinstance(model, Bert):
        return BertGraph(model)
    if isinstance(model, Gpt):
        return GptGraph(model)
    if isinstance(model, BertClassifier | SequenceClassifier) and isinstance(model.config, BertConfig):
        return ClassifierGraph(model)
    raise ValueError(
        f"a {type(model).__name__} cannot be exported: only Bert, Gpt and text classifiers on a Bert have a graph"
    )


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
