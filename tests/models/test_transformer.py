"""Promises that every model of the family keeps: padding, packing, causality, cache, messages."""

import pytest
import torch
import torch.nn.functional as F

from plm_core.models.bert import Bert, BertConfig
from plm_core.models.config import TransformerConfig, acts_on_embeddings
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.positions import PositionScheme, Rope
from plm_core.models.seq2seq import Seq2SeqConfig
from plm_core.models.transformer import Trace
from tests.models.small_models import POSITIONS, SHAPE, bert, gpt, seq2seq


def states(model, ids: torch.Tensor, **inputs) -> torch.Tensor:
    """The last hidden state, (B, T, D)."""
    return model.encoder(ids, **inputs) if isinstance(model, Bert) else model.hidden_states(ids, **inputs)


def loss_and_gradients(model, loss) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same_gradients(first, second, tolerance: float) -> None:
    assert first[0] == pytest.approx(second[0], abs=tolerance)
    assert first[1].keys() == second[1].keys()
    for name, gradient in first[1].items():
        torch.testing.assert_close(gradient, second[1][name], atol=tolerance, rtol=tolerance, msg=name)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_padding_changes_no_loss_and_no_gradient(position: str, norm_position: str) -> None:
    ids = torch.randint(50, (1, 9))
    padded = F.pad(ids, (0, 5), value=7)
    real = torch.arange(14)[None] < 9
    labels = F.pad(ids, (0, 5), value=-100)

    model = gpt(position=position, norm_position=norm_position).double()
    alone = loss_and_gradients(model, F.cross_entropy(model(ids)[0], ids[0], reduction="sum"))
    logits = model(padded, attention_mask=real)
    with_padding = loss_and_gradients(model, F.cross_entropy(logits[0], labels[0], reduction="sum"))
    assert_same_gradients(alone, with_padding, 1e-9)

    model = bert(position=position, norm_position=norm_position).double()
    masked = torch.zeros_like(ids, dtype=torch.bool)
    masked[0, 2:5] = True

    def loss(output, targets):
        return (
            F.cross_entropy(output.prediction_logits, targets, reduction="sum") + output.seq_relationship_logits.sum()
        )

    alone = loss_and_gradients(model, loss(model(ids, masked_positions=masked), ids[masked]))
    output = model(padded, attention_mask=real, masked_positions=F.pad(masked, (0, 5)))
    with_padding = loss_and_gradients(model, loss(output, ids[masked]))
    assert_same_gradients(alone, with_padding, 1e-9)


def test_padding_of_source_and_target_changes_nothing_in_an_encoder_decoder() -> None:
    source, target = torch.randint(50, (1, 6)), torch.randint(50, (1, 4))
    for position in POSITIONS:
        model = seq2seq(position=position).double()
        alone = loss_and_gradients(model, F.cross_entropy(model(source, target)[0], target[0], reduction="sum"))
        logits = model(
            F.pad(source, (0, 3), value=9),
            F.pad(target, (0, 2), value=9),
            attention_mask=torch.arange(9)[None] < 6,
            decoder_attention_mask=torch.arange(6)[None] < 4,
        )
        labels = F.pad(target, (0, 2), value=-100)
        padded = loss_and_gradients(model, F.cross_entropy(logits[0], labels[0], reduction="sum"))
        assert_same_gradients(alone, padded, 1e-9)


@pytest.mark.parametrize("position", POSITIONS)
def test_packed_documents_give_the_loss_and_gradients_of_padded_ones(position: str) -> None:
    lengths = [5, 8, 3]
    documents = [torch.randint(50, (1, n)) for n in lengths]
    packed = torch.cat(documents, dim=1)
    document_ids = torch.repeat_interleave(torch.arange(3), torch.tensor(lengths))[None]
    position_ids = torch.cat([torch.arange(n) for n in lengths])[None]
    same_document = document_ids[:, :, None] == document_ids[:, None, :]
    for model in (gpt(position=position).double(), bert(position=position).double()):
        head = model.lm_head if isinstance(model, Gpt) else model.mlm_head
        separate = sum(F.cross_entropy(head(states(model, d))[0], d[0], reduction="sum") for d in documents)
        apart = loss_and_gradients(model, separate)
        hidden = states(model, packed, attention_mask=same_document, position_ids=position_ids)
        together = loss_and_gradients(model, F.cross_entropy(head(hidden)[0], packed[0], reduction="sum"))
        assert_same_gradients(apart, together, 1e-9)


