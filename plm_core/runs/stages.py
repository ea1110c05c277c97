"""Pretraining in stages from a configuration: one trunk, one objective after the other or several mixed.

The output folder is a run of a masked model at the end, which every command takes. The stages with their logs and
checkpoints lie in ``stages`` below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from plm_core.config import Config
from plm_core.data.batch import Batch
from plm_core.data.batches import PaddedBatches
from plm_core.data.mixture import MixtureBatches, all_tagged, temperature_shares
from plm_core.data.prefixes import PrefixBatches
from plm_core.data.token_files import TokenFile
from plm_core.data.token_pairs import TokenPairBatches, TokenPairConfig, TokenPairs
from plm_core.data.token_rows import SentenceRows
from plm_core.data.tokenizers import Tokenizer
from plm_core.files import read_yaml
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.pair_head import BertWithPairs
from plm_core.objectives.base import Objective
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.objectives.mixture import Mixture
from plm_core.objectives.prefix_lm import CausalTrunkLM, PrefixLM
from plm_core.objectives.relative_position import RelativePosition
from plm_core.runs.batches import TRAIN, VALID, Source, make_sources
from plm_core.runs.config import RunConfig, apply_override
from plm_core.runs.corpus import load_texts, train_tokenizer
from plm_core.runs.folder import CONFIG_FILE, check_new_run, check_run_files, only_user, run_files, write_run_files
from plm_core.runtime import resolve_device, setup
from plm_core.training.arithmetic import choose_arithmetic
from plm_core.training.checkpoints.directory import BEST, checkpoint_folder, save_checkpoint
from plm_core.training.curriculum import STAGE_FILE, Carry, Curriculum, Stage, StageResult, check_names
from plm_core.training.hardware import Hardware
from plm_core.weights import load_stripped, stripped_state_dict

StageObjective = Literal["causal_lm", "prefix_lm", "masked_lm", "relative_position"]
STAGES_FILE = "stages.yaml"
STAGES = "stages"
"""The folder of the stages, below that of the run."""


@dataclass(frozen=True)
class StageConfig(Config):
    """One stage; what it leaves open is as the run has it."""

    name: str
    """Its name: lower-case letters, digits and underscores."""
    objective: StageObjective | dict[StageObjective, float]
    """What to predict; for a mixture several objectives, each with its weight."""
    temperature: float = 1.0
    """Exponent of the mixture: shares are weight^(1 / temperature)."""
    corpus: str | None = None
    """Another corpus than the run's; the tokenizer stays the run's."""
    max_documents: int | None = None
    """How many documents to use."""
    batch_size: int | None = None
    """Rows of a batch."""
    train: dict[str, Any] = field(default_factory=dict)
    """Fields of TrainConfig that differ from the run's: steps, learning_rate, patience, ..."""

    def validate(self) -> None:
        """Refuse a mixture of nothing, and weights that are none."""
        if not self.objective:
            raise ValueError(f"stage {self.name!r}: a mixture needs at least one objective with its weight")
        temperature_shares(list(self.weights.values()), self.temperature)

    @property
    def weights(self) -> dict[StageObjective, float]:
        """Each objective and its weight."""
        return self.objective if isinstance(self.objective, dict) else {self.objective: 1.0}


@dataclass(frozen=True)
class StagedConfig(Config):
    """A run in stages."""

    run: RunConfig
    """Corpus, tokenizer, model and what all stages share; of the model a Bert, of the objectives masked_lm."""
    stages: tuple[StageConfig, ...]
    """The stages in order."""
    carry: Carry = "best"
    """Which weights a stage hands on: the best or the last."""
    token_pairs: TokenPairConfig = field(default_factory=TokenPairConfig)
    """Which pairs relative_position draws."""

    def validate(self) -> None:
        """Refuse what the stages cannot be trained with."""
        check_names([stage.name for stage in self.stages])
        if self.run.objective != "masked_lm" or self.run.init_from is not None:
            raise ValueError("a run in stages leaves `objective` and `init_from` to its stages: take them out")
        for stage in self.stages:
            self.stage_run(stage)

    def stage_run(self, stage: StageConfig) -> RunConfig:
        """The run's configuration with what a stage changes.

        Raises:
            ValueError: a field of ``train`` that does not exist, or a value that does not fit.
        """
        changes = {name: getattr(stage, name) for name in ("corpus", "max_documents", "batch_size")}
        try:
            train = self.run.train.replace(**stage.train)
            return self.run.replace(
                train=train, **{name: value for name, value in changes.items() if value is not None}
            )
        except ValueError as error:
            raise ValueError(f"stage {stage.name!r}: {error}") from error


