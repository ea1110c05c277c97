"""``precision: auto`` asks the processor, measures once, says why; notebooks never measure."""

import pytest
import torch

from plm_core.runtime import setup
from plm_core.training import arithmetic
from plm_core.training.arithmetic import choose_arithmetic, measured_speedup

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("PLM_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def pretend(monkeypatch, *, units, speedup):
    measured = []

    def measure(width):
        measured.append(width)
        return speedup

    monkeypatch.setattr(arithmetic, "bf16_units", lambda: units)
    monkeypatch.setattr(arithmetic, "measured_speedup", measure)
    return measured


def test_a_processor_without_units_is_not_measured(monkeypatch):
    measured = pretend(monkeypatch, units="", speedup=9.0)
    chosen = choose_arithmetic("auto", CPU, width=256)
    assert str(chosen) == "fp32 (this processor has no bf16 units)"
    assert not measured


@pytest.mark.parametrize(("speedup", "precision"), [(2.3, "bf16"), (1.1, "fp32"), (0.4, "fp32")])
def test_the_measurement_decides_and_is_reported(monkeypatch, speedup, precision):
    pretend(monkeypatch, units="AMX", speedup=speedup)
    chosen = choose_arithmetic("auto", CPU, width=384)
    assert chosen.precision == precision
    assert f"{speedup} times" in chosen.reason
    assert "width 384" in chosen.reason
    assert "AMX" in chosen.reason


def test_each_width_is_measured_once_on_a_machine(monkeypatch, data_folder):
    measured = pretend(monkeypatch, units="AMX", speedup=2.0)
    for width in (256, 384, 256, 384):
        choose_arithmetic("auto", CPU, width=width)
    assert measured == [256, 384]
    for damage in ("", "[1]", '{"a": "b"}'):
        (data_folder / "bf16_speedup.json").write_text(damage)
        assert choose_arithmetic("auto", CPU, width=256).precision == "bf16"


def test_a_folder_that_cannot_be_written_does_not_stop_the_choice(monkeypatch, data_folder):
    data_folder.write_text("a file where the folder should be")
    pretend(monkeypatch, units="AMX", speedup=2.0)
    assert choose_arithmetic("auto", CPU, width=256).precision == "bf16"


def test_a_configured_precision_stays(monkeypatch):
    measured = pretend(monkeypatch, units="AMX", speedup=9.0)
    assert choose_arithmetic("fp32", CPU, width=256).precision == "fp32"
    assert choose_arithmetic("bf16", CPU, width=256).precision == "bf16"
    assert not measured
    with pytest.raises(ValueError, match="unknown precision"):
        choose_arithmetic("fp8", CPU, width=256)


def test_notebooks_compute_in_fp32_on_every_cpu(monkeypatch):
    measured = pretend(monkeypatch, units="AMX", speedup=9.0)
    assert setup(device="cpu").precision == "fp32"
    assert not measured


def test_a_measurement_is_a_positive_ratio_and_draws_no_random_number():
    state = torch.get_rng_state()
    assert measured_speedup(32) > 0
    assert torch.equal(torch.get_rng_state(), state)
