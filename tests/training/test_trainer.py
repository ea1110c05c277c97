"""The trainer divides once, changes nothing in evaluation, resumes exactly and stops cleanly."""

import json
import signal

import pytest
import torch
from torch import nn

from plm_core.data.labels import IGNORE
from plm_core.evaluation.validation import validate
from plm_core.objectives.base import Joint, LossParts, Objective
from plm_core.training.checkpoints.directory import BEST, LAST, STATE, WEIGHTS, complete, newest_checkpoint
from plm_core.training.config import TrainConfig
from plm_core.training.logs import METRICS_FILE, plot_learning_curve, read_metrics
from plm_core.training.optim import decay_groups
from plm_core.training.trainer import DivergedError, Trainer

VOCABULARY, LENGTH = 11, 6


class Tokens(Objective):
    """Summed cross-entropy of a model that returns logits (B, T, V)."""

    name = "tokens"

    def inputs(self, batch):
        return {"input_ids": batch["input_ids"]}

    def score(self, output, batch):
        total = nn.functional.cross_entropy(output.flatten(0, 1), batch["labels"].flatten(), reduction="sum")
        return LossParts(total, self.count(batch), {})

    def count(self, batch):
        return int((batch["labels"] != IGNORE).sum())


class Rows(Tokens):
    """One term a row: the squared norm of its mean logits."""

    name = "rows"

    def score(self, output, batch):
        return LossParts(output.mean(1).square().sum(), len(output), {})

    def count(self, batch):
        return len(batch["input_ids"])


class Source:
    """Ragged labels: row r of a batch is labelled at its first few positions only."""

    def __init__(self, rows=4, poison=None):
        self.rows = rows
        self.poison = poison

    def batch(self, index):
        generator = torch.Generator().manual_seed(index)
        ids = torch.randint(0, VOCABULARY, (self.rows, LENGTH), generator=generator)
        labels = (ids * 3 + 1) % VOCABULARY
        keep = torch.randint(0, LENGTH + 1, (self.rows, 1), generator=generator)
        labels[torch.arange(LENGTH) >= keep] = IGNORE
        return {"input_ids": ids, "labels": labels}


def make_model(dropout=0.0, seed=0):
    torch.manual_seed(seed)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, 16)
            self.dropout = nn.Dropout(dropout)
            self.norm = nn.LayerNorm(16)
            self.head = nn.Linear(16, VOCABULARY)

        def forward(self, input_ids):
            return self.head(self.norm(self.dropout(self.embedding(input_ids))))

    return Model()


def make_trainer(folder=None, *, model=None, objective=None, source=None, **config):
    config = {"steps": 12, "warmup_steps": 2, "eval_every": 4, "save_every": 5, "log_every": 3, **config}
    return Trainer(
        model or make_model(),
        objective or Tokens(),
        source or Source(),
        TrainConfig(**config),
        valid_batches=[Source().batch(index) for index in range(1000, 1003)],
        folder=folder,
        quiet=True,
    )


