"""``plm compress``, ``export`` and ``benchmark``: functions whose arguments become options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg


def compress(
    run: Positional[Path],
    output: Path,
    method: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="NAME[:KEY=VALUE,...]")]],
) -> None:
    """Make a trained model smaller, one method after the other; the result opens like any run.

    Args:
        run: the output folder of `plm train`, or of this command.
        output: the folder to make.
        method: prune, low-rank, quantize or distill with its options, such as prune:what=heads,share=0.25,steps=200;
            repeat the option for several, in this order.
    """
    from plm_core.pretraining.compress import compress_run

    stages = compress_run(run, output, method)
    print("\n".join(stage.line(stages[0]) for stage in stages))
    print(f"compressed model: {output}")


def export(run: Positional[Path], output: Path, int8: bool = False) -> None:
    """Write a trained or compressed model as an ONNX file.

    Args:
        run: the output folder of `plm train` or `plm compress`.
        output: the file to write.
        int8: integer weights and activations, rounded as they come.
    """
    from plm_core.compression.export import export_onnx, quantize_onnx
    from plm_core.pretraining.run import open_run

    _, _, model = open_run(run)
    if output.exists():
        raise FileExistsError(f"{output} exists already: choose another name")
    output.parent.mkdir(parents=True, exist_ok=True)
    floats = output.with_name(f".{output.name}.floats")
    try:
        export_onnx(model, floats if int8 else output)
        if int8:
            quantize_onnx(floats, output)
    finally:
        floats.unlink(missing_ok=True)
    print(f"{output}: {output.stat().st_size:,} bytes")


def benchmark(runs: Positional[tuple[Path, ...]], rounds: int = 20, threads: int | None = None) -> None:
    """Compare models by quality, bytes, latency of one sequence and throughput; the first is the reference.

    Args:
        runs: output folders of `plm train` or `plm compress`.
        rounds: counted calls of each model, taken in turns after a warm-up.
        threads: cores to use; torch's number by default.
    """
    from plm_core.evaluation.benchmark import table
    from plm_core.pretraining.compare import compare_runs

    rows = compare_runs(runs, rounds=rounds, threads=threads)
    print(table(rows, rows[0].name))
