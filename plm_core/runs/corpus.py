"""The text of a run: documents of training and validation, and the tokenizer that is made for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from plm_core.data.corpus_text import OFFLINE, PYTHON_DOCUMENTATION, Part, corpus_blocks, documentation_texts
from plm_core.data.documents import DEFAULT_RULE
from plm_core.data.registry import CORPORA
from plm_core.data.splits import Documents, TextDocuments, TokenDocuments, first_documents, texts_in_memory
from plm_core.data.texts import text_files
from plm_core.data.token_files import TokenFile, is_token_file
from plm_core.data.tokenize import TOKENIZER_CHARACTERS, read_text_blocks, sample
from plm_core.data.tokenizer_training import train_tokenizer_of_kind, word_tokenizer
from plm_core.data.tokenizers import Tokenizer
from plm_core.runs.config import TOKENIZER_KINDS, RunConfig
from plm_core.runs.stories import AnyStory, World, is_story_corpus, named_world, story_text, tell
from plm_core.storyworld import EOS

STORIES = 2000
VALIDATION_STORIES = 200


@dataclass(frozen=True)
class Texts:
    """The documents of a run."""

    train: Documents
    """To train on."""
    valid: Documents
    """Held out, for validation."""
    world: World | None = None
    """The generator, where the text comes from one."""
    valid_stories: tuple[AnyStory, ...] = ()
    """The stories behind the validation documents."""

    @classmethod
    def of(cls, train: list[str], valid: list[str]) -> Texts:
        """Documents in memory, each with a line end between its sentences."""
        return cls(texts_in_memory("given", train, DEFAULT_RULE), texts_in_memory("given", valid, DEFAULT_RULE))


def load_texts(config: RunConfig) -> Texts:
    """Find or generate the documents of a run. Their text is read when it is needed.

    Raises:
        FileNotFoundError: neither a known corpus nor a path.
        ValueError: a corpus without enough text to hold some out.
    """
    if is_story_corpus(config.corpus):
        return story_texts(config)
    limit = config.max_documents
    if config.corpus in CORPORA:
        train = named_text(config, "train")
        train = train if limit is None else train.selecting(first_documents(limit))
        own = config.validation
        return Texts(train, named_text(config, "validation") if own is None else own_documents(config, own))
    if config.corpus == PYTHON_DOCUMENTATION:
        documents: Documents = texts_in_memory(config.corpus, documentation_texts(), config.documents)
    else:
        documents = own_documents(config, Path(config.corpus))
    if limit is not None:
        documents = limited(documents, limit)
    if config.validation is not None:
        return Texts(documents, own_documents(config, config.validation))
    return Texts(*documents.split())


def limited(documents: Documents, count: int) -> Documents:
    """The first documents."""
    if isinstance(documents, TokenDocuments):
        return documents.first(count)
    return documents.selecting(first_documents(count))


def named_text(config: RunConfig, part: Part) -> TextDocuments:
    """One part of a networked corpus."""
    name = config.corpus
    return TextDocuments(name, lambda: [corpus_blocks(name, part)], config.documents, 2 * CORPORA[name].bytes)


def own_documents(config: RunConfig, path: Path) -> Documents:
    """The documents of a text file, a folder of text files, or a token file.

    Raises:
        FileNotFoundError: there is no such path; the known corpora are named.
    """
    if not path.exists():
        known = ", ".join([*CORPORA, *OFFLINE])
        raise FileNotFoundError(f"no corpus and no file {str(path)!r}: expected a path or one of {known}")
    if is_token_file(path):
        return TokenDocuments.all_of(TokenFile(path))
    files = text_files(path)
    size = sum(file.stat().st_size for file in files)
    return TextDocuments(str(path), lambda: map(read_text_blocks, files), config.documents, size)


def story_texts(config: RunConfig) -> Texts:
    """Stories of the world that the corpus names; those for validation have other seeds, and may have other dials.

    Raises:
        ValueError: an unknown world, or dials that it does not have.
    """
    world = named_world(config.corpus, config.stories)
    train = tell(world, seed=config.seed, split="train", count=config.max_documents or STORIES)
    as_documents = partial(texts_in_memory, config.corpus, rule=config.documents)
    if config.validation is not None:
        return Texts(as_documents(map(story_text, train)), own_documents(config, config.validation), world)
    valid = tuple(tell(validation_world(config), seed=0, split="valid", count=VALIDATION_STORIES))
    return Texts(as_documents(map(story_text, train)), as_documents(map(story_text, valid)), world, valid)


def validation_world(config: RunConfig) -> World:
    """The world of the stories that a run is validated on."""
    return named_world(config.corpus, config.stories.updated(config.validation_stories))


def train_tokenizer(config: RunConfig, texts: Texts) -> Tokenizer:
    """The tokenizer of a run: trained on its training documents and on nothing else, unless it is given.

    A StoryWorld's words are known, a token file has its own, and the configuration may name a ready one.

    Raises:
        FileNotFoundError: the tokenizer named is not there.
        ValueError: it is none, or not the one that a token file was made with.
    """
    if config.tokenizer not in TOKENIZER_KINDS:
        return ready_tokenizer(config.tokenizer)
    if isinstance(texts.train, TokenDocuments):
        return texts.train.file.saved_tokenizer()
    if texts.world is not None:
        return word_tokenizer([word for word in texts.world.vocabulary if word != EOS])
    return train_tokenizer_on(texts.train, config.tokenizer, config.vocab_size)


def train_tokenizer_on(documents: TextDocuments, kind: str, vocab_size: int) -> Tokenizer:
    """A tokenizer of a kind, trained on documents, or on a part of them that is spread evenly, if they are long."""
    pieces = (part.text for part in documents.parts())
    text = sample(pieces, characters=TOKENIZER_CHARACTERS, total=documents.characters)
    return train_tokenizer_of_kind(kind, text, vocab_size)


def ready_tokenizer(path: str) -> Tokenizer:
    """A tokenizer that is there: a ``tokenizer.json``, a run, or any folder with one.

    Raises:
        FileNotFoundError: there is none; the kinds that can be trained are named.
    """
    if not Path(path).exists():
        kinds = ", ".join(TOKENIZER_KINDS)
        raise FileNotFoundError(f"no tokenizer {path!r}: expected one to train ({kinds}), or the path of a ready one")
    return Tokenizer.load(path)
