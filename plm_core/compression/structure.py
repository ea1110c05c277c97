"""The layers of a model that can be compressed, and the number of stored bytes."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from plm_core.weights import shared_parameters


def linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers whose weight is not shared, by name, in the order of the model.

    An output layer that shares the word embeddings is left out: it would change the embeddings with it.
    """
    ties = shared_parameters(model)
    tied = {*ties, *ties.values()}
    return {name: layer for name, layer in plain_linears(model) if f"{name}.weight" not in tied}


def plain_linears(model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Every module that is exactly an ``nn.Linear``, shared ones once."""
    return ((name, module) for name, module in model.named_modules() if type(module) is nn.Linear)


def find_block_linears(model: nn.Module) -> dict[str, nn.Linear]:
    """Those of :func:`linear_layers` that belong to a block; there may be none.

    A model keeps its blocks in a list, so that a number stands in the names of what they hold: ``blocks.0.attention``
    here, ``encoder.layer.0.attention`` in Hugging Face's models. In our own models these are the layers of attention
    and feed-forward networks; embeddings, poolers and heads are outside, and so are the parts of what was compressed.
    """
    compressed = {name for name, module in model.named_modules() if hasattr(module, "description")}
    return {
        name: layer
        for name, layer in linear_layers(model).items()
        if any(part.isdigit() for part in name.split(".")) and name.rpartition(".")[0] not in compressed
    }


def block_linears(model: nn.Module) -> dict[str, nn.Linear]:
    """The same as :func:`find_block_linears`, where at least one is expected.

    Raises:
        ValueError: a model without any.
    """
    found = find_block_linears(model)
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no linear layer in a list of blocks, or all of them were compressed already: "
            "prune or factorise before quantising, and factorise once"
        )
    return found


def stored_bytes(model: nn.Module) -> int:
    """Bytes of all parameters and buffers that a file would hold, each tensor once."""
    seen: dict[int, int] = {}
    for tensor in model.state_dict(keep_vars=True).values():
        seen[id(tensor)] = tensor.numel() * tensor.element_size()
    return sum(seen.values())
