"""Configurations: frozen dataclasses that are checked when they are made, and can be written to YAML and read back.

A configuration holds everything about a model or a run that has to be stored. It is checked when it is made, so that an
error is found before the first tensor exists, and it never changes afterwards.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, Union

import yaml

from plm_core.files import parse_yaml, read_yaml

LARGEST = 2**63 - 1
"""The largest whole number that a field may hold: what the tensors and files that it ends up in can hold."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Base of every configuration. A subclass is a frozen dataclass with a docstring under each field.

    Values are checked against the field's type, then :meth:`validate` checks what types cannot express.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Shape(Config):
    ...     width: int = 2
    >>> Shape.from_dict({"width": 3})
    Shape(width=3)
    """

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = _convert(getattr(self, field.name), hints[field.name], f"{type(self).__name__}.{field.name}")
            object.__setattr__(self, field.name, value)
        self.validate()

    def validate(self) -> None:
        """Check the values against each other; a subclass raises ValueError with what was wrong and what to do."""

    def require_positive(self, *names: str) -> None:
        """Raise ValueError unless each named field is greater than zero."""
        for name in names:
            if not getattr(self, name) > 0:
                raise ValueError(f"{type(self).__name__}.{name} must be positive, got {getattr(self, name)}")

    def require_probability(self, *names: str) -> None:
        """Raise ValueError unless each named field lies in [0, 1)."""
        for name in names:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{type(self).__name__}.{name} is a probability: expected 0 <= {name} < 1, "
                    f"got {getattr(self, name)}"
                )

    def require_not_negative(self, *names: str) -> None:
        """Raise ValueError unless each named field is zero or greater."""
        for name in names:
            if getattr(self, name) < 0:
                raise ValueError(f"{type(self).__name__}.{name} must not be negative, got {getattr(self, name)}")

    def require_at_most(self, **limits: float) -> None:
        """Raise ValueError if a named field is above its limit; None is below every limit."""
        for name, limit in limits.items():
            value = getattr(self, name)
            if value is not None and value > limit:
                raise ValueError(f"{type(self).__name__}.{name} is {_shown(value)}: the limit is {limit:,}")

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked again.

        Raises:
            ValueError: an unknown field, or a value that does not fit.
        """
        self._refuse_unknown(changes)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain Python values that YAML and JSON can hold."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a configuration from plain values; fields that are absent keep their defaults.

        Raises:
            ValueError: a key that is no field (the nearest one is named), a value of the wrong type, or a missing
                field that has no default.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"{cls.__name__} needs a mapping from field to value, got {type(values).__name__}")
        cls._refuse_unknown(values)
        missing = [
            field.name
            for field in dataclasses.fields(cls)
            if field.name not in values
            and field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ]
        if missing:
            raise ValueError(f"{cls.__name__} needs a value for {', '.join(missing)}")
        return cls(**values)

    def to_yaml(self) -> str:
        """The configuration as YAML text, fields in the order of the class."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Make a configuration from YAML text.

        Raises:
            ValueError: text that :func:`~plm_core.files.parse_yaml` or content that :meth:`from_dict` refuses.
        """
        values = parse_yaml(text)
        return cls.from_dict({} if values is None else values)

    def save(self, path: str | Path) -> None:
        """Write the configuration to a YAML file."""
        Path(path).write_text(self.to_yaml(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a configuration from a YAML file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: as :meth:`from_yaml`, with the file's name.
        """
        values = read_yaml(Path(path))
        try:
            return cls.from_dict({} if values is None else values)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def _refuse_unknown(cls, values: Mapping[str, Any]) -> None:
        known = [field.name for field in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
                raise ValueError(f"{cls.__name__} has no field {_shown(key)}: {hint}")


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _convert(value: Any, hint: Any, where: str) -> Any:
    """Return the value as the type of the hint, where that loses nothing; raise ValueError otherwise."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(value, arguments, where)
    if origin is Literal:
        if value not in arguments:
            allowed = ", ".join(map(repr, arguments))
            near = difflib.get_close_matches(str(value), [str(option) for option in arguments], n=1)
            raise ValueError(f"{where}: expected one of {allowed}, got {_shown(value)}" + _did_you_mean(near))
        return value
    if origin in (tuple, list):
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where}: expected a list, got {_shown(value)}")
        if origin is tuple and arguments[-1] is not Ellipsis:
            if len(value) != len(arguments):
                raise ValueError(f"{where}: expected {len(arguments)} values, got {len(value)}")
            return tuple(_convert(v, h, f"{where}[{i}]") for i, (v, h) in enumerate(zip(value, arguments, strict=True)))
        return origin(_convert(item, arguments[0], f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{where}: expected a mapping, got {_shown(value)}")
        return {
            _convert(key, arguments[0], f"{where}, a key"): _convert(item, arguments[1], f"{where}[{_shown(key)}]")
            for key, item in value.items()
        }
    if isinstance(hint, type) and issubclass(hint, Config):
        if isinstance(value, Mapping):
            try:
                return hint.from_dict(value)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
    elif hint is float:
        return _convert_float(value, where)
    elif hint is Path and isinstance(value, str | Path):
        return Path(_convert_text(str(value), where, path=True))
    elif hint is int and isinstance(value, bool):
        raise ValueError(f"{where}: expected int, got {_shown(value)}")
    if not isinstance(value, hint):
        raise ValueError(f"{where}: expected {hint.__name__}, got {_shown(value)}")
    if hint is int and abs(value) > LARGEST:
        raise ValueError(f"{where}: expected int of at most {LARGEST}, got {_shown(value)}")
    return _convert_text(value, where) if hint is str else value


def _convert_text(text: str, where: str, *, path: bool = False) -> str:
    """Refuse text that no file can hold: half a surrogate pair; for a path, also a NUL character, and no name."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{where}: expected text that UTF-8 can hold, got {_shown(text)}")
    if path and (not text or "\0" in text):
        raise ValueError(f"{where}: expected a path, got {_shown(text)}")
    return text


def _convert_union(value: Any, options: tuple[Any, ...], where: str) -> Any:
    if value is None and type(None) in options:
        return None
    errors = []
    for option in options:
        if option is not type(None):
            try:
                return _convert(value, option, where)
            except ValueError as error:
                errors.append(str(error))
    raise ValueError("; or ".join(errors))


def _convert_float(value: Any, where: str) -> float:
    if isinstance(value, str):  # YAML 1.1 reads 3e-4, which has no dot, as text
        try:
            value = float(value)
        except ValueError:
            raise ValueError(f"{where}: expected a number, got {_shown(value)}") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{where}: expected a number, got {_shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{where}: expected a finite number, got {_shown(value)}")
    return number


def _shown(value: Any) -> str:
    """A value for a message, cut to a readable length."""
    if isinstance(value, int) and abs(value) > LARGEST:  # Python refuses to write out very long ones
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _did_you_mean(near: list[str]) -> str:
    return f" (did you mean {near[0]!r}?)" if near else ""
