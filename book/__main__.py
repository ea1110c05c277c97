"""The command line of the book's build tool."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from book.tool.chapters import ROOT, BookError


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run one sub-command and return the exit code: 0, 1 (a gate or a chapter failed), 2 (bad input) or 130."""
    options = parser().parse_args(arguments)
    try:
        return int(globals()[f"_{options.command}"](options, root) or 0)
    except KeyboardInterrupt:
        return 130
    except BookError as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return error.exit_code
    except (ValueError, OSError) as error:
        if os.environ.get("PLM_DEBUG"):
            raise
        print(f"{options.command}: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(prog="python -m book", description="Build, check and extend the book.")
    commands = top.add_subparsers(dest="command", required=True)

    command = commands.add_parser("execute", help="run stale chapters and stamp what they used")
    command.add_argument("names", nargs="*", metavar="NAME", help="chapters, e.g. 05_attention or 05 (default: all)")
    command.add_argument("--force", action="store_true", help="run them whether stale or not")
    command.add_argument("--jobs", type=int, help="how many side by side (default: as many as there are cores)")
    command.add_argument("--preset", help="laptop or gpu (default: what the machine suggests)")

    command = commands.add_parser("check", help="the gate: pairs, stamps, numbers, alt texts, citations, exercises")
    command.add_argument("names", nargs="*", metavar="NAME", help="chapters (default: all)")

    commands.add_parser("html", help="build the site from the executed notebooks")

    command = commands.add_parser("classroom", help="build student notebooks, autograders and solutions")
    command.add_argument("names", nargs="*", metavar="NAME", help="chapters (default: all with exercises)")

    command = commands.add_parser("grade", help="grade a folder of submitted notebooks into a CSV with feedback")
    command.add_argument("folder", metavar="FOLDER", type=Path, help="the folder that holds the submissions (.ipynb)")
    command.add_argument("--output", type=Path, help="the CSV to write (default: FOLDER/grades.csv)")
    command.add_argument("--exercises", metavar="NAME", help="which were set, e.g. 05 (default: what each says)")
    command.add_argument("--jobs", type=int, help="how many side by side (default: as many as there are cores)")
    command.add_argument("--timeout", type=float, default=900, help="seconds for one submission (default: 900)")
    command.add_argument("--force", action="store_true", help="replace an output that exists")

    command = commands.add_parser("experiment", help="run a chapter's experiment with all its variants and seeds")
    command.add_argument("name", metavar="NN", help="the chapter's number or name, e.g. 05")
    command.add_argument("--preset", default="laptop", help="laptop (default) or gpu")
    command.add_argument("--jobs", type=int, help="how many runs side by side (default: as many as there are cores)")
    command.add_argument("--seeds", type=int, nargs="+", help="only these seeds (default: those of the script)")
    command.add_argument("--variants", nargs="+", metavar="NAME", help="only these variants (default: all)")
    command.add_argument("--partial", action="store_true", help="store what there is, although runs are missing")
    command.add_argument("--older", action="store_true", help="use finished runs although the library has changed")
    command.add_argument("--force", action="store_true", help="run again what is already there")

    command = commands.add_parser("new", help="start a chapter: text, exercises, experiment and place in the contents")
    command.add_argument("name", metavar="NAME", help="for example 11_curriculum")
    command.add_argument("--part", help="for a chapter that book/map.yml does not have yet: the part that it joins")
    command.add_argument("--title", help="its title")
    command.add_argument("--about", help="the line that the landing page says about it")
    return top


def _execute(options: argparse.Namespace, root: Path) -> None:
    from book.tool.execute import execute

    execute(root, options.names, force=options.force, jobs=options.jobs, preset=options.preset)


def _check(options: argparse.Namespace, root: Path) -> int:
    from book.tool.check import check

    return check(root, options.names)


def _html(options: argparse.Namespace, root: Path) -> None:
    from book.tool.site import build_site

    build_site(root)


def _classroom(options: argparse.Namespace, root: Path) -> None:
    from book.tool.classroom import build_classroom

    build_classroom(root, options.names or None)


def _grade(options: argparse.Namespace, root: Path) -> None:
    from book.tool.grading import grade_folder

    grade_folder(
        root, options.folder.resolve(), output=options.output, exercises=options.exercises,
        jobs=options.jobs, timeout=options.timeout, force=options.force,
    )  # fmt: skip


def _experiment(options: argparse.Namespace, root: Path) -> None:
    from book.tool.experiment import run_experiment

    run_experiment(
        root, options.name, preset=options.preset, jobs=options.jobs, seeds=options.seeds, variants=options.variants,
        partial=options.partial, older=options.older, force=options.force,
    )  # fmt: skip


def _new(options: argparse.Namespace, root: Path) -> None:
    from book.tool.scaffold import new_chapter

    new_chapter(root, options.name, part=options.part, title=options.title, about=options.about)


if __name__ == "__main__":
    sys.exit(main())