def read_staged_config(path: Path, overrides: Sequence[str] = ()) -> StagedConfig | None:
    """Read a configuration of a run in stages; None if the file has no ``stages``, and is that of a plain run.

    Args:
        path: a YAML file: the keys of a run, and ``stages``, ``carry`` and ``token_pairs`` beside them.
        overrides: ``key=value`` for keys of the run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a key that does not exist, or a value that does not fit.
    """
    values = read_yaml(path)
    if not isinstance(values, dict) or "stages" not in values:
        return None
    for override in overrides:
        apply_override(values, override)
    own = {name: values.pop(name) for name in ("stages", "carry", "token_pairs") if name in values}
    try:
        return StagedConfig.from_dict({"run": {"objective": "masked_lm", **values}, **own})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def pretrain_in_stages(config: StagedConfig, *, resume: bool = False, quiet: bool = False) -> list[StageResult]:
    """Train all stages, into the run's output folder, and leave a run of the trunk with its masked head there.

    Args:
        config: the run and its stages.
        resume: continue what the folder holds; finished stages are skipped.
        quiet: show no progress bars.

    Returns:
        The result of each stage.

    Raises:
        FileExistsError: the folder holds a run, and ``resume`` is not set.
        FileNotFoundError: nothing to resume from, or no such corpus.
        ValueError: a configuration that is not the one that the run was begun with, or that does not fit its corpus.
        Interrupted: Ctrl-C or SIGTERM, after the state was saved.
    """
    run, output = config.run, config.run.output
    if resume:
        check_unchanged(config)
    else:
        check_new_run(output)
        if any((output / STAGES).glob(f"*/{STAGE_FILE}")):
            raise FileExistsError(f"{output} already holds a run in stages: continue it with --resume")
    arithmetic = choose_arithmetic(run.precision, resolve_device(), width=run.model_config(vocab_size=2).hidden_size)
    runtime = setup(seed=run.seed, precision=arithmetic.precision)
    texts = load_texts(run)
    with only_user(output):
        tokenizer = Tokenizer.load(output) if resume else train_tokenizer(run, texts)
        if not resume:
            files = run_files(run, tokenizer)
            write_run_files(output, {**files, STAGES_FILE: config.to_yaml().encode()})
        stages = [
            make_stage(config, stage, tokenizer, output / STAGES / f"{number:02d}-{stage.name}")
            for number, stage in enumerate(config.stages, start=1)
        ]
        torch.manual_seed(run.seed)
        shape = run.model_config(tokenizer.vocab_size)
        assert isinstance(shape, BertConfig)
        model = BertWithPairs(shape, num_pair_labels=config.token_pairs.num_labels).to(runtime.device)
        hardware = Hardware(runtime.device, runtime.precision)
        curriculum = Curriculum(
            model, stages, output / STAGES, seed=run.seed, carry=config.carry, hardware=hardware, quiet=quiet
        )
        results = curriculum.fit(resume=resume)
        steps = sum(result.progress.step for result in results)
        save_checkpoint(checkpoint_folder(output, steps, BEST), without_pair_head(model), {"stages": len(results)})
    return results


def check_unchanged(config: StagedConfig) -> None:
    """Refuse to resume with another configuration than the run was begun with.

    Raises:
        FileNotFoundError: the folder holds no run in stages.
        ValueError: a file of the run, or the configuration, was changed.
    """
    output = config.run.output
    if STAGES_FILE not in check_run_files(output):
        raise FileNotFoundError(f"{output} holds no run in stages to resume")
    if (output / STAGES_FILE).read_text(encoding="utf-8") != config.to_yaml():
        raise ValueError(
            f"the configuration is not the one that {output} was begun with ({STAGES_FILE} and {CONFIG_FILE} in it): "
            "resume with that one, or choose another folder (output=...)"
        )


