"""Where and how a computation runs: device, precision, seeds and the size preset.

A notebook calls :func:`setup` once. The returned :class:`Runtime` holds the properties of the machine that chapters
need, so that no chapter reads ``torch.cuda`` or an environment variable itself.
"""

from __future__ import annotations

import os
import platform
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

MAX_THREADS = max(256, os.cpu_count() or 1)
"""The largest number of threads that is accepted; more is taken for a typing error."""

PRESETS = ("laptop", "gpu")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")

Preset = Literal["laptop", "gpu"]
Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Runtime:
    """The choices under which a chapter or a run executes.

    Attributes:
        device: the torch device that holds models and batches.
        precision: the arithmetic of the forward pass, already resolved (never ``"auto"``).
        preset: ``"laptop"`` (two CPU cores, a chapter within 120 s) or ``"gpu"`` (one T4-class card or better).
        seed: the seed given to every random generator.
    """

    device: torch.device
    precision: Precision
    preset: Preset
    seed: int

    def choose(self, *, laptop: T, gpu: T) -> T:
        """Return the value that belongs to the preset."""
        return laptop if self.preset == "laptop" else gpu

    def describe(self) -> str:
        """One line of text: device, precision, preset and seed."""
        return f"{device_name(self.device)}, {self.precision}, preset {self.preset}, seed {self.seed}"


def setup(*, seed: int = 0, preset: str | None = None, precision: str = "auto", device: str | None = None) -> Runtime:
    """Choose device, precision and preset, and seed every random generator.

    Args:
        seed: a non-negative integer.
        preset: ``"laptop"`` or ``"gpu"``. Default: the environment variable ``PLM_PRESET``; without it ``"gpu"``
            where CUDA is present and ``"laptop"`` elsewhere.
        precision: ``"fp32"``, ``"bf16"``, ``"fp16"`` or ``"auto"`` (see :func:`resolve_precision`).
        device: a torch device name. Default: the environment variable ``PLM_DEVICE``, then ``"cuda"`` where present,
            else ``"cpu"``.

    Raises:
        ValueError: an unknown preset, precision or device, or a device that this machine does not have.
    """
    chosen_device = resolve_device(device)
    chosen_preset = resolve_preset(preset, chosen_device)
    seed_everything(seed)
    return Runtime(chosen_device, resolve_precision(precision, chosen_device), chosen_preset, seed)


def resolve_device(name: str | None = None) -> torch.device:
    """Turn a device name into a device that this machine really has; ``None`` means the best one here."""
    import torch

    name = name or os.environ.get("PLM_DEVICE")
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"unknown device {name!r}: use 'cpu', 'cuda' or 'cuda:N'") from error
    if device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index):
        raise ValueError(f"device {name!r} is not supported: use 'cpu', 'cuda' or 'cuda:N'")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"device {name!r} is not available: torch finds no CUDA GPU here; use 'cpu'")
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise ValueError(f"device {name!r} is not available: this machine has {torch.cuda.device_count()} GPU(s)")
    return device


def resolve_preset(name: str | None, device: torch.device) -> Preset:
    """Return the preset to use; ``None`` reads ``PLM_PRESET`` and falls back on what the device suggests."""
    name = name or os.environ.get("PLM_PRESET") or ("gpu" if device.type == "cuda" else "laptop")
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}: use one of {', '.join(PRESETS)} (argument or PLM_PRESET)")
    return name  # type: ignore[return-value]


def resolve_precision(name: str, device: torch.device) -> Precision:
    """Resolve ``"auto"``: bf16 where the GPU computes in it (Ampere and later), fp16 on older GPUs, fp32 on CPU.

    fp32 on every CPU, so that a notebook prints the same everywhere. For a run ``"auto"`` also measures the processor:
    :func:`plm_core.training.arithmetic.choose_arithmetic`.

    ``torch.cuda.is_bf16_supported()`` is true on a T4 as well, by emulation; the compute capability decides here.
    """
    import torch

    if name not in PRECISIONS:
        raise ValueError(f"unknown precision {name!r}: use one of {', '.join(PRECISIONS)}")
    if name != "auto":
        return name  # type: ignore[return-value]
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators (all devices)."""
    import numpy
    import torch

    if seed < 0:
        raise ValueError(f"the seed must not be negative, got {seed}")
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def check_threads(threads: int | None) -> int | None:
    """Return a number of threads if it is allowed; None stands for the default and is returned as it is.

    Raises:
        ValueError: fewer than one, or more than :data:`MAX_THREADS`.
    """
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise ValueError(f"the number of threads must lie between 1 and {MAX_THREADS}, got {threads}")
    return threads


def device_name(device: torch.device) -> str:
    """The name of the hardware behind a device, for stamps, logs and tables."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


PEAK_FLOPS: dict[str, dict[Precision, float]] = {
    "T4": {"fp32": 8.1e12, "fp16": 65e12},
    "V100": {"fp32": 15.7e12, "fp16": 125e12},
    "A10": {"fp32": 31.2e12, "bf16": 125e12, "fp16": 125e12},
    "A100": {"fp32": 19.5e12, "bf16": 312e12, "fp16": 312e12},
    "L4": {"fp32": 30.3e12, "bf16": 121e12, "fp16": 121e12},
    "L40S": {"fp32": 91.6e12, "bf16": 362e12, "fp16": 362e12},
    "RTX 3090": {"fp32": 35.6e12, "bf16": 71e12, "fp16": 71e12},
    "RTX 4090": {"fp32": 82.6e12, "bf16": 165.2e12, "fp16": 165.2e12},
    "H100 PCIe": {"fp32": 51e12, "bf16": 756e12, "fp16": 756e12},
    "H100": {"fp32": 67e12, "bf16": 989e12, "fp16": 989e12},
    "H200": {"fp32": 67e12, "bf16": 989e12, "fp16": 989e12},
}

OTHER_PRODUCTS = {"Ti", "D", "Laptop", "NVL", "MIG"}
"""Words that make a name of the table that of another product, or of a part of one."""


def peak_flops(device: torch.device, precision: Precision) -> float | None:
    """The highest rate of a device, in floating-point operations a second; None where it is not known.

    Dense products, accumulated in fp32, without sparsity and without TF32: as NVIDIA's data sheets and architecture
    white papers give them, for the SXM variant where there are several.
    """
    if device.type != "cuda":
        return None
    words = device_name(device).replace("-", " ").split()
    known = [name for name in PEAK_FLOPS if set(name.split()) <= set(words) and OTHER_PRODUCTS.isdisjoint(words)]
    return PEAK_FLOPS[max(known, key=len)].get(precision) if known else None


def peak_memory_mib(device: torch.device | None = None) -> float:
    """Peak memory in MiB since the process started: of the GPU for a CUDA device, else of the process."""
    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    import psutil

    info = psutil.Process().memory_info()
    peak = getattr(info, "peak_wset", None)  # Windows
    if peak is None:
        import resource
        import sys

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return peak / 2**20
