"""Open a run: its configuration, tokenizer and best weights, and its validation text."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from plm_core.compression.saved import STRUCTURE_FILE, load_compressed
from plm_core.data.tokenizers import Tokenizer
from plm_core.evaluation.perplexity import TextLoss
from plm_core.evaluation.validation import validate
from plm_core.interop import is_hugging_face_folder
from plm_core.models.bert import Bert
from plm_core.models.gpt import Gpt
from plm_core.runs.batches import Sources, make_sources, text_sources
from plm_core.runs.config import RunConfig
from plm_core.runs.corpus import Texts, load_texts
from plm_core.runs.entropy_floor import known_entropy
from plm_core.runs.folder import CONFIG_FILE, FINE_TUNED_FILE, check_run_files, is_run
from plm_core.runs.hugging_face import NO_CORPUS, opened_folder
from plm_core.runs.text_report import TokenCounts
from plm_core.storyworld.entropy import Estimate
from plm_core.training.checkpoints.directory import BEST, WEIGHTS, newest_checkpoint
from plm_core.weights import load_weights

Model = Bert | Gpt


@dataclass(frozen=True)
class Run:
    """A trained model with its configuration and tokenizer, to be used, evaluated and compressed."""

    folder: Path
    """The folder that it was opened from."""
    config: RunConfig
    """The configuration that it was trained with."""
    tokenizer: Tokenizer
    model: Model
    """The model, in evaluation mode, on the CPU."""

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open the output folder of ``plm train``, finished or interrupted, of ``plm compress`` or ``plm import``, or a
        folder in Hugging Face's layout.

        The best weights are loaded; those of the newest checkpoint, if the run was never evaluated.

        Raises:
            FileNotFoundError: the folder is not the output of a run, a part of it is missing, or it holds no checkpoint
                yet.
            ValueError: a part of it was changed or damaged since it was written, or the weights are not finite.
        """
        if folder.suffix == ".onnx" and folder.is_file():
            raise ValueError(
                f"{folder} is an ONNX file, which holds no tokenizer: name the folder of the run that it was exported "
                f"from. `plm benchmark RUN {folder}` measures it; in Python, plm_core.compression.onnx_model.OnnxModel "
                "opens it"
            )
        if is_hugging_face_folder(folder) and not is_run(folder):
            return cls(folder, *opened_folder(folder))
        files = check_run_files(folder)
        if CONFIG_FILE not in files:
            kind, command = ("a translation run", "plm translate")
            if FINE_TUNED_FILE in files:
                kind, command = ("a fine-tuned model", "plm predict")
            raise ValueError(f"{folder} holds {kind}: use `{command}` ({', '.join(sorted(files))} in it)")
        config = RunConfig.load(folder / CONFIG_FILE)
        tokenizer = Tokenizer.load(folder)
        model = build_model(config, tokenizer)
        if STRUCTURE_FILE in files:
            load_compressed(model, folder)
        else:
            load_weights(model, trained_weights(folder))
        return cls(folder, config, tokenizer, model.eval())

    @cached_property
    def texts(self) -> Texts:
        """The documents of its corpus, for training and for validation."""
        if self.config.corpus == NO_CORPUS:
            raise ValueError(
                f"{self.folder} comes from a Hugging Face folder, which names no corpus: give a text (--text)"
            )
        return load_texts(self.config)

    @contextmanager
    def sources(self) -> Iterator[Sources]:
        """The objective, the training batches and the validation batches of the run."""
        with tempfile.TemporaryDirectory() as scratch:
            yield make_sources(self.config, self.texts, self.tokenizer, Path(scratch))

    def validation(self) -> dict[str, float]:
        """Losses and metrics on the validation text: see :func:`~plm_core.evaluation.validation.validate`."""
        return self.validation_metrics()[0]

    def validation_metrics(self) -> tuple[dict[str, float], TokenCounts]:
        """Losses and metrics on the validation text, and the size of that text."""
        self._require_heads()
        with self.sources() as sources:
            return validate(self.model, sources.objective, sources.valid), sources.valid_tokens

    def _require_heads(self) -> None:
        if isinstance(self.model, Bert):
            self.model.require_trained("mlm_head")

    @property
    def entropy(self) -> Estimate | None:
        """The lowest loss that any model could have on the validation text, in nats per token, where it is known."""
        return known_entropy(self.config, self.texts, self.tokenizer)

    def text_metrics(self, path: Path) -> tuple[dict[str, float], TokenCounts]:
        """Losses and metrics on a text, divided into documents as the run's own was, and the size of the text.

        The same text has the same loss here as in the validation of a run.

        Args:
            path: a text file, a folder of text files, or a token file of the run's tokenizer.

        Raises:
            FileNotFoundError, ValueError: no such text, or none that fits.
        """
        self._require_heads()
        with tempfile.TemporaryDirectory() as scratch:
            sources = text_sources(self.config, path, self.tokenizer, Path(scratch))
            return validate(self.model, sources.objective, sources.valid), sources.valid_tokens

    def text_loss(self, path: Path) -> TextLoss:
        """The loss of a causal model on a text.

        The number of characters is left out where the tokenizer does not know some of them: the loss does not account
        for those.

        Raises:
            ValueError: a masked model, or a text that cannot be read.
        """
        if not isinstance(self.model, Gpt):
            raise ValueError("a masked model gives a text no probability: bits per character need causal_lm")
        metrics, counts = self.text_metrics(path)
        characters = None if counts.unknown else counts.characters
        return TextLoss(metrics["causal_lm/loss"] * counts.tokens, counts.tokens, characters)


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
