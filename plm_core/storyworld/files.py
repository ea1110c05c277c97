"""The corpus as files: stories as lines of text, and the examples of every task as JSON, one object a line.

An object holds the fields of the example as the task's own module documents them. Texts are lists of words; ``ideal``,
the ideal reader's distribution of labels, is a list of pairs ``[label, probability]``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from plm_core.storyworld.causal_probes import causal_probes
from plm_core.storyworld.entailment import entailments
from plm_core.storyworld.pairs import next_sentences, parallel, sentence_orders
from plm_core.storyworld.probes import probes
from plm_core.storyworld.questions import questions
from plm_core.storyworld.tasks import moods, relations, summaries, tags
from plm_core.storyworld.world import Story, StoryWorld

WORLD_FILE = "world.json"
"""Records the world, the seed and the split of the examples in a folder."""

Make = Callable[[StoryWorld, int, int, str], Iterable[Any]]


def _stories(world: StoryWorld, count: int, seed: int, split: str) -> Iterator[dict[str, Any]]:
    for story in world.stories(seed, split, count):
        sentences = [{"words": each.words, "event": each.event[0], "planned": each.planned} for each in story.sentences]
        yield {"text": story.text, "sentences": sentences, "goal": story.goal, "mood": story.fate, "told": story.told}


def _translations(world: StoryWorld, count: int, seed: int, split: str) -> Iterator[dict[str, Any]]:
    for pair in parallel(in_language(world, "en"), in_language(world, "zh"), count, seed=seed, split=split):
        yield {story.world.language: [sentence.words for sentence in story.sentences] for story in pair}


TASKS: dict[str, Make] = {
    "stories": _stories,
    "moods": lambda world, count, seed, split: moods(world, count, seed=seed, split=split),
    "tags": lambda world, count, seed, split: tags(world.stories(seed, split, count)),
    "relations": lambda world, count, seed, split: relations(world, count, seed=seed, split=split),
    "summaries": lambda world, count, seed, split: summaries(world, count, seed=seed, split=split),
    "questions": lambda world, count, seed, split: questions(world, count, seed=seed, split=split),
    "beliefs": lambda world, count, seed, split: questions(world, count, seed=seed, split=split, about="belief"),
    "reasons": lambda world, count, seed, split: questions(world, count, seed=seed, split=split, about="reason"),
    "translations": _translations,
    "next-sentences": lambda world, count, seed, split: next_sentences(world, count, seed=seed, split=split),
    "sentence-orders": lambda world, count, seed, split: sentence_orders(world, count, seed=seed, split=split),
    "entailments": lambda world, count, seed, split: entailments(world, count, seed=seed, split=split),
    "probes": lambda world, count, seed, split: probes(world.stories(seed, split, count)),
    "causal-locations": lambda world, count, seed, split: causal_probes(world, count, seed=seed, split=split),
    "causal-beliefs": lambda world, count, seed, split: causal_probes(
        world, count, seed=seed, split=split, about="belief"
    ),
}
"""What makes the examples of each task, by its name. For ``probes`` the count is one of stories, else of examples."""


def dials_of(world: StoryWorld) -> dict[str, Any]:
    """The arguments of a world beside lexicon and language."""
    limits = world.limits
    return {
        "sentences": (limits.earliest, limits.latest), "people": world.people, "things": world.things,
        "distractors": limits.happenings, "hidden_goals": world.hidden_goals, "revealed_goals": limits.revealed,
        "obstacles": limits.obstacles, "delay": limits.delay, "names": world.names_part,
        "combinations": world.combinations,
    }  # fmt: skip


def in_language(world: StoryWorld, language: str) -> StoryWorld:
    """The world with the same dials in a language."""
    return StoryWorld(world.size, language, **dials_of(world))


def examples(task: str, world: StoryWorld, count: int, *, seed: int = 0, split: str = "train") -> Iterator[Any]:
    """The examples of a task as values that JSON can hold.

    Args:
        task: one of :data:`TASKS`.
        world: the world.
        count: number of examples (of stories, for ``"probes"``).
        seed, split: of the stories.

    Raises:
        ValueError: an unknown task or split.
    """
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}: there are {', '.join(TASKS)}")
    return map(plain, TASKS[task](world, count, seed, split))


def plain(value: Any) -> Any:
    """A value as JSON can hold it: dataclasses as objects, mappings from labels to probabilities as lists of pairs."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value) and not all(isinstance(each, float) for each in value.values()):
            return {key: plain(each) for key, each in value.items()}
        return [[plain(key), each] for key, each in value.items()]
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def write_tasks(
    folder: Path, world: StoryWorld, tasks: Iterable[str], count: int, *, seed: int = 0, split: str = "train"
) -> list[Path]:
    """Write ``stories.txt``, a story a line, and ``TASK.jsonl`` for each task, all about the same stories.

    Args:
        folder: the folder, which may exist; further tasks of the same stories can be added to it.
        world: the world.
        tasks: names out of :data:`TASKS`.
        count: number of stories and of examples of each task.
        seed, split: of the stories.

    Returns:
        The files that were written.

    Raises:
        FileExistsError: a file is there already, or the folder holds examples of other stories.
        ValueError: an unknown task, split or count.
    """
    if count < 1:
        raise ValueError(f"the count of examples must be at least 1, got {count}")
    made = {task: examples(task, world, count, seed=seed, split=split) for task in tasks}
    told: Iterator[Story] = world.stories(seed, split, count)
    source = {"seed": seed, "split": split, "count": count}
    about = {"lexicon": world.size, "language": world.language, **dials_of(world), **source}
    description = json.dumps(about, indent=1) + "\n"
    own, text = folder / WORLD_FILE, folder / "stories.txt"
    if own.exists() and own.read_text(encoding="utf-8") != description:
        raise FileExistsError(f"{folder} holds examples of other stories ({WORLD_FILE}): choose another folder")
    paths = {task: folder / f"{task}.jsonl" for task in made}
    for path in (*paths.values(), *([] if own.exists() else [text])):
        if path.exists():
            raise FileExistsError(f"{path} exists already: choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    own.write_text(description, encoding="utf-8")
    written = [] if text.exists() else [_write(text, (story.text for story in told))]
    for task, rows in made.items():
        written.append(_write(paths[task], (json.dumps(row, ensure_ascii=False) for row in rows)))
    return written


def _write(path: Path, lines: Iterable[str]) -> Path:
    """Write lines to a new file; one that could not be finished is not left behind."""
    try:
        with open(path, "x", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path
