"""The classifier is its BERT with another last layer: trunk, padding, files, and Hugging Face's class agree."""

from __future__ import annotations

import pytest
import torch

from plm_core.interop.configurations import config_to_hugging_face
from plm_core.interop.translation import from_hugging_face
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.classifier import BertClassifier, ClassifierConfig
from plm_core.weights import load_weights, save_weights, stripped_state_dict, tied_weights

SHAPE = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 24,
    "initializer_range": 0.2,
}


def classifier(**changes) -> BertClassifier:
    torch.manual_seed(0)
    return BertClassifier(ClassifierConfig(**{**SHAPE, "num_labels": 3, **changes})).eval()


def pairs(rows: int = 3, length: int = 11) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "input_ids": torch.randint(0, 50, (rows, length), generator=generator),
        "attention_mask": torch.arange(length) < torch.tensor([[length], [5], [2]])[:rows],
        "token_type_ids": torch.randint(0, 2, (rows, length), generator=generator),
    }


@pytest.mark.parametrize(("position", "norm_position"), [("learned", "post"), ("rope", "pre"), ("t5", "pre")])
def test_a_pretrained_encoder_is_copied_and_only_the_last_layer_is_drawn(position, norm_position):
    torch.manual_seed(0)
    bert = Bert(BertConfig(**SHAPE, position=position, norm_position=norm_position)).eval()
    before = {name: tensor.clone() for name, tensor in bert.state_dict().items()}
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(BertClassifier.from_pretrained(bert, 5).eval())
    inputs = pairs()
    for model in made:
        with torch.no_grad():
            expected = bert(**inputs).pooler_output
            assert torch.equal(model.encoder(**inputs), bert.encoder(**inputs))
            assert torch.equal(model(**inputs), model.classifier(expected))
        assert model(**inputs).shape == (3, 5)
    first, same, other = (model.classifier.weight for model in made)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    with torch.no_grad():
        made[0].encoder.embeddings.word_embeddings.weight.zero_()
        made[0].pooler.dense.weight.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in bert.state_dict().items())  # a copy, not a view


@pytest.mark.parametrize("position", ["learned", "rope"])
def test_padding_changes_no_logit(position):
    model, inputs = classifier(position=position), pairs()
    together = model(**inputs)
    for row, length in enumerate((11, 5, 2)):
        alone = {name: tensor[row : row + 1, :length] for name, tensor in inputs.items()}
        torch.testing.assert_close(model(**alone)[0], together[row], rtol=1e-5, atol=1e-5)
    nonsense = {**inputs, "input_ids": inputs["input_ids"].masked_fill(~inputs["attention_mask"], 7)}
    torch.testing.assert_close(model(**nonsense), together, rtol=0, atol=0)


@pytest.mark.parametrize("position", ["learned", "t5"])
def test_a_classifier_comes_back_from_its_file(position, tmp_path):
    model = classifier(position=position)
    save_weights(model, tmp_path / "m.safetensors")
    torch.manual_seed(9)
    again = BertClassifier(model.config).eval()
    load_weights(again, tmp_path / "m.safetensors")
    assert torch.equal(again(**pairs()), model(**pairs()))
    assert tied_weights(again) == tied_weights(model)
    with pytest.raises(ValueError, match="do not fit BertClassifier"):
        load_weights(BertClassifier(model.config.replace(num_labels=4)), tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="do not fit Bert;"):
        load_weights(Bert(BertConfig(**SHAPE, position=position)), tmp_path / "m.safetensors")


def test_logits_and_gradients_equal_hugging_faces():
    from transformers import BertConfig as ReferenceConfig
    from transformers import BertForSequenceClassification

    torch.manual_seed(0)
    settings = config_to_hugging_face(BertConfig(**SHAPE, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    theirs = BertForSequenceClassification(ReferenceConfig(**settings, num_labels=3))
    model = classifier(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)

    def renamed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        last = {name: tensor for name, tensor in tensors.items() if name.startswith("classifier.")}
        return from_hugging_face(tensors, model.config, list(stripped_state_dict(model))) | last

    state = renamed(theirs.state_dict())
    own = stripped_state_dict(model)
    assert state.keys() == own.keys()
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])
    inputs, labels = pairs(), torch.tensor([2, 0, 1])
    reference = theirs(**inputs | {"attention_mask": inputs["attention_mask"].long()}, labels=labels)
    logits = model(**inputs)
    torch.testing.assert_close(logits, reference.logits, rtol=1e-5, atol=1e-5)
    reference.loss.backward()
    torch.nn.functional.cross_entropy(logits, labels).backward()
    expected = renamed({name: p.grad for name, p in theirs.named_parameters() if p.grad is not None})
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6, msg=name)


def test_impossible_shapes_and_inputs_are_refused():
    with pytest.raises(ValueError, match="num_labels must be at least 2, got 1"):
        ClassifierConfig(**SHAPE, num_labels=1)
    model = classifier()
    with pytest.raises(ValueError, match="valid ids are 0 to 49"):
        model(torch.tensor([[50]]))
    with pytest.raises(ValueError, match="takes 24"):
        model(torch.zeros(1, 25, dtype=torch.long))
    with pytest.raises(ValueError, match="must be bool"):
        model(torch.zeros(1, 3, dtype=torch.long), attention_mask=torch.ones(1, 3))
