"""The experiments on translation: what they measure, and what their arms differ in."""

import math

import pytest
import torch

from plm_chapters.experiments.translation_runs import exact_matches, loss_of, mistake_in_prefix
from plm_chapters.notebook import load_experiment
from plm_core.data.labels import IGNORE
from plm_core.generation.beam import Beam, translate
from plm_core.objectives.prefix_lm import PrefixLM
from plm_core.objectives.seq2seq import Seq2SeqLM

stories = load_experiment("08_encoder_decoder")
captions = load_experiment("08b_multi30k")


@pytest.fixture(scope="module")
def some():
    """A few test pairs in one batch."""
    return stories.batches(stories.unseen("test")[:12], size=12).in_order()


@pytest.fixture(scope="module")
def learned(some):
    """A model that has learned some of these pairs by heart, and writes others wrongly."""
    model = stories.build("encoder-decoder", 0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    pairs = stories.unseen("test")[:6]
    for _ in range(120):
        (batch,) = stories.batches(pairs, size=6).in_order()
        parts = Seq2SeqLM()(model, batch)
        optimizer.zero_grad()
        (parts.total / parts.count).backward()
        optimizer.step()
    return model.eval()


def test_no_unseen_sentence_occurs_in_training_and_both_use_the_same_ids() -> None:
    known = dict(stories.pairs("train"))
    assert not {source for source, _ in stories.unseen("test")} & set(known)
    seen = [pair for pair in stories.pairs("test") if pair[0] in known]
    assert sum(known[source] == target for source, target in seen) > 0.9 * len(seen)


def test_one_pass_finds_the_exact_matches_of_greedy_search(learned, some) -> None:
    (batch,) = some
    found = translate(
        learned,
        batch["input_ids"],
        attention_mask=batch["attention_mask"],
        start_token_id=stories.EOS,
        stop_token_id=stories.EOS,
        beam=Beam(width=1, alpha=0, max_new_tokens=40),
    )
    wanted = [row[row != IGNORE].tolist() for row in batch["labels"]]
    equal = [list(outputs[0].tokens) == target for outputs, target in zip(found, wanted, strict=True)]
    assert exact_matches(learned, some).tolist() == equal
    assert True in equal
    assert False in equal


def test_without_a_mistake_in_the_prefix_the_loss_is_that_of_teacher_forcing(learned, some) -> None:
    found = mistake_in_prefix(learned, some, ids=stories.chinese_ids(), reach=3)
    again = mistake_in_prefix(learned, some, ids=stories.chinese_ids(), reach=3)
    assert found == again
    assert found["own"][0] > found["given"][0]
    assert found["random"][0] > found["given"][0]
    assert found["count"][0] == 12


def test_a_model_that_does_not_read_the_prefix_loses_nothing_by_a_mistake(some) -> None:
    model = stories.build("encoder-decoder", 0)
    torch.nn.init.zeros_(model.embeddings.word_embeddings.weight)
    found = mistake_in_prefix(model, some, ids=stories.chinese_ids(), reach=3)
    assert found["own"] == found["given"] == found["random"]


def test_one_stack_predicts_the_same_tokens_and_reads_no_later_ones(some) -> None:
    (batch,) = some
    one, task, model = stories.as_one_sequence(batch), PrefixLM(), stories.build("one stack", 0).eval()
    prepared = task.prepare(one)
    assert task.count(one) == Seq2SeqLM().count(batch)
    labels_BT = prepared["labels"]
    assert labels_BT[labels_BT != IGNORE].tolist() == batch["labels"][batch["labels"] != IGNORE].tolist()
    with torch.no_grad():
        before = model(**task.inputs(prepared)).prediction_logits
        last = int(one["attention_mask"][0].sum()) - 1
        changed = {**prepared, "input_ids": prepared["input_ids"].clone()}
        changed["input_ids"][0, last] += 1
        after = model(**task.inputs(changed)).prediction_logits
    count = int((labels_BT[0] != IGNORE).sum())
    assert torch.equal(before[: count - 1], after[: count - 1])
    assert not torch.equal(before[count - 1], after[count - 1])
    assert stories.exact_in_one_stack(model, [one]).tolist() == [False] * 12


def test_the_arms_have_nearly_the_same_number_of_parameters() -> None:
    sizes = {
        arm: sum(p.numel() for p in stories.build(arm, 0).parameters())
        for arm in ("encoder-decoder", "one vector", "smoothing 0.1", "one stack")
    }
    assert sizes["encoder-decoder"] == sizes["one vector"] == sizes["smoothing 0.1"]
    assert abs(sizes["one stack"] / sizes["encoder-decoder"] - 1) < 0.03


def test_the_one_vector_does_not_depend_on_padding(some) -> None:
    (batch,) = some
    model = stories.build("one vector", 0).eval()
    shortest = int(batch["attention_mask"].sum(dim=1).argmin())
    real = int(batch["attention_mask"][shortest].sum())
    with torch.no_grad():
        padded = model.encode(batch["input_ids"], attention_mask=batch["attention_mask"])[shortest]
        alone = model.encode(batch["input_ids"][[shortest], :real])[0]
    torch.testing.assert_close(padded, alone)
    assert alone.shape == (1, 64)


def test_a_sentence_about_an_unnamed_person_is_undecided() -> None:
    number = {word: place for place, word in reversed(list(enumerate(stories.words())))}

    def pair(english, chinese):
        return tuple(number[w] for w in english.split()), tuple(number[w] for w in chinese.split())

    assert stories.is_undecided(pair("sofia did not want to give the ball away .", "索菲 不 肯 把 球 给 她 。"))
    assert not stories.is_undecided(pair("ben gave anna a cake for supper .", "本杰 送 给 安娜 一 个 蛋糕 。"))


def test_the_lookup_of_frames_is_a_strong_floor_and_an_untrained_model_is_far_below_it(some) -> None:
    assert stories.lookup_of_frames(stories.unseen("test")[:100]) > 0.5
    assert loss_of(stories.build("encoder-decoder", 0), some) > math.log(100)


def test_resampled_bleu_is_made_of_sacrebleus_counts() -> None:
    outputs = ["Ein Mann in einem blauen Hemd steht auf einer Leiter.", "Zwei Hunde laufen durch den Schnee."]
    references = ["Ein Mann in einem blauen Hemd steht auf einer Leiter am Haus.", "Zwei Hunde laufen durch den Wald."]
    statistics = captions.statistics_of(outputs, references)
    assert captions.bleu_of(statistics.sum(axis=0)) == pytest.approx(captions.scores(outputs, references)["bleu"])
    assert captions.resampled(captions.statistics_of(references, references))[:3] == pytest.approx([100.0] * 3)
