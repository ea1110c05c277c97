"""An ONNX file with the interface of the model that it was made from.

Objectives, evaluations and benchmarks that take a Bert, a text classifier or a Gpt take this class too: it has the same
arguments and the same outputs, computed by ONNX Runtime. It has no parameters and cannot be trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from plm_core.compression.export import first_line, open_onnx
from plm_core.compression.onnx_graphs import POSITIONS, BertGraph, ClassifierGraph, GptGraph
from plm_core.data.labels import IGNORE
from plm_core.models.bert import BertOutput
from plm_core.models.varlen import PackedSequences
from plm_core.models.vocabulary_loss import TokenLosses
from plm_core.runtime import check_threads

KINDS = {(graph.inputs, graph.outputs): graph for graph in (BertGraph, ClassifierGraph, GptGraph)} | {
    ((*GptGraph.inputs, POSITIONS), GptGraph.outputs): GptGraph
}
"""Which graph a file holds, by the names of its inputs and outputs."""

WORDS = {BertGraph: "prediction_logits", GptGraph: "logits"}
"""The output whose last axis is the vocabulary."""


class OnnxModel(nn.Module):
    """A file of :func:`~plm_core.compression.export.export_onnx`, its int8 form, or a file of
    :func:`~plm_core.compression.export_quantized.export_quantized`, as a model.

    Args:
        path: the file.
        threads: cores to use; torch's number by default. It is fixed when the file is opened.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, one with other inputs and outputs than these graphs have, or another number of
            threads than :func:`~plm_core.compression.export.open_onnx` takes.

    Example: with ``model = OnnxModel("small.onnx", threads=1)`` the call ``model(ids)`` is what ``gpt(ids)`` was.
    """

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        super().__init__()
        self.path, self.threads = Path(path), check_threads(threads) or torch.get_num_threads()
        self.session = open_onnx(path, threads=self.threads)
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        names = tuple(node.name for node in inputs), tuple(node.name for node in outputs)
        kind = KINDS.get(names)
        if kind is None:
            raise ValueError(
                f"{path} takes {', '.join(names[0])} and gives {', '.join(names[1])}: it was not written by "
                "export_onnx or export_quantized, whose inputs and outputs are known"
            )
        self.kind = kind
        self.takes_positions = POSITIONS in names[0]
        self.past_shape = fixed_sizes(inputs[2].shape, (0, 1, 3, 5), path) if kind is GptGraph else ()
        self.vocab_size = None
        if kind is not ClassifierGraph:
            shape = outputs[kind.outputs.index(WORDS[kind])].shape
            self.vocab_size = fixed_sizes(shape, (len(shape) - 1,), path)[-1]
        self.seen: list[dict[str, np.ndarray]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """What copies and other processes are made from: they open the file again."""
        return partial(OnnxModel, threads=self.threads), (self.path,)

    @contextmanager
    def recording(self) -> Iterator[list[dict[str, np.ndarray]]]:
        """Collect the inputs of the file while the block runs, for the calibration of ``quantize_onnx``."""
        self.seen = []
        try:
            yield self.seen
        finally:
            self.seen = None

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        masked_positions: Tensor | None = None,
        query_positions: Tensor | None = None,
        sequences: PackedSequences | None = None,
        labels: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> Tensor | BertOutput | TokenLosses:
        """What the model of the file returns for these arguments: see Bert, BertClassifier and Gpt.

        A Bert's file computes word logits at every position; without ``masked_positions`` they are not computed. Packed
        rows, recognised by a mask (B, T, T), are split for a Gpt's file, document by document, by their positions.
        ``sequences`` is accepted and not used.

        Raises:
            ValueError: an argument that the file has no place for.
        """
        if self.kind is GptGraph:
            logits = self.next_token_logits(input_ids, attention_mask, position_ids)
            return logits if labels is None else losses(logits, labels, label_smoothing)
        if position_ids is not None or (attention_mask is not None and attention_mask.dim() != 2):
            raise ValueError("the file of an encoder takes a mask (B, T) and no position_ids: pad rows, do not pack")
        inputs = {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids, dtype=torch.bool)
            if attention_mask is None
            else attention_mask,
            "token_type_ids": torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids,
        }
        if self.kind is ClassifierGraph:
            return self.compute(inputs, "logits")[0]
        names = ["seq_relationship_logits", "pooler_output"]
        names += ["last_hidden_state"] if query_positions is None else []
        names += [] if masked_positions is None else ["prediction_logits"]
        found = dict(zip(names, self.compute(inputs, *names), strict=True))
        words = found.get("prediction_logits")
        if words is not None and masked_positions is not None:
            is_mask = masked_positions.dtype == torch.bool
            words = words[masked_positions] if is_mask else words.flatten(0, 1)[masked_positions]
        return BertOutput(
            found.get("last_hidden_state"), found["pooler_output"], words, found["seq_relationship_logits"]
        )

    def next_token_logits(
        self, input_ids: Tensor, attention_mask: Tensor | None, position_ids: Tensor | None
    ) -> Tensor:
        """Logits (B, T, V) without a past. Positions are counted from 0 if none are given; a model that adds none to
        its embeddings does not look at them, here as in torch."""
        if attention_mask is not None and attention_mask.dim() == 3:
            return self.unpacked(input_ids, attention_mask, position_ids)
        layers, two, _, heads, _, width = self.past_shape
        inputs = {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids, dtype=torch.bool)
            if attention_mask is None
            else attention_mask,
            "past": torch.zeros(layers, two, len(input_ids), heads, 0, width),
        }
        if self.takes_positions:
            counted = torch.arange(input_ids.shape[1]).expand_as(input_ids)
            inputs[POSITIONS] = counted if position_ids is None else position_ids
        return self.compute(inputs, "logits")[0]

    def unpacked(self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor | None) -> Tensor:
        """Logits (B, T, V) of packed rows: each document in a row of its own, and put back to its place.

        Raises:
            ValueError: positions that do not restart with every document.
        """
        if position_ids is None:
            raise ValueError(
                "packed rows need position_ids that restart with every document: they say where one begins"
            )
        real_BT = attention_mask.diagonal(dim1=1, dim2=2)
        places = [
            (row, start, end)
            for row, (positions, real) in enumerate(zip(position_ids, real_BT, strict=True))
            for start, end in documents(positions[real])
        ]
        longest = max(end - start for _, start, end in places)
        ids, mask = input_ids.new_zeros(len(places), longest), torch.zeros(len(places), longest, dtype=torch.bool)
        for number, (row, start, end) in enumerate(places):
            ids[number, : end - start], mask[number, : end - start] = input_ids[row, start:end], True
        logits = self.next_token_logits(ids, mask, None)
        packed = logits.new_zeros(*input_ids.shape, logits.shape[-1])
        for number, (row, start, end) in enumerate(places):
            packed[row, start:end] = logits[number, : end - start]
        return packed

    def compute(self, inputs: dict[str, Tensor], *names: str) -> list[Tensor]:
        """The named outputs; what they do not depend on is not computed.

        Raises:
            ValueError: inputs that the file cannot take, such as an id outside its vocabulary.
        """
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.only_execute_path_to_fetches = True
        arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
        if self.seen is not None:
            self.seen.append(arrays)
        try:
            return [torch.from_numpy(array) for array in self.session.run(list(names), arrays, options)]
        except Exception as error:  # the classes of ONNX Runtime's errors are not public
            raise ValueError(f"{self.path} cannot take this batch: {first_line(error)}") from error


def fixed_sizes(shape: Sequence[int | str | None], axes: Sequence[int], path: Path | str) -> tuple[int, ...]:
    """A shape of an ONNX file, some of whose axes must have a fixed size.

    Raises:
        ValueError: an axis that the shape does not have, or whose size is not stated.
    """
    if not all(0 <= axis < len(shape) and isinstance(shape[axis], int) for axis in axes):
        raise ValueError(f"{path} has a tensor of shape {list(shape)}, in which sizes are missing: export it again")
    return cast(tuple[int, ...], tuple(shape))


def documents(positions: Tensor) -> list[tuple[int, int]]:
    """Start and end of each document in a packed row, from positions that begin at 0 with every document."""
    starts = [int(place) for place in (positions == 0).nonzero()[:, 0]]
    if not starts or starts[0] != 0:
        raise ValueError("position_ids of packed rows must begin at 0 with every document")
    return list(zip(starts, [*starts[1:], len(positions)], strict=True))


def losses(logits: Tensor, labels: Tensor, label_smoothing: float) -> TokenLosses:
    """The result of a Gpt that is called with labels."""
    kept = labels != IGNORE
    logits_NV, labels_N = logits[kept], labels[kept]
    total = nn.functional.cross_entropy(logits_NV, labels_N, reduction="sum", label_smoothing=label_smoothing)
    return TokenLosses(total, (logits_NV.argmax(-1) == labels_N).sum())


def file_numbers(path: Path | str) -> int:
    """How many numbers an ONNX file stores in its weights, integers and scales included.

    Raises:
        ValueError: a file that is damaged or no ONNX model.
    """
    import onnx

    try:
        graph: Any = onnx.load(str(path), load_external_data=False).graph
    except Exception as error:  # of the parser of protocol buffers, whose classes are not public
        raise ValueError(f"{path} is damaged or no ONNX model: {first_line(error)}") from error
    reshaped = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Reshape"}
    four_bits = [node for node in graph.node if any(each.name == "bits" and each.i == 4 for each in node.attribute)]
    in_pairs = {reshaped.get(name, name) for node in four_bits for name in node.input}
    total = 0
    for tensor in graph.initializer:
        is_packed = tensor.name in in_pairs and tensor.data_type == onnx.TensorProto.UINT8
        total += math.prod(tensor.dims) * (2 if is_packed else 1)
    return total
