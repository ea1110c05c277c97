"""Teacher forcing counts every target token once; smoothing is torch's and never evaluated; own tokens are drawn."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plm_core.data.labels import IGNORE
from plm_core.data.sequence_pairs import ParallelTexts, ScheduledSamplingBatches, SequencePairBatches
from plm_core.evaluation.validation import validate
from plm_core.models.seq2seq import Seq2Seq, Seq2SeqConfig
from plm_core.objectives.seq2seq import (
    ScheduledSampling,
    Seq2SeqLM,
    drawn_tokens,
    lowest_smoothed_loss,
    with_own_tokens,
)
from plm_core.training.config import TrainConfig
from plm_core.training.trainer import Trainer

VOCABULARY = 23


def tiny(**changes):
    torch.manual_seed(0)
    config = Seq2SeqConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_decoder_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.5,
        **{"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0} | changes,
    )
    return Seq2Seq(config)


def pairs(examples=12, seed=0):
    """Ragged examples: the target is the source backwards."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, 8, (examples,), generator=generator).tolist()
    sources = [torch.randint(3, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]
    return ParallelTexts(sources, [source[::-1] for source in sources])


def source_of(texts, batch_size=4):
    return SequencePairBatches(texts, start_id=1, end_id=2, pad_id=0, batch_size=batch_size, seed=0)


def logits_of(model, batch):
    return model(batch["input_ids"], batch["decoder_input_ids"], attention_mask=batch["attention_mask"])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_the_loss_is_torchs_summed_over_target_tokens(smoothing):
    model, batch = tiny(), source_of(pairs()).batch(0)
    part = Seq2SeqLM(label_smoothing=smoothing)(model, batch)
    logits, labels = logits_of(model, batch).flatten(0, 1), batch["labels"].flatten()
    expected = F.cross_entropy(logits, labels, reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(part.total, expected, rtol=1e-5, atol=1e-5)
    assert part.count == Seq2SeqLM().count(batch) == int((labels != IGNORE).sum())
    assert part.metrics["accuracy"] == (logits.argmax(-1) == labels).sum()


def test_padding_changes_no_loss_and_no_gradient():
    """Each pair on its own, without padding, and all of them in one batch: the same sums."""
    texts = pairs(6)
    found = []
    for batch_size in (1, 6):
        model = tiny()
        total = sum(Seq2SeqLM()(model, batch).total for batch in source_of(texts, batch_size).in_order())
        total.backward()
        found.append((total.detach(), [p.grad for p in model.parameters()]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-5)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_step_is_the_same_in_one_batch_and_in_several():
    """A group of 8 ragged pairs, as one batch, as two and as eight: one step of SGD ends at the same weights."""

    class Parts:
        def __init__(self, parts):
            self.parts = list(source_of(pairs(8, seed=3), 8 // parts).in_order())

        def batch(self, index):
            return self.parts[index]

    found = []
    for parts in (1, 2, 8):
        shared = {"optimizer": "sgd", "weight_decay": 0.0, "learning_rate": 0.1, "max_grad_norm": 0.0}
        config = TrainConfig(steps=1, micro_batches=parts, warmup_steps=0, **shared)
        trainer = Trainer(tiny(), Seq2SeqLM(label_smoothing=0.1), Parts(parts), config, quiet=True)
        trainer.fit()
        found.append([p.detach() for p in trainer.model.parameters()])
    for other in found[1:]:
        for one, another in zip(found[0], other, strict=True):
            torch.testing.assert_close(one, another, rtol=1e-5, atol=1e-6)


def test_no_target_token_is_seen_before_it_is_predicted():
    """Changing a target token changes the loss of no token before it, and of none at its own place but by its label."""
    model = tiny().eval()
    texts = ParallelTexts([[3, 4, 5]], [[6, 7, 8, 9]])
    batch = source_of(texts).batch(0)
    changed = {**batch, "decoder_input_ids": batch["decoder_input_ids"].clone()}
    changed["decoder_input_ids"][0, 3] = 11  # in place of target token 2, which is read at place 3
    with torch.no_grad():
        one, other = logits_of(model, batch), logits_of(model, changed)
    torch.testing.assert_close(one[:, :3], other[:, :3])
    assert not torch.allclose(one[:, 3], other[:, 3])


def test_smoothing_and_own_tokens_are_never_counted_in_evaluation():
    model, source = tiny(), source_of(pairs())
    sampled = ScheduledSamplingBatches(source, lambda _: 1.0, seed=0)
    batches = [sampled.batch(index) for index in range(3)]
    plain = validate(model, Seq2SeqLM(), batches)["loss"]
    for objective in (Seq2SeqLM(label_smoothing=0.3), ScheduledSampling(label_smoothing=0.3)):
        assert validate(model, objective, batches)["loss"] == pytest.approx(plain, rel=1e-6)
        assert objective.label_smoothing == 0.3
    with torch.no_grad():
        trained = sum(ScheduledSampling()(model, batch).total for batch in batches)
        given_ones = sum(Seq2SeqLM()(model, batch).total for batch in batches)
    assert abs(float(trained - given_ones)) > 0.1, "the batches can tell the two apart"


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_smoothing_outside_zero_to_one_is_refused(share):
    with pytest.raises(ValueError, match="expected 0 <= it < 1"):
        Seq2SeqLM(label_smoothing=share)


@given(smoothing=st.floats(0.001, 0.9), vocabulary=st.integers(2, 60), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_no_prediction_has_a_lower_smoothed_loss_than_the_smoothed_target_itself(smoothing, vocabulary, seed):
    lowest = lowest_smoothed_loss(smoothing, vocabulary)
    label = torch.zeros(vocabulary, dtype=torch.float64)
    label[0] = 1
    target = (1 - smoothing) * label + smoothing / vocabulary

    def loss(log_p):
        return float(F.cross_entropy(log_p[None], torch.tensor([0]), label_smoothing=smoothing))

    assert loss(target.log()) == pytest.approx(lowest, abs=1e-9)
    other = target.log() + torch.randn(vocabulary, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert loss(other) >= lowest - 1e-9


def test_without_smoothing_the_lowest_loss_is_zero():
    assert lowest_smoothed_loss(0.0, 100) == 0
    assert lowest_smoothed_loss(0.5, 1) == pytest.approx(0)
    with pytest.raises(ValueError, match="vocab_size"):
        lowest_smoothed_loss(0.1, 0)


def test_with_no_own_token_scheduled_sampling_is_teacher_forcing():
    model, source = tiny(), source_of(pairs())
    batch = ScheduledSamplingBatches(source, lambda _: 0.0, seed=0).batch(1)
    assert torch.equal(ScheduledSampling()(model, batch).total, Seq2SeqLM()(model, batch).total)


def test_own_tokens_stand_one_place_after_they_were_predicted():
    """A model that always predicts input + 1 replaces each chosen input by the one before it plus 1."""

    class PlusOne(nn.Module):
        def forward(self, input_ids, decoder_input_ids, attention_mask=None):
            return 100.0 * F.one_hot(decoder_input_ids + 1, VOCABULARY)

    batch = source_of(ParallelTexts([[3]], [[5, 9, 12]])).batch(0)
    own = torch.tensor([[False, True, False, True]])
    batch = {**batch, "uses_own_token": own, "own_token_draws": torch.full((1, 4), 0.5, dtype=torch.float64)}
    mixed = with_own_tokens(PlusOne(), Seq2SeqLM().inputs(batch), batch)["decoder_input_ids"]
    assert batch["decoder_input_ids"].tolist() == [[1, 5, 9, 12]]
    assert mixed.tolist() == [[1, 2, 9, 10]]


def test_drawn_tokens_follow_their_distribution():
    """20,000 draws, each frequency within 5 standard errors: a false alarm has probability 5 x 6e-7."""
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0, -torch.inf])
    n = 20_000
    uniform = torch.rand(1, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = drawn_tokens(logits.expand(1, n, -1), uniform)
    p = logits.softmax(-1)
    frequency = torch.bincount(drawn.flatten(), minlength=5) / n
    assert ((frequency - p).abs() <= 5 * (p * (1 - p) / n).sqrt() + 1e-9).all()
    assert int(drawn_tokens(logits.view(1, 1, -1), torch.tensor([[1 - 1e-12]], dtype=torch.float64))) == 3


@pytest.mark.parametrize("make", [Seq2SeqLM, ScheduledSampling])
def test_a_small_model_learns_to_reverse(make):
    """From about ln 8 nats per token to nearly nothing, on sequences it has seen."""
    generator = torch.Generator().manual_seed(1)
    sources = [torch.randint(3, 8, (4,), generator=generator).tolist() for _ in range(16)]
    source = source_of(ParallelTexts(sources, [ids[::-1] for ids in sources]), batch_size=16)
    train = ScheduledSamplingBatches(source, lambda index: min(0.25, index / 1000), seed=0)
    config = TrainConfig(steps=150, warmup_steps=10, learning_rate=1e-2, weight_decay=0.0, eval_every=150)
    trainer = Trainer(tiny(), make(), train, config, valid_batches=list(source.in_order()), quiet=True)
    before = validate(trainer.model, make(), list(source.in_order()))["loss"]
    trainer.fit()
    assert before > math.log(8)
    assert trainer.progress.best_loss < 0.1
