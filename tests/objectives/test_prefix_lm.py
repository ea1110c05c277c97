"""A prefix is seen from both sides and never predicted; without one the trunk is causal; padding changes nothing."""

import pytest
import torch
import torch.nn.functional as F

from plm_core.data.batch import real_tokens
from plm_core.data.batches import PaddedBatches
from plm_core.data.labels import IGNORE
from plm_core.models.bert import Bert, BertConfig
from plm_core.objectives.prefix_lm import CausalTrunkLM, PrefixLM, with_prefix_mask

VOCABULARY = 19


def bert(position="learned"):
    torch.manual_seed(0)
    return Bert(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=16,
            position=position,
            initializer_range=0.4,
        )
    ).eval()


def batch_of(lengths=(9, 6, 3), seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randint(1, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]
    return PaddedBatches(rows, batch_size=len(rows), pad_id=0, seed=0).in_order()[0]


def logits_at_every_token(model, batch):
    prepared = with_prefix_mask(batch)
    everywhere = torch.arange(batch["input_ids"].numel())
    output = model(batch["input_ids"], attention_mask=prepared["attention_mask"], masked_positions=everywhere)
    return output.prediction_logits.view(*batch["input_ids"].shape, -1)


@pytest.mark.parametrize("position", ["learned", "t5"])
@pytest.mark.parametrize("prefix", [0, 1, 3])
def test_what_a_token_can_see(position, prefix):
    """Changing a token changes the logits of those that may see it, and of no other."""
    model, batch = bert(position), batch_of((9,))
    if prefix:
        batch = {**batch, "prefix_lengths": torch.tensor([prefix])}
    with torch.no_grad():
        before = logits_at_every_token(model, batch)
        for place in range(9):
            ids = batch["input_ids"].clone()
            ids[0, place] = ids[0, place] % (VOCABULARY - 1) + 1
            changed = (logits_at_every_token(model, {**batch, "input_ids": ids}) - before)[0].abs().amax(-1) > 1e-6
            first = 0 if place < prefix else place
            assert changed.tolist() == [token >= first for token in range(9)]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_that_of_the_tokens_after_the_prefix(smoothing):
    model, objective = bert(), PrefixLM(label_smoothing=smoothing)
    batch = {**batch_of(), "prefix_lengths": torch.tensor([4, 0, 2])}
    part = objective(model, objective.prepare(batch))
    with torch.no_grad():
        logits = logits_at_every_token(model, batch)
    expected, count = 0.0, 0
    for row, (length, prefix) in enumerate([(9, 4), (6, 0), (3, 2)]):
        for place in range(max(prefix - 1, 0), length - 1):
            label = batch["input_ids"][row, place + 1]
            expected = expected + F.cross_entropy(logits[row, place], label, label_smoothing=smoothing)
            count += 1
    assert part.count == objective.count(batch) == objective.count(objective.prepare(batch)) == count
    torch.testing.assert_close(part.total, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(objective(model, batch).total, part.total)
    assert objective.for_evaluation().label_smoothing == 0
    assert type(objective.for_evaluation()) is PrefixLM


def test_padding_changes_no_loss():
    model, objective = bert(), CausalTrunkLM()
    together = objective(model, batch_of((9, 6, 3))).total
    whole = batch_of((9, 6, 3))
    alone = 0.0
    for row, length in enumerate((9, 6, 3)):
        ids, labels = whole["input_ids"][row : row + 1, :length], whole["labels"][row : row + 1, :length]
        alone = alone + objective(model, {"input_ids": ids, "labels": labels}).total
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_a_prepared_batch_still_knows_its_real_tokens_and_is_prepared_once():
    batch = batch_of()
    objective = CausalTrunkLM()
    prepared = objective.prepare(batch)
    assert torch.equal(real_tokens(prepared), real_tokens(batch))
    assert objective.prepare(prepared) is prepared
    assert int((prepared["labels"] != IGNORE).sum()) == objective.count(batch) == 8 + 5 + 2
