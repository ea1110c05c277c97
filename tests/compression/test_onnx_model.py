"""An ONNX file stands in for its model: the same objectives score the same, whatever the batch looks like."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch

from plm_core.compression.export import quantize_onnx
from plm_core.compression.onnx_model import OnnxModel, file_numbers
from plm_core.compression.structure import stored_bytes
from plm_core.data.batches import PackedBatches, PaddedBatches
from plm_core.data.labels import IGNORE
from plm_core.evaluation.validation import validate
from plm_core.objectives.base import Joint
from plm_core.objectives.causal_lm import CausalLM
from plm_core.objectives.classification import Classification
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.objectives.sentence_pair import NextSentence

pytestmark = pytest.mark.xdist_group("onnx")  # one worker loads the exporter, which takes seconds


def opened(path: Path) -> OnnxModel:
    return OnnxModel(path, threads=1)


def close(first: dict[str, float], second: dict[str, float]) -> bool:
    return first == pytest.approx(second, abs=1e-4)


def test_a_masked_model_and_its_file_agree_in_both_tasks(bert_files, ids):
    mask = torch.arange(9) < torch.tensor([[9], [4], [7]])
    labels = ids.masked_fill(torch.arange(9) % 3 != 1, IGNORE).masked_fill(~mask, IGNORE)
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels, "pair_labels": torch.tensor([0, 1, 0])}
    (model, path), task = bert_files, Joint([MaskedLM(), NextSentence()])
    file = opened(path)
    assert close(validate(file, task, [batch]), validate(model, task, [batch]))
    with torch.no_grad():
        for places in (None, mask, torch.tensor([3, 0])):
            ours, theirs = (m(ids, attention_mask=mask, masked_positions=places) for m in (model, file))
            torch.testing.assert_close(theirs.last_hidden_state[mask], ours.last_hidden_state[mask], rtol=0, atol=1e-4)
            torch.testing.assert_close(theirs.pooler_output, ours.pooler_output, rtol=0, atol=1e-4)
            if places is None:
                assert theirs.prediction_logits is None
            else:
                torch.testing.assert_close(theirs.prediction_logits, ours.prediction_logits, rtol=0, atol=1e-4)
    assert file(ids, query_positions=mask).last_hidden_state is None
    with pytest.raises(ValueError, match="pad rows, do not pack"):
        file(ids, position_ids=torch.zeros_like(ids))


def test_a_classifier_and_its_file_have_equal_logits(classifier_files, ids):
    model, path = classifier_files
    batch = {"input_ids": ids, "labels": torch.tensor([0, 2, 1])}
    assert close(validate(opened(path), Classification(), [batch]), validate(model, Classification(), [batch]))


def test_a_causal_model_and_its_file_agree_on_padded_and_on_packed_rows(rope_files):
    model, file = rope_files[0], opened(rope_files[1])
    generator = torch.Generator().manual_seed(0)
    documents = [torch.randint(0, 40, (length,), generator=generator) for length in (9, 4, 12, 3, 5, 2, 7)]
    padded = PaddedBatches([d.tolist() for d in documents], batch_size=3, pad_id=0, seed=0).in_order()
    packed = PackedBatches(documents, row_length=16, batch_size=2, pad_id=0, seed=0).in_order()
    assert any((batch["position_ids"][:, 1:] == 0).any() for batch in packed)
    for batches in (padded, packed):
        for task in (CausalLM(), CausalLM(sliced=True)):
            assert close(validate(file, task, batches), validate(model, task, batches))
    with pytest.raises(ValueError, match="need position_ids"):
        file(packed[0]["input_ids"], attention_mask=packed[0]["attention_mask"])


def test_the_integer_form_is_the_same_kind_of_file(rope_files, ids, tmp_path):
    model, file = rope_files[0], opened(rope_files[1])
    quantize_onnx(file.path, tmp_path / "int8.onnx")
    small = OnnxModel(tmp_path / "int8.onnx")
    exact = file(ids)
    assert (small(ids) - exact).square().mean() < 0.01 * exact.square().mean()
    assert file_numbers(file.path) >= stored_bytes(model) / 4


def test_a_file_of_somebody_else_is_refused(tmp_path):
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "g", [value], [out])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(ValueError, match="takes x and gives y"):
        OnnxModel(tmp_path / "x.onnx")
    with pytest.raises(FileNotFoundError, match="no ONNX file"):
        OnnxModel(tmp_path / "none.onnx")
