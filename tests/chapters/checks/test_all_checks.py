"""What holds for every check of the book: nothing earns nothing, and every stage is reproducible."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import plm_chapters.checks
from plm_chapters.checks.feedback import Check, CheckFailed

PREFIX = "plm_chapters.checks."
CASES = [
    pytest.param(check, stage, id=f"{info.name.removeprefix(PREFIX)}-{name}-{stage.replace(' ', '_')}")
    for info in pkgutil.walk_packages(plm_chapters.checks.__path__, PREFIX)
    for name, check in vars(importlib.import_module(info.name)).items()
    if isinstance(check, Check)
    for stage in check.stages
]


@pytest.mark.parametrize(("check", "stage"), CASES)
def test_a_stage_gives_no_mark_for_nothing(check: Check, stage: str) -> None:
    count = len(inspect.signature(check.stages[stage]).parameters) - 1
    for nothing in (None, ..., lambda *args, **kwargs: None):
        with pytest.raises(CheckFailed):
            check.grade(stage, *[nothing] * count)


def test_the_checks_of_every_topic_are_found() -> None:
    assert len(CASES) > 30
