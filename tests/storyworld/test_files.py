"""The corpus as files: what is written can be read back, is what the tasks give, and overwrites nothing."""

import json

import pytest

from plm_core.cli import main
from plm_core.storyworld import IdealReader, StoryWorld
from plm_core.storyworld.files import TASKS, dials_of, examples, in_language, write_tasks
from plm_core.storyworld.questions import questions


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_task_is_written_as_json_and_stories_as_lines(tmp_path, language):
    world = StoryWorld(language=language)
    paths = write_tasks(tmp_path / "new", world, TASKS, 4)
    assert {path.name for path in paths} == {"stories.txt", *(f"{task}.jsonl" for task in TASKS)}
    lines = (tmp_path / "new" / "stories.txt").read_text(encoding="utf-8").splitlines()
    assert lines == [story.text for story in world.stories(0, "train", 4)]
    for task in TASKS:
        found = rows(tmp_path / "new" / f"{task}.jsonl")
        assert len(found) == 4 if task != "probes" else len(found) > 4
        for row in found:
            if "ideal" in row and task != "tags":
                labels = [label for label, _ in row["ideal"]]
                assert row["label"] in labels
                assert sum(probability for _, probability in row["ideal"]) == pytest.approx(1)
    for row, story in zip(rows(tmp_path / "new" / "stories.jsonl"), world.stories(0, "train", 4), strict=True):
        assert [word for sentence in row["sentences"] for word in sentence["words"]] == story.words[:-1]
        assert IdealReader(world).cursor(story.words[:-1]).moods()[row["mood"]] == pytest.approx(1)


def test_the_rows_are_the_examples_of_the_task():
    world = StoryWorld()
    for row, question in zip(examples("questions", world, 6), questions(world, 6), strict=True):
        assert (row["context"], row["asked"], row["label"]) == (question.context, question.asked, list(question.label))
        assert row["start"] == question.start


def test_a_world_in_the_other_language_has_the_same_dials():
    world = StoryWorld("full", sentences=(9, 11), people=5, things=4, distractors=0.1, delay=1, names="seen")
    assert in_language(world, "zh").dials == world.dials
    assert StoryWorld("full", **dials_of(world)).dials == world.dials


def test_tasks_can_be_added_to_the_same_stories_and_nothing_is_overwritten(tmp_path):
    world = StoryWorld()
    write_tasks(tmp_path, world, ["moods"], 3)
    assert [path.name for path in write_tasks(tmp_path, world, ["tags"], 3)] == ["tags.jsonl"]
    with pytest.raises(FileExistsError, match=r"moods\.jsonl exists already"):
        write_tasks(tmp_path, world, ["moods"], 3)
    with pytest.raises(FileExistsError, match="holds examples of other stories"):
        write_tasks(tmp_path, world, ["relations"], 3, seed=1)


def test_the_command_writes_the_stories_of_its_corpus_and_dials(tmp_path, capsys):
    folder = tmp_path / "data"
    options = ["--corpus", "storyworld-small-zh", "--dial", "people=4", "--dial", "sentences=[20,22]"]
    command = ["data", "storyworld", str(folder), "--task", "questions", "--task", "tags", "--count", "3", *options]
    assert main([*command, "--split", "test"]) == 0
    assert capsys.readouterr().out.split() == [
        str(folder / name) for name in ("stories.txt", "questions.jsonl", "tags.jsonl")
    ]
    about = json.loads((folder / "world.json").read_text(encoding="utf-8"))
    assert (about["language"], about["people"], about["sentences"], about["split"]) == ("zh", 4, [20, 22], "test")
    assert len(rows(folder / "questions.jsonl")) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "riddles"], "unknown task 'riddles': there are stories, moods"),
        (["--count", "0"], "must be at least 1"),
        (["--task", "tags", "--count", "0"], "must be at least 1"),
        (["--corpus", "storyworld-v1-small-en"], "not to its first version"),
        (["--corpus", "text8"], "StoryWorlds are storyworld-"),
        (["--dial", "peple=4"], "did you mean 'people'"),
        (["--dial", "people"], "expected key=value"),
        (["--dial", "people=40"], "people must be 3 to 6"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(tmp_path, capsys, arguments, message):
    assert main(["data", "storyworld", str(tmp_path / "data"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
