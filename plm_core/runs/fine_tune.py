"""Fine-tune a pretrained model on labelled examples, into a folder that :class:`FineTuned` opens."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from plm_core.data.label_names import LabelNames
from plm_core.data.labelled_rows import LabelledBatches
from plm_core.data.tokenizers import Tokenizer
from plm_core.evaluation.validation import validate
from plm_core.files import read_json_object
from plm_core.interop.pretrained_models import PRETRAINED, pretrained
from plm_core.models.adapters import add_adapters, save_adapters
from plm_core.models.bert import Bert
from plm_core.models.classifier import BertClassifier, ClassifierConfig
from plm_core.models.gpt import Gpt
from plm_core.models.heads import (
    BertHeadConfig,
    GptHeadConfig,
    RelationClassifier,
    SequenceClassifier,
    SpanExtractor,
    TokenClassifier,
)
from plm_core.models.lora import add_lora, save_lora
from plm_core.models.prompt_tuning import add_prompt, save_prompt
from plm_core.models.trained_part import HEAD
from plm_core.runs.fine_tune_answers import AnswerTask
from plm_core.runs.fine_tune_config import FineTuneConfig
from plm_core.runs.fine_tune_relations import RelationTask
from plm_core.runs.fine_tune_report import FineTuneReport, lines_before_training, make_report
from plm_core.runs.fine_tune_tasks import Split, TagTask, TextTask, set_aside
from plm_core.runs.folder import FINE_TUNED_FILE, check_new_run, check_run_files, only_user, write_run_files
from plm_core.runs.open import Run, trained_weights
from plm_core.runtime import setup
from plm_core.training.arithmetic import choose_arithmetic
from plm_core.training.checkpoints.directory import BEST
from plm_core.training.freezing import train_biases_only
from plm_core.training.hardware import Hardware
from plm_core.training.logs import RunLog
from plm_core.training.precision import autocast
from plm_core.training.trainer import Trainer
from plm_core.weights import load_weights

CONFIG_FILE = FINE_TUNED_FILE
MODEL_FILE = "model.json"
LABELS_FILE = "labels.json"
PART_FILE = "trained_part.safetensors"
"""The small part of a run with lora, adapters or a prompt, for the pretrained model that it was trained on."""

HEADS: dict[str, Callable[[Any], nn.Module]] = {
    "BertClassifier": BertClassifier,
    "SequenceClassifier": SequenceClassifier,
    "TokenClassifier": TokenClassifier,
    "SpanExtractor": SpanExtractor,
    "RelationClassifier": RelationClassifier,
}
SHAPES: dict[str, Any] = {
    "ClassifierConfig": ClassifierConfig,
    "BertHeadConfig": BertHeadConfig,
    "GptHeadConfig": GptHeadConfig,
}


AnyTask = TextTask | TagTask | AnswerTask


@dataclass(frozen=True)
class FineTuned:
    """A fine-tuned model with its task, to be used."""

    folder: Path
    config: FineTuneConfig
    task: AnyTask
    model: nn.Module
    """The model with its best weights, in evaluation mode, on the CPU."""

    @classmethod
    def open(cls, folder: Path) -> FineTuned:
        """Open the output folder of ``plm fine-tune``.

        Raises:
            FileNotFoundError: the folder is not the output of such a run, or holds no checkpoint yet.
            ValueError: a part of it was changed or damaged since it was written.
        """
        if CONFIG_FILE not in check_run_files(folder):
            raise FileNotFoundError(f"{folder} is not the output folder of `plm fine-tune`: no {CONFIG_FILE} in it")
        config = FineTuneConfig.load(folder / CONFIG_FILE)
        names = LabelNames(tuple(read_json_object(folder / LABELS_FILE, "list of classes")["names"]))
        values = read_json_object(folder / MODEL_FILE, "shape of a model")
        model = HEADS[values["head"]](SHAPES[values["shape"]].from_dict(values["config"]))
        choose_trained(model, config)
        load_weights(model, trained_weights(folder))
        task = make_task(config, Tokenizer.load(folder), names, causal=isinstance(model.config, GptHeadConfig))
        return cls(folder, config, task, model.eval())


class ScoredTrainer(Trainer):
    """A trainer that keeps the weights with the best score on validation examples, not those with the lowest loss.

    Args:
        arguments, named: as for :class:`~plm_core.training.trainer.Trainer`.
        measure: gives the scores of the model by name.
        metric: the score that counts, or ``"loss"``.
    """

    def __init__(
        self, *arguments: Any, measure: Callable[[nn.Module], dict[str, float]], metric: str, **named: Any
    ) -> None:
        super().__init__(*arguments, **named)
        self.measure, self.metric = measure, metric

    def evaluate(self, log: RunLog) -> None:
        """Evaluate, log and keep the best weights."""
        self.confirm()
        with self.running.stopped(), autocast(self.precision, self.device):
            result = validate(self.model, self.objective, self.valid_batches, device=self.device)
            result |= self.measure(self.model)
        log.metrics(self.progress.step, {f"valid/{key}": value for key, value in result.items()})
        if self.progress.is_best(result["loss"] if self.metric == "loss" else -result[self.metric]):
            self.save(BEST)
        log.say(f"step {self.progress.step}: validation {self.metric} {result[self.metric]:.4f}")


def fine_tune(config: FineTuneConfig, *, resume: bool = False, quiet: bool = False) -> FineTuneReport:
    """Fine-tune according to a configuration, into its output folder.

    Whatever can be refused is refused before the first file is written. The test examples are used once, at the end.

    Args:
        config: the run.
        resume: continue from the newest complete checkpoint in the output folder.
        quiet: show neither the examples' properties nor a progress bar.

    Raises:
        FileExistsError: ``resume`` is not set and the output folder holds a run, or it holds files of the user's under
            names that the run needs.
        FileNotFoundError: no such model or file, or nothing to resume from.
        ValueError: examples or a model that do not fit the configuration, a configuration that is not that of the run
            to be resumed, or divergence.
    """
    check_resumed(config) if resume else check_new_run(config.output)
    source, tokenizer = open_source(config.init_from)
    longest = source.config.max_position_embeddings
    if longest is not None and config.max_length > longest:
        raise ValueError(f"max_length {config.max_length} is above the {longest} tokens that {config.init_from} takes")
    task = make_task(config, tokenizer, causal=isinstance(source, Gpt))
    train, valid, test = read_splits(config, task)
    runtime = setup(seed=config.seed)
    arithmetic = choose_arithmetic(config.precision, runtime.device, width=source.config.hidden_size)
    model = task.make_model(source)
    choose_trained(model, config)
    with only_user(config.output):
        if not resume:
            write_run_files(config.output, contents(config, task, model))
        batches = {
            split.name: LabelledBatches(
                split.rows, batch_size=config.batch_size, pad_id=tokenizer.pad_id, seed=config.seed
            )
            for split in (train, valid, test)
        }

        def measure(model: nn.Module) -> dict[str, float]:
            return task.scores(valid, task.predict(model, valid, batches[valid.name].in_order()).labels)

        trainer = ScoredTrainer(
            model.to(runtime.device),
            task.objective,
            batches[train.name],
            config.train_config(len(train.rows)),
            valid_batches=batches[valid.name].in_order(),
            folder=config.output,
            hardware=Hardware(runtime.device, arithmetic.precision),
            quiet=quiet,
            measure=measure,
            metric=config.metric,
        )
        if resume:
            trainer.resume()
        if not quiet:
            print("\n".join(lines_before_training(task, (train, valid, test))), flush=True)
        trainer.fit()
        load_weights(model, trained_weights(config.output))
        save_part(model, config)
        predicted = task.predict(model, test, batches[test.name].in_order())
        return make_report(config, task, model, trainer, (train, valid, test), predicted)


def check_resumed(config: FineTuneConfig) -> None:
    """Refuse to resume a run with other settings than it began with.

    Raises:
        FileNotFoundError: there is no such run.
        ValueError: a setting differs, which is named.
    """
    if CONFIG_FILE not in check_run_files(config.output):
        raise FileNotFoundError(f"{config.output} is not the output folder of `plm fine-tune`: no {CONFIG_FILE} in it")
    stored, given = FineTuneConfig.load(config.output / CONFIG_FILE).to_dict(), config.to_dict()
    for name, value in stored.items():
        if given[name] != value:
            raise ValueError(
                f"the run in {config.output} began with {name}={value!r}, not {given[name]!r}: resume it as it began, "
                "or start another one (output=...)"
            )


def make_task(
    config: FineTuneConfig, tokenizer: Tokenizer, names: LabelNames | None = None, *, causal: bool = False
) -> AnyTask:
    """The task of a configuration.

    Args:
        config: the run.
        tokenizer: the pretrained model's.
        names: the classes; None to take those of the training file.
        causal: whether the pretrained model is causal.
    """
    if config.task == "answers":
        return AnswerTask(config, tokenizer)
    if config.task == "relations":
        return RelationTask(config, tokenizer, names, causal=causal)
    return (TextTask if config.task == "texts" else TagTask)(config, tokenizer, names)


def open_source(name: str) -> tuple[Bert | Gpt, Tokenizer]:
    """The pretrained model of a configuration, and its tokenizer.

    Raises:
        FileNotFoundError, ValueError: as for :meth:`plm_core.runs.open.Run.open`, and for
            :func:`plm_core.interop.pretrained_models.pretrained`; a compressed model.
    """
    if name not in PRETRAINED:
        run = Run.open(Path(name))
        return run.model, run.tokenizer
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*left at their initial values")
        model, tokenizer = pretrained(name)
    assert isinstance(model, Bert | Gpt)
    return model, tokenizer


def read_splits(config: FineTuneConfig, task: AnyTask) -> tuple[Split, Split, Split]:
    """The examples for training, validation and test; the classes are those of the training file."""
    texts, labels = task.read(config.train_file)
    task.learn_names(texts, labels)
    if config.validation_file is None:
        (texts, labels), held_out = set_aside(texts, labels, seed=config.seed, where=str(config.train_file))
        valid = task.split(f"a tenth of {config.train_file}", *held_out)
    else:
        valid = read_validation(config, task)
    train = task.split(str(config.train_file), texts, labels)
    if config.test_file is None:
        return train, valid, valid
    return train, valid, task.split(str(config.test_file), *task.read(config.test_file))


def read_validation(config: FineTuneConfig, task: AnyTask) -> Split:
    """The examples for validation alone, for a task that knows its classes."""
    if config.validation_file is not None:
        return task.split(str(config.validation_file), *task.read(config.validation_file))
    _, held_out = set_aside(*task.read(config.train_file), seed=config.seed, where=str(config.train_file))
    return task.split(f"a tenth of {config.train_file}", *held_out)


def choose_trained(model: nn.Module, config: FineTuneConfig) -> None:
    """Add the small parts of the method to a model, and freeze what it does not train.

    Raises:
        ValueError: layers or modules that the model does not have.
    """
    if config.method == "lora":
        add_lora(model, config.lora)
    elif config.method == "adapters":
        add_adapters(model, config.adapters)
    elif config.method == "prompt":
        add_prompt(model, config.prompt)
    elif config.method == "biases":
        train_biases_only(model, [HEAD])
    elif config.method == "head":
        model.requires_grad_(False)
        model.get_submodule(HEAD).requires_grad_(True)


def save_part(model: nn.Module, config: FineTuneConfig) -> None:
    """Store the small part that was trained beside the checkpoints, where the method has one."""
    path = config.output / PART_FILE
    if config.method == "lora":
        save_lora(model, path, config.lora)
    elif config.method == "adapters":
        save_adapters(model, path, config.adapters)
    elif config.method == "prompt":
        save_prompt(model, path, config.prompt)


def contents(config: FineTuneConfig, task: AnyTask, model: nn.Module) -> dict[str, bytes]:
    """The files of the folder that :meth:`FineTuned.open` needs besides the weights, by name."""
    shape: Any = model.config
    values = {"head": type(model).__name__, "shape": type(shape).__name__, "config": shape.to_dict()}
    return {
        CONFIG_FILE: config.to_yaml().encode(),
        MODEL_FILE: (json.dumps(values, indent=1) + "\n").encode(),
        LABELS_FILE: (json.dumps({"names": list(task.names.names)}, ensure_ascii=False) + "\n").encode(),
        **tokenizer_files(task.tokenizer),
    }


def tokenizer_files(tokenizer: Tokenizer) -> dict[str, bytes]:
    """The files of a tokenizer, by name."""
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer.save(scratch)
        return {path.name: path.read_bytes() for path in sorted(Path(scratch).iterdir())}
