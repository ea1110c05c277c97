"""Bring stale chapters up to date: run them side by side and stamp what they used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from book.tool import stamp
from book.tool.chapters import (
    BookError,
    Chapter,
    find_chapters,
    refresh_setup,
)
from book.tool.machine import check_preset
from book.tool.notebooks import take_over_text


@dataclass(frozen=True)
class Work:
    """A stale chapter, why it is stale, and whether it must be run for that."""

    chapter: Chapter
    reasons: list[str]
    must_run: bool


def execute(
    root: Path, names: Sequence[str] = (), *, force: bool = False, jobs: int | None = None, preset: str | None = None
) -> None:
    """Execute the stale ones among the named chapters (all, without names) and say what was stale and why.

    Args:
        root: the repository.
        names: chapters by name, number or path.
        force: run them whether stale or not.
        jobs: how many to run side by side; default: as many as there are cores.
        preset: ``"laptop"`` or ``"gpu"``; default: what the machine suggests.

    Raises:
        BookError: bad input.
        ChapterFailed: a cell failed; the old notebook of that chapter is untouched, the others are finished.
        KeyboardInterrupt: interrupted; finished chapters are kept.
    """
    check_preset(preset)
    if jobs is not None and jobs < 1:
        raise BookError(f"--jobs must be at least 1, got {jobs}")
    chapters = find_chapters(root, names)
    for chapter in chapters:
        if not chapter.text.exists():
            raise BookError(
                f"{chapter.shown(chapter.notebook)} has no text {chapter.shown(chapter.text)}: write it with "
                f"`jupytext --to md:myst {chapter.shown(chapter.notebook)}`, or delete the notebook"
            )
        for path in (chapter.text, chapter.exercises):
            if path.exists() and refresh_setup(root, path):
                print(f"{chapter.shown(path)}: brought the first lines of the set-up cell up to date")
    work = find_work(chapters, force=force, preset=preset)
    if not work:
        print(f"{len(chapters)} chapter{'s' * (len(chapters) != 1)} up to date, nothing to execute.")
        return
    for item in work:
        print(f"{item.chapter.name}: {'; '.join(item.reasons)}")
        if not item.must_run:
            take_over_text(item.chapter)
    to_run = [item.chapter for item in work if item.must_run]
    if len(to_run) < len(work):
        print(f"{len(work) - len(to_run)} taken over without running.")
    if to_run:
        from book.tool.runner import run_all  # it brings nbclient, which a book without stale chapters does not need

        run_all(to_run, jobs=jobs, preset=preset)


def find_work(chapters: Sequence[Chapter], *, force: bool = False, preset: str | None = None) -> list[Work]:
    """Which chapters are stale, and why."""
    work = []
    for chapter in chapters:
        if force:
            work.append(Work(chapter, ["asked for by --force"], True))
            continue
        reasons, must_run = stamp.stale_reasons(chapter, preset=preset)
        if reasons:
            work.append(Work(chapter, reasons, must_run))
    return work
