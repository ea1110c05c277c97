"""The end of a text at a stop string, which may begin and end anywhere within tokens."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Cuts a text that comes in pieces before the stop string that is complete first, however the text is cut.

    Of several that are complete at the same character, it is the longest. The end of a piece that could be the
    beginning of a stop string is held back until the next piece decides.

    Args:
        strings: the stop strings.

    Raises:
        ValueError: an empty stop string.

    >>> stop = StopStrings(["END"])
    >>> stop.add("the E"), stop.add("nd, the E"), stop.add("ND."), stop.stopped
    ('the ', 'End, the ', '', True)
    """

    def __init__(self, strings: Sequence[str]) -> None:
        if isinstance(strings, str) or not all(strings):
            raise ValueError(f"stop strings are a list of texts that are not empty, got {strings!r}")
        self.strings = list(strings)
        self.stopped = False
        """Whether a stop string was found; what follows it is ignored."""
        self._held = ""

    def add(self, piece: str) -> str:
        """Add a piece; return what is certain to stand before any stop string and was not returned before."""
        if self.stopped:
            return ""
        text = self._held + piece
        found = [(place + len(string), place) for string in self.strings if (place := text.find(string)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)[1]]
        held = max((self._overlap(text, string) for string in self.strings), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def rest(self) -> str:
        """What is still held back, at the end of the text."""
        held, self._held = self._held, ""
        return held

    @staticmethod
    def _overlap(text: str, string: str) -> int:
        """Length of the longest end of a text that a stop string begins with."""
        longest = min(len(text), len(string) - 1)
        return next((length for length in range(longest, 0, -1) if text.endswith(string[:length])), 0)
