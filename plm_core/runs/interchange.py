"""Runs out to Hugging Face folders, and in from them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from plm_core.interop import is_hugging_face_folder, save_pretrained
from plm_core.runs.compress import require_free, save_run
from plm_core.runs.hugging_face import NO_CORPUS, opened_folder
from plm_core.runs.open import Run


def export_folder(folder: Path, output: Path) -> list[str]:
    """Write the best weights of a run, its configuration and its tokenizer in Hugging Face's layout.

    Args:
        folder: the output folder of ``plm train`` or ``plm compress``.
        output: the folder to make. It appears whole or not at all.

    Returns:
        Sentences for the user about what the folder cannot hold; usually none.

    Raises:
        FileNotFoundError: no such run.
        FileExistsError: the output folder exists already.
        ValueError: a model that none of Hugging Face's families computes, or a damaged run.
    """
    require_free(output)
    run = Run.open(folder)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as scratch:
        draft = Path(scratch) / output.name
        trained_here = run.config.corpus != NO_CORPUS
        notes = save_pretrained(run.model, draft, tokenizer=run.tokenizer, trained_here=trained_here)
        require_free(output)
        draft.rename(output)
    return notes


def import_folder(folder: Path, output: Path) -> Run:
    """Make a run from a Hugging Face folder: the same weights and tokenizer, in a folder that opens like any run.

    Args:
        folder: in Hugging Face's layout; see :func:`~plm_core.interop.huggingface.open_folder`.
        output: the folder to make. It appears whole or not at all.

    Raises:
        FileNotFoundError: no such folder, or a part of it is missing.
        FileExistsError: the output folder exists already.
        ValueError: a damaged folder, a model that cannot be computed here, a classifier, or a model with more ids than
            its tokenizer has.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    if not is_hugging_face_folder(folder):
        raise FileNotFoundError(f"{folder} is no folder in Hugging Face's layout: it has no config.json")
    require_free(output)
    config, tokenizer, model = opened_folder(folder)
    if tokenizer.vocab_size != model.config.vocab_size:
        raise ValueError(
            f"the model of {folder} has {model.config.vocab_size} ids, its tokenizer {tokenizer.vocab_size}: a run's "
            "model has as many as its tokenizer. Use the folder as it is: every command takes it where it takes a run"
        )
    run = Run(output, config.replace(output=output, tokenizer=str(output)), tokenizer, model)
    save_run(run, output)
    return run
