"""Label smoothing is torch's, over the tokens that are asked for, in training; evaluation reports the loss without."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.data.labels import IGNORE
from plm_core.evaluation.validation import validate
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.objectives.base import Joint
from plm_core.objectives.causal_lm import CausalLM
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.objectives.sentence_pair import NextSentence
from plm_core.runs.batches import make_sources
from plm_core.runs.config import RunConfig
from plm_core.runs.corpus import load_texts, train_tokenizer
from plm_core.runs.open import Run, build_model
from plm_core.runs.pretrain import pretrain
from plm_core.training.config import TrainConfig
from plm_core.training.trainer import Trainer
from tests.tiny_text import TINY_TEXT

VOCABULARY = 23
SHAPE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
DROPOUT_FREE = {**SHAPE, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def model_of(kind, config, **changes):
    torch.manual_seed(0)
    return kind(config(vocab_size=VOCABULARY, initializer_range=0.5, **DROPOUT_FREE, **changes))


def gpt():
    return model_of(Gpt, GptConfig)


def bert():
    return model_of(Bert, BertConfig)


def batch(seed=0, rows=3, length=9, asked=0.5):
    """Ragged rows, of whose real tokens some are asked for."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, VOCABULARY, (rows, length), generator=generator)
    real = torch.arange(length) < torch.randint(2, length + 1, (rows, 1), generator=generator)
    chosen = real & (torch.rand(rows, length, generator=generator) < asked)
    return {
        "input_ids": ids.masked_fill(~real, 0),
        "attention_mask": real,
        "labels": torch.randint(5, VOCABULARY, (rows, length), generator=generator).masked_fill(~chosen, IGNORE),
        "pair_labels": torch.randint(0, 2, (rows,), generator=generator),
    }


def asked_logits(model, data):
    """The logits (N, V) and labels (N,) of the tokens that are asked for, taken from all logits of the model."""
    places = data["labels"] != IGNORE
    inputs = {"input_ids": data["input_ids"], "attention_mask": data["attention_mask"]}
    if isinstance(model, Gpt):
        return model(**inputs)[places], data["labels"][places]
    everywhere = torch.arange(places.numel())
    logits = model(**inputs, masked_positions=everywhere).prediction_logits
    return logits[places.flatten()], data["labels"][places]


def torch_loss(model, data, smoothing):
    """The sum over the asked-for tokens, each by torch's own smoothing."""
    logits, labels = asked_logits(model, data)
    return sum(
        F.cross_entropy(row, label, label_smoothing=smoothing) for row, label in zip(logits, labels, strict=True)
    )


TASKS = [
    pytest.param(gpt, lambda s: CausalLM(label_smoothing=s), id="causal"),
    pytest.param(gpt, lambda s: CausalLM(label_smoothing=s, sliced=True), id="causal, sliced"),
    pytest.param(bert, lambda s: MaskedLM(label_smoothing=s), id="masked"),
]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize(("make_model", "task"), TASKS)
def test_loss_and_gradients_are_torchs_summed_over_labelled_tokens(make_model, task, smoothing):
    model, data, objective = make_model(), batch(), task(smoothing)
    expected = torch_loss(model, data, smoothing)
    expected.backward()
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    part = objective(model, objective.prepare(data))
    part.total.backward()
    assert part.count == objective.count(data) == int((data["labels"] != IGNORE).sum())
    torch.testing.assert_close(part.total, expected, rtol=1e-5, atol=1e-5)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        if gradient is not None:
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("make_model", "task"), TASKS)
@given(smoothing=st.floats(0.0, 0.99), seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_it_mixes_the_label_with_every_token_alike(make_model, task, smoothing, seed):
    """(1 - s) of -log p(label), and s of the mean of -log p(token) over the vocabulary (Szegedy et al. 2016)."""
    model, data = make_model(), batch(seed)
    with torch.no_grad():
        log_p, labels = asked_logits(model, data)[0].log_softmax(-1), data["labels"][data["labels"] != IGNORE]
        label_NV = F.one_hot(labels, VOCABULARY)
        expected = -((1 - smoothing) * label_NV * log_p + smoothing * log_p / VOCABULARY).sum()
        objective = task(smoothing)
        part = objective(model, objective.prepare(data))
        torch.testing.assert_close(part.total, expected, rtol=1e-4, atol=1e-4)
        assert part.metrics["accuracy"] == (log_p.argmax(-1) == labels).sum(), "what is right stays right"


@pytest.mark.parametrize(("make_model", "task"), TASKS)
def test_evaluation_reports_the_loss_without_it(make_model, task):
    model, objective = make_model(), task(0.3)
    batches = [batch(seed) for seed in range(3)]
    with torch.no_grad():
        count = sum(objective.count(data) for data in batches)
        plain, smoothed = (sum(torch_loss(model, data, s) for data in batches).item() / count for s in (0.0, 0.3))
    measured = validate(model, objective, batches)
    assert measured["loss"] == measured[f"{objective.name}/loss"] == pytest.approx(plain, rel=1e-5)
    assert abs(plain - smoothed) > 1e-2, "the batches can tell the two apart"
    assert objective.label_smoothing == 0.3, "the objective itself still smooths"


def test_a_joint_task_is_evaluated_without_it_too():
    model, data = bert(), batch()
    joint = Joint([MaskedLM(label_smoothing=0.3), NextSentence()], [1.0, 0.5])
    with torch.no_grad():
        count = int((data["labels"] != IGNORE).sum())
        pairs = NextSentence()(model, data)
        pair_loss = pairs.total.item() / pairs.count
        plain, smoothed = (torch_loss(model, data, s).item() / count for s in (0.0, 0.3))
        assert joint.terms(model, joint.prepare(data))["masked_lm"].total.item() / count == pytest.approx(smoothed)
    assert validate(model, joint, [data])["loss"] == pytest.approx(plain + 0.5 * pair_loss, rel=1e-5)


@pytest.mark.parametrize(("make_model", "task"), TASKS)
def test_the_trainer_logs_it_in_training_and_not_in_validation(make_model, task):
    model, objective = make_model(), task(0.3)

    class Source:
        def batch(self, index):
            return batch(index)

    with torch.no_grad():
        count = objective.count(batch(0)) + objective.count(batch(1))
        smoothed = sum(torch_loss(model, batch(index), 0.3) for index in (0, 1)).item() / count
    config = TrainConfig(steps=1, micro_batches=2, warmup_steps=0, eval_every=1, log_every=1)
    trainer = Trainer(model, objective, Source(), config, valid_batches=[batch(7)], quiet=True)
    trainer.fit()
    with torch.no_grad():
        plain = torch_loss(model, batch(7), 0.0).item() / objective.count(batch(7))
    logged = {key: value for record in trainer.records for key, value in record.items()}
    for key in ("train/loss", f"train/{objective.name}/loss"):
        assert logged[key] == pytest.approx(smoothed, rel=1e-5)
    assert logged["valid/loss"] == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("objective", [CausalLM, MaskedLM])
@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5])
def test_shares_outside_zero_to_one_are_refused(objective, share):
    with pytest.raises(ValueError, match="expected 0 <= it < 1"):
        objective(label_smoothing=share)


