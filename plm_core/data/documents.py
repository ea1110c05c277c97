"""What a document is: the one rule by which text becomes documents, for training, validation and evaluation alike.

===============  =====================================================================================
``stream``       the whole corpus is one document
``blank_line``   documents are separated by lines that hold nothing but white space
``line``         every line that holds more than white space is a document
``file``         every file is a document
===============  =====================================================================================

Documents are streamed in parts, because one may be larger than memory. Lines, which are the sentences of the masked
objectives, end in ``\\n`` (:func:`~plm_core.data.texts.read_blocks` makes every line end one).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, get_args

from plm_core.data.cutting import PIECE_CHARACTERS, cut

DocumentRule = Literal["stream", "blank_line", "line", "file"]
RULES: tuple[DocumentRule, ...] = get_args(DocumentRule)
DEFAULT_RULE: DocumentRule = "blank_line"
"""The rule for every corpus, named or one's own, unless the configuration names another."""
END_BYTES: dict[DocumentRule, int] = {"stream": 0, "file": 0, "line": 1, "blank_line": 2}
"""The bytes of what ends a document in the text: nothing, a line end, or a line end and an empty line."""


class Part(NamedTuple):
    """Some text of a document; the parts of a document, joined, are its text.

    A part ends where no token goes on, so that its tokens can be made without those beside it
    (:mod:`plm_core.data.cutting`). White space between two lines belongs to the later one.
    """

    text: str
    begins_line: bool = True
    """Whether a line begins in this part, after the white space at its beginning; else it goes on with the line."""
    ends_document: bool = False
    """Whether the document ends after this part."""


def document_parts(
    files: Iterable[Iterable[str]], rule: DocumentRule, *, characters: int = PIECE_CHARACTERS
) -> Iterator[Part]:
    """Divide texts into documents; those of nothing but white space are left out.

    Args:
        files: the blocks of each text file, with ``\\n`` as the only line end.
        rule: what a document is.
        characters: the most characters of a part.

    >>> [part.text for part in document_parts([["one\\ntwo\\n", " \\nthree"]], "blank_line")]
    ['one', '\\ntwo', '', 'three', '']
    """
    waiting = ""  # white space that has been read and belongs to the document only if it goes on
    begun, in_line = False, False
    for number, blocks in enumerate(files):
        if rule == "stream" and begun and number and not waiting.endswith("\n"):
            waiting, in_line = waiting + "\n", False
        for piece in cut(blocks, characters=characters):
            for text, ends in _lines(piece):
                if text:
                    yield Part(waiting + text, begins_line=not in_line)
                    waiting, begun, in_line = "", True, True
                if "\n" not in ends:
                    waiting += ends
                    continue
                in_line = False
                if begun and _separates(rule, waiting + ends):
                    yield Part("", begins_line=False, ends_document=True)
                    waiting, begun = "", False
                else:
                    waiting = waiting + ends if begun or rule in ("stream", "file") else ""
        if rule != "stream":
            yield from _end(rule, begun, waiting)
            waiting, begun, in_line = "", False, False
    if rule == "stream":
        yield from _end(rule, begun, waiting)


def _lines(piece: str) -> Iterator[tuple[str, str]]:
    """The lines of a piece, each with the white space after it, which has a line end unless the line goes on."""
    *lines, rest = piece.split("\n")
    text = white_space = ""
    for line in lines:
        stripped = line.rstrip()
        if not stripped:
            white_space += line + "\n"
            continue
        if white_space:
            yield text, white_space
        text, white_space = stripped, line[len(stripped) :] + "\n"
    if white_space:
        yield text, white_space
    if rest:
        text = rest.rstrip()
        yield text, rest[len(text) :]


def _separates(rule: DocumentRule, white_space: str) -> bool:
    return rule == "line" or (rule == "blank_line" and white_space.count("\n") > 1)


def _end(rule: DocumentRule, begun: bool, waiting: str) -> Iterator[Part]:
    """The end of the last document, with the white space after it where documents keep theirs."""
    if begun:
        keeps = rule in ("stream", "file")
        yield Part(waiting if keeps else "", begins_line=False, ends_document=True)


def documents_as_text(parts: Iterable[Part]) -> Iterator[str]:
    """Whole documents as strings, for corpora that are known to be small."""
    document: list[str] = []
    for part in parts:
        document.append(part.text)
        if part.ends_document:
            yield "".join(document)
            document = []


def sentences(text: str) -> list[str]:
    """Cut a paragraph into sentences, for corpora that do not have one sentence a line.

    A sentence ends after ``.``, ``!`` or ``?`` (and closing quotation marks) before white space and a capital letter,
    a digit or an opening mark, and after the Chinese ``。``, ``！`` or ``？``. Abbreviations before names ("Dr. Who")
    are cut in two: where this matters, use a sentence splitter for the language, and write one sentence a line.

    >>> sentences("It rains. Does it? Yes.")
    ['It rains.', 'Does it?', 'Yes.']
    """
    return [sentence.strip() for sentence in _SENTENCE_END.split(text) if sentence.strip()]


_SENTENCE_END = re.compile(
    r"(?<=[.!?])\s+(?=[A-Z\d\"'“‘(\[])|(?<=[.!?][\"'”’)])\s+(?=[A-Z\d\"'“‘(\[])|(?<=[。！？])(?![”’」』）])|"
    r"(?<=[。！？][”’」』）])"
)
