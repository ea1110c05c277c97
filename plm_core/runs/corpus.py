"""The text of a run: documents of training and validation, and what is known about the best possible loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from plm_core.data import datasets
from plm_core.data.corpora import Document, python_documentation
from plm_core.data.texts import read_blocks
from plm_core.data.tokenizer_training import (
    train_bpe,
    train_characters,
    train_wordpiece,
    train_words,
    word_tokenizer,
)
from plm_core.data.tokenizers import Tokenizer
from plm_core.runs.config import RunConfig
from plm_core.storyworld_v1 import EOS, Story, StoryWorld
from plm_core.storyworld_v1.tasks import story_sentences

STORYWORLD = "storyworld-"
VALIDATION_STORIES = 200
VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class Texts:
    """Training and validation documents, each a list of sentences (one sentence where a corpus marks none)."""

    train: list[list[str]]
    valid: list[list[str]]
    world: StoryWorld | None = None
    """The generator, where the text comes from one."""
    valid_stories: tuple[Story, ...] = ()
    """The stories behind the validation documents."""

    @property
    def valid_characters(self) -> int:
        """Characters of the validation text, with one for the end of each document."""
        return sum(len(" ".join(document)) + 1 for document in self.valid)


def load_texts(config: RunConfig) -> Texts:
    """Load or generate the documents of a run.

    Raises:
        FileNotFoundError: neither a known corpus nor a file.
        ValueError: a corpus without enough text to hold some out.
    """
    if config.corpus.startswith(STORYWORLD):
        return story_texts(config)
    if config.corpus == "python-documentation":
        documents = [paragraphs(document) for document in python_documentation()]
    elif config.corpus == "tinyshakespeare":
        return Texts([[datasets.tinyshakespeare("train")]], [[datasets.tinyshakespeare("validation")]])
    elif config.corpus == "text8":
        return Texts([[datasets.text8("train")]], [[datasets.text8("validation")]])
    elif config.corpus == "wikitext2":
        train, valid = datasets.wikitext2("train")[: config.documents], datasets.wikitext2("validation")
        return Texts([paragraphs(article) for article in train], [paragraphs(article) for article in valid])
    elif Path(config.corpus).is_file():
        text = "".join(read_blocks(Path(config.corpus)))
        documents = [document.splitlines() for document in text.split("\n\n") if document.strip()]
    else:
        known = "python-documentation, tinyshakespeare, text8, wikitext2, storyworld-small-en, storyworld-full-zh"
        raise FileNotFoundError(f"no corpus and no file {config.corpus!r}: expected a path or one of {known}, ...")
    return split_documents([d for d in documents if d][: config.documents])


def split_documents(documents: list[list[str]]) -> Texts:
    """Hold out every tenth document; of a single one, hold out its last sentences or its last tenth of text.

    Raises:
        ValueError: no text.
    """
    documents = [[s for s in document if s.strip()] for document in documents]
    documents = [document for document in documents if document]
    if not documents:
        raise ValueError("the corpus is empty: no line holds anything but white space")
    if len(documents) == 1 and len(documents[0]) == 1:
        text = documents[0][0]
        cut = len(text) - math.ceil(len(text) * VALIDATION_SHARE)
        return Texts([[text[:cut]]], [[text[cut:]]])
    if len(documents) == 1:
        sentences = documents[0]
        cut = len(sentences) - math.ceil(len(sentences) * VALIDATION_SHARE)
        return Texts([sentences[:cut]], [sentences[cut:]])
    every = round(1 / VALIDATION_SHARE)
    valid = documents[every - 1 :: every] or documents[-1:]
    train = [d for number, d in enumerate(documents) if number % every != every - 1][: len(documents) - len(valid)]
    return Texts(train, valid)


def story_texts(config: RunConfig) -> Texts:
    """Stories of the world that the corpus names, ``storyworld-SIZE-LANGUAGE``.

    Raises:
        ValueError: an unknown size or language.
    """
    parts = config.corpus.removeprefix(STORYWORLD).split("-")
    if len(parts) != 2 or parts[0] not in ("small", "full") or parts[1] not in ("en", "zh"):
        raise ValueError(f"unknown corpus {config.corpus!r}: StoryWorlds are storyworld-{{small,full}}-{{en,zh}}")
    world = StoryWorld(parts[0], parts[1])
    train = world.stories(seed=config.seed, split="train", count=config.documents or 2000)
    valid = tuple(world.stories(seed=0, split="valid", count=VALIDATION_STORIES))
    return Texts([story_sentences(story) for story in train], [story_sentences(s) for s in valid], world, valid)


def paragraphs(document: Document) -> list[str]:
    """The paragraphs of a document."""
    return [line for line in document.text.splitlines() if line.strip()]


def train_tokenizer(config: RunConfig, texts: Texts) -> Tokenizer:
    """Train the run's tokenizer on its training documents, and on nothing else; a world's words are given."""
    if texts.world is not None:
        return word_tokenizer([word for word in texts.world.vocabulary if word != EOS])
    sentences = (sentence for document in texts.train for sentence in document)
    match config.tokenizer:
        case "characters":
            return train_characters(sentences, max_vocab_size=config.vocab_size)
        case "words":
            return train_words(sentences, max_vocab_size=config.vocab_size)
        case "bpe":
            return train_bpe(sentences, vocab_size=config.vocab_size)
        case "wordpiece":
            return train_wordpiece(sentences, vocab_size=config.vocab_size)
