"""Open chapters as Colab does, as far as that can be shown without Colab.

A fresh virtual environment holds torch, numpy, matplotlib and ipykernel, and nothing of this repository. The notebook
is alone in an empty folder. Its set-up cell installs ``plm_core`` from a clone of the repository's last commit, must
leave torch and numpy as they are, and every cell must run.

Usage: ``python tests/colab/run.py [CHAPTER...]`` (all chapters without names).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from ipykernel.kernelspec import RESOURCES
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from tqdm import tqdm
from traitlets import default

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from book.tool.chapters import BookError, Chapter, find_chapters, setup_cell  # noqa: E402

THERE_ALREADY = ("torch", "numpy", "matplotlib", "ipykernel")
"""What Colab has, as far as a chapter's set-up cell may count on it."""


def pins() -> list[str]:
    """The pins of :data:`THERE_ALREADY`."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for name in THERE_ALREADY for line in lines if line.startswith(f"{name}==")]


def make_environment(folder: Path) -> Path:
    """Make a virtual environment like Colab's and return its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    # Colab's pip is at least this new. torch comes first and alone, so that pip takes the wheel that is at hand.
    for wanted in ("pip>=24.1", *pins()):
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wanted]
        subprocess.run(command, check=True)
    return python


def installed(python: Path) -> dict[str, str]:
    """Every package of an environment with its version."""
    command = [python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {each["name"].lower(): each["version"] for each in listed}


def kernel_manager(python: Path) -> type[AsyncKernelManager]:
    """A kernel manager whose kernels run in another environment."""

    class Specs(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=argv, language="python", display_name="Colab", resource_dir=RESOURCES)

    class Manager(AsyncKernelManager):
        @default("kernel_spec_manager")
        def _specs(self) -> KernelSpecManager:
            return Specs(parent=self)

    return Manager


def open_alone(chapter: Chapter, python: Path, clone: Path, folder: Path) -> None:
    """Run a chapter's notebook from an empty folder.

    Raises:
        BookError: it has no set-up cell, or a cell failed.
    """
    folder.mkdir()
    shutil.copy(chapter.notebook, folder)
    notebook = nbformat.read(folder / chapter.notebook.name, as_version=4)
    if setup_cell(notebook) is None:
        raise BookError(f"{chapter.name} has no cell with the tag `setup`")
    code = sum(cell.cell_type == "code" for cell in notebook.cells)
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    env |= {"PLM_SOURCE": f"git+file://{clone}", "TQDM_DISABLE": "1"}
    with tqdm(total=code, desc=chapter.name, unit="cell", disable=None) as bar:
        client = NotebookClient(
            notebook,
            kernel_manager_class=kernel_manager(python),
            timeout=3600,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": str(folder)}},
            on_cell_executed=lambda **_: bar.update(),
        )
        try:
            client.execute(env=env)
        except CellExecutionError as error:
            printed = [output.text for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output]
            said = re.sub(r"\x1b\[[0-9;]*m", "", "".join(printed[-1:]) + str(error)).strip().splitlines()
            raise BookError(f"{chapter.name}: a cell failed\n" + "\n".join(said[-25:])) from None


def main() -> int:
    """Run the proof and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="CHAPTER")
    try:
        chapters = find_chapters(ROOT, parser.parse_args().names)
        with tempfile.TemporaryDirectory(prefix="colab-") as temporary:
            folder = Path(temporary)
            clone = folder / "clone"
            subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, clone], check=True)
            start = time.perf_counter()
            python = make_environment(folder / "environment")
            before = installed(python)
            assert "plm-core" not in before
            print(f"fresh environment with {', '.join(pins())}: {time.perf_counter() - start:.0f} s", flush=True)
            for chapter in chapters:
                start = time.perf_counter()
                uninstall = [python, "-m", "pip", "uninstall", "--quiet", "--yes", "plm-core"]
                subprocess.run(uninstall, check=True, stderr=subprocess.DEVNULL)
                open_alone(chapter, python, clone, folder / chapter.name)
                after = installed(python)
                changed = {name: (old, after.get(name)) for name, old in before.items() if after.get(name) != old}
                if "plm-core" not in after:
                    raise BookError(f"{chapter.name}: the set-up cell did not install plm-core")
                if changed:
                    raise BookError(f"{chapter.name}: the set-up cell changed what was there: {changed}")
                print(f"{chapter.name}: every cell ran, {time.perf_counter() - start:.0f} s", flush=True)
            added = sorted(set(after) - set(before))
            print(f"{len(chapters)} passed; torch {after['torch']} and numpy {after['numpy']} are as they were.")
            print(f"Installed besides: {', '.join(added)}")
    except BookError as error:
        print(f"colab: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"colab: {' '.join(map(str, error.cmd))} failed with code {error.returncode}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
