"""The command line: what it prints, and what it makes of mistakes."""

import errno
import os
import subprocess
import sys

import pytest

from plm_core import cli


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch):
    """Let ``plm fail`` raise a given error."""
    monkeypatch.setattr(cli.app, "_subcommands", dict(cli.app._subcommands))
    monkeypatch.delenv("PLM_DEBUG", raising=False)

    def raising(error: BaseException) -> None:
        @cli.app.command
        def fail() -> None:
            """Fail."""
            raise error

    return raising


def test_info_names_versions_device_precision_and_preset(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    assert cli.main(["info", "--device", "cpu", "--preset", "laptop"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["torch"] == torch.__version__
    assert rows["precision"].split()[0] in ("fp32", "bf16")  # bf16 where the processor has units for it
    assert rows["preset"] == "laptop"
    assert rows["device"].startswith("cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "huge"], "unknown preset 'huge'"),
        (["--precision", "fp8"], "unknown precision 'fp8'"),
        (["--device", "toaster"], "unknown device 'toaster'"),
    ],
)
def test_bad_choices_give_one_message_and_exit_code_2(arguments, message, capsys) -> None:
    assert cli.main(["info", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "corpus.txt"), "corpus.txt"),
        (OSError(errno.ENOSPC, "No space left on device", "out.bin"), "No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "locked"), "Permission denied"),
        (ValueError("the seed must not be negative, got -1"), "plm: the seed must not be negative, got -1"),
    ],
)
def test_mistakes_of_the_user_show_no_traceback(command, error, message, capsys) -> None:
    command(error)
    assert cli.main(["fail"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_debugging_shows_the_traceback(command, monkeypatch: pytest.MonkeyPatch) -> None:
    command(ValueError("wrong"))
    monkeypatch.setenv("PLM_DEBUG", "1")
    with pytest.raises(ValueError, match="wrong"):
        cli.main(["fail"])


def test_an_interruption_exits_with_130(command) -> None:
    command(KeyboardInterrupt())
    assert cli.main(["fail"]) == 130


def test_a_defect_is_not_hidden(command) -> None:
    command(AssertionError("an invariant"))
    with pytest.raises(AssertionError, match="an invariant"):
        cli.main(["fail"])


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["no-such-command"]) == 2
    assert capsys.readouterr().err.startswith("plm: Unrecognized options: no-such-command. Available subcommands: ")


def test_help_imports_nothing_heavy() -> None:
    code = "import sys\nfrom plm_core import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass\n"
    code += "sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "info" in done.stdout


def test_bars_are_drawn_rarely_where_nobody_watches_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TQDM_MININTERVAL", raising=False)
    cli.prepare_streams()  # standard error is captured: no terminal
    assert os.environ["TQDM_MININTERVAL"] == str(cli.SECONDS_BETWEEN_BARS)
    monkeypatch.setenv("TQDM_MININTERVAL", "1")
    cli.prepare_streams()
    assert os.environ["TQDM_MININTERVAL"] == "1", "what the user has set stays"


def test_a_reader_that_leaves_early_is_no_error() -> None:
    code = "import sys\nfrom plm_core import cli\n@cli.app.command\ndef long():\n    '''Print much.'''\n"
    code += "    for _ in range(10**6): print('line')\nsys.exit(cli.main(['long']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0
    assert said == b""
