"""``python -m benchmarks COMMAND``: each command measures one thing and stores its result; ``report`` tells them."""

from __future__ import annotations

import sys

from tyro.extras import SubcommandApp

from benchmarks.causal import causal
from benchmarks.data import data
from benchmarks.generate import generate
from benchmarks.gpu import gpu
from benchmarks.int8 import int8
from benchmarks.memory import memory
from benchmarks.pretrain import pretrain
from benchmarks.report import report

app = SubcommandApp()
for command in (pretrain, causal, generate, data, memory, int8, gpu, report):
    app.command(command)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0, or 2 for a mistake of the user."""
    try:
        app.cli(prog="python -m benchmarks", args=arguments)
    except (ValueError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
