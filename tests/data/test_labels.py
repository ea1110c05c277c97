"""Next-token labels are shifted once and stop where the text does."""

import torch

from plm_core.data.labels import IGNORE, next_token_labels

IDS = torch.tensor([[5, 6, 7, 8, 9]])


def test_the_label_is_the_next_token():
    assert next_token_labels(IDS).tolist() == [[6, 7, 8, 9, IGNORE]]


def test_padding_is_neither_input_nor_target():
    mask = torch.tensor([[True, True, True, False, False]])
    assert next_token_labels(IDS, attention_mask=mask).tolist() == [[6, 7, IGNORE, IGNORE, IGNORE]]
    left = torch.tensor([[False, False, True, True, True]])
    assert next_token_labels(IDS, attention_mask=left).tolist() == [[IGNORE, IGNORE, 8, 9, IGNORE]]


def test_the_last_token_of_a_document_in_a_packed_row_has_no_label():
    documents = torch.tensor([[0, 0, 1, 1, 1]])
    assert next_token_labels(IDS, document_ids=documents).tolist() == [[6, IGNORE, 8, 9, IGNORE]]


def test_a_row_of_one_token_has_no_label():
    assert next_token_labels(torch.tensor([[5]])).tolist() == [[IGNORE]]
