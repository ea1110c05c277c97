"""Known hardware has its documented peak, and the log's operations a second and their share of it follow from it."""

import json
import signal

import pytest
import torch
from torch import nn

from plm_core.data.batch import real_tokens
from plm_core.data.batches import PackedBatches, PaddedBatches
from plm_core.evaluation.validation import validate
from plm_core.models.cost import flops_per_token
from plm_core.objectives.base import LossParts, Objective
from plm_core.runs.config import RunConfig
from plm_core.runs.open import Run
from plm_core.runs.pretrain import pretrain
from plm_core.runtime import PEAK_FLOPS, peak_flops
from plm_core.training.config import TrainConfig
from plm_core.training.interrupt import Interrupted
from plm_core.training.logs import SPEED_FILE, rates_of, read_metrics
from plm_core.training.progress import Running
from plm_core.training.trainer import Trainer
from tests.tiny_text import TINY_TEXT

GPU, CPU = torch.device("cuda"), torch.device("cpu")
COST = 1234.5


@pytest.fixture
def named(monkeypatch):
    """Give the GPU a name, as torch reports it."""

    def name(text):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: text)

    return name


@pytest.mark.parametrize(
    ("name", "fp32", "half"),
    [
        ("Tesla T4", 8.1e12, 65e12),
        ("Tesla V100-SXM2-16GB", 15.7e12, 125e12),
        ("NVIDIA A10", 31.2e12, 125e12),
        ("NVIDIA A100-SXM4-40GB", 19.5e12, 312e12),
        ("NVIDIA A100 80GB PCIe", 19.5e12, 312e12),
        ("NVIDIA L4", 30.3e12, 121e12),
        ("NVIDIA L40S", 91.6e12, 362e12),
        ("NVIDIA GeForce RTX 3090", 35.6e12, 71e12),
        ("NVIDIA GeForce RTX 4090", 82.6e12, 165.2e12),
        ("NVIDIA H100 PCIe", 51e12, 756e12),
        ("NVIDIA H100 80GB HBM3", 67e12, 989e12),
        ("NVIDIA H200", 67e12, 989e12),
    ],
)
def test_known_hardware_has_its_data_sheets_number(named, name, fp32, half):
    named(name)
    assert peak_flops(GPU, "fp32") == fp32
    assert peak_flops(GPU, "fp16") == half
    before_ampere = name.startswith("Tesla")
    assert peak_flops(GPU, "bf16") == (None if before_ampere else half), "bf16 is emulated there, at no stated rate"


