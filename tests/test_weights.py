"""Weights on disk: what is read is what the model can hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from plm_core.weights import load_weights


def stored(tmp_path: Path, **changes: torch.Tensor) -> Path:
    """A file for a small linear layer, with some tensors exchanged."""
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.ones(2, 3), "bias": torch.zeros(2), **changes}, path)
    return path


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused_by_the_name_of_their_tensor(tmp_path: Path, number: float) -> None:
    path = stored(tmp_path, bias=torch.tensor([0.0, number]))
    with pytest.raises(ValueError, match=r"weights\.safetensors: the tensor bias holds numbers that are not finite"):
        load_weights(nn.Linear(3, 2), path)


def test_another_precision_is_converted_and_another_kind_of_number_refused(tmp_path: Path) -> None:
    layer = nn.Linear(3, 2)
    load_weights(layer, stored(tmp_path, weight=torch.full((2, 3), 0.5, dtype=torch.float16)))
    assert (layer.weight == 0.5).all()
    assert layer.weight.dtype == torch.float32
    with pytest.raises(ValueError, match=r"the tensor weight is stored as torch\.int32, expected torch\.float32"):
        load_weights(layer, stored(tmp_path, weight=torch.ones(2, 3, dtype=torch.int32)))
    with pytest.raises(ValueError, match="not finite"):  # 1e300 does not fit into single precision
        load_weights(layer, stored(tmp_path, weight=torch.full((2, 3), 1e300, dtype=torch.float64)))


def test_a_refused_file_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    with pytest.raises(ValueError, match="not finite"):
        load_weights(layer, stored(tmp_path, bias=torch.tensor([0.0, float("nan")])))
    assert torch.equal(layer.weight, before)


def test_a_pipe_in_place_of_weights_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="no regular file"):
        load_weights(nn.Linear(3, 2), tmp_path / "pipe")
