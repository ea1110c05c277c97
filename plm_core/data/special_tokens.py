"""Special tokens by their role: which token of a vocabulary pads, masks, separates, begins and ends.

Tokenizers agree on the roles and on nothing else: BERT's separator is ``[SEP]`` with id 102, GPT-2 begins and ends a
document with one token, ``<|endoftext|>`` with id 50256, and has no mask. The roles are named as in the
``tokenizer_config.json`` of Hugging Face folders, which is where they are read from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tokenizers

from plm_core.files import read_json_object

ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token", "bos_token", "eos_token")
"""The seven roles, in the order of our own special tokens."""

USUAL_SPELLINGS = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<cls>"),
    "sep_token": ("[SEP]", "<sep>"),
    "mask_token": ("[MASK]", "<mask>"),
    "bos_token": ("[BOS]", "<s>", "<bos>", "<|endoftext|>"),
    "eos_token": ("[EOS]", "</s>", "<eos>", "<|endoftext|>"),
}
"""How published vocabularies spell the tokens of each role."""

NO_LIMIT = 10**9
"""Hugging Face writes 10^30 as ``model_max_length`` where there is no limit; whatever is longer than this is none."""


@dataclass(frozen=True)
class TokenizerSettings:
    """What stands beside a ``tokenizer.json`` and decides how it is used."""

    special_tokens: Mapping[str, str] = field(default_factory=dict)
    """Role -> token, for the roles that the tokenizer has."""
    max_length: int | None = None
    """Longest sequence of the model that the tokenizer belongs to, in tokens; None for no limit."""
    split_special_tokens: bool = False
    """Whether the spelling of a special token inside a text is text (True) or the token itself (False)."""


def parse_tokenizer(content: str, name: object) -> tokenizers.Tokenizer:
    """The tokenizer in the text of a ``tokenizer.json``; ``name`` is what messages call it.

    Raises:
        ValueError: the text is no such file.
    """
    try:
        return tokenizers.Tokenizer.from_str(content)
    except BaseException as error:  # the library raises bare Exception, and panics, which are none
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise ValueError(f"{name} is not a tokenizer.json of the tokenizers library: {error}") from error


def usual_special_tokens(backend: tokenizers.Tokenizer) -> dict[str, str]:
    """Role -> token for the usual spellings that a vocabulary holds."""
    found = {}
    for role, spellings in USUAL_SPELLINGS.items():
        token = next((each for each in spellings if backend.token_to_id(each) is not None), None)
        if token is not None:
            found[role] = token
    return found


def read_settings(folder: Path, backend: tokenizers.Tokenizer) -> TokenizerSettings:
    """The settings of a tokenizer from ``tokenizer_config.json`` and ``special_tokens_map.json``.

    Args:
        folder: a folder in Hugging Face's layout. A role that neither file names follows from the usual spellings.
        backend: the tokenizer of the folder; a role whose token is not in its vocabulary is left out.

    Raises:
        ValueError: a damaged file, or a value of the wrong type.
    """
    config_file, map_file = folder / "tokenizer_config.json", folder / "special_tokens_map.json"
    config = read_json_object(config_file) if config_file.is_file() else {}
    tokens = read_json_object(map_file) if map_file.is_file() else {}
    roles, usual = {}, usual_special_tokens(backend)
    for role in ROLES:
        where, values = (config_file, config) if role in config else (map_file, tokens)
        token = _content(values[role], f"{where}: {role}") if role in values else usual.get(role)
        if token is not None and backend.token_to_id(token) is not None:
            roles[role] = token
    length = config.get("model_max_length")
    if length is not None and (isinstance(length, bool) or not isinstance(length, int | float) or not length >= 1):
        raise ValueError(f"{config_file}: model_max_length should be a positive number, got {length!r}")
    split = config.get("split_special_tokens", False)
    if not isinstance(split, bool):
        raise ValueError(f"{config_file}: split_special_tokens should be true or false, got {split!r}")
    return TokenizerSettings(roles, None if length is None or length > NO_LIMIT else int(length), split)


def _content(value: Any, where: str) -> str | None:
    """The token of a role: a string, or an object that holds it as ``content``."""
    if isinstance(value, Mapping):
        value = value.get("content")
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{where} should be a token, got {value!r}")
    return value
