"""Classification of texts: a sum over labelled rows that padding, order and unlabelled rows do not change."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from plm_core.data.labels import IGNORE
from plm_core.evaluation.validation import validate
from plm_core.models.classifier import BertClassifier, ClassifierConfig
from plm_core.objectives.classification import Classification


@pytest.fixture
def model() -> BertClassifier:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48}
    return BertClassifier(ClassifierConfig(vocab_size=40, num_labels=3, initializer_range=0.3, **shape)).eval()


def batch(rows: int = 6, length: int = 9) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    lengths = torch.randint(2, length + 1, (rows, 1), generator=generator)
    return {
        "input_ids": torch.randint(0, 40, (rows, length), generator=generator),
        "attention_mask": torch.arange(length) < lengths,
        "labels": torch.arange(rows) % 3,
    }


def test_the_loss_is_the_summed_cross_entropy(model):
    data = batch()
    parts = Classification()(model, data)
    logits = model(data["input_ids"], attention_mask=data["attention_mask"])
    torch.testing.assert_close(parts.total, F.cross_entropy(logits, data["labels"], reduction="sum"))
    assert parts.metrics["accuracy"] == (logits.argmax(-1) == data["labels"]).sum()
    assert parts.count == Classification().count(data) == 6


def test_rows_without_a_label_add_nothing(model):
    data = batch()
    hidden = {**data, "labels": data["labels"].clone()}
    hidden["labels"][[1, 4]] = IGNORE
    kept = [0, 2, 3, 5]
    parts = Classification()(model, hidden)
    alone = Classification()(model, {name: tensor[kept] for name, tensor in data.items()})
    torch.testing.assert_close(parts.total, alone.total)
    assert parts.count == alone.count == Classification().count(hidden) == 4
    assert parts.metrics["accuracy"] == alone.metrics["accuracy"]


def test_rows_add_up_to_their_batch_however_it_is_cut(model):
    data = batch(7)
    cut = [{name: tensor[rows] for name, tensor in data.items()} for rows in (slice(0, 3), slice(3, 4), slice(4, 7))]
    whole, pieces = validate(model, Classification(), [data]), validate(model, Classification(), cut)
    assert pieces == pytest.approx(whole, rel=1e-5)
    assert whole["classification/count"] == 7


def test_padding_changes_no_loss_and_no_gradient(model):
    data = batch()
    wide = {name: F.pad(tensor, (0, 5), value=0) if tensor.dim() == 2 else tensor for name, tensor in data.items()}
    wide["input_ids"] = wide["input_ids"].masked_fill(~wide["attention_mask"], 23)
    results = []
    for given in (data, wide):
        model.zero_grad()
        parts = Classification()(model, given)
        parts.total.backward()
        results.append((parts.total.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-5)
    for narrow, broad in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(narrow, broad, rtol=1e-4, atol=1e-5)


def test_smoothing_serves_training_alone(model):
    data = batch()
    smoothed = Classification(label_smoothing=0.2)
    logits = model(data["input_ids"], attention_mask=data["attention_mask"])
    expected = F.cross_entropy(logits, data["labels"], reduction="sum", label_smoothing=0.2)
    torch.testing.assert_close(smoothed(model, data).total, expected)
    assert validate(model, smoothed, [data]) == validate(model, Classification(), [data])
    with pytest.raises(ValueError, match="label_smoothing"):
        Classification(label_smoothing=1.0)
