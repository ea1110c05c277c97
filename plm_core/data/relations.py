"""Texts with two marked words or names, whose relation is to be found.

In a file the words stand in marks, ``<e1>Ann</e1> lives in <e2>Rome</e2>``, as in SemEval-2010 task 8 (Hendrickx et al.
2010). A model reads punctuation in their place, ``@ Ann @ lives in # Rome #``, which every tokenizer knows (Zhou and
Chen 2022). Shapes: T tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from plm_core.data.labelled_rows import Row
from plm_core.data.tokenizers import Tokenizer

MARK = re.compile(r"\s*<(/?)e([12])>\s*")
MARKS = ("<e1>", "</e1>", "<e2>", "</e2>")
MARKERS = {"1": "@", "2": "#"}
"""What a model reads on both sides of the first and of the second word."""


@dataclass(frozen=True)
class MarkedText:
    """A text with punctuation around two words."""

    text: str
    opening: tuple[int, int]
    """The character of the marker before the first word, and before the second."""
    closing: tuple[int, int]
    """The character of the marker after each of them."""

    def with_marks(self) -> str:
        """The text with the marks that a file has.

        >>> parse_marked("<e2>Rome</e2> is where <e1>Ann</e1> lives").with_marks()
        '<e2>Rome</e2> is where <e1>Ann</e1> lives'
        """
        marks = [(place, f"<e{number}>") for number, place in enumerate(self.opening, start=1)]
        marks += [(place, f"</e{number}>") for number, place in enumerate(self.closing, start=1)]
        text = self.text
        for place, mark in sorted(marks, reverse=True):  # from the end, so that places stay right
            before, after = text[:place], text[place + 1 :]
            text = before.rstrip() + mark + after if mark.startswith("</") else before + mark + after.lstrip()
        return text


def parse_marked(text: str, where: str = "a text") -> MarkedText:
    """Replace the marks of a text, ``<e1>...</e1>`` and ``<e2>...</e2>`` in any order, by punctuation.

    Args:
        text: the text.
        where: its source, for the message.

    Raises:
        ValueError: a mark that is missing, there twice, or in the wrong order, or nothing between two.

    >>> parse_marked("<e2>Rome</e2> is where <e1>Ann</e1> lives").text
    '# Rome # is where @ Ann @ lives'
    """
    made = open_number = ""
    places: dict[str, int] = {}
    end = 0
    for found in MARK.finditer(text):
        mark, number = found[0].strip(), found[2]
        closes, before = found[1] == "/", text[end : found.start()]
        if mark in places or (open_number != number if closes else open_number):
            raise ValueError(f"{where}: the mark {mark} is there twice or in the wrong place")
        if closes and not before.strip():
            raise ValueError(f"{where}: there is nothing between the marks <e{number}> and {mark}")
        made = _with_space(made + before)
        places[mark] = len(made)
        made = _with_space(made + MARKERS[number])
        end, open_number = found.end(), "" if closes else number
    missing = next((mark for mark in MARKS if mark not in places), None)
    if missing is not None:
        raise ValueError(f"{where}: the mark {missing} is missing; expected <e1>...</e1> and <e2>...</e2>")
    made = (made + text[end:]).rstrip()
    return MarkedText(made, (places["<e1>"], places["<e2>"]), (places["</e1>"], places["</e2>"]))


def _with_space(text: str) -> str:
    return text if not text or text.endswith(" ") else f"{text} "


def relation_row(
    marked: MarkedText,
    tokenizer: Tokenizer,
    *,
    label: int | None = None,
    max_length: int,
    causal: bool = False,
    where: str = "a text",
) -> tuple[Row, bool]:
    """The row of a marked text for a :class:`~plm_core.models.heads.RelationClassifier`, and whether its end was cut.

    Args:
        marked: the text.
        tokenizer: the model's.
        label: the number of the relation; None if it is to be predicted.
        max_length: tokens of the longest row, special ones included.
        causal: take the markers after the words, at which a causal model has read them, and not those before.
        where: the source of the text, for messages.

    Raises:
        ValueError: a marker that has no token, or that lies beyond the longest row.
    """
    encoding = tokenizer.encoding(marked.text, add_special_tokens=True)
    ids, special = list(encoding.ids), list(encoding.special_tokens_mask)
    tail = next((n for n, flag in enumerate(reversed(special)) if not flag), 0)
    positions: list[int] = []
    for place in marked.closing if causal else marked.opening:
        token = encoding.char_to_token(place)
        if token is None:
            raise ValueError(f"{where}: the tokenizer has no token for the marker {marked.text[place]!r}")
        positions.append(token)
    cut = len(ids) > max_length
    if cut:
        kept = max_length - tail
        if max(positions) >= kept:
            raise ValueError(
                f"{where}: a marked word lies beyond max_length {max_length}: raise it, or shorten the text"
            )
        ids = ids[:kept] + ids[len(ids) - tail :]
    row: dict[str, list[int] | list[bool] | tuple[int, ...] | int] = {
        "input_ids": ids,
        "marker_positions": tuple(positions),
    }
    if label is not None:
        row["labels"] = label
    return row, cut
