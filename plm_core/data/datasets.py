"""The networked corpora as Python objects: each loader fetches its files once and returns one split.

Where the owners define a split it is used. Where they do not, a text's split follows from a checksum of the text, so it
is the same on every machine and two copies of a sentence never fall into different splits.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from plm_core.data.archives import extract_member, open_gzip, open_member
from plm_core.data.corpora import Document
from plm_core.data.download import data_folder, fetch
from plm_core.data.examples import LabelledText, TaggedSentence, Translation
from plm_core.data.registry import (
    CONLL2002,
    MULTI30K,
    SENTENCE_POLARITY,
    TEXT8,
    TINYSHAKESPEARE,
    TREC_QUESTIONS,
    WIKITEXT2,
    Corpus,
)

Split = Literal["train", "validation", "test"]
SPLITS = ("train", "validation", "test")
TEXT8_SPLITS = {"train": (0, 90_000_000), "validation": (90_000_000, 95_000_000), "test": (95_000_000, 100_000_000)}
POLARITY_LABELS = ("negative", "positive")


def text8(split: Split = "train") -> str:
    """The first 90, next 5 and last 5 million characters of text8: one line of words in ``a-z``.

    Raises:
        ValueError: unknown split or damaged archive. For the errors of the download see
            :func:`plm_core.data.download.fetch`; this holds for every loader here.
    """
    start, end = TEXT8_SPLITS[_checked(split)]
    with open(text8_file(), "rb") as file:
        file.seek(start)
        return file.read(end - start).decode("ascii")


def text8_file() -> Path:
    """The path of the unpacked text8, for readers that stream it."""
    archive = _fetched(TEXT8, "text8.zip")
    return extract_member(archive, "text8", archive.with_name("text8"))


def tinyshakespeare(split: Split = "train") -> str:
    """The first 90 %, next 5 % and last 5 % of the characters."""
    text = _fetched(TINYSHAKESPEARE, "input.txt").read_text(encoding="utf-8")
    cuts = {"train": (0, 90), "validation": (90, 95), "test": (95, 100)}
    start, end = cuts[_checked(split)]
    return text[len(text) * start // 100 : len(text) * end // 100]


def wikitext2(split: Split = "train") -> list[Document]:
    """WikiText-2's articles, tokenised into words by its authors, rare words as ``<unk>``."""
    if _checked(split) == "validation":  # one small file; the archive holds it too
        return wikitext_articles(_fetched(WIKITEXT2, "valid.txt").read_text(encoding="utf-8"))
    with open_member(_fetched(WIKITEXT2, "wikitext-2-v1.zip"), f"wikitext-2/wiki.{split}.tokens") as member:
        return wikitext_articles(member.read().decode("utf-8"))


def wikitext_articles(text: str) -> list[Document]:
    """Cut WikiText's one long text at its first-level headings, ``= Title =``."""
    pieces = re.split(r"^ ?= ([^=\n]+) = ?\n(?=\s*\n)", text, flags=re.MULTILINE)
    return [Document(title.strip(), body.strip()) for title, body in zip(pieces[1::2], pieces[2::2], strict=True)]


def multi30k(split: Split = "train") -> list[Translation]:
    """English captions (source) with German translations (target); the test split is the Flickr one of 2016."""
    stem = {"train": "train", "validation": "val", "test": "test_2016_flickr"}[_checked(split)]
    languages = []
    for language in ("en", "de"):
        with open_gzip(_fetched(MULTI30K, f"{stem}.{language}.gz")) as file:
            languages.append(file.read().decode("utf-8").splitlines())
    return [Translation(source.strip(), target.strip()) for source, target in zip(*languages, strict=True)]


def sentence_polarity(split: Split = "train") -> list[LabelledText]:
    """Film reviews' sentences, labelled ``negative`` or ``positive``: about 80, 10 and 10 % of them."""
    archive = _fetched(SENTENCE_POLARITY, "sentence_polarity.zip")
    examples = []
    for label in POLARITY_LABELS:
        with open_member(archive, f"sentence_polarity/rt-polarity.{label[:3]}") as member:
            for line in member.read().decode("utf-8").split("\n"):
                if line.strip():
                    examples.append(LabelledText(line.strip(), label))
    return _part_of(examples, split, validation=10, test=10)


def conll2002(split: Split = "train", language: Literal["spanish", "dutch"] = "spanish") -> list[TaggedSentence]:
    """News sentences with named entities as IOB2 tags of PER, LOC, ORG and MISC."""
    languages = {"spanish": "esp", "dutch": "ned"}
    if language not in languages:
        raise ValueError(f"unknown language {language!r}: use 'spanish' or 'dutch'")
    part = {"train": "train", "validation": "testa", "test": "testb"}[_checked(split)]
    with open_member(_fetched(CONLL2002, "conll2002.zip"), f"conll2002/{languages[language]}.{part}") as member:
        return tagged_sentences(member.read().decode("utf-8"))


def tagged_sentences(text: str) -> list[TaggedSentence]:
    """Read lines of ``word ... tag`` with a blank line after each sentence; ``-DOCSTART-`` lines are left out."""
    sentences = []
    for block in re.split(r"\n\s*\n", text):
        rows = [line.split() for line in block.split("\n") if line.strip() and not line.startswith("-DOCSTART-")]
        if rows:
            sentences.append(TaggedSentence(tuple(row[0] for row in rows), tuple(row[-1] for row in rows)))
    return sentences


def trec_questions(split: Split = "train") -> list[LabelledText]:
    """Questions with the class of their answer, coarse (``label``) and fine (``detail``).

    The test split is the owners'; about a tenth of their training questions is the validation split.
    """
    name = "test" if _checked(split) == "test" else "train"
    examples = []
    with open_member(_fetched(TREC_QUESTIONS, "qc.zip"), f"qc/{name}.txt") as member:
        for line in member.read().decode("iso-8859-1").split("\n"):
            if line.strip():
                label, text = line.strip().split(" ", 1)
                coarse, _, fine = label.partition(":")
                examples.append(LabelledText(text, coarse, fine))
    return examples if split == "test" else _part_of(examples, split, validation=10, test=0)


def _part_of(examples: Iterable[LabelledText], split: Split, *, validation: int, test: int) -> list[LabelledText]:
    """The examples whose text's checksum falls into the split; shares in per cent."""
    bounds = {"test": (0, test), "validation": (test, test + validation), "train": (test + validation, 100)}
    low, high = bounds[_checked(split)]
    return [example for example in examples if low <= zlib.crc32(example.text.encode()) % 100 < high]


def _checked(split: Split) -> Split:
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: use one of {', '.join(SPLITS)}")
    return split


def _fetched(corpus: Corpus, name: str) -> Path:
    return fetch(corpus.file(name), data_folder() / corpus.name)
