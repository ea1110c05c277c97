"""Replaced-token detection: the loss by hand, what counts as replaced, batches in parts, and runs that go on."""

from __future__ import annotations

import signal

import pytest
import torch
import torch.nn.functional as F

from plm_core.data.batches import MaskedBatches
from plm_core.data.labels import IGNORE
from plm_core.data.masking import Masker, MaskingConfig
from plm_core.data.tokenizer_training import train_words
from plm_core.data.tokenizers import pad
from plm_core.evaluation.validation import validate
from plm_core.models import electra as module
from plm_core.models.bert import BertConfig
from plm_core.models.electra import Electra, sample_tokens
from plm_core.objectives.base import Joint
from plm_core.objectives.replaced_tokens import ReplacedTokens, original_ids, replaced_token_detection
from plm_core.training.config import TrainConfig
from plm_core.training.interrupt import Interrupted
from plm_core.training.trainer import Trainer

VOCABULARY, PAD, MASK, FIRST = 40, 0, 4, 7
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,
}


def electra(**changes) -> Electra:
    torch.manual_seed(0)
    shape = BertConfig(**SHAPE | changes)
    return Electra(shape.replace(num_hidden_layers=1, intermediate_size=32), shape)


def masked_batch(rows: int = 5, length: int = 17) -> dict[str, torch.Tensor]:
    """Ragged rows, a third of whose tokens are [MASK]."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(FIRST, VOCABULARY, (rows, length), generator=generator)
    real = torch.arange(length) < torch.randint(8, length + 1, (rows, 1), generator=generator)
    chosen = real & (torch.rand(rows, length, generator=generator) < 0.3)
    return {
        "input_ids": ids.masked_fill(chosen, MASK).masked_fill(~real, PAD),
        "attention_mask": real,
        "labels": ids.masked_fill(~chosen, IGNORE),
    }


def mean_loss(objective: Joint, model: Electra, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    parts = objective.terms(model, batch)
    return sum(objective.weights[name] * part.total / part.count for name, part in parts.items())


def always_sample(monkeypatch: pytest.MonkeyPatch, tokens: torch.Tensor) -> None:
    """Let the generator's samples be these, in reading order."""
    monkeypatch.setattr(module, "sample_tokens", lambda logits, generator=None: tokens[: len(logits)])


def test_the_loss_is_the_generators_mean_and_fifty_times_the_discriminators() -> None:
    """By torch's own losses, from the generator, the same samples, and the discriminator, one after the other."""
    model, batch = electra().eval(), masked_batch()
    objective = replaced_token_detection()
    assert objective.weights == {"masked_lm": 1.0, "replaced_tokens": 50.0}
    torch.manual_seed(4)
    loss = mean_loss(objective, model, objective.prepare(batch))

    real, chosen = batch["attention_mask"], batch["labels"] != IGNORE
    with torch.no_grad():
        logits = model.generator(batch["input_ids"], attention_mask=real, masked_positions=chosen).prediction_logits
        torch.manual_seed(4)
        samples = sample_tokens(logits)
        read = batch["input_ids"].clone()
        read[chosen] = samples
        replaced = torch.zeros_like(real)
        replaced[chosen] = samples != batch["labels"][chosen]
        judged = model.discriminator(read, attention_mask=real)
        generator_mean = F.cross_entropy(logits, batch["labels"][chosen])
        discriminator_mean = F.binary_cross_entropy_with_logits(judged[real], replaced[real].float())
    torch.testing.assert_close(loss, generator_mean + 50 * discriminator_mean, rtol=1e-5, atol=1e-5)

    torch.manual_seed(4)
    part = objective.terms(model, batch)["replaced_tokens"]
    assert part.count == real.sum() == objective.counts(batch)["replaced_tokens"]
    assert part.metrics["replaced"] == replaced.sum() > 0
    assert part.metrics["accuracy"] == ((judged > 0) == replaced)[real].sum()
    assert part.metrics["found"] == ((judged > 0) & replaced).sum()


