"""Malformed configurations, in a file and on the command line: one message each, and nothing is lost."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plm_core.config import Config
from plm_core.models.bert import BertConfig
from plm_core.models.gpt import GptConfig
from plm_core.runs.config import RunConfig
from tests.faults.harness import failures, nothing_changes, plm, users_folder

NEVER_NUMBERS = [
    "x",
    "true",
    "[1]",
    "{a: 1}",
    "2024-01-01",
    ".nan",
    ".inf",
    "-.inf",
    "1e400",
    "!!int 3",
    "&a 3",
    "1:30",
]
BAD = {
    int: [*NEVER_NUMBERS, "1.5", "010", "-1", "9" * 40, "9" * 5000],
    float: [*NEVER_NUMBERS, "-1.0"],
    bool: ["1", "0.5", "x", "null", "[true]", "!!bool true"],
    str: ["3", "null", "[a]", "{a: b}", "true", '"\\ud800"', '"\\0"', ""],
    Path: ["3", "null", "[a]", "{a: b}", '""', '"\\0"', '"\\udfff"'],
}
"""Values in YAML that no field of a type takes."""
OTHER = ["x", "3", "null", "[a]", "{a: 1}", "true"]
"""Values that no field with a list of choices takes, and none that holds other fields."""
NOT_ZERO = {
    "vocab_size", "max_documents", "validation_batches", "context", "batch_size", "hidden_size", "num_attention_heads",
    "intermediate_size", "max_position_embeddings", "layer_norm_eps", "initializer_range", "steps", "micro_batches",
    "learning_rate", "eval_every", "patience", "save_every", "keep_last", "log_every", "layer_decay",
}  # fmt: skip
"""Fields that must be above zero."""
TOO_LARGE = {
    "vocab_size": 10**9, "max_documents": 10**12, "context": 10**9, "batch_size": 10**9, "steps": 10**15,
    "micro_batches": 10**9, "hidden_size": 10**9, "num_hidden_layers": 10**6, "intermediate_size": 10**9,
    "max_position_embeddings": 10**12, "type_vocab_size": 10**9, "hidden_dropout_prob": 1, "label_smoothing": 1,
    "attention_probs_dropout_prob": 1, "final_fraction": 1.1, "beta1": 1, "beta2": 1, "layer_decay": 1.1, "rate": 1,
    "mask_share": 1.1, "random_share": 1.1,
}  # fmt: skip
"""A value above the limit of a field."""

VALID = """\
corpus: storyworld-small-en
output: {output}
vocab_size: 300
context: 16
batch_size: 2
model: {{hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 16}}
train: {{steps: 1, warmup_steps: 0}}
"""
STRUCTURES = {
    "empty": "",
    "a list": "- corpus: x\n",
    "a word": "corpus",
    "a number": "3",
    "two documents": "corpus: x\n---\ncorpus: y\n",
    "a tab": "corpus:\tx\n\toutput: y\n",
    "an open bracket": "corpus: [x\n",
    "a control character": "corpus: x\x07\n",
    "a tag": "corpus: !!python/object/apply:os.system [exit]\n",
    "a binary tag": "corpus: !!binary aGVsbG8=\n",
    "an anchor": "corpus: &a x\noutput: *a\n",
    "a bomb": "a: &a [x, x]\n"
    + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "a merge": "<<: {corpus: x}\noutput: y\n",
    "deep lists": "corpus: " + "[" * 20000,
    "deep mappings": "{" * 20000,
    "deep blocks": "".join(" " * n + "a:\n" for n in range(200)),
    "a key of a list": "? [a]\n: b\n",
    "a number as key": "1: x\n",
    "nothing as key": "~: x\n",
    "a version of YAML": "%YAML 9.9\n---\ncorpus: x\n",
    "more than a megabyte": "# " + "x" * 2**20 + "\n",
}


def fields(kind: type[Config], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a configuration with its type, as keys with dots."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if isinstance(hint, type) and issubclass(hint, Config):
            yield from fields(hint, f"{prefix}{field.name}.")
        yield f"{prefix}{field.name}", hint


def bad_values(key: str, hint: Any, turn: int) -> list[str]:
    """Values that a field refuses, as they stand in YAML: its limits, and some of what its type does not take.

    Args:
        key: the field.
        hint: its type.
        turn: fields take turns with what their type does not take, so that together they meet all of it.
    """
    name = key.rpartition(".")[2]
    kinds = typing.get_args(hint) if typing.get_origin(hint) is not typing.Literal else ()
    optional, kind = type(None) in kinds, next((k for k in kinds if k is not type(None)), hint)
    if typing.get_origin(hint) is dict:
        values, optional = ["x", "3", "null", "[a]", "{no_such_field: 1}"], False
    else:
        pool = BAD.get(kind, OTHER)
        values = [pool[(4 * turn + number) % len(pool)] for number in range(4)]
    if kind in (int, float):
        values += ["null", "-1"]
        values += ["0"] * (name in NOT_ZERO) + [str(TOO_LARGE.get(name))] * (name in TOO_LARGE)
    return [value for value in dict.fromkeys(values) if not (optional and value == "null")]


def all_fields(objective: str) -> Iterator[tuple[str, Any]]:
    """Fields of a run of this objective, those of its model included."""
    yield from fields(RunConfig)
    shape = BertConfig if objective != "causal_lm" else GptConfig
    yield from ((key, hint) for key, hint in fields(shape, "model.") if key != "model.vocab_size")


CASES = [
    (objective, key, value)
    for objective in ("causal_lm", "masked_lm")
    for turn, (key, hint) in enumerate(all_fields(objective))
    if not (key == "model" and objective == "masked_lm")
    for value in bad_values(key, hint, turn)
    if objective == "causal_lm" or key.startswith(("model.", "masking."))
]


def test_the_table_has_several_hundred_configurations() -> None:
    assert len(CASES) + len(CASES[::3]) + len(STRUCTURES) > 600


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return users_folder(tmp_path / "user") / "home"


def place(values: dict[str, Any], key: str, marker: str) -> str:
    """A configuration in YAML with a marker as the value of a key."""
    *parents, last = key.split(".")
    inner = values
    for parent in parents:
        inner = inner.setdefault(parent, {})
    inner[last] = marker
    return yaml.safe_dump(values, sort_keys=False)


@pytest.mark.parametrize("how", ["in the file", "on the command line"])
def test_a_value_that_does_not_fit_its_field_is_refused(how: str, tmp_path: Path, home: Path) -> None:
    file, told = tmp_path / "config.yaml", []
    with nothing_changes(home.parent):
        for objective, key, value in CASES if how == "in the file" else CASES[::3]:
            text = VALID.format(output=home / "new") + f"objective: {objective}\n"
            if how == "in the file":
                file.write_text(place(yaml.safe_load(text), key, "@@").replace("'@@'", value), encoding="utf-8")
                done = plm("train", file)
            else:
                file.write_text(text, encoding="utf-8")
                done = plm("train", file, f"{key}={value}")
            told.append((f"{key}={value[:40]} ({objective})", done.complaint))
        assert not failures(told), failures(told)


def test_a_file_that_is_no_plain_mapping_is_refused(tmp_path: Path, home: Path) -> None:
    file, told = tmp_path / "config.yaml", []
    with nothing_changes(home.parent):
        for name, text in STRUCTURES.items():
            file.write_text(text, encoding="utf-8")
            told.append((name, plm("train", file).complaint))
        for name, content in {"latin 1": b"corpus: caf\xe9\n", "UTF-16": "corpus: x\n".encode("utf-16")}.items():
            file.write_bytes(content)
            told.append((name, plm("train", file).complaint))
    assert not failures(told), failures(told)


def test_every_key_may_be_given_once_and_must_exist(tmp_path: Path, home: Path) -> None:
    file, told = tmp_path / "config.yaml", []
    text = VALID.format(output=home / "new")
    with nothing_changes(home.parent):
        for key, _ in fields(RunConfig):
            name = key.rpartition(".")[2]
            for wrong in (f"{name}x: 1\n", f"{name}: 1\n{name}: 1\n"):
                file.write_text(text + wrong, encoding="utf-8")
                told.append((wrong, plm("train", file).complaint))
            told.append((f"override {key}", plm("train", file, f"{key}").complaint))
            told.append((f"override {key}.more", plm("train", file, f"{key}.more.of.this=1").complaint))
    assert len(told) > 250
    assert not failures(told), failures(told)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_to_a_file_is_refused_or_changes_nothing_that_yaml_says(data: st.DataObject, tmp_path: Path) -> None:
    """The oracle is PyYAML: what it cannot read, or reads as another type or unknown key, must be refused."""
    text = VALID.format(output=tmp_path / "new")
    start = data.draw(st.integers(0, len(text) - 1))
    end = min(len(text), start + data.draw(st.integers(0, 12)))
    damaged = text[:start] + data.draw(st.text(max_size=6)) + text[end:]
    (tmp_path / "config.yaml").write_text(damaged, encoding="utf-8", newline="")
    done = plm("info", tmp_path / "config.yaml")
    try:
        same = yaml.safe_load(damaged) == yaml.safe_load(text)
        readable = isinstance(yaml.safe_load(damaged), dict)
    except (yaml.YAMLError, ValueError):
        same = readable = False
    assert done.code == 0 or not done.complaint, (damaged, done)
    assert readable or done.code == 2, (damaged, done)
    if same and "&" not in damaged and "!" not in damaged:
        assert done.code == 0, (damaged, done)