class Regrouped:
    """The same rows in other micro-batches."""

    def __init__(self, source, size):
        self.source, self.size = source, size

    def batch(self, index):
        per = self.source.rows // self.size
        whole = self.source.batch(index // per)
        rows = slice(index % per * self.size, (index % per + 1) * self.size)
        return {key: value[rows] for key, value in whole.items()}


@pytest.mark.parametrize("objective", [Tokens(), Joint([Tokens(), Rows()], [1.0, 0.3])], ids=["plain", "joint"])
def test_one_batch_of_n_equals_n_batches_of_one_with_ragged_labels(objective):
    models = [make_model().double() for _ in range(3)]
    for model, size in zip(models, (4, 2, 1), strict=True):
        source = Regrouped(Source(), size)
        make_trainer(model=model, objective=objective, source=source, micro_batches=4 // size, steps=5).fit()
    for other in models[1:]:
        for a, b in zip(models[0].parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_mean_of_means_would_not_pass():
    """The batches above are ragged enough to tell: averaging micro-batch means gives another gradient."""
    model = make_model().double()
    whole = Source().batch(0)
    parts = [Regrouped(Source(), 1).batch(index) for index in range(4)]
    right = Tokens()(model, whole)
    means = [part.total / max(1, part.count) for part in (Tokens()(model, batch) for batch in parts)]
    assert abs((right.total / right.count - sum(means) / 4).item()) > 1e-3


def test_evaluation_changes_nothing():
    model = make_model(dropout=0.5)
    model.norm.eval()  # a module that somebody froze must stay frozen
    batches = [Source().batch(index) for index in range(3)]
    torch.manual_seed(7)
    before = [parameter.clone() for parameter in model.parameters()]
    state = torch.get_rng_state()
    first = validate(model, Tokens(), batches)
    assert torch.equal(torch.get_rng_state(), state)
    assert validate(model, Tokens(), batches) == first, "dropout is off"
    assert model.training
    assert not model.norm.training
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_validation_is_a_mean_over_tokens_not_over_batches():
    model = make_model().eval()
    batches = [Source().batch(index) for index in range(5)]
    total = sum(Tokens()(model, batch).total.item() for batch in batches)
    count = sum(Tokens().count(batch) for batch in batches)
    assert validate(model, Tokens(), batches)["loss"] == pytest.approx(total / count, rel=1e-6)


def test_nothing_to_evaluate_is_said():
    batch = {"input_ids": torch.zeros(1, 3, dtype=torch.long), "labels": torch.full((1, 3), IGNORE)}
    with pytest.raises(ValueError, match="nothing to evaluate"):
        validate(make_model(), Tokens(), [batch])


def test_the_loss_falls_and_every_record_is_logged(tmp_path):
    trainer = make_trainer(tmp_path, steps=200, learning_rate=0.03, eval_every=50, log_every=20)
    progress = trainer.fit()
    assert progress.best_loss < 0.1
    records = read_metrics(tmp_path)
    assert records == trainer.records
    assert [record["step"] for record in records if "train/loss" in record] == list(range(20, 201, 20))
    assert records[-1]["valid/tokens/loss"] == records[-1]["valid/loss"]
    assert plot_learning_curve(records, tmp_path / "curve.png", entropy=0.0)
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_equal_seeds_give_equal_bits():
    first, second = (make_trainer(model=make_model(0.2)) for _ in range(2))
    for trainer in (first, second):
        torch.manual_seed(3)
        trainer.fit()
    assert first.records == second.records
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("stop", [1, 4, 7, 11])
def test_interrupted_and_resumed_ends_bit_identical(tmp_path, stop):
    whole = make_trainer(tmp_path / "whole", model=make_model(0.3))
    torch.manual_seed(3)
    whole.fit()

    class Interrupting(Source):
        def batch(self, index):
            if index == stop:
                signal.raise_signal(signal.SIGINT)
            return super().batch(index)

    cut = make_trainer(tmp_path / "cut", model=make_model(0.3), source=Interrupting())
    torch.manual_seed(3)
    with pytest.raises(KeyboardInterrupt):
        cut.fit()
    assert cut.progress.step == stop + 1, "the step under way was finished"

    torch.manual_seed(99)
    resumed = make_trainer(tmp_path / "cut", model=make_model(0.3, seed=5))
    assert resumed.resume() == []
    resumed.fit()
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert (tmp_path / "cut" / METRICS_FILE).read_bytes() == (tmp_path / "whole" / METRICS_FILE).read_bytes()
    assert resumed.progress == whole.progress
    newest = [newest_checkpoint(tmp_path / name)[0] / WEIGHTS for name in ("whole", "cut")]
    assert newest[0].read_bytes() == newest[1].read_bytes()


def test_damaged_checkpoints_are_named_and_passed_over(tmp_path):
    make_trainer(tmp_path, save_every=4, keep_last=3).fit()
    newest = complete(tmp_path, LAST)[-1]
    data = bytearray((newest / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (newest / WEIGHTS).write_bytes(data)
    (complete(tmp_path, LAST)[-2] / STATE).unlink()
    trainer = make_trainer(tmp_path)
    problems = trainer.resume()
    assert trainer.progress.step == 4
    assert len(problems) == 2
    assert "does not match the manifest" in problems[0]
    assert STATE in problems[1]


def test_resuming_another_model_or_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no complete checkpoint"):
        make_trainer(tmp_path).resume()
    make_trainer(tmp_path).fit()
    other = make_model()
    other.head = nn.Linear(16, VOCABULARY + 1)
    with pytest.raises(ValueError, match=r"head\.weight"):
        make_trainer(tmp_path, model=other).resume()


def test_the_newest_checkpoints_and_the_best_one_are_kept(tmp_path):
    trainer = make_trainer(tmp_path, save_every=2, keep_last=3, eval_every=3)
    progress = trainer.fit()
    assert [int(path.name.removeprefix(LAST)) for path in complete(tmp_path, LAST)] == [8, 10, 12]
    assert [int(path.name.removeprefix(BEST)) for path in complete(tmp_path, BEST)] == [progress.best_step]


def test_patience_stops_the_run():
    class Wrong(Source):
        def batch(self, index):  # labels that contradict the validation's: its loss can only rise
            batch = super().batch(index)
            return {**batch, "labels": torch.where(batch["labels"] == IGNORE, IGNORE, 0)}

    trainer = make_trainer(source=Wrong(), steps=100, eval_every=1, patience=3, learning_rate=0.1, warmup_steps=0)
    progress = trainer.fit()
    assert progress.step == progress.best_step + 3 < 100


def test_divergence_stops_before_the_step():
    model = make_model()

    class Poisoned(Source):
        def batch(self, index):
            if index == 3:
                with torch.no_grad():
                    model.embedding.weight[2, 3] = float("nan")
            return {**super().batch(index), "input_ids": torch.full((4, LENGTH), 2)}

    trainer = make_trainer(model=model, source=Poisoned())
    with pytest.raises(DivergedError, match=r"step 4, rank 0: the gradient is not finite in embedding\.weight"):
        trainer.fit()
    assert trainer.progress.step == 3


def test_biases_and_gains_do_not_decay():
    groups = decay_groups(make_model(), 0.1)
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(2, 0.1), (3, 0.0)]


def test_no_trainable_parameter_is_said():
    model = make_model()
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="no trainable parameter"):
        make_trainer(model=model)


def test_tensorboard_gets_the_metrics_of_the_log(tmp_path):
    make_trainer(tmp_path, tensorboard=True).fit()
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_the_state_of_a_checkpoint_loads_without_executing_code(tmp_path):
    make_trainer(tmp_path).fit()
    state = torch.load(newest_checkpoint(tmp_path)[0] / STATE, weights_only=True)
    assert state["progress"]["step"] == 12
    assert json.dumps(state["config"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"steps": 0}, "steps must be positive"),
        ({"final_fraction": 2.0}, "final_fraction must lie in"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"learning_rate": "fast"}, "expected a number"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
    ],
)
def test_impossible_settings_are_refused_by_name(config, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**config)
