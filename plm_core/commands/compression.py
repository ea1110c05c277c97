"""``plm compress``, ``export`` and ``benchmark``: functions whose arguments become options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg


def compress(
    run: Annotated[Positional[Path], arg(metavar="MODEL")],
    output: Path,
    method: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="NAME[:KEY=VALUE,...]")]],
) -> None:
    """Make a trained model smaller, one method after the other; the result opens like any run.

    Args:
        run: the output folder of `plm train`, or of this command.
        output: the folder to make.
        method: prune, low-rank, quantize or distill with its options, such as prune:what=heads,share=0.25,steps=200,
            prune:by=sparsegpt,what=2:4 or quantize:bits=4,granularity=group,rounding=gptq,scale_bits=16; repeat the
            option for several, in this order. An unknown option is answered with the known ones.
    """
    from plm_core.runs.compress import compress_run

    stages = compress_run(run, output, method)
    print("\n".join(stage.line(stages[0]) for stage in stages))
    print(f"compressed model: {output}")


def export(
    run: Annotated[Positional[Path], arg(metavar="MODEL")],
    output: Path,
    format: Literal["onnx", "huggingface"] = "onnx",
    int8: bool = False,
    calibrate: int = 0,
    packed: bool = False,
) -> None:
    """Write a trained or compressed model as an ONNX file, or as a folder that `transformers` opens.

    Args:
        run: the output folder of `plm train` or `plm compress`.
        output: the file or folder to write.
        format: onnx, or huggingface: config.json, weights and tokenizer in a folder.
        int8: for onnx: integer weights and activations; activations are rounded as they come.
        calibrate: with --int8, round activations in ranges that are chosen beforehand on that many training batches.
        packed: for onnx, after `plm compress --method quantize`: keep the integers of the weights as they are, those of
            4 bits two in a byte; ONNX Runtime reads them from version 1.23 on.
    """
    from plm_core.runs.export import export_run
    from plm_core.runs.interchange import export_folder

    if format == "huggingface":
        if int8 or calibrate or packed:
            raise ValueError(
                "--int8, --calibrate and --packed belong to --format onnx: Hugging Face's layout holds floats"
            )
        for note in export_folder(run, output):
            print(note)
        print(f"transformers opens it by AutoModel.from_pretrained and AutoTokenizer.from_pretrained: {output}")
        return
    print(f"{output}: {export_run(run, output, int8=int8, calibrate=calibrate, packed=packed):,} bytes")


def benchmark(
    models: Annotated[Positional[tuple[Path, ...]], arg(metavar="MODEL...")],
    examples: Path | None = None,
    rounds: int = 20,
    threads: int | None = None,
    memory: bool = True,
    plot: Path | None = None,
) -> None:
    """Compare models by quality, bytes, memory, latency of one sequence and throughput; the first is the reference.

    Args:
        models: output folders of `plm train` or `plm compress`, and .onnx files of `plm export`; or output folders of
            `plm fine-tune`, for which quality is accuracy, F1 and loss in nats.
        examples: labelled examples to score fine-tuned models on; by default the validation part of the first, by which
            its weights were chosen.
        rounds: counted calls of each model, taken in turns after a warm-up.
        threads: cores to use; torch's number by default.
        memory: measure memory as well, in a process of its own for each model.
        plot: a picture to write, such as models.png: quality against bytes and against latency.
    """
    from plm_core.evaluation.benchmark import plot as draw
    from plm_core.evaluation.benchmark import table
    from plm_core.runs.compare import compare_models

    if plot is not None:
        check_picture(plot)
    rows = compare_models(models, examples=examples, rounds=rounds, threads=threads, memory=memory)
    print(table(rows, rows[0].name))
    if plot is not None:
        draw(rows, plot)
        print(f"picture: {plot}")


def check_picture(path: Path) -> None:
    """Refuse, before anything is measured, a picture that could not be written afterwards.

    Raises:
        FileExistsError: it is there already.
        FileNotFoundError: its folder is not.
        ValueError: matplotlib writes no such format.
    """
    from matplotlib.figure import Figure

    if path.exists():
        raise FileExistsError(f"{path} exists already: choose another name")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {path.parent} to write {path.name} into")
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix.removeprefix(".").lower() not in known:
        raise ValueError(f"{path.name} should end in one of {', '.join(f'.{kind}' for kind in sorted(known))}")
