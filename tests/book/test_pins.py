"""The three descriptions of what is installed agree: pyproject.toml, constraints.txt and environment.yml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name


@pytest.fixture(scope="module")
def project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def pins(root: Path) -> dict[str, str]:
    """Every pin: name and version."""
    found = {}
    for line in (root / "constraints.txt").read_text(encoding="utf-8").splitlines():
        line = line.partition("#")[0].strip()
        if line:
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!+_-]+)", line)
            assert match, f"constraints.txt: {line!r} is not an exact pin"
            name = canonicalize_name(match.group(1))
            assert name not in found, f"constraints.txt pins {name} twice"
            found[name] = match.group(2)
    return found


def requirements(project: dict) -> Iterator[Requirement]:
    yield from map(Requirement, project["dependencies"])
    for extra in project["optional-dependencies"].values():
        yield from map(Requirement, extra)


def test_every_requirement_is_satisfied_by_its_pin(project, pins) -> None:
    for requirement in requirements(project):
        name = canonicalize_name(requirement.name)
        assert name in pins, f"constraints.txt does not pin {name}"
        assert requirement.specifier.contains(pins[name], prereleases=True), f"{name}=={pins[name]}, not {requirement}"


def test_torch_is_pinned_for_the_book_and_loose_for_the_package(project, pins) -> None:
    assert pins["torch"] == "2.13.0"
    torch = next(each for each in requirements(project) if each.name == "torch")
    assert torch.specifier == SpecifierSet(">=2.6")


def test_the_package_excludes_no_newer_torch_or_numpy(project) -> None:
    """Otherwise its installation on Colab could replace what is there."""
    for requirement in map(Requirement, project["dependencies"]):
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators == {">="}, f"{requirement} is not loose"


def test_conda_installs_the_same_set(root, project, pins) -> None:
    environment = yaml.safe_load((root / "environment.yml").read_text(encoding="utf-8"))
    conda = [each for each in environment["dependencies"] if isinstance(each, str)]
    pip = next(each["pip"] for each in environment["dependencies"] if isinstance(each, dict))
    python = next(each for each in conda if each.startswith("python=")).removeprefix("python=")
    assert SpecifierSet(project["requires-python"]).contains(python)
    assert "pip" in conda
    assert "-c constraints.txt" in pip
    assert f"torch=={pins['torch']}" in pip
    package = next(each for each in pip if each.startswith("-e ."))
    extras = set(package.removeprefix("-e .[").removesuffix("]").split(","))
    assert extras == set(project["optional-dependencies"])
    known = {"-c constraints.txt", package}
    for line in set(pip) - known:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), line


def test_make_installs_the_same_extras(root, project) -> None:
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    extras = re.search(r"-c constraints\.txt -e '\.\[([a-z,]+)\]'", makefile)
    assert extras
    assert set(extras.group(1).split(",")) == set(project["optional-dependencies"])
    assert "grep '^torch==' constraints.txt" in makefile
    # torch on its own, before anything that could ask for another one
    assert makefile.index("grep '^torch=='") < makefile.index("-c constraints.txt")


def test_workflows_use_a_python_that_the_package_supports(root, project) -> None:
    supported = SpecifierSet(project["requires-python"])
    for workflow in (root / ".github" / "workflows").glob("*.yml"):
        for version in re.findall(r'python-version: "([\d.]+)"', workflow.read_text(encoding="utf-8")):
            assert supported.contains(version), f"{workflow.name}: {version}"
