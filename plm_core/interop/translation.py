"""Names and layouts of Hugging Face's weights, translated into ours and back.

A :class:`Link` says how one tensor of theirs corresponds to one or several of ours. Both directions go through the same
list of links, so that what is written can be read again.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from plm_core.interop.configurations import ROPE_BASE
from plm_core.interop.families import AnyConfig, family_of
from plm_core.interop.names import BLOCKS, HEADS, IN_BLOCK, MLM_BIAS, MLM_WEIGHT, OUTPUT, PREFIXES, TRUNK
from plm_core.interop.weight_files import State
from plm_core.models.classifier import ClassifierConfig

_BUFFERS = re.compile(r"(position_ids|attn\.(bias|masked_bias)|attention\.(bias|masked_bias)|inv_freq)$")
"""Constants that older files store among the weights."""


@dataclass(frozen=True)
class Link:
    """How one tensor of Hugging Face's model corresponds to tensors of ours."""

    ours: tuple[str, ...]
    theirs: str
    write: Callable[[Sequence[Tensor]], Tensor]
    read: Callable[[Tensor], Sequence[Tensor]]


def links(config: AnyConfig, names: Sequence[str]) -> list[Link]:
    """The correspondence for a shape.

    Args:
        config: a shape that a family computes.
        names: the names of our model's parameters.

    Raises:
        ValueError: a shape that no family computes.
    """
    kind, heads = family_of(config).model_type, config.num_attention_heads
    in_layer = IN_BLOCK[kind]
    trunk, top = TRUNK[kind], HEADS.get(kind, {})
    if kind == "esm" and isinstance(config, ClassifierConfig):
        trunk, top = (
            {k: v for k, v in trunk.items() if k != "pooler.dense"},
            {**top, "pooler.dense": "classifier.dense"},
        )
    their_blocks, our_blocks = BLOCKS[kind]
    found = []
    for name in names:
        owner, _, part = name.rpartition(".")
        block = re.fullmatch(rf"{re.escape(our_blocks)}\.layers\.(\d+)\.(.+)", owner)
        if block is None:
            theirs = PREFIXES[kind] + trunk[owner] if owner in trunk else top.get(owner)
            if theirs is not None:
                found.append(_same(name, f"{theirs}.{part}"))
            elif name == "lm_head.weight":
                found.append(_same(name, OUTPUT[kind]))
            elif name == "mlm_head.decoder.bias":
                found.append(_same(name, MLM_BIAS[kind]))
            elif name == "mlm_head.decoder.weight":
                found.append(_same(name, MLM_WEIGHT[kind]))
            continue
        number, inner = block[1], block[2]
        place = f"{PREFIXES[kind]}{their_blocks}.{number}."
        if "attention" in in_layer and inner in ("attention.key", "attention.value"):
            continue  # joined with the query
        if "attention" in in_layer and inner == "attention.query":
            ours = tuple(f"{our_blocks}.layers.{number}.attention.{each}.{part}" for each in ("query", "key", "value"))
            theirs = f"{place}{in_layer['attention']}.{part}"
            if kind == "gpt2":
                found.append(Link(ours, theirs, _joined, _parted))
            else:
                write, read = partial(_joined_by_head, heads=heads), partial(_parted_by_head, heads=heads)
                found.append(Link(ours, theirs, write, read))
            continue
        theirs = f"{place}{in_layer[inner]}.{part}"
        if kind == "gpt2" and part == "weight" and not inner.endswith("norm"):
            found.append(Link((name,), theirs, lambda ours: ours[0].T, lambda theirs: [theirs.T]))
        elif kind in ("esm", "llama") and inner in ("attention.query", "attention.key"):
            found.append(
                Link((name,), theirs, partial(_one_to_halves, heads=heads), partial(_one_to_pairs, heads=heads))
            )
        else:
            found.append(_same(name, theirs))
    return found


def to_hugging_face(state: Mapping[str, Tensor], config: AnyConfig) -> State:
    """Rename and rearrange a stripped state of ours; gradients can be translated as well."""
    made = {
        link.theirs: link.write([state[name] for name in link.ours])
        for link in links(config, list(state))
        if all(name in state for name in link.ours)
    }
    kind = family_of(config).model_type
    if kind == "bert" and not config.tie_word_embeddings and MLM_BIAS[kind] in made:
        made["cls.predictions.decoder.bias"] = made[MLM_BIAS[kind]].clone()  # without ties a parameter of its own
    return made


def constants(config: AnyConfig) -> State:
    """What Hugging Face's class holds besides, and computes nothing of ours: written so that nothing is missed."""
    if family_of(config).model_type != "esm":
        return {}
    exponents = torch.arange(0, config.head_size, 2, dtype=torch.float32) / config.head_size
    return {
        "esm.rotary_embeddings.inv_freq": 1.0 / ROPE_BASE**exponents,
        "esm.contact_head.regression.weight": torch.zeros(1, config.num_hidden_layers * config.num_attention_heads),
        "esm.contact_head.regression.bias": torch.zeros(1),
    }


