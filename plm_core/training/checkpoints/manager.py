"""The checkpoints of a run on one or several processes: which process writes and reads which part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from plm_core.distributed import Processes
from plm_core.training.checkpoints import directory, sharded
from plm_core.training.checkpoints.directory import BEST, LAST, STATE, WEIGHTS
from plm_core.training.checkpoints.state import State, load_state, save_state
from plm_core.training.optim import MuonAdamW


class Checkpoints:
    """Saves and loads a run. All processes call every method together.

    The main process writes what is the same in all: weights, optimiser, progress. Every process sends it what is its
    own, such as its random generators. Where the model is sharded, each writes its part of the optimiser itself. The
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
        self._write(directory.checkpoint_folder(self.folder, step, BEST), state, with_optimizer=False)
        if self.processes.is_main:
            directory.keep_newest(self.folder, 1, BEST)

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
        self._write(directory.checkpoint_folder(self.folder, step, LAST), state, with_optimizer=True)
        if self.processes.is_main:
            directory.keep_newest(self.folder, self.keep_last, LAST)

    def load(self) -> tuple[State, State | None, list[str]]:
        """Put back weights and optimiser from the newest complete checkpoint. Nothing on the disk is changed.

        Returns:
            Its state; what this process had as its own, None if another number of processes saved it; and a message
            for each damaged checkpoint that was passed over, and for such a change of number.

        Raises:
            FileNotFoundError: the folder holds no complete checkpoint.
            ValueError: the checkpoint belongs to another model or optimiser, or to a run that cannot be split now.
        """
        path, problems = self._newest()
        if self.processes.is_sharded:
            directory.verify(path)
            sharded.load_whole_weights(self.model, path)
            state = load_state(path / STATE)
        else:
            state = directory.load_checkpoint(path, self.model)
        if not isinstance(state.get("progress"), dict) or not isinstance(state.get("ranks"), list):
            raise ValueError(f"{path / STATE} holds no state of a run: resume from an earlier checkpoint")
        self._load_optimizer(path, state)
        saved, size = len(state["ranks"]), self.processes.size
        if saved != size:
            problems.append(
                f"{path.name} was saved by {saved} processes and is continued by {size}: random "
                "numbers, for example of dropout, are not those of an uninterrupted run"
            )
            return state, None, problems
        return state, state["ranks"][self.processes.rank], problems

    def _newest(self) -> tuple[Path, list[str]]:
        """The newest complete checkpoint, and what was passed over, as the main process finds them."""
        found = directory.newest_checkpoint(self.folder) if self.processes.is_main else (None, [])
        path, problems = self.processes.broadcast(found)
        if path is None:
            damaged = f" ({'; '.join(problems)})" if problems else ""
            raise FileNotFoundError(f"{self.folder} holds no complete checkpoint to resume from{damaged}")
        return path, problems

    def _load_optimizer(self, path: Path, state: State) -> None:
        """Put back the optimiser's state, from the checkpoint's state or from the parts that processes wrote."""
        if "optimizer" not in state:
            sharded.load_optimizer_parts(self.model, self.optimizer, path / sharded.OPTIMIZER)
        elif self.processes.is_sharded:
            raise ValueError(f"{path} was saved by a run with strategy=ddp: continue it with that, not with fsdp")
        else:
            check_optimizer(self.optimizer, state["optimizer"], path)
            self.optimizer.load_state_dict(state["optimizer"])

    def _write(self, path: Path, state: State, *, with_optimizer: bool) -> None:
        """Write a checkpoint, together or by the main process alone, unless an undamaged one is there."""
        if not self.processes.is_sharded:
            if self.processes.is_main:
                directory.save_checkpoint(path, self.model, state)
            return
        with self._draft(path) as draft:
            if draft is None:
                return
            if with_optimizer:
                sharded.save_optimizer_parts(self.model, self.optimizer, draft / sharded.OPTIMIZER)
            weights = sharded.whole_weights(self.model, keep=self.processes.is_main)
            if self.processes.is_main:
                save_file(weights, str(draft / WEIGHTS), metadata={"format": "pt"})
                save_state(state, draft / STATE)

    @contextmanager
    def _draft(self, path: Path) -> Iterator[Path | None]:
        """The directory that all processes build a checkpoint in; None if there is nothing to build."""
        if not self.processes.is_main or directory.exists_complete(path):
            yield self.processes.broadcast(None)
        else:
            with directory.new_checkpoint(path) as draft:
                yield self.processes.broadcast(draft)


def check_optimizer(optimizer: torch.optim.Optimizer, stored: State, path: Path) -> None:
    """Make sure that an optimiser's stored state belongs to the optimiser at hand.

    Raises:
        ValueError: another optimiser, other groups of parameters, or moments of another shape.
    """
    advice = "resume with the run's own optimizer, layer_decay and weight_decay, or start a new run (init_from)"
    wrong = ValueError(f"{path} holds the state of another optimiser than {type(optimizer).__name__}: {advice}")
    own = optimizer.state_dict()
    try:
        if isinstance(optimizer, MuonAdamW):
            for name, part in optimizer.parts.items():
                check_optimizer(part, stored[name], path)
            return
        groups, states = stored["param_groups"], stored["state"]
        if [len(group["params"]) for group in groups] != [len(group["params"]) for group in own["param_groups"]]:
            raise wrong
        if any(a.keys() != b.keys() for a, b in zip(groups, own["param_groups"], strict=True)):
            raise wrong
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for number, values in states.items():
            for value in values.values():
                if isinstance(value, torch.Tensor) and value.dim() and value.shape != parameters[number].shape:
                    raise wrong
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise wrong from error
