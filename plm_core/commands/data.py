"""``plm data``: list the corpora, fetch one, write stories and tasks on them, turn text into tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction, arg

from plm_core.commands.app import App

if TYPE_CHECKING:
    from plm_core.data.documents import DocumentRule
    from plm_core.data.tokenizers import Tokenizer

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
    from plm_core.runs.stories import StoryConfig, is_story_corpus, named_world

    if is_story_corpus(name):
        named_world(name, StoryConfig())  # refuses one that there is not
    if name in OFFLINE or is_story_corpus(name):
        print(f"{name} is on this machine already: there is nothing to fetch")
        return
    for path in fetch_corpus(corpus(name)):
        print(path)


@app.command(name="storyworld")
def write_storyworld(
    folder: Annotated[Positional[Path], arg(metavar="FOLDER")],
    corpus: str = "storyworld-small-en",
    task: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="TASK")]] = (),
    dial: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="KEY=VALUE")]] = (),
    count: int = 1000,
    seed: int = 0,
    split: Literal["train", "valid", "test"] = "train",
) -> None:
    """Write stories as text, one a line, and tasks on them with exact labels and the best possible guesses, as JSONL.

    Args:
        folder: the folder to write into; further tasks on the same stories can be added to it.
        corpus: a StoryWorld, as `plm data list` names it.
        task: stories, moods, tags, relations, summaries, questions, beliefs, reasons, translations, next-sentences,
            sentence-orders, entailments, probes, causal-locations, causal-beliefs, or all; repeat it for several.
        dial: a dial of the world, such as people=4 or sentences=[24,28]; repeat it for several.
        count: number of stories, and of examples of each task.
        seed: another seed gives other stories.
        split: train, valid or test; they share no story.
    """
    from plm_core.runs.config import apply_override
    from plm_core.runs.stories import StoryConfig, named_world
    from plm_core.storyworld import StoryWorld
    from plm_core.storyworld.files import TASKS, write_tasks

    values: dict[str, Any] = {}
    for each in dial:
        apply_override(values, each)
    world = named_world(corpus, StoryConfig.from_dict(values))
    if not isinstance(world, StoryWorld):
        raise ValueError(f"the tasks belong to the present StoryWorld, not to its first version: {corpus}")
    for path in write_tasks(folder, world, TASKS if "all" in task else task, count, seed=seed, split=split):
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
        train: a tokenizer to train on the files instead, without the documents that `plm train` would hold out.
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
    chosen = Tokenizer.load(tokenizer) if tokenizer is not None else _trained(train or "", paths, vocab_size, documents)
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


def _trained(kind: str, paths: list[Path], vocab_size: int, rule: DocumentRule) -> Tokenizer:
    """The tokenizer that `plm train` would train on these files: validation text stays unseen."""
    from plm_core.data.splits import TextDocuments
    from plm_core.data.tokenize import read_text_blocks
    from plm_core.runs.corpus import train_tokenizer_on

    size = sum(path.stat().st_size for path in paths if path.is_file())
    training, _ = TextDocuments("that was given", lambda: map(read_text_blocks, paths), rule, size).split()
    return train_tokenizer_on(training, kind, vocab_size)


def _vocabulary_size(path: Path) -> int:
    """The vocabulary size of a model, from its folder or its config.json."""
    from plm_core.files import read_json_object

    file = path / "config.json" if path.is_dir() else path
    found = read_json_object(file, "model configuration").get("vocab_size")
    if type(found) is not int:
        raise ValueError(f"{file} names no vocab_size: expected the configuration of a language model")
    return found
