"""The arguments of a model's forward pass that a batch holds."""

from __future__ import annotations

from typing import Any

from plm_core.data.batch import Batch
from plm_core.models.inputs import expand_mask
from plm_core.models.varlen import PackedSequences, find_sequences

MODEL_INPUTS = ("input_ids", "attention_mask", "position_ids", "token_type_ids")


def model_inputs(batch: Batch) -> dict[str, Any]:
    """The entries of a batch that are tensors for a model: ids, mask, positions and token types."""
    return {key: batch[key] for key in MODEL_INPUTS if key in batch}


def transformer_inputs(batch: Batch) -> dict[str, Any]:
    """:func:`model_inputs`, and the sequences if the batch has them, for a model that takes ``sequences``."""
    inputs = model_inputs(batch)
    if "cu_seqlens" not in batch:
        return inputs
    rows, tokens = batch["input_ids"].shape
    return inputs | {"sequences": PackedSequences(batch["token_indices"], batch["cu_seqlens"], (rows, tokens))}


def with_sequences(batch: Batch) -> Batch:
    """Add ``token_indices`` and ``cu_seqlens`` to a batch with a padding mask (B, T), unless its source has done so.

    This is done on the host, before the batch is moved: on a GPU the host would have to wait for the mask.
    """
    mask_BT = batch.get("attention_mask")
    if "cu_seqlens" in batch or mask_BT is None or mask_BT.dim() != 2:
        return batch
    rows, tokens = batch["input_ids"].shape
    mask = expand_mask(mask_BT, batch=rows, queries=tokens, keys=tokens)
    found = find_sequences(mask, (rows, tokens))
    if found is None:
        return batch
    return {**batch, "token_indices": found.token_indices, "cu_seqlens": found.cu_seqlens}
