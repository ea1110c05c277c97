"""``plm import``: a function whose arguments become options. ``plm export`` stands with the other uses of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


def import_model(
    folder: Annotated[Positional[Path], arg(metavar="FOLDER")],
    output: Annotated[Positional[Path], arg(metavar="OUTPUT")],
) -> None:
    """Make a run from a folder in Hugging Face's layout: config.json, weights and a tokenizer.

    Args:
        folder: a folder with a BERT, ESM, GPT-2, GPT-NeoX or Llama model.
        output: the folder to make, which opens like the output of `plm train`.
    """
    from plm_core.models.counting import num_parameters
    from plm_core.runs.interchange import import_folder

    run = import_folder(folder, output)
    kind = type(run.model).__name__
    print(f"{kind} with {num_parameters(run.model):,} parameters, {run.tokenizer.vocab_size:,} tokens: {output}")
    heads = getattr(run.model, "untrained_heads", ())
    if heads:
        print(f"without {', '.join(heads)}, which the folder does not hold: train before you use them")
