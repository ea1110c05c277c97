"""Weights in Hugging Face's folders: safetensors or ``.bin``, in one file or in shards with an index.

A folder may come from anywhere. No file outside it is opened, nothing in it is executed (``.bin`` files are pickles;
they are read with ``weights_only=True``), and whatever is wrong with a file is a ValueError that names it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from plm_core.files import read_json_object, require_file

State = dict[str, Tensor]

SINGLE_FILES = ("model.safetensors", "pytorch_model.bin")
INDEX_FILES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


def read_weights(folder: Path) -> State:
    """All tensors of a folder by their names, on the CPU.

    Args:
        folder: with ``model.safetensors`` or ``pytorch_model.bin``, or shards of either and their index. Where there
            are several, the first of ``model.safetensors``, its index, ``pytorch_model.bin`` and its index is read.

    Raises:
        FileNotFoundError: none of these files, or a shard that the index names is missing.
        ValueError: a damaged file; tensors that are no finite floating-point numbers; an index that leads out of the
            folder, or names a tensor that its shard does not hold.
    """
    for single, index in zip(SINGLE_FILES, INDEX_FILES, strict=True):
        if (folder / single).exists():
            return read_file(folder / single)
        if (folder / index).exists():
            return read_shards(folder / index)
    raise FileNotFoundError(
        f"{folder} holds no weights: expected one of {', '.join(SINGLE_FILES)}, or shards with one of "
        f"{', '.join(INDEX_FILES)}"
    )


def read_shards(index: Path) -> State:
    """The tensors that an index names, from the files beside it; errors as for :func:`read_weights`."""
    places = read_json_object(index, "index of shards").get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(place, str) for place in places.values()):
        raise ValueError(f"{index} is damaged: expected a weight_map that names a file for every tensor")
    shards: dict[str, State] = {}
    for name in sorted(set(places.values())):
        if not name.endswith((".safetensors", ".bin")) or name != Path(name).name or "\\" in name or "\0" in name:
            raise ValueError(f"{index} names the shard {name!r}: expected the plain name of a file in the same folder")
        shards[name] = read_file(index.parent / name)
    state = {}
    for tensor, shard in places.items():
        if tensor not in shards[shard]:
            raise ValueError(f"{index} says that {shard} holds {tensor!r}, but it does not")
        state[tensor] = shards[shard][tensor]
    return state


def read_file(path: Path) -> State:
    """The tensors of one file; errors as for :func:`read_weights`."""
    require_file(path, "weights file")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else _read_pickle(path)
    except MemoryError:
        raise
    except Exception as error:  # each reader has classes of its own for damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{path} is damaged or holds something else than weights: {reason}") from error
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            if tensor.numel() > 1 and not name.endswith(("position_ids", "attn.bias", "masked_bias")):
                raise ValueError(f"{path}: {name} is of {tensor.dtype}: quantised weights are not read here")
        elif not torch.isfinite(tensor).all() and not name.endswith("masked_bias"):
            raise ValueError(f"{path}: {name} holds nan or infinity: the weights are of no use")
    return state


def _read_pickle(path: Path) -> State:
    """A ``.bin`` file; one that would unpack to more than it holds is refused."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("its entries are compressed, which torch never writes")
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, Mapping):
        raise ValueError(f"expected tensors by name, found {type(state).__name__}")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
            raise ValueError(f"expected tensors by name, found {name!r} -> {type(tensor).__name__}")
    return dict(state)
