"""Continue a run: what may be different from the configuration that it began with, and what may not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plm_core.runs.config import RunConfig
from plm_core.runs.folder import CONFIG_FILE, MARKER, check_run_files, check_written_in_training, is_run

MAY_CHANGE_ON_RESUME = frozenset(
    {
        "output",
        "precision",
        "strategy",
        "train.steps",
        "train.eval_every",
        "train.patience",
        "train.save_every",
        "train.keep_last",
        "train.log_every",
        "train.activation_checkpointing",
        "train.compile",
        "train.tensorboard",
    }
)
"""The fields of a configuration in which a resumed run may differ from the run that it continues: where and on what it
computes, how long it trains, and how often it evaluates, saves and logs. More steps stretch the decay of the learning
rate, which is a function of the step and of the last one. Every other field decides what is learned."""


def resumed_config(config: RunConfig) -> RunConfig:
    """The configuration to continue a run with; nothing on the disk is changed.

    Args:
        config: the configuration to continue with, whose output folder holds the run.

    Returns:
        The same one; a model's shape that it leaves to ``init_from`` is the stored one.

    Raises:
        FileNotFoundError: the folder holds no run, or a part of it is missing.
        FileExistsError: a link stands where the run writes.
        ValueError: a file of the run was changed, or a field of the configuration that may not change; it is named.
    """
    folder = config.output
    if not is_run(folder):
        raise FileNotFoundError(
            f"there is nothing to resume: {folder} is not the output folder of `plm train` (no {MARKER} in it). Leave "
            "out --resume to start the run, or name the folder of the one to continue (output=...)"
        )
    check_run_files(folder)
    check_written_in_training(folder, new=False)
    stored = RunConfig.load(folder / CONFIG_FILE)
    if config.init_from is not None and not config.model:
        config = config.replace(model=stored.model)
    if changes := changed_fields(stored, config):
        raise ValueError(
            f"the run in {folder} was begun with other settings: {'; '.join(changes)}. Resume it with its own, or "
            f"start a new run from its weights (init_from={folder} and another output)"
        )
    return config


def changed_fields(stored: RunConfig, config: RunConfig) -> list[str]:
    """The fields that differ and may not, each with both values."""
    before, now = flattened(plain(stored)), flattened(plain(config))
    names = [name for name in {**before, **now} if name not in MAY_CHANGE_ON_RESUME]
    return [
        f"{name} was {before.get(name)!r}, now {now.get(name)!r}" for name in names if before.get(name) != now.get(name)
    ]


def plain(config: RunConfig) -> dict[str, Any]:
    """A configuration as plain values, with the defaults of the model's shape written out."""
    values = config.to_dict()
    values["model"] = config.model_config(vocab_size=1).to_dict()
    return values


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dots in the names: ``train.steps``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
