"""Open a run: its configuration, tokenizer and best weights, and the text that it is measured on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from plm_core.compression.saved import STRUCTURE_FILE, load_compressed
from plm_core.data.texts import read_blocks
from plm_core.data.tokenizers import Tokenizer
from plm_core.evaluation.perplexity import TextLoss, text_loss
from plm_core.evaluation.validation import validate
from plm_core.models.bert import Bert
from plm_core.models.gpt import Gpt
from plm_core.runs.batches import Sources, make_sources
from plm_core.runs.config import RunConfig
from plm_core.runs.corpus import Texts, load_texts
from plm_core.runs.entropy_floor import known_entropy
from plm_core.runs.folder import CONFIG_FILE, check_run_files
from plm_core.storyworld_v1.entropy import Estimate
from plm_core.training.checkpoints.directory import BEST, WEIGHTS, newest_checkpoint
from plm_core.weights import load_weights

Model = Bert | Gpt


@dataclass(frozen=True)
class Run:
    """A trained model with what it takes to use, measure and compress it."""

    folder: Path
    """Where it was opened from."""
    config: RunConfig
    """How it was trained."""
    tokenizer: Tokenizer
    model: Model
    """In evaluation mode, on the CPU."""

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open the output folder of ``plm train``, finished or interrupted, or of ``plm compress``.

        The best weights are loaded; those of the newest checkpoint, if the run was never evaluated.

        Raises:
            FileNotFoundError: the folder is not the output of a run, a part of it is missing, or it holds no checkpoint
                yet.
            ValueError: a part of it was changed or damaged since it was written, or the weights are not finite.
        """
        files = check_run_files(folder)
        config = RunConfig.load(folder / CONFIG_FILE)
        tokenizer = Tokenizer.load(folder)
        model = build_model(config, tokenizer)
        if STRUCTURE_FILE in files:
            load_compressed(model, folder)
        else:
            load_weights(model, trained_weights(folder))
        require_finite(model, folder)
        return cls(folder, config, tokenizer, model.eval())

    @cached_property
    def texts(self) -> Texts:
        """The documents of its corpus, for training and for validation."""
        return load_texts(self.config)

    @contextmanager
    def sources(self) -> Iterator[Sources]:
        """The objective, the training batches and the validation batches of the run."""
        with tempfile.TemporaryDirectory() as scratch:
            yield make_sources(self.config, self.texts, self.tokenizer, Path(scratch))

    def validation(self) -> dict[str, float]:
        """Losses and metrics on the validation text: see :func:`~plm_core.evaluation.validation.validate`."""
        with self.sources() as sources:
            return validate(self.model, sources.objective, sources.valid)

    @property
    def entropy(self) -> Estimate | None:
        """The lowest loss that any model could have on the validation text, in nats per token, where it is known."""
        return known_entropy(self.config, self.texts)

    def text_loss(self, path: Path) -> TextLoss:
        """The loss of a causal model on a text file, framed as one document, every character accounted for.

        Raises:
            ValueError: a masked model, or a file that is empty, binary or not UTF-8.
        """
        if not isinstance(self.model, Gpt):
            raise ValueError("a masked model gives a text no probability: `plm evaluate` with a file needs causal_lm")
        text = "".join(read_blocks(path))
        ids = torch.tensor([self.tokenizer.bos_id, *self.tokenizer.encode(text), self.tokenizer.eos_id])
        return text_loss(self.model, ids, context=self.config.context, characters=len(text) + 1)


def build_model(config: RunConfig, tokenizer: Tokenizer) -> Model:
    """A fresh model for a run's tokenizer, with initial weights drawn from the run's seed."""
    torch.manual_seed(config.seed)
    shape = config.model_config(tokenizer.vocab_size)
    return Bert(shape) if config.is_masked else Gpt(shape)  # type: ignore[arg-type]


def trained_weights(folder: Path) -> Path:
    """The file with the best weights of a run.

    Raises:
        FileNotFoundError: there is no complete checkpoint yet.
        ValueError: the newest checkpoint of its kind is damaged. Other weights are not taken in its place silently.
    """
    for found, damaged in (newest_checkpoint(folder, BEST), newest_checkpoint(folder)):
        if damaged:
            raise ValueError(
                f"{damaged[0].removeprefix('passed over: ')}. Restore it, or move it away to use the run's next "
                "newest checkpoint"
            )
        if found is not None:
            return found / WEIGHTS
    raise FileNotFoundError(f"{folder} holds no complete checkpoint yet: run `plm train` to its first save")


def require_finite(model: nn.Module, folder: Path) -> None:
    """Refuse a model with weights that are infinite or no numbers.

    Raises:
        ValueError: names the first of them.
    """
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"{folder}: the weights are not finite ({name} holds nan or inf): the model is of no use")
