"""The command line: ``plm COMMAND``.

A command is a function in this module under ``@app.command``; its arguments and docstring become options and help.
It imports what it needs when it runs, so that ``plm --help`` stays quick. A mistake of the user is a ``ValueError`` or
an ``OSError`` (a missing file, a full disk): one message on stderr, exit code 2; ``PLM_DEBUG=1`` shows the traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tyro.conf import Positional
from tyro.extras import SubcommandApp

from plm_core.commands import compression, data, runs

app = SubcommandApp()
app.command(data.app, name="data", help="List and fetch corpora, and turn text into tokens.")
app.command(runs.train)
app.command(runs.evaluate)
app.command(runs.generate)
app.command(name="fill-mask")(runs.fill_mask)
app.command(compression.compress)
app.command(compression.export)
app.command(compression.benchmark)


@app.command
def info(
    config: Positional[Path | None] = None,
    overrides: Positional[tuple[str, ...]] = (),
    /,
    preset: str | None = None,
    precision: str = "auto",
    device: str | None = None,
) -> None:
    """Show versions, device, precision and preset: what a run started here would use; and the memory of a given run.

    Args:
        config: a YAML file of `plm train`, whose memory is predicted.
        overrides: values to replace, as key=value: batch_size=16 train.activation_checkpointing=true.
        preset: laptop or gpu; by default what PLM_PRESET or the device suggests.
        precision: fp32, bf16, fp16 or auto.
        device: cpu, cuda or cuda:N; by default PLM_DEVICE, then CUDA where present.
    """
    import platform
    from importlib.metadata import version

    from plm_core import __version__
    from plm_core.runtime import device_name, setup

    run = None
    if config is not None:
        from plm_core.runs.config import read_run_config
        from plm_core.runs.memory import memory_line

        run = read_run_config(config, overrides)
        precision = run.precision if precision == "auto" else precision
    runtime = setup(preset=preset, precision=precision, device=device)
    rows = {
        "plm-core": __version__,
        "Python": platform.python_version(),
        "torch": version("torch"),
        "numpy": version("numpy"),
        "device": f"{runtime.device} ({device_name(runtime.device)})",
        "precision": runtime.precision,
        "preset": runtime.preset,
    }
    if run is not None:
        rows["memory"] = memory_line(run, runtime)
    for name, value in rows.items():
        print(f"{name:<10} {value}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for a mistake of the user, 130 for Ctrl-C, 143 for SIGTERM.

    Args:
        arguments: what follows ``plm`` on the command line; by default what this process was started with.
    """
    try:
        app.cli(prog="plm", args=arguments, description="Pretrained language models, built and understood.")
        sys.stdout.flush()
    except KeyboardInterrupt as error:
        print("plm: interrupted", file=sys.stderr)
        return 128 + getattr(error, "number", signal.SIGINT)  # a run that was ended by SIGTERM carries that
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        if os.environ.get("PLM_DEBUG"):
            raise
        print(f"plm: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
