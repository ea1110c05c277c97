"""Checkpoints that are damaged are named and passed over, never executed, and a failed save harms none."""

import errno
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from plm_core.objectives.base import LossParts, Objective
from plm_core.ownership import file_sha256, marker
from plm_core.training.checkpoints import directory as module
from plm_core.training.checkpoints.directory import (
    BEST,
    KIND,
    LAST,
    MANIFEST,
    STATE,
    WEIGHTS,
    checkpoint_folder,
    complete,
    newest_checkpoint,
)
from plm_core.training.checkpoints.state import batch_digest, random_state, restore_random_state
from plm_core.training.config import TrainConfig
from plm_core.training.trainer import Trainer


class Squares(Objective):
    name = "squares"

    def inputs(self, batch):
        return {"input": batch["input_ids"]}

    def score(self, output, batch):
        return LossParts(output.square().sum(), len(output), {})

    def count(self, batch):
        return len(batch["input_ids"])


class Source:
    def __init__(self, seed=0):
        self.seed = seed

    def batch(self, index):
        return {"input_ids": torch.randn(4, 3, generator=torch.Generator().manual_seed(1000 * self.seed + index))}


def make_trainer(folder, *, seed=0, steps=6, **config):
    torch.manual_seed(0)
    settings = TrainConfig(steps=steps, warmup_steps=0, save_every=2, keep_last=3, eval_every=2, **config)
    return Trainer(
        nn.Linear(3, 2), Squares(), Source(seed), settings, valid_batches=[Source().batch(9)], folder=folder, quiet=True
    )


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


DAMAGES = [truncate, flip_a_bit, Path.unlink]


@pytest.mark.parametrize("name", [WEIGHTS, STATE, MANIFEST])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_passed_over_and_replaced(tmp_path, damage, name):
    make_trainer(tmp_path).fit()
    whole = {path.name: file_sha256(path) for path in (checkpoint_folder(tmp_path, 6) / WEIGHTS,)}
    damage(checkpoint_folder(tmp_path, 6) / name)
    trainer = make_trainer(tmp_path)
    problems = trainer.resume()
    assert trainer.progress.step == 4
    assert len(problems) == 1
    assert "step-000000006" in problems[0]
    trainer.fit()
    path, problems = newest_checkpoint(tmp_path)
    assert (path.name, problems) == ("step-000000006", []), "the damaged one has made place for a good one"
    assert file_sha256(path / WEIGHTS) == whole[WEIGHTS]


def test_half_written_checkpoints_are_passed_over_and_a_folder_of_damaged_ones_is_refused(tmp_path):
    make_trainer(tmp_path).fit()
    for path in complete(tmp_path, LAST):
        (path / MANIFEST).unlink()
    with pytest.raises(FileNotFoundError, match=r"no complete.*step-000000006 is incomplete.*step-000000002"):
        make_trainer(tmp_path).resume()


