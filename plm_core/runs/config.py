"""The configuration of a pretraining run, as YAML files in ``configs/`` hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from plm_core.config import Config
from plm_core.data.documents import DEFAULT_RULE, DocumentRule
from plm_core.data.masking import MaskingConfig
from plm_core.distributed import Strategy
from plm_core.files import parse_yaml, read_yaml
from plm_core.models.bert import BertConfig
from plm_core.models.gpt import GptConfig
from plm_core.runs.stories import StoryConfig, is_story_corpus, named_world
from plm_core.training.config import TrainConfig

ObjectiveName = Literal["causal_lm", "masked_lm", "masked_lm+next_sentence", "masked_lm+sentence_order"]
TOKENIZER_KINDS = ("characters", "words", "bpe", "wordpiece")


@dataclass(frozen=True)
class RunConfig(Config):
    """A pretraining run."""

    corpus: str
    """A name that `plm data list` shows, or a path: a text file, a folder of text files, or a token file."""
    output: Path
    """The folder for checkpoints, tokenizer and logs."""
    objective: ObjectiveName = "causal_lm"
    """What to predict. The masked ones train a Bert, the causal one a Gpt."""
    tokenizer: str = "bpe"
    """What a token is: characters, words, bpe or wordpiece, trained on the corpus, or the path of a ready tokenizer (a
    tokenizer.json, a run). StoryWorld's tokens are always its words, a token file's those that it was made with."""
    vocab_size: int = 8000
    """Upper limit of the vocabulary, special tokens included."""
    documents: DocumentRule = DEFAULT_RULE
    """What a document is: the whole corpus (stream), what stands between blank lines, a line, or a file. It holds for
    training, validation and `plm evaluate --text`; a token file has its documents already."""
    max_documents: int | None = None
    """How many documents to use; for StoryWorld, which has no end, how many stories to generate (2000 if null)."""
    stories: StoryConfig = field(default_factory=StoryConfig)
    """The dials of a StoryWorld: length, people, things and more."""
    validation_stories: StoryConfig = field(default_factory=StoryConfig)
    """What is different in the stories for validation: names or combinations that training held out, longer stories."""
    validation: Path | None = None
    """Text or a token file to validate on; if null, the corpus's own validation part, or else a tenth of it."""
    validation_batches: int | None = None
    """How many batches each validation uses at most; if null, all. Where some are left out, the report states it."""
    context: int = 128
    """Tokens of a training row."""
    batch_size: int = 32
    """Rows of a batch."""
    init_from: Path | None = None
    """A run or Hugging Face folder whose weights and tokenizer the run starts from; ``model`` may then be left out."""
    seed: int = 0
    """Seed of weights, order and corruption."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the forward pass."""
    strategy: Strategy = "ddp"
    """How processes of torchrun share the model: each holds all of it (ddp) or a part of every parameter (fsdp)."""
    model: dict[str, Any] = field(default_factory=dict)
    """Fields of BertConfig or GptConfig other than vocab_size."""
    label_smoothing: float = 0.0
    """Share of a target's probability that training spreads over the vocabulary; evaluation does not."""
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    """How tokens are chosen and corrupted; for masked objectives."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Steps, learning rate, evaluation and checkpoints."""

    def validate(self) -> None:
        """Check sizes, and the model's shape by building its configuration."""
        self.require_positive("vocab_size", "context", "batch_size")
        self.require_not_negative("seed")
        self.require_at_most(vocab_size=2**20, context=2**20, batch_size=2**20)
        self.require_at_most(max_documents=10**9, validation_batches=10**9)
        self.require_probability("label_smoothing")
        for name in ("max_documents", "validation_batches"):
            if getattr(self, name) is not None:
                self.require_positive(name)
        if not self.tokenizer.strip():
            raise ValueError(f"RunConfig.tokenizer is empty: use one of {', '.join(TOKENIZER_KINDS)}, or a path")
        if "vocab_size" in self.model:
            raise ValueError("RunConfig.model: vocab_size follows from the tokenizer; set the run's vocab_size instead")
        self.model_config(vocab_size=1)
        self._check_stories()

    def _check_stories(self) -> None:
        if not self.stories.settings() and not self.validation_stories.settings():
            return
        if not is_story_corpus(self.corpus):
            raise ValueError(
                f"RunConfig.stories and RunConfig.validation_stories are dials of a StoryWorld, but the corpus is "
                f"{self.corpus!r}: leave them out, or use a corpus such as storyworld-small-en"
            )
        if self.validation is not None and self.validation_stories.settings():
            raise ValueError(
                "RunConfig.validation and RunConfig.validation_stories exclude each other: set one of them"
            )
        for dials in (self.stories, self.stories.updated(self.validation_stories)):
            try:
                named_world(self.corpus, dials)
            except ValueError as error:
                raise ValueError(f"RunConfig.stories: {error}") from error

    @property
    def is_masked(self) -> bool:
        """Whether the run trains a Bert."""
        return self.objective != "causal_lm"

    def model_config(self, vocab_size: int) -> BertConfig | GptConfig:
        """The model's shape for a vocabulary; the table of positions has ``context`` rows unless ``model`` sets it.

        Raises:
            ValueError: a field that the model does not have, or a context longer than its table.
        """
        values = {"vocab_size": vocab_size, "max_position_embeddings": self.context, **self.model}
        config = BertConfig.from_dict(values) if self.is_masked else GptConfig.from_dict(values)
        longest = config.max_position_embeddings
        if longest is not None and longest < self.context:
            raise ValueError(
                f"RunConfig.context is {self.context}, but the model has {longest} positions: "
                "shorten the context or raise model.max_position_embeddings"
            )
        return config


def read_run_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration file and replace single values.

    Args:
        path: a YAML file.
        overrides: ``key=value``, the key with dots for what is inside (``train.steps=100``), the value as in YAML.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not YAML, a key that does not exist (the nearest one is named), a value that does not fit.
    """
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold keys and values, such as `corpus: storyworld-small-en`")
    for override in overrides:
        apply_override(values, override)
    try:
        return RunConfig.from_dict(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def apply_override(values: dict[str, Any], override: str) -> None:
    """Replace one value in nested mappings.

    Raises:
        ValueError: not of the form key=value, or a key below something that holds no keys.
    """
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ValueError(f"expected key=value, for example train.steps=100; got {override!r}")
    *parents, last = key.removeprefix("--").split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ValueError(f"{override!r}: {parent!r} holds a value, not keys")
    try:
        values[last] = parse_yaml(text)
    except ValueError as error:
        raise ValueError(f"{override!r}: the value cannot be read: {error}") from error
