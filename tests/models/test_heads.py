"""Heads: the trunk is the pretrained one, padding changes nothing, and Hugging Face's classes agree."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from plm_core.interop.configurations import config_to_hugging_face
from plm_core.interop.translation import from_hugging_face
from plm_core.models.bert import BertConfig
from plm_core.models.classifier import BertClassifier
from plm_core.models.gpt import GptConfig
from plm_core.models.heads import (
    BertHeadConfig,
    GptHeadConfig,
    RelationClassifier,
    SequenceClassifier,
    SpanExtractor,
    TokenClassifier,
    pool_states,
    sequence_classifier,
)
from plm_core.models.transformer import Trace
from plm_core.weights import load_weights, save_weights, stripped_state_dict
from tests.models.small_models import SHAPE, bert, gpt

HEADS = (SequenceClassifier, TokenClassifier, SpanExtractor, RelationClassifier)
TRUNKS = [
    pytest.param(lambda: bert(position="learned"), id="bert"),
    pytest.param(lambda: bert(position="rope", norm_position="pre"), id="bert-rope"),
    pytest.param(lambda: gpt(position="learned"), id="gpt"),
    pytest.param(lambda: gpt(position="t5"), id="gpt-t5"),
]


def batch(rows: int = 3, length: int = 11) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "input_ids": torch.randint(0, 50, (rows, length), generator=generator),
        "attention_mask": torch.arange(length) < torch.tensor([[length], [5], [2]])[:rows],
    }


def outputs(model: torch.nn.Module, **inputs: torch.Tensor) -> torch.Tensor:
    """The logits with the tokens, if any, in the last dimension but one."""
    if isinstance(model, RelationClassifier):
        inputs["marker_positions"] = torch.tensor([[1, 0]]).expand(len(inputs["input_ids"]), 2)
    made = model(**inputs)
    return torch.stack([made.start, made.end], dim=-1) if isinstance(model, SpanExtractor) else made


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("trunk", TRUNKS)
def test_the_trunk_is_a_copy_of_the_pretrained_one(head, trunk):
    pretrained = trunk().eval()
    model, inputs = head.from_pretrained(pretrained, 3).eval(), batch()
    states = pretrained.hidden_states if hasattr(pretrained, "hidden_states") else pretrained.encoder
    assert torch.equal(model.states(**inputs), states(**inputs))
    before = {name: tensor.clone() for name, tensor in pretrained.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in pretrained.state_dict().items())


@pytest.mark.parametrize(("head", "pooling"), [*((head, None) for head in HEADS), (SequenceClassifier, "mean")])
@pytest.mark.parametrize("trunk", TRUNKS)
def test_padding_changes_no_logit_and_no_gradient(head, trunk, pooling):
    model, inputs = head.from_pretrained(trunk(), 3, pooling=pooling).eval(), batch()
    together = outputs(model, **inputs)
    gradients = []
    for nonsense in (0, 7):
        model.zero_grad()
        filled = {**inputs, "input_ids": inputs["input_ids"].masked_fill(~inputs["attention_mask"], nonsense)}
        made = outputs(model, **filled)
        real = made if made.dim() == 2 else made[inputs["attention_mask"]]
        real.square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    for row, length in enumerate((11, 5, 2)):
        alone = outputs(model, **{name: tensor[row : row + 1, :length] for name, tensor in inputs.items()})[0]
        expected = together[row] if alone.dim() == 1 else together[row, :length]
        torch.testing.assert_close(alone, expected, rtol=1e-5, atol=1e-5)


def test_a_vector_for_a_text_is_read_at_its_real_tokens_on_whichever_side_the_padding_is():
    x_BTD = torch.arange(24.0).view(2, 4, 3)
    mask = torch.tensor([[True, True, True, False], [False, False, True, True]])
    assert torch.equal(pool_states(x_BTD, mask, "first"), torch.stack([x_BTD[0, 0], x_BTD[1, 2]]))
    assert torch.equal(pool_states(x_BTD, mask, "last"), torch.stack([x_BTD[0, 2], x_BTD[1, 3]]))
    assert torch.equal(pool_states(x_BTD, mask, "mean"), torch.stack([x_BTD[0, :3].mean(0), x_BTD[1, 2:].mean(0)]))
    assert torch.equal(pool_states(x_BTD, None, "last"), x_BTD[:, -1])
    nothing = torch.zeros(2, 4, dtype=torch.bool)
    assert torch.equal(pool_states(x_BTD, nothing, "mean"), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"one text a row: attention_mask must have shape \(2, 4\)"):
        pool_states(x_BTD, torch.ones(2, 4, 4, dtype=torch.bool), "last")


def test_of_a_causal_model_only_the_last_real_token_has_read_the_text():
    model, inputs = SequenceClassifier.from_pretrained(gpt(), 3).eval(), batch()
    before = model(**inputs)
    changed = inputs["input_ids"].clone()
    changed[1, 4] = (changed[1, 4] + 1) % 50  # the last real token of the second row
    after = model(changed, attention_mask=inputs["attention_mask"])
    assert not torch.allclose(before[1], after[1])
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    with pytest.raises(ValueError, match="its first token has seen no other token"):
        SequenceClassifier.from_pretrained(gpt(), 3, pooling="first")


def test_there_is_one_way_to_each_classifier_of_texts():
    pretrained, inputs = bert().eval(), batch()
    assert isinstance(sequence_classifier(pretrained, 3), BertClassifier)
    assert isinstance(sequence_classifier(pretrained, 3, pooling="pooler"), BertClassifier)
    for pooling in ("first", "last", "mean"):
        model = sequence_classifier(pretrained, 3, pooling=pooling).eval()
        pooled = pool_states(pretrained.encoder(**inputs), inputs["attention_mask"], pooling)
        torch.testing.assert_close(model(**inputs), model.classifier(pooled))
    pretrained.untrained_heads = ("pooler",)
    assert sequence_classifier(pretrained, 3).config.pooling == "mean"
    assert sequence_classifier(gpt(), 3).config.pooling == "last"
    with pytest.raises(ValueError, match="a Gpt has no pooler"):
        sequence_classifier(gpt(), 3, pooling="pooler")


def test_a_relation_is_read_at_its_two_markers():
    model, inputs = RelationClassifier.from_pretrained(bert(), 4).eval(), batch()
    positions = torch.tensor([[3, 9], [4, 1], [0, 0]])
    states = model.states(**inputs)
    both = torch.cat([states[torch.arange(3), positions[:, 0]], states[torch.arange(3), positions[:, 1]]], dim=1)
    logits = model(**inputs, marker_positions=positions)
    torch.testing.assert_close(logits, model.classifier(both))
    swapped = model(**inputs, marker_positions=positions.flip(1))
    assert not torch.allclose(logits[:2], swapped[:2])
    torch.testing.assert_close(logits[2], swapped[2])
    with pytest.raises(ValueError, match="valid ids are 0 to 10"):
        model(**inputs, marker_positions=torch.tensor([[0, 11]] * 3))
    with pytest.raises(ValueError, match=r"must have shape \(3, 2\), got \(3,\)"):
        model(**inputs, marker_positions=torch.zeros(3, dtype=torch.long))


def test_a_span_is_at_candidates_only():
    model, inputs = SpanExtractor.from_pretrained(bert()).eval(), batch()
    plain = model(**inputs)
    lowest = torch.finfo(torch.float32).min
    for logits in (plain.start, plain.end):
        assert torch.equal(logits == lowest, ~inputs["attention_mask"])
    candidates = torch.arange(11).expand(3, 11) % 2 == 0
    restricted = model(**inputs, candidates=candidates)
    allowed = candidates & inputs["attention_mask"]
    assert torch.equal(restricted.start[allowed], plain.start[allowed])
    assert torch.all(restricted.end[~allowed] == lowest)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("trunk", TRUNKS)
def test_a_head_comes_back_from_its_file(head, trunk, tmp_path):
    model = head.from_pretrained(trunk(), 3).eval()
    save_weights(model, tmp_path / "m.safetensors")
    config = type(model.config).from_yaml(model.config.to_yaml())
    torch.manual_seed(9)
    again = head(config).eval()
    load_weights(again, tmp_path / "m.safetensors")
    assert torch.equal(outputs(again, **batch()), outputs(model, **batch()))


def hugging_face_batch() -> dict[str, torch.Tensor]:
    inputs = batch()
    return inputs | {"attention_mask": inputs["attention_mask"].long()}


def copy_trunk(model: torch.nn.Module, theirs: torch.nn.Module) -> None:
    """Give a headed Bert the weights of a reference's trunk."""
    own = {name: tensor for name, tensor in stripped_state_dict(model).items() if not name.startswith("classifier.")}
    state = from_hugging_face(theirs.state_dict(), model.config, list(own))
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])


