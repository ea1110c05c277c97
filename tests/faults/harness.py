"""Run commands in this process on malformed inputs, and see that nothing of the user's has changed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from plm_core import cli

TRACEBACK = re.compile(r"Traceback|\.py\", line")


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """What is wrong with the way in which it refused its input; empty if nothing is."""
        messages = [line for line in self.err.splitlines() if line.startswith("plm: ")]
        if self.code != 2:
            return f"exit code {self.code}, expected 2; it printed {self.out[-200:]!r} and {self.err[-200:]!r}"
        if len(messages) != 1 or not self.err.endswith(messages[0] + "\n"):
            return f"expected one message at the end, got {self.err[-300:]!r}"
        if TRACEBACK.search(self.err):
            return f"a traceback: {self.err[-300:]!r}"
        if len(messages[0]) > 1500:
            return f"a message of {len(messages[0]):,} characters"
        return ""


def plm(*arguments: str | Path) -> Outcome:
    """Run a command as the command line would; an error that leaves :func:`plm_core.cli.main` fails the test."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except Exception as error:  # the traceback that a user would see
            return Outcome(1, out.getvalue(), f"Traceback: {type(error).__name__}: {error}")
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
    return Outcome(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def nothing_changes(folder: Path, *, but: Container[str] = ()) -> Iterator[None]:
    """Assert that the block neither changes nor deletes anything in a folder, and adds nothing to it.

    A symbolic link counts as itself, and what it leads to is a part of the folder as well if it lies below it.

    Args:
        folder: the folder.
        but: paths in it that may be added.
    """
    before = snapshot(folder)
    yield
    after = snapshot(folder)
    lost = {path: state for path, state in before.items() if after.get(path) != state}
    added = {path for path in after.keys() - before.keys() if path not in but}
    assert not lost, f"changed or deleted: {sorted(lost)}"
    assert not added, f"left behind: {sorted(added)}"


def snapshot(folder: Path) -> dict[str, str]:
    """Every path below a folder with its kind and content."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(place, name)
            key = str(path.relative_to(folder))
            if path.is_symlink():
                found[key] = f"link to {os.readlink(path)}"
            elif path.is_dir():
                found[key] = "folder"
            elif path.is_file():
                found[key] = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                found[key] = "special"
    return found


def users_folder(root: Path) -> Path:
    """A folder as a user might have it: own files with names that the program uses too, and links to outside."""
    home, outside = root / "home", root / "outside"
    for path, content in {
        home / "out" / "best-of-2024" / "photo.txt": "a photo",
        home / "out" / "best-00000001" / "notes.md": "notes",
        home / "out" / "step-old" / "state.txt": "state",
        home / "out" / "config.yaml": "# my own settings\ncorpus: mine\n",
        home / "out" / "metadata.json": "{}",
        outside / "diary.txt": "a diary",
        outside / "metadata.json": '{"format": "mine"}',
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    (home / "out" / "linked").symlink_to(outside, target_is_directory=True)
    (home / "linked.txt").symlink_to(outside / "diary.txt")
    return root


def failures(cases: Sequence[tuple[str, str]]) -> str:
    """The inputs that were not refused as they should be, for the message of an assertion."""
    wrong = [f"{name}: {complaint}" for name, complaint in cases if complaint]
    return f"{len(wrong)} of {len(cases)} inputs: " + "\n".join(wrong[:20]) if wrong else ""
