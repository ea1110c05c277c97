"""The configuration of a fine-tuning run, as YAML files hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from plm_core.config import Config
from plm_core.data.conll import Scheme
from plm_core.files import read_yaml
from plm_core.models.adapters import AdapterConfig
from plm_core.models.heads import Pooling
from plm_core.models.lora import LoraConfig
from plm_core.models.prompt_tuning import PromptConfig
from plm_core.runs.config import apply_override
from plm_core.training.config import TrainConfig

Task = Literal["texts", "tags", "answers", "relations"]
Method = Literal["full", "head", "biases", "lora", "adapters", "prompt"]
Metric = Literal["accuracy", "f1", "loss"]

RATES: dict[Method, float] = {
    "full": 2e-4,
    "head": 1e-3,
    "biases": 3e-3,
    "lora": 3e-3,
    "adapters": 3e-3,
    "prompt": 5e-3,
}
"""Where a search for the learning rate of each method may begin. Those of ``full``, ``lora`` and ``biases`` lie below
the best of sweeps with all-MiniLM-L6-v2 on few questions, where training is short; the others are not swept. Larger
networks need lower ones: 2e-5 to 5e-5 for all weights of BERT (Devlin et al. 2019, appendix A.3)."""


@dataclass(frozen=True)
class FineTuneConfig(Config):
    """A fine-tuning run."""

    task: Task
    """Classify whole texts, or pairs of texts (``texts``), or the words of sentences (``tags``), or find the answers to
    questions in texts (``answers``), or how two words relate, ``<e1>Ann</e1> lives in <e2>Rome</e2>`` (``relations``).
    """
    init_from: str
    """The pretrained model: a run, a Hugging Face folder, or a name that plm_core.interop.pretrained knows."""
    train_file: Path
    """The labelled examples: .csv, .tsv or .jsonl with named columns for texts, word and tag columns for tags, .json or
    .jsonl as SQuAD has it for answers."""
    output: Path
    """The folder for the model, the report and its figures."""
    validation_file: Path | None = None
    """Examples by which the best weights are chosen; if null, a tenth of the training examples is set aside."""
    test_file: Path | None = None
    """Examples for the report, used once, at the end; if null, the report is on the validation examples."""
    text_column: str | None = None
    """The column of the texts; if null, it is found by its name (text, sentence, question, ...)."""
    pair_column: str | None = None
    """The column of second texts, for pairs; if null, there are none."""
    label_column: str | None = None
    """The column of the classes; if null, it is found by its name (label, class, ...)."""
    delimiter: str | None = None
    """What separates the fields of a .csv file, if it is no comma."""
    tag_scheme: Scheme | None = "bio"
    """How tags mark names; null for tags that stand alone, such as parts of speech."""
    repair_tags: bool = False
    """Whether an I- that continues no name is read as the B- of a new one."""
    no_answers: bool = True
    """Whether a question may be left without an answer."""
    stride: int = 48
    """Tokens by which the windows of a long text overlap, for answers."""
    longest_answer: int = 30
    """Tokens of the longest answer that is given."""
    method: Method = "full"
    """Which weights are trained: all, the new head alone, biases, or small parts beside frozen weights."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Rank, scale and layers, for the method lora."""
    adapters: AdapterConfig = field(default_factory=AdapterConfig)
    """Width and places, for the method adapters."""
    prompt: PromptConfig = field(default_factory=PromptConfig)
    """Kind and length, for the method prompt."""
    pooling: Pooling | Literal["pooler"] | None = None
    """What stands for a whole text; if null, the pooler of a Bert that has one, else the mean, and a Gpt's last token.
    """
    max_length: int = 128
    """Tokens of the longest example; what is longer is cut, and the report says how many were."""
    batch_size: int = 16
    """Examples of a batch."""
    epochs: int = 3
    """How often each training example is seen, unless ``min_steps`` asks for more."""
    min_steps: int = 0
    """Optimiser steps at least: few examples are seen more often, because a few dozen steps teach a network little. The
    number of evaluations stays what ``epochs`` makes it."""
    learning_rate: float | None = None
    """Peak of the learning rate; if null, a usual one for the method."""
    warmup_fraction: float = 0.1
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = 0.01
    """Decay of the trained matrices."""
    layer_decay: float = 1.0
    """Factor of the learning rate of each layer, relative to the layer above it; 1 is off."""
    evaluations_per_epoch: int = 1
    """How often in an epoch the model is evaluated on the validation examples."""
    metric: Metric = "f1"
    """By which the best weights are chosen: F1 over classes, names or the words of answers (f1), accuracy, or loss.
    """
    seed: int = 0
    """Seed of the head's weights, the order, dropout and the validation examples."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the forward pass."""

    def validate(self) -> None:
        """Check sizes, and settings that belong to the other task."""
        self.require_positive("max_length", "batch_size", "epochs", "evaluations_per_epoch", "stride", "longest_answer")
        self.require_not_negative("seed", "weight_decay", "min_steps")
        self.require_probability("warmup_fraction")
        self.require_at_most(max_length=2**20, batch_size=2**20, epochs=10**6, evaluations_per_epoch=10**6)
        self.require_at_most(min_steps=10**9)
        if self.learning_rate is not None:
            self.require_positive("learning_rate")
        if self.task != "texts":
            columns = () if self.task == "relations" else ("text_column", "label_column")
            for name in (*columns, "pair_column", "pooling"):
                if getattr(self, name) is not None:
                    raise ValueError(f"FineTuneConfig.{name} belongs to the task texts, this is {self.task}")

    @property
    def rate(self) -> float:
        """The peak of the learning rate."""
        return RATES[self.method] if self.learning_rate is None else self.learning_rate

    def train_config(self, examples: int) -> TrainConfig:
        """The settings of the trainer.

        Args:
            examples: number of training examples.
        """
        steps_per_epoch = -(-examples // self.batch_size)
        steps = max(self.epochs, -(-self.min_steps // steps_per_epoch)) * steps_per_epoch
        every = max(1, steps // (self.epochs * self.evaluations_per_epoch))
        return TrainConfig(
            steps=steps,
            learning_rate=self.rate,
            warmup_steps=min(steps - 1, round(self.warmup_fraction * steps)),
            schedule="linear",
            final_fraction=0.0,
            weight_decay=self.weight_decay,
            layer_decay=self.layer_decay,
            beta2=0.999,
            eval_every=every,
            save_every=every,
            keep_last=1,
            log_every=min(20, every),
        )


def read_fine_tune_config(path: Path, overrides: Sequence[str] = ()) -> FineTuneConfig:
    """Read a configuration file and replace single values.

    Args:
        path: a YAML file.
        overrides: ``key=value``, as for :func:`plm_core.runs.config.read_run_config`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not YAML, a key that does not exist (the nearest one is named), a value that does not fit.
    """
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold keys and values, such as `train_file: reviews.csv`")
    for override in overrides:
        apply_override(values, override)
    try:
        return FineTuneConfig.from_dict(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