@pytest.mark.filterwarnings("ignore:heads that have no place here")
@pytest.mark.parametrize("task", ["tokens", "spans"])
def test_berts_logits_equal_hugging_faces(task):
    from transformers import BertConfig as ReferenceConfig
    from transformers import BertForQuestionAnswering, BertForTokenClassification

    settings = config_to_hugging_face(BertConfig(**SHAPE))
    reference = BertForTokenClassification if task == "tokens" else BertForQuestionAnswering
    theirs = reference(ReferenceConfig(**settings, num_labels=3 if task == "tokens" else 2)).eval()
    last = theirs.classifier if task == "tokens" else theirs.qa_outputs
    torch.nn.init.normal_(last.bias)
    head = TokenClassifier if task == "tokens" else SpanExtractor
    model = head(BertHeadConfig(**SHAPE, num_labels=3)).eval()
    copy_trunk(model, theirs)
    model.classifier.load_state_dict(last.state_dict())
    real = batch()["attention_mask"]
    if task == "tokens":
        logits = model(**batch())
        torch.testing.assert_close(logits[real], theirs(**hugging_face_batch()).logits[real], rtol=1e-5, atol=1e-5)
    else:
        made, expected = model(**batch()), theirs(**hugging_face_batch())
        torch.testing.assert_close(made.start[real], expected.start_logits[real], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(made.end[real], expected.end_logits[real], rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:heads that have no place here")
def test_gpts_classifier_equals_hugging_faces():
    from transformers import GPT2Config, GPT2ForSequenceClassification

    settings = config_to_hugging_face(GptConfig(**SHAPE))
    theirs = GPT2ForSequenceClassification(GPT2Config(**settings, num_labels=3)).eval()
    theirs.config.pad_token_id = 49
    model = SequenceClassifier(GptHeadConfig(**SHAPE, num_labels=3)).eval()
    pretrained = gpt()
    state = from_hugging_face(
        theirs.state_dict() | {"lm_head.weight": theirs.transformer.wte.weight},
        pretrained.config,
        list(stripped_state_dict(pretrained)),
    )
    model.encoder.load_state_dict(state)
    with torch.no_grad():
        model.classifier.weight.copy_(theirs.score.weight)
        model.classifier.bias.zero_()
    inputs = batch()
    ids = inputs["input_ids"].clamp(max=48).masked_fill(~inputs["attention_mask"], 49)
    expected = theirs(ids, attention_mask=inputs["attention_mask"].long()).logits
    torch.testing.assert_close(model(ids, attention_mask=inputs["attention_mask"]), expected, rtol=1e-5, atol=1e-5)


def test_the_cross_entropy_of_one_state_is_worked_out_by_hand():
    """Two classes, logits w·x: the loss is log(1 + exp(-margin))."""
    model = SequenceClassifier.from_pretrained(bert(), 2, pooling="mean").eval()
    inputs = batch(1, 4)
    trace = Trace()
    logits = model(**inputs, trace=trace)
    mean = trace.hidden_states[-1][0].mean(0)
    weight, bias = model.classifier.weight, model.classifier.bias
    margin = (weight[1] - weight[0]) @ mean + bias[1] - bias[0]
    torch.testing.assert_close(F.cross_entropy(logits, torch.tensor([1])), torch.log1p(torch.exp(-margin)))


def test_impossible_shapes_are_refused():
    for config in (BertHeadConfig, GptHeadConfig):
        with pytest.raises(ValueError, match="num_labels must be at least 2, got 1"):
            config(**SHAPE, num_labels=1)
    with pytest.raises(ValueError, match=r"expected one of 'first', 'last', 'mean', got 'maen' \(did you mean 'mean'"):
        BertHeadConfig(**SHAPE, pooling="maen")
