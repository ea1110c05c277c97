"""Modules of a model exchanged for others, by name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from plm_core.weights import redeclare_ties


def replace_modules(model: nn.Module, replacements: Mapping[str, nn.Module]) -> None:
    """Replace modules by others, by name, and declare again which weights are tied."""
    for name, module in replacements.items():
        parent, _, attribute = name.rpartition(".")
        owner = model.get_submodule(parent)
        module.train(owner.training)
        setattr(owner, attribute, module)
    redeclare_ties(model)
