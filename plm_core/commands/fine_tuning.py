"""``plm fine-tune`` and ``plm predict``: functions whose arguments become options."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional


def fine_tune(config: Positional[Path], overrides: Positional[tuple[str, ...]] = (), /, resume: bool = False) -> None:
    """Train a pretrained model on labelled examples, and report how good it is beside the baselines.

    Ctrl-C saves the state and leaves; --resume continues.

    Args:
        config: a YAML file, such as configs/fine_tune/texts.yaml.
        overrides: values to replace, as key=value: method=lora lora.rank=4 epochs=2 output=runs/other.
        resume: continue the run in the output folder from its newest complete checkpoint.
    """
    from plm_core.runs.fine_tune import fine_tune as run
    from plm_core.runs.fine_tune_config import read_fine_tune_config

    settings = read_fine_tune_config(config, overrides)
    print("\n".join(run(settings, resume=resume).lines()))
    print(f"model, report and figures: {settings.output}")


def predict(run: Positional[Path], file: Positional[Path], output: Path | None = None) -> None:
    """Let a fine-tuned model label new examples.

    Args:
        run: the output folder of `plm fine-tune`.
        file: for texts, a .csv, .tsv or .jsonl file with the columns that the model was trained on; for tags, a text
            file with one sentence a line, its words separated by spaces; for answers, questions as SQuAD has them.
        output: where to write the labels, as tab-separated columns; by default they are printed.
    """
    from plm_core.runs.predict import predict_file

    text = predict_file(run, file)
    if output is None:
        print(text, end="")
        return
    if output.exists():
        raise FileExistsError(f"{output} exists already: choose another name")
    output.write_text(text, encoding="utf-8")