def run_config(folder, objective, **changes):
    values = {
        "corpus": str(TINY_TEXT),
        "tokenizer": "words",
        "output": folder,
        "objective": objective,
        "max_documents": 40,
        "context": 64,
        "batch_size": 4,
        "model": DROPOUT_FREE,
        "label_smoothing": 0.25,
        "train": {"steps": 1, "warmup_steps": 0, "log_every": 1, "eval_every": 1},
    }
    return RunConfig(**{**values, **changes})


@pytest.mark.parametrize("objective", ["causal_lm", "masked_lm", "masked_lm+next_sentence"])
def test_a_runs_setting_reaches_its_objective_and_not_its_report(monkeypatch, tmp_path, objective):
    monkeypatch.setenv("PLM_DEVICE", "cpu")
    monkeypatch.setattr("plm_core.runs.pretrain.plot_learning_curve", lambda *_, **__: None)  # tested elsewhere
    config = run_config(tmp_path / "run", objective)
    texts = load_texts(config)
    tokenizer = train_tokenizer(config, texts)
    sources = make_sources(config, texts, tokenizer, tmp_path)
    task = sources.objective.objectives[0] if isinstance(sources.objective, Joint) else sources.objective
    assert task.label_smoothing == 0.25

    losses = []
    for smoothing in (0.25, 0.0):
        report = pretrain(config.replace(label_smoothing=smoothing, output=tmp_path / f"{smoothing}"), quiet=True)
        losses.append(report.metrics[f"{task.name}/loss"])
        model = Run.open(tmp_path / f"{smoothing}").model
        whole = sum(plain_sum(model, task, data) for data in sources.valid)
        assert losses[-1] == pytest.approx(whole / sum(task.count(data) for data in sources.valid), rel=1e-5)
    assert losses[0] != losses[1], "it has changed the training"


def plain_sum(model, task, data):
    """The unsmoothed loss of a batch, from the model's logits."""
    inputs = {key: value for key, value in task.inputs(data).items() if key not in ("labels", "label_smoothing")}
    with torch.no_grad():
        output = model(**inputs)
    asked = data["labels"][data["labels"] != IGNORE]
    logits = output[data["labels"] != IGNORE] if task.name == "causal_lm" else output.prediction_logits
    return F.cross_entropy(logits, asked, reduction="sum").item()


def test_the_first_step_of_a_run_is_smoothed(monkeypatch, tmp_path):
    monkeypatch.setenv("PLM_DEVICE", "cpu")
    config = run_config(tmp_path, "causal_lm")
    texts = load_texts(config)
    tokenizer = train_tokenizer(config, texts)
    sources = make_sources(config, texts, tokenizer, tmp_path)
    model, data = build_model(config, tokenizer), sources.train.batch(0)
    trainer = Trainer(model, sources.objective, sources.train, config.train, quiet=True)
    with torch.no_grad():
        given = sources.objective.inputs(data)
        logits = model(**{key: value for key, value in given.items() if key not in ("labels", "label_smoothing")})
        asked = data["labels"] != IGNORE
        expected = F.cross_entropy(logits[asked], data["labels"][asked], label_smoothing=0.25).item()
    trainer.fit()
    assert trainer.records[0]["train/loss"] == pytest.approx(expected, rel=1e-5)
