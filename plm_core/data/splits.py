"""The documents of a corpus, read anew whenever they are needed, and the part of them that is held out of training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from plm_core.data.cutting import border
from plm_core.data.documents import DocumentRule, Part, document_parts
from plm_core.data.token_files import TokenFile, TokenFileWriter
from plm_core.data.tokenize import write_text
from plm_core.data.tokenizers import Tokenizer

VALIDATION_SHARE = 0.1
EVERY = round(1 / VALIDATION_SHARE)

Selection = Callable[[Iterator[Part]], Iterator[Part]]


@dataclass(frozen=True)
class TextDocuments:
    """Documents that are read from text.

    Nothing is kept in memory; :meth:`parts` reads the text again each time.
    """

    name: str
    """What to call the text in messages."""
    read: Callable[[], Iterable[Iterable[str]]]
    """Gives the blocks of each text file, with ``\\n`` as the only line end."""
    rule: DocumentRule
    """What a document is."""
    characters: int
    """How long the text is, about."""
    select: tuple[Selection, ...] = ()
    """What is taken of it, one after the other."""

    def parts(self) -> Iterator[Part]:
        """The documents, in parts."""
        found = document_parts(self.read(), self.rule)
        for select in self.select:
            found = select(found)
        return found

    def selecting(self, select: Selection) -> TextDocuments:
        """Some of the documents."""
        return replace(self, select=(*self.select, select))

    def write(self, tokenizer: Tokenizer, path: Path) -> TokenFile:
        """Write the documents to a token file, replacing an older one of ours."""
        return write_text(self.parts(), tokenizer, path, rule=self.rule, overwrite=True)

    def split(self) -> tuple[TextDocuments, TextDocuments]:
        """Documents for training and, of every ten, one for validation.

        Of fewer than ten documents the last is held out; of a single one, the last tenth of its text.

        Raises:
            ValueError: there is no text.
        """
        documents = length = 0
        for part in self.parts():
            documents += part.ends_document
            length += len(part.text)
            if documents == EVERY:
                return (
                    self.selecting(lambda parts: _chosen(parts, lambda number: number % EVERY != EVERY - 1)),
                    self.selecting(lambda parts: _chosen(parts, lambda number: number % EVERY == EVERY - 1)),
                )
        if not documents:
            raise ValueError(f"the corpus {self.name} is empty: no line holds anything but white space")
        if documents > 1:
            last = documents - 1
            return (
                self.selecting(lambda parts: _chosen(parts, lambda number: number < last)),
                self.selecting(lambda parts: _chosen(parts, lambda number: number == last)),
            )
        held_out = math.ceil(length * VALIDATION_SHARE)
        return (
            self.selecting(lambda parts: _halves(parts, length - held_out, held_out, first=True)),
            self.selecting(lambda parts: _halves(parts, length - held_out, held_out, first=False)),
        )


def first_documents(count: int) -> Selection:
    """Takes the first ``count`` documents and reads no further."""

    def select(parts: Iterator[Part]) -> Iterator[Part]:
        seen = 0
        for part in parts:
            yield part
            seen += part.ends_document
            if seen == count:
                return

    return select


def _chosen(parts: Iterable[Part], choose: Callable[[int], bool]) -> Iterator[Part]:
    number = 0
    for part in parts:
        if choose(number):
            yield part
        number += part.ends_document


def _halves(parts: Iterator[Part], position: int, held_out: int, *, first: bool) -> Iterator[Part]:
    """One document before or after a position in its text, moved back to a border between lines or words."""
    before = 0
    for part in parts:
        if before + len(part.text) >= position:
            break
        before += len(part.text)
        if first:
            yield part
    room = position - before
    if before and part.begins_line and len(part.text) * EVERY <= held_out:
        cut = 0
    else:
        cut = border(part.text, 0, room) if 0 < room < len(part.text) else room
    if first:
        yield Part(part.text[:cut], begins_line=part.begins_line)
        yield Part("", begins_line=False, ends_document=True)
    else:
        yield Part(part.text[cut:].lstrip(), begins_line=True, ends_document=part.ends_document)
        yield from parts


@dataclass(frozen=True)
class TokenDocuments:
    """Documents of a token file, some or all of them."""

    file: TokenFile
    """Where they are."""
    spans: np.ndarray
    """Where each document begins and ends in the tokens, int64 (documents, 2)."""

    @classmethod
    def all_of(cls, file: TokenFile) -> TokenDocuments:
        """All documents of a token file."""
        return cls(file, np.stack([file.starts[:-1], file.starts[1:]], axis=1))

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return str(self.file.path)

    @property
    def is_part(self) -> bool:
        """Whether some of the file's documents are left out, so that bytes and characters are estimates."""
        return int((self.spans[:, 1] - self.spans[:, 0]).sum()) < len(self.file.tokens)

    def first(self, count: int) -> TokenDocuments:
        """The first documents."""
        return replace(self, spans=self.spans[:count])

    def split(self) -> tuple[TokenDocuments, TokenDocuments]:
        """The documents for training and for validation, as :meth:`TextDocuments.split` divides them.

        Raises:
            ValueError: there is no document.
        """
        count = len(self.spans)
        if not count:
            raise ValueError(f"the token file {self.name} holds no document")
        if count > 1:
            numbers = np.arange(count)
            held_out = numbers % EVERY == EVERY - 1 if count >= EVERY else numbers == count - 1
            return replace(self, spans=self.spans[~held_out]), replace(self, spans=self.spans[held_out])
        start, end = self.spans[0].tolist()
        cut = end - math.ceil((end - start) * VALIDATION_SHARE)
        return replace(self, spans=np.array([[start, cut]])), replace(self, spans=np.array([[cut, end]]))

    def write(self, tokenizer: Tokenizer, path: Path) -> TokenFile:
        """Copy the documents to a token file of their own.

        Raises:
            ValueError: another tokenizer made them, or ids are out of range.
        """
        self.file.check_tokenizer(tokenizer.fingerprint, tokenizer.vocab_size)
        source = self.file
        share = (self.spans[:, 1] - self.spans[:, 0]).sum() / max(1, len(source.tokens))
        with TokenFileWriter(
            path, vocab_size=source.vocab_size, tokenizer=source.tokenizer_fingerprint, overwrite=True
        ) as writer:
            for start, end in self.spans.tolist():
                moved = writer.num_tokens - start
                for block in range(start, end, 2**20):
                    writer.write(source.tokens[block : min(block + 2**20, end)])
                first, last = np.searchsorted(source.lines[:, 0], [start, end])
                if first and source.lines[first - 1, 1] > start:
                    first -= 1  # a line that was cut in two
                for line in np.clip(source.lines[first:last], start, end).tolist():
                    writer.add_line(line[0] + moved, line[1] + moved)
                writer.end_document()
            # known of the whole file, not of each document
            writer.text_bytes, writer.unknown = round(source.text_bytes * share), round(source.unknown * share)
            writer.characters = round(source.characters * share)
            writer.unknown_bytes = round(source.unknown_bytes * share)
        return TokenFile(path)


Documents = TextDocuments | TokenDocuments


def texts_in_memory(name: str, documents: Iterable[str], rule: DocumentRule) -> TextDocuments:
    """Documents that are in memory, each with a line end between its sentences.

    Args:
        name: what to call them in messages.
        documents: the documents.
        rule: what a document is; by default the ones given.
    """
    texts = list(documents)
    return TextDocuments(name, lambda: [with_blank_lines(texts)], rule, sum(map(len, texts)))


def with_blank_lines(documents: Iterable[str]) -> Iterator[str]:
    """Documents as one text, with an empty line after each; empty lines within them are left out."""
    for document in documents:
        lines = (line for line in document.split("\n") if line.strip())
        yield from chain(("\n".join(lines),), ("\n\n",))
