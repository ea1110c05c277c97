"""ELECTRA: shapes, shared embeddings, samples without gradient, and Hugging Face's discriminator."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from plm_core.interop.configurations import config_to_hugging_face
from plm_core.interop.translation import from_hugging_face
from plm_core.models import electra as module
from plm_core.models.bert import BertConfig
from plm_core.models.electra import Discriminator, Electra, sample_tokens
from plm_core.models.heads import SequenceClassifier
from plm_core.weights import (
    check_ties,
    load_weights,
    save_weights,
    shared_parameters,
    stripped_state_dict,
    tied_weights,
)
from tests.models.small_models import POSITIONS, SHAPE

SMALLER = {"num_hidden_layers": 1, "intermediate_size": 16}
MASKED = torch.tensor([1, 4, 12, 15])
"""Positions in reading order: two in each of the first two rows."""


def electra(*, generator: dict | None = None, share_embeddings: bool = True, **changes) -> Electra:
    torch.manual_seed(0)
    shape = BertConfig(**SHAPE | changes)
    return Electra(shape.replace(**SMALLER | (generator or {})), shape, share_embeddings=share_embeddings).eval()


def inputs(rows: int = 3, length: int = 11) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "input_ids": torch.randint(5, 50, (rows, length), generator=generator),
        "attention_mask": torch.arange(length) < torch.tensor([[length], [5], [2]])[:rows],
    }


@pytest.mark.parametrize("as_mask", [False, True])
def test_the_shapes_are_those_of_masked_positions_and_of_all_tokens(as_mask: bool) -> None:
    model, given = electra(), inputs()
    positions = torch.zeros(3, 11, dtype=torch.bool)
    positions.view(-1)[MASKED] = True
    torch.manual_seed(3)
    found = model(**given, masked_positions=positions if as_mask else MASKED)
    assert found.prediction_logits.shape == (4, 50)
    assert found.corrupted_ids.shape == found.replaced_logits.shape == (3, 11)
    assert torch.equal(found.corrupted_ids[~positions], given["input_ids"][~positions])
    torch.manual_seed(3)
    assert torch.equal(found.corrupted_ids[positions], sample_tokens(found.prediction_logits))
    expected = model.discriminator(found.corrupted_ids, attention_mask=given["attention_mask"])
    assert torch.equal(found.replaced_logits, expected)


def test_the_input_stays_as_it_is_and_may_be_a_view() -> None:
    model, given = electra(), inputs()
    ids = given["input_ids"].T.contiguous().T
    before = ids.clone()
    found = model(ids, attention_mask=given["attention_mask"], masked_positions=MASKED)
    assert torch.equal(ids, before)
    assert not torch.equal(found.corrupted_ids, before)


def test_tokens_are_drawn_with_their_probabilities_and_never_without() -> None:
    """Four tokens, 20,000 draws: within five standard deviations, a false alarm of 2e-6 in all."""
    probabilities = torch.tensor([0.0, 0.5, 0.3, 0.2, 0.0])
    draws = 20_000
    torch.manual_seed(0)
    found = sample_tokens(probabilities.log().expand(draws, -1)).bincount(minlength=5)
    assert found[0] == found[4] == 0
    deviations = (draws * probabilities * (1 - probabilities)).sqrt()
    assert ((found - draws * probabilities).abs() <= 5 * deviations).all()


def test_rows_in_parts_get_the_tokens_of_all_rows_at_once() -> None:
    logits = torch.randn(50, 30)
    torch.manual_seed(5)
    whole = sample_tokens(logits)
    torch.manual_seed(5)
    assert torch.equal(torch.cat([sample_tokens(part) for part in logits.split([1, 20, 0, 29])]), whole)
    generator = torch.Generator().manual_seed(5)
    assert torch.equal(sample_tokens(logits, generator=generator), whole)


@pytest.mark.parametrize("position", POSITIONS)
def test_embeddings_are_shared_declared_and_shared_again_after_a_file(position: str, tmp_path) -> None:
    model = electra(position=position)
    ours, theirs = model.discriminator.encoder.embeddings, model.generator.encoder.embeddings
    assert theirs.word_embeddings.weight is ours.word_embeddings.weight
    assert theirs.token_type_embeddings.weight is ours.token_type_embeddings.weight
    assert model.generator.mlm_head.decoder.weight is ours.word_embeddings.weight
    assert theirs.norm.weight is not ours.norm.weight
    if position == "learned":
        assert theirs.position.table.weight is ours.position.table.weight
    assert model.tied_weights() == shared_parameters(model)
    check_ties(model.generator)
    save_weights(model, tmp_path / "weights.safetensors")
    other = electra(position=position)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    load_weights(other, tmp_path / "weights.safetensors")
    check_ties(other)
    for (name, a), (_, b) in zip(model.state_dict().items(), other.state_dict().items(), strict=True):
        assert torch.equal(a, b), name


def test_a_narrower_generator_has_embeddings_of_its_own() -> None:
    narrow = {"hidden_size": 16, "num_attention_heads": 2}
    model = electra(generator=narrow, share_embeddings=False)
    assert model.tied_weights() == {
        "generator.mlm_head.decoder.weight": "generator.encoder.embeddings.word_embeddings.weight"
    }
    assert model(**inputs(), masked_positions=MASKED).replaced_logits.shape == (3, 11)
    with pytest.raises(ValueError, match="same hidden_size: the generator has 16, the discriminator 32"):
        electra(generator=narrow)
    with pytest.raises(ValueError, match="same max_position_embeddings"):
        electra(generator={"max_position_embeddings": 12})
    with pytest.raises(ValueError, match="same vocab_size; got 40 and 50"):
        electra(generator={"vocab_size": 40}, share_embeddings=False)


@pytest.mark.parametrize("share_embeddings", [True, False])
def test_the_discriminator_reaches_of_the_generator_only_shared_embeddings(share_embeddings: bool) -> None:
    model = electra(share_embeddings=share_embeddings)
    model(**inputs(), masked_positions=MASKED).replaced_logits.sum().backward()
    reached = {name for name, p in model.generator.named_parameters() if p.grad is not None}
    tables = {"word_embeddings", "token_type_embeddings", "position.table"}
    assert reached == ({f"encoder.embeddings.{name}.weight" for name in tables} if share_embeddings else set())
    assert all(p.grad is not None for p in model.discriminator.parameters())


def test_the_generator_reaches_nothing_of_the_discriminator_but_shared_embeddings() -> None:
    model = electra()
    model(**inputs(), masked_positions=MASKED).prediction_logits.sum().backward()
    reached = {name for name, p in model.discriminator.named_parameters() if p.grad is not None}
    tables = {"word_embeddings", "token_type_embeddings", "position.table"}
    assert reached == {f"encoder.embeddings.{name}.weight" for name in tables}


@pytest.mark.parametrize("position", ["learned", "rope", "t5"])
def test_padding_and_batch_mates_change_no_logit(position: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = electra(position=position), inputs()
    samples = torch.tensor([7, 8, 9, 10])
    monkeypatch.setattr(module, "sample_tokens", lambda logits, generator=None: samples[: len(logits)])
    together = model(**given, masked_positions=MASKED)
    nonsense = given | {"input_ids": given["input_ids"].masked_fill(~given["attention_mask"], 7)}
    filled = model(**nonsense, masked_positions=MASKED)
    real = given["attention_mask"]
    torch.testing.assert_close(filled.replaced_logits[real], together.replaced_logits[real], rtol=0, atol=0)
    alone = model(given["input_ids"][:1], masked_positions=MASKED[:2])
    torch.testing.assert_close(alone.replaced_logits[0], together.replaced_logits[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(alone.prediction_logits, together.prediction_logits[:2], rtol=1e-5, atol=1e-5)


def test_the_encoder_is_fine_tuned_as_that_of_a_bert() -> None:
    model, given = electra(position="rope", norm_position="pre"), inputs()
    bert = model.discriminator.as_bert().eval()
    states = model.discriminator.encoder(**given)
    assert torch.equal(bert.encoder(**given), states)
    with pytest.raises(ValueError, match="came without its mlm_head"):
        bert.require_trained("mlm_head")
    classifier = SequenceClassifier.from_pretrained(bert, 2, pooling="first").eval()
    assert torch.equal(classifier(**given), classifier.classifier(states[:, 0]))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for parameter in bert.parameters():
            parameter.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_logits_loss_and_gradients_equal_hugging_faces() -> None:
    from transformers import ElectraConfig, ElectraForPreTraining

    torch.manual_seed(0)
    config = BertConfig(**SHAPE)
    settings = config_to_hugging_face(config)
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    more = ("max_position_embeddings", "type_vocab_size", "layer_norm_eps", "hidden_act")
    theirs = ElectraForPreTraining(
        ElectraConfig(
            **{name: settings[name] for name in (*names, *more)},
            embedding_size=config.hidden_size,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.2,
        )
    )
    model = Discriminator(config)

    def renamed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        trunk = {name.replace("electra.", "bert.", 1): tensor for name, tensor in tensors.items()}
        heads = {
            "head.dense": "discriminator_predictions.dense",
            "head.out": "discriminator_predictions.dense_prediction",
        }
        head = {f"{a}.{part}": tensors[f"{b}.{part}"] for a, b in heads.items() for part in ("weight", "bias")}
        trunk = {name: tensor for name, tensor in trunk.items() if name.startswith("bert.")}
        return from_hugging_face(trunk, config, list(stripped_state_dict(model))) | head

    state, own = renamed(theirs.state_dict()), stripped_state_dict(model)
    assert state.keys() == own.keys()
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])
    given = inputs() | {"token_type_ids": (torch.arange(11) > 4).long().expand(3, -1)}
    real = given["attention_mask"]
    labels = torch.rand(3, 11, generator=torch.Generator().manual_seed(2)) < 0.3
    reference = theirs(**given | {"attention_mask": real.long()}, labels=labels.long())
    logits = model(**given)
    torch.testing.assert_close(logits[real], reference.logits[real], rtol=1e-5, atol=1e-5)
    loss = F.binary_cross_entropy_with_logits(logits[real], labels[real].float())
    torch.testing.assert_close(loss, reference.loss, rtol=1e-5, atol=1e-6)
    reference.loss.backward()
    loss.backward()
    expected = renamed({name: p.grad for name, p in theirs.named_parameters() if p.grad is not None})
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6, msg=name)


def test_ties_of_a_discriminator_are_those_of_its_position_scheme() -> None:
    model = Discriminator(BertConfig(**SHAPE, position="t5"))
    assert tied_weights(model) == shared_parameters(model) != {}
