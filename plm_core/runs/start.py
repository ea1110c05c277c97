"""Start a run from weights that were trained before (``init_from``) in place of random ones."""

from __future__ import annotations

from plm_core.compression.saved import describe
from plm_core.data.tokenizers import Tokenizer
from plm_core.runs.config import TOKENIZER_KINDS, RunConfig
from plm_core.runs.corpus import ready_tokenizer
from plm_core.runs.open import Model, Run, build_model
from plm_core.weights import load_stripped, stripped_state_dict


def with_initial_shape(config: RunConfig) -> RunConfig:
    """The configuration of a new run; a model that it leaves out gets the shape of the one that it starts from.

    Raises:
        FileNotFoundError, ValueError: ``init_from`` cannot be opened, or holds a model of another kind.
    """
    if config.init_from is None or config.model:
        return config
    shape = Run.open(config.init_from).model.config.to_dict()
    del shape["vocab_size"]
    try:
        return config.replace(model=shape)
    except ValueError as error:
        raise ValueError(f"init_from={config.init_from}: {error}") from error


def start_tokenizer(config: RunConfig, source: Run) -> Tokenizer:
    """The tokenizer of a run that starts from another's weights: that one's, or a ready one with the same vocabulary.

    Raises:
        FileNotFoundError: the tokenizer that the configuration names is not there.
        ValueError: its ids mean something else than those that the weights were trained on.
    """
    if config.tokenizer in TOKENIZER_KINDS:
        return source.tokenizer
    ready = ready_tokenizer(config.tokenizer)
    if ready.backend.get_vocab() != source.tokenizer.backend.get_vocab():
        raise ValueError(
            f"the tokenizer {config.tokenizer} has another vocabulary than the weights of {config.init_from}: its ids "
            "would mean something else to them. Leave `tokenizer` out to use theirs"
        )
    return ready


def start_model(config: RunConfig, tokenizer: Tokenizer, source: Run) -> Model:
    """A model of the run's configuration with the weights of another run.

    Raises:
        ValueError: a model of another kind, shape or vocabulary, or a compressed one.
    """
    model = build_model(config, tokenizer)
    where = f"init_from={config.init_from}"
    if type(model) is not type(source.model):
        raise ValueError(
            f"{where} holds a {type(source.model).__name__}, but the objective {config.objective} trains a "
            f"{type(model).__name__}: choose an objective that fits, or other weights"
        )
    if describe(source.model):
        raise ValueError(
            f"{where} is a compressed model, whose layers a fresh model does not have: start from the run that it was "
            "made from, or let `plm compress` train it further (steps=...)"
        )
    if model.config.vocab_size != source.model.config.vocab_size:
        raise ValueError(
            f"{where} has a vocabulary of {source.model.config.vocab_size} tokens, the run's tokenizer has "
            f"{model.config.vocab_size}: use the tokenizer of these weights"
        )
    try:
        load_stripped(model, stripped_state_dict(source.model))
    except ValueError as error:
        raise ValueError(f"{where}: {error}. Leave `model` out to take over its shape") from error
    return model
