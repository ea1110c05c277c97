"""The machine that runs the book: its cores, the presets, and the environment of the processes that compute."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from book.tool.chapters import BookError


def check_preset(preset: str | None) -> None:
    """Refuse a preset that does not exist."""
    from plm_core.runtime import PRESETS

    if preset is not None and preset not in PRESETS:
        raise BookError(f"unknown preset {preset!r}: use one of {', '.join(PRESETS)}")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def kernel_environment(root: Path, *, threads: int, preset: str | None = None) -> dict[str, str]:
    """The environment of a chapter's kernel: this repository's library, a share of the cores, no progress bars."""
    env = dict(os.environ)
    env |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    env |= {"PYTHONHASHSEED": "0", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}
    env["IPYTHONDIR"] = str(root / "_build" / "ipython")  # nobody's own settings
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), env.get("PYTHONPATH")]))
    if preset:
        env["PLM_PRESET"] = preset
    return env


@contextmanager
def in_kernel_environment(root: Path, *, threads: int) -> Iterator[None]:
    """Let kernels that this process starts use this repository's library and the kernel of this environment."""
    before = dict(os.environ)
    os.environ.update(kernel_environment(root, threads=threads) | {"JUPYTER_PREFER_ENV_PATH": "1"})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
