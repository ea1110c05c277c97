"""Malformed arguments of every command: each is refused with one message, and nothing is written or lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plm_core import cli
from tests.faults.harness import failures, nothing_changes, plm

LARGE = "9" * 30
COUNT = ["0", "-1", "-5", "x", "1.5", "", "1e3", "nan", LARGE, "--help-me", "[1]"]
"""What a number of things cannot be; the large one only where all there are would not do as well."""
SHARE = ["nan", "inf", "-inf", "-1", "x", "", "1e999"]
"""What a number between zero and one cannot be."""
SEED = ["-1", "x", "1.5", "9" * 30]
WHERE = ["best-of-2024", "best-00000001", "linked", "config.yaml"]
"""Paths of the user's, in the folder ``out``: none may be written to."""
METHODS = [
    "", "x", "prune", "prune:", "prune:share", "prune:share=", "prune:share=x", "prune:share=1",
    "prune:share=-0.5", "prune:share=1.5", "prune:share=nan", "prune:share=inf", "prune:share=true", "prune:what=all",
    "prune:share=0.5,share=0.5", "prune:steps=-1", "prune:steps=1.5", "prune:steps=1e3", "prune:learning_rate=inf",
    "prune:learning_rate=0", "prune:learning_rate=-1", "prune:what=2:3", "prune;share=0.5", "prune:Share=0.5",
    "low-rank:share=0", "low-rank:share=1.1", "low-rank:share=nan", "low-rank:weighting=x", "low_rank",
    "quantize:bits=3", "quantize:bits=0", "quantize:bits=-8", "quantize:bits=8.0", "quantize:bits=x",
    "quantize:activations=x", "quantize:granularity=x", "quantize:granularity=group,group_size=0",
    "quantize:granularity=group,group_size=-1", "quantize:bits=4,activations=static", "quantize:calibration=x",
    "quantize:embeddings=1", "distill:layers=0", "distill:layers=-1", "distill:layers=1.5", "distill:steps=0",
    "distill:temperature=0", "distill:temperature=nan", "distill:temperature=-1", "distill:soft_weight=2",
    "distill:soft_weight=-1", "distill:learning_rate=inf", "distill:layers=9999999", "distill:steps=9999999999999",
]  # fmt: skip
METHODS.remove("prune")
METHODS.remove("prune:")

FOREIGN = ["", "x", "data", "train", "evaluate", "generate", "fill-mask", "compress", "export", "benchmark", "import"]
"""Commands without what they need."""


