"""The trainer: accumulate, divide once, clip, step, evaluate, save, log.

It knows no model. It sees parameters, an objective that returns sums and counts, and a source of batches that is a pure
function of an index, so that the position in the data is a number and resuming is exact.
"""

from __future__ import annotations

import dataclasses
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from torch import nn

from plm_core.objectives.base import Batch
from plm_core.training.checkpoint import (
    BEST,
    LAST,
    checkpoint_folder,
    keep_newest,
    load_checkpoint,
    newest_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from plm_core.training.config import TrainConfig
from plm_core.training.logs import RunLog, drop_after
from plm_core.training.optim import adamw, trainable
from plm_core.training.progress import Progress, Running
from plm_core.training.schedule import learning_rate
from plm_core.training.validation import TermsObjective, move, validate


class BatchSource(Protocol):
    """Training batches as a pure function of their number: epochs, shuffling and corruption are inside."""

    def batch(self, index: int) -> Batch:
        """The batch of that number, from 0, without end."""
        ...


class DivergedError(ValueError):
    """The loss or a gradient is not a number; the weights are those before the step."""


class Trainer:
    """Trains a model on an objective.

    Args:
        model: any module that the objective can run, already on its device.
        objective: a plain or joint objective.
        source: the training batches.
        config: how to train.
        valid_batches: batches to evaluate on, used again at every evaluation; none switches evaluation off.
        folder: where checkpoints and logs go; None keeps everything in memory.
        device: where the batches are moved to.
        autocast: a function that returns the context of the forward pass, for example ``Runtime.autocast``.
        quiet: show no progress bar.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: TermsObjective,
        source: BatchSource,
        config: TrainConfig,
        *,
        valid_batches: Sequence[Batch] = (),
        folder: Path | str | None = None,
        device: torch.device | str = "cpu",
        autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
        quiet: bool = False,
    ) -> None:
        self.model = model
        self.objective = objective
        self.source = source
        self.config = config
        self.valid_batches = valid_batches
        self.folder = None if folder is None else Path(folder)
        self.device = device
        self.autocast = autocast
        self.quiet = quiet
        self.progress = Progress()
        self.running = Running()
        self.records: list[dict[str, Any]] = []
        betas = (config.beta1, config.beta2)
        self.optimizer = adamw(model, learning_rate=config.learning_rate, weight_decay=config.weight_decay, betas=betas)

    def fit(self) -> Progress:
        """Train until the last step or until patience runs out.

        Returns:
            Where the run ended. ``records`` holds the logged metrics.

        Raises:
            DivergedError: a loss or gradient that is not finite; nothing was stepped.
            KeyboardInterrupt: Ctrl-C; the step under way was finished and the state saved.
        """
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        log = RunLog(
            self.folder,
            total_steps=self.config.steps,
            first_step=self.progress.step,
            tensorboard=self.config.tensorboard,
            quiet=self.quiet,
        )
        self.running.started = time.perf_counter()
        self.model.train()
        try:
            with deferred_interrupt() as interrupted:
                while self.progress.step < self.config.steps and not self.out_of_patience():
                    self.step()
                    self.report(log)
                    if self.due(self.config.eval_every) and self.valid_batches:
                        self.evaluate(log)
                    if interrupted():
                        self.save()
                        raise KeyboardInterrupt
                    if self.due(self.config.save_every):
                        self.save()
            self.save()
        finally:
            self.records += log.records
            log.close()
        return self.progress

    def step(self) -> None:
        """One optimiser step over a window of micro-batches; losses are divided by the counts of the whole window."""
        config, progress, running = self.config, self.progress, self.running
        first = progress.window * config.micro_batches
        window = [self.source.batch(index) for index in range(first, first + config.micro_batches)]
        counts: dict[str, int] = {}
        for batch in window:
            for name, count in self.objective.counts(batch).items():
                counts[name] = counts.get(name, 0) + count
        for batch in window:
            with self.autocast():
                terms = self.objective.terms(self.model, move(batch, self.device))
            loss = torch.zeros((), device=self.device)
            for name, part in terms.items():
                loss = loss + self.objective.weights[name] * part.total / max(1, counts[name])
                for key, value in {"loss": part.total, **part.metrics}.items():
                    running.add(f"{name}/{key}", value, part.count)
            loss.backward()
            running.add("loss", loss, 0)
            running.tokens += num_tokens(batch)
        running.counts["loss"] += 1
        grad_norm = nn.utils.clip_grad_norm_(list(trainable(self.model)), config.max_grad_norm or math.inf)
        if not torch.isfinite(grad_norm):
            raise DivergedError(self.describe_divergence())
        running.add("grad_norm", grad_norm, 1)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self.optimizer.step()
        self.optimizer.zero_grad()
        progress.step += 1
        progress.window += 1

    def learning_rate(self) -> float:
        """The rate of the next step."""
        return learning_rate(
            self.progress.step,
            peak=self.config.learning_rate,
            total_steps=self.config.steps,
            warmup_steps=self.config.warmup_steps,
            schedule=self.config.schedule,
            floor=self.config.learning_rate * self.config.final_fraction,
        )

    def due(self, every: int) -> bool:
        """Whether something that happens every so many steps, and at the end, happens after this step."""
        return self.progress.step % every == 0 or self.progress.step == self.config.steps

    def report(self, log: RunLog) -> None:
        """Move the bar; when a record is due, write the means since the last one and start new sums."""
        if not self.due(self.config.log_every):
            log.advance()
            return
        running = self.running
        means = running.means()
        seconds = time.perf_counter() - running.started
        self.progress.tokens += running.tokens
        rates = {"learning_rate": self.optimizer.param_groups[0]["lr"], "tokens": self.progress.tokens}
        log.metrics(self.progress.step, {f"train/{key}": value for key, value in means.items()} | rates)
        log.speed(self.progress.step, {"tokens_per_second": running.tokens / seconds, "seconds": seconds})
        log.advance(loss=f"{means['loss']:.3f}", tokens_per_s=f"{running.tokens / seconds:,.0f}")
        self.running = Running()

    def evaluate(self, log: RunLog) -> None:
        """Evaluate, log and keep the best weights."""
        progress = self.progress
        with self.autocast():
            result = validate(self.model, self.objective, self.valid_batches, device=self.device)
        log.metrics(progress.step, {f"valid/{key}": value for key, value in result.items()})
        if result["loss"] < progress.best_loss:
            progress.best_loss, progress.best_step, progress.evaluations_without_gain = result["loss"], progress.step, 0
            self.save(BEST)
        else:
            progress.evaluations_without_gain += 1
        log.say(f"step {progress.step}: validation loss {result['loss']:.4f} nats")

    def out_of_patience(self) -> bool:
        """Whether the validation loss has not improved for as many evaluations as the configuration allows."""
        patience = self.config.patience
        return patience is not None and self.progress.evaluations_without_gain >= patience

    def save(self, kind: str = LAST) -> None:
        """Write a checkpoint of the present step and delete those that are no longer kept."""
        if self.folder is None:
            return
        state = {"progress": dataclasses.asdict(self.progress), "config": self.config.to_dict()}
        if kind == LAST:
            state["optimizer"] = self.optimizer.state_dict()
            state["random"] = random_state()
            state["running"] = self.running.state_dict()
        save_checkpoint(checkpoint_folder(self.folder, self.progress.step, kind), self.model, state)
        keep_newest(self.folder, self.config.keep_last if kind == LAST else 1, kind)

    def resume(self) -> list[str]:
        """Continue from the newest complete checkpoint of the output folder.

        Returns:
            A message for each damaged checkpoint that was passed over.

        Raises:
            FileNotFoundError: the folder holds no complete checkpoint.
            ValueError: the checkpoint belongs to another model.
        """
        if self.folder is None:
            raise ValueError("a run without an output folder cannot be resumed")
        path, problems = newest_checkpoint(self.folder)
        if path is None:
            damaged = f" ({'; '.join(problems)})" if problems else ""
            raise FileNotFoundError(f"{self.folder} holds no complete checkpoint to resume from{damaged}")
        state = load_checkpoint(path, self.model)
        self.progress = Progress(**state["progress"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.running.load_state_dict(state["running"], self.device)
        restore_random_state(state["random"])
        drop_after(self.folder, self.progress.step)
        return problems

    def describe_divergence(self) -> str:
        """Name the step and the parameters whose gradients are not finite."""
        names = [
            name
            for name, parameter in self.model.named_parameters()
            if parameter.grad is not None and not torch.isfinite(parameter.grad).all()
        ]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        return (
            f"step {self.progress.step + 1}: the gradient is not finite in {shown or 'its norm'}; nothing was stepped. "
            "Lower the learning rate, lengthen the warm-up, or look at the batch"
        )


def num_tokens(batch: Batch) -> int:
    """The number of real tokens in a batch: of its mask, or of its ids where there is no mask."""
    mask = batch.get("attention_mask")
    return batch["input_ids"].numel() if mask is None or mask.dim() != 2 else int(mask.sum())


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a flag, so that the step under way can end; the second one interrupts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    seen = False
    previous = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        if seen and callable(previous):
            previous(number, frame)
        seen = True

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: seen
    finally:
        signal.signal(signal.SIGINT, previous)
