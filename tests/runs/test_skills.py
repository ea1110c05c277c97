"""``plm evaluate RUN --skills``: the table, the files, and one clear message for every run that cannot be scored so."""

import json
import shutil

import numpy as np
import pytest

from plm_core.cli import main
from plm_core.data.tokenizer_training import train_bpe
from plm_core.runs.corpus import load_texts
from plm_core.runs.open import Run
from plm_core.runs.pretrain import pretrain
from plm_core.runs.skills import evaluate_skills
from plm_core.storyworld.baselines import BASELINES
from plm_core.storyworld.skills import SKILLS
from tests.runs.conftest import tiny_config

STORIES = {"corpus": "storyworld-small-en", "context": 320, "max_documents": 40}


@pytest.fixture(scope="module", autouse=True)
def small_samples():
    """Validate on few stories, and estimate floors and majorities from few: their values are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plm_core.runs.corpus.VALIDATION_STORIES", 24)
        patch.setattr("plm_core.runs.entropy_floor.WORDS_PER_STORY", 1)
        patch.setattr("plm_core.runs.skills.BASELINE_STORIES", 12)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that reads whole stories, on people whom validation does not know; not to be changed."""
    folder = tmp_path_factory.mktemp("skills") / "run"
    dials = {"stories": {"names": "seen"}, "validation_stories": {"names": "held_out"}}
    pretrain(tiny_config(folder, **dials, **STORIES), quiet=True)
    return folder


def refused(capsys, *arguments):
    assert main(["evaluate", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_the_table_is_printed_and_the_scores_are_in_the_folder(trained, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    assert main(["evaluate", str(run), "--skills", "--stories", "12"]) == 0
    out = capsys.readouterr().out
    written = json.loads((run / "skills.json").read_text(encoding="utf-8"))
    assert written["stories"] == 12
    assert written["split"] == "test"
    assert written["dials"] == {"names": "held_out"}
    assert {score["skill"] for score in written["scores"]} == {*SKILLS, "all"}
    for score in written["scores"]:
        assert score["skill"] in out
        assert set(score["baselines"]) == set(BASELINES)
    assert written["scores"][-1]["excess"] > 0.5, "four steps teach little"
    assert (run / "skills.png").is_file()
    assert main(["evaluate", str(run), "--skills", "--stories", "12"]) == 0, "it can be written again"
    Run.open(run)


def test_distances_and_a_file_of_ones_own(trained, tmp_path, capsys):
    path = tmp_path / "mine.json"
    assert main(["evaluate", str(trained), "--skills-by-distance", "--stories", "3", "--output", str(path)]) == 0
    assert "words back" in capsys.readouterr().out
    assert any("words back" in score["skill"] for score in json.loads(path.read_text(encoding="utf-8"))["scores"])
    assert path.with_suffix(".png").is_file()
    assert not (trained / "skills.json").exists()
    assert "exists already" in refused(capsys, trained, "--skills", "--output", path)
    assert "name of a JSON file" in refused(capsys, trained, "--skills", "--output", tmp_path / "scores.txt")
    assert "no folder" in refused(capsys, trained, "--skills", "--output", tmp_path / "no" / "scores.json")


def test_the_loss_on_the_words_is_the_loss_of_the_runs_own_validation(trained, monkeypatch):
    monkeypatch.setattr("plm_core.runs.skills.SPLIT", "valid")
    run = Run.open(trained)
    everything = evaluate_skills(run, stories=len(run.texts.valid_stories)).scores[-1]
    assert everything.entropy == pytest.approx(run.entropy.mean)
    assert everything.entropy + everything.excess == pytest.approx(run.validation()["causal_lm/loss"], rel=1e-5)


def test_a_run_over_pieces_of_words_is_scored_by_words(tmp_path):
    config = tiny_config(tmp_path / "run", **{**STORIES, "context": 600})
    train_bpe([part.text for part in load_texts(config).train.parts()], vocab_size=300).save(tmp_path / "bpe")
    pretrain(config.replace(tokenizer=str(tmp_path / "bpe")), quiet=True)
    run = Run.open(tmp_path / "run")
    assert run.entropy is None, "nats per piece are not nats per word"
    report = evaluate_skills(run, stories=3)
    assert report.words == sum(score.words for score in report.scores[:-1])
    assert np.isfinite(report.scores[-1].excess)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "masked_lm"}, "holds a masked model"),
        ({"corpus": "storyworld-v1-small-en"}, "was trained on storyworld-v1-small-en"),
        ({"corpus": "python-documentation", "tokenizer": "characters"}, "was trained on python-documentation"),
        ({"documents": "line"}, "other documents than stories"),
        ({"context": 64}, "the model has 64 positions"),
    ],
)
def test_other_runs_are_refused_with_one_message(tmp_path, capsys, changes, message):
    changes = {**STORIES, "train": {"steps": 1, "warmup_steps": 0}, **changes}
    pretrain(tiny_config(tmp_path / "run", **changes), quiet=True)
    assert message in refused(capsys, tmp_path / "run", "--skills")
    assert not (tmp_path / "run" / "skills.json").exists()


def test_options_that_do_not_go_together_are_refused(trained, capsys, tmp_path):
    assert "exclude each other" in refused(capsys, trained, "--skills", "--text", tmp_path)
    assert "belongs to --skills" in refused(capsys, trained, "--output", tmp_path / "x.json")
    assert "at least two stories" in refused(capsys, trained, "--skills", "--stories", "1")
