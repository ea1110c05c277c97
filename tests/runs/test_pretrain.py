"""Runs from the command line: they learn, resume, report, and answer every mistake with one message."""

import math
import os
import signal
from pathlib import Path

import pytest
import yaml

from plm_core.cli import main
from plm_core.data.documents import documents_as_text
from plm_core.runs.batches import make_sources
from plm_core.runs.config import RunConfig, read_run_config
from plm_core.runs.corpus import Texts, load_texts, train_tokenizer
from plm_core.runs.folder import LOCK_FILE, only_user
from plm_core.runs.open import Run, build_model
from plm_core.runs.pretrain import pretrain
from plm_core.training.checkpoints.directory import LAST, complete
from plm_core.training.trainer import Trainer
from tests import forked
from tests.tiny_text import TINY_TEXT

CONFIGS = Path(__file__).parents[2] / "configs"

TINY = {
    "corpus": str(TINY_TEXT),
    "tokenizer": "words",
    "max_documents": 40,
    "context": 128,
    "batch_size": 4,
    "model": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
    "train": {"steps": 4, "warmup_steps": 1, "eval_every": 2, "save_every": 2, "log_every": 2},
}


@pytest.fixture
def write(tmp_path):
    """Write a configuration file: the tiny one with changes, a value of None leaves the key out."""

    def writer(**changes):
        values = {**TINY, "output": str(tmp_path / "run"), **changes}
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
        return path

    return writer


@pytest.fixture
def few_stories(monkeypatch):
    """Validate on few stories, and estimate the floor of masked runs from few words: its value is tested elsewhere."""
    monkeypatch.setattr("plm_core.runs.corpus.VALIDATION_STORIES", 12)
    monkeypatch.setattr("plm_core.runs.entropy_floor.WORDS_PER_STORY", 1)


