"""The teachers of the chapters on compression: their tasks, and the files that keep them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from plm_chapters.experiments import teachers
from plm_chapters.experiments.teachers import KINDS, Task
from plm_core.data.labels import IGNORE
from plm_core.storyworld_v1.tasks import MOODS


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A few steps on a few stories, kept in a folder of the test."""
    monkeypatch.setenv("PLM_DATA_DIR", str(tmp_path))
    monkeypatch.setitem(teachers.STORIES, "laptop", 40)
    monkeypatch.setitem(teachers.STEPS, "laptop", {"causal": 2, "masked": 2, "mood": 2})
    monkeypatch.setitem(teachers.SHAPE, "hidden_size", 32)
    teachers.trained.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
def test_a_teacher_is_trained_once_and_then_read_from_its_file(
    kind: teachers.Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Task(kind).teacher(0)
    teachers.trained.cache_clear()
    monkeypatch.setattr(teachers, "train", lambda *_, **__: pytest.fail("trained again"))
    again = Task(kind).teacher(0)
    for name, tensor in first.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0, atol=0)
    assert not first.training
    assert not again.training
    assert all(path.suffix == ".safetensors" for path in (tmp_path / "teachers").iterdir())


def test_every_call_gives_a_copy_of_its_own() -> None:
    task = Task("causal")
    first = task.teacher(0)
    with torch.no_grad():
        next(first.parameters()).zero_()
    assert next(task.teacher(0).parameters()).abs().sum() > 0


def test_seeds_give_different_teachers() -> None:
    a, b = (next(Task("causal").teacher(seed).parameters()) for seed in (0, 1))
    assert not torch.equal(a, b)


def test_no_text_of_the_mood_task_says_the_mood() -> None:
    words = {teachers.tokenizer().encode(word)[0] for word in (*MOODS, "happy", "lonely", "furious")}
    for batch in Task("mood").test:
        assert not words & set(batch["input_ids"].flatten().tolist())
        assert int(batch["labels"].max()) < len(MOODS)


def test_splits_share_no_story() -> None:
    told = [teachers.causal_rows(split, 30) for split in ("train", "valid", "test")]
    rows = [tuple(row) for part in told for row in part]
    assert len(set(rows)) == len(rows)


def test_held_out_gaps_are_the_same_every_time_and_fifteen_in_a_hundred() -> None:
    first, again = Task("masked").held_out("test"), Task("masked").held_out("test")
    assert all(torch.equal(a["labels"], b["labels"]) for a, b in zip(first, again, strict=True))
    chosen = sum(int((batch["labels"] != IGNORE).sum()) for batch in first)
    real = sum(int(batch["attention_mask"].sum()) - 2 * len(batch["labels"]) for batch in first)
    assert chosen / real == pytest.approx(0.15, abs=0.01)


def test_bits_per_character_follow_from_the_loss() -> None:
    task = Task("causal")
    found = task.measure(task.new_model().eval())
    assert found["quality"] == pytest.approx(found["nats"] * task.bits)
    assert 0.2 < task.bits < 0.5  # a word and its space are four or five characters, a nat 1.44 bits


def test_a_loss_of_quality_is_positive_whichever_way_is_better() -> None:
    assert Task("causal").lost(0.33, 0.30) == pytest.approx(0.1)
    assert Task("masked").lost(0.63, 0.70) == pytest.approx(0.1)


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(ValueError, match="use one of causal, masked, mood"):
        Task("sound")  # type: ignore[arg-type]
