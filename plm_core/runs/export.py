"""Write the model of a run as a file for programs without torch."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from plm_core.compression.export import export_onnx, quantize_onnx
from plm_core.compression.export_quantized import export_quantized
from plm_core.compression.onnx_model import OnnxModel
from plm_core.runs.compression_steps import score_all
from plm_core.runs.open import Run

FORMATS = ("onnx",)
MAX_CALIBRATION_BATCHES = 1000
"""Their inputs are kept in memory; some tens suffice."""


def export_run(folder: Path, output: Path, *, int8: bool = False, calibrate: int = 0, packed: bool = False) -> int:
    """Write the best weights of a run as an ONNX file.

    Args:
        folder: the output folder of ``plm train`` or ``plm compress``.
        output: the file to write; its folder is made.
        int8: integer weights and activations.
        calibrate: with ``int8``, the number of training batches that the ranges of activations are chosen on; 0
            rounds activations as they come.
        packed: the integer weights that the run has, as they are; see
            :func:`~plm_core.compression.export_quantized.export_quantized`.

    Returns:
        The file's bytes.

    Raises:
        FileNotFoundError: no such run.
        FileExistsError: the file is there already.
        ValueError: a calibration without integers, integers kept and made at once, no integers to keep, or a damaged
            run.
    """
    if packed and int8:
        raise ValueError(
            "packed (--packed) keeps the integers of the run, int8 (--int8) rounds its weights anew: choose one"
        )
    if not 0 <= calibrate <= MAX_CALIBRATION_BATCHES or (calibrate and not int8):
        raise ValueError(
            f"calibrate={calibrate}: ranges are chosen for integers (int8, --int8), on 1 to {MAX_CALIBRATION_BATCHES} "
            "batches"
        )
    require_free_file(output)
    run = Run.open(folder)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".export-") as scratch:
        floats, made = Path(scratch) / "floats.onnx", Path(scratch) / "integers.onnx"
        if packed:
            export_quantized(run.model, floats)
        else:
            export_onnx(run.model, floats)
        if int8:
            quantize_onnx(floats, made, calibration=calibration(run, floats, calibrate) if calibrate else None)
        require_free_file(output)  # checked again, because the export takes a while
        (made if int8 else floats).rename(output)
    return output.stat().st_size


def require_free_file(path: Path) -> None:
    """Refuse a path where something is already.

    Raises:
        FileExistsError: a file, a folder or a link is there.
    """
    if path.exists() or path.is_symlink():
        raise FileExistsError(f"{path} exists already: choose another name")


def calibration(run: Run, floats: Path, batches: int) -> list[dict[str, np.ndarray]]:
    """The inputs of the float file on training batches of the run."""
    with run.sources() as sources:
        model = OnnxModel(floats)
        with model.recording() as inputs:
            score_all(sources.objective, [sources.train.batch(number) for number in range(batches)], model)
    return inputs
