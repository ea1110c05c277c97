"""The blocks of a model, and two switches that act on each of them: recomputed activations and torch.compile.

A deep model repeats one block. Nothing here knows which: blocks are the members of the model's ``nn.ModuleList``.
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


def repeated_blocks(model: nn.Module) -> list[nn.Module]:
    """The members of the model's outermost lists (``nn.ModuleList``), in order; empty for a model without one."""
    if isinstance(model, nn.ModuleList):
        return list(model)
    return [block for child in model.children() for block in repeated_blocks(child)]


def blocks_of(model: nn.Module, switch: str) -> list[nn.Module]:
    """The blocks that a switch acts on.

    Raises:
        ValueError: there is none.
    """
    blocks = repeated_blocks(model)
    if not blocks:
        raise ValueError(f"{switch} acts on repeated blocks, and {type(model).__name__} has no nn.ModuleList of them")
    return blocks


def checkpoint_activations(model: nn.Module) -> None:
    """Keep only each block's input for the backward pass and compute the rest of it a second time, in place.

    Memory for activations falls from that of L blocks to that of L inputs and one block, for a second forward pass of
    the blocks, about a third more time (Chen et al. 2016). Losses and gradients stay the same: dropout draws again
    what it drew the first time. In evaluation nothing is recomputed.

    Raises:
        ValueError: a model without blocks.
    """
    for block in blocks_of(model, "activation checkpointing"):
        block.forward = functools.partial(recomputing, block.forward)


def recomputing(forward: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call a block's forward pass; where gradients are wanted, forget its activations and compute them again."""
    if not torch.is_grad_enabled():
        return forward(*arguments, **named)
    return checkpoint(forward, *arguments, use_reentrant=False, **named)


def compile_blocks(model: nn.Module, *, device: torch.device | str = "cpu", backend: str = "inductor") -> None:
    """Compile each block with ``torch.compile``, in place; parameters and their names stay as they are.

    One block is compiled and its code serves all, so that the first step waits for one block and not for the model.
    Between the blocks, where the model looks at its data (which positions are masked, are all ids in the vocabulary),
    Python runs on as before.

    Args:
        model: a model with blocks.
        device: where it runs, which decides on the compiler that ``"inductor"`` needs.
        backend: of torch.compile; ``"aot_eager"`` traces and generates no code.

    Raises:
        ValueError: a model without blocks, or a machine without the compiler.
    """
    if backend == "inductor":
        require_compiler(torch.device(device))
    for block in blocks_of(model, "compile"):
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
