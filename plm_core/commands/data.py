"""``plm data``: list the corpora, fetch one, turn text into tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from plm_core.commands.app import App

app = App()


@app.command(name="list")
def list_corpora() -> None:
    """List the corpora that `plm train` takes by name: size of the download, terms, whether it is on this machine."""
    from plm_core.data.corpus_text import OFFLINE
    from plm_core.data.download import data_folder
    from plm_core.data.registry import CORPORA

    print(f"in {data_folder()}\n")
    for entry in CORPORA.values():
        folder = data_folder() / entry.name
        here = all((folder / file.name).is_file() for file in entry.files)
        print(f"{entry.name:<20} {entry.bytes / 1e6:6.1f} MB  {'here' if here else '-':<5} {entry.description}")
        print(f"{'':<20} terms: {entry.licence}; cite: {entry.citation}")
    print("\nwithout a network\n")
    for name, description in OFFLINE.items():
        print(f"{name:<22} {description}")


@app.command
def get(name: Positional[str]) -> None:
    """Fetch a corpus, verify it, and print where its files are. An interrupted download is continued.

    Args:
        name: the corpus, as `plm data list` names it.
    """
    from plm_core.data.corpus_text import OFFLINE
    from plm_core.data.download import fetch_corpus
    from plm_core.data.registry import corpus
    from plm_core.runs.stories import is_story_corpus

    if name in OFFLINE or is_story_corpus(name):
        print(f"{name} is on this machine already: there is nothing to fetch")
        return
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
    documents: Literal["stream", "blank_line", "line", "file"] = "blank_line",
    max_length: int | None = None,
    overwrite: bool = False,
) -> None:
    """Turn text files into a memory-mapped file of token ids, which `plm train` takes as its corpus.

    Args:
        files: UTF-8 text, also .gz, or .zip with one file inside, or folders of such files.
        output: the token file (a folder) to make; the tokenizer is saved into it as well.
        tokenizer: a tokenizer to use: its folder or tokenizer.json.
        train: a tokenizer to train on the files instead.
        vocab_size: size of the vocabulary to train.
        model: the folder or config.json of the model that will read the tokens; vocabularies are compared.
        documents: what a document is: everything (stream), what stands between blank lines, a line, or a file.
        max_length: the longest document allowed, in tokens; training cuts longer ones by itself.
        overwrite: replace the output.
    """
    from plm_core.data.texts import text_files
    from plm_core.data.token_files import is_token_file
    from plm_core.data.tokenize import tokenize_files
    from plm_core.data.tokenizers import Tokenizer
    from plm_core.runs.text_report import TokenCounts

    if (tokenizer is None) == (train is None):
        raise ValueError("choose a tokenizer: either --tokenizer FOLDER or --train bpe (or another kind), not both")
    if output.exists() and not (overwrite and is_token_file(output)):
        raise FileExistsError(f"{output} exists already: choose another name, or use --overwrite")
    paths = [path for given in files for path in text_files(given)]
    chosen = Tokenizer.load(tokenizer) if tokenizer is not None else _trained(train or "", paths, vocab_size)
    if model is not None:
        found = _vocabulary_size(model)
        if found != chosen.vocab_size:
            raise ValueError(
                f"tokenizer and model disagree: the tokenizer has {chosen.vocab_size} tokens, the model at {model} has "
                f"{found}: use the model's own tokenizer, or make the model with vocab_size={chosen.vocab_size}"
            )
    written = tokenize_files(
        paths,
        chosen,
        output,
        documents=documents,
        max_length=max_length,
        overwrite=overwrite,
        save_tokenizer=True,
        progress=True,
    )
    counts = TokenCounts.of(written)
    print(f"{output}: {counts.shown()}, {written.tokens.dtype}, {chosen.vocab_size} types")
    print("".join(f"{line}\n" for line in counts.warnings()), end="")


def _trained(kind: str, paths: list[Path], vocab_size: int) -> Any:
    from itertools import chain

    from plm_core.data.cutting import cut
    from plm_core.data.tokenize import TOKENIZER_CHARACTERS, read_text_blocks, sample
    from plm_core.data.tokenizer_training import train_tokenizer_of_kind

    texts = cut(chain.from_iterable(map(read_text_blocks, paths)), characters=2**12)
    total = sum(path.stat().st_size for path in paths if path.is_file())
    return train_tokenizer_of_kind(kind, sample(texts, characters=TOKENIZER_CHARACTERS, total=total), vocab_size)


def _vocabulary_size(path: Path) -> int:
    """The vocabulary size of a model, from its folder or its config.json."""
    from plm_core.files import read_json_object

    file = path / "config.json" if path.is_dir() else path
    found = read_json_object(file, "model configuration").get("vocab_size")
    if type(found) is not int:
        raise ValueError(f"{file} names no vocab_size: expected the configuration of a language model")
    return found