def from_hugging_face(state: Mapping[str, Tensor], config: AnyConfig, names: Sequence[str]) -> State:
    """The inverse of :func:`to_hugging_face`.

    Args:
        state: their tensors, by today's names or by those of older versions, with or without the trunk's prefix.
        config: the shape.
        names: the names of our model's parameters.

    Returns:
        Our tensors, as far as the file holds them.

    Raises:
        ValueError: a tensor of the trunk that our model has no place for: more layers than the configuration says, or a
            mechanism that we do not compute; an output layer of its own where the configuration says that it is tied; a
            joined tensor of a wrong shape.
    """
    kind = family_of(config).model_type
    state = _with_todays_names(state, kind)
    known = links(config, names)
    read: State = {}
    for link in known:
        if link.theirs not in state:
            continue
        try:
            read.update(zip(link.ours, link.read(state[link.theirs]), strict=True))
        except (RuntimeError, ValueError) as error:
            shape = tuple(state[link.theirs].shape)
            raise ValueError(f"{link.theirs} has shape {shape}, which does not fit the configuration") from error
    if kind == "bert" and not config.tie_word_embeddings and "cls.predictions.decoder.bias" in state:
        read["mlm_head.decoder.bias"] = state["cls.predictions.decoder.bias"]
    _check_left_over(state, {link.theirs for link in known}, config, kind)
    return read


def _check_left_over(state: Mapping[str, Tensor], known: set[str], config: AnyConfig, kind: str) -> None:
    """Refuse what would change the trunk's output, and name in a warning the heads that have no place here."""
    ties = {OUTPUT.get(kind, MLM_WEIGHT.get(kind)), "cls.predictions.decoder.bias"}
    module = next(theirs for ours, theirs in TRUNK[kind].items() if ours.endswith("word_embeddings"))
    words = state.get(f"{PREFIXES[kind]}{module}.weight")
    left = []
    for name in sorted(state.keys() - known):
        if _BUFFERS.search(name):
            continue
        if name in ties:
            tied = name.endswith("weight") and config.tie_word_embeddings and words is not None
            if tied and (words is None or state[name].shape != words.shape or not torch.equal(state[name], words)):
                raise ValueError(
                    f"the file holds {name}, an output layer of its own, but the configuration says that it is the "
                    "table of word embeddings (tie_word_embeddings)"
                )
            continue
        if not name.startswith(PREFIXES[kind]):
            left.append(name)
            continue
        number = re.match(rf"{re.escape(PREFIXES[kind] + BLOCKS[kind][0])}\.(\d+)\.", name)
        if number and int(number[1]) >= config.num_hidden_layers:
            raise ValueError(
                f"the file holds {name}, but the configuration says that there are {config.num_hidden_layers} layers"
            )
        if name.startswith((f"{PREFIXES[kind]}pooler.", f"{PREFIXES[kind]}contact_head.")):
            continue
        raise ValueError(f"the file holds {name}, a part of the model that cannot be computed here")
    if left:
        warnings.warn(f"heads that have no place here were left out: {', '.join(left)}", stacklevel=4)


def _with_todays_names(state: Mapping[str, Tensor], kind: str) -> State:
    """Old files call the parameters of norms gamma and beta; models without a head leave the trunk's prefix out."""
    renamed = {re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name)): state[name] for name in state}
    if any(name.startswith(PREFIXES[kind]) for name in renamed):
        return renamed
    outside = ("lm_head.", "embed_out.", "cls.", "classifier.")
    return {name if name.startswith(outside) else PREFIXES[kind] + name: tensor for name, tensor in renamed.items()}


def _same(ours: str, theirs: str) -> Link:
    return Link((ours,), theirs, lambda tensors: tensors[0], lambda tensor: [tensor])


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Query, key and value one after the other; GPT-2 stores weights as (inputs, outputs)."""
    joined = torch.cat(list(parts))
    return joined.T if joined.dim() == 2 else joined


def _parted(joined: Tensor) -> Sequence[Tensor]:
    return [part.T if part.dim() == 2 else part for part in joined.chunk(3, dim=-1)]


def _joined_by_head(parts: Sequence[Tensor], *, heads: int) -> Tensor:
    """GPT-NeoX: query, key and value of the first head, then of the second, with rotary pairs in halves."""
    query, key, value = _to_halves(parts[0], heads=heads), _to_halves(parts[1], heads=heads), parts[2]
    by_head = [part.unflatten(0, (heads, -1)) for part in (query, key, value)]
    return torch.stack(by_head, dim=1).flatten(0, 2)


def _parted_by_head(joined: Tensor, *, heads: int) -> Sequence[Tensor]:
    query, key, value = (part.flatten(0, 1) for part in joined.unflatten(0, (heads, 3, -1)).unbind(1))
    return [_to_pairs(query, heads=heads), _to_pairs(key, heads=heads), value]


def _one_to_halves(rows: Sequence[Tensor], *, heads: int) -> Tensor:
    return _to_halves(rows[0], heads=heads)


def _one_to_pairs(rows: Tensor, *, heads: int) -> Sequence[Tensor]:
    return [_to_pairs(rows, heads=heads)]


def _to_halves(rows: Tensor, *, heads: int) -> Tensor:
    """Our rotary positions turn neighbouring columns of a head, theirs column i with column i + K/2."""
    return rows.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def _to_pairs(rows: Tensor, *, heads: int) -> Tensor:
    """The inverse of :func:`_to_halves`."""
    return rows.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)
