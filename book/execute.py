"""Bring stale chapters up to date: run them side by side and stamp what they used."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from tqdm import tqdm

from book import stamp
from book.chapters import (
    BookError,
    Chapter,
    ChapterFailed,
    find_chapters,
    read_notebook,
    read_text,
    refresh_setup,
    write_atomically,
)
from book.kernel import ChapterKernel, importing, probe, watch, within

CELL_TIMEOUT = 3600
"""Seconds after which a cell is taken to hang."""

T = TypeVar("T")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


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
        run_all(to_run, jobs=jobs, preset=preset)


def check_preset(preset: str | None) -> None:
    """Refuse a preset that does not exist."""
    from plm_core.runtime import PRESETS

    if preset is not None and preset not in PRESETS:
        raise BookError(f"unknown preset {preset!r}: use one of {', '.join(PRESETS)}")


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


def take_over_text(chapter: Chapter) -> None:
    """Put changed prose into the executed notebook; its outputs stay, because its code did not change."""
    old = read_notebook(chapter.notebook)
    fresh = prepare(chapter)
    outputs = [cell for cell in old.cells if cell.cell_type == "code"]
    for cell, executed in zip((c for c in fresh.cells if c.cell_type == "code"), outputs, strict=True):
        cell.outputs, cell.execution_count = executed.outputs, executed.execution_count
    fresh.metadata.update({key: old.metadata[key] for key in ("language_info", stamp.KEY) if key in old.metadata})
    save(chapter, fresh, fresh.metadata[stamp.KEY])


def prepare(chapter: Chapter) -> nbformat.NotebookNode:
    """The chapter's text as a notebook without outputs, its cells named after their content."""
    notebook = read_text(chapter.text)
    header = notebook.metadata.get("jupytext")
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    )
    if header:
        notebook.metadata["jupytext"] = header
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        cell.metadata.pop("line")
        digest = stamp.text_hash(f"{cell.cell_type}\n{cell.source}")[:8]
        seen[digest] = seen.get(digest, -1) + 1
        cell.id = f"{digest}-{seen[digest]}" if seen[digest] else digest
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def save(chapter: Chapter, notebook: nbformat.NotebookNode, details: dict[str, Any]) -> None:
    """Stamp a notebook with the hash of its text and write it."""
    notebook.metadata[stamp.KEY] = dict(details) | {
        "text": stamp.text_hash(chapter.text.read_text(encoding="utf-8")),
        "cells": stamp.cells_hash(notebook),
    }
    write_atomically(chapter.notebook, nbformat.writes(notebook) + "\n")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(chapters: Sequence[Chapter], *, jobs: int | None = None, preset: str | None = None) -> None:
    """Run chapters side by side, each with an equal share of the cores, and write those that succeed."""
    jobs = min(jobs or cores(), len(chapters))
    env = kernel_environment(chapters[0].root, threads=max(1, cores() // jobs), preset=preset)
    start = time.perf_counter()
    failures: dict[str, BaseException] = {}

    async def all_of_them() -> None:
        gate = asyncio.Semaphore(jobs)

        async def one(chapter: Chapter, place: int) -> None:
            async with gate:
                try:
                    await run_chapter(chapter, env, place)
                except (BookError, OSError, RuntimeError) as error:
                    failures[chapter.name] = error

        async with asyncio.TaskGroup() as group:
            for place, chapter in enumerate(chapters):
                group.create_task(one(chapter, place))

    _run_in_thread(all_of_them())
    done = len(chapters) - len(failures)
    print(f"{done} of {len(chapters)} executed in {time.perf_counter() - start:.0f} s, {jobs} side by side.")
    if failures:
        codes = [getattr(error, "exit_code", 1) for error in failures.values()]
        kind = BookError if min(codes) == 2 else ChapterFailed
        raise kind("\n".join(str(error) for error in failures.values()))


def kernel_environment(root: Path, *, threads: int, preset: str | None = None) -> dict[str, str]:
    """The environment of a chapter's kernel: this repository's library, a share of the cores, no progress bars."""
    env = dict(os.environ)
    env |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    env |= {"PYTHONHASHSEED": "0", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), env.get("PYTHONPATH")]))
    if preset:
        env["PLM_PRESET"] = preset
    return env


async def run_chapter(chapter: Chapter, env: dict[str, str], place: int = 0) -> None:
    """Run one chapter in a fresh kernel, stamp it and write it."""
    notebook = prepare(chapter)
    code = [(i, cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    client = NotebookClient(
        notebook,
        kernel_manager_class=ChapterKernel,
        timeout=CELL_TIMEOUT,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(chapter.text.parent)}},
        record_timing=False,
        coalesce_streams=True,
        shutdown_kernel="immediate",
    )
    start = time.perf_counter()
    bar = tqdm(total=len(code), desc=chapter.name, unit="cell", position=place, disable=None, leave=True)
    with bar:
        async with client.async_setup_kernel(env=env):
            await watch(client.kc)
            for index, cell in code:
                try:
                    await client.async_execute_cell(cell, index)
                except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                    files = await importing(client.kc) if isinstance(error, CellExecutionError) else []
                    raise failure(chapter, notebook, index, error, files) from None
                bar.update()
            seconds = time.perf_counter() - start
            info = await client.async_wait_for_reply(client.kc.kernel_info())
            answer = await probe(client.kc)
    if info is not None:
        language = info["content"]["language_info"]
        notebook.metadata["language_info"] = {key: language[key] for key in ("name", "file_extension", "mimetype")}
    details = stamp_details(chapter, answer)
    tidy(chapter.root, notebook)
    save(chapter, notebook, details | {"seconds": round(seconds, 1), "date": datetime.now(UTC).date().isoformat()})
    if bar.disable:
        print(f"{chapter.name}: executed in {seconds:.0f} s", flush=True)


