"""Configurations: checked when made, and the same after a trip through YAML."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plm_core.config import Config


@dataclass(frozen=True)
class Inner(Config):
    learning_rate: float = 1e-3
    """Step size."""


@dataclass(frozen=True)
class Outer(Config):
    width: int
    """A field without a default."""
    name: str = "model"
    rate: float = 0.1
    maybe: int | None = None
    flag: bool = False
    kind: Literal["pre", "post"] = "pre"
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[float, float] = (0.9, 0.999)
    weights: dict[str, float] = field(default_factory=dict)
    items: list[str] = field(default_factory=list)
    path: Path | None = None
    inner: Inner = field(default_factory=Inner)
    anything: Any = None

    def validate(self) -> None:
        self.require_positive("width")
        self.require_probability("rate")


@given(
    st.builds(
        Outer,
        width=st.integers(1, 10**6),
        name=st.text(st.characters(blacklist_categories=["Cs", "Cc"])),
        rate=st.floats(0, 0.999),
        maybe=st.none() | st.integers(-(10**9), 10**9),
        flag=st.booleans(),
        kind=st.sampled_from(["pre", "post"]),
        sizes=st.lists(st.integers(0, 99)).map(tuple),
        weights=st.dictionaries(st.sampled_from("abc"), st.floats(-1e6, 1e6)),
        items=st.lists(st.sampled_from(["x", "1", "yes", "null", "1e3"])),
        path=st.none() | st.just(Path("a/b")),
        inner=st.builds(Inner, learning_rate=st.floats(1e-9, 1)),
    )
)
def test_yaml_and_dict_round_trips_lose_nothing(config: Outer) -> None:
    assert Outer.from_yaml(config.to_yaml()) == config
    assert Outer.from_dict(config.to_dict()) == config


def test_save_and_load(tmp_path: Path) -> None:
    config = Outer(width=3, name="词")
    config.save(tmp_path / "config.yaml")
    assert Outer.load(tmp_path / "config.yaml") == config
    with pytest.raises(FileNotFoundError, match=r"nothing\.yaml"):
        Outer.load(tmp_path / "nothing.yaml")
    (tmp_path / "bad.yaml").write_text("width: [1")
    with pytest.raises(ValueError, match=r"bad\.yaml.*not valid YAML"):
        Outer.load(tmp_path / "bad.yaml")


def test_yaml_numbers_without_a_dot_are_numbers() -> None:
    assert Inner.from_yaml("learning_rate: 3e-4").learning_rate == 3e-4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widht": 3}, "no field 'widht': did you mean 'width'"),
        ({"width": 1, "qqqqqq": 3}, "no field 'qqqqqq': expected one of width, name"),
        ({}, "needs a value for width"),
        ({"width": "3"}, "Outer.width: expected int, got '3'"),
        ({"width": True}, "Outer.width: expected int, got True"),
        ({"width": 2.0}, "Outer.width: expected int"),
        ({"width": 0}, "width must be positive"),
        ({"width": 1, "rate": 1}, "rate is a probability"),
        ({"width": 1, "rate": "fast"}, "rate: expected a number, got 'fast'"),
        ({"width": 1, "rate": True}, "rate: expected a number"),
        ({"width": 1, "rate": float("nan")}, "got nan"),
        ({"width": 1, "flag": 1}, "flag: expected bool"),
        ({"width": 1, "maybe": "x"}, "maybe: expected int"),
        ({"width": 1, "kind": "past"}, "expected one of 'pre', 'post', got 'past'.*did you mean 'post'"),
        ({"width": 1, "sizes": 3}, "sizes: expected a list"),
        ({"width": 1, "sizes": [1, "x"]}, r"sizes\[1\]: expected int"),
        ({"width": 1, "pair": [1.0]}, "pair: expected 2 values, got 1"),
        ({"width": 1, "weights": [1]}, "weights: expected a mapping"),
        ({"width": 1, "inner": {"learnin_rate": 1}}, "Outer.inner: Inner has no field.*'learning_rate'"),
        ({"width": 1, "inner": 3}, "Outer.inner: expected Inner"),
        (["width"], "needs a mapping"),
    ],
)
def test_mistakes_are_named(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Outer.from_dict(values)


def test_a_config_cannot_change_but_can_be_replaced() -> None:
    config = Outer(width=3)
    with pytest.raises(AttributeError):
        config.width = 4  # type: ignore[misc]
    assert config.replace(width=4).width == 4
    assert config.width == 3
    with pytest.raises(ValueError, match="did you mean 'width'"):
        config.replace(widt=4)
    with pytest.raises(ValueError, match="positive"):
        config.replace(width=-1)
