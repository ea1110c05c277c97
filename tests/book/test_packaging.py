"""What is installed: every package, every file that the library reads, the experiments and their results."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def setuptools(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def test_no_package_is_missing(root, setuptools) -> None:
    found = {".".join(path.parent.relative_to(root).parts) for path in (root / "plm_core").rglob("__init__.py")}
    found |= {
        ".".join(("plm_chapters", *path.parent.relative_to(root / "chapters").parts))
        for path in (root / "chapters").rglob("__init__.py")
    }
    assert set(setuptools["packages"]) == found


def test_every_module_is_in_a_package(root) -> None:
    for path in [*(root / "plm_core").rglob("*.py"), *(root / "chapters" / "checks").rglob("*.py")]:
        assert (path.parent / "__init__.py").exists(), f"{path.relative_to(root)} lies in no package"


def test_no_file_of_the_library_is_left_behind(root, setuptools) -> None:
    folders = setuptools["package-dir"]
    packed = set()
    for package, patterns in setuptools["package-data"].items():
        top, *inner = package.split(".")
        folder = (root / folders.get(top, top)).joinpath(*inner)
        packed |= {path for pattern in patterns for path in folder.glob(pattern)}
    for path in (root / "plm_core").rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.is_file() and path.suffix not in (".py", ".pyc") and not hidden:
            assert path in packed, f"{path.relative_to(root)} is not in [tool.setuptools.package-data]"
    for path in (root / "chapters" / "experiments" / "results").glob("*.json"):
        assert path in packed, f"{path.name} would not reach Colab"


def test_experiments_come_from_beside_the_chapters(setuptools) -> None:
    assert setuptools["package-dir"] == {"plm_chapters": "chapters"}


def test_importing_the_package_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = "import sys, plm_core; print(*sorted({'torch', 'numpy', 'matplotlib', 'IPython'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
