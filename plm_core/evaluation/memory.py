"""The memory that a model needs for inference, measured in a process of its own, with any engine.

The measure is resident memory: the peak while the process loads the model and runs one batch, less what it held before,
with its libraries loaded. It includes weights, hidden states and the engine's own buffers, but neither the interpreter
nor torch. Repeated measurements differ by about a MiB.
"""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from plm_core.runtime import peak_memory_mib

ENGINES = ("onnxruntime",)
"""Libraries that the fresh process loads before the measurement, if this process has loaded them."""
STATUS = Path("/proc/self/status")


def peak_memory(model: nn.Module, inputs: Mapping[str, Tensor], *, threads: int | None = None) -> int:
    """Bytes that a fresh process needs to hold a model and to run one batch.

    Args:
        model: a module whose class can be imported, on the CPU; it is sent to the process.
        inputs: keyword arguments of its forward pass.
        threads: torch's number of threads; this process's by default.

    Raises:
        ValueError: the model cannot be sent, or fails on the batch.
    """
    threads = threads or torch.get_num_threads()
    engines = [name for name in ENGINES if name in sys.modules]
    with tempfile.TemporaryDirectory() as folder:
        task = Path(folder) / "task.pt"
        try:
            torch.save((model, dict(inputs)), task)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(f"a {type(model).__name__} cannot be sent to another process: {error}") from error
        command = [sys.executable, "-m", "plm_core.evaluation.memory", str(task), str(threads), *engines]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines() or ["it was killed"]
        raise ValueError(f"the memory of a {type(model).__name__} could not be measured: {reason[-1]}")
    return int(done.stdout.split()[-1])


def answer_once(task: str, threads: str, *engines: str) -> int:
    """Load the model and run it, in the fresh process of :func:`peak_memory`; return the bytes that this took."""
    torch.set_num_threads(int(threads))
    for name in engines:
        importlib.import_module(name)
    torch.ones(64, 64) @ torch.ones(64, 64)  # loads the kernels
    before = psutil.Process().memory_info().rss
    model, inputs = torch.load(task, weights_only=False)  # written by the parent process just now
    with torch.no_grad():
        model.eval()(**inputs)
    return max(0, highest_resident() - before)


def highest_resident() -> int:
    """The peak of this process's resident memory, in bytes.

    On Linux this is the kernel's own counter, because the value of ``getrusage`` starts, after an ``exec``, with the
    size of the process that started this one.
    """
    if STATUS.is_file():
        fields: dict[str, Any] = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
        if "VmHWM" in fields:
            return int(fields["VmHWM"].split()[0]) * 1024
    return int(peak_memory_mib() * 2**20)


if __name__ == "__main__":
    print(answer_once(*sys.argv[1:]))
