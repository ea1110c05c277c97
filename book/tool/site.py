"""The site: built by Jupyter Book from the executed notebooks, whole or not at all.

Every build starts from nothing, because Sphinx reports the faults of a page only when it reads that page: a second,
incremental build would pass over what the first one found. When no input changed, nothing is built.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from book.tool.chapters import BookError
from book.tool.toc import numbered_toc, toc_problems

INPUTS = (
    "_config.yml",
    "constraints.txt",
    "book/*.md",
    "book/*.py",
    "book/tool/*.py",
    "book/*.yml",
    "book/*.bib",
    "book/api/*.md",
    "book/_static/**/*",
    "chapters/*.ipynb",
    "chapters/exercises/**/*.ipynb",
    "chapters/experiments/results/*.json",
    "chapters/*.py",
    "chapters/checks/**/*.py",
    "plm_core/**/*.py",
)
"""What the pages are made from, as patterns in the repository."""


def build_site(root: Path, *, force: bool = False) -> Path:
    """Build the site into ``_build/html``, unless it is there and nothing that it is made from changed.

    Args:
        root: the repository.
        force: build in any case.

    Returns:
        The folder of the site; its ``index.html`` is the front page.

    Raises:
        BookError: table of contents and chapters disagree, or Sphinx warned of anything. The old site is left alone.
    """
    site, mark = root / "_build/html", root / "_build/site.sha256"
    now = inputs_hash(root)
    if not force and (site / "index.html").is_file() and mark.is_file() and mark.read_text() == now:
        print(f"site: up to date ({site / 'index.html'})")
        return site
    if problems := toc_problems(root):
        raise BookError("the site's pages do not fit together:\n  " + "\n  ".join(problems))
    work = root / "_build/next"
    shutil.rmtree(work, ignore_errors=True)
    print("site: building ...", flush=True)
    try:
        run_sphinx(root, work)
        mark.unlink(missing_ok=True)
        shutil.rmtree(site, ignore_errors=True)
        (work / "_build/html").rename(site)
        mark.write_text(now)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"site: {len(list(site.rglob('*.html')))} pages, open {site / 'index.html'}")
    return site


def inputs_hash(root: Path) -> str:
    """SHA-256 of names and contents of all that the site is made from."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in INPUTS for path in root.glob(pattern) if path.is_file()}):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def run_sphinx(root: Path, output: Path) -> None:
    """Run Jupyter Book, every warning an error; all of them are collected before it gives up.

    Raises:
        BookError: it did not succeed; the message holds what it said, and nothing else.
    """
    output.mkdir(parents=True, exist_ok=True)
    (output / "_toc.yml").write_text(numbered_toc(root), encoding="utf-8")
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(root)]
    command += ["--path-output", str(output), "--toc", str(output / "_toc.yml")]
    command += ["--warningiserror", "--nitpick", "--keep-going", "-q"]
    environment = {**os.environ, "PYTHONPATH": str(root), "NO_COLOR": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr).replace(f"{root}{os.sep}", "")
    faults = [line for line in said.splitlines() if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]
    raise BookError("the site was not built; Sphinx says:\n  " + "\n  ".join(faults or said.splitlines()[-15:]))
