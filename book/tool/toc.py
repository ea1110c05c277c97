"""The pages: ``book/_toc.yml`` (what is on the site) against ``book/map.yml`` (what the book will hold)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TOC = "book/_toc.yml"
MAP = "book/map.yml"


@dataclass(frozen=True)
class Entry:
    """A chapter as the map describes it.

    Attributes:
        name: ``NN_name``, the name of its files in ``chapters/``.
        title: as the landing page shows it.
        about: the line that says what it is about.
        part: the caption of its part.
    """

    name: str
    title: str
    about: str
    part: str

    @property
    def number(self) -> str:
        """The number of the chapter for people: ``5`` for ``05_attention``, ``A1`` for ``A1_storyworld``."""
        return self.name.split("_")[0].lstrip("0")


def read_map(root: Path) -> list[Entry]:
    """Read the map of the book, in order."""
    parts = yaml.safe_load((root / MAP).read_text(encoding="utf-8"))
    return [
        Entry(name, title, about, part["part"]) for part in parts for name, (title, about) in part["chapters"].items()
    ]


def read_toc(root: Path) -> dict[str, str]:
    """Read the table of contents: for every page without its suffix, the caption of its part (``""`` for the root)."""
    toc: dict[str, Any] = yaml.safe_load((root / TOC).read_text(encoding="utf-8"))
    pages = {toc["root"]: ""}
    for part in toc.get("parts", []):
        for entry in _files(part.get("chapters", [])):
            pages[entry] = part["caption"]
    return pages


def numbered_toc(root: Path) -> str:
    """The table of contents whose chapters carry their numbers in the sidebar: the title from the map, behind it."""
    toc: dict[str, Any] = yaml.safe_load((root / TOC).read_text(encoding="utf-8"))
    titles = {f"chapters/{entry.name}": f"{entry.number} {entry.title}" for entry in read_map(root)}
    for part in toc.get("parts", []):
        for entry in part.get("chapters", []):
            if entry["file"] in titles:
                entry["title"] = titles[entry["file"]]
    return yaml.safe_dump(toc, sort_keys=False, allow_unicode=True)


def _files(entries: list[dict[str, Any]]) -> list[str]:
    found = []
    for entry in entries:
        found += [os.path.splitext(entry["file"])[0] if entry["file"].endswith((".md", ".ipynb")) else entry["file"]]
        found += _files(entry.get("sections", []))
    return found


def toc_problems(root: Path) -> list[str]:
    """Say where table of contents, map and chapters disagree; each message tells what mends it."""
    pages = read_toc(root)
    planned = {entry.name: entry for entry in read_map(root)}
    listed = {page.removeprefix("chapters/"): part for page, part in pages.items() if page.startswith("chapters/")}
    executed = {path.stem for path in (root / "chapters").glob("*.ipynb")}
    problems = []
    for name in sorted(executed - set(listed)):
        part = planned[name].part if name in planned else "its part"
        problems.append(
            f"{TOC}: chapters/{name}.ipynb is on no page; add `- file: chapters/{name}` to the part {part!r}"
        )
    for name in sorted(set(listed) - executed):
        problems.append(
            f"{TOC}: there is no chapters/{name}.ipynb; run `python -m book execute {name}` or remove the entry"
        )
    for name, part in listed.items():
        if name not in planned:
            problems.append(f"{MAP}: chapter {name} is in {TOC} but not on the map; add its title and line")
        elif planned[name].part != part:
            problems.append(f"{TOC}: chapter {name} is in part {part!r}; {MAP} has it in {planned[name].part!r}")
    order = [entry.name for entry in read_map(root) if entry.name in listed]
    if order != [name for name in listed if name in planned]:
        problems.append(f"{TOC}: the chapters are out of order; {MAP} has them as {', '.join(order)}")
    for page in pages:
        if not page.startswith("chapters/") and not (root / f"{page}.md").is_file():
            problems.append(f"{TOC}: there is no {page}.md; write it or remove the entry")
    return problems
