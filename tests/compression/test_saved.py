"""Compressed models on disk: whatever was done to them, in any order, they come back."""

from __future__ import annotations

import json

import pytest
import torch

from plm_core.compression.low_rank import factorise_model
from plm_core.compression.quantize import QuantizeConfig, quantize_model
from plm_core.compression.saved import describe, load_compressed, save_compressed
from plm_core.compression.structured import attentions, feed_forwards, remove_heads, remove_neurons
from plm_core.models.bert import Bert
from plm_core.models.classifier import BertClassifier
from plm_core.models.gpt import Gpt


@pytest.fixture
def classifier(bert: Bert) -> BertClassifier:
    return BertClassifier.from_pretrained(bert, 3)


def shrink(model):
    remove_heads(model, {next(iter(attentions(model))): [0, 2]})
    remove_neurons(model, {next(iter(feed_forwards(model))): [1, 2, 3, 40]})


RECIPES = {
    "plain": [],
    "units": [shrink],
    "rank": [lambda model: factorise_model(model, 0.6)],
    "int8": [lambda model: quantize_model(model, QuantizeConfig(activations="dynamic"))],
    "int4": [lambda model: quantize_model(model, QuantizeConfig(bits=4))],
    "all": [shrink, lambda model: factorise_model(model, 0.6), lambda model: quantize_model(model, QuantizeConfig())],
}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("kind", ["gpt", "bert", "classifier"])
def test_a_compressed_model_comes_back(recipe, kind, request, ids, tmp_path):
    model = request.getfixturevalue(kind).eval()
    for step in RECIPES[recipe]:
        step(model)
    save_compressed(model, tmp_path / "m")
    again = type(model)(model.config).eval()
    load_compressed(again, tmp_path / "m")
    assert describe(again) == describe(model)
    if kind != "bert":
        assert torch.equal(again(ids), model(ids))
    else:
        everywhere = torch.ones_like(ids, dtype=torch.bool)
        ours, theirs = (m(ids, masked_positions=everywhere) for m in (model, again))
        assert torch.equal(ours.prediction_logits, theirs.prediction_logits)
        assert torch.equal(ours.seq_relationship_logits, theirs.seq_relationship_logits)


def test_a_plain_model_needs_no_description(gpt):
    assert describe(gpt) == {}


def test_damaged_and_foreign_files_are_refused(gpt: Gpt, bert: Bert, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no compressed model"):
        load_compressed(gpt, tmp_path)
    shrink(gpt)
    save_compressed(gpt, tmp_path)
    with pytest.raises(ValueError, match="cannot be rebuilt"):
        load_compressed(bert, tmp_path)
    structure = tmp_path / "structure.json"
    for text, message in (
        ("{", "is damaged"),
        ("[1]", "expected an object"),
        (json.dumps({"decoder.layers.0.attention": {"kind": "pickle"}}), "unknown kind 'pickle'"),
        (json.dumps({"lm_head": {"kind": "tied_output", "table": "x"}}), "should read the table 'x'"),
        (json.dumps({}), "do not fit Gpt"),
    ):
        structure.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            load_compressed(Gpt(gpt.config), tmp_path)
