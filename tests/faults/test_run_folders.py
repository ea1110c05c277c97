"""Damaged run folders: what a run is, is checked when it is opened; what it is not, may be missing."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plm_core.training.checkpoints.directory import BEST, WEIGHTS, complete
from tests.faults.harness import failures, nothing_changes, plm

VALUES = [None, True, -1, 0, 10**12, 1e300, "x", "", "../..", "\0", [], {}, [None], {"a": {}}]
"""What may stand in the place of any value in a JSON file."""


def damages(content: bytes, draw: random.Random) -> Iterator[tuple[str, bytes]]:
    """Damaged versions of a file, none of which is the file itself."""
    size = len(content)
    for length in {0, 1, size // 2, size - 1}:
        yield f"cut to {length}", content[:length]
    for _ in range(4):
        place = draw.randrange(size)
        yield f"byte {place}", content[:place] + bytes([content[place] ^ draw.randrange(1, 256)]) + content[place + 1 :]
    yield "more at the end", content + b"\n\0"
    yield "bytes that are no text", b"\xff\xfe" * 40
    yield "deep nesting", b"[" * 100_000
    yield "another value", b"3"


def all_damages(name: str, content: bytes, draw: random.Random) -> list[tuple[str, bytes]]:
    """Damaged versions of a file; of JSON also those that are still JSON."""
    if not name.endswith(".json"):
        return list(damages(content, draw))
    made = [*damages(content, draw), *json_damages(content, draw)]
    return [(what, damaged) for what, damaged in made if not same_json(damaged, content)]


def same_json(one: bytes, other: bytes) -> bool:
    """Whether two files hold the same JSON: damage to white space is none."""
    try:
        return bool(json.loads(one) == json.loads(other)) and one.count(b'"') == other.count(b'"')
    except (ValueError, RecursionError):
        return False


def json_damages(content: bytes, draw: random.Random) -> Iterator[tuple[str, bytes]]:
    """Versions of a JSON file in which one value is another, one key is missing, or one key is given twice."""
    paths = list(places(json.loads(content)))
    for path in draw.sample(paths, min(8, len(paths))):
        for value in draw.sample(VALUES, 2):
            changed = json.loads(content)
            holder = changed
            for key in path[:-1]:
                holder = holder[key]
            if type(holder[path[-1]]) is type(value) and holder[path[-1]] == value:
                continue
            holder[path[-1]] = value
            yield f"{path} = {value!r}", json.dumps(changed).encode()
    yield "a key given twice", content.replace(b"{", b'{"program": 1, "program": 2, "format": 1, "format": 1, ', 1)


def places(value: object, path: tuple = ()) -> Iterator[tuple]:
    """The path to every value in nested objects and lists."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(inner, (*path, key))


def replacements(path: Path, user: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Things that are no regular file, in a file's place."""
    yield "missing", lambda: None
    yield "a folder", path.mkdir
    yield "a pipe", lambda: os.mkfifo(path)
    yield "a link to nowhere", lambda: path.symlink_to(user / "outside" / "nothing")
    yield "a link to another file", lambda: path.symlink_to(user / "outside" / "diary.txt")
    yield "a link to itself", lambda: path.symlink_to(path)


def parts(run: Path) -> list[str]:
    """The files without which a run is another one, or none: those that its marker lists, and the best checkpoint's."""
    best = complete(run, BEST)[-1]
    listed = json.loads((run / "run.json").read_text())["files"]
    return ["run.json", *listed, *(str((best / name).relative_to(run)) for name in (WEIGHTS,))]


@pytest.mark.parametrize("command", ["generate", "compress"])
def test_a_damaged_part_of_a_run_is_refused(
    command: str, causal: Path, copy_of: Callable[[Path], Path], user: Path, tmp_path: Path
) -> None:
    draw, told, run = random.Random(0), [], copy_of(causal)
    rest = ["--max-new-tokens", "1"] if command == "generate" else ["--output", tmp_path / "new", "--method", "prune"]
    for name in parts(causal):
        path, content = run / name, (causal / name).read_bytes()
        changes = all_damages(name, content, draw)
        for what, damaged in changes if command == "generate" else changes[::6]:
            path.write_bytes(damaged)
            with nothing_changes(tmp_path):
                told.append((f"{name}: {what}", plm(command, run, *rest).complaint))
        for what, replace in replacements(path, user):
            path.unlink()
            replace()
            with nothing_changes(tmp_path):
                told.append((f"{name}: {what}", plm(command, run, *rest).complaint))
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
            path.write_bytes(content)
    assert plm("generate", run, "--max-new-tokens", "1").code == 0, "the copy should be whole again"
    assert len(told) > 30
    assert not failures(told), failures(told)


def test_what_is_no_part_of_a_run_may_be_missing(causal: Path, copy_of: Callable[[Path], Path]) -> None:
    run = copy_of(causal)
    keep = {Path(name).parts[0] for name in parts(causal)}
    for path in run.iterdir():
        if path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert plm("generate", run, "--max-new-tokens", "1").code == 0


def test_a_damaged_state_is_refused_by_resume_or_an_older_one_is_taken(
    causal: Path, copy_of: Callable[[Path], Path], user: Path, tmp_path: Path
) -> None:
    """Every file of the folder in turn, checkpoints and logs included: exit 0 only where the run can go on."""
    draw, told, run = random.Random(1), [], copy_of(causal)
    config = tmp_path / "config.yaml"
    shutil.copy(causal / "config.yaml", config)
    files = sorted(str(path.relative_to(causal)) for path in causal.rglob("*") if path.is_file())
    for name in files:
        for what, damaged in list(damages((causal / name).read_bytes() or b"x", draw))[draw.randrange(6) :: 6]:
            run = copy_of(causal)
            (run / name).write_bytes(damaged)
            with nothing_changes(user):
                done = plm("train", config, f"output={run}", "--resume")
            told.append((f"{name}: {what}", "" if done.code == 0 else done.complaint))
    assert not failures(told), failures(told)
