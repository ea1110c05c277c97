"""The experiments on attention: copies trained side by side are those trained alone, and no bug means the library."""

from __future__ import annotations

import pytest
import torch

from plm_chapters.notebook import load_experiment
from plm_core.models.multi_head import MultiHeadAttention
from plm_core.runtime import setup

recall = load_experiment("05_attention")
text = load_experiment("05b_attention_text")


@pytest.mark.parametrize("variant", ["attention", "outer product 8", "2 heads", "plain, K = 64"])
def test_copies_trained_side_by_side_are_those_trained_alone(variant: str) -> None:
    rt = setup(seed=0, device="cpu")
    together, _ = recall.train(variant, rt, rates=(1e-3, 1e-2), steps=5)
    *page, _ = recall.draw_pages(16, together[0].pairs, torch.Generator().manual_seed(1), asked=together[0].asked)
    for rate, copy in zip((1e-3, 1e-2), together, strict=True):
        (alone,), _ = recall.train(variant, rt, rates=(rate,), steps=5)
        torch.testing.assert_close(copy(*page)[0], alone(*page)[0], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(together[0](*page)[0], together[1](*page)[0], atol=1e-2)


@pytest.mark.parametrize("variant", recall.VARIANTS)
def test_every_variant_answers_every_name_asked_for(variant: str) -> None:
    model = recall.build(variant)
    *page, answer_BA = recall.draw_pages(3, model.pairs, torch.Generator().manual_seed(0), asked=model.asked)
    logits_BAV, _ = model(*page)
    assert logits_BAV.shape == (*answer_BA.shape, recall.ROOMS)


def test_one_head_and_two_have_the_same_parameters() -> None:
    sizes = [sum(parameter.numel() for parameter in recall.build(name).parameters()) for name in recall.HEADS]
    assert sizes[0] == sizes[1]


def test_an_unknown_variant_is_named() -> None:
    with pytest.raises(ValueError, match="unknown variant 'elephant'"):
        recall.build("elephant")


def test_attention_without_a_bug_is_the_librarys() -> None:
    torch.manual_seed(0)
    library = MultiHeadAttention(12, 3)
    plain = text.BuggyAttention(12, 3, bug="none")
    plain.load_state_dict(library.state_dict())
    x_BTD = torch.randn(2, 5, 12)
    torch.testing.assert_close(plain(x_BTD), library(x_BTD, is_causal=True))
