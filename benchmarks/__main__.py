"""``python -m benchmarks COMMAND``."""

from __future__ import annotations

import sys

from tyro.extras import SubcommandApp

from benchmarks.causal import causal
from benchmarks.pretrain import pretrain

app = SubcommandApp()
app.command(pretrain)
app.command(causal)

if __name__ == "__main__":
    try:
        app.cli(prog="python -m benchmarks")
    except (ValueError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        sys.exit(2)
