"""The harness: turns, warm-up, threads, rows from models and tasks, memory, and a table and a plot that show them."""

from __future__ import annotations

import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from plm_core.evaluation.benchmark import (
    Candidate,
    Row,
    Timing,
    file_bytes,
    measure,
    plot,
    stored_numbers,
    table,
    time_in_turns,
)
from plm_core.evaluation.memory import peak_memory
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.gpt import Gpt, GptConfig

MIB = 2**20


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
    assert fast.quartiles == (1.5, 3.0)


TIMES = st.lists(st.floats(1e-4, 10), min_size=2, max_size=12).map(tuple)


@given(TIMES, st.integers(1, 10_000), st.floats(0.1, 10))
def test_rates_and_ratios_follow_from_the_times(seconds, tokens, factor):
    row = Row("a", 1, 1, Timing(seconds), Timing(seconds), tokens)
    low, high = row.throughput_quartiles
    assert low <= row.throughput * (1 + 1e-9)
    assert row.throughput <= high * (1 + 1e-9)
    assert row.throughput == pytest.approx(tokens / statistics.median(seconds))
    slower = Timing(tuple(factor * second for second in seconds))
    assert Timing(seconds).speedup_over(slower) == pytest.approx(factor)
    assert slower.speedup_over(slower) == 1.0


def test_stored_numbers_and_bytes_count_every_tensor_and_file_once(tmp_path):
    model = Gpt(GptConfig(vocab_size=11, hidden_size=8, num_attention_heads=2, intermediate_size=8))
    assert stored_numbers(model) == sum(parameter.numel() for parameter in model.parameters())
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a").write_bytes(b"123")
    (tmp_path / "m" / "b").write_bytes(b"4567")
    assert file_bytes(tmp_path / "m") == 7
    assert file_bytes(tmp_path / "m" / "a") == 3
    with pytest.raises(FileNotFoundError, match="nothing at"):
        file_bytes(tmp_path / "c")


def bert(layers: int) -> Bert:
    torch.manual_seed(0)
    return Bert(BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=layers, intermediate_size=32))


def test_a_model_and_its_task_make_a_row(tmp_path):
    mask = torch.arange(6) < torch.tensor([[6], [4], [1]])
    many = {"input_ids": torch.ones(3, 6, dtype=torch.long), "attention_mask": mask}
    one = {name: tensor[:1] for name, tensor in many.items()}
    asked: list[tuple[str, bool, int]] = []
    found: dict[str, Candidate] = {}
    for number, name in enumerate(("large", "small")):
        (tmp_path / name).write_bytes(b"x" * (10 + number))

        def quality(model: nn.Module, name: str = name) -> dict[str, float]:
            asked.append((name, model.training, torch.get_num_threads()))
            return {"blocks": float(len(model.encoder.stack.layers))}

        found[name] = Candidate(bert(2 - number).train(), tmp_path / name, one, many, quality)
    rows = measure(found, rounds=4, threads=1, memory=False)
    assert asked == [("large", False, 1), ("small", False, 1)]
    assert [(row.name, row.bytes, row.tokens, row.quality) for row in rows] == [
        ("large", 10, 11, {"blocks": 2.0}),
        ("small", 11, 11, {"blocks": 1.0}),
    ]
    assert [len(row.latency.seconds) for row in rows] == [4, 4]
    assert [len(row.batch.seconds) for row in rows] == [2, 2]
    assert rows[0].parameters == stored_numbers(bert(2)) > rows[1].parameters
    assert rows[0].memory is None


def test_unequal_threads_are_refused(tmp_path):
    (tmp_path / "m").write_bytes(b"x")
    model = bert(1)
    ids = {"input_ids": torch.ones(1, 2, dtype=torch.long)}
    candidate = Candidate(model, tmp_path / "m", ids, ids, lambda model: {})
    model.threads = 3
    with pytest.raises(ValueError, match="m was opened with 3 threads, the others run with 1"):
        measure({"m": candidate}, threads=1)
    with pytest.raises(ValueError, match="at least one model"):
        measure({})


def test_memory_is_what_a_fresh_process_needs():
    """Of models and requests whose bytes are known; a request that follows another is not added to it."""
    held, wide = nn.Linear(4, 8 * MIB // 4, bias=False), nn.ConstantPad1d((0, 16 * MIB), 1.0)
    assert held.weight.nbytes == 32 * MIB
    plain, weights, once, twice = (
        peak_memory(model, {"input": torch.zeros(1, 4)}, threads=1) / MIB
        for model in (nn.Linear(4, 4), held, wide, nn.Sequential(wide, nn.AdaptiveAvgPool1d(4), wide))
    )
    assert 40 - 4 <= weights - plain <= 40 + 8  # 32 of weights, 8 of the answer
    assert 64 - 4 <= once - plain <= 64 + 8
    assert 64 - 4 <= twice - plain <= 64 + 8


def test_a_model_that_cannot_be_measured_is_named():
    ids = {"input_ids": torch.zeros(1, 1, dtype=torch.long)}
    model = bert(1)
    model.hook = lambda: None  # nothing that another process could import
    with pytest.raises(ValueError, match="a Bert cannot be sent to another process"):
        peak_memory(model, ids)
    with pytest.raises(ValueError, match="could not be measured: ValueError: input_ids holds 99"):
        peak_memory(bert(1), {"input_ids": torch.full((1, 2), 99)})


def rows() -> list[Row]:
    quick, slow = Timing((0.1, 0.1, 0.1)), Timing((0.2, 0.4, 0.2))
    return [
        Row("teacher", 100, 400, slow, slow, 200, {"accuracy": 0.5}, 3 * MIB),
        Row("student", 25, 100, quick, quick, 200, {"accuracy": 0.4, "loss": 1.0}),
    ]


def test_the_table_is_relative_to_its_reference():
    head, teacher, student = table(rows(), "teacher").splitlines()
    assert head.split()[:3] == ["model", "parameters", "bytes"]
    assert teacher.split()[:5] == ["teacher", "100", "400", "1.00", "3"]
    assert student.split()[:4] == ["student", "25", "100", "0.25"]
    assert "100.00 (100.00 to 100.00)  2.00       2,000 (2,000 to 2,000)" in student
    assert student.split()[-2:] == ["0.400", "1.000"]
    with pytest.raises(ValueError, match="no row is called 'x'"):
        table(rows(), "x")
    with pytest.raises(ValueError, match="at least 2 rounds"):
        time_in_turns({}, rounds=1)


def test_the_plot_shows_every_model_in_both_panels(tmp_path):
    figure = plot(rows())
    sizes, times = figure.axes
    assert [line.get_xdata()[0] * MIB for line in sizes.lines] == [400, 100]
    assert [line.get_ydata()[0] for line in sizes.lines] == [0.5, 0.4]
    assert sizes.get_ylabel() == "accuracy"
    assert [bars.lines[0].get_xdata()[0] for bars in times.containers] == [200, 100]
    assert len({line.get_marker() for line in sizes.lines}) == 2  # told apart without colour too
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["teacher", "student"]
    plot(rows(), tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    for task in ("loss", "bleu"):
        with pytest.raises(ValueError, match=f"no quality {task} that all rows have"):
            plot(rows(), task=task)
    with pytest.raises(ValueError, match="no quality that all rows have"):
        plot([])
