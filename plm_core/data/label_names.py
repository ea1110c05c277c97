"""The names of classes and their numbers."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LabelNames:
    """The classes of a task; the number of a class is its place among the names."""

    names: tuple[str, ...]
    """The names, at least two and each once."""

    def __post_init__(self) -> None:
        twice = next((name for name, count in Counter(self.names).items() if count > 1), None)
        if twice is not None:
            raise ValueError(f"the class {twice!r} is named twice")
        if len(self.names) < 2:
            raise ValueError(f"a task needs at least two classes, got {', '.join(map(repr, self.names)) or 'none'}")

    @classmethod
    def of(cls, labels: Iterable[str], where: str) -> LabelNames:
        """The classes that occur, in the order of the alphabet (numbers by their value).

        Args:
            labels: the labels of the training examples.
            where: their source, for the message.

        Raises:
            ValueError: no label, or one class only.
        """
        found = set(labels)
        if len(found) < 2:
            what = (
                f"every example is {next(iter(found))!r}: there is one class only" if found else "there is no example"
            )
            raise ValueError(f"{where}: {what}, and nothing can be learned from that")
        if all(name.lstrip("-").isdecimal() for name in found):
            return cls(tuple(sorted(found, key=int)))
        return cls(tuple(sorted(found)))

    def __len__(self) -> int:
        return len(self.names)

    def ids(self, labels: Sequence[str], where: str) -> list[int]:
        """The numbers of labels.

        Args:
            labels: names.
            where: their source, for the message.

        Raises:
            ValueError: a name that is no class, such as one that the test examples have and the training examples lack.
        """
        numbers = {name: number for number, name in enumerate(self.names)}
        for place, label in enumerate(labels, start=1):
            if label not in numbers:
                near = difflib.get_close_matches(label, self.names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"the classes are {_shown(self.names)}"
                raise ValueError(f"{where}: example {place} has the unknown label {label!r}: {hint}")
        return [numbers[label] for label in labels]


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
