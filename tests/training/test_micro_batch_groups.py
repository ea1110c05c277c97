"""Windows of micro-batches that cross the end of an epoch: every example once per epoch, every count the right one."""

import math
import signal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plm_core.data.batches import MaskedBatches, PaddedBatches
from plm_core.data.labels import IGNORE
from plm_core.data.masking import Masker, MaskingConfig
from plm_core.data.tokenizer_training import train_words
from plm_core.data.tokenizers import pad
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.objectives.base import LossParts, Objective
from plm_core.objectives.causal_lm import CausalLM, model_inputs
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.training.config import TrainConfig
from plm_core.training.interrupt import Interrupted
from plm_core.training.trainer import Trainer

FIRST = 7
"""Ids below it are special."""
DOCUMENTS, BATCH, MICRO = 11, 3, 3
"""Four batches an epoch, one of them of two rows; windows of three batches, of which every fourth ends an epoch."""
EPOCH_BATCHES = math.ceil(DOCUMENTS / BATCH)


def documents(count=DOCUMENTS):
    """Ragged documents that begin each with an id of their own."""
    return [[FIRST + number] * (2 + number * 5 % 7) for number in range(count)]


class Noting(Objective):
    """Notes the document of every row that a model is run on; each row's first id tells it."""

    name = "noting"

    def __init__(self):
        self.seen = []

    def inputs(self, batch):
        self.seen += [int(ids[0]) - FIRST for ids in batch["input_ids"]]
        return {"input": batch["input_ids"][:, :1].float()}

    def score(self, output, batch):
        return LossParts(output.square().sum(), len(output))

    def count(self, batch):
        return len(batch["input_ids"])


class Stopping:
    """Another source, at one of whose batches a signal arrives."""

    def __init__(self, source, at):
        self.source, self.at = source, at

    def batch(self, index):
        if index == self.at:
            signal.raise_signal(signal.SIGTERM)
        return self.source.batch(index)


def padded(count=DOCUMENTS, batch_size=BATCH):
    return PaddedBatches(documents(count), batch_size=batch_size, pad_id=0, seed=3)


def noting_trainer(source, *, folder=None, steps, micro_batches):
    torch.manual_seed(0)
    config = TrainConfig(steps=steps, micro_batches=micro_batches, warmup_steps=0, log_every=1, save_every=steps)
    return Trainer(nn.Linear(1, 1), Noting(), source, config, folder=folder, quiet=True)


def assert_epochs(seen, count):
    """Whole epochs hold every example once; what is seen of the last one holds none twice."""
    epochs = [seen[first : first + count] for first in range(0, len(seen), count)]
    for epoch in epochs:
        if len(epoch) == count:
            assert sorted(epoch) == list(range(count))
        assert len(set(epoch)) == len(epoch)


@given(count=st.integers(1, 13), batch_size=st.integers(1, 6), micro_batches=st.integers(1, 5))
@settings(max_examples=15)
def test_every_example_is_seen_once_per_epoch_for_any_number_of_micro_batches(count, batch_size, micro_batches):
    source = padded(count, batch_size)
    batches = math.ceil(count / batch_size)
    steps = max(2, math.ceil(2 * batches / micro_batches))  # two epochs at least
    trainer = noting_trainer(source, steps=steps, micro_batches=micro_batches)
    trainer.fit()
    assert len(trainer.objective.seen) >= 2 * count
    assert_epochs(trainer.objective.seen, count)
    rows = sum(len(source.batch(index)["input_ids"]) for index in range(steps * micro_batches))
    assert len(trainer.objective.seen) == rows, "nothing is taken twice, nothing left out"


@pytest.mark.parametrize("at", [1, 4, 8, 10])
def test_a_run_that_was_stopped_in_an_epoch_sees_the_rest_of_it(tmp_path, at):
    whole = noting_trainer(padded(), steps=5, micro_batches=MICRO)
    whole.fit()
    cut = noting_trainer(Stopping(padded(), at), folder=tmp_path, steps=5, micro_batches=MICRO)
    with pytest.raises(Interrupted):
        cut.fit()
    resumed = noting_trainer(padded(), folder=tmp_path, steps=5, micro_batches=MICRO)
    resumed.resume()
    resumed.fit()
    assert cut.objective.seen
    assert resumed.objective.seen
    assert cut.objective.seen + resumed.objective.seen == whole.objective.seen
    assert_epochs(whole.objective.seen, DOCUMENTS)


