"""Checkpoints of a model whose parameters are split among processes, by torch's distributed checkpoints (DCP).

Every process writes its part of the optimiser's state, which is most of a checkpoint, and reads only its part of
weights and state; torch redistributes the parts if another number of processes reads than wrote. The weights alone are
gathered, one tensor at a time, into the same single file as of any other run, so that a sharded run is opened,
evaluated and deployed like any other.

DCP's usual storage describes a checkpoint by a pickle, and unpickling a file can execute anything. The storage used
here is the one that torch made for Hugging Face: parts are safetensors files, the borders stand in their headers as
JSON, and nothing is unpickled.

Importing DCP takes two seconds, so functions import it where they need it: only sharded runs do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from plm_core.training.parallel import whole
from plm_core.weights import check_fit, shapes, stripped_state_dict, tie_weights

if TYPE_CHECKING:
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

OPTIMIZER = "optimizer"


def whole_weights(model: nn.Module, *, keep: bool) -> dict[str, Tensor]:
    """Gather the weights of a sharded model, without aliases, on the CPU. All processes must call this together.

    Args:
        model: the sharded model.
        keep: whether this process needs them; the others only send their parts and return an empty dict.
    """
    state = {}
    for name, tensor in stripped_state_dict(model).items():
        gathered = whole(tensor.detach())
        if keep:
            state[name] = gathered.cpu()
    return state


def load_whole_weights(model: nn.Module, folder: Path) -> None:
    """Read each process's part of the weights from the safetensors file in a folder.

    Raises:
        ValueError: weights of another model; missing, unexpected and misshapen ones are named.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    tie_weights(model)
    state = stripped_state_dict(model)
    reader = HuggingFaceStorageReader(str(folder))
    check_fit(model, shapes(state), stored_shapes(reader))
    load(state, storage_reader=reader)


def save_optimizer_parts(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Write each process's part of the optimiser's state into a folder. All processes must call this together.

    Hyperparameters are not stored: they follow from the run's configuration and its step.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    state = {
        f"{name}.{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }
    save(state, storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))


def load_optimizer_parts(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Read each process's part of what :func:`save_optimizer_parts` wrote, for any number of processes.

    Raises:
        ValueError: the state of another model.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    numbers = {parameter: number for number, parameter in enumerate(moved_parameters(optimizer))}
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter in numbers}
    reader = HuggingFaceStorageReader(str(folder))
    state: dict[str, Tensor] = {}
    for name, shape in stored_shapes(reader).items():
        owner = name.rpartition(".")[0]
        if owner not in parameters:
            raise ValueError(f"{folder} holds the optimiser's state of {owner}, which {type(model).__name__} lacks")
        parameter = parameters[owner].detach()
        state[name] = torch.zeros_like(parameter) if shape == parameter.shape else torch.zeros(shape)
    load(state, storage_reader=reader)
    numbered: dict[int, dict[str, Any]] = {}
    for name, value in state.items():
        owner, _, key = name.rpartition(".")
        numbered.setdefault(numbers[parameters[owner]], {})[key] = value
    optimizer.load_state_dict({"state": numbered, "param_groups": optimizer.state_dict()["param_groups"]})


def moved_parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """The parameters of an optimiser, in its own order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def stored_shapes(reader: HuggingFaceStorageReader) -> dict[str, torch.Size]:
    """The shape of each stored tensor as a whole, from the headers of the files."""
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    entries = reader.read_metadata().state_dict_metadata
    return {name: entry.size for name, entry in entries.items() if isinstance(entry, TensorStorageMetadata)}
