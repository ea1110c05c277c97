"""Structured pruning: attention heads and feed-forward neurons are removed, so that the tensors become smaller.

The importance of a head or neuron is the change of the loss, to first order, if its output were zero:
``|output · dL/d(output)|``, summed over tokens (Michel et al. 2019, equation 2; Molchanov et al. 2017).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from plm_core.data.batch import Batch
from plm_core.evaluation.modes import evaluation_mode
from plm_core.models.blocks import FeedForward
from plm_core.models.config import acts_in_attention
from plm_core.models.multi_head import MultiHeadAttention
from plm_core.models.positions import Rope
from plm_core.models.replacement import replace_modules
from plm_core.objectives.base import Objective


def attentions(model: nn.Module) -> dict[str, MultiHeadAttention]:
    """The attention layers of a model by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, MultiHeadAttention)}


def feed_forwards(model: nn.Module) -> dict[str, FeedForward]:
    """The feed-forward networks of a model by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, FeedForward)}


def importance(
    model: nn.Module, objective: Objective, batches: Iterable[Batch]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """How much the loss depends on every head and on every neuron.

    Args:
        model: run in evaluation mode; every module is left in the mode it was in; its gradients are cleared.
        objective: the loss.
        batches: sample text.

    Returns:
        By attention layer a score for each head (H,), and by feed-forward network one for each neuron (F,): the mean
        over tokens of ``|output · gradient|``.

    Raises:
        ValueError: no batch.
    """
    heads = {name: torch.zeros(layer.num_heads) for name, layer in attentions(model).items()}
    neurons = {name: torch.zeros(layer.up.out_features) for name, layer in feed_forwards(model).items()}
    seen: dict[str, Tensor] = {}
    tokens = 0
    with evaluation_mode(model), ExitStack() as hooks:
        for name in [f"{n}.output" for n in heads] + [f"{n}.down" for n in neurons]:

            def keep(module: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
                inputs[0].retain_grad()
                seen[name] = inputs[0]

            hooks.callback(model.get_submodule(name).register_forward_pre_hook(keep).remove)
        for batch in batches:
            objective(model, batch).total.backward()
            with torch.no_grad():
                for name, score in heads.items():
                    output = seen[f"{name}.output"]
                    assert output.grad is not None
                    product = (output * output.grad).flatten(0, -2).unflatten(-1, (score.numel(), -1))
                    score += product.sum(-1).abs().sum(0).cpu()
                for name, score in neurons.items():
                    output = seen[f"{name}.down"]
                    assert output.grad is not None
                    score += (output * output.grad).flatten(0, -2).abs().sum(0).cpu()
            tokens += batch["input_ids"].numel()
            model.zero_grad()
    if tokens == 0:
        raise ValueError("no batch to measure the importance on")
    return {n: s / tokens for n, s in heads.items()}, {n: s / tokens for n, s in neurons.items()}


def least_important(scores: Mapping[str, Tensor], share: float, *, keep_one: bool = True) -> dict[str, list[int]]:
    """The units to remove: the lowest scores of the whole model, but never the last one of a layer.

    Args:
        scores: by layer, a score for each head or neuron.
        share: of all units, in [0, 1).
        keep_one: leave at least one unit in every layer.

    Raises:
        ValueError: a share outside [0, 1), or more units than may go.
    """
    if not 0 <= share < 1:
        raise ValueError(f"the share of units to remove must lie in [0, 1), got {share}")
    spare = {name: int(score.argmax()) if keep_one else -1 for name, score in scores.items()}
    candidates = [
        (float(value), name, unit)
        for name, score in scores.items()
        for unit, value in enumerate(score)
        if unit != spare[name]
    ]
    wanted = round(share * sum(score.numel() for score in scores.values()))
    if wanted > len(candidates):
        raise ValueError(f"{wanted} of the units cannot go: every layer keeps one, so at most {len(candidates)} can")
    chosen: dict[str, list[int]] = {name: [] for name in scores}
    for _, name, unit in sorted(candidates)[:wanted]:
        chosen[name].append(unit)
    return {name: sorted(units) for name, units in chosen.items() if units}


def remove_heads(model: nn.Module, heads: Mapping[str, Sequence[int]]) -> None:
    """Take heads out of attention layers, in place: rows of query, key and value, columns of the output.

    Args:
        model: its position scheme must treat all heads alike (learned, sinusoidal, none, RoPE): ALiBi, T5, Shaw and
            Transformer-XL hold something for each head.
        heads: by attention layer the numbers of the heads to remove.

    Raises:
        ValueError: an unknown layer or head, all heads of a layer, or a position scheme with something for each head.
    """
    layers = attentions(model)
    for name, removed in heads.items():
        layer = expect(layers, name, removed, layers[name].num_heads if name in layers else 0, "head")
        if layer.position is not None and acts_in_attention(layer.position) and not isinstance(layer.position, Rope):
            raise ValueError(
                f"{name}: {type(layer.position).__name__} holds something for each head: none can be removed"
            )
        width = layer.query.out_features // layer.num_heads
        kept_heads = [head for head in range(layer.num_heads) if head not in set(removed)]
        kept = torch.tensor([head * width + i for head in kept_heads for i in range(width)])
        replace_modules(
            model,
            {
                f"{name}.query": smaller(layer.query, rows=kept),
                f"{name}.key": smaller(layer.key, rows=kept),
                f"{name}.value": smaller(layer.value, rows=kept),
                f"{name}.output": smaller(layer.output, columns=kept),
            },
        )
        layer.num_heads = len(kept_heads)


def remove_neurons(model: nn.Module, neurons: Mapping[str, Sequence[int]]) -> None:
    """Take neurons out of feed-forward networks, in place: rows of up (and gate), columns of down.

    Raises:
        ValueError: an unknown network or neuron, or all neurons of a network.
    """
    layers = feed_forwards(model)
    for name, removed in neurons.items():
        width = layers[name].up.out_features if name in layers else 0
        layer = expect(layers, name, removed, width, "neuron")
        gone = set(removed)
        kept = torch.tensor([unit for unit in range(width) if unit not in gone])
        made = {f"{name}.up": smaller(layer.up, rows=kept), f"{name}.down": smaller(layer.down, columns=kept)}
        if layer.gate is not None:
            made[f"{name}.gate"] = smaller(layer.gate, rows=kept)
        replace_modules(model, made)


def expect(layers: Mapping[str, Any], name: str, removed: Sequence[int], count: int, unit: str) -> Any:
    """The layer of that name, after checking that these units can be removed from it."""
    if name not in layers:
        raise ValueError(f"no layer is called {name!r}: there are {', '.join(layers)}")
    if wrong := [number for number in removed if not 0 <= number < count]:
        raise ValueError(f"{name} has {count} {unit}s, numbered from 0: there is no {unit} {wrong[0]}")
    if len(set(removed)) >= count:
        raise ValueError(f"{name}: all {count} {unit}s would go; keep at least one")
    return layers[name]


def smaller(layer: nn.Linear, *, rows: Tensor | None = None, columns: Tensor | None = None) -> nn.Linear:
    """A linear layer with some rows (outputs) or columns (inputs) of another; the bias goes with the rows.

    Raises:
        ValueError: a layer that was compressed in another way before.
    """
    if type(layer) is not nn.Linear:
        raise ValueError(
            f"heads and neurons can be removed from plain layers, not from {type(layer).__name__}: prune first"
        )
    weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
    if rows is not None:
        weight, bias = weight[rows], None if bias is None else bias[rows]
    if columns is not None:
        weight = weight[:, columns]
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    made.weight = nn.Parameter(weight.clone(), requires_grad=layer.weight.requires_grad)
    if bias is not None:
        made.bias = nn.Parameter(bias.clone(), requires_grad=layer.bias.requires_grad)
    return made
