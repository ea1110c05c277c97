"""Each stage starts from the best weights of the one before, with an optimiser of its own; killed, it ends the same."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from plm_core.data.mixture import MixtureBatches, all_tagged
from plm_core.objectives.base import LossParts, Objective
from plm_core.objectives.mixture import Mixture
from plm_core.training.checkpoints.directory import BEST, WEIGHTS, DamagedCheckpointError
from plm_core.training.config import TrainConfig
from plm_core.training.curriculum import Curriculum, Stage, stage_seed
from plm_core.training.trainer import Trainer
from plm_core.weights import read_weights
from tests import forked

DEATHS = 14


class Sum(Objective):
    """Regress on the sum of a row, times a factor: another task for another factor."""

    def __init__(self, factor=1.0, name="sum"):
        self.factor, self.name = factor, name

    def inputs(self, batch):
        return {"x": batch["input_ids"]}

    def score(self, output, batch):
        error = output - self.factor * batch["input_ids"].sum(1, keepdim=True)
        return LossParts((error**2).sum(), len(output), {})

    def count(self, batch):
        return len(batch["input_ids"])


class Rows:
    def __init__(self, first=0):
        self.first = first

    def batch(self, index):
        return {"input_ids": torch.randn(8, 4, generator=torch.Generator().manual_seed(self.first + index))}


def network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 1))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = model

        def forward(self, x):
            return self.layers(x)

    return Model()


def config(**changes):
    values = {"steps": 10, "warmup_steps": 2, "eval_every": 2, "save_every": 4, "log_every": 5, "learning_rate": 0.02}
    return TrainConfig(**values | changes)


def stage(name, factor=1.0, *, first=0, valid=True, **changes):
    batches = [Rows(900).batch(index) for index in range(2)] if valid else []
    return Stage(name, Sum(factor), Rows(first), config(**changes), batches)


def weights_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_stage_hands_on_its_best_weights_by_its_own_loss(tmp_path):
    """The second stage's rate is far too high: its best weights are not its last."""
    model = network()
    stages = [stage("first"), stage("second", -1.0, first=50, learning_rate=2.0, optimizer="sgd"), stage("third")]
    results = Curriculum(model, stages, tmp_path, quiet=True).fit()
    assert [result.folder.name for result in results] == ["01-first", "02-second", "03-third"]
    for result in results:
        assert result.carried == f"{BEST}{result.progress.best_step:09d}"
        assert not result.stopped_early
    assert results[1].progress.best_step < results[1].progress.step == 10
    assert same(weights_of(model), read_weights(results[-1].folder / results[-1].carried / WEIGHTS))


def test_the_stages_are_what_trainers_one_after_the_other_would_do(tmp_path):
    """No second training loop: each stage equals a trainer of its own on the weights that were handed on."""
    stages = [stage("first"), stage("second", -1.0, first=50)]
    results = Curriculum(network(), stages, tmp_path / "together", seed=5, quiet=True).fit()
    model = network()
    for number, (each, result) in enumerate(zip(stages, results, strict=True)):
        torch.manual_seed(stage_seed(5, number))
        folder = tmp_path / f"{number}"
        trainer = Trainer(
            model, each.objective, each.source, each.config, valid_batches=each.valid_batches, folder=folder, quiet=True
        )
        assert trainer.fit() == result.progress
        best = read_weights(folder / result.carried / WEIGHTS)
        assert same(best, read_weights(result.folder / result.carried / WEIGHTS))
        model.load_state_dict(best)


def test_the_optimiser_of_a_stage_knows_nothing_of_the_one_before(tmp_path, monkeypatch):
    began = []
    fit = Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda self: (began.append(len(self.optimizer.state)), fit(self))[1])
    Curriculum(network(), [stage("first"), stage("second")], tmp_path, quiet=True).fit()
    assert began == [0, 0]


def test_a_stage_stops_early_by_its_own_patience(tmp_path):
    stages = [stage("stuck", learning_rate=1e-12, patience=2, steps=40), stage("second")]
    first, second = Curriculum(network(), stages, tmp_path, quiet=True).fit()
    assert first.stopped_early
    assert first.progress.step < 40
    assert not second.stopped_early
    assert second.progress.best_loss < first.progress.best_loss, "its patience is not used up by the stage before"


def test_without_validation_or_on_request_the_last_weights_are_handed_on(tmp_path):
    without = Curriculum(network(), [stage("first", valid=False)], tmp_path / "without", quiet=True).fit()
    asked = Curriculum(network(), [stage("first")], tmp_path / "asked", carry="last", quiet=True).fit()
    assert without[0].carried == asked[0].carried == "step-000000010"
    assert math.isinf(without[0].progress.best_loss)
    again = Curriculum(network(), [stage("first", valid=False)], tmp_path / "without", quiet=True).fit(resume=True)
    assert again == without


def test_a_finished_curriculum_is_not_trained_again(tmp_path, monkeypatch):
    stages = [stage("first"), stage("second", -1.0)]
    model = network()
    results = Curriculum(model, stages, tmp_path, quiet=True).fit()
    monkeypatch.setattr(Trainer, "fit", None)
    other = network()
    assert Curriculum(other, stages, tmp_path, quiet=True).fit(resume=True) == results
    assert same(weights_of(model), weights_of(other))


