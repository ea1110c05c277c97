"""Device, precision and preset resolve as documented, and seeds reach every generator."""

import random

import numpy as np
import pytest
import torch

from plm_core.runtime import (
    Runtime,
    peak_memory_mib,
    resolve_device,
    resolve_precision,
    resolve_preset,
    seed_everything,
    setup,
)

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    monkeypatch.delenv("PLM_PRESET", raising=False)
    monkeypatch.delenv("PLM_DEVICE", raising=False)


def test_setup_on_cpu_is_laptop_fp32():
    runtime = setup(seed=3, device="cpu")
    assert (runtime.device, runtime.precision, runtime.preset, runtime.seed) == (CPU, "fp32", "laptop", 3)
    assert "preset laptop" in runtime.describe()


def test_choose_follows_preset():
    assert Runtime(CPU, "fp32", "laptop", 0).choose(laptop=1, gpu=2) == 1
    assert Runtime(CPU, "fp32", "gpu", 0).choose(laptop=1, gpu=2) == 2


def test_preset_from_environment(monkeypatch):
    monkeypatch.setenv("PLM_PRESET", "gpu")
    assert resolve_preset(None, CPU) == "gpu"
    assert resolve_preset("laptop", CPU) == "laptop", "an argument wins over the environment"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: setup(preset="desktop"), "unknown preset 'desktop': use one of laptop, gpu"),
        (lambda: setup(precision="fp8", device="cpu"), "unknown precision 'fp8'"),
        (lambda: resolve_device("tpu9000"), "unknown device 'tpu9000'"),
        (lambda: seed_everything(-1), "must not be negative"),
    ],
)
def test_user_errors_name_the_way_out(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_unknown_preset_from_environment_is_named(monkeypatch):
    monkeypatch.setenv("PLM_PRESET", "huge")
    with pytest.raises(ValueError, match="PLM_PRESET"):
        setup(device="cpu")


def test_missing_gpu_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torch finds no CUDA GPU"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="has 1 GPU"):
        resolve_device("cuda:7")


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 0), "fp16"), ((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")]
)
def test_auto_precision_by_compute_capability(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_precision("auto", torch.device("cuda")) == expected


def test_seed_reaches_every_generator():
    def draw():
        return random.random(), float(np.random.random()), torch.rand(2).tolist()

    seed_everything(5)
    first = draw()
    seed_everything(5)
    assert draw() == first
    seed_everything(6)
    assert draw() != first


def test_peak_memory_counts_this_process():
    before = peak_memory_mib()
    block = torch.ones(64 * 2**20 // 4)  # 64 MiB
    assert peak_memory_mib() >= max(before, 64)
    assert peak_memory_mib() >= before
    del block
