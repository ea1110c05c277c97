"""Training in stages: one model, one objective after the other, each with its own data, steps and learning rate.

A stage is a run of :class:`~plm_core.training.trainer.Trainer` in a folder of its own. Its best weights are what the
next stage starts from. Optimiser and random generators start anew in every stage: the moments of one objective's
gradients say nothing about another's, and a stage's random numbers follow from the seed and its number alone.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from plm_core.data.batch import Batch, BatchSource
from plm_core.distributed import Processes
from plm_core.evaluation.validation import TermsObjective
from plm_core.files import read_json_object
from plm_core.ownership import replace_file
from plm_core.runtime import seed_everything
from plm_core.training.checkpoints.directory import BEST, LAST, WEIGHTS, complete, newest_checkpoint, verify
from plm_core.training.config import TrainConfig
from plm_core.training.hardware import Hardware
from plm_core.training.progress import Progress
from plm_core.training.trainer import Trainer
from plm_core.weights import load_weights

Carry = Literal["best", "last"]
STAGE_FILE = "stage.json"
"""What a stage was begun with."""
FINISHED_FILE = "finished.json"
"""What a finished stage hands on; a stage without it is not finished."""
NAME = re.compile(r"[a-z0-9][a-z0-9_]*")
MAY_CHANGE = frozenset({"save_every", "keep_last", "activation_checkpointing", "compile", "tensorboard"})
"""The fields of a begun stage's configuration that may be different when it is continued. The others decide what is
learned or what is logged."""


@dataclass(frozen=True)
class Stage:
    """One stage of a curriculum."""

    name: str
    """Its name: lower-case letters, digits and underscores. The folder is called after it."""
    objective: TermsObjective
    """What is predicted; a plain, joint or mixed objective."""
    source: BatchSource
    """Its training batches."""
    config: TrainConfig
    """Steps, learning rate, patience; the schedule begins anew."""
    valid_batches: Sequence[Batch] = ()
    """What its best weights are chosen on, by its own loss: losses of two objectives cannot be compared."""


@dataclass(frozen=True)
class StageResult:
    """What a finished stage has come to."""

    name: str
    """Its name."""
    folder: Path
    """Its folder, with logs and checkpoints."""
    progress: Progress
    """Where it ended."""
    carried: str
    """The checkpoint whose weights were handed on."""

    @property
    def stopped_early(self) -> bool:
        """Whether its patience ran out before its last step."""
        stage = read_json_object(self.folder / STAGE_FILE)
        return self.progress.step < int(stage["config"]["steps"])


class Curriculum:
    """Trains a model in stages; killed in the middle of any stage and resumed, it ends with the same bits.

    Args:
        model: the model, on its device, with every head that a stage needs. A stage trains what its objective reaches.
            To resume, build it as it was built at the beginning.
        stages: the stages in order.
        folder: where each stage gets a folder, such as ``01-masked_lm``.
        seed: seed of the stages' random generators.
        carry: which weights a stage hands on: the best by its validation loss, or the last; without validation the
            last.
        hardware: device, precision and processes.
        quiet: show no progress bars.

    Raises:
        ValueError: no stage, names that are no names or not distinct, or a model that is split among processes.
    """

    def __init__(
        self,
        model: nn.Module,
        stages: Sequence[Stage],
        folder: Path | str,
        *,
        seed: int = 0,
        carry: Carry = "best",
        hardware: Hardware | None = None,
        quiet: bool = False,
    ) -> None:
        check_names([stage.name for stage in stages])
        if carry not in ("best", "last"):
            raise ValueError(f"unknown carry {carry!r}: use 'best' or 'last'")
        self.model, self.stages, self.folder = model, list(stages), Path(folder)
        self.seed, self.carry, self.quiet = seed, carry, quiet
        self.hardware = Hardware() if hardware is None else hardware
        self.processes: Processes = self.hardware.resolved()[2]
        if self.processes.is_sharded:
            raise ValueError("a curriculum cannot split a model among processes: use strategy=ddp")
        self._acted_on_blocks = False

    def fit(self, *, resume: bool = False) -> list[StageResult]:
        """Train all stages that are not finished; the model then has the weights that the last one hands on.

        Args:
            resume: continue what the folder holds: finished stages are skipped, a begun one continues from its newest
                checkpoint. Where it holds nothing, training begins.

        Returns:
            The result of every stage.

        Raises:
            FileExistsError: the folder holds a curriculum, and ``resume`` is not set.
            ValueError: a begun stage has another name, objective or configuration than now, or other data.
            Interrupted: as :meth:`~plm_core.training.trainer.Trainer.fit`; the state was saved.
        """
        folders = [self.folder / f"{number:02d}-{stage.name}" for number, stage in enumerate(self.stages, start=1)]
        self.check_folder(folders, resume=resume)
        results: list[StageResult] = []
        for number, (stage, folder) in enumerate(zip(self.stages, folders, strict=True)):
            finished = self.from_main(lambda folder=folder: read_if_there(folder / FINISHED_FILE))
            if finished is None:
                if results:
                    self.load(results[-1])
                results.append(self.train(number, stage, folder))
            else:
                results.append(
                    StageResult(stage.name, folder, Progress(**finished["progress"]), str(finished["carried"]))
                )
        self.load(results[-1])
        return results

    def train(self, number: int, stage: Stage, folder: Path) -> StageResult:
        """Begin or continue a stage, and write down what it hands on."""
        if self.processes.is_main:
            folder.mkdir(parents=True, exist_ok=True)
            replace_file(folder / STAGE_FILE, as_json(described(stage)))
        self.processes.barrier()
        seed_everything(stage_seed(self.seed, number))
        trainer = Trainer(
            self.model,
            stage.objective,
            stage.source,
            self.config_of(stage),
            valid_batches=stage.valid_batches,
            folder=folder,
            hardware=self.hardware,
            quiet=self.quiet,
        )
        if self.from_main(lambda: bool(complete(folder, LAST))):
            trainer.resume()
        progress = trainer.fit()
        carried = self.from_main(lambda: handed_on(folder, self.carry).name)
        if self.processes.is_main:
            reached = dataclasses.asdict(progress)
            if not stage.valid_batches:
                del reached["best_loss"]  # infinite, which JSON cannot hold
            replace_file(folder / FINISHED_FILE, as_json({"progress": reached, "carried": carried}))
        return StageResult(stage.name, folder, progress, carried)

    def load(self, result: StageResult) -> None:
        """Give the model the weights that a stage hands on.

        Raises:
            DamagedCheckpointError: they are no longer as they were written.
        """
        path = result.folder / result.carried
        verify(path)
        load_weights(self.model, path / WEIGHTS)

    def config_of(self, stage: Stage) -> TrainConfig:
        """The configuration of a stage's trainer; what acts on the model's blocks in place is done once."""
        config = stage.config
        if self._acted_on_blocks:
            return config.replace(activation_checkpointing=False, compile=False)
        self._acted_on_blocks = config.activation_checkpointing or config.compile
        return config

    def check_folder(self, folders: Sequence[Path], *, resume: bool) -> None:
        """Refuse a folder that holds another curriculum, or one that is not to be resumed."""
        known = {folder.name: stage for folder, stage in zip(folders, self.stages, strict=True)}
        begun = sorted(self.folder.glob(f"*/{STAGE_FILE}")) if self.folder.is_dir() else []
        if begun and not resume:
            raise FileExistsError(f"{self.folder} already holds a curriculum: resume it, or choose another folder")
        for path in begun:
            if path.parent.name not in known:
                raise ValueError(
                    f"{self.folder} holds the stage {path.parent.name}, and now the stages are {', '.join(known)}: "
                    "resume with the stages that it was begun with, or choose another folder"
                )
            check_same(read_json_object(path), described(known[path.parent.name]), path.parent)

    def from_main(self, value: Any) -> Any:
        """What a function returns in the main process, in all of them."""
        return self.processes.broadcast(value() if self.processes.is_main else None)


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError unless these can be the names of a curriculum's stages."""
    if not names or len(set(names)) != len(names) or not all(NAME.fullmatch(name) for name in names):
        raise ValueError(
            "a curriculum needs at least one stage and distinct names of lower-case letters, digits and underscores, "
            f"got {list(names)}"
        )


