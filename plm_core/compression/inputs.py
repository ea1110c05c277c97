"""What flows into the linear layers of a model while it reads sample text, without padding."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from plm_core.compression.structure import linear_layers
from plm_core.data.batch import Batch, real_tokens

See = Callable[[str, Tensor], None]


@contextmanager
def watched_inputs(model: nn.Module, see: See) -> Iterator[None]:
    """Call ``see(name, x_NK)`` for every linear layer that runs in the block, with the inputs of the N real tokens.

    Padding is what the model's own ``attention_mask`` says, (B, T), or (B, T, T) with its diagonal; it is left out of
    layers whose input has the shape (B, T, K). A causal model is usually called without one: see
    :func:`with_padding_mask`. Other inputs, such as those of an output layer that sees predicted
    positions only, or of a model that was given its tokens packed, hold no padding and are passed on whole.

    Args:
        model: any model.
        see: is called in the order in which the layers run.
    """
    real_BT: Tensor | None = None

    def begin(module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        nonlocal real_BT
        real_BT = padding_of(module, positional, named)

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def pass_on(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].detach()
            has_padding = real_BT is not None and x.shape[:-1] == real_BT.shape
            see(name, x[real_BT] if has_padding else x.flatten(0, -2))

        return pass_on

    hooks = [model.register_forward_pre_hook(begin, with_kwargs=True)]
    hooks += [layer.register_forward_pre_hook(watch(name)) for name, layer in linear_layers(model).items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def with_padding_mask(batch: Batch) -> Batch:
    """A batch with an ``attention_mask``, also where its model needs none to be right at the real tokens.

    A causal model that is padded at the end reads its real tokens correctly without a mask. But its layers compute
    states for the padding, too, and statistics over them would count it as text.
    """
    return batch if "attention_mask" in batch else {**batch, "attention_mask": real_tokens(batch)}


def padding_of(model: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> Tensor | None:
    """Which tokens of a call are real, bool (B, T), by its ``attention_mask``; None without one."""
    mask = named.get("attention_mask")
    if mask is None and positional:
        names = list(inspect.signature(model.forward).parameters)
        mask = dict(zip(names, positional, strict=False)).get("attention_mask")
    if not isinstance(mask, Tensor) or mask.dim() not in (2, 3):
        return None
    return (mask if mask.dim() == 2 else mask.diagonal(dim1=1, dim2=2)).bool()


def thinned(values: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` of the values drawn at random without replacement, or all of them if there are no more.

    Evenly spaced ones would not do: a step that shares a factor with the width sees the same few channels again and
    again.
    """
    if values.numel() <= count:
        return values
    return values[torch.randperm(values.numel(), generator=generator)[:count].to(values.device)]
