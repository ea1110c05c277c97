"""``plm data``: list the corpora, fetch one, turn text into tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from plm_core.commands.app import App

app = App()


@app.command(name="list")
def list_corpora() -> None:
    """List the corpora: name, size of the download, terms, and whether it is on this machine."""
    from plm_core.data.download import data_folder
    from plm_core.data.registry import CORPORA

    print(f"in {data_folder()}\n")
    for entry in CORPORA.values():
        folder = data_folder() / entry.name
        here = all((folder / file.name).is_file() for file in entry.files)
        print(f"{entry.name:<18} {entry.bytes / 1e6:6.1f} MB  {'here' if here else '-':<5} {entry.description}")
        print(f"{'':<18} terms: {entry.licence}; cite: {entry.citation}")


@app.command
def get(name: Positional[str]) -> None:
    """Fetch a corpus, verify it, and print where its files are. An interrupted download is continued.

    Args:
        name: the corpus, as `plm data list` names it.
    """
    from plm_core.data.download import fetch_corpus
    from plm_core.data.registry import corpus

    for path in fetch_corpus(corpus(name)):
        print(path)


@app.command
def tokenize(
    files: Positional[tuple[Path, ...]],
    output: Path,
    tokenizer: Path | None = None,
    train: Literal["characters", "words", "bpe", "wordpiece"] | None = None,
    vocab_size: int = 8000,
    model: Path | None = None,
    unit: Literal["file", "line"] = "file",
    max_length: int | None = None,
    overwrite: bool = False,
) -> None:
    """Turn text files into a memory-mapped file of token ids.

    Args:
        files: UTF-8 text, also .gz, or .zip with one file inside.
        output: the token file (a folder) to make; the tokenizer is saved into it as well.
        tokenizer: a tokenizer to use: its folder or tokenizer.json.
        train: a tokenizer to train on the files instead.
        vocab_size: size of the vocabulary to train.
        model: the folder or config.json of the model that will read the tokens; vocabulary and length are compared.
        unit: what a document is, a file or a line.
        max_length: the longest document allowed, in tokens; by default what the model takes, for lines.
        overwrite: replace the output.
    """
    from plm_core.data.tokenize import tokenize_files
    from plm_core.data.tokenizers import Tokenizer

    if (tokenizer is None) == (train is None):
        raise ValueError("say which tokenizer: either --tokenizer FOLDER or --train bpe (or another kind), not both")
    chosen = Tokenizer.load(tokenizer) if tokenizer is not None else _trained(train or "", files, vocab_size)
    if model is not None:
        shape = _model_shape(model)
        if shape["vocab_size"] != chosen.vocab_size:
            raise ValueError(
                f"tokenizer and model disagree: the tokenizer has {chosen.vocab_size} tokens, the model at {model} has "
                f"{shape['vocab_size']}: use the model's own tokenizer, or make the model with "
                f"vocab_size={chosen.vocab_size}"
            )
        if unit == "line" and max_length is None:
            max_length = shape.get("max_position_embeddings")
    written = tokenize_files(
        files, chosen, output, unit=unit, max_length=max_length, overwrite=overwrite, progress=True
    )
    chosen.save(output / "tokenizer")
    tokens, documents = len(written.tokens), len(written)
    print(f"{output}: {tokens:,} tokens in {documents:,} documents, {written.tokens.dtype}, {chosen.vocab_size} types")


def _trained(kind: str, files: tuple[Path, ...], vocab_size: int) -> Any:
    from plm_core.data import tokenizer_training as tokenizers
    from plm_core.data.tokenize import training_texts

    texts = training_texts(files)
    match kind:
        case "characters":
            return tokenizers.train_characters(texts, max_vocab_size=vocab_size)
        case "words":
            return tokenizers.train_words(texts, max_vocab_size=vocab_size)
        case "bpe":
            return tokenizers.train_bpe(texts, vocab_size=vocab_size)
    return tokenizers.train_wordpiece(texts, vocab_size=vocab_size)


def _model_shape(path: Path) -> dict[str, Any]:
    """The configuration of a model, from its folder or its config.json."""
    file = path / "config.json" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"no model at {path}: expected a folder with config.json, or that file")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("vocab_size"), int):
        raise ValueError(f"{file} names no vocab_size: expected the configuration of a language model")
    if "n_positions" in config:  # GPT-2's name for it
        config.setdefault("max_position_embeddings", config["n_positions"])
    return config