@pytest.mark.parametrize("right", ["all", "none", "one"])
def test_a_sample_that_equals_the_original_counts_as_original(right: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = electra().eval(), masked_batch()
    original = batch["labels"][batch["labels"] != IGNORE]
    wrong = torch.where(original == FIRST, FIRST + 1, FIRST)
    samples = {"all": original, "none": wrong, "one": torch.cat([original[:1], wrong[1:]])}[right]
    always_sample(monkeypatch, samples)
    part = ReplacedTokens()(model, batch)
    assert part.metrics["replaced"] == {"all": 0, "none": len(original), "one": len(original) - 1}[right]
    if right == "all":
        logits = model.discriminator(original_ids(batch), attention_mask=batch["attention_mask"])
        torch.testing.assert_close(part.total, F.softplus(logits[batch["attention_mask"]]).sum())


def test_special_tokens_are_never_replaced_and_padding_never_counts() -> None:
    _, source = tiny_task()
    batch = source.batch(0)
    model = electra(vocab_size=len(source.tokenizer))
    special = torch.isin(original_ids(batch), torch.tensor(sorted(source.tokenizer.special_ids)))
    found = model(**ReplacedTokens().inputs(batch))
    assert torch.equal(found.corrupted_ids[special], batch["input_ids"][special])
    assert (special & batch["attention_mask"]).sum() == 2 * len(special)
    assert ReplacedTokens().count(batch) == batch["attention_mask"].sum() < batch["input_ids"].numel()


@pytest.mark.parametrize("mask_share", [0.8, 1.0])
def test_the_originals_are_those_before_the_mask(mask_share: float) -> None:
    tokenizer, ids = train_words(["a b c d e f"]), torch.arange(7, 13).expand(20, -1)
    config = MaskingConfig(rate=0.5, mask_share=mask_share, random_share=1 - mask_share)
    masker = masker_of(tokenizer, config)
    ids = ids % len(tokenizer)
    corrupted, labels = masker(ids, range(20))
    assert not torch.equal(corrupted, ids)
    assert torch.equal(original_ids({"input_ids": corrupted, "labels": labels}), ids)


@pytest.mark.parametrize("position", ["learned", "rope"])
def test_padding_changes_no_loss_and_no_gradient(position: str) -> None:
    model, batch = electra(position=position), masked_batch()
    objective, found = replaced_token_detection(), []
    fillers = {"input_ids": 23, "attention_mask": False, "labels": IGNORE}
    wide = {
        name: torch.cat([value, torch.full((len(value), 6), fillers[name], dtype=value.dtype)], dim=1)
        for name, value in batch.items()
    }
    for each in (batch, wide):
        torch.manual_seed(2)  # as many draws in either: one for each masked token
        loss = mean_loss(objective, model, objective.prepare(each))
        model.zero_grad()
        loss.backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        found.append((loss.detach(), gradients, objective.counts(each)))
    assert found[0][2] == found[1][2]
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-5)
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(gradient, found[1][1][name], rtol=1e-4, atol=1e-5, msg=name)


def test_the_sum_over_rows_is_the_sum_over_the_batch() -> None:
    model, batch = electra().eval(), masked_batch()
    objective = replaced_token_detection()
    torch.manual_seed(2)
    whole = objective.terms(model, batch)
    torch.manual_seed(2)
    rows = [
        objective.terms(model, {name: value[row : row + 1] for name, value in batch.items()})
        for row in range(len(batch["input_ids"]))
    ]
    for name, part in whole.items():
        torch.testing.assert_close(part.total, sum(row[name].total for row in rows), rtol=1e-5, atol=1e-4)
        for metric, value in part.metrics.items():
            assert value == sum(row[name].metrics[metric] for row in rows)


def masker_of(tokenizer, config: MaskingConfig) -> Masker:
    return Masker(
        vocab_size=len(tokenizer),
        mask_token_id=tokenizer.mask_id,
        special_ids=sorted(tokenizer.special_ids),
        config=config,
    )


TEXTS = [
    "the red cat sat on the mat",
    "a dog ran to the old house",
    "she saw two birds in a tree",
    "he ate an apple",
    "rain fell",
    "they sing of the sea and the sun",
]


def tiny_task(batch_size: int = 3) -> tuple[Electra, MaskedBatches]:
    tokenizer = train_words(TEXTS)
    config = MaskingConfig(rate=0.3, mask_share=1.0, random_share=0.0)
    rows = [tokenizer.encode(text) for text in TEXTS]
    source = MaskedBatches(
        rows, tokenizer=tokenizer, masker=masker_of(tokenizer, config), max_length=12, batch_size=batch_size, seed=0
    )
    return electra(vocab_size=len(tokenizer)), source


def as_one(batches: list) -> dict[str, torch.Tensor]:
    """All rows of several batches in one, padded to the longest."""
    fillers = {"input_ids": PAD, "attention_mask": 0, "labels": IGNORE}
    return {
        name: pad([row.tolist() for batch in batches for row in batch[name]], filler).to(batches[0][name].dtype)
        for name, filler in fillers.items()
    }


