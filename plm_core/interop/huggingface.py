"""Models in and out of Hugging Face's layout: ``config.json``, weights and a tokenizer in one folder.

The library `transformers` is not needed here; what is written loads in it offline, with ``AutoModel.from_pretrained``
and ``AutoTokenizer.from_pretrained``. :mod:`plm_core.interop.families` says which models fit where.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
import torch
from safetensors.torch import save_file
from torch import Tensor

from plm_core.data.tokenizers import Tokenizer
from plm_core.files import read_json_object
from plm_core.interop.canonical import Model, canonical
from plm_core.interop.configurations import config_from_hugging_face, config_to_hugging_face
from plm_core.interop.families import AnyConfig, family_of
from plm_core.interop.tokenizer_files import as_tokenizer, load_tokenizer, write_tokenizer
from plm_core.interop.translation import constants, from_hugging_face, to_hugging_face
from plm_core.interop.weight_files import read_weights
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.classifier import BertClassifier, ClassifierConfig
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.weights import stripped_state_dict, tie_weights

HEADS = ("pooler.", "mlm_head.", "nsp_head.")
"""Parts of a model that a file may lack; they then keep their initial weights."""


def is_hugging_face_folder(folder: str | Path) -> bool:
    """Whether a folder is in Hugging Face's layout: it holds a ``config.json``."""
    return (Path(folder) / "config.json").is_file()


def open_folder(folder: str | Path) -> tuple[Model, Tokenizer]:
    """A model in evaluation mode and its tokenizer, from a folder in Hugging Face's layout.

    Args:
        folder: as for :func:`load_pretrained`, with ``tokenizer.json``, or with the files that BERT and GPT-2 used
            before (``vocab.txt``; ``vocab.json`` and ``merges.txt``).

    Raises:
        FileNotFoundError: a part of the folder is missing.
        ValueError: a part is damaged, cannot be computed here, or the tokenizer has ids that the model has not.
    """
    model = load_pretrained(folder)
    tokenizer = load_tokenizer(Path(folder))
    check_vocabulary(tokenizer, model.config)
    return model, tokenizer


def load_pretrained(folder: str | Path) -> Model:
    """Build a model from a folder in Hugging Face's layout.

    Args:
        folder: a folder of a BERT, ESM, GPT-2, GPT-NeoX or Llama model, with ``config.json`` and weights (see
            :func:`~plm_core.interop.weight_files.read_weights`).

    Returns:
        The model in evaluation mode, its ties tied. Heads that the folder does not hold stay at their initial values,
        with a warning that names them; ``untrained_heads`` of the model names them too.

    Raises:
        FileNotFoundError: no folder, no configuration or no weights.
        ValueError: another kind of model, a variant that these classes do not compute, weights that do not fit, or
            damaged files.
    """
    folder = Path(folder)
    if not is_hugging_face_folder(folder):
        raise FileNotFoundError(f"{folder} is no folder in Hugging Face's layout: it has no config.json")
    try:
        config = config_from_hugging_face(read_json_object(folder / "config.json"))
        state = read_weights(folder)
        with torch.device("meta"):  # weights that do not fit are refused before memory is allocated
            check_fit(new_model(config), state)
        model = new_model(config)
        missing = load_hugging_face(model, state)
    except ValueError as error:
        raise ValueError(str(error) if str(folder) in str(error) else f"{folder}: {error}") from error
    if isinstance(model, Bert):
        model.untrained_heads = missing
    return model.eval()


def new_model(config: AnyConfig) -> Model:
    """A fresh model of a shape, with random weights."""
    if isinstance(config, GptConfig):
        return Gpt(config)
    return BertClassifier(config) if isinstance(config, ClassifierConfig) else Bert(config)