SHAPE = {
    "vocab_size": FIRST + DOCUMENTS,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 16,
    "initializer_range": 0.3,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def causal():
    """A Gpt with its task and its source."""
    torch.manual_seed(0)
    return Gpt(GptConfig(**SHAPE)), CausalLM(sliced=True), padded()


def masked():
    """A Bert with its task and its source, which corrupts anew in every epoch."""
    torch.manual_seed(0)
    tokenizer = train_words([" ".join(f"w{number}" for number in range(DOCUMENTS))])
    masker = Masker(
        vocab_size=len(tokenizer),
        mask_token_id=tokenizer.mask_id,
        special_ids=sorted(tokenizer.special_ids),
        config=MaskingConfig(rate=0.4),
    )
    source = MaskedBatches(documents(), tokenizer=tokenizer, masker=masker, max_length=12, batch_size=BATCH, seed=3)
    return Bert(BertConfig(**{**SHAPE, "vocab_size": len(tokenizer)})), MaskedLM(), source


def as_one(batches):
    """All rows of several batches in one, padded to the longest."""
    fillers = {"input_ids": 0, "attention_mask": 0, "labels": IGNORE}
    joined = {}
    for key in fillers.keys() & batches[0].keys():
        rows = [row.tolist() for batch in batches for row in batch[key]]
        joined[key] = pad(rows, fillers[key]).to(batches[0][key].dtype)
    return joined


def mean_loss(model, task, data):
    """The mean over all labelled tokens of a batch, by torch, from all logits."""
    inputs = model_inputs(data)
    if task.name == "causal_lm":
        logits = model(**inputs).flatten(0, 1)
    else:
        logits = model(**inputs, masked_positions=torch.arange(data["labels"].numel())).prediction_logits
    return F.cross_entropy(logits, data["labels"].flatten(), ignore_index=IGNORE)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
@pytest.mark.parametrize("make", [causal, masked])
def test_loss_and_gradients_of_a_group_are_the_means_over_all_its_tokens(make, number):
    model, task, source = make()
    batches = [source.batch(number * MICRO + part) for part in range(MICRO)]
    epochs = {(number * MICRO + part) // EPOCH_BATCHES for part in range(MICRO)}
    assert len(epochs) == (2 if number in (1, 2) else 1)
    expected = mean_loss(model, task, as_one(batches))
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    config = TrainConfig(steps=4, micro_batches=MICRO, warmup_steps=0, log_every=1)
    trainer = Trainer(model, task, source, config, quiet=True)
    loss, _ = trainer.accumulate(trainer.micro_batch_group(number))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert found.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("make", [causal, masked])
def test_a_record_over_the_end_of_an_epoch_has_the_counts_of_its_tokens(make):
    """The mean over a record's windows weighs every labelled token alike, and every real token is counted once."""
    model, task, source = make()
    config = TrainConfig(
        steps=EPOCH_BATCHES, micro_batches=MICRO, warmup_steps=0, log_every=EPOCH_BATCHES, learning_rate=1e-9
    )
    batches = [source.batch(index) for index in range(EPOCH_BATCHES * MICRO)]  # three epochs exactly
    trainer = Trainer(model, task, source, config, quiet=True)
    expected = mean_loss(model, task, as_one(batches)).item()
    trainer.fit()
    [record] = trainer.records
    assert record[f"train/{task.name}/loss"] == pytest.approx(expected, rel=1e-5)
    added = 2 if "attention_mask" in batches[0] else 0  # a Bert's rows have [CLS] and [SEP]
    assert record["tokens"] == 3 * sum(len(document) + added for document in documents())


@pytest.mark.parametrize("make", [causal, masked])
def test_the_mean_of_the_batches_means_would_not_pass(make):
    model, task, source = make()
    batches = [source.batch(index) for index in range(MICRO, 2 * MICRO)]
    with torch.no_grad():
        right = mean_loss(model, task, as_one(batches))
        wrong = sum(mean_loss(model, task, batch) for batch in batches) / MICRO
    assert abs(right - wrong) > 1e-3
