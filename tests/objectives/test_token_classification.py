"""Classification of tokens: padding and the continuations of a word never count, whatever their labels say."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from plm_core.data.labels import IGNORE
from plm_core.evaluation.validation import validate
from plm_core.models.heads import BertHeadConfig, TokenClassifier
from plm_core.objectives.token_classification import TokenClassification


@pytest.fixture
def model() -> TokenClassifier:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48}
    return TokenClassifier(BertHeadConfig(vocab_size=40, num_labels=3, initializer_range=0.3, **shape)).eval()


def batch(rows: int = 4, length: int = 9) -> dict[str, torch.Tensor]:
    """Every position has a label, padding and continuations too, as careless data would have it."""
    generator = torch.Generator().manual_seed(rows)
    lengths = torch.randint(2, length + 1, (rows, 1), generator=generator)
    return {
        "input_ids": torch.randint(0, 40, (rows, length), generator=generator),
        "attention_mask": torch.arange(length) < lengths,
        "labels": torch.randint(0, 3, (rows, length), generator=generator),
        "word_starts": torch.rand(rows, length, generator=generator) < 0.6,
    }


def test_the_loss_is_the_summed_cross_entropy_of_first_tokens(model):
    data = batch()
    counted = data["attention_mask"] & data["word_starts"]
    logits = model(data["input_ids"], attention_mask=data["attention_mask"])
    parts = TokenClassification()(model, data)
    torch.testing.assert_close(parts.total, F.cross_entropy(logits[counted], data["labels"][counted], reduction="sum"))
    assert parts.count == TokenClassification().count(data) == counted.sum()
    assert parts.metrics["accuracy"] == (logits.argmax(-1) == data["labels"])[counted].sum()


@pytest.mark.parametrize("hidden", ["attention_mask", "word_starts"])
def test_labels_of_padding_and_of_continuations_never_count(model, hidden):
    data = batch()
    other = {**data, "labels": torch.where(data[hidden], data["labels"], (data["labels"] + 1) % 3)}
    results = []
    for given in (data, other):
        model.zero_grad()
        parts = TokenClassification()(model, given)
        parts.total.backward()
        results.append((parts.total.detach(), parts.count, *(p.grad for p in model.parameters() if p.grad is not None)))
    assert results[0][1] == results[1][1]
    for one, same in zip(results[0], results[1], strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(same))


def test_unlabelled_tokens_add_nothing_and_rows_add_up(model):
    data = batch(5)
    data["labels"][:, 0] = IGNORE
    assert TokenClassification().count(data) == (data["attention_mask"] & data["word_starts"])[:, 1:].sum()
    cut = [{name: tensor[rows] for name, tensor in data.items()} for rows in (slice(0, 1), slice(1, 4), slice(4, 5))]
    whole, pieces = validate(model, TokenClassification(), [data]), validate(model, TokenClassification(), cut)
    assert pieces == pytest.approx(whole, rel=1e-5)


def test_without_masks_every_label_counts_and_shapes_are_checked(model):
    data = batch()
    plain = {"input_ids": data["input_ids"], "labels": data["labels"]}
    assert TokenClassification().count(plain) == data["labels"].numel()
    with pytest.raises(ValueError, match=r"labels must have shape \(4, 9\), got \(4,\)"):
        TokenClassification().count({**plain, "labels": data["labels"][:, 0]})
    with pytest.raises(ValueError, match=r"word_starts must have shape \(4, 9\), got \(4, 8\)"):
        TokenClassification().count({**plain, "word_starts": data["word_starts"][:, 1:]})


def test_smoothing_serves_training_alone(model):
    data = batch()
    smoothed = TokenClassification(label_smoothing=0.2)
    assert smoothed(model, data).total > TokenClassification()(model, data).total * 0.5
    assert smoothed(model, data).total != TokenClassification()(model, data).total
    assert validate(model, smoothed, [data]) == validate(model, TokenClassification(), [data])
