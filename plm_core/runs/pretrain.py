"""Run a pretraining from its configuration, and open the folder that it leaves."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from plm_core.compression.saved import STRUCTURE_FILE, load_compressed
from plm_core.data.texts import read_blocks
from plm_core.data.tokenizers import Tokenizer
from plm_core.distributed import Processes, start_processes
from plm_core.evaluation.perplexity import TextLoss, text_loss
from plm_core.models.bert import Bert
from plm_core.models.cost import flops_per_token
from plm_core.models.counting import num_parameters
from plm_core.models.gpt import Gpt
from plm_core.runs.batches import make_sources
from plm_core.runs.config import RunConfig
from plm_core.runs.corpus import load_texts, train_tokenizer
from plm_core.runs.entropy_floor import known_entropy
from plm_core.runtime import setup
from plm_core.storyworld_v1.entropy import Estimate
from plm_core.training.checkpoints.directory import BEST, LAST, WEIGHTS, complete, newest_checkpoint
from plm_core.training.logs import plot_learning_curve, read_metrics
from plm_core.training.trainer import Trainer
from plm_core.weights import load_weights

CONFIG_FILE = "config.yaml"
CURVE_FILE = "learning_curve.png"
LOCK_FILE = "in_use.lock"


@dataclass(frozen=True)
class Report:
    """What a run reached."""

    steps: int
    best_step: int
    parameters: int
    metrics: dict[str, float]
    """Validation metrics of the best weights."""
    entropy: Estimate | None = None
    """The best loss that any model could have, in nats per token that was asked for, where it is known."""

    def lines(self) -> list[str]:
        """The report for people."""
        metrics = self.metrics
        told = [f"{self.parameters:,} parameters, best of {self.steps} steps after step {self.best_step}"]
        for key, value in metrics.items():
            if key.endswith("/accuracy"):
                told.append(f"{key.removesuffix('/accuracy')} accuracy: {value:.1%} on validation text")
        if "causal_lm/loss" in metrics:
            loss, unit = metrics["causal_lm/loss"], "nats per token"
            told.append(f"validation loss: {loss:.3f} {unit} (perplexity {math.exp(loss):.2f})")
            meaning = "the text's own entropy"
        else:
            loss, unit = metrics["masked_lm/loss"], "nats per masked token"
            both = "" if metrics["loss"] == loss else f" ({metrics['loss']:.3f} nats with the second task)"
            told.append(f"validation loss: {loss:.3f} {unit}{both}")
            meaning = "the exact posterior given all other words of the story"
        if self.entropy is not None:
            told.append(
                f"the floor, {meaning}: {shown(self.entropy)} {unit}; "
                f"{loss - self.entropy.mean:.3f} nats ({loss / self.entropy.mean - 1:.0%}) above it"
            )
        return told


def shown(entropy: Estimate) -> str:
    """A floor for people: with its 95 % interval, where it was estimated from a sample."""
    return f"{entropy.mean:.3f} ± {entropy.half_width:.3f}" if entropy.half_width else f"{entropy.mean:.3f}"


def pretrain(
    config: RunConfig, *, resume: bool = False, quiet: bool = False, processes: Processes | None = None
) -> Report | None:
    """Train as the configuration says, into its output folder.

    Args:
        config: the run.
        resume: continue from the newest complete checkpoint in the output folder, or from the beginning, if the run
            ended before its first one.
        quiet: show no progress bar.
        processes: the processes that train together, as :func:`~plm_core.distributed.start_processes` makes it; by
            default those of torchrun, or this one alone. The output folder must be one that all of them see.

    Returns:
        What the run reached; None in all processes but the main one.

    Raises:
        FileExistsError: the output folder holds a run and ``resume`` is not set, or another process is using it.
        FileNotFoundError: nothing to resume from, or no such corpus.
        ValueError: a corpus that does not fit the configuration, a checkpoint of another model, divergence.
        KeyboardInterrupt: Ctrl-C, after the state was saved.
    """
    folder = config.output
    if not resume and folder.is_dir() and complete(folder, LAST):
        raise FileExistsError(
            f"{folder} already holds a run: continue it with --resume, or choose another folder (output=...)"
        )
    processes = start_processes(config.strategy) if processes is None else processes
    if resume and (folder / CONFIG_FILE).is_file() and not complete(folder, LAST):
        resume = False
        if processes.is_main:
            print(f"{folder} holds no checkpoint yet: the run starts from the beginning")
    runtime = setup(seed=config.seed, precision=config.precision, device=str(processes.device))
    with processes.main_first():
        texts = load_texts(config)
    with only_user(folder) if processes.is_main else contextlib.nullcontext():
        with processes.main_first():
            if resume or not processes.is_main:
                tokenizer = Tokenizer.load(folder)
            else:
                tokenizer = train_tokenizer(config, texts)
                tokenizer.save(folder)
                config.save(folder / CONFIG_FILE)
            sources = make_sources(config, texts, tokenizer, folder, write=processes.is_main)
        model = build_model(config, tokenizer)
        trainer = Trainer(
            model if processes.is_sharded else model.to(runtime.device),
            sources.objective,
            sources.train,
            config.train,
            valid_batches=sources.valid,
            folder=folder,
            device=runtime.device,
            precision=runtime.precision,
            processes=processes,
            # backward costs twice forward; shorter rows than the context cost a little less than this
            flops_per_token=3 * flops_per_token(model.config, config.context, masked_fraction=config.masking.rate),
            quiet=quiet,
        )
        problems = trainer.resume() if resume else []
        if processes.is_main:
            print("".join(f"{problem}\n" for problem in problems), end="")
        progress = trainer.fit()
        if not processes.is_main:
            return None
        records = read_metrics(folder)
        entropy = known_entropy(config, texts)
        plot_learning_curve(records, folder / CURVE_FILE, entropy=None if entropy is None else entropy.mean)
    best = next(r for r in records if r["step"] == progress.best_step and "valid/loss" in r)
    metrics = {key.removeprefix("valid/"): value for key, value in best.items() if key.startswith("valid/")}
    return Report(progress.step, progress.best_step, num_parameters(model), metrics, entropy)


def build_model(config: RunConfig, tokenizer: Tokenizer) -> Bert | Gpt:
    """A fresh model for a run's tokenizer, with weights drawn from the run's seed."""
    torch.manual_seed(config.seed)
    shape = config.model_config(tokenizer.vocab_size)
    return Bert(shape) if config.is_masked else Gpt(shape)  # type: ignore[arg-type]


def open_run(folder: Path) -> tuple[RunConfig, Tokenizer, Bert | Gpt]:
    """Configuration, tokenizer and best weights of a run, finished, interrupted or compressed; in evaluation mode.

    Raises:
        FileNotFoundError: the folder is not the output of a run, or holds no complete checkpoint yet.
        ValueError: files that are damaged or do not fit together.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise FileNotFoundError(f"{folder} is not the output folder of `plm train`: it has no {CONFIG_FILE}")
    config = RunConfig.load(folder / CONFIG_FILE)
    tokenizer = Tokenizer.load(folder)
    if (folder / STRUCTURE_FILE).is_file():
        model = build_model(config, tokenizer)
        load_compressed(model, folder)
        return config, tokenizer, model.eval()
    best, _ = newest_checkpoint(folder, BEST)
    checkpoint = best or newest_checkpoint(folder)[0]
    if checkpoint is None:
        raise FileNotFoundError(f"{folder} holds no complete checkpoint yet: run `plm train` to its first save")
    model = build_model(config, tokenizer)
    load_weights(model, checkpoint / WEIGHTS)
    return config, tokenizer, model.eval()


def evaluate_file(config: RunConfig, tokenizer: Tokenizer, model: Bert | Gpt, path: Path) -> TextLoss:
    """The loss of a causal model on a text file, framed as one document, every character accounted for.

    Raises:
        ValueError: a masked model, or a file that is empty, binary or not UTF-8.
    """
    if not isinstance(model, Gpt):
        raise ValueError("a masked model gives a text no probability: `plm evaluate` with a file needs causal_lm")
    text = "".join(read_blocks(path))
    ids = torch.tensor([tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id])
    return text_loss(model, ids, context=config.context, characters=len(text) + 1)


@contextlib.contextmanager
def only_user(folder: Path) -> Iterator[None]:
    """Hold a lock on a run's folder; the operating system lets go of it however the process ends.

    Raises:
        FileExistsError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # no advisory locks on this system
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileExistsError(
                f"{folder} is in use by another `plm train`: wait for it, or choose another"
            ) from None
        yield