def test_micro_batches_give_the_loss_and_gradients_of_one_batch() -> None:
    model, source = tiny_task(batch_size=2)
    objective = replaced_token_detection()
    torch.manual_seed(6)
    loss = mean_loss(objective, model, as_one([source.batch(index) for index in range(3)]))
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    trainer = Trainer(model, objective, source, TrainConfig(steps=1, micro_batches=3, warmup_steps=0), quiet=True)
    torch.manual_seed(6)
    found, _ = trainer.accumulate(trainer.micro_batch_group(0))
    assert found.item() == pytest.approx(loss.item(), rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(model.get_parameter(name).grad, gradient, rtol=1e-4, atol=1e-5, msg=name)


class Stopping:
    """Another source, at one of whose batches a signal arrives."""

    def __init__(self, source: MaskedBatches, at: int) -> None:
        self.source, self.at = source, at

    def batch(self, index: int):
        if index == self.at:
            signal.raise_signal(signal.SIGTERM)
        return self.source.batch(index)


def test_a_resumed_run_draws_the_samples_of_the_one_that_was_not_stopped(tmp_path) -> None:
    config = TrainConfig(steps=8, warmup_steps=0, learning_rate=5e-3, eval_every=2, log_every=1)

    def trainer(stop_at: int | None = None, folder=None) -> Trainer:
        model, source = tiny_task()
        training = source if stop_at is None else Stopping(source, stop_at)
        valid = source.in_order()
        return Trainer(
            model, replaced_token_detection(), training, config, valid_batches=valid, folder=folder, quiet=True
        )

    whole = trainer(folder=tmp_path / "whole")
    whole.fit()
    cut = trainer(stop_at=4, folder=tmp_path / "cut")
    with pytest.raises(Interrupted):
        cut.fit()
    assert cut.progress.step < 8
    resumed = trainer(folder=tmp_path / "cut")
    torch.manual_seed(99)  # what the checkpoint holds counts, not this
    assert resumed.resume() == []
    resumed.fit()
    for (name, one), (_, other) in zip(
        whole.model.state_dict().items(), resumed.model.state_dict().items(), strict=True
    ):
        assert torch.equal(one, other), name


def test_evaluation_gives_the_same_numbers_and_leaves_the_random_state_alone() -> None:
    model, source = tiny_task()
    objective = replaced_token_detection()
    before = torch.get_rng_state()
    first = validate(model, objective, [*source.in_order(), source.batch(3)])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(77)
    assert validate(model, objective, [*source.in_order(), source.batch(3)]) == first
    expected = first["masked_lm/loss"] + 50 * first["replaced_tokens/loss"]
    assert first["loss"] == pytest.approx(expected)


def test_no_masked_token_means_no_replaced_token_and_finite_gradients() -> None:
    model, batch = electra(), masked_batch()
    batch |= {"input_ids": original_ids(batch), "labels": torch.full_like(batch["labels"], IGNORE)}
    part = ReplacedTokens()(model, batch)
    assert part.metrics["replaced"] == 0
    part.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    nothing = batch | {"attention_mask": torch.zeros_like(batch["attention_mask"])}
    part = ReplacedTokens()(model, nothing)
    assert part.count == 0
    assert part.total.item() == 0
    part.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_a_tiny_corpus_is_learned_by_heart() -> None:
    """Masks and samples are new ones, so the discriminator has to know the texts."""
    model, source = tiny_task(batch_size=6)
    before = validate(model, replaced_token_detection(), source.in_order())
    config = TrainConfig(steps=250, learning_rate=3e-3, warmup_steps=20, weight_decay=0.0)
    torch.manual_seed(1)
    Trainer(model, replaced_token_detection(), source, config, quiet=True).fit()
    after = validate(model, replaced_token_detection(), [source.batch(index) for index in range(300, 320)])
    assert after["masked_lm/loss"] < before["masked_lm/loss"] / 3
    assert after["replaced_tokens/loss"] < before["replaced_tokens/loss"] / 5
    assert after["replaced_tokens/found"] > 0.7 * after["replaced_tokens/replaced"]
    mistakes = 1 - after["replaced_tokens/accuracy"]
    assert mistakes < after["replaced_tokens/replaced"] / 3  # always "original" makes as many as there are replaced
