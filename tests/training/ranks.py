"""What the tests of distribution run in each process: this file is run as a script, with the task in its globals.

A task is a function of the processes. What it returns, or the error that it leaves with, is sent to the test.
"""

import contextlib
import io
import os
import signal

import torch

from plm_core.data.labels import IGNORE
from plm_core.distributed import Processes, report_failure_once, start_processes
from plm_core.models.bert import Bert, BertConfig
from plm_core.objectives.base import Joint
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.objectives.sentence_pair import NextSentence
from plm_core.training.config import TrainConfig
from plm_core.training.gradients import local
from plm_core.training.hardware import Hardware
from plm_core.training.parallel import whole
from plm_core.training.trainer import Trainer

VOCABULARY, LENGTH = 29, 10
EPOCH = 7
"""Batches of an epoch; no window of micro-batches divides it."""


class Pairs:
    """Masked sentence pairs by number: ragged rows, ragged labels, some batches without a masked token, and a last
    batch of every epoch that has one row only."""

    def __init__(self, rows=4, first=0):
        self.rows, self.first = rows, first

    def batch(self, index):
        generator = torch.Generator().manual_seed(self.first + index)
        rows = 1 if index % EPOCH == EPOCH - 1 else self.rows
        ids = torch.randint(0, VOCABULARY, (rows, LENGTH), generator=generator)
        real = torch.arange(LENGTH) < torch.randint(3, LENGTH + 1, (rows, 1), generator=generator)
        share = 0.0 if index % 5 == 3 else 0.4
        chosen = (torch.rand(rows, LENGTH, generator=generator) < share) & real
        pairs = torch.randint(0, 2, (rows,), generator=generator)
        pairs[torch.rand(rows, generator=generator) < 0.3] = IGNORE
        return {
            "input_ids": torch.where(chosen, 1, ids),
            "attention_mask": real,
            "token_type_ids": (torch.arange(LENGTH) > 4).long().expand(rows, LENGTH),
            "labels": torch.where(chosen, ids, IGNORE),
            "pair_labels": pairs,
        }


