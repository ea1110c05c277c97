"""Batches are a pure function of their number, cover the corpus, and agree with their masks and labels."""

import numpy as np
import pytest
import torch

from plm_core.data.batches import MaskedBatches, MaskedPairBatches, PackedBatches, PaddedBatches, WindowBatches
from plm_core.data.labels import IGNORE
from plm_core.data.masking import Masker, MaskingConfig
from plm_core.data.sentence_pairs import SentencePairs
from plm_core.data.tokenizer_training import train_words

WORDS = " ".join(f"w{i}" for i in range(40))


@pytest.fixture(scope="module")
def tokenizer():
    return train_words([WORDS])


def make_masker(tokenizer, **config):
    return Masker(
        vocab_size=len(tokenizer),
        mask_token_id=tokenizer.mask_id,
        special_ids=sorted(tokenizer.special_ids),
        config=MaskingConfig(**config),
    )


def ragged(count=30):
    return [[7 + (i * 5 + t) % 40 for t in range(3 + i % 9)] for i in range(count)]


def sources(tokenizer):
    documents = [[row, row[::-1], row[1:]] for row in ragged()]
    pairs = SentencePairs(documents, max_tokens=16)
    return {
        "windows": WindowBatches(np.arange(500, dtype=np.uint16), context=20, batch_size=4, seed=1),
        "packed": PackedBatches(
            [torch.tensor(row) for row in ragged()], row_length=16, batch_size=3, pad_id=tokenizer.pad_id, seed=1
        ),
        "padded": PaddedBatches(ragged(), batch_size=4, pad_id=tokenizer.pad_id, seed=1),
        "masked": MaskedBatches(
            ragged(), tokenizer=tokenizer, masker=make_masker(tokenizer), max_length=12, batch_size=4, seed=1
        ),
        "pairs": MaskedPairBatches(pairs, tokenizer=tokenizer, masker=make_masker(tokenizer), batch_size=4, seed=1),
    }


@pytest.mark.parametrize("name", ["windows", "packed", "padded", "masked", "pairs"])
def test_a_batch_is_a_pure_function_of_its_number(tokenizer, name):
    forward, backward = sources(tokenizer)[name], sources(tokenizer)[name]
    numbers = [0, 1, 7, 30, 31, 64]
    there = {number: forward.batch(number) for number in numbers}
    back = {number: backward.batch(number) for number in reversed(numbers)}
    for number in numbers:
        assert there[number].keys() == back[number].keys()
        for key in there[number]:
            assert torch.equal(there[number][key], back[number][key])
    assert not all(
        there[0][key].shape == there[7][key].shape and torch.equal(there[0][key], there[7][key]) for key in there[0]
    )


def test_windows_are_text_and_the_labels_its_continuation(tokenizer):
    source = sources(tokenizer)["windows"]
    batch = source.batch(3)
    assert batch["input_ids"].shape == (4, 20)
    assert torch.equal(batch["labels"], batch["input_ids"] + 1)
    scored = torch.cat([batch["labels"].flatten() for batch in source.in_order()])
    assert scored.tolist() == list(range(1, 481))


def test_packed_rows_keep_documents_apart(tokenizer):
    source = sources(tokenizer)["packed"]
    batch = source.batch(0)
    starts = (batch["position_ids"] == 0) & (batch["input_ids"] != tokenizer.pad_id)
    assert (batch["labels"][:, :-1][starts[:, 1:]] == IGNORE).all(), "no label crosses into a document"
    assert not batch["attention_mask"][:, 5, :][:, (batch["input_ids"] == tokenizer.pad_id)[0]].any()
    tokens = sum((batch["labels"] != IGNORE).sum().item() for batch in source.in_order())
    assert tokens == sum(len(row) - 1 for row in ragged())


def test_padded_rows_have_every_token_but_the_first_as_label(tokenizer):
    source = sources(tokenizer)["padded"]
    labels = [row[row != IGNORE].tolist() for batch in source.in_order() for row in batch["labels"]]
    assert labels == [row[1:] for row in ragged()]
    epoch = [source.batch(step)["labels"] for step in range(source.sampler.steps_per_epoch)]
    assert sum((batch != IGNORE).sum().item() for batch in epoch) == sum(len(row) - 1 for row in ragged())


def test_masked_rows_hold_every_text_once_per_epoch(tokenizer):
    source = sources(tokenizer)["masked"]
    for epoch in range(2):
        texts = []
        for step in range(source.sampler.steps_per_epoch):
            batch = source.batch(epoch * source.sampler.steps_per_epoch + step)
            original = torch.where(batch["labels"] == IGNORE, batch["input_ids"], batch["labels"])
            texts += [row[mask].tolist() for row, mask in zip(original, batch["attention_mask"], strict=True)]
            assert (batch["input_ids"][~batch["attention_mask"]] == tokenizer.pad_id).all()
        assert sorted(texts) == sorted([tokenizer.cls_id, *row[:10], tokenizer.sep_id] for row in ragged())


def test_epochs_mask_anew_and_validation_never_does(tokenizer):
    source = sources(tokenizer)["masked"]
    first = [batch["labels"] for batch in source.in_order()]
    again = [batch["labels"] for batch in source.in_order()]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    epochs = [
        {tuple(row.tolist()) for step in range(8) for row in source.batch(epoch * 8 + step)["labels"]}
        for epoch in range(2)
    ]
    assert epochs[0] != epochs[1]


def test_whole_words_are_masked_as_a_whole(tokenizer):
    starts = [[t % 2 == 0 for t in range(len(row))] for row in ragged()]
    masker = make_masker(tokenizer, unit="word", rate=0.4)
    source = MaskedBatches(
        ragged(), tokenizer=tokenizer, masker=masker, max_length=14, batch_size=30, seed=0, word_starts=starts
    )
    (batch,) = source.in_order()
    chosen = batch["labels"] != IGNORE
    ordinary = batch["attention_mask"] & (batch["input_ids"] != tokenizer.sep_id)
    firsts, seconds = chosen[:, 1:-1:2], chosen[:, 2::2]  # after [CLS], words begin at odd columns
    width = min(firsts.shape[1], seconds.shape[1])
    real = ordinary[:, 2::2][:, :width]
    assert seconds[:, :width][real].any()
    assert torch.equal(firsts[:, :width][real], seconds[:, :width][real])


def test_pairs_have_types_and_labels(tokenizer):
    source = sources(tokenizer)["pairs"]
    for batch in source.in_order():
        seps = (batch["input_ids"] == tokenizer.sep_id) & batch["attention_mask"]
        assert (seps.sum(1) == 2).all()
        first_sep = seps.float().argmax(1)
        expected = (torch.arange(seps.shape[1]) > first_sep[:, None]) & batch["attention_mask"]
        assert torch.equal(batch["token_type_ids"].bool(), expected)
        assert set(batch["pair_labels"].tolist()) <= {0, 1}


def test_too_little_text_is_refused_with_what_is_missing(tokenizer):
    with pytest.raises(ValueError, match="a context of 20 needs at least 21"):
        WindowBatches(np.arange(20), context=20, batch_size=1, seed=0)
    with pytest.raises(ValueError, match="corpus is empty"):
        MaskedBatches([], tokenizer=tokenizer, masker=make_masker(tokenizer), max_length=8, batch_size=1, seed=0)
