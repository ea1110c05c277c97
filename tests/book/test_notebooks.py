"""Notebooks are run again and compared: what legitimately varies passes, what does not fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import nbformat

CELLS = {
    "prints the share of the cores": ("print('CPU, 4 threads')", "CPU, 2 threads\n"),
    "prints an address": ("object()", None),
    "prints another number": ("print(2 * 21)", "41\n"),
    "prints what varies": ("import time\nprint(time.time())", "0\n"),
}


def test_nbval_bites_where_it_should_and_only_there(tiny, root) -> None:
    path = tiny.path("chapters/01_lines.ipynb")
    notebook = nbformat.read(path, as_version=4)
    for what, (source, stored) in CELLS.items():
        cell = nbformat.v4.new_code_cell(source, execution_count=9)
        if stored is None:
            data = {"text/plain": "<object at 0x7f0000000000>"}
            cell.outputs = [nbformat.v4.new_output("execute_result", data, execution_count=9)]
        else:
            cell.outputs = [nbformat.v4.new_output("stream", text=stored)]
        cell.metadata["tags"] = ["nbval-ignore-output"] if "varies" in what else []
        notebook.cells.append(cell)
    nbformat.write(notebook, path)

    recipe = (root / "Makefile").read_text(encoding="utf-8").partition("\nnotebooks:")[2].partition("\n\n")[0]
    options = re.search(r"-m pytest(.*)chapters/\*\.ipynb", recipe.replace("\\\n", " "))
    assert options
    arguments = options.group(1).replace("$(JOBS)", "2").split()
    arguments += ["-p", "no:cacheprovider", "--color=no", f"--rootdir={tiny.root}"]
    notebooks = [path, tiny.path("chapters/02_settings.ipynb")]
    environment = os.environ | {"PYTHONPATH": str(tiny.root)}
    command = [sys.executable, "-m", "pytest", *arguments, *notebooks]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    failed = re.findall(r"^FAILED .*?(\d\d_\w+)\.ipynb::Cell (\d+)", done.stdout, re.MULTILINE)
    assert failed == [("01_lines", "6")], done.stdout + done.stderr
    assert re.search(r"1 failed, 9 passed", done.stdout), done.stdout