class Split:
    """The rows of another source, one to a batch."""

    def __init__(self, source):
        self.source = source

    def batch(self, index):
        whole_batch = self.source.batch(index // self.source.rows)
        row = index % self.source.rows
        return {key: value[row : row + 1] for key, value in whole_batch.items()}


def make_model(*, dropout=0.0, position="learned", seed=0):
    torch.manual_seed(seed)
    return Bert(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=LENGTH,
            position=position,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
    )


def make_trainer(processes, *, folder=None, model=None, source=None, both=True, **config):
    values = {"steps": 8, "micro_batches": 4, "warmup_steps": 2, "eval_every": 4, "save_every": 4, "log_every": 3}
    return Trainer(
        make_model() if model is None else model,
        Joint([MaskedLM(), NextSentence()], [1.0, 0.5]) if both else MaskedLM(),
        source or Pairs(),
        TrainConfig(**{**values, **config}),
        valid_batches=[Pairs(first=10_000).batch(index) for index in range(5)],
        folder=folder,
        hardware=Hardware(processes.device, processes=processes),
        quiet=True,
    )


def weights_of(trainer):
    return {name: whole(parameter.detach()).clone() for name, parameter in trainer.model.named_parameters()}


def gradients(processes, *, split=False, both=True, **options):
    """The gradients of one step, as the optimiser sees them, before it moves anything."""
    source = Split(Pairs()) if split else Pairs()
    model = make_model(**options)
    micro_batches = 4 * (source.source.rows if split else 1)
    trainer = make_trainer(
        processes, model=model, source=source, both=both, micro_batches=micro_batches, max_grad_norm=0
    )
    seen = {}

    def note(*_):
        for name, parameter in trainer.model.named_parameters():
            seen[name] = None if parameter.grad is None else whole(parameter.grad).clone()

    trainer.optimizer.register_step_pre_hook(note)
    trainer.step()
    return seen


def train(processes, *, folder=None, resume=False, dropout=0.0, seed=0, **config):
    """Train, and return weights, log records and progress."""
    trainer = make_trainer(processes, folder=folder, model=make_model(dropout=dropout, seed=seed), **config)
    problems = trainer.resume() if resume else []
    progress = trainer.fit()
    return {"weights": weights_of(trainer), "records": trainer.records, "progress": progress, "problems": problems}


def parts(processes):
    """How many numbers this process holds of each parameter and of each of the optimiser's tensors."""
    trainer = make_trainer(processes)
    trainer.step()
    sizes = {name: (local(p).numel(), p.numel()) for name, p in trainer.model.named_parameters()}
    moments = [
        local(value).numel() for state in trainer.optimizer.state.values() for value in state.values() if value.dim()
    ]
    return sizes, sum(moments)


def random_numbers(processes):
    """What this process would drop."""
    make_trainer(processes, model=make_model(dropout=0.5))
    return torch.rand(3)


def several(processes, *, tasks):
    """Do several tasks one after the other in the same processes; what each of them returned."""
    return [globals()[name](processes, **options) for name, options in tasks]


class Accident(Pairs):
    """A source to which something happens in one rank at one batch."""

    def __init__(self, happen, index):
        super().__init__()
        self.happen, self.index = happen, index

    def batch(self, index):
        if index == self.index:
            self.happen()
        return super().batch(index)


def killed(processes, *, folder, index):
    """Rank 1 is killed where it reads a batch."""
    source = Accident(lambda: os.kill(os.getpid(), signal.SIGKILL), index) if processes.rank == 1 else Pairs()
    make_trainer(processes, folder=folder, source=source, save_every=2, model=make_model(dropout=0.3)).fit()


def interrupted(processes, *, folder, index):
    """Rank 1 alone is asked to stop."""
    source = Accident(lambda: signal.raise_signal(signal.SIGTERM), index) if processes.rank == 1 else Pairs()
    make_trainer(processes, folder=folder, source=source, model=make_model(dropout=0.3)).fit()


def unreadable(processes):
    """Rank 1 cannot read its data."""

    def fail():
        raise OSError("the disk is gone")

    make_trainer(processes, source=Accident(fail, 9) if processes.rank == 1 else Pairs()).fit()


def poisoned(processes, *, where):
    """Something becomes NaN in rank 1, in its third step; the weights must be those of the second."""
    model = make_model()
    trainer = make_trainer(processes, model=model, log_every=1, eval_every=100)
    before = {}
    if processes.rank == 1:
        if where == "loss":

            def spoil(module, arguments, output):
                return output * float("nan") if trainer.progress.step == 2 and module.training else output

            model.mlm_head.register_forward_hook(spoil)
        else:

            def spoil_gradient(gradient):
                return gradient * float("inf") if trainer.progress.step == 2 else gradient

            model.pooler.dense.weight.register_hook(spoil_gradient)
    trainer.optimizer.register_step_post_hook(lambda *_: before.update(weights_of(trainer)))
    try:
        trainer.fit()
    finally:
        unmoved = all(torch.equal(value, before[name]) for name, value in weights_of(trainer).items())
        assert unmoved, "the weights were moved"
        assert trainer.progress.step == 2


def command(processes, *, arguments):
    """The command line; the processes are started by it."""
    from plm_core.cli import main

    errors, lines = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(lines):
        try:
            code = main(arguments)
        except SystemExit as error:
            code = error.code
    return code, lines.getvalue(), errors.getvalue()


def stopped_command(processes, *, arguments, step, number):
    """The command line, while rank 1 is sent a signal after a step."""
    original = Trainer.report

    def report(trainer, log):
        if trainer.progress.step == step and os.environ["RANK"] == "1":
            signal.raise_signal(number)
        original(trainer, log)

    Trainer.report = report
    return command(processes, arguments=arguments)


def send(answer, outcome):
    """Send an outcome as bytes: tensors must outlive the process that made them."""
    buffer = io.BytesIO()
    torch.save(outcome, buffer)
    answer.send_bytes(buffer.getvalue())


def run(task, environment, strategy, arguments, answer):
    """Run one task in the process of this rank and send what came of it."""
    os.environ.update(environment)
    torch.set_num_threads(1)
    function = globals()[task]
    try:
        if function in (command, stopped_command):
            send(answer, ("returned", function(Processes(), **arguments)))
            return
        processes = start_processes(strategy, device="cpu")
        with report_failure_once(processes):
            result = function(processes, **arguments)
            send(answer, ("returned", result))
    except BaseException as error:
        send(answer, (type(error).__name__, str(error)))


if __name__ == "rank":
    run(task, environment, strategy, arguments, answer)  # noqa: F821 - given by whoever runs this file