def test_a_changed_stage_is_named_and_refused(tmp_path):
    stages = [stage("first"), stage("second", -1.0)]
    Curriculum(network(), stages, tmp_path, quiet=True).fit()
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    with pytest.raises(FileExistsError, match="already holds a curriculum"):
        Curriculum(network(), stages, tmp_path, quiet=True).fit()
    for changed, message in (
        ([stage("first", learning_rate=0.5), stages[1]], "01-first was begun with learning_rate=0.02, now it is 0.5"),
        (stages[::-1], "holds the stage 01-first, and now the stages are 01-second, 02-first"),
        ([Stage("first", Sum(name="other"), Rows(), config()), stages[1]], "begun with the objective"),
    ):
        with pytest.raises(ValueError, match=message):
            Curriculum(network(), changed, tmp_path, quiet=True).fit(resume=True)
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before
    Curriculum(network(), [stage("first", save_every=1), stages[1]], tmp_path, quiet=True).fit(resume=True)


def test_damaged_weights_are_not_handed_on(tmp_path):
    stages = [stage("first"), stage("second")]
    (result,) = Curriculum(network(), stages[:1], tmp_path, quiet=True).fit()
    with (result.folder / result.carried / WEIGHTS).open("r+b") as file:
        file.seek(200)
        file.write(b"damage")
    with pytest.raises(DamagedCheckpointError, match="damaged"):
        Curriculum(network(), stages, tmp_path, quiet=True).fit(resume=True)


def test_stages_can_be_added_to_a_finished_curriculum(tmp_path):
    stages = [stage("first"), stage("second", -1.0)]
    Curriculum(network(), stages[:1], tmp_path / "added", quiet=True).fit()
    added = Curriculum(network(), stages, tmp_path / "added", quiet=True).fit(resume=True)
    whole = Curriculum(network(), stages, tmp_path / "whole", quiet=True).fit()
    for one, other in zip(added, whole, strict=True):
        assert same(*(read_weights(each.folder / each.carried / WEIGHTS) for each in (one, other)))


@pytest.mark.parametrize("names", [[], ["one", "one"], ["../one"], ["One"]])
def test_names_that_are_no_names_are_refused(tmp_path, names):
    with pytest.raises(ValueError, match="needs at least one stage and distinct names"):
        Curriculum(network(), [stage(name) for name in names], tmp_path)
    with pytest.raises(ValueError, match="unknown carry"):
        Curriculum(network(), [stage("one")], tmp_path, carry="worst")


def test_a_mixture_trains_each_task_by_its_own_objective(tmp_path):
    """Two tasks on the same rows, of opposite sign: one alone is learned, and the mixture of both cannot be."""
    tasks = [Sum(1.0, "plus"), Sum(-1.0, "minus")]
    valid = all_tagged([[Rows(900).batch(0)], [Rows(900).batch(0)]])
    losses = {}
    for shares in ([1.0, 0.0], [0.5, 0.5]):
        source = MixtureBatches([Rows(), Rows(500)], shares, seed=0, group=2)
        both = Stage("both", Mixture(tasks), source, config(steps=60, micro_batches=2, eval_every=60), valid)
        (result,) = Curriculum(network(), [both], tmp_path / f"{shares[0]}", quiet=True).fit()
        records = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
        losses[shares[0]] = records[-1]
        assert records[-1]["valid/loss"] == pytest.approx(
            records[-1]["valid/plus/loss"] + records[-1]["valid/minus/loss"]
        )
    assert losses[1.0]["valid/plus/loss"] < 1.0 < 8.0 < losses[1.0]["valid/minus/loss"]
    assert losses[0.5]["valid/plus/loss"] > 2.0


def test_a_step_of_a_mixture_is_a_step_of_the_task_alone():
    """Loss, gradient and counts of a batch are those of its own objective."""
    tasks, model = [Sum(1.0, "plus"), Sum(-2.0, "minus")], network().eval()
    (batch,) = all_tagged([[], [Rows().batch(3)]])
    mixture = Mixture(tasks, [1.0, 0.5])
    assert mixture.counts(batch) == {"plus": 0, "minus": 8}
    assert mixture.weights == {"plus": 1.0, "minus": 0.5}
    (name, part), *rest = mixture.terms(model, mixture.prepare(batch)).items()
    assert (name, rest) == ("minus", [])
    assert torch.equal(part.total, tasks[1](model, batch).total)
    with pytest.raises(ValueError, match="should name one of 2 tasks"):
        mixture.counts(Rows().batch(0))
    with pytest.raises(ValueError, match="distinct names"):
        Mixture([tasks[0], tasks[0]])
    with pytest.raises(ValueError, match="expected 2 weights"):
        Mixture(tasks, [1.0])


@pytest.mark.xdist_group("processes")
@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system cannot fork, and has no SIGKILL")
def test_killed_in_any_stage_and_resumed_to_the_same_bits(tmp_path):
    program = Path(__file__).with_name("mortal_curricula.py")
    done = forked.run(program, tmp_path, str(DEATHS), cwd=program.parents[2])
    assert done.returncode == 0, done.stderr
    whole, *runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(runs) == DEATHS
    assert whole["steps"][0] == 5
    assert 2 < whole["steps"][1] < 8, "the second stage stops early"
    assert {"01-first/finished.json", "03-third/step-000000004/weights.safetensors"} <= whole["remains"].keys()
    for number, run in enumerate(runs):
        assert run["remains"] == whole["remains"], f"run {number}"
    assert all(run["killed"] for run in runs)
    assert {run["stages"] for run in runs} >= {1, 2, 3}, "some of them die in each stage"
