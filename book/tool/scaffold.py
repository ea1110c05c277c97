"""Start a chapter: text, exercises with their checks, experiment, and the entry in the table of contents."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import yaml

from book.tool.chapters import BookError, find_chapters, setup_block, write_atomically
from book.tool.experiment import run_experiment
from book.tool.toc import MAP, TOC, Entry, read_map

TEMPLATES = Path(__file__).parent / "templates"
LEVELS = ["★", "★", "★★", "★★", "★★★"]


def new_chapter(root: Path, name: str) -> list[Path]:
    """Write everything that a chapter consists of, so that it runs, builds and passes the check as it is.

    Args:
        root: the repository.
        name: ``NN_name``, as ``book/map.yml`` has it.

    Returns:
        The files written.

    Raises:
        BookError: the name is not one of the map, or files of that name exist.
    """
    entry = _planned(root, name)
    files = chapter_files(root, entry)
    if present := [each for each in files if (root / each).exists()]:
        raise BookError(f"{', '.join(present)} already there: choose another name, or delete what is to be replaced")
    contents = with_chapter((root / TOC).read_text(encoding="utf-8"), entry, [each.part for each in read_map(root)])
    for path, text in files.items():
        write_atomically(root / path, text)
        print(f"wrote {path}")
    write_atomically(root / TOC, contents)
    print(f"added chapters/{name} to {TOC}, part {entry.part}")
    run_experiment(root, name)  # the chapter shows its results
    print(f"Next: edit chapters/{name}.md, then python -m book execute {name} and python -m book check {name}")
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


def _planned(root: Path, name: str) -> Entry:
    """The map's entry for a name."""
    if not re.fullmatch(r"(\d\d|A\d)_[a-z][a-z0-9_]*", name):
        raise BookError(f"{name!r} is not a chapter's name: two digits, _ and lower-case words, as in 11_curriculum")
    if any(chapter.name == name for chapter in find_chapters(root)):
        raise BookError(f"chapter {name} is already there: edit chapters/{name}.md")
    entries = {entry.name: entry for entry in read_map(root)}
    if name in entries:
        return entries[name]
    same = [each for each in entries if each.startswith(name.partition("_")[0] + "_")]
    near = same or difflib.get_close_matches(name, entries, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise BookError(f"{name} is not on the map of the book.{hint} Add its title and line to {MAP} first")


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
