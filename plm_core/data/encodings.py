"""Encodings before they become tensors: what text can be encoded, and how one that is too long is shortened."""

from __future__ import annotations

import re
from typing import Literal

from tokenizers import Encoding

Truncation = Literal["longest_first", "only_first", "only_second"]
"""Which of two texts is cut where they are too long together."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def check_text(*texts: str) -> None:
    """Refuse half a surrogate pair, which stands for no character and which UTF-8 cannot hold.

    Raises:
        ValueError: a text with one; its place is named.
    """
    for text in texts:
        found = None if text.isascii() else _SURROGATE.search(text)
        if found:
            raise ValueError(
                f"character {found.start()} of the text is half a surrogate pair, {found[0]!r}: no character; read the "
                "text as UTF-8, or leave it out"
            )


def truncate(first: Encoding, second: Encoding | None, room: int, truncation: Truncation) -> None:
    """Shorten one or two encodings in place at their ends, so that together they have at most ``room`` tokens.

    Raises:
        ValueError: cutting what ``truncation`` allows to cut is not enough.
    """
    lengths = [len(first), 0 if second is None else len(second)]
    excess = sum(lengths) - room
    if excess <= 0:
        return
    if truncation == "longest_first":
        shorter = 0 if lengths[0] <= lengths[1] else 1
        keep = [room - room // 2, room - room // 2]
        keep[shorter] = min(lengths[shorter], room // 2)
        keep[1 - shorter] = room - keep[shorter]
    else:
        cut = 0 if truncation == "only_first" else 1
        keep = [length - excess * (number == cut) for number, length in enumerate(lengths)]
    if room < 0 or min(keep) < 0:
        raise ValueError(
            f"truncation {truncation!r} cannot bring {sum(lengths)} tokens down to {room}: raise max_length, or use "
            "'longest_first'"
        )
    first.truncate(keep[0])
    if second is not None:
        second.truncate(keep[1])
