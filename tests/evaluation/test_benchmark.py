"""The harness: turns, warm-up, threads, means over ragged batches, and a table that says what it compares with."""

from __future__ import annotations

import pytest
import torch

from plm_core.evaluation.benchmark import Row, Timing, file_bytes, stored_numbers, table, time_in_turns
from plm_core.models.gpt import Gpt, GptConfig


def test_calls_take_turns_after_the_warm_up_with_fixed_threads():
    calls: list[tuple[str, int]] = []
    before = torch.get_num_threads()
    candidates = {name: lambda name=name: calls.append((name, torch.get_num_threads())) for name in "ab"}
    timings = time_in_turns(candidates, rounds=3, warmup=2, threads=1)
    assert calls == [("a", 1), ("b", 1)] * 5
    assert {name: len(timing.seconds) for name, timing in timings.items()} == {"a": 3, "b": 3}
    assert torch.get_num_threads() == before


def test_a_speedup_is_the_median_of_ratios():
    fast, slow = Timing((1.0, 2.0, 4.0)), Timing((2.0, 8.0, 12.0))
    assert fast.speedup_over(slow) == 3.0
    assert fast.median == 2.0
    assert fast.quartiles == (1.0, 4.0)


def test_sizes(tmp_path):
    model = Gpt(GptConfig(vocab_size=11, hidden_size=8, num_attention_heads=2, intermediate_size=8))
    assert stored_numbers(model) == sum(parameter.numel() for parameter in model.parameters())
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a").write_bytes(b"123")
    (tmp_path / "m" / "b").write_bytes(b"4567")
    assert file_bytes(tmp_path / "m") == 7
    assert file_bytes(tmp_path / "m" / "a") == 3
    with pytest.raises(FileNotFoundError, match="nothing at"):
        file_bytes(tmp_path / "c")


def test_the_table_is_relative_to_its_reference():
    rows = [
        Row("teacher", 100, 400, Timing((0.2, 0.4, 0.2)), 1000.0, {"accuracy": 0.5}),
        Row("student", 25, 100, Timing((0.1, 0.1, 0.1)), 4000.0),
    ]
    text = table(rows, "teacher")
    assert text.splitlines()[0].split()[:2] == ["model", "bytes"]
    student = text.splitlines()[2]
    assert "0.25" in student
    assert "2.00" in student
    with pytest.raises(ValueError, match="no row is called 'x'"):
        table(rows, "x")
    with pytest.raises(ValueError, match="at least 2 rounds"):
        time_in_turns({}, rounds=1)