@pytest.mark.parametrize("position", POSITIONS)
def test_no_token_of_a_gpt_sees_a_later_one(position: str) -> None:
    model = gpt(position=position).eval()
    ids = torch.randint(50, (2, 12))
    changed = ids.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % 50
    torch.testing.assert_close(model(ids)[:, :7], model(changed)[:, :7], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(model(ids)[:, 7:], model(changed)[:, 7:])


@pytest.mark.parametrize("position", POSITIONS)
@torch.no_grad()
def test_a_cache_changes_no_logit(position: str) -> None:
    ids = torch.randint(50, (2, 12))
    real = torch.ones(2, 12, dtype=torch.bool)
    real[0, :3] = False  # padding on the left, as when prompts of different lengths are continued
    model = gpt(position=position).eval()
    cache = model.new_cache()
    steps = [model(ids[:, a:b], cache=cache, attention_mask=real[:, :b]) for a, b in ((0, 5), (5, 6), (6, 12))]
    full = model(ids, attention_mask=real)
    torch.testing.assert_close(torch.cat(steps, dim=1)[real], full[real], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model(ids, attention_mask=real, logits_to_keep=2), full[:, -2:])

    model2 = seq2seq(position=position).eval()
    encoded = model2.encode(ids)
    cache = model2.new_cache()
    steps = [model2.decode(ids[:, a:b], encoded, cache=cache) for a, b in ((0, 5), (5, 6), (6, 12))]
    torch.testing.assert_close(torch.cat(steps, dim=1), model2(ids, ids), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_cache_follows_its_beams() -> None:
    model = gpt().eval()
    ids = torch.randint(50, (3, 6))
    order = torch.tensor([2, 0, 2])
    cache = model.new_cache()
    model(ids, cache=cache)
    cache.select(order)
    after = model(ids[:, :1], cache=cache)
    torch.testing.assert_close(after, model(torch.cat([ids[order], ids[:, :1]], 1))[:, -1:], atol=1e-5, rtol=1e-5)
    cache.clear()
    assert cache.length == 0


@torch.no_grad()
def test_left_padding_with_position_ids_gives_the_logits_of_the_text_alone() -> None:
    model = gpt(position="learned").eval()
    ids = torch.randint(50, (1, 6))
    padded = F.pad(ids, (4, 0), value=3)
    real = torch.arange(10)[None] >= 4
    position_ids = (torch.arange(10)[None] - 4).clamp(min=0)
    logits = model(padded, attention_mask=real, position_ids=position_ids)
    torch.testing.assert_close(logits[:, 4:], model(ids), atol=1e-5, rtol=1e-5)


def test_a_row_of_padding_alone_is_finite_forward_and_backward() -> None:
    ids = torch.randint(50, (2, 5))
    real = torch.tensor([[True] * 5, [False] * 5])
    for model in (gpt(), bert(), gpt(position="shaw"), bert(norm_position="pre")):
        hidden = states(model, ids, attention_mask=real)
        hidden.sum().backward()
        assert hidden.isfinite().all()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_the_mlm_head_sees_masked_positions_only() -> None:
    model = bert()
    ids = torch.randint(50, (3, 8))
    masked = torch.rand(3, 8) < 0.3
    seen = []
    model.mlm_head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    output = model(ids, masked_positions=masked)
    assert seen == [(int(masked.sum()), 32)]
    torch.testing.assert_close(output.prediction_logits, model.mlm_head(output.last_hidden_state)[masked])
    assert model(ids).prediction_logits is None
    none_masked = model(ids, masked_positions=torch.zeros_like(masked)).prediction_logits
    assert none_masked.shape == (0, 50)


def test_a_trace_holds_every_state_and_every_attention_weight() -> None:
    ids = torch.randint(50, (2, 6))
    trace = Trace(keep_attentions=True)
    model = gpt()
    model.hidden_states(ids, trace=trace)
    assert len(trace.hidden_states) == 3
    assert [tuple(w.shape) for w in trace.attentions] == [(2, 4, 6, 6)] * 2
    torch.testing.assert_close(model.lm_head(model.decoder.final_norm(trace.hidden_states[-1])), model(ids))
    model2, trace = seq2seq(), Trace(keep_attentions=True)
    model2.decode(ids[:, :4], model2.encode(ids), trace=trace)
    assert [tuple(w.shape) for w in trace.cross_attentions] == [(2, 4, 4, 6)] * 2


def test_a_scheme_of_ones_own_takes_the_place_of_the_named_one() -> None:
    class Shout(PositionScheme):
        def embed(self, x_BTD, *, offset=0):
            return x_BTD + torch.arange(offset, offset + x_BTD.shape[1])[:, None]

    assert acts_on_embeddings(Shout())
    model = Gpt(GptConfig(**SHAPE), position=Shout())
    assert isinstance(model.embeddings.position, Shout)
    model = Gpt(GptConfig(**SHAPE), position=Rope(8, base=100.0))
    assert model.embeddings.position is None
    assert all(block.attention.position.base == 100.0 for block in model.decoder.layers)


@pytest.mark.parametrize("make", [gpt, bert])
def test_wrong_input_is_explained(make) -> None:
    model = make()
    ids = torch.randint(50, (2, 6))
    with pytest.raises(ValueError, match="the sequence has 25 tokens, the model takes 24: truncate"):
        model(torch.zeros(1, 25, dtype=torch.long))
    wrong = ids.clone()
    wrong[1, 2] = 50
    with pytest.raises(ValueError, match=r"input_ids holds 50 at \[1, 2\], but valid ids are 0 to 49.*tokenizer"):
        model(wrong)
    wrong[0, 3] = -1
    with pytest.raises(ValueError, match=r"input_ids holds -1 at \[0, 3\]"):
        model(wrong)
    with pytest.raises(ValueError, match="must be bool"):
        model(ids, attention_mask=torch.ones(2, 6))
    with pytest.raises(ValueError, match=r"shape \(2, 6\) or \(2, 6, 6\).*got \(2, 5\)"):
        model(ids, attention_mask=torch.ones(2, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="position_ids holds 6"):
        model(ids, position_ids=torch.arange(1, 7).expand(2, 6))


def test_wrong_input_to_bert_is_explained() -> None:
    ids = torch.randint(50, (2, 6))
    with pytest.raises(ValueError, match="token_type_ids holds 2"):
        bert()(ids, token_type_ids=torch.full_like(ids, 2))
    with pytest.raises(ValueError, match="no token types"):
        bert(type_vocab_size=0)(ids, token_type_ids=torch.zeros_like(ids))
    with pytest.raises(ValueError, match="masked_positions must be bool"):
        bert()(ids, masked_positions=ids)
    with pytest.raises(ValueError, match=r"shape \(batch, tokens\)"):
        bert().encoder.embeddings(ids[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 30}, "multiple of num_attention_heads"),
        ({"hidden_dropout_prob": 1.0}, "probability"),
        ({"vocab_size": 0}, "vocab_size must be positive"),
        ({"num_hidden_layers": -1}, "must not be negative"),
        ({"max_position_embeddings": None}, "learned positions need max_position_embeddings"),
        ({"max_position_embeddings": 0}, "must be positive"),
        ({"hidden_act": "gelu_fast"}, "expected one of"),
        ({"position": "ropee"}, "did you mean 'rope'"),
    ],
)
def test_impossible_shapes_are_refused(changes, message: str) -> None:
    for kind in (TransformerConfig, GptConfig, BertConfig):
        with pytest.raises(ValueError, match=message):
            kind(**SHAPE | changes)


@pytest.mark.parametrize("config", [GptConfig.gpt2(), BertConfig.base(), Seq2SeqConfig.base(), GptConfig.tiny(99)])
def test_model_shapes_travel_through_yaml(config) -> None:
    assert type(config).from_yaml(config.to_yaml()) == config


def test_schemes_without_a_table_take_texts_of_any_length() -> None:
    model = gpt(position="rope", max_position_embeddings=None).eval()
    assert model(torch.zeros(1, 40, dtype=torch.long)).shape == (1, 40, 50)


@pytest.mark.parametrize("make", [gpt, bert])
def test_a_model_memorises_a_sentence(make) -> None:
    model = make(initializer_range=0.05)
    ids = torch.randint(50, (1, 12))
    masked = torch.arange(12)[None] % 3 == 1
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        if make is gpt:
            loss = F.cross_entropy(model(ids[:, :-1])[0], ids[0, 1:])
        else:
            output = model(ids.masked_fill(masked, 0), masked_positions=masked)
            loss = F.cross_entropy(output.prediction_logits, ids[masked])
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1  # from ln 50 = 3.9