def make_stage(config: StagedConfig, stage: StageConfig, tokenizer: Tokenizer, folder: Path) -> Stage:
    """Objective and batches of a stage; its token files go into its folder.

    Raises:
        ValueError: a corpus that does not fit the objective.
    """
    run = config.stage_run(stage)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in (TRAIN, VALID)]
    sources = make_sources(run, load_texts(run), tokenizer, folder, write=not all(file.exists() for file in files))
    tasks: list[tuple[Objective, Source, Sequence[Batch]]] = []
    for name in stage.weights:
        if name == "masked_lm":
            tasks.append((MaskedLM(label_smoothing=run.label_smoothing), sources.train, sources.valid))
        else:
            train, valid = (task_source(name, config, run, TokenFile(file), tokenizer) for file in files)
            tasks.append((make_task(name, run), train, limited(valid.in_order(), run.validation_batches)))
    if len(tasks) == 1:
        objective, train, batches = tasks[0]
        return Stage(stage.name, objective, train, run.train, batches)
    shares = temperature_shares(list(stage.weights.values()), stage.temperature)
    mixed = MixtureBatches([train for _, train, _ in tasks], shares, seed=run.seed, group=run.train.micro_batches)
    together = all_tagged([batches for _, _, batches in tasks])
    return Stage(stage.name, Mixture([objective for objective, _, _ in tasks]), mixed, run.train, together)


def make_task(name: StageObjective, run: RunConfig) -> Objective:
    """The objective of that name on the trunk."""
    if name == "relative_position":
        return RelativePosition()
    kind = CausalTrunkLM if name == "causal_lm" else PrefixLM
    return kind(label_smoothing=run.label_smoothing)


def task_source(
    name: StageObjective, config: StagedConfig, run: RunConfig, file: TokenFile, tokenizer: Tokenizer
) -> Source:
    """The batches of an objective from a token file: the rows that masked language modelling has."""
    rows = FramedRows(SentenceRows(file, run.context - 2), tokenizer)
    if name == "relative_position":
        pairs = TokenPairs(special_ids=sorted(tokenizer.special_ids), config=config.token_pairs, seed=run.seed)
        return TokenPairBatches(rows, pairs=pairs, pad_id=tokenizer.pad_id, batch_size=run.batch_size, seed=run.seed)
    source = PaddedBatches(rows, batch_size=run.batch_size, pad_id=tokenizer.pad_id, seed=run.seed)
    return PrefixBatches(source, seed=run.seed) if name == "prefix_lm" else source


class FramedRows(Sequence[list[int]]):
    """Rows of text between [CLS] and [SEP].

    Args:
        rows: the rows.
        tokenizer: gives the special tokens.
    """

    def __init__(self, rows: Sequence[list[int]], tokenizer: Tokenizer) -> None:
        self.rows, self.first, self.last = rows, tokenizer.cls_id, tokenizer.sep_id

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> list[int]:  # type: ignore[override]
        return [self.first, *self.rows[index], self.last]


def limited(batches: Sequence[Batch], count: int | None) -> Sequence[Batch]:
    """At most so many batches, evenly spread."""
    return batches[:: -(-len(batches) // min(count or len(batches), len(batches)))]


def without_pair_head(model: BertWithPairs) -> Bert:
    """A Bert with a model's trunk and pretraining heads, on the CPU."""
    state = {name: tensor for name, tensor in stripped_state_dict(model).items() if not name.startswith("pair_head.")}
    bert = Bert(model.config)
    load_stripped(bert, state)
    return bert


def result_lines(results: Sequence[StageResult]) -> list[str]:
    """What each stage has come to, as text for the user."""
    return [
        f"{result.folder.name}: {result.progress.step} steps{' (stopped early)' * result.stopped_early}, best "
        f"validation loss {result.progress.best_loss:.4f} nats after step {result.progress.best_step}"
        for result in results
    ]
