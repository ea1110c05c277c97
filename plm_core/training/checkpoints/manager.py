"""The checkpoints of a run on one or several processes: who writes and who reads which part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from plm_core.distributed import Processes
from plm_core.training.checkpoints.directory import (
    BEST,
    LAST,
    STATE,
    WEIGHTS,
    begin_checkpoint,
    checkpoint_folder,
    exists_complete,
    finish_checkpoint,
    keep_newest,
    load_checkpoint,
    load_state,
    newest_checkpoint,
    save_checkpoint,
    save_state,
    verify,
)
from plm_core.training.checkpoints.sharded import (
    OPTIMIZER,
    load_optimizer_parts,
    load_whole_weights,
    save_optimizer_parts,
    whole_weights,
)

State = dict[str, Any]


class Checkpoints:
    """Saves and loads a run. All processes call every method together.

    The main process writes what is the same in all: weights, optimiser, progress. Every process hands it what is its
    own, such as its random generators. Where the model is sharded each writes its part of the optimiser itself. The
    folder must be one that all processes see.

    Args:
        folder: the run's output folder.
        model: the model.
        optimizer: its optimiser.
        processes: the processes.
        keep_last: number of newest checkpoints to keep besides the best one.
    """

    def __init__(
        self, folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, processes: Processes, *, keep_last: int
    ) -> None:
        self.folder, self.model, self.optimizer, self.processes = folder, model, optimizer, processes
        self.keep_last = keep_last

    def save_best(self, step: int, state: State) -> None:
        """Write the weights of a step as the best so far, without what only resuming needs."""
        self._write(checkpoint_folder(self.folder, step, BEST), state, with_optimizer=False)
        if self.processes.is_main:
            keep_newest(self.folder, 1, BEST)

    def save(self, step: int, state: State, own: State) -> None:
        """Write everything that resuming needs, and delete the checkpoints that are no longer kept.

        Args:
            step: the checkpoint's number.
            state: what is the same in every process; plain values and tensors.
            own: what is this process's own.
        """
        state = {**state, "ranks": self.processes.gather(own)}
        if not self.processes.is_sharded:
            state["optimizer"] = self.optimizer.state_dict()
        self._write(checkpoint_folder(self.folder, step, LAST), state, with_optimizer=True)
        if self.processes.is_main:
            keep_newest(self.folder, self.keep_last, LAST)

    def load(self) -> tuple[State, State | None, list[str]]:
        """Put back weights and optimiser from the newest complete checkpoint.

        Returns:
            Its state; what this process had as its own, None if another number of processes saved it; and a message
            for each damaged checkpoint that was passed over, and for such a change of number.

        Raises:
            FileNotFoundError: the folder holds no complete checkpoint.
            ValueError: the checkpoint belongs to another model, or to a run that cannot be split now.
        """
        processes = self.processes
        path, problems = processes.broadcast(newest_checkpoint(self.folder) if processes.is_main else (None, []))
        if path is None:
            damaged = f" ({'; '.join(problems)})" if problems else ""
            raise FileNotFoundError(f"{self.folder} holds no complete checkpoint to resume from{damaged}")
        if processes.is_sharded:
            verify(path)
            load_whole_weights(self.model, path)
            state = load_state(path / STATE)
        else:
            state = load_checkpoint(path, self.model)
        if "optimizer" not in state:
            load_optimizer_parts(self.model, self.optimizer, path / OPTIMIZER)
        elif processes.is_sharded:
            raise ValueError(f"{path} was saved by a run with strategy=ddp: continue it with that, not with fsdp")
        else:
            self.optimizer.load_state_dict(state["optimizer"])
        if len(state["ranks"]) != processes.size:
            problems.append(
                f"{path.name} was saved by {len(state['ranks'])} processes and is continued by {processes.size}: "
                "random numbers, for example of dropout, are not those of an uninterrupted run"
            )
            return state, None, problems
        return state, state["ranks"][processes.rank], problems

    def _write(self, path: Path, state: State, *, with_optimizer: bool) -> None:
        processes = self.processes
        if not processes.is_sharded:
            if processes.is_main:
                save_checkpoint(path, self.model, state)
            return
        done = not processes.is_main or exists_complete(path)
        temporary = processes.broadcast(None if done else begin_checkpoint(path))
        if temporary is None:
            return
        if with_optimizer:
            save_optimizer_parts(self.model, self.optimizer, temporary / OPTIMIZER)
        weights = whole_weights(self.model, keep=processes.is_main)
        if processes.is_main:
            save_file(weights, str(temporary / WEIGHTS), metadata={"format": "pt"})
            save_state(state, temporary / STATE)
            finish_checkpoint(temporary, path)
