"""Prompt and prefix tuning: trained vectors before the text, in a model that is frozen.

**Prompt tuning** (Lester et al. 2021) puts P trained vectors before the first block, as if P more words preceded the
text. **Prefix tuning** (Li and Liang 2021) trains keys and values of P words in every layer, to which all tokens
attend; the blocks compute nothing for them. Both begin as the states of real words, as both papers advise, so that a
model begins as the pretrained one after these words. Prefixes are trained directly here, without the network
through which the paper computes them in training.

The tokens of the text keep their own positions, and heads see the states of the text alone.

Shapes are written into names: B batch, T tokens, P vectors of the prompt, D model width, L layers, H heads, K head
width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.config import Config
from plm_core.models.bert import BertEncoder
from plm_core.models.inputs import Embeddings
from plm_core.models.kv_cache import Cache, KVCache
from plm_core.models.replacement import replace_modules
from plm_core.models.trained_part import (
    freeze_all_but,
    load_trained_part,
    modules_to_train,
    read_config,
    save_trained_part,
)
from plm_core.models.transformer import Stack, Trace
from plm_core.models.varlen import PackedSequences

KIND = "prompt"


@dataclass(frozen=True)
class PromptConfig(Config):
    """Kind and length of a prompt."""

    kind: Literal["prompt", "prefix"] = "prompt"
    """Vectors before the first block (``"prompt"``), or keys and values in every layer (``"prefix"``)."""
    length: int = 10
    """Number P of vectors."""
    modules_to_save: tuple[str, ...] | None = None
    """Modules that are trained whole and stored with the prompt; None for the classifier, if the model has one."""

    def validate(self) -> None:
        """Refuse an empty prompt."""
        self.require_positive("length")
        self.require_at_most(length=2**12)


class PromptedStack(nn.Module):
    """A stack of blocks that reads trained vectors before the text.

    Args:
        base: the stack.
        prompt_PD: the initial vectors.
    """

    def __init__(self, base: Stack, prompt_PD: Tensor) -> None:
        super().__init__()
        self.base, self.prompt = base, nn.Parameter(prompt_PD)

    def forward(
        self,
        x_BTD: Tensor,
        *,
        mask: Tensor | None = None,
        sequences: PackedSequences | None = None,
        query_positions: Tensor | None = None,
        is_causal: bool = False,
        cache: Cache | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """The last state of the text, (B, T, D).

        Args:
            x_BTD, mask, query_positions, is_causal: as for :class:`~plm_core.models.transformer.Stack`.
            sequences: not used: with the prompt they are others.
            cache: must be None.
            trace: filled with the states of the text; attention weights include the prompt's.

        Raises:
            ValueError: a cache.
        """
        refuse_cache(cache)
        P, batch = len(self.prompt), len(x_BTD)
        x_BTD = torch.cat([self.prompt.to(x_BTD.dtype).expand(batch, -1, -1), x_BTD], dim=1)  # (B, P + T, D)
        if mask is not None and mask.shape[-2] > 1:  # in packed rows: the prompt attends to itself alone
            own = F.pad(mask.new_ones(*mask.shape[:-2], P, P), (0, mask.shape[-1]))
            mask = torch.cat([own, F.pad(mask, (P, 0), value=True)], dim=-2)
        elif mask is not None:
            mask = F.pad(mask, (P, 0), value=True)
        if query_positions is not None:
            query_positions = F.pad(query_positions, (P, 0), value=False)
        before = 0 if trace is None else len(trace.hidden_states)
        x_BTD = self.base(x_BTD, mask=mask, query_positions=query_positions, is_causal=is_causal, trace=trace)
        if trace is not None:
            trace.hidden_states[before:] = [state_BTD[:, P:] for state_BTD in trace.hidden_states[before:]]
        return x_BTD[:, P:]


class PrefixedStack(nn.Module):
    """A stack of blocks whose tokens also attend to trained keys and values, others in every layer.

    Args:
        base: the stack.
        keys_LHPK, values_LHPK: the initial keys, rotated if the position scheme rotates, and the initial values.
    """

    def __init__(self, base: Stack, keys_LHPK: Tensor, values_LHPK: Tensor) -> None:
        super().__init__()
        self.base = base
        self.keys, self.values = nn.Parameter(keys_LHPK), nn.Parameter(values_LHPK)

    def forward(
        self,
        x_BTD: Tensor,
        *,
        mask: Tensor | None = None,
        sequences: PackedSequences | None = None,
        query_positions: Tensor | None = None,
        is_causal: bool = False,
        cache: Cache | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """The last state of the text, (B, T, D); arguments and errors as for :meth:`PromptedStack.forward`."""
        refuse_cache(cache)
        if mask is not None:
            mask = F.pad(mask, (self.keys.shape[2], 0), value=True)
        prefix = Cache(0)
        for k_HPK, v_HPK in zip(self.keys, self.values, strict=True):
            prefix.self_attention.append(Prefix(k_HPK, v_HPK))
            prefix.cross_attention.append(KVCache())
        return self.base(x_BTD, mask=mask, is_causal=is_causal, cache=prefix, trace=trace)


class Prefix(KVCache):
    """A cache that always holds the keys and values of a prefix, and keeps nothing that is appended.

    Args:
        k_HPK, v_HPK: keys and values of one layer.
    """

    def __init__(self, k_HPK: Tensor, v_HPK: Tensor) -> None:
        super().__init__()
        self.length, self.prefix = k_HPK.shape[1], (k_HPK, v_HPK)

    def append(self, k_BHTK: Tensor, v_BHTK: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the prefix and of the tokens after it, (B, H, P + T, K) each."""
        k, v = (
            torch.cat([prefix.to(new.dtype).expand(len(new), -1, -1, -1), new], dim=2)
            for prefix, new in zip(self.prefix, (k_BHTK, v_BHTK), strict=True)
        )
        return k, v


