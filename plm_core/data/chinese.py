"""Chinese data from the network: Python's manual beside its English original, sentences cut into words, a dictionary.

All are small, free to use, and fetched once through :mod:`plm_core.data.registry`.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Literal

from plm_core.data.download import data_folder, fetch
from plm_core.data.examples import Translation
from plm_core.data.registry import JIEBA_DICTIONARY, PYTHON_DOCS_ZH, UD_CHINESE_GSD, Corpus

VALIDATION_PAGES = ("reference-import", "reference-simple_stmts", "tutorial-errors", "tutorial-stdlib")
"""The pages that are kept from training; the owners define no split."""
FEWEST_CHINESE = 10
"""A paragraph with fewer Chinese characters is a title, a name or a line of code."""


def parallel_documentation() -> dict[str, list[Translation]]:
    """Python's tutorial and language reference: each page's paragraphs in English (source) and Chinese (target).

    Paragraphs without a translation, titles and examples of code are left out. The marks of reStructuredText are
    removed from both languages, so both say the same in prose.

    Returns:
        The paragraphs of each page by its name, for example ``"tutorial-errors"``.

    Raises:
        ConnectionError: the pages are not on this machine and cannot be fetched.
    """
    pages = {}
    for file in PYTHON_DOCS_ZH.files:
        entries = read_catalogue(_fetched(PYTHON_DOCS_ZH, file.name).read_text(encoding="utf-8"))
        pairs = [Translation(plain_text(source), plain_text(target)) for source, target in entries]
        pages[file.name.removesuffix(".po")] = [pair for pair in pairs if _is_prose(pair.target)]
    return pages


def _is_prose(chinese: str) -> bool:
    return ">>>" not in chinese and len(re.findall("[\u4e00-\u9fff]", chinese)) >= FEWEST_CHINESE


def documentation_text(part: Literal["train", "validation"]) -> list[str]:
    """The Chinese pages, one paragraph a line; :data:`VALIDATION_PAGES` are the validation split."""
    return [
        "\n".join(pair.target for pair in pairs)
        for page, pairs in parallel_documentation().items()
        if (page in VALIDATION_PAGES) == (part == "validation")
    ]


def segmented_sentences(part: Literal["train", "validation"]) -> list[list[str]]:
    """Sentences of Chinese Wikipedia as lists of words, as linguists cut them.

    Args:
        part: the treebank's development section serves as ``"train"``, its test section as ``"validation"``; 500
            sentences each. Its own training section is not fetched.

    Raises:
        ConnectionError: the file is not on this machine and cannot be fetched.
    """
    section = {"train": "dev", "validation": "test"}[part]
    file = _fetched(UD_CHINESE_GSD, f"zh_gsdsimp-ud-{section}.conllu")
    return read_words(file.read_text(encoding="utf-8"))


def dictionary() -> dict[str, int]:
    """The words of jieba's small dictionary, each with its frequency in the texts from which it was made.

    Raises:
        ConnectionError: the file is not on this machine and cannot be fetched.
    """
    lines = _fetched(JIEBA_DICTIONARY, "dict.txt.small").read_text(encoding="utf-8").split("\n")
    return {word: int(count) for word, count, *_ in (line.split(" ") for line in lines if line)}


def read_words(conllu: str) -> list[list[str]]:
    """The words of each sentence of a treebank in CoNLL-U: lines of ten columns, an empty line after a sentence.

    Lines of words that are written as one (``3-4``) and of words that are not written (``3.1``) are left out.
    """
    sentences = []
    for block in re.split(r"\n\s*\n", conllu):
        rows = [line.split("\t") for line in block.split("\n") if line and not line.startswith("#")]
        if words := [row[1] for row in rows if row[0].isdigit()]:
            sentences.append(words)
    return sentences


def read_catalogue(po: str) -> list[tuple[str, str]]:
    """Messages and their translations from a gettext catalogue; fuzzy, obsolete and untranslated ones are left out.

    Raises:
        ValueError: a string in quotes that is not closed.
    """
    entries = []
    for block in re.split(r"\n\s*\n", po):
        lines = [line for line in block.split("\n") if not line.startswith("#~")]
        if any(line.startswith("#,") and "fuzzy" in line for line in lines):
            continue
        texts = {"msgid": "", "msgstr": ""}
        name = ""
        for line in lines:
            if match := re.match(r"(msgid|msgstr) (?=\")", line):
                name, line = match[1], line[match.end() :]
            if name and line.startswith('"'):
                try:
                    texts[name] += ast.literal_eval(line)
                except SyntaxError as error:
                    raise ValueError(f"a broken line in a gettext catalogue: {line!r}") from error
        if texts["msgid"] and texts["msgstr"]:
            entries.append((texts["msgid"], texts["msgstr"]))
    return entries


def plain_text(markup: str) -> str:
    """A paragraph of reStructuredText without its marks: roles, literals, links, emphasis and footnotes."""
    text = re.sub(
        r":[a-z+:-]+:`!?~?([^`<]+?)(?: ?<[^`>]*>)?`", r"\1", markup
    )  # :keyword:`import`, :ref:`text <target>`
    text = re.sub(r"`([^`<]+?) ?<[^`>]*>`_+", r"\1", text)  # `text <address>`_
    text = re.sub(r"``(.+?)``", r"\1", text)
    text = re.sub(r"\[#?\w+\]_|\|(\w+)\|", r"\1", text)
    text = re.sub(r"\*\*?([^*\s][^*]*)\*\*?", r"\1", text)
    text = re.sub(r"::$", ":", text.replace("\\ ", ""))
    return re.sub(r"\s+", " ", text).strip()


def _fetched(corpus: Corpus, name: str) -> Path:
    return fetch(corpus.file(name), data_folder() / corpus.name)
