"""A plugin for nbval: run the cells of a notebook as a notebook does, with history.

nbval runs them without, and then IPython does not know the source of the running cell, so that the semicolon of
``plt.plot(x);`` no longer hides the value of the line: every such cell would differ from its stored output. The history
is kept in memory, and nobody's own IPython settings are read.

Use: ``pytest -p tests.nbval_history --nbval ...``
"""

import os
import tempfile
from pathlib import Path

import pytest
from nbval.kernel import RunningKernel

import book  # noqa: F401 - before anything imports nbformat: see there


def _execute_cell_input(self: RunningKernel, cell_input: str, allow_stdin: bool | None = None) -> str:
    return self.kc.execute(cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)


def pytest_configure(config: pytest.Config) -> None:
    """Change nbval, and give the kernels settings of their own."""
    RunningKernel.execute_cell_input = _execute_cell_input
    folder = tempfile.TemporaryDirectory(prefix="ipython-")
    config.add_cleanup(folder.cleanup)
    profile = Path(folder.name) / "profile_default"
    profile.mkdir()
    (profile / "ipython_kernel_config.py").write_text('get_config().HistoryManager.hist_file = ":memory:"\n')
    os.environ["IPYTHONDIR"] = folder.name
