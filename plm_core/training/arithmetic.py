"""Which arithmetic ``precision: auto`` means for a run: on a CPU that depends on the processor, and is measured.

Only runs measure. A notebook's :func:`~plm_core.runtime.setup` takes fp32 on every CPU, so that its outputs are the
same on all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_core.data.download import data_folder
from plm_core.runtime import Precision, resolve_precision

WORTHWHILE = 1.2
"""How many times as fast bf16 products must be: a step also has parts that stay in fp32, and conversions."""
TOKENS = 512
"""Rows of the measured products."""
SECONDS = 0.05
"""How long a measurement may take, besides the first product of each kind."""


@dataclass(frozen=True)
class Arithmetic:
    """The arithmetic of a run's forward pass, and why it was chosen."""

    precision: Precision
    reason: str

    def __str__(self) -> str:
        return f"{self.precision} ({self.reason})"


def choose_arithmetic(precision: str, device: torch.device, *, width: int) -> Arithmetic:
    """Resolve the precision of a run.

    On a CPU with bf16 units ``"auto"`` means bf16 if products of the model's width are faster in it. They are measured
    once for each machine, number of threads and width; the result is kept in a small file beside the corpora, so that
    a run that is resumed computes as it began.

    Args:
        precision: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        device: where the run computes.
        width: the model's width D.

    Raises:
        ValueError: an unknown precision.
    """
    chosen = resolve_precision(precision, device)
    if precision != "auto":
        return Arithmetic(chosen, "as configured")
    if device.type != "cpu":
        return Arithmetic(chosen, "the best that this GPU has units for")
    units = bf16_units()
    if not units:
        return Arithmetic("fp32", "this processor has no bf16 units")
    speedup = remembered_speedup(units, width)
    if speedup >= WORTHWHILE:
        return Arithmetic("bf16", f"at width {width}, products are {speedup:.1f} times as fast as in fp32 on {units}")
    return Arithmetic("fp32", f"at width {width}, products in bf16 are only {speedup:.1f} times as fast on {units}")


def bf16_units() -> str:
    """The instructions for bf16 products that this processor has, in words; empty if it has none."""
    tests = {"_is_amx_tile_supported": "AMX", "_is_avx512_bf16_supported": "AVX-512 BF16"}  # torch has no public way
    found = [name for test, name in tests.items() if getattr(torch.cpu, test, bool)()]
    if platform.machine() in ("aarch64", "arm64") and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        found.append("ARM BF16")
    return " and ".join(found)


def remembered_speedup(units: str, width: int) -> float:
    """:func:`measured_speedup`, from the file of earlier measurements on this machine where it holds one."""
    file = data_folder() / "bf16_speedup.json"
    key = f"{processor_name()}, {units}, {torch.get_num_threads()} threads, torch {torch.__version__}, width {width}"
    known: dict[str, float] = {}
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(file.read_text(encoding="utf-8"))
        known = {str(name): float(value) for name, value in content.items()} if isinstance(content, dict) else {}
    if key not in known:
        known[key] = round(measured_speedup(width), 3)
        with contextlib.suppress(OSError):  # without the file every run measures
            write_whole(file, json.dumps(known, indent=1) + "\n")
    return known[key]


def measured_speedup(width: int) -> float:
    """How many times as fast a feed-forward network's first product, forward and backward, is in bf16 as in fp32.

    The two take turns, and the ratio is the median over the turns: a slow moment of the machine hits both.
    """
    weight_FD = torch.linspace(-1, 1, 4 * width * width).view(4 * width, width).requires_grad_()
    x_ND = torch.linspace(-1, 1, TOKENS * width).view(TOKENS, width)
    low_FD, low_ND = weight_FD.detach().bfloat16().requires_grad_(), x_ND.bfloat16()
    seconds(x_ND, weight_FD)
    seconds(low_ND, low_FD)  # the first of each kind prepares its kernel
    ratios: list[float] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(ratios) < 3:
        ratios.append(seconds(x_ND, weight_FD) / seconds(low_ND, low_FD))
    return statistics.median(ratios)


def seconds(x_ND: Tensor, weight_FD: Tensor) -> float:
    """The time of a product and of its weight's gradient."""
    begun = time.perf_counter()
    with torch.enable_grad():
        y_NF = F.linear(x_ND, weight_FD)
    torch.autograd.grad(y_NF, weight_FD, y_NF.detach())
    return time.perf_counter() - begun


def processor_name() -> str:
    """The model of the processor as the system names it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write_whole(file: Path, text: str) -> None:
    """Write a file at once, so that no other process reads half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f"{file.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(file)
