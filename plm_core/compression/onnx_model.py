"""An ONNX file in the place of the model it was exported from: objectives and evaluation run it like any other."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from plm_core.compression.export import open_onnx, runner
from plm_core.models.bert import BertOutput


class OnnxModel(nn.Module):
    """A session of ONNX Runtime that answers like the model.

    Which of the three graphs it is, follows from the names of its outputs. It cannot be trained and gives no traces.

    Args:
        path: a file of :func:`~plm_core.compression.export.export_onnx` or ``quantize_onnx``.
        threads: cores to use; torch's number by default.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or a graph that is none of this library's.
    """

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        super().__init__()
        session = open_onnx(path, threads=threads)
        self.outputs = tuple(output.name for output in session.get_outputs())
        self.past = next((entry.shape for entry in session.get_inputs() if entry.name == "past"), None)
        self.run = runner(session)
        known = {"last_hidden_state", "logits"}
        if self.outputs[0] not in known:
            raise ValueError(f"{path} returns {', '.join(self.outputs)}: it is no file of export_onnx")

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        masked_positions: Tensor | None = None,
        heads_only: bool = False,
    ) -> Tensor | BertOutput:
        """Ids (B, T) -> what the model returns: logits of a Gpt or a classifier, or a :class:`BertOutput`."""
        mask = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask
        if self.past is not None:
            layers, _, _, heads, _, width = self.past
            empty = torch.zeros(layers, 2, len(input_ids), heads, 0, width)
            return self.run({"input_ids": input_ids, "attention_mask": mask, "past": empty})[0]
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        found = self.run({"input_ids": input_ids, "attention_mask": mask, "token_type_ids": types})
        if self.outputs[0] == "logits":
            return found[0]
        x_BTD, logits_BTV, pairs_B2 = found
        chosen_NV = None
        if masked_positions is not None:
            is_mask = masked_positions.dtype == torch.bool
            chosen_NV = logits_BTV[masked_positions] if is_mask else logits_BTV.flatten(0, 1)[masked_positions]
        # the pooled state is not among the outputs of the graph; nothing that is evaluated reads it
        return BertOutput(None if heads_only else x_BTD, x_BTD[:, 0], chosen_NV, pairs_B2)
