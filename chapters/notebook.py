"""What a chapter needs besides the models: glued numbers, the source that really runs, and one figure style."""

from __future__ import annotations

import importlib
import inspect
import json
import textwrap
from importlib import resources
from types import ModuleType
from typing import Any

GLUE_PREFIX = "application/papermill.record/"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Okabe and Ito's colour-blind-safe colours, in the order in which the figure style uses them."""


def glue(name: str, value: object, form: str = "") -> None:
    """Store a measured value under a name, so that the prose can show it by ``{glue:text}`name```.

    The output is the one that MyST-NB reads; MyST-NB itself is not needed (Colab has none).

    Args:
        name: a name unique in the notebook.
        value: the value to show.
        form: a format specification for it, for example ``".2f"`` or ``",.0f"``; empty leaves ``str(value)``.
    """
    from IPython.display import display

    text = format(value, form)
    display(
        {GLUE_PREFIX + "text/plain": repr(text)},
        metadata={"scrapbook": {"name": name, "mime_prefix": GLUE_PREFIX}},
        raw=True,
    )


def show_source(*things: Any) -> None:
    """Show the source code of functions, classes or methods as it stands in the library, highlighted."""
    from IPython.display import Code, display

    for thing in things:
        lines, start = inspect.getsourcelines(thing)
        module = inspect.getmodule(thing)
        where = f"# {module.__name__ if module else '?'}, line {start}\n"
        display(Code(where + textwrap.dedent("".join(lines)), language="python"))


def use_figure_style() -> None:
    """Give matplotlib the book's figure style: sizes, fonts and a colour-blind-safe palette."""
    import matplotlib.pyplot as plt

    style = resources.files("plm_core") / "figures.mplstyle"
    with resources.as_file(style) as path:
        plt.style.use(path)


def load_experiment(name: str) -> ModuleType:
    """Import the script of a chapter's experiment, for example ``"05_attention"``, to replay one of its runs.

    Raises:
        FileNotFoundError: there is no experiment of that name.
    """
    try:
        return importlib.import_module(f"plm_chapters.experiments.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"plm_chapters.experiments.{name}":
            raise
        raise FileNotFoundError(f"no experiment {name!r}: its script would be chapters/experiments/{name}.py") from None


def load_results(name: str, preset: str = "laptop") -> dict[str, Any]:
    """Load the stored results of an experiment; they are installed with the package.

    Args:
        name: the experiment's name, for example ``"05_attention"``.
        preset: ``"laptop"`` or ``"gpu"``. Where only the laptop's results are stored, those are returned;
            the entry ``"preset"`` of the result says which it is.

    Raises:
        FileNotFoundError: no result of that name is stored.
    """
    folder = resources.files("plm_chapters.experiments") / "results"
    for wanted in (preset, "laptop"):
        path = folder / f"{name}.{wanted}.json"
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
    raise FileNotFoundError(
        f"no stored results for experiment {name!r}: run `python -m book experiment {name.split('_')[0]}` "
        f"in a clone of the repository"
    )
