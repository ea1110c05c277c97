"""Spans and relations: both ends of the answer are scored, padding never is, and the best span is the best of all."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from plm_core.data.labels import IGNORE
from plm_core.evaluation.validation import validate
from plm_core.models.heads import BertHeadConfig, RelationClassifier, SpanExtractor, SpanLogits
from plm_core.objectives.relations import RelationClassification
from plm_core.objectives.spans import SpanExtraction, best_spans

SHAPE = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48}


@pytest.fixture
def model() -> SpanExtractor:
    torch.manual_seed(0)
    return SpanExtractor(BertHeadConfig(vocab_size=40, initializer_range=0.3, **SHAPE)).eval()


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {
        "input_ids": torch.randint(0, 40, (4, 9), generator=generator),
        "attention_mask": torch.arange(9) < torch.tensor([[9], [6], [4], [8]]),
        "start_positions": torch.tensor([2, 0, 1, 3]),
        "end_positions": torch.tensor([5, 0, 3, 3]),
    }


def test_the_loss_is_that_of_both_ends(model):
    data = batch()
    logits = model(data["input_ids"], attention_mask=data["attention_mask"])
    expected = sum(
        F.cross_entropy(x[row, :length][None], data[name][row : row + 1])
        for row, length in enumerate((9, 6, 4, 8))
        for x, name in ((logits.start, "start_positions"), (logits.end, "end_positions"))
    )
    parts = SpanExtraction()(model, data)
    torch.testing.assert_close(parts.total, expected)
    assert parts.count == SpanExtraction().count(data) == 4
    both = (logits.start.argmax(1) == data["start_positions"]) & (logits.end.argmax(1) == data["end_positions"])
    assert parts.metrics["accuracy"] == both.sum()


def test_the_loss_is_twice_hugging_faces():
    """Theirs is the mean of both ends; ours is their sum, the log-likelihood of the span."""
    from transformers import BertConfig, BertForQuestionAnswering

    torch.manual_seed(0)
    theirs, data = BertForQuestionAnswering(BertConfig(vocab_size=40, **SHAPE)).eval(), batch()
    data["attention_mask"] = torch.ones(4, 9, dtype=torch.bool)  # theirs lets padding take part
    expected = theirs(**data | {"attention_mask": data["attention_mask"].long()})
    logits = SpanLogits(expected.start_logits, expected.end_logits)
    torch.testing.assert_close(SpanExtraction().score(logits, data).total / 4, 2 * expected.loss)


def test_rows_without_a_label_add_nothing_and_rows_add_up(model):
    data = batch()
    hidden = {**data, "end_positions": torch.tensor([5, IGNORE, 3, 3])}
    kept = [0, 2, 3]
    alone = SpanExtraction()(model, {name: tensor[kept] for name, tensor in data.items()})
    parts = SpanExtraction()(model, hidden)
    torch.testing.assert_close(parts.total, alone.total)
    assert parts.count == alone.count == SpanExtraction().count(hidden) == 3
    assert parts.metrics["accuracy"] == alone.metrics["accuracy"]
    cut = [{name: tensor[row : row + 1] for name, tensor in data.items()} for row in range(4)]
    assert validate(model, SpanExtraction(), cut) == pytest.approx(validate(model, SpanExtraction(), [data]), rel=1e-5)


def test_padding_changes_no_loss_and_no_gradient(model):
    data = batch()
    wide = {name: F.pad(tensor, (0, 5), value=0) if tensor.dim() == 2 else tensor for name, tensor in data.items()}
    wide["input_ids"] = wide["input_ids"].masked_fill(~wide["attention_mask"], 23)
    results = []
    for given_batch in (data, wide):
        model.zero_grad()
        parts = SpanExtraction()(model, given_batch)
        parts.total.backward()
        results.append([parts.total.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    for narrow, broad in zip(*results, strict=True):
        torch.testing.assert_close(narrow, broad, rtol=1e-4, atol=1e-5)


def test_a_row_of_padding_gives_zeros_and_no_nan(model):
    data = batch()
    data["attention_mask"][1] = False
    data["start_positions"][1] = IGNORE
    parts = SpanExtraction()(model, data)
    parts.total.backward()
    assert parts.count == 3
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (5, 4, "row 0: the span from token 5 to 4"),
        (2, 9, "row 0: the span from token 2 to 9 does not lie in its row of 9 tokens"),
        (-3, 4, "row 0: the span from token -3"),
        (3, 4, "row 0: its span begins or ends at a token that is not among the candidates"),
    ],
)
def test_impossible_spans_are_named(model, start, end, message):
    data = batch()
    data["candidates"] = torch.arange(9).expand(4, 9) != 4
    data["start_positions"][0], data["end_positions"][0] = start, end
    with pytest.raises(ValueError, match=message):
        SpanExtraction()(model, data)


@given(st.integers(0, 2**20), st.integers(1, 6), st.booleans())
def test_the_best_span_is_the_best_of_all(seed, max_length, restrict):
    generator = torch.Generator().manual_seed(seed)
    start, end = torch.randn(2, 2, 6, generator=generator, dtype=torch.double)
    candidates = torch.rand(2, 6, generator=generator) < 0.5 if restrict else None
    if candidates is not None:
        candidates[:, 3] = True
    found = best_spans(SpanLogits(start, end), max_length=max_length, candidates=candidates)
    for row in range(2):
        allowed = range(1, 6) if candidates is None else candidates[row].nonzero()[:, 0].tolist()
        score, first, last = max(
            (float(start[row, i] + end[row, j]), i, j) for i in allowed for j in allowed if 0 <= j - i < max_length
        )
        assert (found.start[row], found.end[row]) == (first, last)
        assert found.score[row] == pytest.approx(score)
        assert found.null_score[row] == start[row, 0] + end[row, 0]


def test_a_span_has_at_least_one_token():
    with pytest.raises(ValueError, match="max_length 0"):
        best_spans(SpanLogits(torch.zeros(1, 3), torch.zeros(1, 3)), max_length=0)


def test_a_relation_is_scored_like_a_class():
    torch.manual_seed(0)
    model = RelationClassifier(BertHeadConfig(vocab_size=40, num_labels=3, **SHAPE)).eval()
    data = batch() | {"labels": torch.tensor([0, 2, IGNORE, 1]), "marker_positions": torch.tensor([[1, 2]] * 4)}
    logits = model(data["input_ids"], attention_mask=data["attention_mask"], marker_positions=data["marker_positions"])
    parts = RelationClassification()(model, data)
    torch.testing.assert_close(
        parts.total, F.cross_entropy(logits, data["labels"], reduction="sum", ignore_index=IGNORE)
    )
    assert parts.count == RelationClassification().count(data) == 3
    smoothed = RelationClassification(label_smoothing=0.1)
    assert validate(model, smoothed, [data]) == validate(model, RelationClassification(), [data])
