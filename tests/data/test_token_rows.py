"""Rows of token files: every token predicted once, from its own document alone, whatever stands beside it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.data import token_rows
from plm_core.data.labels import IGNORE
from plm_core.data.splits import texts_in_memory
from plm_core.data.token_files import write_tokens
from plm_core.data.token_rows import DocumentBatches, RowWordStarts, SentenceDocuments, SentenceRows
from plm_core.data.tokenizer_training import train_words

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30).filter(lambda lengths: max(lengths) > 1)


def batches(path, lengths, row_length=8, **options):
    """Documents whose tokens are all different, from 1 on; 0 pads."""
    ends = np.cumsum(lengths) + 1
    documents = [list(range(end - length, end)) for end, length in zip(ends, lengths, strict=True)]
    file = write_tokens(path, documents, vocab_size=2000, tokenizer="x", overwrite=True)
    return documents, DocumentBatches(file, row_length=row_length, batch_size=3, pad_id=0, seed=1, **options)


@given(LENGTHS, st.integers(2, 12))
@settings(max_examples=60, deadline=None)
def test_every_token_but_a_documents_first_is_predicted_once(tmp_path_factory, lengths, row_length):
    documents, source = batches(tmp_path_factory.mktemp("rows") / "t", lengths, row_length)
    expected = sorted(token for document in documents for token in document[1:])
    for epoch in (source.in_order(), [source.batch(step) for step in range(source.sampler.steps_per_epoch)]):
        labels = torch.cat([batch["labels"].flatten() for batch in epoch])
        assert sorted(labels[labels != IGNORE].tolist()) == expected
        for batch in epoch:
            asked = batch["labels"] != IGNORE
            assert (batch["input_ids"][asked] + 1 == batch["labels"][asked]).all(), "the next token of the same text"


def test_many_documents_are_packed_in_portions_with_the_same_promise(tmp_path, monkeypatch):
    monkeypatch.setattr(token_rows, "PACKED_TOGETHER", 7)
    documents, source = batches(tmp_path / "t", [3, 5, 2, 20, 7, 1] * 20)
    found = torch.cat([batch["labels"].flatten() for batch in source.in_order()])
    assert (found != IGNORE).sum() == sum(len(document) - 1 for document in documents)


def test_rows_that_one_text_fills_need_no_mask(tmp_path):
    _, source = batches(tmp_path / "t", [7 * 6 + 1], row_length=8)
    assert set(source.batch(0)) == {"input_ids", "labels"}
    _, source = batches(tmp_path / "t", [3, 4], row_length=8)
    assert source.batch(0)["attention_mask"].shape == (1, 8, 8)


def test_validation_batches_are_made_one_by_one(tmp_path):
    _, source = batches(tmp_path / "t", [5] * 50)
    made = []
    lazy = source.in_order()
    make, lazy.make = lazy.make, lambda group: made.append(group) or make(group)
    assert len(lazy) > 5
    assert not made
    assert lazy[::3][1]["input_ids"].equal(make(lazy.groups[3])["input_ids"])
    assert len(made) == 0 or made == [lazy.groups[3]]


TEXT = ["one two three\nfour\nfive six", "seven eight nine ten eleven twelve thirteen", "fourteen\nfifteen"]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    tokenizer = train_words(TEXT)
    return tokenizer, texts_in_memory("t", TEXT, "blank_line").write(tokenizer, tmp_path_factory.mktemp("t") / "t")


def test_rows_of_sentences_hold_whole_lines_of_one_document_and_cut_only_long_ones(told):
    tokenizer, file = told
    rows = SentenceRows(file, 4)
    assert [tokenizer.decode(row) for row in rows] == [
        "one two three four", "five six", "seven eight nine ten", "eleven twelve thirteen", "fourteen fifteen",
    ]  # fmt: skip
    assert [len(line) for line in rows.sentences(0)] == [3, 1]
    assert RowWordStarts(rows, tokenizer)[0] == [True] * 4


def test_documents_of_sentences_are_those_of_the_text(told):
    tokenizer, file = told
    documents = SentenceDocuments(file)
    assert ["\n".join(tokenizer.decode(line) for line in document) for document in documents] == TEXT
