"""Modules that an executed notebook or a stored result depends on: where they lie, and a hash of what they say.

A module that only moved, or whose imports follow a module that moved, keeps its hash: import statements count by what
they bind and not by how they are written, and moved modules count under their new names (``book/moved_modules.yml``).
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

PACKAGES = ("plm_core", "plm_chapters")
"""Top-level packages that belong to the repository."""

FOLDERS = {"plm_core": "plm_core", "plm_chapters": "chapters"}
"""The folder in which each of them lies."""

TABLE = Path(__file__).resolve().parents[1] / "moved_modules.yml"


@cache
def moved_modules() -> dict[str, str]:
    """Old and new dotted names of the modules and packages that have moved."""
    names = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return {str(old): str(new) for old, new in names.items()}


@cache
def _moved_pattern() -> re.Pattern[str]:
    longest_first = sorted(moved_modules(), key=len, reverse=True)
    return re.compile(r"(?<![\w.])(" + "|".join(map(re.escape, longest_first)) + r")(?!\w)")


def with_new_names(text: str) -> str:
    """A text in which every dotted name of a module that has moved is replaced by its present name."""
    return _moved_pattern().sub(lambda match: moved_modules()[match.group(1)], text)


def module_file(root: Path, module: str) -> Path | None:
    """The source file of a module in the repository at ``root``, also under an old name; ``None`` if there is none."""
    package, *parts = with_new_names(module).split(".")
    if package not in FOLDERS:
        return None
    path = (root / FOLDERS[package]).joinpath(*parts)
    for candidate in (path / "__init__.py", path.with_name(path.name + ".py")):
        if candidate.is_file():
            return candidate
    return None


def module_hash(path: Path) -> str:
    """SHA-256 of what a Python source file says; see :func:`source_hash`."""
    return source_hash(path.read_text(encoding="utf-8"))


def source_hash(text: str) -> str:
    """SHA-256 of Python source: every line that is not blank, and the set of names that its imports bind.

    Line endings, blank lines, the order and form of import statements and the old names of moved modules make no
    difference. Text that is not valid Python is hashed as it stands.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    imported: set[str] = set()
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return hashlib.sha256(text.encode()).hexdigest()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.Import):
            imported |= {f"{with_new_names(name.name)} as {name.asname or name.name}" for name in node.names}
        else:
            source = "." * node.level + (node.module or "")
            imported |= {
                f"{with_new_names(f'{source}.{name.name}')} as {name.asname or name.name}" for name in node.names
            }
        for number in range(node.lineno - 1, node.end_lineno or node.lineno):
            lines[number] = ""
    said = [with_new_names(line.rstrip()) for line in lines if line.strip()]
    return hashlib.sha256("\n".join([*sorted(imported), *said]).encode()).hexdigest()


def changed_modules(root: Path, recorded: Mapping[str, str]) -> list[str]:
    """Say which of the recorded modules (name: hash) are not what they were, one sentence each."""
    reasons = []
    for module, old in sorted(recorded.items()):
        path = module_file(root, module)
        if path is None:
            reasons.append(f"{module} is gone")
        elif module_hash(path) != old:
            reasons.append(f"{with_new_names(module)} changed")
    return reasons