def save_pretrained(
    model: Model,
    folder: str | Path,
    *,
    tokenizer: Tokenizer | tokenizers.Tokenizer | str | Path | None = None,
    special_tokens: Mapping[str, str] | None = None,
    trained_here: bool = False,
) -> list[str]:
    """Write a folder in Hugging Face's layout, weights stripped of their ties.

    Args:
        model: a Bert, BertClassifier or Gpt whose shape one of Hugging Face's families computes. Untrained heads
            (``untrained_heads``) are left out.
        folder: created if it does not exist.
        tokenizer: one of ours, one of the ``tokenizers`` library, or the path of a JSON file of the latter.
        special_tokens: role -> token, for example ``{"mask_token": "[MASK]"}``, for a tokenizer that is not ours.
            Default: the usual spellings that the vocabulary holds.
        trained_here: whether the model was trained by this library, so that a text begins with the tokenizer's begin
            token, whatever the frame that somebody else's tokenizer came with.

    Returns:
        Sentences for the user about what the folder cannot hold; usually none.

    Raises:
        FileNotFoundError: the tokenizer's file does not exist.
        ValueError: a shape that cannot be expressed, a tokenizer with more ids than the model, or a special token that
            is not in the vocabulary.
    """
    stored = canonical(model)
    values = config_to_hugging_face(stored.config)
    state = {**to_hugging_face(stored.state, stored.config), **constants(stored.config)}
    if isinstance(model, Bert) and "mlm_head" in model.untrained_heads:
        values["architectures"] = [family_of(stored.config).headless]
    given = None if tokenizer is None else as_tokenizer(tokenizer, special_tokens)
    if given is not None:
        check_vocabulary(given, model.config)
        for role in ("pad", "bos", "eos", *(["mask"] if values["model_type"] == "esm" else [])):
            if f"{role}_token" in given.settings.special_tokens:
                values[f"{role}_token_id"] = given.token_id(f"{role}_token")
    if values["model_type"] == "esm" and values["pad_token_id"] is None:
        values["pad_token_id"] = 0  # the class needs one; masks hide padding
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", values)
    tensors = {name: tensor.contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    if given is not None:
        is_causal, has_types = isinstance(model, Gpt), values["model_type"] == "bert"
        longest = model.config.max_position_embeddings
        write_tokenizer(
            given,
            folder,
            is_causal=is_causal,
            has_types=has_types,
            max_length=longest,
            trained_here=trained_here,
        )
        if isinstance(model, Gpt):
            write_json(folder / "generation_config.json", generation_config(given, model.config.vocab_size))
    return list(stored.notes)


def generation_config(tokenizer: Tokenizer, vocab_size: int) -> dict[str, Any]:
    """How `transformers` generates from a model: the end token ends a text; other special tokens, and ids that the
    tokenizer has no token for, are not generated."""
    values: dict[str, Any] = {
        f"{role}_token_id": tokenizer.token_id(f"{role}_token")
        for role in ("bos", "eos", "pad")
        if f"{role}_token" in tokenizer.settings.special_tokens
    }
    beyond = range(tokenizer.vocab_size, vocab_size)
    suppressed = [*sorted(tokenizer.special_ids - {values.get("eos_token_id")}), *beyond]
    return {**values, "suppress_tokens": suppressed} if suppressed else values


def load_hugging_face(model: Model, state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Copy a state with Hugging Face's names into a model; heads that it lacks keep their values, with a warning.

    Returns:
        The heads that the state lacks, such as ``"mlm_head"``.

    Raises:
        ValueError: a trunk parameter that is missing, a tensor of another shape, or one that has no place in the model.
    """
    tie_weights(model)
    given = check_fit(model, state)
    own = stripped_state_dict(model)
    missing = sorted(own.keys() - given.keys())
    if missing:
        warnings.warn(f"not in the file, left at their initial values: {', '.join(missing)}", stacklevel=2)
    with torch.no_grad():
        for name in own.keys() & given.keys():
            own[name].copy_(given[name])
    return tuple(sorted({name.partition(".")[0] for name in missing}))


def check_fit(model: Model, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state with Hugging Face's names, translated, if a model has a place for every tensor of it.

    Raises:
        ValueError: as :func:`load_hugging_face`.
    """
    own = stripped_state_dict(model)
    given = from_hugging_face(state, model.config, list(own))
    needed = [name for name in sorted(own.keys() - given.keys()) if not is_head(name, model.config)]
    if needed:
        raise ValueError(f"the weights lack {len(needed)} parameters of the trunk, for example {needed[0]}")
    wrong = [name for name in own if name in given and own[name].shape != given[name].shape]
    if wrong:
        name = sorted(wrong)[0]
        raise ValueError(
            f"{len(wrong)} tensors have another shape than in the configuration, for example {name}: "
            f"{tuple(given[name].shape)} instead of {tuple(own[name].shape)}"
        )
    return given


def is_head(name: str, config: AnyConfig) -> bool:
    """Whether a file may lack a parameter: those of the pretraining heads, but not the pooler of a classifier."""
    return name.startswith(HEADS) and isinstance(config, BertConfig) and not isinstance(config, ClassifierConfig)


def check_vocabulary(tokenizer: Tokenizer, config: AnyConfig) -> None:
    """Refuse a tokenizer with ids that a model has no embedding for.

    Raises:
        ValueError: names both sizes.
    """
    if tokenizer.vocab_size > config.vocab_size:
        raise ValueError(
            f"the tokenizer has ids up to {tokenizer.vocab_size - 1}, the model's vocabulary has {config.vocab_size}: "
            "they do not belong together"
        )


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write an object as a JSON file."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