def refuse_cache(cache: Cache | None) -> None:
    """Raise ValueError for a key-value cache, which would hold the prompt as if it were text."""
    if cache is not None:
        raise ValueError("a model with a prompt or a prefix takes no key-value cache: compute the whole text each time")


def add_prompt(model: nn.Module, config: PromptConfig, *, initial_ids: Sequence[int] | None = None) -> None:
    """Put a prompt or a prefix before a model's texts, and freeze all the rest but ``modules_to_save``, in place.

    Call it before the optimiser is made.

    Args:
        model: a Bert, a Gpt, or a head on the trunk of one.
        config: kind and length.
        initial_ids: the words, (P,) token ids, whose states the prompt begins as; None for random ones, drawn from
            torch's global generator.

    Raises:
        ValueError: a model without exactly one stack of blocks and its embeddings, such as one that has a prompt
            already; a prompt longer than the model; initial ids of another number; an unknown module to save. The
            model is then as it was.
    """
    stacks = {name: module for name, module in model.named_modules() if isinstance(module, Stack)}
    tables = [module for module in model.modules() if isinstance(module, Embeddings)]
    if len(stacks) != 1 or len(tables) != 1 or prompts(model):
        have = "a prompt already" if prompts(model) else f"{len(stacks)} stacks of blocks, {len(tables)} embeddings"
        raise ValueError(f"a prompt needs a model with one stack of blocks and no prompt yet; this one has {have}")
    (name, stack), table = *stacks.items(), tables[0]
    words = table.word_embeddings
    if initial_ids is None:
        initial_ids = torch.randint(words.num_embeddings, (config.length,)).tolist()
    if len(initial_ids) != config.length:
        raise ValueError(f"a prompt of {config.length} vectors cannot begin as {len(initial_ids)} words")
    kept = modules_to_train(model, config.modules_to_save)
    made = _words_as_prompt(model, stack, table, initial_ids, config.kind)
    freeze_all_but(model, kept)
    replace_modules(model, {name: made})


@torch.no_grad()
def _words_as_prompt(
    model: nn.Module, stack: Stack, table: Embeddings, ids: Sequence[int], kind: Literal["prompt", "prefix"]
) -> PromptedStack | PrefixedStack:
    """The stack behind a prompt or a prefix that has the states of words."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        x_1PD = table(torch.tensor([list(ids)], device=table.word_embeddings.weight.device))
        if kind == "prompt":
            return PromptedStack(stack, x_1PD[0].clone())
        cache = Cache(len(stack.layers))
        stack(x_1PD, is_causal=not any(isinstance(module, BertEncoder) for module in model.modules()), cache=cache)
    finally:
        for module, mode in modes.items():
            module.training = mode
    keys_LHPK, values_LHPK = (
        torch.stack([getattr(layer, part)[0] for layer in cache.self_attention]) for part in ("keys", "values")
    )
    return PrefixedStack(stack, keys_LHPK, values_LHPK)


def prompts(model: nn.Module) -> dict[str, PromptedStack | PrefixedStack]:
    """The stacks with a prompt or a prefix, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, PromptedStack | PrefixedStack)}


def remove_prompt(model: nn.Module) -> None:
    """Take prompt and prefix away again, in place; ``modules_to_save`` keep what they have learned."""
    for name, module in prompts(model).items():
        replace_modules(model, {name: module.base})


def save_prompt(model: nn.Module, path: str | Path, config: PromptConfig) -> None:
    """Write the prompt, and what was trained with it, to a safetensors file; nothing else.

    Raises:
        ValueError: a model without a prompt, or with one of another kind or length than the configuration's.
    """
    found = list(prompts(model).values())
    if not found:
        raise ValueError("the model has no prompt: add one first (add_prompt)")
    is_prompt = isinstance(found[0], PromptedStack)
    length = len(found[0].prompt) if isinstance(found[0], PromptedStack) else found[0].keys.shape[2]
    if (is_prompt, length) != (config.kind == "prompt", config.length):
        raise ValueError(f"the model's prompt is not that of {config}")
    save_trained_part(model, path, kind=KIND, config=config.to_dict())


def load_prompt(model: nn.Module, path: str | Path) -> PromptConfig:
    """Put a stored prompt before the texts of the model that it was trained for, in place.

    Args:
        model: without a prompt, and with the weights that the prompt was trained for.
        path: a file of :func:`save_prompt`.

    Returns:
        The configuration of the prompt.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as :func:`add_prompt`; a damaged file, or other weights. The model's weights are then as they were.
    """
    config = PromptConfig.from_dict(read_config(path, KIND))
    add_prompt(model, config)
    try:
        load_trained_part(model, path)
    except ValueError:
        remove_prompt(model)
        raise
    return config