class Attack:
    """Unpickling it would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_no_pickle_is_executed(tmp_path, how):
    """Whoever can write the file can write the manifest too; what is in the file must not run all the same."""
    make_trainer(tmp_path).fit()
    newest, mark = checkpoint_folder(tmp_path, 6), tmp_path / "executed"
    state = {"progress": {}, "optimizer": Attack(mark)}
    if how == "torch":
        torch.save(state, newest / STATE)
    else:
        (newest / STATE).write_bytes(pickle.dumps(state))
    (newest / MANIFEST).write_bytes(marker(KIND, {name: file_sha256(newest / name) for name in (WEIGHTS, STATE)}))
    with pytest.raises(ValueError, match=r"state\.pt was not loaded: it holds more than plain values"):
        make_trainer(tmp_path).resume()
    assert not mark.exists()


def no_room_for_state(monkeypatch):
    def save(state, file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", save)


def no_room_for_weights(monkeypatch):
    def save(model, path):
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(module, "save_weights", save)


def no_room_for_anything(monkeypatch):
    def flush(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "flush", flush)


@pytest.mark.parametrize("fill", [no_room_for_state, no_room_for_weights, no_room_for_anything])
def test_a_full_disk_stops_the_run_and_harms_no_checkpoint(tmp_path, monkeypatch, fill):
    make_trainer(tmp_path, steps=4).fit()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.parent != tmp_path}
    trainer = make_trainer(tmp_path)
    trainer.resume()
    fill(monkeypatch)
    with pytest.raises(OSError, match=r"could not save .*No space left on device.* MiB are free there\. Earlier"):
        trainer.fit()
    monkeypatch.undo()
    assert not list(tmp_path.glob("*.tmp")), "the space is given back"
    kept = [path for path in before if path.parent.name.startswith(LAST)]
    assert all(path.read_bytes() == before[path] for path in kept)
    again = make_trainer(tmp_path)
    assert again.resume() == []
    assert again.progress.step == 4


def test_a_run_resumed_on_other_data_is_refused(tmp_path):
    make_trainer(tmp_path).fit()
    with pytest.raises(ValueError, match="the saved run saw other data at step 6: resume it with the same corpus"):
        make_trainer(tmp_path, seed=1).resume()
    longer = make_trainer(tmp_path, steps=8)
    longer.resume()
    assert longer.fit().step == 8, "more steps are no other data"


def test_digests_tell_batches_apart():
    batch = Source().batch(0)
    assert batch_digest(batch) == batch_digest({"input_ids": batch["input_ids"].clone()})
    others = [
        Source().batch(1),
        {"labels": batch["input_ids"]},
        {"input_ids": batch["input_ids"].reshape(3, 4)},
        {"input_ids": batch["input_ids"].double()},
        {**batch, "labels": torch.tensor(3)},
    ]
    assert len({batch_digest(other) for other in [batch, *others]}) == len(others) + 1


def test_a_new_run_does_not_mix_with_an_old_one(tmp_path):
    make_trainer(tmp_path).fit()
    with pytest.raises(FileExistsError, match="already holds a run: resume it, or choose another folder"):
        make_trainer(tmp_path).fit()


def test_what_an_attempt_left_before_its_first_save_is_gone(tmp_path):
    make_trainer(tmp_path, learning_rate=0.5).fit()
    for path in complete(tmp_path, LAST):
        module.delete(path)
    assert complete(tmp_path, BEST)
    make_trainer(tmp_path / "fresh").fit()
    make_trainer(tmp_path).fit()
    best = [newest_checkpoint(folder, BEST)[0] / WEIGHTS for folder in (tmp_path, tmp_path / "fresh")]
    assert best[0].read_bytes() == best[1].read_bytes()
    assert (tmp_path / "metrics.jsonl").read_bytes() == (tmp_path / "fresh" / "metrics.jsonl").read_bytes()


def test_what_a_user_put_beside_the_checkpoints_survives_training(tmp_path):
    mine = {
        tmp_path / name: b"mine"
        for name in ("best-models/model.bin", "step-by-step/notes.txt", "best-000000002.tmp.bak/x", "best-2/x")
    }
    for path, content in mine.items():
        path.parent.mkdir()
        path.write_bytes(content)
    make_trainer(tmp_path).fit()
    assert {path: path.read_bytes() for path in mine} == mine
    assert [path.name for path in complete(tmp_path, BEST)] == [newest_checkpoint(tmp_path, BEST)[0].name]


@pytest.mark.parametrize("name", ["best-000000002", "step-000000001", "best-000000002.tmp"])
def test_a_folder_of_the_user_that_is_named_like_a_checkpoint_stops_a_new_run_before_it_writes(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").write_text("keep")
    with pytest.raises(FileExistsError, match=f"{name} has the name of a checkpoint, but"):
        make_trainer(tmp_path).fit()
    assert [path.name for path in tmp_path.rglob("*")] == [name, "mine"]


def test_a_checkpoint_behind_a_link_is_neither_read_nor_deleted(tmp_path):
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    make_trainer(elsewhere).fit()
    (run / "x").mkdir(parents=True)
    (run / "best-000000001").symlink_to(checkpoint_folder(elsewhere, 6))
    with pytest.raises(FileExistsError, match="best-000000001 has the name of a checkpoint"):
        make_trainer(run).fit()
    assert complete(run, BEST) == []
    module.delete(run / "best-000000001")
    assert (run / "best-000000001" / WEIGHTS).is_file()


def test_a_checkpoint_that_the_user_added_a_file_to_is_never_deleted(tmp_path):
    make_trainer(tmp_path).fit()
    notes = checkpoint_folder(tmp_path, 2) / "notes.txt"
    notes.write_text("keep")
    trainer = make_trainer(tmp_path, steps=12)
    trainer.resume()
    trainer.fit()
    assert notes.read_text() == "keep"
    assert [path.name for path in complete(tmp_path, LAST)] == [f"step-{n:09d}" for n in (2, 8, 10, 12)]


def test_another_optimizer_on_resume_is_answered_with_one_message(tmp_path):
    make_trainer(tmp_path).fit()
    trainer = make_trainer(tmp_path, steps=8, optimizer="sgd")
    with pytest.raises(ValueError, match="holds the state of another optimiser than SGD: resume with the run's own"):
        trainer.resume()


@pytest.mark.parametrize(
    "damage",
    [
        {"numpy": ["MT19937", torch.zeros(624, dtype=torch.int64), 10**9, 0, 0.0]},
        {"numpy": ["MT19937", torch.zeros(3, dtype=torch.int64), 1, 0, 0.0]},
        {"python": [3, [1, 2], None]},
        {"torch": torch.zeros(3, dtype=torch.uint8)},
        {"torch": "x"},
    ],
)
def test_a_damaged_state_of_a_random_generator_is_refused_and_crashes_nothing(damage):
    with pytest.raises(ValueError, match="state of the random generators is damaged"):
        restore_random_state({**random_state(), **damage})
