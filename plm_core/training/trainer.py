"""The trainer: accumulate, divide once, clip, step, evaluate, save, log.

It knows no model. It sees parameters, an objective that returns sums and counts, and a source of batches that is a pure
function of an index, so that the position in the data is a number and resuming is exact.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from plm_core.objectives.base import Batch
from plm_core.runtime import Precision, peak_flops
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
from plm_core.training.gradients import DivergedError, Gradients, listed
from plm_core.training.interrupt import Interrupted, deferred_interrupt
from plm_core.training.logs import RunLog, drop_after
from plm_core.training.optim import make_optimizer
from plm_core.training.precision import LossScaler, ScaleCollapsedError, autocast
from plm_core.training.progress import Progress, Running
from plm_core.training.schedule import learning_rate
from plm_core.training.validation import TermsObjective, move, validate

Sums = list[tuple[str, Tensor, int]]


class BatchSource(Protocol):
    """Training batches as a pure function of their number: epochs, shuffling and corruption are inside."""

    def batch(self, index: int) -> Batch:
        """The batch of that number, from 0, without end."""
        ...


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
        precision: arithmetic of the forward pass, already resolved (:attr:`~plm_core.runtime.Runtime.precision`).
        flops_per_token: floating-point operations that training on one real token costs, forward and backward; with it
            the speed log says how much of the hardware is used.
        quiet: show no progress bar.

    Raises:
        ValueError: a configuration that does not fit the model, or weights in a low precision under autocast.
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
        precision: Precision = "fp32",
        flops_per_token: float | None = None,
        quiet: bool = False,
    ) -> None:
        if precision != "fp32":
            check_master_weights(model, precision)
        self.model = model
        self.objective = objective
        self.source = source
        self.config = config
        self.valid_batches = valid_batches
        self.folder = None if folder is None else Path(folder)
        self.device = torch.device(device)
        self.precision: Precision = precision
        self.flops_per_token = flops_per_token
        self.quiet = quiet
        self.progress = Progress()
        self.running = Running()
        self.records: list[dict[str, Any]] = []
        self.optimizer = make_optimizer(model, config)
        self.gradients = Gradients(model)
        self.scaler = LossScaler(self.device) if precision == "fp16" else None
        # On a GPU the optimiser itself skips a bad step, if it can, and the host asks later.
        self.asks_later = self.device.type != "cpu" and hasattr(self.optimizer, "_step_supports_amp_scaling")

    def fit(self) -> Progress:
        """Train until the last step or until patience runs out.

        Returns:
            Where the run ended. ``records`` holds the logged metrics.

        Raises:
            DivergedError: a loss or gradient that is not finite; the weights are those before that step.
            ScaleCollapsedError: under fp16, gradients that overflow at every scale.
            Interrupted: Ctrl-C or SIGTERM; the step under way was finished and the state saved.
        """
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            drop_after(self.folder, self.progress.step)
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
                    stepped = self.step()
                    if stepped:
                        self.report(log)
                    if stepped and self.due(self.config.eval_every) and self.valid_batches:
                        self.evaluate(log)
                    number = interrupted()
                    if number is not None:
                        self.save()
                        raise Interrupted(number)
                    if stepped and self.due(self.config.save_every):
                        self.save()
            self.save()
        finally:
            self.records += log.records
            log.close()
        return self.progress

    def step(self) -> bool:
        """One optimiser step over a window of micro-batches.

        Returns:
            Whether the weights were changed; only an overflow under fp16 leaves them as they are.
        """
        config, progress = self.config, self.progress
        first = progress.window * config.micro_batches
        window = [self.objective.prepare(self.source.batch(first + i)) for i in range(config.micro_batches)]
        loss, sums = self.accumulate(window)
        progress.window += 1
        if not self.update(loss, sums):
            return False
        for key, value, count in sums:
            self.running.add(key, value, count)
        self.running.tokens += sum(num_tokens(batch) for batch in window)
        progress.step += 1
        return True

    def accumulate(self, window: Sequence[Batch]) -> tuple[Tensor, Sums]:
        """Add up the gradients of a window; each loss is divided by its count over the *whole* window.

        Returns:
            The loss of the window, and the sums and counts to be logged. Nothing here waits for the device.
        """
        counts = [self.objective.counts(batch) for batch in window]
        totals = {name: sum(count[name] for count in counts) for name in counts[0]}
        whole = torch.zeros((), device=self.device)
        sums: Sums = []
        for number, (batch, count) in enumerate(zip(window, counts, strict=True), start=1):
            with autocast(self.precision, self.device):
                terms = self.objective.terms(self.model, move(batch, self.device))
            loss = torch.zeros((), device=self.device)
            for name, part in terms.items():
                loss = loss + self.objective.weights[name] * part.total / max(1, totals[name])
                sums += [(f"{name}/{key}", value.detach(), count[name]) for key, value in part.sums().items()]
            (loss if self.scaler is None else self.scaler.scale(loss)).backward()
            whole = whole + loss.detach()
            sums.append(("loss", loss.detach(), number // len(window)))  # one loss a window
        return whole, sums

    def update(self, loss: Tensor, sums: Sums) -> bool:
        """Unscale, clip, step, update the scale, zero the gradients; whether the weights were changed."""
        step = self.progress.step + 1
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        norms_P = self.gradients.norms()
        norm = self.gradients.clip(norms_P, self.config.max_grad_norm)
        sums.append(("grad_norm", norm, 1))
        rate = self.learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        stepped = True
        if self.scaler is not None:
            stepped = self.scaler.step(self.optimizer)
            try:
                self.scaler.update()
            except ScaleCollapsedError as error:
                names = listed(self.gradients.not_finite(norms_P))
                where = f"step {step}, rank {self.gradients.rank}"
                raise ScaleCollapsedError(f"{where}: {error}. Not finite at the end: {names}") from None
        else:
            found_inf = self.gradients.watch(step, loss, norms_P)
            if self.asks_later:
                self.optimizer.found_inf = found_inf  # type: ignore[attr-defined]
            else:
                self.gradients.check()
            self.optimizer.step()
        self.optimizer.zero_grad()
        return stepped

    def learning_rate(self, step: int | None = None) -> float:
        """The rate of the step after so many successful ones; by default, of the next step."""
        return learning_rate(
            self.progress.step if step is None else step,
            peak=self.config.learning_rate,
            total_steps=self.config.steps,
            warmup_steps=self.config.warmup_steps,
            schedule=self.config.schedule,
            floor=self.config.learning_rate * self.config.final_fraction,
        )

    def due(self, every: int) -> bool:
        """Whether something that happens every so many steps, and at the end, happens after this step."""
        return self.progress.step % every == 0 or self.progress.step == self.config.steps

    def confirm(self) -> None:
        """Make sure that every step so far was good, before anything is reported, measured or saved.

        Raises:
            DivergedError: one was not; the weights and ``progress`` are those before it.
        """
        try:
            self.gradients.check()
        except DivergedError as error:
            self.progress.window -= self.progress.step - (error.step - 1)
            self.progress.step = error.step - 1
            raise

    def report(self, log: RunLog) -> None:
        """Move the bar; when a record is due, write the means since the last one and start new sums."""
        if not self.due(self.config.log_every):
            log.advance()
            return
        self.confirm()
        running, progress = self.running, self.progress
        means = running.means()
        seconds = time.perf_counter() - running.started
        progress.tokens += running.tokens
        rates = {"learning_rate": self.learning_rate(progress.step - 1), "tokens": progress.tokens}
        if self.scaler is not None:
            rates |= {"loss_scale": self.scaler.get_scale(), "skipped_steps": progress.window - progress.step}
        log.metrics(progress.step, {f"train/{key}": value for key, value in means.items()} | rates)
        log.speed(progress.step, self.speed(running.tokens, seconds))
        log.advance(loss=f"{means['loss']:.3f}", tokens_per_s=f"{running.tokens / seconds:,.0f}")
        self.running = Running()

    def speed(self, tokens: int, seconds: float) -> dict[str, float]:
        """Tokens a second; where the cost of a token is known, operations a second; on known hardware, its use (MFU).

        The model FLOP utilisation counts the operations that the model needs, not those that were spent, for example
        on padding (Chowdhery et al. 2022, appendix B).
        """
        rates = {"tokens_per_second": tokens / seconds, "seconds": seconds}
        if self.flops_per_token is not None:
            rates["flops_per_second"] = self.flops_per_token * tokens / seconds
            peak = peak_flops(self.device, self.precision)
            if peak is not None:
                rates["mfu"] = rates["flops_per_second"] / peak
        return rates

    def evaluate(self, log: RunLog) -> None:
        """Evaluate, log and keep the best weights."""
        self.confirm()
        progress = self.progress
        with autocast(self.precision, self.device):
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
        self.confirm()
        if self.folder is None:
            return
        state: dict[str, Any] = {"progress": dataclasses.asdict(self.progress), "config": self.config.to_dict()}
        if kind == LAST:
            state["optimizer"] = self.optimizer.state_dict()
            state["random"] = random_state()
            state["running"] = self.running.state_dict()
            state["scaler"] = None if self.scaler is None else self.scaler.state_dict()
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
        if self.scaler is not None and state["scaler"] is not None:
            self.scaler.load_state_dict(state["scaler"])
        restore_random_state(state["random"])
        return problems


def num_tokens(batch: Batch) -> int:
    """The number of real tokens in a batch: of its mask, or of its ids where there is no mask."""
    mask = batch.get("attention_mask")
    return batch["input_ids"].numel() if mask is None or mask.dim() != 2 else int(mask.sum())


def check_master_weights(model: nn.Module, precision: Precision) -> None:
    """Raise ValueError if weights are in a low precision already: autocast needs fp32 weights to update."""
    low = [name for name, p in model.named_parameters() if p.dtype in (torch.float16, torch.bfloat16)]
    if low:
        raise ValueError(
            f"precision {precision!r} computes in low precision and keeps the weights in fp32, but the model's are low "
            f"already: {listed(low)}. Two systems at once lose small updates: leave out model.half() or .to(dtype)"
        )