def stage_seed(seed: int, number: int) -> int:
    """The seed of a stage's random generators, from the curriculum's and the stage's number."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def handed_on(folder: Path, carry: Carry) -> Path:
    """The checkpoint whose weights a stage hands on: the best one, or the newest where there is no best.

    Raises:
        ValueError: the best one is damaged. Others are not taken in its place silently.
        FileNotFoundError: there is none.
    """
    kinds = (BEST, LAST) if carry == "best" else (LAST,)
    for kind in kinds:
        path, problems = newest_checkpoint(folder, kind)
        if problems:
            raise ValueError(f"{folder}: {problems[0].removeprefix('passed over: ')}")
        if path is not None:
            return path
    raise FileNotFoundError(f"{folder} holds no complete checkpoint")


def described(stage: Stage) -> dict[str, Any]:
    """What of a stage must not change while it is trained, as plain values."""
    return {"name": stage.name, "objective": dict(stage.objective.weights), "config": stage.config.to_dict()}


def check_same(stored: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Raise ValueError if a begun stage is to be continued as another one; the first difference is named."""
    if stored.get("objective") != now["objective"]:
        raise ValueError(
            f"{folder} was begun with the objective {stored.get('objective')}, now it is {now['objective']}: resume "
            "with the same one, or choose another folder"
        )
    before = stored.get("config")
    for name, value in now["config"].items():
        if name not in MAY_CHANGE and (not isinstance(before, dict) or before.get(name) != value):
            was = before.get(name) if isinstance(before, dict) else None
            raise ValueError(
                f"{folder} was begun with {name}={was}, now it is {value}: resume with the same value, or choose "
                "another folder"
            )


def read_if_there(path: Path) -> dict[str, Any] | None:
    """The content of a JSON file, None if there is none."""
    return read_json_object(path) if path.is_file() else None


def as_json(values: Mapping[str, Any]) -> bytes:
    """Plain values as the content of a JSON file."""
    return (json.dumps(values, indent=1) + "\n").encode()
