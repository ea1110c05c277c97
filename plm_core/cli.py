"""The command line: ``plm COMMAND``.

A command is a function under ``@app.command``; its arguments and docstring become options and help. It imports what it
needs when it runs, so that ``plm --help`` stays fast.

A mistake of the user is a ``ValueError`` or an ``OSError`` (a missing file, a full disk), and so is a computation that
does not fit into memory: one message on stderr, exit code 2; ``PLM_DEBUG=1`` shows the traceback. Every other error is
a defect of this program and keeps its traceback: errors of other libraries are translated where their input enters.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tyro.conf import Positional

from plm_core.commands import compression, data, fine_tuning, interchange, runs, translation
from plm_core.commands.app import App

LONGEST_MESSAGE = 1200
"""Characters of a message; the middle of a longer one, which quotes a long input, is left out."""

SECONDS_BETWEEN_BARS = 10
"""How often a progress bar is drawn at most where standard error is a file or a pipe."""

app = App()
app.command(data.app, name="data", help="List and fetch corpora, and turn text into tokens.")
app.command(runs.train)
app.command(name="fine-tune")(fine_tuning.fine_tune)
app.command(fine_tuning.predict)
app.command(runs.evaluate)
app.command(runs.generate)
app.command(translation.translate)
app.command(name="fill-mask")(runs.fill_mask)
app.command(compression.compress)
app.command(compression.export)
app.command(name="import")(interchange.import_model)
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
    from plm_core.runtime import device_name, resolve_device, setup
    from plm_core.training.arithmetic import choose_arithmetic

    run, width = None, 256
    if config is not None:
        from plm_core.runs.config import read_run_config
        from plm_core.runs.memory import memory_line

        run = read_run_config(config, overrides)
        precision = run.precision if precision == "auto" else precision
        width = run.model_config(vocab_size=2).hidden_size
    arithmetic = choose_arithmetic(precision, resolve_device(device), width=width)
    runtime = setup(preset=preset, precision=arithmetic.precision, device=device)
    rows = {
        "plm-core": __version__,
        "Python": platform.python_version(),
        "torch": version("torch"),
        "numpy": version("numpy"),
        "device": f"{runtime.device} ({device_name(runtime.device)})",
        "precision": str(arithmetic),
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
    prepare_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        refuse_undecodable(given)
        run = app.parse(given, prog="plm", description="Pretrained language models, built and understood.")
        run()
        sys.stdout.flush()
    except KeyboardInterrupt as error:
        print("plm: interrupted", file=sys.stderr)
        return 128 + getattr(error, "number", signal.SIGINT)  # a run that was ended by SIGTERM carries that
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has left
        discard_output()
        return 0
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        if os.environ.get("PLM_DEBUG") or (isinstance(error, RuntimeError) and not is_out_of_memory(error)):
            raise
        discard_output()
        print(f"plm: {message(error)}", file=sys.stderr)
        return 2
    return 0


def prepare_streams() -> None:
    """Make standard output and error writable whatever their state: closed ones discard, others escape characters.

    Progress bars are drawn rarely where standard error is no terminal.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the parent process
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # where the terminal has no such character
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", str(SECONDS_BETWEEN_BARS))  # read when tqdm is imported


def refuse_undecodable(arguments: Sequence[str]) -> None:
    """Raise ValueError if an argument holds bytes that are not text in the encoding of this system, or a NUL."""
    for argument in arguments:
        if "\0" in argument or any("\ud800" <= character <= "\udfff" for character in argument):
            raise ValueError(
                f"the argument {argument!a} is not text that UTF-8 can hold: rename the file, or check the locale"
            )


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of Python or of torch means that memory did not suffice."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in words or "can't allocate memory" in words


def message(error: Exception) -> str:
    """The message of an error, in one line, without control characters for the terminal."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    if is_out_of_memory(error):
        text = f"the memory of this machine does not suffice: use a smaller model, batch or context ({text[:200]})"
    lines = " ".join(text.split()) or type(error).__name__
    if len(lines) > LONGEST_MESSAGE:
        lines = f"{lines[: LONGEST_MESSAGE // 2]} ... {lines[-LONGEST_MESSAGE // 2 :]}"
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in lines)


def discard_output() -> None:
    """Drop what is still waiting to be written to a standard output that no longer takes anything."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):  # a stream in memory has no number
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
