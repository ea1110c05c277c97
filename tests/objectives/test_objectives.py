"""Objectives return sums and counts that padding cannot change, and agree with Hugging Face's losses."""

import math

import pytest
import torch

from plm_core.data.labels import IGNORE, next_token_labels
from plm_core.interop.translation import from_hugging_face, to_hugging_face
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.objectives.base import Joint
from plm_core.objectives.causal_lm import CausalLM
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.objectives.sentence_pair import NextSentence, SentenceOrder
from plm_core.weights import stripped_state_dict

VOCABULARY, PAD = 40, 0


def bert():
    torch.manual_seed(0)
    config = BertConfig.tiny(VOCABULARY).replace(hidden_size=32, intermediate_size=64, initializer_range=0.2)
    return Bert(config).eval()


def gpt():
    torch.manual_seed(0)
    config = GptConfig.tiny(VOCABULARY).replace(hidden_size=32, intermediate_size=64, initializer_range=0.2)
    return Gpt(config).eval()


def pair_batch(rows=5, length=17, seed=0):
    """Ragged rows with types, labels at some positions and a pair label each."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(7, VOCABULARY, (rows, length), generator=generator)
    real = torch.arange(length) < torch.randint(8, length + 1, (rows, 1), generator=generator)
    chosen = real & (torch.rand(rows, length, generator=generator) < 0.3)
    labels = torch.randint(7, VOCABULARY, (rows, length), generator=generator).masked_fill(~chosen, IGNORE)
    return {
        "input_ids": ids.masked_fill(~real, PAD),
        "attention_mask": real,
        "token_type_ids": (torch.arange(length) >= 5).long().expand(rows, -1) * real,
        "labels": labels,
        "pair_labels": torch.randint(0, 2, (rows,), generator=generator),
    }


def causal_batch(rows=4, length=15):
    batch = pair_batch(rows, length)
    labels = next_token_labels(batch["input_ids"], attention_mask=batch["attention_mask"])
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels}


def gradients(model, parts):
    model.zero_grad()
    sum(part.total / part.count for part in parts.values()).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def widened(batch, extra):
    """The same batch with more padding, filled with nonsense that nobody may look at."""
    wide = {}
    for key, value in batch.items():
        if value.dim() == 2:
            filler = {"attention_mask": False, "labels": IGNORE, "token_type_ids": 1}.get(key, 23)
            value = torch.cat([value, torch.full((len(value), extra), filler, dtype=value.dtype)], dim=1)
        wide[key] = value
    return wide


CASES = [
    pytest.param(bert, MaskedLM(), pair_batch, id="masked"),
    pytest.param(bert, NextSentence(), pair_batch, id="next-sentence"),
    pytest.param(bert, Joint([MaskedLM(), NextSentence()], [1.0, 0.5]), pair_batch, id="joint"),
    pytest.param(gpt, CausalLM(), causal_batch, id="causal"),
]


@pytest.mark.parametrize(("make_model", "objective", "make_batch"), CASES)
def test_padding_changes_no_loss_and_no_gradient(make_model, objective, make_batch):
    model, batch = make_model(), make_batch()
    narrow = objective.terms(model, batch)
    narrow_gradients = gradients(model, narrow)
    wide = objective.terms(model, widened(batch, 6))
    wide_gradients = gradients(model, wide)
    for name in narrow:
        assert narrow[name].count == wide[name].count
        torch.testing.assert_close(narrow[name].total, wide[name].total, rtol=1e-5, atol=1e-5)
    for name, gradient in narrow_gradients.items():
        torch.testing.assert_close(gradient, wide_gradients[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("make_model", "objective", "make_batch"), CASES)
def test_counts_are_known_without_the_model(make_model, objective, make_batch):
    model, batch = make_model(), make_batch()
    parts = objective.terms(model, batch)
    assert objective.counts(batch) == {name: part.count for name, part in parts.items()}


@pytest.mark.parametrize(("make_model", "objective", "make_batch"), CASES)
def test_the_sum_over_rows_is_the_sum_over_the_batch(make_model, objective, make_batch):
    model, batch = make_model(), make_batch()
    whole = objective.terms(model, batch)
    rows = [{key: value[i : i + 1] for key, value in batch.items()} for i in range(len(batch["input_ids"]))]
    parts = [objective.terms(model, row) for row in rows]
    for name, part in whole.items():
        torch.testing.assert_close(part.total, sum(row[name].total for row in parts), rtol=1e-5, atol=1e-4)
        assert part.metrics["accuracy"] == sum(row[name].metrics["accuracy"] for row in parts)


def test_loss_and_gradients_equal_bert_for_pretraining():
    """BERT's loss is the mean over masked tokens plus the mean over pairs, on equal weights and inputs."""
    from transformers import BertConfig as ReferenceConfig
    from transformers import BertForPreTraining

    model, batch = bert(), pair_batch()
    config = model.config
    reference = BertForPreTraining(
        ReferenceConfig(
            vocab_size=VOCABULARY,
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            intermediate_size=config.intermediate_size,
            max_position_embeddings=config.max_position_embeddings,
            layer_norm_eps=config.layer_norm_eps,
        )
    ).eval()
    reference.load_state_dict(to_hugging_face(stripped_state_dict(model), config), strict=False)
    reference.tie_weights()
    expected = reference(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"].long(),
        token_type_ids=batch["token_type_ids"],
        labels=batch["labels"],
        next_sentence_label=batch["pair_labels"],
    ).loss
    expected.backward()
    parts = Joint([MaskedLM(), NextSentence()]).terms(model, batch)
    loss = sum(part.total / part.count for part in parts.values())
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    loss.backward()
    named = dict(reference.named_parameters())
    gradients = {name: p.grad for name, p in named.items() if p.grad is not None}
    theirs = from_hugging_face(gradients, config, list(stripped_state_dict(model)))
    compared = 0
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            parameter.grad, theirs[name], rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )
        compared += 1
    assert compared == len(list(model.parameters()))


