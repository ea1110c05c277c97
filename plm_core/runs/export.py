"""Write the model of a run as a file for programs without torch."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from plm_core.compression.export import export_onnx, quantize_onnx
from plm_core.compression.onnx_model import OnnxModel
from plm_core.runs.batches import make_sources
from plm_core.runs.compress import score_all
from plm_core.runs.corpus import load_texts
from plm_core.runs.pretrain import open_run

FORMATS = ("onnx",)


def export_run(run: Path, output: Path, *, format: str = "onnx", int8: bool = False, calibrate: int = 0) -> int:
    """Write the best weights of a run as an ONNX file.

    Args:
        run: the output folder of ``plm train`` or ``plm compress``.
        output: the file to write; its folder is made.
        format: ``"onnx"``.
        int8: integer weights and activations.
        calibrate: with ``int8``, the number of training batches that the ranges of activations are chosen on; 0
            rounds activations as they come.

    Returns:
        The file's bytes.

    Raises:
        FileNotFoundError: no such run.
        FileExistsError: the file is there already.
        ValueError: another format, a calibration without integers, or a damaged run.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}: use {', '.join(FORMATS)}")
    if calibrate < 0 or (calibrate and not int8):
        raise ValueError(f"calibrate={calibrate}: ranges are chosen for integers, on one batch or more (int8, --int8)")
    if output.exists():
        raise FileExistsError(f"{output} exists already: choose another name")
    _, _, model = open_run(run)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".export-") as scratch:
        floats, made = Path(scratch) / "floats.onnx", Path(scratch) / "integers.onnx"
        export_onnx(model, floats)
        if int8:
            quantize_onnx(floats, made, calibration=calibration(run, floats, calibrate) if calibrate else None)
        (made if int8 else floats).rename(output)
    return output.stat().st_size


def calibration(run: Path, floats: Path, batches: int) -> list[dict[str, np.ndarray]]:
    """What the float file is given on training batches of the run."""
    config, tokenizer, _ = open_run(run)
    with tempfile.TemporaryDirectory() as scratch:
        sources = make_sources(config, load_texts(config), tokenizer, Path(scratch))
        model = OnnxModel(floats)
        with model.recording() as inputs:
            score_all(sources.objective, [sources.train.batch(number) for number in range(batches)], model)
    return inputs
