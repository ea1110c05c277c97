"""Pretrain a model from a configuration, into a folder that :class:`~plm_core.runs.open.Run` opens."""

from __future__ import annotations

import contextlib
import sys

from plm_core.data.tokenizers import Tokenizer
from plm_core.distributed import Processes, start_processes
from plm_core.models.cost import flops_per_token
from plm_core.models.counting import num_parameters
from plm_core.runs.batches import Sources, make_sources
from plm_core.runs.config import RunConfig
from plm_core.runs.corpus import Texts, load_texts, train_tokenizer
from plm_core.runs.entropy_floor import known_entropy
from plm_core.runs.folder import (
    CURVE_FILE,
    TOKEN_FILES,
    check_new_run,
    only_user,
    run_files,
    write_run_files,
)
from plm_core.runs.open import Model, Run, build_model
from plm_core.runs.report import Report
from plm_core.runs.resume import resumed_config
from plm_core.runs.start import start_model, start_tokenizer, with_initial_shape
from plm_core.runtime import Runtime, setup
from plm_core.training.arithmetic import Arithmetic, choose_arithmetic
from plm_core.training.checkpoints.directory import LAST, complete
from plm_core.training.hardware import Hardware
from plm_core.training.logs import all_records, plot_learning_curve, read_metrics
from plm_core.training.trainer import Trainer


def pretrain(
    config: RunConfig, *, resume: bool = False, quiet: bool = False, processes: Processes | None = None
) -> Report | None:
    """Train according to a configuration, into its output folder.

    Whatever can be refused is refused before the first file is written; a refused ``resume`` changes nothing.

    Args:
        config: the run.
        resume: continue from the newest complete checkpoint in the output folder, or from the beginning, if the run
            ended before its first one.
        quiet: show no progress bar.
        processes: the processes that train together, as :func:`~plm_core.distributed.start_processes` makes it; by
            default those of torchrun, or this one alone. The output folder must be one that all of them see.

    Returns:
        The result of the run; None in all processes but the main one.

    Raises:
        FileExistsError: the output folder holds a run and ``resume`` is not set, it holds files of the user's under
            names that the run needs, or another process is using it.
        FileNotFoundError: nothing to resume from, or no such corpus.
        ValueError: a corpus that does not fit the configuration, a configuration that does not fit the run to be
            resumed, a checkpoint of another model, divergence.
        KeyboardInterrupt: Ctrl-C, after the state was saved.
    """
    processes = start_processes(config.strategy) if processes is None else processes
    config, resume = processes.broadcast(check_start(config, resume=resume) if processes.is_main else (config, resume))
    width = config.model_config(vocab_size=2).hidden_size
    arithmetic = processes.broadcast(choose_arithmetic(config.precision, processes.device, width=width))
    runtime = setup(seed=config.seed, precision=arithmetic.precision, device=str(processes.device))
    source = None if resume or config.init_from is None else Run.open(config.init_from)
    with processes.main_first():
        texts = load_texts(config)
    with only_user(config.output) if processes.is_main else contextlib.nullcontext():
        is_new = processes.is_main and not resume
        with processes.main_first():
            tokenizer = make_tokenizer(config, texts, source) if is_new else Tokenizer.load(config.output)
            model = build_model(config, tokenizer) if source is None else start_model(config, tokenizer, source)
            if is_new:
                write_run_files(config.output, run_files(config, tokenizer))
            sources = make_sources(
                config, texts, tokenizer, config.output, write=is_new or must_write(config, processes)
            )
        trainer = make_trainer(config, model, sources, processes, runtime, quiet=quiet)
        if resume:
            continue_run(config, tokenizer, trainer)
        if processes.is_main:
            print("".join(f"{line}\n" for line in sources.lines()), end="", flush=True)
        trainer.fit()
        return make_report(config, texts, tokenizer, sources, trainer, arithmetic) if processes.is_main else None


def check_start(config: RunConfig, *, resume: bool) -> tuple[RunConfig, bool]:
    """Decide how a run starts, and refuse what cannot start; nothing is changed.

    Returns:
        The configuration with what it leaves open filled in, and whether a checkpoint is continued.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: as :func:`pretrain`.
    """
    if config.train.warmup_steps >= config.train.steps:
        notice(
            f"the warm-up of {config.train.warmup_steps} steps does not end within the run's {config.train.steps}: the "
            "learning rate never reaches its peak. Set train.warmup_steps lower, or train longer"
        )
    if not resume:
        check_new_run(config.output)
        return with_initial_shape(config), False
    config = resumed_config(config)
    if not complete(config.output, LAST):
        notice(f"{config.output} holds no checkpoint yet: the run starts from the beginning")
        return config, False
    return config, True


def notice(text: str) -> None:
    """Print a message for the user that does not stop the run."""
    print(f"note: {text}", file=sys.stderr)


def make_tokenizer(config: RunConfig, texts: Texts, source: Run | None) -> Tokenizer:
    """The tokenizer of a new run: that of the weights that it starts from, else one made for its text."""
    return train_tokenizer(config, texts) if source is None else start_tokenizer(config, source)


def must_write(config: RunConfig, processes: Processes) -> bool:
    """Whether the token files of a resumed run are missing; those that are there are read, and none is made anew."""
    return processes.is_main and not all((config.output / name).exists() for name in TOKEN_FILES)


def make_trainer(
    config: RunConfig, model: Model, sources: Sources, processes: Processes, runtime: Runtime, *, quiet: bool
) -> Trainer:
    """The trainer of a run."""
    return Trainer(
        model if processes.is_sharded else model.to(runtime.device),
        sources.objective,
        sources.train,
        config.train,
        valid_batches=sources.valid,
        folder=config.output,
        hardware=Hardware(runtime.device, runtime.precision, processes),
        # backward costs twice forward; shorter rows than the context cost a little less than this
        flops_per_token=3 * flops_per_token(model.config, config.context, masked_fraction=config.masking.rate),
        quiet=quiet,
    )


def continue_run(config: RunConfig, tokenizer: Tokenizer, trainer: Trainer) -> None:
    """Load the newest checkpoint, then write the configuration that the run now has.

    Raises:
        ValueError: as :meth:`~plm_core.training.trainer.Trainer.resume`, or a state of other content.
    """
    try:
        problems = trainer.resume()
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(
            f"the newest checkpoint in {config.output} holds another state than a run's ({error!r}): move it away to "
            "continue from the one before"
        ) from error
    if trainer.processes.is_main:
        print("".join(f"{problem}\n" for problem in problems), end="")
        all_records(config.output)  # refuses files that hold anything else
        write_run_files(config.output, run_files(config, tokenizer))


def make_report(
    config: RunConfig,
    texts: Texts,
    tokenizer: Tokenizer,
    sources: Sources,
    trainer: Trainer,
    arithmetic: Arithmetic,
) -> Report:
    """The result of a finished run, whose learning curve is drawn."""
    records, entropy, progress = read_metrics(config.output), known_entropy(config, texts, tokenizer), trainer.progress
    plot_learning_curve(records, config.output / CURVE_FILE, entropy=None if entropy is None else entropy.mean)
    best = next((r for r in records if r["step"] == progress.best_step and "valid/loss" in r), {})
    metrics = {key.removeprefix("valid/"): value for key, value in best.items() if key.startswith("valid/")}
    parameters = num_parameters(trainer.model)
    return Report(progress.step, progress.best_step, parameters, metrics, entropy, sources.valid_tokens, arithmetic)