@pytest.mark.parametrize(
    "name",
    [
        *("AMD Instinct MI300X", "NVIDIA A10G", "NVIDIA L40", "NVIDIA RTX A6000", "Quadro RTX 6000", "", "NVIDIA"),
        # Other products, or a part of one, whose name holds a known one's.
        *("NVIDIA GeForce RTX 3090 Ti", "NVIDIA GeForce RTX 4090 D", "NVIDIA GeForce RTX 4090 Laptop GPU"),
        *("NVIDIA H100 NVL", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA A100-SXM4-40GB MIG 3g.20gb"),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_peak_of_unknown_hardware_is_unknown(named, name, precision):
    named(name)
    assert peak_flops(GPU, precision) is None


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_peak_of_a_cpu_is_unknown(precision):
    assert peak_flops(CPU, precision) is None


def test_less_precision_is_never_slower():
    assert all(rate["fp32"] <= min(rate.values()) for rate in PEAK_FLOPS.values())


def test_rates_and_utilisation_follow_from_tokens_seconds_and_peak():
    rates = rates_of(600, 2.0, flops_per_token=1e6, peak=1e9)
    assert rates == {"tokens_per_second": 300.0, "seconds": 2.0, "flops_per_second": 3e8, "mfu": 0.3}
    assert "flops_per_second" not in rates_of(600, 2.0, peak=1e9), "the cost of a token is not known"
    assert "mfu" not in rates_of(600, 2.0, flops_per_token=1e6), "the hardware is not known"


class Regression(Objective):
    """The squared error of one number a row."""

    name = "regression"

    def inputs(self, batch):
        return {"input": batch["x"]}

    def score(self, output, batch):
        return LossParts((output - batch["x"].sum(1, keepdim=True)).square().sum(), len(output))

    def count(self, batch):
        return len(batch["x"])


class Source:
    """Rows with padding: 5, 6, 7 or 8 real tokens a batch. It can stop the run when a batch is asked for."""

    def __init__(self, stop=None):
        self.stop = stop

    def batch(self, index):
        if index == self.stop:
            signal.raise_signal(signal.SIGTERM)
        mask = torch.ones(2, 4, dtype=torch.bool)
        mask[1, 1 + index % 4 :] = False
        x = torch.randn(2, 3, generator=torch.Generator().manual_seed(index))
        return {"x": x, "input_ids": mask.long(), "attention_mask": mask}


def tokens_of(batches):
    return sum(int(Source().batch(index)["attention_mask"].sum()) for index in batches)


def make_trainer(folder, *, source=None, cost=COST):
    torch.manual_seed(0)
    config = TrainConfig(steps=8, micro_batches=2, warmup_steps=0, log_every=3, save_every=8)
    return Trainer(
        nn.Linear(3, 1), Regression(), source or Source(), config, folder=folder, flops_per_token=cost, quiet=True
    )


def speeds(folder):
    return [json.loads(line) for line in (folder / SPEED_FILE).read_text(encoding="utf-8").splitlines()]


def timed_tokens(record):
    """The tokens that a record's rate is about."""
    return round(record["tokens_per_second"] * record["seconds"])


@pytest.mark.parametrize("peak", [None, 5e9])
def test_logged_rates_follow_from_the_logged_tokens_and_seconds(monkeypatch, tmp_path, peak):
    asked = []

    def known(device, precision):
        asked.append((device, precision))
        return peak

    monkeypatch.setattr("plm_core.training.hardware.peak_flops", known)
    make_trainer(tmp_path).fit()
    assert set(asked) == {(CPU, "fp32")}
    records = speeds(tmp_path)
    assert [record["step"] for record in records] == [3, 6, 8]
    for record in records:
        assert record["flops_per_second"] == pytest.approx(COST * record["tokens_per_second"], rel=1e-12)
        assert ("mfu" in record) == (peak is not None)
        if peak is not None:
            assert record["mfu"] == pytest.approx(COST * record["tokens_per_second"] / peak, rel=1e-12)
    expected = [tokens_of(range(6)), tokens_of(range(6, 12)), tokens_of(range(12, 16))]
    assert [timed_tokens(record) for record in records] == expected, "padding is no work that the model needs"
    assert [record["tokens"] for record in read_metrics(tmp_path)] == [sum(expected[: n + 1]) for n in range(3)]


def test_without_the_cost_of_a_token_only_tokens_are_logged(monkeypatch, tmp_path):
    monkeypatch.setattr("plm_core.training.hardware.peak_flops", lambda device, precision: 1e9)
    make_trainer(tmp_path, cost=None).fit()
    assert all(record.keys() == {"step", "tokens_per_second", "seconds"} for record in speeds(tmp_path))


@pytest.mark.parametrize("again", ["resumed", "fitted again"])
def test_a_rate_counts_only_tokens_of_the_time_that_it_divides_by(tmp_path, again):
    """A continued run takes over the sums of an unfinished record, but nobody timed what came before it began."""
    trainer = make_trainer(tmp_path, source=Source(stop=9))
    with pytest.raises(Interrupted):
        trainer.fit()
    assert trainer.progress.step == 5
    if again == "resumed":
        trainer = make_trainer(tmp_path)
        trainer.resume()
    trainer.fit()
    records = speeds(tmp_path)
    assert [record["step"] for record in records] == [3, 6, 8]
    assert [timed_tokens(record) for record in records] == [
        tokens_of(range(6)),
        tokens_of(range(10, 12)),
        tokens_of(range(12, 16)),
    ]
    assert [record["tokens"] for record in read_metrics(tmp_path)][-1] == tokens_of(range(16))


class Ticking:
    """A clock that stands still but for what is done to it."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr("plm_core.training.progress.perf_counter", lambda: self.now)

    def costs(self, seconds, function):
        """The function, as one that takes so long."""

        def slow(*arguments, **named):
            self.now += seconds
            return function(*arguments, **named)

        return slow


def test_the_rate_is_of_training_alone(monkeypatch, tmp_path):
    """A step takes 2 seconds here, an evaluation 100, a save 1,000."""
    clock = Ticking(monkeypatch)
    trainer = make_trainer(tmp_path)
    trainer.config = trainer.config.replace(eval_every=1, save_every=2)
    trainer.valid_batches = [Source().batch(100)]
    trainer.accumulate = clock.costs(2, trainer.accumulate)
    trainer.write = clock.costs(1000, trainer.write)
    monkeypatch.setattr("plm_core.training.trainer.validate", clock.costs(100, validate))
    trainer.fit()
    assert clock.now > 5000
    records = speeds(tmp_path)
    assert [record["seconds"] for record in records] == [6, 6, 4]
    expected = [tokens_of(range(6)), tokens_of(range(6, 12)), tokens_of(range(12, 16))]
    assert [record["tokens_per_second"] * record["seconds"] for record in records] == pytest.approx(expected)


def test_time_that_is_left_out_is_counted_even_where_it_ends_in_an_error(monkeypatch):
    clock = Ticking(monkeypatch)
    running = Running()
    failing = clock.costs(5, [].pop)
    with pytest.raises(IndexError), running.stopped():
        failing()
    clock.now += 2
    assert running.seconds() == 2
    running.start()
    clock.now += 3
    assert running.seconds() == 3


@pytest.mark.parametrize(
    ("batch", "tokens"),
    [
        ({"input_ids": torch.zeros(2, 5)}, 10),
        ({"input_ids": torch.zeros(2, 5), "attention_mask": torch.arange(5) < torch.tensor([[2], [5]])}, 7),
        (PackedBatches([torch.ones(n) for n in (3, 4, 2)], row_length=8, batch_size=2, pad_id=0, seed=0).batch(0), 9),
        (PaddedBatches([[1] * n for n in (3, 4, 2)], batch_size=3, pad_id=0, seed=0).batch(0), 9),
    ],
)
def test_only_real_tokens_count(batch, tokens):
    assert real_tokens(batch).sum() == tokens
    assert real_tokens({key: value for key, value in batch.items() if key != "token_indices"}).sum() >= tokens


def test_a_run_counts_three_forward_passes_a_token(monkeypatch, tmp_path):
    """Forward once, backward twice (Kaplan et al. 2020); the cost is that of the model that the run has built."""
    monkeypatch.setenv("PLM_DEVICE", "cpu")
    monkeypatch.setattr("plm_core.runs.pretrain.plot_learning_curve", lambda *_, **__: None)  # tested elsewhere
    config = RunConfig(
        corpus=str(TINY_TEXT),
        tokenizer="words",
        output=tmp_path,
        objective="masked_lm",
        max_documents=40,
        context=64,
        batch_size=4,
        model={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
        train={"steps": 2, "warmup_steps": 0, "log_every": 1},
    )
    pretrain(config, quiet=True)
    cost = 3 * flops_per_token(Run.open(tmp_path).model.config, 64, masked_fraction=config.masking.rate)
    for record in speeds(tmp_path):
        assert record["flops_per_second"] == pytest.approx(cost * record["tokens_per_second"], rel=1e-12)
        assert "mfu" not in record
