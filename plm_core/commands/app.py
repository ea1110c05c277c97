"""The parser of the command line: a function becomes a command, and a mistake in its arguments a ValueError."""

from __future__ import annotations

import contextlib
import functools
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

from tyro.extras import SubcommandApp

BOX = re.compile(r"\x1b\[[0-9;]*m|[╭╮╰╯│]")
"""Colours and vertical lines of the box in which tyro explains what it did not understand."""
RULE = re.compile(r"[─-]{6,}")
"""A horizontal line of that box."""


class App(SubcommandApp):
    """A set of commands. Parsing and running are two steps, so that each has errors of its own."""

    def command(self, func: Any = None, **options: Any) -> Any:
        """Register a function or another App as a command; to be used as a decorator as well."""
        if func is None:
            return lambda later: self.command(later, **options)
        super().command(func if isinstance(func, SubcommandApp) else deferred(func), **options)
        return func

    def parse(self, arguments: Sequence[str] | None, *, prog: str, description: str) -> Callable[[], object]:
        """The call that a command line stands for.

        Args:
            arguments: what follows the name of the program; by default what this process was started with.
            prog: the name of the program.
            description: what it is for.

        Raises:
            ValueError: no such command or option, or a value of another type.
            SystemExit: with code 0, after help was printed.
        """
        output = io.StringIO()
        try:
            with contextlib.redirect_stderr(output):
                return self.cli(prog=prog, args=arguments, description=description)
        except SystemExit as error:
            if error.code in (None, 0):
                raise
            raise ValueError(unboxed(output.getvalue()) or "the command line could not be read") from error


def deferred(function: Callable[..., object]) -> Callable[..., Callable[[], object]]:
    """A function with the same arguments that returns the call instead of making it."""

    @functools.wraps(function)
    def later(*positional: Any, **named: Any) -> Callable[[], object]:
        return functools.partial(function, *positional, **named)

    return later


def unboxed(text: str) -> str:
    """The sentences of a box: what was wrong and where to read more, without the help in between."""
    sections: list[list[str]] = [[]]
    for line in text.splitlines():
        plain = BOX.sub("", line).strip()
        if RULE.search(plain):
            sections.append([])
        elif plain:
            sections[-1].append(plain)
    parts = [" ".join(section) for section in sections if section]
    if "╭" not in text:  # without UTF-8 the title is a section of its own, else it stands in the frame
        parts = parts[1:]
    return ". ".join(part.rstrip(".") for part in parts if not part.startswith("Argument helptext"))