def refused(capsys, *arguments):
    """Run the command line, expect exit code 2, and return its one message."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("plm: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_every_configuration_is_valid(name):
    config = read_run_config(CONFIGS / name)
    assert RunConfig.from_yaml(config.to_yaml()) == config


@pytest.mark.parametrize("objective", ["causal_lm", "masked_lm", "masked_lm+next_sentence", "masked_lm+sentence_order"])
def test_a_run_trains_and_reports_its_loss(write, few_stories, capsys, tmp_path, objective):
    config = write(objective=objective, corpus="storyworld-small-en")
    assert main(["train", str(config), "train.steps=3"]) == 0
    out = capsys.readouterr().out
    assert "best of 3 steps" in out
    meaning = "the text's own entropy" if objective == "causal_lm" else "the exact posterior"
    assert f"the floor, {meaning}" in out
    assert ("with the second task" in out) == ("+" in objective)
    assert (tmp_path / "run" / "learning_curve.png").is_file()
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert f"{objective.split('+')[0]}/accuracy" in out
    assert "floor" in out


def test_a_trained_model_generates_text(write, capsys, tmp_path):
    run = str(tmp_path / "run")
    assert main(["train", str(write())]) == 0
    capsys.readouterr()
    texts = []
    for _ in range(2):
        assert main(["generate", run, "--prompt", "a boy called", "--max-new-tokens", "8", "--seed", "3"]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert texts[0].startswith("a boy called")
    file = tmp_path / "text.txt"
    file.write_text("a boy called tom was in the kitchen .", encoding="utf-8")
    assert main(["evaluate", run, "--text", str(file)]) == 0
    out = capsys.readouterr().out
    assert "bits per byte" in out
    assert f"{len(file.read_bytes()) + 2} bytes (with 2 for the end of each document)" in out
    assert [line.split()[0] for line in out.splitlines() if "loss" in line] == ["causal_lm/loss"]
    (tmp_path / "model.onnx").touch()
    assert "folder of the run that it was exported" in refused(capsys, "generate", tmp_path / "model.onnx")
    assert "[MASK] needs a masked objective" in refused(capsys, "fill-mask", run, "a [MASK]")


def test_a_trained_model_fills_masks(write, capsys, tmp_path):
    run = str(tmp_path / "run")
    assert main(["train", str(write(objective="masked_lm"))]) == 0
    capsys.readouterr()
    assert main(["fill-mask", run, "a [MASK] called tom was in the [MASK] .", "--top", "3"]) == 0
    out = capsys.readouterr().out
    assert out.count("[MASK]") == 2
    assert out.count("%") == 6
    assert "has no [MASK]" in refused(capsys, "fill-mask", run, "a boy")
    assert "use `plm fill-mask`" in refused(capsys, "generate", run)


def test_a_second_run_of_equal_seed_has_equal_bits(write, tmp_path):
    config = read_run_config(write())
    for name in ("a", "b"):
        pretrain(config.replace(output=tmp_path / name), quiet=True)
    files = [complete(tmp_path / name, LAST)[-1] / "weights.safetensors" for name in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("objective", ["causal_lm", "masked_lm"])
def test_overfits_32_sentences(objective, tmp_path):
    """A model that cannot learn 32 sentences by heart has a bug; the loss must come near zero."""
    config = RunConfig(
        corpus="storyworld-small-en",
        output=tmp_path,
        objective=objective,
        context=64,
        batch_size=32,
        model={
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 128,
            "norm_position": "pre",
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        },
        masking={"dynamic": False},
        train={"steps": 250, "learning_rate": 5e-3, "warmup_steps": 20, "log_every": 10, "weight_decay": 0.0},
    )
    stories = load_texts(config.replace(max_documents=4)).train
    sentences = [line for story in documents_as_text(stories.parts()) for line in story.split("\n")][:32]
    texts = Texts.of(list(dict.fromkeys(sentences)), [sentences[0]])
    tokenizer = train_tokenizer(config.replace(tokenizer="words"), texts)
    sources = make_sources(config, texts, tokenizer, tmp_path)
    trainer = Trainer(build_model(config, tokenizer), sources.objective, Whole(sources.train), config.train, quiet=True)
    trainer.fit()
    last = trainer.records[-1][f"train/{objective}/loss"]
    # What precedes a sentence's first difference from its neighbours cannot be known: that much loss must stay.
    free = first_word_entropy(sentences) if objective == "causal_lm" else 0.0
    assert last < free + 0.08


class Whole:
    """The same epoch again and again."""

    def __init__(self, source):
        self.rows = source.in_order()

    def batch(self, index):
        return self.rows[index % len(self.rows)]


def first_word_entropy(sentences):
    """Nats per token that memorising cannot remove: the choice among the sentences, spread over their tokens."""
    unique = set(sentences)
    return math.log(len(unique)) * len(unique) / sum(len(sentence.split()) + 1 for sentence in unique)


ANNOUNCING = """
import sys
from plm_core.cli import main
from plm_core.training.logs import RunLog

metrics = RunLog.metrics

def announced(*arguments):
    metrics(*arguments)
    print("recorded", flush=True)

