"""From a table of texts to a report: what ``plm fine-tune configs/fine_tune/texts.yaml`` gives, and what it costs.

TREC's questions and sentence polarity are written as .tsv files, a header and one text with its class a line, and given
to the function behind the command, with the settings of that file; ``epochs`` alone is set here. The test file is used
once, for the report. One seed, one thread, seconds of processor time from reading the files to the report.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from plm_core.data.datasets import Split, sentence_polarity, trec_questions
from plm_core.data.examples import LabelledText
from plm_core.files import read_yaml
from plm_core.runs.fine_tune import fine_tune
from plm_core.runs.fine_tune_config import FineTuneConfig
from plm_core.runtime import setup

CORPORA = {"TREC": trec_questions, "polarity": sentence_polarity}
EPOCHS = {"TREC": 1, "polarity": 1}
VARIANTS = list(CORPORA)
SEEDS = [0]
CONFIG = Path(__file__).parents[2] / "configs" / "fine_tune" / "texts.yaml"


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Write the tables, fine-tune, and keep the report."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Split] = {"train_file": "train", "validation_file": "validation", "test_file": "test"}
    for name, split in files.items():
        write_table(folder / f"{name}.tsv", CORPORA[variant](split))
    paths = {name: str(folder / f"{name}.tsv") for name in files}
    values = read_yaml(CONFIG)
    assert isinstance(values, dict)
    values |= {**paths, "output": str(folder / "run"), "epochs": EPOCHS[variant], "seed": seed}
    config = FineTuneConfig.from_dict(values)
    resume = (folder / "run").exists()
    begun = time.process_time()
    report = fine_tune(config, resume=resume, quiet=True)
    seconds = time.process_time() - begun
    return {
        "seconds": seconds,
        "resumed": resume,
        "scores": report.scores,
        "baselines": report.baselines,
        "examples": report.examples,
        "steps": report.steps,
        "best_step": report.best_step,
        "epochs": config.epochs,
        "rate": config.rate,
        "batch": config.batch_size,
        "calibration error": report.calibration_error,
        "calibration by chance": report.calibration_by_chance,
        "truncated": report.truncated,
    }


def write_table(path: Path, examples: list[LabelledText]) -> None:
    """A .tsv file with a header; tabs in texts become spaces."""
    lines = ["text\tlabel", *(f"{' '.join(each.text.split())}\t{each.label}" for each in examples)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
