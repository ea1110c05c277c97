"""Python programs in processes of their own, without the seconds that it takes to import torch.

The processes are forked from a server, one for each worker of the tests, that has imported what is heavy. They are
fresh otherwise: with an environment, a folder, streams and signal handlers of their own.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

PRELOADED = [
    *("book.tool.notebooks", "book.tool.experiment"),
    *("plm_core.training.trainer", "plm_core.models.bert", "plm_core.runs.pretrain", "plm_core.cli"),
    *("torch._dynamo", "torch.distributed.fsdp", "torch.distributed.tensor", "torch.distributed.checkpoint"),
    *("torch.distributed.run", "matplotlib.pyplot", "benchmarks.training", "benchmarks.generate"),
    *("transformers.trainer", "transformers.models.bert.modeling_bert", "transformers.models.gpt2.modeling_gpt2"),
]
"""Imported once, before the first process is forked; most of a short run would be spent on it."""
OURS = ("plm_core", "plm_chapters", "book", "benchmarks", "tests")


def server() -> ForkServerContext:
    """The context of multiprocessing whose processes come from this worker's server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)  # without effect once the server runs
    return context


class Program:
    """A program that runs: its process, and the ends of its streams from which one reads."""

    def __init__(self, process: BaseProcess, stdout: TextIOWrapper, stderr: TextIOWrapper) -> None:
        self.process, self.stdout, self.stderr = process, stdout, stderr

    def send_signal(self, number: int) -> None:
        """Send the process a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def finish(self) -> subprocess.CompletedProcess[str]:
        """Read what is left of both streams, wait for the end, and return them with the exit code."""
        rest: list[str] = []
        reader = threading.Thread(target=lambda: rest.append(self.stderr.read()))
        reader.start()
        out = self.stdout.read()
        reader.join()
        self.process.join()
        self.stdout.close()
        self.stderr.close()
        assert self.process.exitcode is not None
        return subprocess.CompletedProcess((), self.process.exitcode, out, rest[0])


def start(
    *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, own_library: bool = False
) -> Program:
    """Start ``python ARGUMENTS``, where the first argument is ``-m``, ``-c`` or the path of a script.

    Args:
        arguments: those of the interpreter.
        cwd: the folder to start in; that of this process by default.
        env: the whole environment; that of this process by default.
        own_library: import our own packages anew, from ``cwd``, in place of what the server has imported.
    """
    context = server()
    ends = [context.Pipe(duplex=False) for _ in range(2)]
    given = ([str(argument) for argument in arguments], str(cwd or Path.cwd()), dict(env or os.environ), own_library)
    process = context.Process(target=_body, args=(*given, *(sending for _, sending in ends)))
    process.start()
    streams = []
    for receiving, sending in ends:
        sending.close()
        streams.append(open(os.dup(receiving.fileno()), encoding="utf-8"))  # noqa: SIM115 - Program closes it
        receiving.close()
    return Program(process, *streams)


def run(
    *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, own_library: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run ``python ARGUMENTS`` to its end, as :func:`start` does; its exit code and what it wrote."""
    return start(*arguments, cwd=cwd, env=env, own_library=own_library).finish()


def instead_of_subprocess(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, **options: object
) -> subprocess.CompletedProcess[str]:
    """What takes the place of ``subprocess.run`` where the library starts a Python program and reads what it writes."""
    interpreter, *arguments = command
    assert interpreter == sys.executable
    assert options == {"capture_output": True, "text": True, "check": False}
    return run(*arguments, cwd=cwd, env=env)


def _body(
    arguments: Sequence[str], cwd: str, env: dict[str, str], own_library: bool, out: Connection, err: Connection
) -> None:
    """The program's whole life."""
    for number, end in ((1, out), (2, err)):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - flushed when the process ends
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    if own_library:
        for name in [name for name in sys.modules if name.partition(".")[0] in OURS and name != __name__]:
            del sys.modules[name]
    kind, *rest = arguments
    if kind.endswith(".py"):
        sys.path.insert(0, str(Path(kind).parent))
        sys.argv = [kind, *rest]
        runpy.run_path(kind, run_name="__main__")
        return
    sys.path.insert(0, cwd)
    sys.argv = [kind, *rest[1:]]
    if kind == "-m":
        sys.modules.pop(rest[0], None)  # it may be among the preloaded ones, and runs anew
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