def test_causal_loss_equals_gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    model = gpt()
    batch = pair_batch(rows=4, length=15)
    ids = batch["input_ids"]
    config = model.config
    reference = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=config.hidden_size,
            n_layer=config.num_hidden_layers,
            n_head=config.num_attention_heads,
            n_inner=config.intermediate_size,
            n_positions=config.max_position_embeddings,
        )
    ).eval()
    reference.load_state_dict(to_hugging_face(stripped_state_dict(model), config), strict=False)
    reference.tie_weights()
    expected = reference(input_ids=ids, labels=ids).loss
    part = CausalLM()(model, {"input_ids": ids, "labels": next_token_labels(ids)})
    torch.testing.assert_close(part.total / part.count, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "objective", "batch", "classes"),
    [
        pytest.param(Bert(BertConfig.tiny(5000)), MaskedLM(), pair_batch(64), 5000, id="masked"),
        pytest.param(Gpt(GptConfig.tiny(5000)), CausalLM(), causal_batch(64), 5000, id="causal"),
        pytest.param(Bert(BertConfig.tiny(5000)), NextSentence(), pair_batch(64), 2, id="pairs"),
    ],
)
def test_an_untrained_model_loses_log_v(model, objective, batch, classes):
    part = objective(model.eval(), batch)
    assert (part.total / part.count).item() == pytest.approx(math.log(classes), rel=0.05)


def test_no_label_means_zero_and_no_gradient_of_nan():
    model, batch = bert(), pair_batch()
    batch["labels"] = torch.full_like(batch["labels"], IGNORE)
    part = MaskedLM()(model, batch)
    assert part.count == 0
    assert part.total.item() == 0
    part.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_a_pair_without_a_label_is_left_out():
    model, batch = bert(), pair_batch()
    whole = NextSentence()(model, batch)
    batch["pair_labels"] = batch["pair_labels"].clone()
    batch["pair_labels"][1:] = IGNORE
    part = NextSentence()(model, batch)
    assert part.count == 1
    assert part.total < whole.total


def test_a_joint_objective_refuses_equal_names_and_wrong_weights():
    with pytest.raises(ValueError, match="distinct names"):
        Joint([MaskedLM(), MaskedLM()])
    with pytest.raises(ValueError, match="at least one"):
        Joint([])
    with pytest.raises(ValueError, match="expected 2 weights"):
        Joint([MaskedLM(), SentenceOrder()], [1.0])
