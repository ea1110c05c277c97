"""The recurrent encoder and decoder: what the decoder sees, and that it can learn to copy."""

import pytest
import torch
import torch.nn.functional as F

from plm_core.models.recurrent_seq2seq import AdditiveAttention, RecurrentSeq2Seq, RecurrentSeq2SeqConfig


def make(**changes) -> RecurrentSeq2Seq:
    shape = {"vocab_size": 11, "hidden_size": 8, "embedding_size": 5, **changes}
    return RecurrentSeq2Seq(RecurrentSeq2SeqConfig(**shape))


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_the_decoder_is_causal_steps_agree_and_padding_changes_nothing(
    cell: str, bidirectional: bool, attention: bool
) -> None:
    model = make(cell=cell, bidirectional=bidirectional, attention=attention, summary_size=3)
    source, target = torch.randint(11, (2, 6)), torch.randint(11, (2, 5))
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    logits = model(source, target, attention_mask=mask)
    assert logits.shape == (2, 5, 11)
    torch.testing.assert_close(model(source[1:, :4], target[1:]), logits[1:])
    changed = target.clone()
    changed[:, 3:] = (changed[:, 3:] + 1) % 11
    torch.testing.assert_close(model(source, changed, attention_mask=mask)[:, :3], logits[:, :3])
    encoded, state, steps = model.encode(source, attention_mask=mask), None, []
    for t in range(5):
        step, state, weights = model.decode(target[:, t : t + 1], encoded, state=state)
        steps.append(step)
        assert (weights is None) != attention
        if weights is not None:
            torch.testing.assert_close(weights.sum(-1), torch.ones(2, 1))
            assert not weights[1, :, 4:].any()
    torch.testing.assert_close(torch.cat(steps, 1), logits)


@pytest.mark.parametrize("attention", [False, True])
def test_dropout_acts_on_embeddings_and_output_in_training_only(attention: bool) -> None:
    model = make(attention=attention, dropout=0.9)
    ids = torch.randint(11, (2, 6)), torch.randint(11, (2, 5))
    assert not torch.equal(model(*ids), model(*ids))
    model.eval()
    assert torch.equal(model(*ids), model(*ids))
    torch.manual_seed(0)
    plain = make(attention=attention).train()
    assert torch.equal(plain(*ids), plain(*ids))


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="dropout"):
        make(dropout=share)


def test_without_attention_the_decoder_sees_the_summary_alone() -> None:
    model = make(summary_size=2)
    encoded = model.encode(torch.randint(11, (1, 6)))
    assert encoded.summary_BZ.shape == (1, 2)
    target = torch.randint(11, (1, 4))
    other = encoded._replace(outputs_BSD=torch.randn_like(encoded.outputs_BSD))
    assert torch.equal(model.decode(target, encoded)[0], model.decode(target, other)[0])


def test_additive_attention_is_the_paper_s_formula() -> None:
    attention = AdditiveAttention(3, 4, 5)
    query, keys = torch.randn(2, 3), torch.randn(2, 6, 4)
    context, weights = attention(query, keys, attention.key(keys))
    for b in range(2):
        scores = [attention.score(torch.tanh(attention.query(query[b]) + attention.key(key))) for key in keys[b]]
        expected = torch.cat(scores).softmax(0)
        torch.testing.assert_close(weights[b], expected)
        torch.testing.assert_close(context[b], expected @ keys[b])


def test_generation_reads_what_it_wrote() -> None:
    model = make(attention=True)
    source = torch.randint(10, (3, 4))
    written = model.generate(source, start=10, max_new_tokens=4)
    shifted = F.pad(written[:, :-1], (1, 0), value=10)
    assert torch.equal(model(source, shifted).argmax(-1), written)


@pytest.mark.parametrize("attention", [False, True])
def test_it_learns_to_copy(attention: bool) -> None:
    torch.manual_seed(1)
    model = make(hidden_size=24, attention=attention)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(250):
        ids = torch.randint(4, (64, 3))
        loss = F.cross_entropy(model(ids, F.pad(ids[:, :-1], (1, 0), value=10)).flatten(0, 1), ids.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ids = torch.randint(4, (200, 3))
    assert (model.generate(ids, start=10, max_new_tokens=3) == ids).float().mean() > 0.95


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="summary must be positive"):
        make(summary_size=0)
    with pytest.raises(ValueError, match="decoder_input_ids holds 11"):
        make()(torch.zeros(1, 2, dtype=torch.long), torch.full((1, 2), 11))