def stamp_details(chapter: Chapter, answer: dict[str, Any]) -> dict[str, Any]:
    """Turn the kernel's answer into the stamp: hashes of modules, opened files and pins, and what it ran on."""
    root = chapter.root
    modules = {}
    for name, file in sorted(answer["modules"].items()):
        if within(root, file) is None:
            raise BookError(
                f"{chapter.name} imported {name} from {file}, not from this repository: "
                f"install it with `pip install -e {root}`"
            )
        modules[name] = stamp.file_hash(Path(file))
    files = {}
    for opened in answer["opened"]:
        inside = within(root, opened)
        if (
            inside
            and inside.startswith(("plm_core/", "chapters/experiments/"))
            and not inside.endswith((".py", ".pyc"))
            and "__pycache__" not in inside
            and (root / inside).is_file()
        ):
            files[inside] = stamp.file_hash(root / inside)
    return {
        "modules": modules,
        "files": files,
        "pins": stamp.pins_hash(root),
        "device": answer["device"],
        "preset": answer["preset"],
        "precision": answer["precision"],
        "peak_memory_mib": round(answer["peak_memory_mib"]),
        "versions": answer["versions"],
    }


def tidy(root: Path, notebook: nbformat.NotebookNode) -> None:
    """Take out of the outputs what differs between machines and runs without meaning anything."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                output.traceback = [_portable(root, line) for line in output.traceback]


def _portable(root: Path, text: str) -> str:
    text = text.replace(f"{root}{os.sep}", "").replace(f"{root.resolve()}{os.sep}", "")
    text = re.sub(r"\S*[/\\]site-packages[/\\]", "site-packages/", text)
    return re.sub(r"\S*[/\\]ipykernel_\d+[/\\]\d+\.py", "<cell>", text)


def failure(
    chapter: Chapter, notebook: nbformat.NotebookNode, index: int, error: Exception, importing: Sequence[str] = ()
) -> BookError:
    """Describe a failed cell: its place in the text and the last lines of the error, without a traceback.

    Args:
        chapter: the chapter.
        notebook: its notebook, with the outputs so far.
        index: the position of the cell.
        error: what nbclient raised.
        importing: files whose import led to the error, outermost first.
    """
    line = read_text(chapter.text).cells[index].metadata.line
    where = f"{chapter.shown(chapter.text)}:{line}"
    kept = f"({chapter.shown(chapter.notebook)} is left as it was)"
    if isinstance(error, DeadKernelError):
        return ChapterFailed(f"{where}: the kernel died in this cell, perhaps for want of memory {kept}")
    if isinstance(error, CellTimeoutError):
        return ChapterFailed(f"{where}: the cell did not end within {CELL_TIMEOUT} s {kept}")
    output = next(output for output in notebook.cells[index].outputs if output.output_type == "error")
    what = f"{output.ename}: {_portable(chapter.root, output.evalue)}"
    broken = [inside for inside in (within(chapter.root, file) for file in importing) if inside]
    if broken:
        return BookError(f"{where}: {broken[-1]} cannot be imported: {what} {kept}")
    if output.ename in ("ImportError", "ModuleNotFoundError"):
        return BookError(f"{where}: an import failed: {what} {kept}")
    traceback = _ANSI.sub("", "\n".join(output.traceback))
    last = [_portable(chapter.root, each) for each in traceback.splitlines() if each.strip()][-4:]
    if not any(output.ename in each for each in last):
        last.append(what)
    return ChapterFailed(f"{where}: this cell failed {kept}\n" + "\n".join(f"    {each}" for each in last))


def _run_in_thread(work: Awaitable[T]) -> T:
    """Run a coroutine in a thread of its own, so that Ctrl-C reaches this one and shuts the kernels down in order."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    future = asyncio.run_coroutine_threadsafe(_as_coroutine(work), loop)
    try:
        return future.result()
    except KeyboardInterrupt:
        print("\ninterrupted: shutting the kernels down, finished chapters are kept", file=sys.stderr)
        future.cancel()
        raise
    finally:
        asyncio.run_coroutine_threadsafe(_drain(), loop).result(timeout=60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _as_coroutine(work: Awaitable[T]) -> T:
    return await work


async def _drain() -> None:
    """Wait until every other task of the loop has ended."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    await asyncio.gather(*others, return_exceptions=True)
