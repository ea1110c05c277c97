"""Leaving padding out changes nothing: neither states, nor losses, nor gradients; and masks are read rightly."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.data.packing import same_document
from plm_core.models import varlen
from plm_core.models.attention import attend
from plm_core.models.bert import Bert, BertConfig, positions_of_heads
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.inputs import expand_mask
from plm_core.models.varlen import PackedSequences, attend_packed, find_sequences

SHAPE = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,
}


@pytest.fixture(autouse=True)
def _short_sequences_too(monkeypatch) -> None:
    monkeypatch.setattr(varlen, "SHORTEST_MEAN", 1)
    torch.manual_seed(0)


def find(mask: torch.Tensor) -> PackedSequences | None:
    batch, tokens = mask.shape[:2]
    return find_sequences(expand_mask(mask, batch=batch, queries=tokens, keys=tokens), (batch, tokens))


@given(st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_rows_of_a_padding_mask_are_found(rows) -> None:
    mask = torch.tensor(rows)
    found = find(mask)
    if not mask.any():
        assert found is None
        return
    assert found is not None
    assert found.lengths == [int(n) for n in mask.sum(dim=1) if n]
    assert torch.equal(found.token_indices, mask.flatten().nonzero()[:, 0])
    x_BTD = torch.randn(*mask.shape, 3)
    assert torch.equal(found.pad(found.unpad(x_BTD)), x_BTD * mask[:, :, None])


@given(st.lists(st.lists(st.integers(1, 4), max_size=4), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_blocks_of_packed_documents_are_found(rows) -> None:
    ids = torch.full((len(rows), 16), -1)
    for row, lengths in enumerate(rows):
        names = [name for name, length in enumerate(lengths) for _ in range(length)]
        ids[row, : len(names)] = torch.tensor(names)
    found = find(same_document(ids))
    lengths = [length for row in rows for length in row]
    assert (found.lengths if found else []) == lengths


@pytest.mark.parametrize("damage", ["hole", "leak", "two pieces"])
def test_a_mask_that_is_not_block_diagonal_stays_a_mask(damage: str) -> None:
    ids = torch.tensor([[0, 0, 0, 1, 1, 1, -1]])
    if damage == "two pieces":
        ids = torch.tensor([[0, 0, 1, 1, 0, 0, -1]])
    mask = same_document(ids)
    if damage == "hole":
        mask[0, 1, 2] = False
    if damage == "leak":
        mask[0, 4, 0] = True
    assert find(mask) is None


def losses_and_gradients(model, inputs, real):
    model.zero_grad()
    states = (model.encoder if isinstance(model, Bert) else model.hidden_states)(**inputs)
    (states[real] ** 3).sum().backward()
    return states[real].detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("kind", ["bert", "gpt"])
@pytest.mark.parametrize("mask_kind", ["padding", "padding on the left", "packed"])
@pytest.mark.parametrize("position", ["learned", "none", "sinusoidal"])
def test_states_and_gradients_are_those_of_the_padded_batch(kind, mask_kind, position, monkeypatch) -> None:
    make, config = (Bert, BertConfig) if kind == "bert" else (Gpt, GptConfig)
    model = make(config(**SHAPE, position=position)).double()
    ids = torch.randint(40, (3, 12))
    real = torch.arange(12) < torch.tensor([[5], [12], [9]])
    if mask_kind == "padding on the left":
        real = real.flip(1)
    mask = real
    if mask_kind == "packed":
        documents = torch.tensor([[0] * 5 + [-1] * 7, [0] * 4 + [1] * 8, [0] * 2 + [1] * 3 + [2] * 4 + [-1] * 3])
        mask = same_document(documents)
    inputs = {"input_ids": ids, "attention_mask": mask}
    ragged = losses_and_gradients(model, inputs, real)
    unpadded = []
    monkeypatch.setattr(PackedSequences, "saves_time", lambda self, *_, **__: unpadded.append(self))
    padded = losses_and_gradients(model, inputs, real)
    assert len(unpadded) == 1
    torch.testing.assert_close(ragged, padded, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("implementation", ["fused", "explicit"])
@pytest.mark.parametrize("is_causal", [False, True])
def test_packed_attention_is_attention_under_a_block_diagonal_mask(implementation, is_causal) -> None:
    cu_seqlens = torch.tensor([0, 3, 4, 10], dtype=torch.int32)
    q, k, v = (torch.randn(1, 2, 10, 4) for _ in range(3))
    sequences = PackedSequences(torch.arange(10), cu_seqlens, (1, 10))
    out = attend_packed(q, k, v, sequences, is_causal=is_causal, implementation=implementation)
    ids = torch.tensor([[0] * 3 + [1] + [2] * 6])
    dense, _ = attend(q, k, v, mask=same_document(ids)[:, None], is_causal=is_causal, implementation="explicit")
    torch.testing.assert_close(out, dense, atol=1e-6, rtol=1e-5)


def test_a_trace_holds_the_padded_stream() -> None:
    from plm_core.models.transformer import Trace

    model = Bert(BertConfig(**SHAPE)).eval()
    trace = Trace(keep_attentions=True)
    real = torch.arange(12) < torch.tensor([[5], [12]])
    model.encoder(torch.randint(40, (2, 12)), attention_mask=real, trace=trace)
    assert all(state.shape == (2, 12, 16) for state in trace.hidden_states)
    assert all(weights.shape == (2, 2, 12, 12) for weights in trace.attentions)


def test_short_sequences_stay_padded(monkeypatch) -> None:
    monkeypatch.setattr(varlen, "SHORTEST_MEAN", 10)
    for length, saves_time in ((12, False), (24, True)):
        found = find(torch.arange(length) < torch.tensor([[5], [length]]))
        assert found is not None
        assert found.saves_time(torch.zeros(2, length, 4), head_size=4, dropout=0.1) == saves_time


@pytest.mark.parametrize("norm_position", ["pre", "post"])
@pytest.mark.parametrize("as_numbers", [False, True])
@pytest.mark.parametrize("left", [False, True])
def test_computing_only_the_tokens_of_the_heads_changes_no_logit(norm_position, as_numbers, left, monkeypatch) -> None:
    model = Bert(BertConfig(**SHAPE, norm_position=norm_position)).double()
    real = torch.arange(12) < torch.tensor([[5], [12], [9]])
    real = real.flip(1) if left else real
    masked = (torch.rand(3, 12) < 0.3) & real
    places = masked.flatten().nonzero()[:, 0] if as_numbers else masked
    inputs = {"input_ids": torch.randint(40, (3, 12)), "attention_mask": real, "masked_positions": places}
    found = []
    for query_positions in (positions_of_heads(inputs["input_ids"], places), None):
        model.zero_grad()
        output = model(**inputs, query_positions=query_positions)
        rows = real[:, 0]  # the first token of a row padded on the left is padding
        ((output.prediction_logits**3).sum() + (output.seq_relationship_logits[rows] ** 3).sum()).backward()
        found.append((output.prediction_logits.detach(), {n: p.grad for n, p in model.named_parameters()}))
        assert (output.last_hidden_state is None) == (query_positions is not None)
    torch.testing.assert_close(found[0], found[1], atol=1e-10, rtol=1e-10)


def test_the_last_block_computes_only_what_is_read() -> None:
    model = Bert(BertConfig(**SHAPE))
    seen = []
    for layer in model.encoder.stack.layers:
        layer.feed_forward.register_forward_hook(lambda module, args, out: seen.append(out.shape[1]))
    real = torch.arange(12) < torch.tensor([[5], [12]])
    masked = torch.zeros(2, 12, dtype=torch.bool)
    masked[1, 3:6] = True
    ids = torch.randint(40, (2, 12))
    query_positions = positions_of_heads(ids, masked)
    model(ids, attention_mask=real, masked_positions=masked, query_positions=query_positions)
    assert seen == [17] * (len(seen) - 1) + [5]
