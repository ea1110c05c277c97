"""``python -m benchmarks gpu --minutes 10 --output DIR``: what a short time on a GPU is best spent on.

The parts run in order of worth, each in a process of its own and none beyond the time that is left; each leaves a JSON
file as soon as it ends. A part that fails or does not fit is named in the summary, and the next one begins.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.results import describe_run
from plm_core.runtime import resolve_device

Outcome = Literal["done", "failed", "out of time", "skipped"]


@dataclass(frozen=True)
class Part:
    """Something to be measured: its name, the module whose command measures it, and the least time it is begun with."""

    name: str
    least_seconds: int
    arguments: tuple[str, ...] = ()
    """More arguments for ``python -m benchmarks.gpu_parts KIND``; the first is the kind."""


PARTS = (
    Part("varlen kernel", 15, ("varlen",)),
    Part("fp16 with loss scaling", 20, ("fp16",)),
    Part("one rank", 20, ("one-rank",)),
    Part("BERT-base at 512", 40, ("bert",)),
    Part("GPT-2 at 1024", 40, ("gpt2",)),
    Part("BERT-base at 512, compiled", 90, ("bert", "--compile")),
    Part("GPT-2 at 1024, compiled", 90, ("gpt2", "--compile")),
    Part("real text", 60, ("text",)),
    Part("chapters", 60, ("chapters",)),
)
"""In order of worth. ``least_seconds`` is what a part needs on a card of the A100's class to say anything."""


@dataclass(frozen=True)
class Record:
    """What became of a part."""

    name: str
    outcome: Outcome
    seconds: float = 0.0
    message: str = ""


def gpu(
    *,
    minutes: float = 10.0,
    output: Path = Path("gpu"),
    device: str = "cuda",
    corpus: str = "python-documentation",
    only: tuple[str, ...] = (),
    dry_run: bool = False,
) -> dict[str, Any]:
    """Measure what there is time for, in order of worth.

    Args:
        minutes: time for everything together.
        output: the folder for the results: one file for each part, and summary.json.
        device: cuda, cuda:N or, with dry_run, cpu.
        corpus: text for the contests and the language model: python-documentation, wikitext-2 or text8 (text8 for the
            language model alone, which reports bits per character).
        only: names of the parts to run; all if empty.
        dry_run: tiny models, so that the whole way can be tried without a GPU; the numbers mean nothing.

    Raises:
        ValueError: no such device, a CPU without dry_run, an unknown part, or no time.
    """
    if resolve_device(device).type == "cpu" and not dry_run:
        raise ValueError("these measurements are for a GPU: give --device cuda, or --dry-run to try the way on a CPU")
    if minutes <= 0:
        raise ValueError(f"--minutes must be positive, got {minutes:g}")
    unknown = sorted(set(only) - {part.name for part in PARTS})
    if unknown:
        raise ValueError(f"there is no part {unknown[0]!r}. Parts: {', '.join(part.name for part in PARTS)}")
    output.mkdir(parents=True, exist_ok=True)
    settings = {"minutes": minutes, "device": device, "corpus": corpus, "dry_run": dry_run}
    common = ["--device", device, "--corpus", corpus, *(["--dry-run"] if dry_run else [])]
    records: list[Record] = []
    for record in run_parts((p for p in PARTS if not only or p.name in only), common, output, 60 * minutes):
        records.append(record)
        print(f"{record.name}: {record.outcome}, {record.seconds:.0f} s {record.message}".rstrip(), flush=True)
        result = describe_run(settings) | {"parts": [asdict(each) for each in records]}
        (output / "summary.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def run_parts(parts: Iterable[Part], common: list[str], output: Path, seconds: float) -> Iterable[Record]:
    """Run the parts one after the other, and say of each what became of it.

    Args:
        parts: in order of worth.
        common: arguments that all of them take.
        output: where they write.
        seconds: the time for all.
    """
    end = time.monotonic() + seconds
    for part in parts:
        left = end - time.monotonic()
        if left < (1 if "--dry-run" in common else part.least_seconds):
            yield Record(part.name, "skipped", message=f"({left:.0f} s left, {part.least_seconds} wanted)")
            continue
        yield run_part(part, common, output, left)


def run_part(part: Part, common: list[str], output: Path, seconds: float) -> Record:
    """Run one part in a process of its own, which is ended when its time is over."""
    path = output / (part.name.lower().replace(",", "").replace(" ", "_") + ".json")
    command = [sys.executable, "-m", "benchmarks.gpu_parts", *part.arguments, *common]
    command += ["--output", str(path.resolve()), "--seconds", f"{seconds:.0f}"]
    begun = time.monotonic()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
        start_new_session=True,
    )
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)  # with the processes that it has started
        process.communicate()
        return Record(part.name, "out of time", time.monotonic() - begun)
    spent = time.monotonic() - begun
    if process.returncode:
        last = (errors.strip() or f"exit code {process.returncode}").splitlines()[-1]
        return Record(part.name, "failed", spent, last[:300])
    return Record(part.name, "done", spent)
