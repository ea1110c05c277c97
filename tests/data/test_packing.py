"""Packing: nothing is lost, little is wasted, and the model cannot tell."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from plm_core.data.labels import IGNORE
from plm_core.data.packing import (
    collate_packed,
    efficiency,
    length_groups,
    pack,
    padding_share,
    same_document,
)
from plm_core.data.tokenizer_training import train_words
from plm_core.data.tokenizers import pad
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.storyworld_v1 import StoryWorld

lengths_and_row = st.tuples(st.lists(st.integers(0, 70), max_size=60), st.integers(1, 40))


@given(lengths_and_row)
@settings(deadline=None)
def test_packing_keeps_every_token_once_and_fills_no_row_beyond_its_length(case):
    lengths, row_length = case
    rows = pack(lengths, row_length)
    seen = sorted((piece.document, t) for row in rows for piece in row for t in range(piece.start, piece.end))
    assert seen == [(document, t) for document, length in enumerate(lengths) for t in range(length)]
    assert all(0 < sum(map(len, row)) <= row_length for row in rows)
    whole = {document for document, length in enumerate(lengths) if 0 < length <= row_length}
    assert all(len([p for row in rows for p in row if p.document == document]) == 1 for document in whole)
    assert pack(lengths, row_length) == rows


@given(lengths_and_row)
@settings(deadline=None)
def test_packing_leaves_at_most_one_row_half_empty(case):
    rows = pack(*case)
    assert sum(2 * sum(map(len, row)) <= case[1] for row in rows) <= 1


@given(lengths_and_row, st.integers(1, 10))
@settings(deadline=None)
def test_cutting_keeps_every_token_once_and_makes_no_small_pieces(case, min_piece):
    lengths, row_length = case
    rows = pack(lengths, row_length, min_piece=min_piece)
    seen = sorted((piece.document, t) for row in rows for piece in row for t in range(piece.start, piece.end))
    assert seen == [(document, t) for document, length in enumerate(lengths) for t in range(length)]
    cut = [piece for row in rows for piece in row if len(piece) < min(lengths[piece.document], row_length)]
    remainders = [p for p in cut if p.end == lengths[p.document] and p.start == p.end - p.end % row_length]
    assert all(len(piece) >= min_piece for piece in cut if piece not in remainders)


def test_rows_and_pieces_without_room_are_refused():
    with pytest.raises(ValueError, match="row_length"):
        pack([1], 0)
    with pytest.raises(ValueError, match="min_piece"):
        pack([1], 8, min_piece=0)


@pytest.fixture(scope="module")
def lengths() -> list[int]:
    """The numbers of tokens of a thousand stories."""
    texts = [story.text for story in StoryWorld("small", "en").stories(seed=0, split="train", count=1000)]
    return [len(ids) for ids in train_words(texts).encode_all(texts)]


@pytest.mark.parametrize(("row_length", "min_piece"), [(2048, None), (512, 16), (128, 4)])
def test_packing_storyworld_is_more_than_97_percent_efficient(lengths, row_length, min_piece):
    rows = pack(lengths, row_length, min_piece=min_piece)
    assert efficiency(rows, row_length) > 0.97
    assert sum(lengths) / (len(lengths) * max(lengths)) < 0.5, "one padded batch of all is more than half padding"


def test_masks_labels_and_positions_are_those_worked_out_by_hand():
    documents = [torch.tensor([11, 12, 13]), torch.tensor([21, 22])]
    [row] = pack([3, 2], 6)
    batch = collate_packed(documents, [row], row_length=6, pad_id=0)
    assert batch.input_ids.tolist() == [[11, 12, 13, 21, 22, 0]]
    assert batch.document_ids.tolist() == [[0, 0, 0, 1, 1, -1]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1, 0]]
    ignored = IGNORE
    assert batch.next_token_labels().tolist() == [[12, 13, ignored, 22, ignored, ignored]]
    expected = torch.block_diag(torch.ones(3, 3), torch.ones(2, 2), torch.zeros(1, 1)).bool()
    assert torch.equal(batch.attention_mask[0], expected)
    assert torch.equal(same_document(batch.document_ids), batch.attention_mask)


@pytest.mark.parametrize("position", ["learned", "rope", "alibi", "none"])
def test_a_packed_batch_has_the_loss_and_gradients_of_the_padded_one(position):
    torch.manual_seed(0)
    config = GptConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, position=position, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = Gpt(config).double()
    documents = [torch.randint(7, 50, (length,)) for length in (5, 17, 1, 24, 9, 30, 12)]
    rows = pack([len(document) for document in documents], 40)
    assert len(rows) < len(documents)

    packed = collate_packed(documents, rows, row_length=40, pad_id=0)
    logits = model(packed.input_ids, attention_mask=packed.attention_mask, position_ids=packed.position_ids)
    labels = packed.next_token_labels()
    packed_loss = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
    packed_gradients = torch.autograd.grad(packed_loss, list(model.parameters()))

    ids = pad([document.tolist() for document in documents], 0)
    mask = pad([[1] * len(document) for document in documents], 0).bool()
    labels_padded = torch.where(mask[:, 1:], ids[:, 1:], IGNORE)
    logits = model(ids, attention_mask=mask)[:, :-1]
    padded_loss = cross_entropy(logits.flatten(0, 1), labels_padded.flatten(), reduction="sum")
    padded_gradients = torch.autograd.grad(padded_loss, list(model.parameters()))

    assert (labels != IGNORE).sum() == (labels_padded != IGNORE).sum() == sum(map(len, documents)) - 7
    torch.testing.assert_close(packed_loss, padded_loss, rtol=1e-6, atol=1e-6)
    for ours, theirs in zip(packed_gradients, padded_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_without_the_block_mask_the_loss_is_another():
    """The test above can fail: documents that see each other change the loss."""
    torch.manual_seed(0)
    config = GptConfig(vocab_size=50, hidden_size=32, num_hidden_layers=1, hidden_dropout_prob=0.0)
    model = Gpt(config).double().eval()
    documents = [torch.randint(7, 50, (length,)) for length in (20, 20)]
    packed = collate_packed(documents, pack([20, 20], 40), row_length=40, pad_id=0)
    right = model(packed.input_ids, attention_mask=packed.attention_mask, position_ids=packed.position_ids)
    wrong = model(packed.input_ids)
    assert (right - wrong).abs().max() > 1e-3


def test_the_share_of_padding_is_counted():
    assert padding_share(torch.tensor([[True, True, True], [True, False, False]])) == pytest.approx(2 / 6)


@given(st.lists(st.integers(1, 100), max_size=80), st.integers(1, 9), st.integers(0, 5))
@settings(deadline=None)
def test_length_groups_hold_every_example_once(lengths, batch_size, epoch):
    batches = list(length_groups(lengths, batch_size, seed=1, epoch=epoch))
    assert sorted(example for batch in batches for example in batch) == list(range(len(lengths)))
    assert all(len(batch) <= batch_size for batch in batches)
    assert batches == list(length_groups(lengths, batch_size, seed=1, epoch=epoch))


def test_length_groups_waste_less_than_random_batches():
    lengths = np.random.default_rng(0).integers(5, 200, size=2000)

    def waste(batches):
        return sum(max(lengths[b]) * len(b) - sum(lengths[b]) for b in batches) / lengths.sum()

    grouped = list(length_groups(lengths, 16, seed=0, epoch=0))
    random = np.random.default_rng(1).permutation(2000).reshape(-1, 16)
    assert waste(grouped) < 0.05 < 0.5 < waste(random)
    assert grouped != list(length_groups(lengths, 16, seed=0, epoch=1))
    longest = [max(lengths[batch]) for batch in grouped]
    assert longest != sorted(longest), "short batches must not come first"
