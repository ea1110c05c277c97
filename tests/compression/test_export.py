"""ONNX files compute what the models compute, at any batch and length, with padding and with a cache."""

from __future__ import annotations

import pytest
import torch

from plm_core.compression.export import export_onnx, open_onnx, quantize_onnx, runner
from plm_core.compression.low_rank import factorise_model
from plm_core.compression.onnx_graphs import GptGraph, graph
from plm_core.compression.onnx_model import OnnxModel
from plm_core.compression.quantize import QuantizeConfig, quantize_model
from plm_core.compression.structured import attentions, remove_heads
from plm_core.models.classifier import BertClassifier, ClassifierConfig
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.heads import BertHeadConfig, GptHeadConfig, SequenceClassifier
from tests.compression import conftest

pytestmark = pytest.mark.xdist_group("onnx")  # one worker loads the exporter, which takes seconds
SHAPE = {**conftest.SHAPE, "initializer_range": 0.2}


@pytest.fixture(scope="module", params=["learned", "rope"])
def gpt_files(request, exported):
    """The name of a position scheme, a GPT that has it, and the model's ONNX file."""
    return request.param, *exported(Gpt, GptConfig(**SHAPE, position=request.param))


def bert_inputs(batch: int, tokens: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(batch * tokens)
    mask = torch.ones(batch, tokens, dtype=torch.bool)
    mask[-1, tokens // 2 + 1 :] = False
    return {
        "input_ids": torch.randint(0, 40, (batch, tokens), generator=generator),
        "attention_mask": mask,
        "token_type_ids": torch.randint(0, 2, (batch, tokens), generator=generator),
    }


def test_bert_agrees_at_every_batch_and_length(bert_files):
    model, path = bert_files
    run, module = runner(open_onnx(path)), graph(model)
    for batch in (1, 2, 7):
        for tokens in (2, 17, 128):
            inputs = bert_inputs(batch, tokens)
            with torch.no_grad():
                expected = module(*inputs.values())
            real = inputs["attention_mask"]
            states, words, sentences, pooled = run(inputs)
            torch.testing.assert_close(states[real], expected[0][real], rtol=0, atol=1e-4)
            torch.testing.assert_close(words[real], expected[1][real], rtol=0, atol=1e-4)
            torch.testing.assert_close(sentences, expected[2], rtol=0, atol=1e-4)
            torch.testing.assert_close(pooled, expected[3], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("position", "norm_position"), [("learned", "post"), ("rope", "pre")])
def test_a_classifier_agrees_at_every_batch_and_length(position, norm_position, exported):
    config = ClassifierConfig(**SHAPE, num_labels=3, position=position, norm_position=norm_position)
    model, path = exported(BertClassifier, config)
    run = runner(open_onnx(path))
    for batch in (1, 2, 7):
        for tokens in (2, 17, 128):
            inputs = bert_inputs(batch, tokens)
            with torch.no_grad():
                expected = model(**inputs)
            (logits,) = run(inputs)
            torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


def test_a_classifier_that_pools_states_agrees_with_padding(exported):
    model, path = exported(SequenceClassifier, BertHeadConfig(**SHAPE, num_labels=3, pooling="mean"))
    for shape in ((1, 2), (7, 17)):
        inputs = bert_inputs(*shape)
        with torch.no_grad():
            torch.testing.assert_close(OnnxModel(path)(**inputs), model(**inputs), rtol=0, atol=1e-4)


def part(module, whole, start, end, past):
    """The inputs of a causal file for the tokens from start to end, after those in the past."""
    given = {name: tensor[:, start:end] for name, tensor in whole.items()}
    given |= {"attention_mask": whole["attention_mask"][:, :end], "past": past}
    return {name: given[name] for name in module.inputs}


def test_gpt_agrees_with_and_without_a_past(gpt_files):
    _, model, path = gpt_files
    run, module = runner(open_onnx(path)), GptGraph(model)
    for batch in (1, 2, 7):
        for tokens in (2, 17, 128):
            ids = torch.randint(0, 40, (batch, tokens))
            mask = torch.ones_like(ids, dtype=torch.bool)
            mask[-1, : tokens // 3] = False  # padding on the left, as generation has it
            places = (mask.cumsum(-1) - 1).clamp(min=0)
            with torch.no_grad():
                full = model(ids, attention_mask=mask, position_ids=places)

            whole = {"input_ids": ids, "attention_mask": mask, "position_ids": places}
            empty, cut = module.empty_past(batch), tokens // 2
            logits, _ = run(part(module, whole, 0, tokens, empty))
            torch.testing.assert_close(logits[mask], full[mask], rtol=0, atol=1e-4)
            _, past = run(part(module, whole, 0, cut, empty))
            last, _ = run(part(module, whole, cut, cut + 1, past))
            torch.testing.assert_close(last[:, 0], full[:, cut], rtol=0, atol=1e-4)


def test_a_causal_file_names_its_axes_and_computes_with_the_positions_that_it_is_given(gpt_files):
    position, model, path = gpt_files
    ids, mask = torch.randint(0, 40, (2, 8)), torch.ones(2, 8, dtype=torch.bool)
    mask[:, :3] = False
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        expected = model(ids, attention_mask=mask, position_ids=places)
    found = OnnxModel(path)(ids, attention_mask=mask, position_ids=places)
    torch.testing.assert_close(found[:, 3:], expected[:, 3:], rtol=0, atol=1e-4)
    session = open_onnx(path)
    axes = {node.name: node.shape for node in (*session.get_inputs(), *session.get_outputs())}
    assert axes["input_ids"] == ["batch", "tokens"]
    assert ("position_ids" in axes) == (position == "learned")
    assert axes["attention_mask"] == ["batch", "past_and_tokens"]
    assert [axis for axis in axes["past"] if isinstance(axis, str)] == ["batch", "past"]
    assert axes["logits"][:2] == ["batch", "tokens"]


def test_a_compressed_model_is_exported_as_it_is(tmp_path):
    torch.manual_seed(0)
    model = Gpt(GptConfig(**SHAPE, position="rope")).eval()
    remove_heads(model, {name: [0] for name in attentions(model)})
    factorise_model(model, 0.6)
    quantize_model(model, QuantizeConfig())
    export_onnx(model, tmp_path / "small.onnx")
    ids = torch.randint(0, 40, (2, 9))
    mask, past = torch.ones_like(ids, dtype=torch.bool), graph(model).empty_past(2)
    logits, present = runner(open_onnx(tmp_path / "small.onnx"))(
        {"input_ids": ids, "attention_mask": mask, "past": past}
    )
    torch.testing.assert_close(logits, model(ids).detach(), rtol=0, atol=1e-4)
    assert present.shape == (2, 2, 2, 3, 9, 8)


def test_integer_files_are_smaller_and_close(bert_files, tmp_path):
    path, inputs = bert_files[1], bert_inputs(4, 30)
    real = inputs["attention_mask"]
    exact = runner(open_onnx(path))(inputs)[0][real]
    samples = [{name: tensor.numpy() for name, tensor in bert_inputs(4, tokens).items()} for tokens in (9, 30)]
    for name, calibration in (("dynamic", None), ("static", samples)):
        quantize_onnx(path, tmp_path / f"{name}.onnx", calibration=calibration)
        states = runner(open_onnx(tmp_path / f"{name}.onnx"))(inputs)[0][real]
        error = (states - exact).square().mean() / exact.square().mean()
        assert error < 0.01, name
        assert not (tmp_path / f"{name}.prepared.onnx").exists()


def test_bad_input_is_refused(bert_files, tmp_path):
    with pytest.raises(ValueError, match="only Bert, Gpt and text classifiers on a Bert"):
        export_onnx(torch.nn.Linear(2, 2), tmp_path / "x.onnx")
    with pytest.raises(ValueError, match="a SequenceClassifier cannot be exported"):
        export_onnx(SequenceClassifier(GptHeadConfig(**SHAPE)), tmp_path / "x.onnx")
    with pytest.raises(FileNotFoundError, match="no ONNX file"):
        open_onnx(tmp_path / "nothing.onnx")
    with pytest.raises(FileNotFoundError, match="no ONNX file"):
        quantize_onnx(tmp_path / "nothing.onnx", tmp_path / "y.onnx")
    with pytest.raises(ValueError, match="at least one input"):
        quantize_onnx(bert_files[1], tmp_path / "y.onnx", calibration=[])
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(bert_files[1].read_bytes()[:1000])
    with pytest.raises(ValueError, match="is damaged or no ONNX model"):
        open_onnx(damaged)
    uneven = Gpt(GptConfig(**SHAPE))
    remove_heads(uneven, {next(iter(attentions(uneven))): [0]})
    with pytest.raises(ValueError, match="heads from every block"):
        graph(uneven)
