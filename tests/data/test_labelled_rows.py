"""Rows with labels: padding is marked, every row comes once an epoch, and what was cut is counted."""

from __future__ import annotations

import pytest
import torch

from plm_core.data.conll import align, tag_names
from plm_core.data.examples import TaggedSentence
from plm_core.data.labelled_rows import LabelledBatches, span_row, tagged_row, text_rows
from plm_core.data.labels import IGNORE
from plm_core.data.squad import Answer, Question, span_windows
from plm_core.data.tokenizer_training import train_wordpiece

TEXTS = ["Ann met Bob .", "Lee met Ann and Bob in York .", "Bob ran ."]


@pytest.fixture(scope="module")
def tokenizer():
    return train_wordpiece(TEXTS * 3, vocab_size=200)


def test_texts_become_padded_rows_with_one_label_each(tokenizer):
    made = text_rows(TEXTS, tokenizer, labels=[1, 0, 1], max_length=50, block=2)
    assert made.truncated == 0
    batches = LabelledBatches(made.rows, batch_size=2, pad_id=tokenizer.pad_id, seed=0)
    first, last = batches.in_order()
    expected = tokenizer.batch(TEXTS[:2])
    assert torch.equal(first["input_ids"], expected["input_ids"])
    assert torch.equal(first["attention_mask"], expected["attention_mask"])
    assert first["labels"].tolist() == [1, 0]
    assert last["labels"].tolist() == [1]
    assert "token_type_ids" not in first
    seen = [number for index in range(2) for number in batches.batch(index)["labels"].tolist()]
    assert sorted(seen) == [0, 1, 1]


def test_what_is_too_long_is_cut_and_counted(tokenizer):
    whole = text_rows(TEXTS, tokenizer, pairs=TEXTS[::-1], max_length=100)
    made = text_rows(TEXTS, tokenizer, pairs=TEXTS[::-1], max_length=14)
    lengths = [len(row["input_ids"]) for row in whole.rows]
    assert made.truncated == sum(length > 14 for length in lengths) > 0
    assert [len(row["input_ids"]) for row in made.rows] == [min(length, 14) for length in lengths]
    assert all(len(row["token_type_ids"]) == len(row["input_ids"]) for row in made.rows)
    assert set(made.rows[0]["token_type_ids"]) == {0, 1}
    with pytest.raises(ValueError, match="3 texts, but 2 labels"):
        text_rows(TEXTS, tokenizer, labels=[0, 1], max_length=9)
    with pytest.raises(ValueError, match="there is no example"):
        LabelledBatches([], batch_size=2, pad_id=0, seed=0)


def test_tags_and_spans_become_rows_whose_padding_counts_nowhere(tokenizer):
    sentences = [TaggedSentence(tuple(text.split()), ("B-PER",) + ("O",) * (len(text.split()) - 1)) for text in TEXTS]
    names = tag_names(sentences, "train")
    aligned = [align(sentence, tokenizer, names) for sentence in sentences]
    rows = [tagged_row(each) for each in aligned]
    (batch,) = LabelledBatches(rows, batch_size=3, pad_id=tokenizer.pad_id, seed=0).in_order()
    assert batch["word_starts"].dtype == torch.bool
    assert not batch["word_starts"][~batch["attention_mask"]].any()
    assert (batch["labels"][~batch["attention_mask"]] == IGNORE).all()
    assert batch["word_starts"].sum() == sum(len(sentence.words) for sentence in sentences)

    questions = [Question("1", "Who?", TEXTS[1], (Answer("Ann", 8),)), Question("2", "Who?", TEXTS[0], ())]
    windows = [span_windows(each, tokenizer, max_length=60, stride=5)[0] for each in questions]
    (batch,) = LabelledBatches([span_row(each) for each in windows], batch_size=2, pad_id=0, seed=0).in_order()
    assert batch["start_positions"].tolist() == [windows[0].start, 0]
    assert batch["end_positions"].shape == (2,)
    assert not batch["candidates"][~batch["attention_mask"]].any()
    assert batch["candidates"][:, 0].all()