RunLog.metrics = announced
sys.exit(main())
"""


@pytest.mark.xdist_group("processes")
def test_ctrl_c_saves_and_resumes(write, tmp_path):
    path = write(train={**TINY["train"], "steps": 400, "eval_every": 400, "save_every": 400})
    environment = {**os.environ, "PLM_DEVICE": "cpu"}
    program = forked.start("-c", ANNOUNCING, "train", path, env=environment)
    assert any(line == "recorded\n" for line in program.stdout), "training is under way"
    program.send_signal(signal.SIGINT)
    done = program.finish()
    assert done.returncode == 130, done.stderr
    assert "state saved" in done.stdout
    assert "--resume" in done.stdout
    stopped = int(complete(tmp_path / "run", LAST)[-1].name.removeprefix(LAST))
    assert 0 < stopped < 400
    config = read_run_config(path, [f"train.steps={stopped + 2}"])
    report = pretrain(config, resume=True, quiet=True)
    assert report.steps == stopped + 2


MISTAKES = [
    ({"corpus": None}, [], "needs a value for corpus"),
    ({"train": {"steps": "many"}}, [], "TrainConfig.steps: expected int"),
    ({"lerning_rate": 1}, [], "has no field 'lerning_rate'"),
    ({}, ["train.learning_rat=1"], "did you mean 'learning_rate'"),
    ({}, ["train.steps"], "expected key=value"),
    ({}, ["corpus.name=x"], "'corpus' holds a value, not keys"),
    ({"model": {"hiden_size": 3}}, [], "did you mean 'hidden_size'"),
    ({"model": {"max_position_embeddings": 16}}, [], "the model has 16 positions"),
    ({"corpus": "no/such/file.txt"}, [], "no corpus and no file 'no/such/file.txt'"),
    ({"corpus": "storyworld-huge-en"}, [], "StoryWorlds are storyworld-"),
    ({"objective": "masked"}, [], "expected one of"),
]


@pytest.mark.parametrize(("changes", "overrides", "message"), MISTAKES, ids=[row[2] for row in MISTAKES])
def test_mistakes_in_the_configuration_are_named(write, capsys, tmp_path, changes, overrides, message):
    assert message in refused(capsys, "train", write(**changes), *overrides)
    assert not (tmp_path / "run").exists(), "nothing was left behind"


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("", {}, "is empty"),
        ("\n \n\n", {}, "holds no text, only white space"),
        ("one short line", {"tokenizer": "characters"}, "shorter than the context"),
        ("a b c d\n" * 30, {"objective": "masked_lm+next_sentence", "tokenizer": "words"}, "only one document"),
        (
            "only line\n\nanother\n\nthird",
            {"objective": "masked_lm+next_sentence", "tokenizer": "words"},
            "blank lines",
        ),
    ],
)
def test_corpora_with_too_little_text_are_refused(write, capsys, tmp_path, text, changes, message):
    file = tmp_path / "corpus.txt"
    file.write_text(text, encoding="utf-8")
    assert message in refused(capsys, "train", write(corpus=str(file), **changes))


def test_wrong_encoding_is_named_with_its_position(write, capsys, tmp_path):
    file = tmp_path / "corpus.txt"
    file.write_bytes("naïve".encode("latin-1"))
    message = refused(capsys, "train", write(corpus=str(file)))
    assert "byte 0xef at position 2" in message
    assert f"iconv -f LATIN1 -t UTF-8 {file} > utf8.txt" in message


def test_an_output_folder_in_use_is_refused(write, capsys, tmp_path):
    path = write()
    assert main(["train", str(path)]) == 0
    assert "already holds a run" in refused(capsys, "train", path)
    with only_user(tmp_path / "run"):
        assert "in use by another" in refused(capsys, "train", path, "--resume")
    assert not (tmp_path / "run" / LOCK_FILE).exists()


def test_resuming_nothing_is_refused(write, capsys, tmp_path):
    message = refused(capsys, "train", write(), "--resume")
    assert "is not the output folder" in message
    assert "Leave out --resume" in message
    assert not (tmp_path / "run").exists()


def test_folders_that_are_no_run_are_refused(capsys, tmp_path):
    assert "not the output folder" in refused(capsys, "evaluate", tmp_path)
    assert "no configuration file" in refused(capsys, "train", tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    assert "not valid YAML" in refused(capsys, "train", broken)


def test_opening_gives_the_best_weights(write, tmp_path):
    assert main(["train", str(write())]) == 0
    run = Run.open(tmp_path / "run")
    assert run.config.output == run.folder == tmp_path / "run"
    assert run.model.config.vocab_size == len(run.tokenizer)
    assert not run.model.training
