"""The experiments on attention: what the memories keep, how rates are chosen, and that no bug means the library."""

from __future__ import annotations

import pytest
import torch

from plm_chapters.notebook import load_experiment
from plm_core.models.multi_head import MultiHeadAttention
from plm_core.runtime import Runtime

recall = load_experiment("phone_book")
tuning = load_experiment("phone_book_tuning")
text = load_experiment("05b_attention_text")
decay = load_experiment("05f_attention_decay")


def test_a_table_of_fixed_size_gives_the_answers_of_all_keys_and_values_without_a_softmax() -> None:
    memory = recall.build("no softmax")
    cards_BSD, question_BD = torch.randn(3, 32, recall.WIDTH), torch.randn(3, recall.WIDTH)
    table_BKD = memory.key(cards_BSD).mT @ memory.value(cards_BSD)
    read_BD = (memory.query(question_BD)[:, None] @ table_BKD)[:, 0] / 32**0.5
    torch.testing.assert_close(memory.read(cards_BSD, question_BD)[0], read_BD, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", recall.SUMMARIES)
def test_a_summary_is_made_before_the_question_is_known(variant: str) -> None:
    memory = recall.build(variant)
    width = int(variant.rpartition(" ")[2])
    cards_BSD, question_BD = torch.randn(3, 12, recall.WIDTH), torch.randn(3, recall.WIDTH)
    assert memory.summary(cards_BSD).shape == (3, width)
    read_BW = memory.read(cards_BSD, question_BD)[0]
    torch.testing.assert_close(read_BW, memory.summary(cards_BSD) * memory.question(question_BD))


@pytest.mark.parametrize("width", [64, 512])
def test_small_initial_weights_begin_with_the_answers_of_the_scaled_head(width: int) -> None:
    heads = {}
    for kind in ("scaled", "small", "plain"):
        torch.manual_seed(0)
        heads[kind] = recall.build(f"{kind}, K = {width}")
    *page, _ = recall.draw_pages(3, recall.PAIRS, torch.Generator().manual_seed(0))
    answers = {kind: head(*page)[0] for kind, head in heads.items()}
    torch.testing.assert_close(answers["small"], answers["scaled"], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(answers["plain"], answers["scaled"], atol=1e-3)


def test_the_sweep_goes_on_when_the_best_rate_is_at_its_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(variant: str, rt: object, *, rate: float) -> tuple[float, dict[str, list[float]]]:
        return rate, {"steps": [25], "accuracy": [1 - abs(rate - 4.0) / 10]}

    monkeypatch.setattr(recall, "train", train)
    monkeypatch.setattr(recall, "accuracy", lambda model, rt, examples: 1 - abs(model - 4.0) / 10)
    for by in ("final", "curve"):
        tuned = tuning.tuned("attention", "laptop", rates=[0.5, 1.0, 2.0], seeds=[3], by=by)
        assert tuned["rate"] == 4.0
        assert list(tuned["sweep"]) == ["0.5", "1", "2", "4", "8"]


def test_a_rate_at_which_one_seed_fails_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(variant: str, rt: Runtime, rate: float, examples: int) -> float:
        return 0.03 if rate > 0.006 and rt.seed == 102 else 1 - abs(rate - 0.008)

    monkeypatch.setattr(decay, "measured", measured)
    result = decay.run("softmax", 0, "laptop")
    assert result["rate"] == pytest.approx(0.004 * 2**0.5)
    assert len(result["final_accuracy"]) == 6


def test_a_preference_for_a_character_is_one_where_weights_know_distances_only() -> None:
    ids_BT = torch.randint(3, (8, 40), generator=torch.Generator().manual_seed(0))
    back_TT = torch.arange(40)[:, None] - torch.arange(40)
    by_distance_TT = torch.where(back_TT >= 0, 0.9 ** back_TT.clamp(min=0), 0.0)
    plain_HBTS = by_distance_TT[text.FIRST :].expand(2, 8, -1, -1)
    torch.testing.assert_close(text.preference(plain_HBTS, ids_BT, 1), torch.ones(2))
    liking_HBTS = plain_HBTS * (1 + (ids_BT == 1))[None, :, None, :]  # twice the weight on this character
    assert (text.preference(liking_HBTS, ids_BT, 1) > 1.3).all()
    assert (text.preference(liking_HBTS, ids_BT, 2) < 1).all()


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
