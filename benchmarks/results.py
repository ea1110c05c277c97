"""Results on disk: numbers with the machine, versions, date and commit they belong to."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks.contest import Contestant
from plm_core.runtime import device_name

RESULTS = Path(__file__).parent / "results"


def describe_run(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings, machine, versions, date and commit; no name of the machine and no path."""
    return {
        "settings": settings,
        "machine": machine(settings.get("device", "cpu")),
        "waiting_threads": os.environ.get("OMP_WAIT_POLICY", "default").lower(),
        "versions": versions(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
    }


def machine(device: str) -> str:
    """The processor's or GPU's name."""
    if device == "cpu":
        for line in _lines(Path("/proc/cpuinfo")):
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return device_name(torch.device(device))


def versions() -> dict[str, str]:
    """The versions that the numbers depend on."""
    found = {"python": platform.python_version()}
    for name in ("torch", "transformers", "accelerate", "tokenizers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit that was measured, marked where files had changed since; empty outside a checkout."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here.parent)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--", "plm_core", "benchmarks/*.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def summary(side: Contestant, *, flops_per_token: float | None = None, peak: float | None = None) -> dict[str, float]:
    """A side's median rate, its slowest and fastest turn, its peak memory, and how well it uses the hardware.

    Args:
        side: the contestant, after its turns.
        flops_per_token: floating-point operations that the model needs for a real token, on either side; then
            ``gflops_per_second`` is what the side reaches of them, padding and what nobody asked for not counted.
        peak: operations a second that the hardware could do, where known; then ``mfu`` is the share that is reached.
    """
    rate = statistics.median(side.rates)
    told: dict[str, float] = {
        "tokens_per_second": round(rate),
        "slowest": round(min(side.rates)),
        "fastest": round(max(side.rates)),
        "peak_mib": round(side.peak_mib),
    }
    if flops_per_token is not None:
        told["gflops_per_second"] = round(flops_per_token * rate / 1e9, 1)
        if peak is not None:
            told["mfu"] = round(flops_per_token * rate / peak, 3)
    return told


def hardware_use(side: dict[str, float]) -> str:
    """A side's MFU, or where no peak is known its operations a second, for people; empty where neither is stored."""
    if "mfu" in side:
        return f"{side['mfu']:.0%} MFU"
    return f"{side['gflops_per_second']:,.0f} GFLOP/s" if "gflops_per_second" in side else ""


def save_result(name: str, result: dict[str, Any]) -> Path:
    """Write a result under ``benchmarks/results``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return path


def load_result(name: str) -> dict[str, Any] | None:
    """Read a result, or None where there is none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
