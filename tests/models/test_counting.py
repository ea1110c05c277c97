"""Counts from the shape equal the model's, and Hugging Face's, to the last parameter."""

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from plm_core.models import cost
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.counting import PUBLISHED, architecture, ledger, num_parameters
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.recurrent import RecurrentConfig, RecurrentLM
from plm_core.models.seq2seq import Seq2Seq, Seq2SeqConfig
from plm_core.models.transformer import Trace

MODELS = {GptConfig: Gpt, BertConfig: Bert, Seq2SeqConfig: Seq2Seq}


def on_meta(make) -> torch.nn.Module:
    with torch.device("meta"):
        return make()


SHAPES = st.fixed_dictionaries(
    {
        "vocab_size": st.integers(1, 40),
        "hidden_size": st.sampled_from([8, 16, 24]),
        "num_attention_heads": st.sampled_from([1, 2, 4]),
        "num_hidden_layers": st.integers(0, 3),
        "intermediate_size": st.integers(1, 40),
        "max_position_embeddings": st.integers(1, 20),
        "position": st.sampled_from(["none", "learned", "sinusoidal", "rope", "alibi", "t5", "shaw", "transformer_xl"]),
        "hidden_act": st.sampled_from(["relu", "gelu", "gelu_new", "swiglu", "geglu"]),
        "norm": st.sampled_from(["layernorm", "rmsnorm"]),
        "norm_position": st.sampled_from(["pre", "post"]),
        "use_bias": st.booleans(),
        "tie_word_embeddings": st.booleans(),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(MODELS)), SHAPES)
def test_the_ledger_is_exact_for_every_shape(kind, shape) -> None:
    config = kind(**shape)
    assert num_parameters(config) == num_parameters(on_meta(lambda: MODELS[kind](config)))
    assert all(count > 0 for count in ledger(architecture(config)).values())


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("tie", [True, False])
def test_the_ledger_of_a_recurrent_model_is_exact(cell: str, tie: bool) -> None:
    config = RecurrentConfig(vocab_size=11, hidden_size=8, num_hidden_layers=2, cell=cell, tie_word_embeddings=tie)
    assert num_parameters(config) == num_parameters(RecurrentLM(config))


def test_other_modules_are_refused() -> None:
    with pytest.raises(TypeError, match="a model or its configuration, got str"):
        num_parameters("bert")


def hugging_face(name: str) -> torch.nn.Module:
    """The published shape as Hugging Face's classes build it; only sizes that differ from their defaults are given."""
    hf = transformers
    if name == "BERT-base":
        return hf.BertModel(hf.BertConfig())
    if name == "RoBERTa-base":
        return hf.RobertaModel(hf.RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1))
    if name == "DistilBERT":
        return hf.DistilBertModel(hf.DistilBertConfig())
    if name == "ALBERT-base":
        sizes = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
        return hf.AlbertModel(hf.AlbertConfig(**sizes))
    if name == "GPT-2":
        return hf.GPT2LMHeadModel(hf.GPT2Config())
    assert name == "T5-small"
    return hf.T5ForConditionalGeneration(hf.T5Config(tie_word_embeddings=True))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_have_the_counts_of_hugging_face(name: str) -> None:
    model = on_meta(lambda: hugging_face(name))
    if hasattr(model, "tie_weights"):
        model.tie_weights()
    published = PUBLISHED[name]
    assert num_parameters(published.shape) == num_parameters(model)
    assert num_parameters(published.shape) / 1e6 == pytest.approx(published.stated_millions, rel=0.03)


def test_presets_have_the_counts_of_hugging_face() -> None:
    theirs = on_meta(lambda: transformers.BertForPreTraining(transformers.BertConfig()))
    theirs.tie_weights()
    assert num_parameters(BertConfig.base()) == num_parameters(theirs) == 110_106_428
    theirs = on_meta(lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config()))
    theirs.tie_weights()
    assert num_parameters(GptConfig.gpt2()) == num_parameters(theirs) == 124_439_808


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
def test_flops_equal_those_that_torch_counts(activation: str) -> None:
    shape = {"vocab_size": 30, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 40}
    length, batch = 12, 3
    ids = torch.randint(30, (batch, length))

    config = GptConfig(**shape, hidden_act=activation)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        Gpt(config)(ids, trace=Trace(keep_attentions=True))
    assert counter.get_total_flops() == cost.flops_per_token(config, length) * batch * length

    bert_config = BertConfig(**shape, hidden_act=activation)
    masked = torch.arange(length).expand(batch, length) % 4 == 0
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        Bert(bert_config)(ids, masked_positions=masked, trace=Trace(keep_attentions=True))
    expected = cost.flops_per_token(bert_config, length, masked_fraction=0.25) * batch * length
    if activation == "gelu":
        assert counter.get_total_flops() == pytest.approx(expected)

    seq2seq_config = Seq2SeqConfig(**shape, hidden_act=activation)
    model = Seq2Seq(seq2seq_config)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoded = model.encode(ids, trace=Trace(keep_attentions=True))
        model.decode(ids, encoded, trace=Trace(keep_attentions=True))
    assert counter.get_total_flops() == cost.flops_per_token(seq2seq_config, length) * batch * length


def test_backward_costs_twice_the_forward_pass() -> None:
    config = GptConfig(vocab_size=30, hidden_size=16, num_attention_heads=2, intermediate_size=40)
    model, ids = Gpt(config), torch.randint(30, (2, 8))
    with FlopCounterMode(display=False) as counter:
        model(ids, trace=Trace(keep_attentions=True)).sum().backward()
    assert counter.get_total_flops() == 3 * cost.flops_per_token(config, 8) * 16


def test_at_the_crossover_scores_cost_what_the_rest_of_the_block_costs() -> None:
    for config in (GptConfig.gpt2(), GptConfig.tiny(10).replace(hidden_act="swiglu")):
        length = cost.attention_crossover(config)
        rows = cost.flops_ledger(config, int(length))
        assert rows["attention scores and means"] == rows["attention projections"] + rows["feed-forward"]
    assert cost.attention_crossover(GptConfig.gpt2()) == 6 * 768
    with pytest.raises(ValueError, match="at least 1"):
        cost.flops_ledger(config, 0)


@torch.no_grad()
def test_cache_bytes_equal_those_of_a_real_cache() -> None:
    config = GptConfig.tiny(30)
    model = Gpt(config).eval()
    cache = model.new_cache()
    model(torch.randint(30, (1, 16)), cache=cache)
    held = sum(c.keys.nbytes + c.values.nbytes for c in cache.self_attention)
    assert held == 16 * cost.kv_cache_bytes_per_token(config, bytes_per_number=4)
    read = cost.bytes_per_generated_token(config, 16, bytes_per_number=4)
    assert read == num_parameters(model) * 4 + held
    assert cost.bytes_per_generated_token(config, 16, batch_size=8, bytes_per_number=4) < read
