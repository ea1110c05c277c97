"""Units convert as information theory says; every token is scored once, whatever the stride."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plm_core.evaluation.perplexity import TextLoss, text_loss
from plm_core.models.gpt import Gpt, GptConfig


class Bigram(nn.Module):
    """Sees one token back only, so its loss on a text cannot depend on how windows are cut."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 7)

    def forward(self, input_ids):
        return self.table(input_ids)


def test_bits_perplexity_and_bits_per_character_are_the_same_loss_in_other_units():
    loss = TextLoss(nats=math.log(2) * 300, tokens=100, characters=150)
    assert loss.bits_per_token == pytest.approx(3)
    assert loss.perplexity == pytest.approx(8)
    assert loss.bits_per_character == pytest.approx(2)
    with pytest.raises(ValueError, match="number of characters"):
        _ = TextLoss(1.0, 1).bits_per_character


@settings(deadline=None, max_examples=60)
@given(length=st.integers(2, 80), context=st.integers(1, 30), data=st.data())
def test_each_token_is_scored_exactly_once(length, context, data):
    stride = data.draw(st.integers(1, context))
    torch.manual_seed(0)
    model = Bigram()
    ids = torch.randint(0, 7, (length,))
    whole = nn.functional.cross_entropy(model(ids[:-1]), ids[1:], reduction="sum").item()
    loss = text_loss(model, ids, context=context, stride=stride, batch_size=3)
    assert loss.tokens == length - 1
    assert loss.nats == pytest.approx(whole, rel=1e-5)


def test_one_window_equals_one_forward_pass():
    torch.manual_seed(0)
    model = Gpt(GptConfig.tiny(vocab_size=20)).eval()
    ids = torch.randint(0, 20, (41,))
    expected = nn.functional.cross_entropy(model(ids[None, :-1])[0], ids[1:], reduction="sum").item()
    model.train()
    assert text_loss(model, ids, context=40).nats == pytest.approx(expected, rel=1e-5), "dropout is off"
    assert model.training


def test_texts_and_strides_that_leave_tokens_unscored_are_refused():
    with pytest.raises(ValueError, match="nothing to predict"):
        text_loss(Bigram(), torch.tensor([1]), context=4)
    with pytest.raises(ValueError, match="between 1 and the context"):
        text_loss(Bigram(), torch.tensor([1, 2, 3]), context=4, stride=5)
