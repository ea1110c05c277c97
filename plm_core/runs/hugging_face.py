"""Open a folder in Hugging Face's layout as a run is opened, so that every command takes it."""

from __future__ import annotations

import warnings
from pathlib import Path

from plm_core.data.tokenizers import Tokenizer
from plm_core.interop import open_folder
from plm_core.models.bert import Bert
from plm_core.models.classifier import BertClassifier
from plm_core.models.gpt import Gpt
from plm_core.runs.config import RunConfig

NO_CORPUS = "none: imported from a Hugging Face folder"
"""Stands for the corpus in the configuration of a model that was trained elsewhere."""

LONGEST_CONTEXT = 512
"""A model that takes longer sequences is evaluated on rows of this length, unless a run sets another."""


def opened_folder(folder: Path) -> tuple[RunConfig, Tokenizer, Bert | Gpt]:
    """A configuration that describes the model of a Hugging Face folder, its tokenizer, and the model.

    Raises:
        FileNotFoundError: a part of the folder is missing.
        ValueError: a classifier, a damaged folder, or a model that cannot be computed here.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="not in the file, left at their initial values")
        model, tokenizer = open_folder(folder)
    if isinstance(model, BertClassifier):
        raise ValueError(
            f"{folder} holds a classifier: this command takes language models. In Python, "
            "plm_core.interop.open_folder opens it"
        )
    shape = model.config.to_dict()
    del shape["vocab_size"]
    config = RunConfig(
        corpus=NO_CORPUS,
        output=folder,
        objective="causal_lm" if isinstance(model, Gpt) else "masked_lm",
        tokenizer=str(folder),
        vocab_size=model.config.vocab_size,
        context=min(model.config.max_position_embeddings or LONGEST_CONTEXT, LONGEST_CONTEXT),
        model=shape,
    )
    return config, tokenizer, model
