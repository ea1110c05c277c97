"""The blocks of a model, and two options that act on each of them: recomputed activations and torch.compile.

A deep model repeats one block. The blocks are the members of the model's outermost ``nn.ModuleList``, whatever their
class.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def block_lists(model: nn.Module, prefix: str = "") -> dict[str, nn.ModuleList]:
    """The outermost lists of blocks (``nn.ModuleList``) of a model, by name.

    An encoder or a decoder alone has one, an encoder-decoder two, a model without repeated blocks none.

    Args:
        model: the model, or a part of it.
        prefix: the name of that part in the whole model.
    """
    if isinstance(model, nn.ModuleList):
        return {prefix: model}
    found: dict[str, nn.ModuleList] = {}
    for name, child in model.named_children():
        found |= block_lists(child, f"{prefix}.{name}" if prefix else name)
    return found


def only_block_list(model: nn.Module, purpose: str) -> tuple[str, nn.ModuleList]:
    """The name and the blocks of a model that has exactly one list of them.

    Args:
        model: the model.
        purpose: what the blocks are for, for the error message.

    Raises:
        ValueError: a model with none or several.
    """
    lists = block_lists(model)
    if len(lists) != 1:
        found = ", ".join(lists) or "none"
        raise ValueError(
            f"{purpose} needs a model with one stack of layers (nn.ModuleList); {type(model).__name__} has {found}"
        )
    return next(iter(lists.items()))


def all_blocks(model: nn.Module, purpose: str) -> list[nn.Module]:
    """The blocks of all lists, in order.

    Args:
        model: the model.
        purpose: what the blocks are for, for the error message.

    Raises:
        ValueError: the model has no block.
    """
    blocks = [block for blocks in block_lists(model).values() for block in blocks]
    if not blocks:
        raise ValueError(f"{purpose} acts on repeated blocks, and {type(model).__name__} has no nn.ModuleList of them")
    return blocks


def checkpoint_activations(model: nn.Module) -> None:
    """Keep only each block's input for the backward pass and compute the rest of it a second time, in place.

    Memory for activations falls from that of L blocks to that of L inputs and one block, for a second forward pass of
    the blocks, about a third more time (Chen et al. 2016). Losses and gradients stay the same: dropout draws again
    what it drew the first time. In evaluation nothing is recomputed.

    Raises:
        ValueError: a model without blocks.
    """
    for block in all_blocks(model, "activation checkpointing"):
        block.forward = functools.partial(recomputing, block.forward)


def recomputing(forward: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call a block's forward pass; with gradients on, discard its activations and compute them again when needed."""
    if not torch.is_grad_enabled():
        return forward(*arguments, **named)
    return checkpoint(forward, *arguments, use_reentrant=False, **named)


def compile_blocks(model: nn.Module, *, device: torch.device | str = "cpu", backend: str = "inductor") -> None:
    """Compile each block with ``torch.compile``, in place; parameters and their names stay as they are.

    One block is compiled and its code is used for all, so that the first step waits for one block and not for the
    model. Between the blocks, where the model examines its data (which positions are masked, whether all ids are in the
    vocabulary), Python runs as before.

    Args:
        model: a model with blocks.
        device: where it runs, which decides on the compiler that ``"inductor"`` needs.
        backend: of torch.compile; ``"aot_eager"`` traces and generates no code.

    Raises:
        ValueError: a model without blocks, or a machine without the compiler.
    """
    if backend == "inductor":
        require_compiler(torch.device(device))
    for block in all_blocks(model, "compile"):
        block.compile(backend=backend)


def require_compiler(device: torch.device) -> None:
    """Raise ValueError where ``torch.compile`` could only fail later, in the middle of the first step."""
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise ValueError("compile=true needs Triton on a GPU: `pip install triton`, or set compile=false")
    elif not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++", "cl")):
        raise ValueError(
            "compile=true needs a C++ compiler on the CPU, and there is no g++ or clang++ here (nor in CXX): install "
            "one, or set compile=false"
        )
