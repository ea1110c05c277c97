"""The trainer: accumulate, divide once, clip, step, evaluate, save, log.

It is independent of the model. It needs parameters, an objective that returns sums and counts, and a source of batches
that is a pure function of an index, so that the position in the data is a number and resuming is exact.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plm_core.data.batch import Batch, BatchSource
from plm_core.distributed import seed_per_rank
from plm_core.evaluation.validation import TermsObjective, move, validate
from plm_core.training.blocks import checkpoint_activations, compile_blocks
from plm_core.training.checkpoints.directory import BEST, LAST, begin_run
from plm_core.training.checkpoints.manager import Checkpoints
from plm_core.training.checkpoints.state import batch_digest, random_state, restore_random_state
from plm_core.training.config import TrainConfig
from plm_core.training.gradients import DivergedError, Gradients, listed
from plm_core.training.hardware import Hardware, peak_flops_of_all
from plm_core.training.interrupt import Interrupted, deferred_interrupt
from plm_core.training.logs import RunLog, rates_of
from plm_core.training.optim import make_optimizer, set_learning_rate, skips_on_device, step_unless
from plm_core.training.parallel import check_shareable, local_gradients, nonfinite_ranks, wrap
from plm_core.training.precision import LossScaler, ScaleCollapsedError, autocast, check_master_weights, keep_casts
from plm_core.training.progress import Progress, Running

Sums = list[tuple[str, Tensor, int]]


class Trainer:
    """Trains a model on an objective.

    Args:
        model: any module that the objective can run, already on its device.
        objective: a plain or joint objective.
        source: the training batches.
        config: how to train.
        valid_batches: batches to evaluate on, used again at every evaluation; none switches evaluation off.
        folder: where checkpoints and logs go; None keeps everything in memory.
        hardware: device, precision and processes.
        flops_per_token: floating-point operations that training on one real token costs, forward and backward; with it
            the speed log says how much of the hardware is used.
        quiet: show no progress bar.

    Raises:
        ValueError: a configuration that does not fit the model or the number of processes, or weights in a low
            precision under autocast.
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
        hardware: Hardware | None = None,
        flops_per_token: float | None = None,
        quiet: bool = False,
    ) -> None:
        self.model, self.objective, self.source, self.config = model, objective, source, config
        self.valid_batches = valid_batches
        self.folder = None if folder is None else Path(folder)
        self.device, self.precision, self.processes = (Hardware() if hardware is None else hardware).resolved()
        self.flops_per_token, self.quiet = flops_per_token, quiet
        self.progress = Progress()
        self.running = Running()
        self.records: list[dict[str, Any]] = []
        self.last_batch: Batch = {}  # first batch of the last group: its digest lets a resumed run check its data
        self.prepare_model()
        self.terms = wrap(model, objective, self.processes, lambda: move(self.micro_batch_group(0)[0], self.device))
        self.optimizer = make_optimizer(model, config)
        self.gradients = Gradients(model, self.processes)
        self.scaler = LossScaler(self.device) if self.precision == "fp16" else None
        self.checks_later = skips_on_device(self.optimizer, self.device)

    def prepare_model(self) -> None:
        """Check that the model can be trained as configured, and apply the options that act on its blocks."""
        if self.precision != "fp32":
            check_master_weights(self.model, self.precision)
        check_shareable(self.config, self.processes)
        seed_per_rank(self.processes)
        if self.config.activation_checkpointing:
            checkpoint_activations(self.model)
        if self.config.compile:
            compile_blocks(self.model, device=self.device)

    def fit(self) -> Progress:
        """Train until the last step or until patience runs out.

        Returns:
            Where the run ended. ``records`` holds the logged metrics.

        Raises:
            DivergedError: a loss or gradient that is not finite; the weights are those before that step.
            ScaleCollapsedError: under fp16, gradients that overflow at every scale.
            Interrupted: Ctrl-C or SIGTERM; the step under way was finished and the state saved.
        """
        folder = self.folder if self.processes.is_main else None
        if folder is not None:
            begin_run(folder, self.progress.step)
        log = RunLog(
            folder,
            total_steps=self.config.steps,
            first_step=self.progress.step,
            tensorboard=self.config.tensorboard and self.processes.is_main,
            quiet=self.quiet or not self.processes.is_main,
        )
        self.running.start()
        self.model.train()
        try:
            with deferred_interrupt(insist=self.processes.size == 1) as interrupted:
                while self.progress.step < self.config.steps and not self.out_of_patience():
                    stepped = self.step()
                    if stepped:
                        self.report(log)
                    if stepped and self.due(self.config.eval_every) and self.valid_batches:
                        self.evaluate(log)
                    number = self.processes.all_reduce_max(interrupted() or 0)
                    if number:
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
        """One optimiser step over a group of micro-batches: accumulate, unscale, clip, step, zero the gradients.

        Returns:
            Whether the weights were changed; only an overflow under fp16 leaves them as they are.
        """
        group = self.micro_batch_group(self.progress.micro_batch_groups)
        self.last_batch = group[0]
        # sharded weights are gathered anew for every pass
        kept = nullcontext() if self.processes.is_sharded else keep_casts(self.precision, self.device)
        with kept:
            loss, sums = self.accumulate(group)
        self.progress.micro_batch_groups += 1
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        norms_P = self.gradients.norms()
        norm = self.gradients.clip(norms_P, self.config.max_grad_norm)
        set_learning_rate(self.optimizer, self.config.rate(self.progress.step))
        stepped = self.step_if_finite(loss, norms_P) if self.scaler is None else self.step_scaled(norms_P)
        self.optimizer.zero_grad()
        if stepped:
            self.progress.step += 1
            self.running.add_step([*sums, ("grad_norm", norm, 1)], group)
        return stepped

    def micro_batch_group(self, number: int) -> list[Batch]:
        """This process's share of the micro-batches of a group, prepared for the objective."""
        first = number * self.config.micro_batches
        indices = self.processes.shard(range(first, first + self.config.micro_batches))
        return [self.objective.prepare(self.source.batch(index)) for index in indices]

    def accumulate(self, group: Sequence[Batch]) -> tuple[Tensor, Sums]:
        """Add up the gradients of a group; each loss is divided by its count over the *whole* group, that is over all
        micro-batches in all processes. Nothing here waits for the device.

        Returns:
            The loss of the group over all processes, and this process's sums and counts to be logged.
        """
        counts = [self.objective.counts(batch) for batch in group]
        totals = self.processes.sum_counts({name: sum(count[name] for count in counts) for name in counts[0]})
        whole = torch.zeros((), device=self.device)
        sums: Sums = []
        for number, (batch, count) in enumerate(zip(group, counts, strict=True), start=1):
            is_last = number == len(group)
            with nullcontext() if is_last else local_gradients(self.terms):
                with autocast(self.precision, self.device):
                    terms = self.terms(move(batch, self.device))
                loss = torch.zeros((), device=self.device)
                for name, part in terms.items():
                    loss = loss + self.objective.weights[name] * part.total / max(1, totals[name])
                    sums += [(f"{name}/{key}", value.detach(), count[name]) for key, value in part.sums().items()]
                # The processes average their gradients, and the step needs the sum.
                scaled = loss if self.processes.size == 1 else loss * self.processes.size
                (scaled if self.scaler is None else self.scaler.scale(scaled)).backward()
            whole = whole + loss.detach()
            sums.append(("loss", loss.detach(), int(is_last and self.processes.is_main)))  # one loss a group
        return self.processes.sum(whole), sums

    def step_if_finite(self, loss: Tensor, norms_P: Tensor) -> bool:
        """Under fp32 and bf16: step, unless the loss or a gradient is not finite, which ends the run.

        On a GPU the optimiser's kernel itself skips the step, and the run ends when the host next reads values from the
        device (:meth:`confirm`), so that it need not wait for the device at every step.

        Raises:
            DivergedError: on a CPU, the loss or a gradient is not finite.
        """
        nonfinite = self.gradients.watch(self.progress.step + 1, loss, norms_P)
        if self.checks_later:
            step_unless(self.optimizer, nonfinite)
        else:
            self.check()
            self.optimizer.step()
        return True

    def step_scaled(self, norms_P: Tensor) -> bool:
        """Under fp16: step, unless a gradient has overflowed, and update the scale of the loss.

        Returns:
            Whether the weights were changed.

        Raises:
            ScaleCollapsedError: the gradients overflow at every scale.
        """
        assert self.scaler is not None
        stepped = self.scaler.step(self.optimizer)
        try:
            self.scaler.update()
        except ScaleCollapsedError as error:
            names = listed(self.gradients.not_finite(norms_P))
            where = f"step {self.progress.step + 1}, {self.nonfinite_ranks(self.progress.micro_batch_groups - 1)}"
            raise ScaleCollapsedError(f"{where}: {error}. Not finite at the end: {names}") from None
        return stepped

    def due(self, every: int) -> bool:
        """Whether something that happens every so many steps, and at the end, is due now."""
        return self.progress.step % every == 0 or self.progress.step == self.config.steps

    def confirm(self) -> None:
        """Make sure that every step so far was good, before anything is reported, measured or saved.

        Raises:
            DivergedError: one was not; the weights and ``progress`` are those before it.
        """
        try:
            self.check()
        except DivergedError as error:
            self.progress.micro_batch_groups -= self.progress.step - (error.step - 1)
            self.progress.step = error.step - 1
            raise

    def check(self) -> None:
        """Raise DivergedError if a step was bad, which all processes notice together; name those that caused it."""
        step = self.gradients.first_bad_step()
        if step:
            raise self.gradients.diverged(self.nonfinite_ranks(step - 1))  # without a scaler no group is skipped

    def nonfinite_ranks(self, number: int) -> str:
        """The ranks whose part of a group gives a loss or gradient that is not finite, in words."""
        batches = (move(batch, self.device) for batch in self.micro_batch_group(number))
        with autocast(self.precision, self.device):
            return nonfinite_ranks(self.model, self.objective, batches, self.processes)

    def report(self, log: RunLog) -> None:
        """Move the bar; when a record is due, write the means since the last one and start new sums."""
        if not self.due(self.config.log_every):
            log.advance()
            return
        self.confirm()
        running, progress = self.running.summed(self.processes), self.progress
        means = running.means()
        seconds, timed = running.seconds(), running.tokens - running.untimed
        progress.tokens += running.tokens
        rates = {"learning_rate": self.config.rate(progress.step - 1), "tokens": progress.tokens}
        if self.scaler is not None:
            rates["loss_scale"] = self.scaler.get_scale()
            rates["skipped_steps"] = progress.micro_batch_groups - progress.step
        log.metrics(progress.step, {f"train/{key}": value for key, value in means.items()} | rates)
        peak = peak_flops_of_all(self.device, self.precision, self.processes)
        log.speed(progress.step, rates_of(timed, seconds, flops_per_token=self.flops_per_token, peak=peak))
        log.advance(loss=f"{means['loss']:.3f}", tokens_per_s=f"{timed / seconds:,.0f}")
        self.running = Running()

    def evaluate(self, log: RunLog) -> None:
        """Evaluate, log and keep the best weights."""
        self.confirm()
        with self.running.stopped(), autocast(self.precision, self.device):
            result = validate(
                self.model, self.objective, self.valid_batches, device=self.device, processes=self.processes
            )
        log.metrics(self.progress.step, {f"valid/{key}": value for key, value in result.items()})
        if self.progress.is_best(result["loss"]):
            self.save(BEST)
        log.say(f"step {self.progress.step}: validation loss {result['loss']:.4f} nats")

    def out_of_patience(self) -> bool:
        """Whether the validation loss has not improved for as many evaluations as the configuration allows."""
        patience = self.config.patience
        return patience is not None and self.progress.evaluations_without_gain >= patience

    def save(self, kind: str = LAST) -> None:
        """Write a checkpoint of the present step and delete those that are no longer kept."""
        self.confirm()
        if self.folder is not None:
            with self.running.stopped():
                self.write(self.folder, kind)

    def write(self, folder: Path, kind: str) -> None:
        """Write a checkpoint of the present state."""
        step, checkpoints = self.progress.step, self.checkpoints(folder)
        state: dict[str, Any] = {"progress": dataclasses.asdict(self.progress), "config": self.config.to_dict()}
        if kind == BEST:
            checkpoints.save_best(step, state)
            return
        state["data"] = batch_digest(self.last_batch)
        state["scaler"] = None if self.scaler is None else self.scaler.state_dict()
        checkpoints.save(step, state, {"random": random_state(), "running": self.running.state_dict()})

    def resume(self) -> list[str]:
        """Continue from the newest complete checkpoint of the output folder.

        Returns:
            A message for each damaged checkpoint that was passed over, and for a changed number of processes.

        Raises:
            FileNotFoundError: the folder holds no complete checkpoint.
            ValueError: the checkpoint belongs to another model or to other training data.
        """
        if self.folder is None:
            raise ValueError("a run without an output folder cannot be resumed")
        state, own, problems = self.checkpoints(self.folder).load()
        self.progress = Progress(**state["progress"])
        if self.scaler is not None and state["scaler"] is not None:
            self.scaler.load_state_dict(state["scaler"])
        if own is not None:
            self.running.load_state_dict(own["running"], self.device)
            restore_random_state(own["random"])
        if self.progress.micro_batch_groups and self.processes.is_main:
            self.last_batch = self.micro_batch_group(self.progress.micro_batch_groups - 1)[0]
            if batch_digest(self.last_batch) != state["data"]:
                raise ValueError(
                    f"the saved run saw other data at step {self.progress.step}: resume it with the same corpus, "
                    "tokenizer, batch size, micro_batches and seed, or start a new run in another folder"
                )
        return problems

    def checkpoints(self, folder: Path) -> Checkpoints:
        """The checkpoints in a folder."""
        return Checkpoints(folder, self.model, self.optimizer, self.processes, keep_last=self.config.keep_last)
