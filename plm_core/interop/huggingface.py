"""Hugging Face folders in and out: BERT and GPT-2 weights, their configurations, and a tokenizer beside them.

The library `transformers` is not needed here; what is written loads in it offline, with ``AutoModel.from_pretrained``
and ``AutoTokenizer.from_pretrained``.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from plm_core.data.tokenizers import Tokenizer
from plm_core.interop.translation import (
    State,
    config_from_hugging_face,
    config_to_hugging_face,
    from_hugging_face,
    to_hugging_face,
)
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.gpt import Gpt
from plm_core.weights import stripped_state_dict, tie_weights

_HEADS = ("pooler.", "mlm_head.", "nsp_head.")
_SPECIAL_TOKENS = {
    "unk_token": ("[UNK]", "<unk>"),
    "pad_token": ("[PAD]", "<pad>"),
    "cls_token": ("[CLS]", "<cls>"),
    "sep_token": ("[SEP]", "<sep>"),
    "mask_token": ("[MASK]", "<mask>"),
    "bos_token": ("[BOS]", "<s>", "<bos>", "<|endoftext|>"),
    "eos_token": ("[EOS]", "</s>", "<eos>", "<|endoftext|>"),
}


def load_pretrained(folder: str | Path) -> Bert | Gpt:
    """Build a model from a folder in Hugging Face's layout: ``config.json`` and the weights.

    Args:
        folder: a folder of a BERT or GPT-2 model, with ``model.safetensors`` (one file or shards with an index) or
            ``pytorch_model.bin``.

    Returns:
        The model in evaluation mode, its ties tied. Heads that the folder does not hold stay at their initial values,
        with a warning that names them.

    Raises:
        FileNotFoundError: no folder, no configuration or no weights.
        ValueError: another kind of model, a variant that these classes do not compute, or weights that do not fit.
    """
    folder = Path(folder)
    config = config_from_hugging_face(_read_json(folder / "config.json"))
    model: Bert | Gpt = Bert(config) if isinstance(config, BertConfig) else Gpt(config)
    load_hugging_face(model, _read_weights(folder))
    return model.eval()


def save_pretrained(
    model: Bert | Gpt,
    folder: str | Path,
    *,
    tokenizer: Tokenizer | tokenizers.Tokenizer | str | Path | None = None,
    special_tokens: Mapping[str, str] | None = None,
) -> None:
    """Write a folder in Hugging Face's layout, weights stripped of their ties.

    Args:
        model: a :class:`Bert` or :class:`Gpt` whose shape Hugging Face's classes can express: learned positions,
            LayerNorm where the original has it, biases, an activation without gate.
        folder: created if it does not exist.
        tokenizer: one of ours, one of the ``tokenizers`` library, or the path of a JSON file of the latter.
        special_tokens: role -> token, for example ``{"mask_token": "[MASK]"}``. Default: the usual spellings that the
            vocabulary holds.

    Raises:
        FileNotFoundError: the tokenizer's file does not exist.
        ValueError: a shape that cannot be expressed, a tokenizer with more ids than the model, or a special token that
            the tokenizer does not know.
    """
    hf_config = config_to_hugging_face(model.config)
    state = to_hugging_face(stripped_state_dict(model), model.config)
    loaded = _load_tokenizer(tokenizer) if tokenizer is not None else None
    roles: dict[str, str] = {}
    if loaded is not None:
        size = max(loaded.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        if size > model.config.vocab_size:
            raise ValueError(
                f"the tokenizer has ids up to {size - 1}, the model's vocabulary has {model.config.vocab_size}: "
                "they do not belong together"
            )
        roles = _special_tokens(loaded, special_tokens)
        for role in ("pad", "bos", "eos"):
            if f"{role}_token" in roles:
                hf_config[f"{role}_token_id"] = loaded.token_to_id(roles[f"{role}_token"])
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config.json", hf_config)
    save_file(
        {k: v.detach().cpu().contiguous() for k, v in state.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    if loaded is not None:
        loaded.save(str(folder / "tokenizer.json"))
        settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", **roles}
        settings["clean_up_tokenization_spaces"] = False
        settings["split_special_tokens"] = isinstance(tokenizer, Tokenizer)  # ours read "[MASK]" in a text as text
        if model.config.max_position_embeddings is not None:
            settings["model_max_length"] = model.config.max_position_embeddings
        _write_json(folder / "tokenizer_config.json", settings)


def load_hugging_face(model: Bert | Gpt, state: Mapping[str, Tensor]) -> None:
    """Copy a state with Hugging Face's names into a model; heads that it lacks keep their values, with a warning.

    Raises:
        ValueError: a trunk parameter that is missing, or a tensor of another shape.
    """
    tie_weights(model)
    own = stripped_state_dict(model)
    given = from_hugging_face(state, model.config)
    missing = sorted(own.keys() - given.keys())
    needed = [name for name in missing if not name.startswith(_HEADS)]
    if needed:
        raise ValueError(f"the weights lack {len(needed)} parameters of the trunk, for example {needed[0]}")
    wrong = [name for name in own if name in given and own[name].shape != given[name].shape]
    if wrong:
        name = sorted(wrong)[0]
        raise ValueError(
            f"{len(wrong)} tensors have another shape than the configuration says, for example {name}: "
            f"{tuple(given[name].shape)} instead of {tuple(own[name].shape)}"
        )
    if missing:
        warnings.warn(f"not in the file, left at their initial values: {', '.join(missing)}", stacklevel=2)
    with torch.no_grad():
        for name in own.keys() & given.keys():
            own[name].copy_(given[name])


def _special_tokens(tokenizer: tokenizers.Tokenizer, given: Mapping[str, str] | None) -> dict[str, str]:
    if given is None:
        usual = {
            role: next((token for token in spellings if tokenizer.token_to_id(token) is not None), None)
            for role, spellings in _SPECIAL_TOKENS.items()
        }
        return {role: token for role, token in usual.items() if token is not None}
    for role, token in given.items():
        if role not in _SPECIAL_TOKENS:
            raise ValueError(f"unknown role {role!r} of a special token: use {', '.join(_SPECIAL_TOKENS)}")
        if tokenizer.token_to_id(token) is None:
            raise ValueError(f"{role} {token!r} is not in the tokenizer's vocabulary")
    return dict(given)


def _load_tokenizer(tokenizer: Tokenizer | tokenizers.Tokenizer | str | Path) -> tokenizers.Tokenizer:
    if isinstance(tokenizer, Tokenizer):
        return tokenizer.backend
    if isinstance(tokenizer, tokenizers.Tokenizer):
        return tokenizer
    if not Path(tokenizer).is_file():
        raise FileNotFoundError(f"no tokenizer file {tokenizer}")
    return tokenizers.Tokenizer.from_file(str(tokenizer))


def _read_weights(folder: Path) -> State:
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        return load_file(folder / "model.safetensors")
    if index.is_file():
        shards = sorted(set(_read_json(index)["weight_map"].values()))
        return {name: tensor for shard in shards for name, tensor in load_file(folder / shard).items()}
    if (folder / "pytorch_model.bin").is_file():
        return torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    raise FileNotFoundError(f"{folder} holds neither model.safetensors nor pytorch_model.bin")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: is this a folder saved by save_pretrained?")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} should hold a JSON object, found {type(values).__name__}")
    return values


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
