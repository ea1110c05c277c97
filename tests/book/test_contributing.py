"""What CONTRIBUTING.md says works as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tomllib

import pytest
import yaml

from tests import forked

pytestmark = pytest.mark.xdist_group("processes")  # one worker loads the server that they are forked from
CONTENTS = """\
# A comment that stays.
format: jb-book
root: book/references
parts:
  - caption: Reference
    chapters:
      - file: book/glossary
      - file: book/status
"""


@pytest.fixture(scope="module")
def steps(root) -> list[list[str]]:
    """The commands of the block below the heading, each split into words."""
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## A chapter in ten minutes\n")[2]
    block = re.search(r"```bash\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return [shlex.split(line) for line in block[1].splitlines()]


def test_a_chapter_made_by_the_steps_runs_passes_the_check_and_stands_on_the_site(root, tiny, steps) -> None:
    shutil.copy(root / "pyproject.toml", tiny.root)
    tiny.path("book/_toc.yml").write_text(CONTENTS)
    for other in tiny.path("chapters").glob("0*"):
        other.unlink()
    # Kernels must import the copy, although the repository is what is installed.
    environment = os.environ | {"PYTHONPATH": str(tiny.root)}
    said = []
    for command in steps:
        assert command[:3] == ["python", "-m", "book"]
        done = forked.run(*command[1:], cwd=tiny.root, env=environment, own_library=True)
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
        said.append(done.stdout)
    assert [command[3] for command in steps] == ["new", "execute", "classroom", "check", "html"]
    assert "1 chapter checked: no findings, no warnings." in said[3]

    name = steps[0][4]
    topic = name.partition("_")[2]
    for path in (
        f"chapters/{name}.md",
        f"chapters/{name}.ipynb",
        f"chapters/experiments/{name}.py",
        f"chapters/experiments/results/{name}.laptop.json",
        f"chapters/exercises/{name}.md",
        f"chapters/exercises/wrong/{name}.py",
        f"chapters/exercises/student/{name}.ipynb",
        f"chapters/checks/{topic}/basics.py",
    ):
        assert tiny.path(path).is_file()
        assert "[[" not in tiny.path(path).read_text() or path.endswith((".json", ".ipynb"))
    options = dict(zip(steps[0][5::2], steps[0][6::2], strict=True))
    contents = tiny.path("book/_toc.yml").read_text()
    assert contents.startswith("# A comment that stays.")
    assert {"caption": options["--part"], "chapters": [{"file": f"chapters/{name}"}]} in yaml.safe_load(contents)[
        "parts"
    ]
    parts = yaml.safe_load(tiny.path("book/map.yml").read_text())
    assert [options["--title"], options["--about"]] in [part["chapters"].get(name) for part in parts]
    packages = tomllib.loads(tiny.path("pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert packages == sorted(packages)
    assert f"plm_chapters.checks.{topic}" in packages

    page = tiny.path(f"_build/html/chapters/{name}.html").read_text()
    assert f"{name.partition('_')[0]} {options['--title']}" in page, "the sidebar numbers the chapters"
    assert "Show code cell source" in page, "set-up, plots and checks are folded"
    assert "glue(" not in page, "glue is removed"
    assert "image/png" in tiny.path(f"chapters/{name}.ipynb").read_text()
