"""Files with one word and its tag a line, as the CoNLL shared tasks use them, and tags aligned with tokens.

    Ann    B-PER
    Lee    I-PER
    runs   O

An empty line ends a sentence. Tags of names say which words belong together, in one of three schemes:

==========  =======================================================================================================
``bio``     B- begins a name, I- continues it, O is outside; the scheme of CoNLL-2002 (also called IOB2)
``iob1``    I- begins and continues a name; B- only begins one that follows another of its kind; CoNLL-2003
``bioes``   as ``bio``, and E- ends a name of several words, S- is a name of one word
==========  =======================================================================================================

Whatever the scheme of a file, what is read is ``bio``. Shapes: T tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plm_core.data.examples import TaggedSentence
from plm_core.data.label_names import LabelNames
from plm_core.data.labels import IGNORE
from plm_core.data.tables import read_lines
from plm_core.data.tokenizers import Tokenizer

Scheme = Literal["bio", "iob1", "bioes"]
PREFIXES: dict[Scheme, str] = {"bio": "BI", "iob1": "BI", "bioes": "BIES"}
DOCUMENT_START = "-DOCSTART-"


def read_conll(
    path: str | Path,
    *,
    word_column: int = 0,
    tag_column: int = -1,
    scheme: Scheme | None = "bio",
    repair: bool = False,
) -> list[TaggedSentence]:
    """Read the sentences of a file.

    Args:
        path: the file; columns are separated by tabs or spaces.
        word_column, tag_column: which columns hold words and tags, from 0; negative ones are counted from the end.
        scheme: how the tags mark names; None for tags that stand alone, such as parts of speech.
        repair: under ``bio``, read an I- that continues no name as the B- of a new one, as the scorer of the CoNLL
            shared tasks does. The Spanish files of CoNLL-2002 need it at a few places.

    Returns:
        Sentences with ``bio`` tags. Lines that begin with ``-DOCSTART-`` are left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file that is empty, not UTF-8 or in mixed encodings; lines of different numbers of columns; a
            column that is not there; a tag that is none of the scheme's, or that cannot follow the one before it. The
            line is named.
    """
    path = Path(path)
    sentences: list[TaggedSentence] = []
    rows: list[tuple[int, list[str]]] = []
    width = first = 0

    def finish() -> None:
        if rows:
            words = tuple(fields[word_column] for _, fields in rows)
            tags = [fields[tag_column] for _, fields in rows]
            if scheme is not None:
                if repair and scheme == "bio":
                    tags = to_bio(tags, "iob1")
                wrong = first_wrong_tag(tags, scheme)
                if wrong is not None:
                    raise ValueError(f"{path}, line {rows[wrong[0]][0]}: {wrong[1]}")
                tags = to_bio(tags, scheme)
            sentences.append(TaggedSentence(words, tuple(tags)))
            rows.clear()

    for number, line in enumerate(read_lines(path), start=1):
        fields = re.split(r"[ \t]+", line.strip(" \t"))
        if fields == [""]:
            finish()
        elif fields[0] != DOCUMENT_START:
            width, first = (width, first) if width else (len(fields), number)
            if len(fields) != width:
                raise ValueError(f"{path}, line {number}: {len(fields)} columns, but line {first} has {width}")
            for what, column in (("word", word_column), ("tag", tag_column)):
                if not -width <= column < width:
                    raise ValueError(f"{path} has {width} columns, so there is no {what} column {column}")
            if width < 2 or word_column % width == tag_column % width:
                raise ValueError(f"{path}, line {number}: expected a word and a tag, found one column for both")
            rows.append((number, fields))
    finish()
    if not sentences:
        raise ValueError(f"{path} holds no sentence")
    return sentences


def first_wrong_tag(tags: Sequence[str], scheme: Scheme) -> tuple[int, str] | None:
    """The first tag of a sentence that its scheme does not allow: its place, from 0, and what is wrong; None if all
    are allowed."""
    pattern = re.compile(f"O|[{PREFIXES[scheme]}]-.+")
    before = "O"
    for place, tag in enumerate(tags):
        if not pattern.fullmatch(tag):
            allowed = ", ".join(f"{prefix}-NAME" for prefix in PREFIXES[scheme])
            return place, f"{tag!r} is no tag of the scheme {scheme}: expected O, {allowed}"
        if not _may_follow(before, tag, scheme):
            hint = " (is it scheme='iob1'? or a slip, to be read as B- by repair=True?)" if scheme == "bio" else ""
            return place, f"{tag} cannot follow {before if place else 'the beginning of a sentence'}{hint}"
        before = tag
    if scheme == "bioes" and before[0] in "BI":
        return len(tags) - 1, f"{before} cannot end a sentence"
    return None


def _may_follow(before: str, tag: str, scheme: Scheme) -> bool:
    if scheme == "iob1":
        return tag[0] != "B" or before[1:] == tag[1:]
    continues = before[0] in "BI" and before[1:] == tag[1:]
    if scheme == "bio":
        return tag[0] != "I" or continues
    return continues if tag[0] in "IE" else before[0] not in "BI"


def to_bio(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """The tags of a sentence in the scheme ``bio``.

    Args:
        tags: allowed ones (:func:`first_wrong_tag`).
        scheme: theirs.

    >>> to_bio(["I-PER", "I-PER", "B-PER", "O"], "iob1")
    ['B-PER', 'I-PER', 'B-PER', 'O']
    """
    if scheme == "bioes":
        return [{"E": "I", "S": "B"}.get(tag[0], tag[0]) + tag[1:] for tag in tags]
    if scheme == "bio":
        return list(tags)
    made, before = [], "O"
    for tag in tags:
        made.append("B" + tag[1:] if tag[0] == "I" and before[1:] != tag[1:] else tag)
        before = tag
    return made


def tag_names(sentences: Sequence[TaggedSentence], where: str) -> LabelNames:
    """The tags that occur, O first, and with every B- its I-, which the training sentences may lack by chance.

    Args:
        sentences: the training sentences.
        where: their source, for the message.

    Raises:
        ValueError: one tag only.
    """
    found = {tag for sentence in sentences for tag in sentence.tags}
    found |= {f"I-{tag[2:]}" for tag in found if tag.startswith("B-")} if "O" in found else set()
    names = LabelNames.of(found, where).names
    kinds = {tag: tag[2:] if tag.startswith(("B-", "I-")) else tag for tag in names}
    return LabelNames(tuple(sorted(names, key=lambda tag: (tag != "O", kinds[tag], tag))))


@dataclass(frozen=True)
class AlignedSentence:
    """The tokens of a sentence, and the tag of each word at its first token."""

    input_ids: list[int]
    """Token ids with special tokens, (T,)."""
    labels: list[int]
    """Numbers of tags, (T,), :data:`~plm_core.data.labels.IGNORE` at special tokens and at those that continue a word.
    """
    word_starts: list[bool]
    """True at the first token of each word, (T,)."""
    num_words: int
    """Words of the sentence; more than the True ones of ``word_starts`` if it was cut."""


def align(
    sentence: TaggedSentence, tokenizer: Tokenizer, names: LabelNames, *, max_length: int | None = None, where: str = ""
) -> AlignedSentence:
    """Tokenise a sentence, its words joined by spaces, and put each tag at the first token of its word.

    Args:
        sentence: words and tags.
        tokenizer: a token belongs to the word of its first character that is no space.
        names: the tags.
        max_length: the longest sequence, in tokens with special ones; what is beyond is cut off. None for no limit.
        where: the source, for messages.

    Raises:
        ValueError: a number of tags that is not that of the words, an unknown tag, or a word of which the tokenizer
            leaves nothing.
    """
    place = f"{where}: " if where else ""
    if len(sentence.words) != len(sentence.tags):
        raise ValueError(f"{place}{len(sentence.words)} words, but {len(sentence.tags)} tags")
    numbers = names.ids(sentence.tags, where or "a sentence")
    text = " ".join(sentence.words)
    word_of = [number for number, word in enumerate(sentence.words) for _ in range(len(word) + 1)]  # by character
    plain = tokenizer.encoding(text)
    starts, labels, last = [], [], -1
    for begin, end in plain.offsets:
        inside = next((c for c in range(begin, end) if not text[c].isspace()), begin)
        word = word_of[inside] if end > begin else last
        starts.append(word > last)
        if word > last + 1:
            break
        labels.append(numbers[word] if word > last else IGNORE)
        last = max(last, word)
    if last < len(sentence.words) - 1:
        missing = sentence.words[last + 1]
        raise ValueError(
            f"{place}the word {missing!r} (number {last + 2}) has no token of its own, so that its tag fits none: "
            "leave the word out, or use a tokenizer that knows its characters"
        )
    framed = tokenizer.encode(text, add_special_tokens=True)
    before = next(n for n in range(len(framed) + 1) if framed[n : n + len(plain.ids)] == plain.ids)
    after = len(framed) - len(plain.ids) - before
    ids, room = list(plain.ids), len(plain.ids)
    if max_length is not None:
        room = min(room, max_length - before - after)
        if room < 1:
            raise ValueError(f"max_length {max_length} leaves no room for a token beside the special ones")
    head, tail = framed[:before], framed[len(framed) - after :]
    return AlignedSentence(
        [*head, *ids[:room], *tail],
        [IGNORE] * before + labels[:room] + [IGNORE] * after,
        [False] * before + starts[:room] + [False] * after,
        len(sentence.words),
    )


def tags_of_words(predicted: Sequence[int], aligned: AlignedSentence, names: LabelNames) -> list[str]:
    """The predicted tag of each word, ``O`` (or the first tag, if there is no O) for words that were cut off.

    Args:
        predicted: the number of a tag for each token, (T,) or longer.
        aligned: the sentence.
        names: the tags.
    """
    found = [names.names[number] for number, start in zip(predicted, aligned.word_starts, strict=False) if start]
    outside = "O" if "O" in names.names else names.names[0]
    return found + [outside] * (aligned.num_words - len(found))
