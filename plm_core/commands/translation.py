"""``plm translate``, and the part of ``plm train`` that trains on pairs of texts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from tyro.conf import Positional


def translate(
    run: Positional[Path],
    text: str | None = None,
    file: Path | None = None,
    references: Path | None = None,
    width: int = 4,
    penalty: Literal["wu", "division"] = "wu",
    alpha: float = 0.6,
    max_new_tokens: int | None = None,
) -> None:
    """Translate a text, or the lines of a file, with an encoder-decoder and beam search.

    Args:
        run: the output folder of `plm train` with the objective seq2seq.
        text: the text to translate.
        file: a UTF-8 file with a text in each line; the translations have as many lines.
        references: a file with the right translation of each line: chrF is printed on standard error.
        width: candidates that are kept at each step; 1 is greedy search.
        penalty: how outputs of different lengths are compared: wu (Wu et al. 2016), or division by length^alpha.
        alpha: strength of the length penalty; 0 for none.
        max_new_tokens: longest output in tokens; by default the longest that the model takes.
    """
    from plm_core.evaluation.bleu import chrf
    from plm_core.files import read_text
    from plm_core.generation.beam import Beam
    from plm_core.runs.translation import Translator

    if (text is None) == (file is None):
        raise ValueError("give either --text or --file")
    sources = lines_of(read_text(file, "text to translate")) if file is not None else [text or ""]
    expected = None if references is None else lines_of(read_text(references, "file of references"))
    if expected is not None and len(expected) != len(sources):
        raise ValueError(f"{references} has {len(expected)} lines for {len(sources)} texts: give one for each")
    translator = Translator.open(run)
    longest = translator.config.max_length if max_new_tokens is None else max_new_tokens
    beam = Beam(width=width, max_new_tokens=longest, penalty=penalty, alpha=alpha)
    outputs = translator.translate(sources, beam=beam)
    print("\n".join(outputs))
    if expected is not None:
        print(f"chrF {chrf(outputs, [[each] for each in expected]):.2f}", file=sys.stderr)


def lines_of(text: str) -> list[str]:
    """The lines of a text, without the empty one after its last line end."""
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]


def train_on_pairs(config: Path, overrides: tuple[str, ...], *, resume: bool) -> bool:
    """Train a translation run if the configuration is one; whether it is.

    Raises:
        ValueError: several processes.
    """
    import os
    import shlex

    from plm_core.runs.translation import read_translation_config, train_translation
    from plm_core.training.interrupt import Interrupted

    run = read_translation_config(config, overrides)
    if run is None:
        return False
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("a translation run takes one process: start it without torchrun")
    try:
        progress = train_translation(run, resume=resume)
    except Interrupted:
        command = shlex.join(["plm", "train", str(config), *overrides, "--resume"])
        print(f"\nstate saved in {run.output}; continue with: {command}")
        raise
    print(
        f"best of {progress.step} steps after step {progress.best_step}: validation loss {progress.best_loss:.3f} nats "
        f"per target token\nmodel, tokenizer and logs: {run.output}"
    )
    return True
