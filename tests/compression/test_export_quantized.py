"""ONNX files of quantised models compute what the models compute, and store little more than their integers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from plm_core.compression.export_quantized import export_quantized
from plm_core.compression.low_rank import input_moments
from plm_core.compression.onnx_graphs import BertGraph
from plm_core.compression.onnx_model import OnnxModel, file_numbers
from plm_core.compression.quantize import QuantizeConfig, quantize_model
from plm_core.compression.rounding import quantize_by_inputs
from plm_core.compression.structure import stored_bytes
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.heads import BertHeadConfig, SequenceClassifier
from tests.compression import conftest

pytestmark = pytest.mark.xdist_group("onnx")  # one worker loads the exporter, which takes seconds
WORDS = 9000  # the exporter stores tensors of up to 8192 scales in 32 bits
SHAPE = {**conftest.SHAPE, "vocab_size": WORDS, "num_hidden_layers": 1, "initializer_range": 0.2}
FOUR = QuantizeConfig(bits=4, granularity="group", group_size=16, embedding_bits=4, scale_bits=16)
EIGHT = FOUR.replace(bits=8, embedding_bits=8)
ROWS = QuantizeConfig()  # 8 bits, a scale for each row: of 48 columns in the middle of the feed-forward layers
MATRIX = QuantizeConfig(granularity="tensor", scale_bits=16)

MODELS: dict[str, Callable[[], nn.Module]] = {
    "classifier": lambda: SequenceClassifier(BertHeadConfig(**SHAPE, num_labels=3, pooling="mean")),
    "causal, tied": lambda: Gpt(GptConfig(**SHAPE, position="rope")),
    "causal, untied": lambda: Gpt(GptConfig(**SHAPE, tie_word_embeddings=False)),
    "masked, tied": lambda: Bert(BertConfig(**SHAPE)),
}


def made(kind: str) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[kind]().eval()


@pytest.fixture(scope="module")
def inputs() -> dict[str, torch.Tensor]:
    ids = torch.randint(0, WORDS, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[-1, 5:] = False
    return {"input_ids": ids, "attention_mask": mask}


def answer(model: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits of classes, (B, C), or of words at the real tokens, (N, V)."""
    real = inputs["attention_mask"]
    is_masked = isinstance(model, Bert) or (isinstance(model, OnnxModel) and model.kind is BertGraph)
    with torch.no_grad():
        if is_masked:
            return model(**inputs, masked_positions=real).prediction_logits
        found = model(**inputs)
    return found[real] if found.dim() == 3 else found


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    """A quantised model and its file with products in floats, made once."""
    found: dict[tuple[str, QuantizeConfig], tuple[nn.Module, Path]] = {}

    def export(kind: str, config: QuantizeConfig) -> tuple[nn.Module, Path]:
        if (kind, config) not in found:
            model, path = made(kind), tmp_path_factory.mktemp("onnx") / "model.onnx"
            quantize_model(model, config)
            export_quantized(model, path, exact=True)
            found[kind, config] = model, path
        return found[kind, config]

    return export


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("classifier", FOUR),
        ("classifier", ROWS),
        ("causal, tied", FOUR),
        ("causal, tied", EIGHT),
        ("causal, untied", MATRIX),
        ("masked, tied", FOUR),
    ],
)
def test_a_file_computes_what_the_quantized_model_computes(kind, config, inputs, quantized):
    model, path = quantized(kind, config)
    expected, file = answer(model, inputs), OnnxModel(path, threads=1)
    torch.testing.assert_close(answer(file, inputs), expected, rtol=0, atol=1e-4)
    assert not torch.allclose(answer(made(kind), inputs), expected, rtol=0, atol=1e-3)  # floats would be noticed
    longer = {name: tensor.repeat(2, 3)[:, :20] for name, tensor in inputs.items()}  # batch and length are dynamic
    torch.testing.assert_close(answer(file, longer), answer(model, longer), rtol=0, atol=1e-4)


def test_integers_and_channel_scales_that_were_chosen_by_the_inputs_are_kept(inputs, tmp_path):
    model = made("causal, untied")
    moments = input_moments(model, lambda each: each(**inputs))
    quantize_by_inputs(model, FOUR, moments, rounding="awq")
    export_quantized(model, tmp_path / "x.onnx", exact=True)
    found = answer(OnnxModel(tmp_path / "x.onnx", threads=1), inputs)
    torch.testing.assert_close(found, answer(model, inputs), rtol=0, atol=1e-4)


def test_rounding_the_inputs_to_8_bits_adds_little_to_the_error_of_4_bit_weights(inputs, quantized, tmp_path):
    model, _ = quantized("classifier", FOUR)
    export_quantized(model, tmp_path / "x.onnx")
    expected, found = answer(model, inputs), answer(OnnxModel(tmp_path / "x.onnx", threads=1), inputs)
    of_weights = (answer(made("classifier"), inputs) - expected).square().mean()
    assert 0 < (found - expected).square().mean() < 0.1 * of_weights


def test_a_file_takes_the_bytes_of_its_integers_and_scales(quantized):
    sizes = {}
    for config in (FOUR, EIGHT):
        model, path = quantized("causal, tied", config)
        sizes[config] = path.stat().st_size
        assert stored_bytes(model) < sizes[config] < stored_bytes(model) + 40_000  # the graph and small constants
        assert file_numbers(path) >= stored_bytes(model) / 4
    saved = stored_bytes(quantized("causal, tied", EIGHT)[0]) - stored_bytes(quantized("causal, tied", FOUR)[0])
    assert sizes[EIGHT] - sizes[FOUR] == pytest.approx(saved, rel=0.05)


@pytest.mark.parametrize("config", [FOUR, EIGHT])
def test_a_tied_output_layer_reads_the_integers_of_the_table(config, quantized):
    weights = onnx.load(quantized("causal, tied", config)[1]).graph.initializer
    tables = [tensor for tensor in weights if WORDS in tensor.dims and tensor.data_type == onnx.TensorProto.UINT8]
    assert [list(tensor.dims) for tensor in tables] == [[WORDS, 32 * config.embedding_bits // 8]]


def test_two_integers_in_a_byte_count_as_two_numbers(quantized):
    four, eight = (file_numbers(quantized("causal, tied", config)[1]) for config in (FOUR, EIGHT))
    assert four - eight == WORDS  # with 4 bits a vector has two scales, with 8 bits one


def test_what_cannot_be_written_is_refused(tmp_path):
    refused = partial(export_quantized, path=tmp_path / "x.onnx")
    with pytest.raises(ValueError, match="no integer weights: quantise it first"):
        refused(made("classifier"))
    for config, message in (
        (QuantizeConfig(activations="dynamic"), "has integer activations"),
        (FOUR.replace(group_size=8), "8 weights share a scale.*multiple of 16"),
    ):
        model = made("classifier")
        quantize_model(model, config)
        with pytest.raises(ValueError, match=message):
            refused(model)
    other = nn.Sequential(nn.Linear(16, 16))
    quantize_model(other, ROWS)
    with pytest.raises(ValueError, match="a Sequential cannot be exported"):
        refused(other)
    assert not (tmp_path / "x.onnx").exists()
