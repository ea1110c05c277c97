"""What a run will need of memory is predicted from its configuration, and measured to be so."""

from pathlib import Path

import pytest
import torch

from plm_core import cli
from plm_core.models.bert import Bert
from plm_core.models.gpt import Gpt
from plm_core.objectives.causal_lm import CausalLM
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.runs.config import RunConfig
from plm_core.runs.memory import run_ledger
from plm_core.training.blocks import checkpoint_activations
from plm_core.training.memory import measured_ledger
from plm_core.training.optim import make_optimizer

VOCABULARY = 300


def make_run(objective="causal_lm", *, train=None, **shape):
    model = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 160, **shape}
    return RunConfig(
        corpus="storyworld-small-en",
        output=Path("nowhere"),
        objective=objective,
        context=32,
        batch_size=8,
        model=model,
        train=train or {},
        masking={"rate": 0.25},
    )


def measure(run, precision):
    torch.manual_seed(0)
    shape = run.model_config(VOCABULARY)
    model = Bert(shape) if run.is_masked else Gpt(shape)
    if run.train.activation_checkpointing:
        checkpoint_activations(model)
    ids = torch.randint(VOCABULARY, (run.batch_size, run.context))
    labels = ids.masked_fill(torch.arange(run.context) % 4 > 0, -100) if run.is_masked else ids
    return measured_ledger(
        model,
        MaskedLM() if run.is_masked else CausalLM(sliced=True),
        {"input_ids": ids, "labels": labels},
        optimizer=make_optimizer(model, run.train),
        precision=precision,
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("objective", ["causal_lm", "masked_lm"])
@pytest.mark.parametrize("norm_position", ["pre", "post"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_memory_is_predicted_within_five_percent(precision, objective, norm_position, dropout):
    run = make_run(
        objective,
        norm_position=norm_position,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    predicted, measured = run_ledger(run, VOCABULARY, precision=precision), measure(run, precision)
    for row in ("weights", "gradients", "optimizer"):
        assert getattr(predicted, row) == pytest.approx(getattr(measured, row), rel=0.05), row
    assert predicted.activations == pytest.approx(measured.activations, rel=0.05)


@pytest.mark.parametrize("shape", [{"hidden_act": "relu"}, {"hidden_act": "swiglu"}, {"position": "sinusoidal"}])
def test_the_prediction_holds_for_other_shapes(shape):
    run = make_run(**shape)
    assert run_ledger(run, VOCABULARY, precision="bf16").activations == pytest.approx(
        measure(run, "bf16").activations, rel=0.05
    )


def test_recomputed_activations_need_one_block_at_a_time():
    few, many = (make_run(train={"activation_checkpointing": True}, num_hidden_layers=n) for n in (2, 6))
    plain = [run_ledger(make_run(num_hidden_layers=n), VOCABULARY, precision="fp32").activations for n in (2, 6)]
    kept = [run_ledger(run, VOCABULARY, precision="fp32").activations for run in (few, many)]
    assert kept[0] < plain[0]
    assert kept[1] - kept[0] == 4 * (8 * 32 * 64 * 4), "four more inputs"
    measured = [measure(run, "fp32").activations for run in (few, many)]
    assert measured[1] - measured[0] == pytest.approx(kept[1] - kept[0], rel=0.05)


def test_on_a_gpu_dropout_keeps_less():
    run = make_run(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    on_gpu, on_cpu = (run_ledger(run, VOCABULARY, precision="bf16", device=d).activations for d in ("cuda", "cpu"))
    without = run_ledger(make_run(), VOCABULARY, precision="bf16", device="cuda").activations
    none = run_ledger(
        make_run(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0), VOCABULARY, precision="bf16", device="cuda"
    ).activations
    assert none < on_gpu < on_cpu
    assert on_gpu - none == 8 * 32 * 64 * (3 * 2 + 1), "a byte for each coin of two branches, and of the embeddings"
    assert without >= none


def test_plm_info_prints_the_prediction(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PLM_DEVICE", "cpu")
    path = tmp_path / "run.yaml"
    path.write_text(f"corpus: storyworld-small-en\noutput: {tmp_path / 'run'}\nmodel: {{hidden_size: 64}}\n")
    assert cli.main(["info", str(path), "batch_size=4", "precision=bf16"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["precision"] == "bf16 (as configured)"
    assert "MiB predicted for a step" in rows["memory"]
    assert "activations" in rows["memory"]
    assert cli.main(["info", str(path), "train.optimizer=muon"]) == 0
    assert "does not follow from a count" in capsys.readouterr().out
    assert cli.main(["info", str(tmp_path / "none.yaml")]) == 2
    assert "no configuration file" in capsys.readouterr().err
