"""Run chapters in kernels of their own, side by side, and write those that succeed."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
import time
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from tqdm import tqdm

from book.tool import stamp
from book.tool.chapters import BookError, Chapter, ChapterFailed, read_text, within
from book.tool.kernel import ChapterKernel, importing, probe, watch
from book.tool.machine import cores, kernel_environment
from book.tool.modules import module_hash
from book.tool.notebooks import prepare, save

CELL_TIMEOUT = 3600
"""Seconds after which a cell is taken to hang."""

T = TypeVar("T")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def run_all(chapters: Sequence[Chapter], *, jobs: int | None = None, preset: str | None = None) -> None:
    """Run chapters side by side, each with an equal share of the cores, and write those that succeed."""
    jobs = min(jobs or cores(), len(chapters))
    env = kernel_environment(chapters[0].root, threads=max(1, cores() // jobs), preset=preset)
    Path(env["IPYTHONDIR"]).mkdir(parents=True, exist_ok=True)
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
    used = {}
    for name, file in sorted(answer["modules"].items()):
        if within(root, file) is None:
            raise BookError(
                f"{chapter.name} imported {name} from {file}, not from this repository: "
                f"install it with `pip install -e {root}`"
            )
        used[name] = module_hash(Path(file))
    files = {}
    for opened in answer["opened"]:
        inside = within(root, opened)
        if (
            inside
            and inside.startswith(("plm_core/", "chapters/"))
            and not inside.endswith((".py", ".pyc"))
            and "__pycache__" not in inside
            and (root / inside).is_file()
        ):
            files[inside] = stamp.opened_hash(root / inside)
    return {
        "modules": used,
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
