"""A run in stages: one YAML file, one trunk, several objectives; killed, it ends the same; at the end it is a run."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from plm_core.cli import main
from plm_core.models.pair_head import BertWithPairs
from plm_core.runs.open import Run
from plm_core.runs.stages import pretrain_in_stages, read_staged_config
from plm_core.training.trainer import Trainer
from plm_core.weights import load_weights, stripped_state_dict
from tests.runs.conftest import TINY, contents

STAGES = [
    {"name": "language_model", "objective": "causal_lm"},
    {"name": "positions", "objective": "relative_position", "train": {"steps": 3, "learning_rate": 0.01}},
    {
        "name": "mixed",
        "objective": {"masked_lm": 3, "prefix_lm": 1, "relative_position": 1},
        "temperature": 2.0,
        "batch_size": 2,
        "train": {"steps": 6, "micro_batches": 2, "eval_every": 3},
    },
]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a configuration file with changes; the path of the file."""
    monkeypatch.setenv("PLM_DEVICE", "cpu")

    def written(output="run", **changes):
        values = {**TINY, "output": str(tmp_path / output), "stages": STAGES, "token_pairs": {"max_distance": 3}}
        path = tmp_path / f"{output}.yaml"
        path.write_text(yaml.safe_dump({**values, **changes}), encoding="utf-8")
        return path

    return written


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run in stages, finished; not to be changed. Its file lies beside it."""
    folder = tmp_path_factory.mktemp("staged")
    values = {**TINY, "output": str(folder / "run"), "stages": STAGES, "token_pairs": {"max_distance": 3}}
    (folder / "run.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    results = pretrain_in_stages(read_staged_config(folder / "run.yaml"), quiet=True)
    assert [result.progress.step for result in results] == [4, 3, 6]
    return folder / "run"


def test_the_command_trains_all_stages_and_leaves_a_run(write, capsys, tmp_path):
    assert main(["train", str(write())]) == 0
    out = capsys.readouterr().out
    for name in ("01-language_model: 4 steps", "02-positions: 3 steps", "03-mixed: 6 steps"):
        assert f"{name}, best validation loss" in out
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    assert "masked_lm/loss" in capsys.readouterr().out
    assert main(["fill-mask", str(tmp_path / "run"), "the [MASK] is"]) == 0


def test_the_run_has_the_weights_of_the_last_stage(finished):
    run = Run.open(finished)
    stage = sorted((finished / "stages" / "03-mixed").glob("best-*"))[0]
    model = BertWithPairs(run.model.config, num_pair_labels=6)
    load_weights(model, stage / "weights.safetensors")
    state = stripped_state_dict(model)
    for name, tensor in stripped_state_dict(run.model).items():
        assert torch.equal(tensor, state[name])
    assert run.config.objective == "masked_lm"


def test_each_stage_has_its_own_objective_data_and_rate(finished):
    logs = {folder.name: (folder / "metrics.jsonl").read_text() for folder in (finished / "stages").iterdir()}
    assert "valid/causal_lm/loss" in logs["01-language_model"]
    assert "valid/relative_position/loss" in logs["02-positions"]
    assert "causal_lm" not in logs["02-positions"]
    for name in ("masked_lm", "prefix_lm", "relative_position"):
        assert f"valid/{name}/loss" in logs["03-mixed"]


@pytest.mark.parametrize("dies_at", [2, 5, 10])
def test_stopped_in_any_stage_and_resumed_it_is_the_same_run(finished, write, monkeypatch, tmp_path, dies_at):
    path, calls, step = write(), [], Trainer.step

    def mortal(self):
        calls.append(1)
        if len(calls) == dies_at:
            raise RuntimeError("the power failed")
        return step(self)

    monkeypatch.setattr(Trainer, "step", mortal)
    with pytest.raises(RuntimeError, match="power"):
        pretrain_in_stages(read_staged_config(path), quiet=True)
    monkeypatch.setattr(Trainer, "step", step)
    pretrain_in_stages(read_staged_config(path), resume=True, quiet=True)
    whole, resumed = (
        {name: content for name, content in contents(folder).items() if name.endswith(("safetensors", "metrics.jsonl"))}
        for folder in (finished, tmp_path / "run")
    )
    assert whole == resumed


def test_a_changed_configuration_and_a_full_folder_are_refused(finished, write, capsys, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    before = contents(tmp_path / "run")
    assert main(["train", str(write())]) == 2
    assert "continue it with --resume" in capsys.readouterr().err
    assert main(["train", str(write()), "seed=4", "--resume"]) == 2
    assert "the configuration is not the one that" in capsys.readouterr().err
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": []}, "needs at least one stage"),
        ({"stages": [{"name": "one"}]}, "needs a value for objective"),
        ({"stages": [{"name": "one", "objective": "masked"}]}, "expected one of"),
        ({"stages": [{"name": "one", "objective": {}}]}, "at least one objective"),
        ({"stages": [{"name": "one", "objective": {"masked_lm": -1}}]}, "positive numbers"),
        ({"stages": [{"name": "one", "objective": "masked_lm", "train": {"step": 3}}]}, "did you mean 'steps'"),
        ({"stages": [{"name": "../one", "objective": "masked_lm"}]}, "lower-case letters"),
        ({"objective": "causal_lm"}, "leaves `objective` and `init_from` to its stages"),
        ({"carry": "worst"}, "expected one of"),
    ],
)
def test_mistakes_are_named_and_leave_nothing_behind(write, capsys, tmp_path, changes, message):
    assert main(["train", str(write(**changes))]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_configurations_that_come_with_the_book_are_valid():
    folder = Path(__file__).parents[2] / "configs" / "stages"
    for path in folder.glob("*.yaml"):
        config = read_staged_config(path)
        assert len(config.stages) >= 2
        assert config.run.output.name == f"staged_{path.stem}"


def test_a_plain_configuration_is_none_in_stages(write, tmp_path):
    path = tmp_path / "plain.yaml"
    path.write_text(yaml.safe_dump({**TINY, "output": "x"}), encoding="utf-8")
    assert read_staged_config(path) is None