def commands(run: Path, masked: Path, home: Path, tmp: Path) -> list[list[str | Path]]:
    """Command lines that are wrong in one place."""
    new, file = tmp / "new", home / "linked.txt"
    made: list[list[str | Path]] = [[name] if name else [] for name in FOREIGN]
    made += [[name, "--no-such-option", "1"] for name in FOREIGN[1:]]
    made += [["generate", run, "--max-new-tokens", value] for value in COUNT if value != "0"]
    made += [["generate", run, "--top-k", value] for value in COUNT if value != LARGE]
    made += [["generate", run, "--temperature", value] for value in SHARE]
    made += [["generate", run, "--top-p", value] for value in [*SHARE, "0", "1.5"]]
    made += [["generate", run, "--seed", value] for value in SEED]
    made += [["generate", masked], ["fill-mask", run, "a [MASK]"], ["fill-mask", masked, "no blank"]]
    made += [
        ["generate", path] for path in (home, home / "out", file, tmp / "nothing", "", "/dev/null", "\udcff", "\0")
    ]
    made += [["fill-mask", masked, "the [MASK] sat", "--top", value] for value in COUNT if value != LARGE]
    made += [["evaluate", path] for path in (home, home / "out", file, tmp / "nothing", "", "/dev/null")]
    made += [["evaluate", run, "--text", path] for path in (tmp / "nothing", "/dev/null", "\0")]
    made += [["evaluate", masked, "--text", file]]
    made += [["benchmark", run, "--rounds", value] for value in COUNT]
    made += [["benchmark", run, "--rounds", "1"], ["benchmark", run, "--rounds", "999999999"]]
    made += [["benchmark", run, "--rounds", "2", "--threads", value] for value in [*COUNT, "999999999"]]
    made += [["benchmark", run, run], ["benchmark", file], ["benchmark", home / "out"], ["benchmark", run, masked]]
    made += [["benchmark", run, "--plot", path] for path in (file, tmp / "no" / "x.png", tmp / "x.txt", home, "")]
    made += [["compress", run, "--output", new, "--method", method] for method in METHODS]
    made += [["compress", run, "--output", home / "out" / name, "--method", "prune"] for name in WHERE]
    made += [["compress", path, "--output", new, "--method", "prune"] for path in (home, file, tmp / "nothing")]
    made += [["compress", run, "--output", new], ["compress", run, "--method", "prune"]]
    made += [["compress", run, "--output", path, "--method", "prune"] for path in (run, home, "", "/dev/null/x")]
    made += [["export", run, "--output", new, "--calibrate", value] for value in [*COUNT[1:], "5"]]
    made += [["export", run, "--output", new, "--int8", "--calibrate", value] for value in ("-1", "999999999")]
    made += [["export", run, "--output", new, "--format", value] for value in ("", "x", "ONNX", "pickle")]
    made += [["export", run, "--output", path] for path in (file, home, home / "out", "")]
    made += [["export", path, "--output", new] for path in (home, file, tmp / "nothing", "/dev/null")]
    made += [["import", path, new] for path in (home, home / "out", file, tmp / "nothing", "", "/dev/null")]
    made += [["data", "get", name] for name in ("", "x", "../x", "/etc/passwd", "text9", "\0")]
    tokenize: list[str | Path] = ["data", "tokenize", home / "linked.txt"]
    made += [[*tokenize, "--output", new, "--train", "words", "--vocab-size", value] for value in COUNT]
    made += [[*tokenize, "--output", new, "--train", "bpe", "--vocab-size", value] for value in ("1", "999999999")]
    made += [
        [*tokenize, "--output", new, "--train", "words", "--max-length", value] for value in COUNT if value != LARGE
    ]
    made += [[*tokenize, "--output", home / "out" / name, "--train", "words"] for name in WHERE]
    made += [[*tokenize, "--output", home / "out" / name, "--train", "words", "--overwrite"] for name in WHERE]
    made += [[*tokenize, "--output", home / "linked.txt", "--train", "words", "--overwrite"]]
    made += [[*tokenize, "--output", home / "out", "--train", "words", "--overwrite"]]
    made += [[*tokenize, "--output", new], [*tokenize, "--output", new, "--train", "words", "--tokenizer", run]]
    made += [[*tokenize, "--output", new, "--tokenizer", path] for path in (home, file, tmp / "nothing", "/dev/null")]
    made += [[*tokenize, "--output", new, "--tokenizer", run, "--model", path] for path in (home, file, "/dev/null")]
    made += [["data", "tokenize", path, "--output", new, "--train", "words"] for path in (tmp / "no", "/dev/zero")]
    made += [
        ["info", "--device", value] for value in ("x", "meta", "cuda", "cuda:99", "cuda:-1", "cpu:7", "mps", "xla")
    ]
    made += [["info", "--precision", value] for value in ("", "x", "fp64", "int8")]
    made += [["info", "--preset", value] for value in ("x", "LAPTOP")]
    made += [["info", path] for path in (home, tmp / "nothing", file, "/dev/null", "/dev/zero")]
    made += [["train", path] for path in (home, tmp / "nothing", file, "/dev/null", "/dev/zero", "\udcff")]
    return made


def test_a_wrong_argument_is_refused(causal: Path, masked: Path, user: Path, tmp_path: Path) -> None:
    wrong, told = commands(causal, masked, user / "home", tmp_path), []
    assert len(wrong) > 250
    with nothing_changes(causal.parent), nothing_changes(masked.parent), nothing_changes(tmp_path):
        told = [(" ".join(map(repr, map(str, arguments)))[:160], plm(*arguments).complaint) for arguments in wrong]
        assert not failures(told), failures(told)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(sorted(cli.app._subcommands)),
    arguments=st.lists(
        st.text(max_size=8) | st.sampled_from(["--", "-", "--top", "-h=1", "=", "--no-memory"]), max_size=4
    ),
)
def test_arguments_at_random_are_refused_or_show_help(
    name: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    helps = {"-h", "--help"} & set(arguments) or name == "info" or [name, *arguments] == ["data", "list"]
    with nothing_changes(tmp_path):
        done = plm(name, *arguments)
    assert (helps and done.code == 0) or not done.complaint, (name, arguments, done)
