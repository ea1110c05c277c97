"""The named corpora as text to train on: documents with an empty line after each, one paragraph or sentence a line.

Every corpus of :mod:`plm_core.data.registry` is here. Of those made for other tasks the text is given without labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from plm_core.data import chinese, datasets
from plm_core.data.corpora import python_documentation
from plm_core.data.splits import with_blank_lines

Part = Literal["train", "validation"]

PYTHON_DOCUMENTATION = "python-documentation"
OFFLINE = {
    PYTHON_DOCUMENTATION: "Python's own language reference as prose, 250,000 characters; comes with Python",
    "storyworld-small-en": "stories made by a program whose entropy is known; also -small-zh, -full-en and -full-zh",
    "storyworld-v1-small-en": "the first version of these stories; also -small-zh, -full-en and -full-zh",
}
"""What is there without a network, with a line about each."""
TEXT8_BLOCK = 2**20


def corpus_blocks(name: str, part: Part) -> Iterable[str]:
    """The text of a networked corpus, in blocks; it is fetched once.

    Args:
        name: as ``plm data list`` shows it.
        part: the owners' training or validation split, or ours where they have none.

    Raises:
        ConnectionError: it is not on this machine and cannot be fetched.
    """
    match name:
        case "text8":
            return text8_blocks(part)
        case "tinyshakespeare":
            return [datasets.tinyshakespeare(part)]
        case "wikitext-2":
            return with_blank_lines(article.text for article in datasets.wikitext2(part))
        case "multi30k":
            return with_blank_lines(pair.source for pair in datasets.multi30k(part))
        case "sentence-polarity":
            return with_blank_lines(example.text for example in datasets.sentence_polarity(part))
        case "conll2002":
            return with_blank_lines(" ".join(sentence.words) for sentence in datasets.conll2002(part))
        case "trec-questions":
            return with_blank_lines(example.text for example in datasets.trec_questions(part))
        case "python-docs-zh":
            return with_blank_lines(chinese.documentation_text(part))
        case "ud-chinese-gsd":
            return with_blank_lines("".join(words) for words in chinese.segmented_sentences(part))
    raise ValueError(f"unknown corpus {name!r}")


def text8_blocks(part: Part) -> Iterator[str]:
    """The characters of one part of text8 as a stream; the part is not held in memory."""
    start, end = datasets.TEXT8_SPLITS[part]
    with open(datasets.text8_file(), "rb") as file:
        file.seek(start)
        for position in range(start, end, TEXT8_BLOCK):
            yield file.read(min(TEXT8_BLOCK, end - position)).decode("ascii")


def documentation_texts() -> list[str]:
    """Python's documentation, a page a document."""
    return [page.text for page in python_documentation()]
