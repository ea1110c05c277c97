"""The contents of a checkpoint besides weights: values and tensors, the random generators, a digest of the data."""

from __future__ import annotations

import hashlib
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plm_core.data.batch import Batch

State = dict[str, Any]
"""Tensors, numbers, strings, lists and dicts of them: what ``torch.load(weights_only=True)`` reads."""


def save_state(state: State, path: Path) -> None:
    """Write plain values and tensors to a file."""
    with path.open("wb") as file:  # through Python, so that a full disk is reported as what it is
        torch.save(state, file)


def load_state(path: Path) -> State:
    """Read a file of :func:`save_state`; nothing in it is executed.

    Raises:
        ValueError: the file holds something other than plain values and tensors.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} was not loaded: it holds more than plain values and tensors, which could execute code. It was not "
            "written by this library, or was changed since"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} was not written by this library: expected a dict, found {type(state).__name__}")
    return state


def batch_digest(batch: Batch) -> str:
    """A SHA-256 of a batch's names and values, by which a resumed run recognises its data."""
    digest = hashlib.sha256()
    for name in sorted(batch):
        value = batch[name].detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {value.dtype} {tuple(batch[name].shape)}".encode())
        digest.update(value.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def random_state() -> State:
    """The state of every random generator, as values that ``weights_only`` loading accepts."""
    version, internal, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: State) -> None:
    """Put back what :func:`random_state` returned.

    Raises:
        ValueError: a state that no generator can have.
    """
    try:
        version, internal, gauss = state["python"]
        random.setstate((version, tuple(internal), gauss))
        name, keys, position, has_gauss, cached = state["numpy"]
        if keys.shape != (624,) or not 0 <= position <= 624 or has_gauss not in (0, 1):
            raise ValueError("not a state of MT19937")  # numpy would read beyond the end of the keys
        np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, float(cached)))
        torch.set_rng_state(state["torch"])
        if state["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda"])
    except (AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"the stored state of the random generators is damaged: {error}") from error
