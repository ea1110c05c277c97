"""Start a chapter: text, exercises with their checks, experiment, and its place in map, contents and package list."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Any

import yaml

from book.tool.chapters import BookError, find_chapters, setup_block, write_atomically
from book.tool.experiment import run_experiment
from book.tool.toc import MAP, TOC, Entry, read_map

PROJECT = "pyproject.toml"
TEMPLATES = Path(__file__).parent / "templates"
LEVELS = ["★", "★", "★★", "★★", "★★★"]


def new_chapter(
    root: Path, name: str, *, part: str | None = None, title: str | None = None, about: str | None = None
) -> list[Path]:
    """Write everything that a chapter consists of, so that it runs, builds and passes the check as it is.

    Args:
        root: the repository.
        name: ``NN_name``, as ``book/map.yml`` has it; for one that it does not have, the rest says what to add.
        part: the caption of the part that the chapter joins.
        title: the title.
        about: the line that the landing page says about it.

    Returns:
        The files written.

    Raises:
        BookError: the name is not one of the map and the rest is not given, or files of that name exist.
    """
    entry = _planned(root, name, part, title, about)
    files = chapter_files(root, entry)
    if present := [each for each in files if (root / each).exists()]:
        raise BookError(f"{', '.join(present)} already there: choose another name, or delete what is to be replaced")
    contents = with_chapter((root / TOC).read_text(encoding="utf-8"), entry, [each.part for each in read_map(root)])
    for path, text in files.items():
        write_atomically(root / path, text)
        print(f"wrote {path}")
    if entry not in read_map(root):
        write_atomically(root / MAP, with_entry((root / MAP).read_text(encoding="utf-8"), entry))
        print(f"added {name} to {MAP}, part {entry.part}")
    write_atomically(root / TOC, contents)
    print(f"added chapters/{name} to {TOC}, part {entry.part}")
    package = f"plm_chapters.checks.{name.partition('_')[2]}"
    project = root / PROJECT
    write_atomically(project, with_package(project.read_text(encoding="utf-8"), package))
    print(f"added {package} to the packages in {PROJECT}")
    run_experiment(root, name)  # the chapter shows its results
    print(f"Next: edit chapters/{name}.md; then python -m book execute {name}, classroom {name}, check {name}, html")
    return [root / path for path in files]


def chapter_files(root: Path, entry: Entry) -> dict[str, str]:
    """The files of a new chapter, by their paths in the repository."""
    name = entry.name
    topic = name.partition("_")[2]
    values = {
        "name": name,
        "number": name.partition("_")[0],
        "title": entry.title,
        "topic": topic,
        "setup": setup_block(root).rstrip(),
    }
    questions = []
    for n, stars in enumerate(LEVELS, 1):
        heading = "Predict, then run: twice a tensor" if n == 1 else f"Twice a tensor, number {n}"
        questions.append({"n": str(n), "stars": stars, "heading": heading} | values)
    wrong = [
        f'    {{\n        "question": "q{n}_double",\n        "mistake": "the square",\n        "score": 1,\n'
        f'        "message": "the square",\n        "code": "def double_{n}(x):\\n    return x**2\\n",\n    }},'
        for n in range(1, len(LEVELS) + 1)
    ]
    return {
        f"chapters/{name}.md": _fill("chapter.md", values),
        f"chapters/experiments/{name}.py": _fill("experiment.py", values),
        f"chapters/exercises/{name}.md": _fill(
            "exercises.md", values | {"questions": "\n".join(_fill("question.md", each) for each in questions).rstrip()}
        ),
        f"chapters/exercises/wrong/{name}.py": _fill("wrong.py", {"answers": "\n".join(wrong)}),
        f"chapters/checks/{topic}/__init__.py": f'"""Checks of the exercises of the chapter {entry.title}."""\n',
        f"chapters/checks/{topic}/basics.py": _fill(
            "checks.py", values | {"checks": "\n\n".join(_fill("check.py", each) for each in questions).rstrip()}
        ),
    }


def _planned(root: Path, name: str, part: str | None, title: str | None, about: str | None) -> Entry:
    """The map's entry for a name, or the one to add."""
    if not re.fullmatch(r"(\d\d|A\d)_[a-z][a-z0-9_]*", name):
        raise BookError(f"{name!r} is not a chapter's name: two digits, _ and lower-case words, as in 11_curriculum")
    if any(chapter.name == name for chapter in find_chapters(root)):
        raise BookError(f"chapter {name} is already there: edit chapters/{name}.md")
    entries = {entry.name: entry for entry in read_map(root)}
    if name in entries:
        if part or title or about:
            raise BookError(f"{name} is on the map already: edit {MAP}, and leave out --part, --title and --about")
        return entries[name]
    if part and title and about:
        parts = list(dict.fromkeys(entry.part for entry in entries.values()))
        if part not in parts:
            raise BookError(f"there is no part {part!r}. Parts: {', '.join(parts)}; a new one is written into {MAP}")
        return Entry(name, title, about, part)
    same = [each for each in entries if each.startswith(name.partition("_")[0] + "_")]
    near = same or difflib.get_close_matches(name, entries, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise BookError(
        f"{name} is not on the map of the book.{hint} Say what to add: --part, --title and --about, all three; "
        f"or edit {MAP} first"
    )


def with_entry(text: str, entry: Entry) -> str:
    """Return the map with a chapter in its part, in order; everything else stays to the letter."""
    lines = text.splitlines(keepends=True)
    heads = {i: yaml.safe_load(line)[0]["part"] for i, line in enumerate(lines) if line.startswith("- part:")}
    start = next(i for i, part in heads.items() if part == entry.part)
    end = next((i for i in range(start + 1, len(lines)) if lines[i].startswith("- ")), len(lines))
    named = {i: found[1] for i in range(start, end) if (found := re.match(r"    (\w+): ", lines[i]))}
    place = next((i for i, name in named.items() if name > entry.name), max(named, default=end - 1) + 1)
    title, about = (json.dumps(each, ensure_ascii=False) for each in (entry.title, entry.about))
    return "".join([*lines[:place], f"    {entry.name}: [{title}, {about}]\n", *lines[place:]])


def with_package(text: str, package: str) -> str:
    """Return the project file with a package in the list of packages, in order; everything else stays to the letter.

    Raises:
        BookError: the file has no list of packages, one a line.
    """
    block = re.search(r"^packages = \[\n((?:  \"[\w.]+\",\n)+)\]", text, re.MULTILINE)
    if block is None:
        raise BookError(f"{PROJECT} has no list `packages = [...]` with one package a line: add {package!r} by hand")
    listed = sorted({*block[1].splitlines(keepends=True), f'  "{package}",\n'})
    return text[: block.start(1)] + "".join(listed) + text[block.end(1) :]


def _fill(template: str, values: dict[str, str]) -> str:
    text = (TEMPLATES / f"{template}.template").read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"[[{key}]]", value)
    return text


class _Indented(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        return super().increase_indent(flow, False)


def with_chapter(text: str, entry: Entry, parts: list[str]) -> str:
    """Return the table of contents with a chapter in its part, in order; the comment at the top stays.

    Args:
        text: the table of contents.
        entry: the chapter.
        parts: captions of the book's parts, in order.
    """
    comment = re.match(r"(?:#.*\n)*", text)
    contents = yaml.safe_load(text)
    order = list(dict.fromkeys(parts))
    part = next((each for each in contents["parts"] if each["caption"] == entry.part), None)
    if part is None:
        part = {"caption": entry.part, "chapters": []}
        known = [order.index(each["caption"]) if each["caption"] in order else None for each in contents["parts"]]
        before = [place for place, rank in enumerate(known) if rank is not None and rank < order.index(entry.part)]
        place = before[-1] + 1 if before else next((i for i, rank in enumerate(known) if rank is not None), 1)
        contents["parts"].insert(place, part)
    part["chapters"].append({"file": f"chapters/{entry.name}"})
    part["chapters"].sort(key=lambda each: each["file"])
    dumped = yaml.dump(contents, Dumper=_Indented, sort_keys=False, allow_unicode=True, width=1000)
    return (comment.group() if comment else "") + dumped
