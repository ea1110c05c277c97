"""Distillation: what its loss is, and where a student may start."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from plm_core.compression.distill import (
    Distillation,
    DistillConfig,
    copy_layers,
    evenly_spaced,
    smaller_copy,
    soft_loss,
)
from plm_core.data.batch import real_tokens
from plm_core.data.batches import PaddedBatches
from plm_core.data.labels import IGNORE, next_token_labels
from plm_core.models.bert import Bert
from plm_core.models.classifier import BertClassifier, ClassifierConfig
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.objectives.base import Joint
from plm_core.objectives.causal_lm import CausalLM
from plm_core.objectives.classification import Classification
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.training.config import TrainConfig
from plm_core.training.trainer import Trainer


@pytest.fixture
def student() -> Gpt:
    torch.manual_seed(7)
    shape = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    return Gpt(GptConfig(**shape, position="rope", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))


@pytest.fixture
def batch(ids):
    labels = ids.roll(-1, 1)
    labels[:, -2:] = IGNORE
    return {"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids, dtype=torch.bool)}


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def test_weight_zero_at_temperature_one_is_ordinary_training(gpt, student, batch):
    config = DistillConfig(temperature=1.0, soft_weight=0.0)
    ours = gradients(student, Distillation(CausalLM(), gpt, student, config)(student, batch).total)
    plain = gradients(student, CausalLM()(student, batch).total)
    assert all(torch.equal(a, b) for a, b in zip(ours, plain, strict=True))


def test_the_soft_loss_has_the_gradient_of_hintons(gpt):
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        torch.randn(6, 5, generator=generator, requires_grad=True),
        torch.randn(6, 5, generator=generator),
    )
    soft_loss(student, teacher, temperature=3.0).backward()
    expected = 3.0 * ((student / 3).softmax(-1) - (teacher / 3).softmax(-1)).detach()
    torch.testing.assert_close(student.grad, expected)
    assert soft_loss(teacher, teacher, temperature=2.0).abs() < 1e-5


def test_a_one_hot_teacher_is_a_label(student, batch):
    labels = batch["labels"][batch["labels"] != IGNORE]
    certain = F.one_hot(labels, 40).float() * 1e4
    logits = student(batch["input_ids"])[batch["labels"] != IGNORE]
    torch.testing.assert_close(
        soft_loss(logits, certain, temperature=1.0),
        F.cross_entropy(logits, labels, reduction="sum"),
        rtol=1e-4,
        atol=1e-4,
    )


def test_padding_changes_nothing(gpt, batch):
    student = Gpt(gpt.config.replace(num_hidden_layers=1))
    task = Distillation(CausalLM(), gpt, student, DistillConfig(hidden_weight=1.0, attention_weight=1.0))
    padded = {key: F.pad(value, (0, 3), value=IGNORE if key == "labels" else 0) for key, value in batch.items()}
    short, long = task.terms(student, batch), task.terms(student, padded)
    assert short.keys() == long.keys() == {"causal_lm", "hidden_states", "attentions"}
    for name in short:
        assert short[name].count == long[name].count
        torch.testing.assert_close(short[name].total, long[name].total, rtol=1e-5, atol=1e-4)


def test_padding_is_left_out_where_the_batch_lists_its_tokens(gpt):
    student = Gpt(gpt.config.replace(num_hidden_layers=1))
    rows = [[1, 5, 9, 7, 3], [2, 4, 8]]
    one = PaddedBatches(rows, batch_size=2, pad_id=0, seed=0).in_order()[0]
    alone = [PaddedBatches([row], batch_size=1, pad_id=0, seed=0).in_order()[0] for row in rows]
    assert real_tokens(one).sum() == 8
    task = Distillation(CausalLM(), gpt, student, DistillConfig(soft_weight=0.0, hidden_weight=1.0))

    def states(batch):
        term = task.terms(student, batch)["hidden_states"]
        assert term.count == task.counts(batch)["hidden_states"]
        return term.total / term.count

    long, short = (states(batch) for batch in alone)
    torch.testing.assert_close(states(one), (5 * long + 3 * short) / 8, rtol=1e-4, atol=1e-5)


def test_a_teacher_that_is_the_student_leaves_the_hidden_loss_at_zero(gpt, batch):
    twin = Gpt(gpt.config)
    twin.load_state_dict(gpt.state_dict())
    config = DistillConfig(soft_weight=0.5, hidden_weight=1.0, attention_weight=1.0)
    terms = Distillation(CausalLM(), gpt, twin, config).terms(twin, batch)
    torch.testing.assert_close(terms["causal_lm"].total, 0.5 * CausalLM()(twin, batch).total, rtol=1e-4, atol=1e-4)
    assert terms["hidden_states"].total < 1e-6
    assert terms["attentions"].total < 1e-6


def test_the_teacher_is_left_alone_and_evaluation_knows_none(gpt, student, batch):
    gpt.train()
    task = Distillation(CausalLM(), gpt, student, DistillConfig())
    task(student, batch).total.backward()
    assert not gpt.training
    assert all(parameter.grad is None for parameter in gpt.parameters())
    assert isinstance(task.for_evaluation(), CausalLM)


def test_masked_models_are_distilled_on_the_masked_words(bert, ids):
    student = Bert(bert.config.replace(num_hidden_layers=1))
    labels = torch.full_like(ids, IGNORE)
    labels[:, 3] = ids[:, 3]
    parts = Distillation(MaskedLM(), bert, student, DistillConfig(soft_weight=1.0))(
        student, {"input_ids": ids, "labels": labels}
    )
    assert parts.count == len(ids)
    parts.total.backward()


def test_classifiers_are_distilled_on_the_labelled_texts(ids):
    shape = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "hidden_dropout_prob": 0.0}
    torch.manual_seed(3)
    teacher = BertClassifier(
        ClassifierConfig(**shape, num_labels=3, num_hidden_layers=4, attention_probs_dropout_prob=0.0)
    )
    student = BertClassifier(teacher.config.replace(num_hidden_layers=2))
    assert copy_layers(teacher, student) == [1, 2]
    labels = torch.arange(len(ids)) % 3
    labels[-1] = IGNORE
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids, dtype=torch.bool), "labels": labels}
    task = Distillation(Classification(), teacher, student, DistillConfig(temperature=2.0, soft_weight=1.0))
    parts = task(student, batch)
    with torch.no_grad():
        p, q = ((model(ids)[:-1] / 2).softmax(-1) for model in (teacher, student))
    assert parts.count == len(ids) - 1
    torch.testing.assert_close(parts.total, 4 * (p * (p / q).log()).sum(), rtol=1e-4, atol=1e-6)
    parts.total.backward()
    assert student.classifier.weight.grad.abs().sum() > 0
    assert teacher.classifier.weight.grad is None
    everything = DistillConfig(temperature=2.0, soft_weight=0.5, hidden_weight=1.0, attention_weight=1.0)
    twin = BertClassifier(teacher.config)
    twin.load_state_dict(teacher.state_dict())
    terms = Distillation(Classification(), teacher, twin, everything).terms(twin, batch)
    assert max(terms[name].total.item() for name in ("hidden_states", "attentions")) < 1e-6
    torch.testing.assert_close(
        terms["classification"].total, 0.5 * Classification()(twin, batch).total, rtol=1e-4, atol=1e-4
    )


def test_the_teacher_answers_where_the_batch_is(gpt, student, batch):
    task = Distillation(CausalLM(), gpt, student, DistillConfig())
    assert not task.answer(batch).requires_grad
    task.teacher.to("meta")  # as if it lay on another device than the batch
    task.teacher.to = lambda device: task.teacher.to_empty(device=device)  # which "meta" needs to come back
    assert task.answer(batch).device == batch["input_ids"].device


def test_a_student_starts_from_its_teachers_blocks(gpt, ids):
    assert evenly_spaced(3, 12) == [4, 8, 12]
    deep = Gpt(gpt.config.replace(num_hidden_layers=4))
    for given, expected in ((None, [1, 2]), (evenly_spaced(2, 4), [2, 4])):
        assert copy_layers(deep, gpt, given) == expected
        for block, number in zip(gpt.decoder.layers, expected, strict=True):
            assert torch.equal(block.feed_forward.up.weight, deep.decoder.layers[number - 1].feed_forward.up.weight)
        copied = smaller_copy(deep, 2, kept=given).state_dict()
        assert all(torch.equal(tensor, copied[name]) for name, tensor in gpt.state_dict().items())
    torch.testing.assert_close(gpt.lm_head.weight, deep.embeddings.word_embeddings.weight)
    same = Gpt(deep.config)
    copy_layers(deep, same)
    torch.testing.assert_close(same.eval()(ids), deep.eval()(ids))


def test_the_default_stands_on_the_stored_runs_of_the_chapter(root):
    """If other blocks do better once these are run again, the default has lost its reason."""
    path = root / "chapters/experiments/results/21_distillation.laptop.json"
    runs = {(run["variant"], run["seed"]): run for run in json.loads(path.read_text(encoding="utf-8"))["runs"]}
    seeds = [seed for variant, seed in runs if variant == "teacher"]
    assert len(seeds) >= 3
    for seed in seeds:
        untrained = runs["teacher", seed]["untrained"]
        assert untrained["first"] < 0.5 * min(untrained["evenly spaced"], untrained["last"])
        others = [runs[variant, seed]["quality"] for variant in ("evenly spaced blocks", "last blocks")]
        assert runs["2 blocks, distilled", seed]["quality"] < min(others)


def test_bad_input_is_refused(gpt, student):
    other = Gpt(gpt.config.replace(vocab_size=41))
    with pytest.raises(ValueError, match="share a vocabulary: 40 ids against 41"):
        Distillation(CausalLM(), gpt, other, DistillConfig())
    two_heads = Gpt(gpt.config.replace(num_attention_heads=2))
    with pytest.raises(ValueError, match="head by head"):
        Distillation(CausalLM(), gpt, two_heads, DistillConfig(attention_weight=1.0))
    with pytest.raises(ValueError, match="equal width"):
        Distillation(CausalLM(), gpt, student, DistillConfig(hidden_weight=1.0))
    with pytest.raises(ValueError, match="expected one of the teacher's 2 blocks"):
        Distillation(CausalLM(), gpt, student, DistillConfig(), layers=[3])
    with pytest.raises(ValueError, match="deeper than its teacher"):
        copy_layers(student, gpt)
    with pytest.raises(ValueError, match="cannot be copied"):
        copy_layers(gpt, student)
    with pytest.raises(ValueError, match="share: expected 0 to 1"):
        DistillConfig(soft_weight=2)


class Pieces:
    """A batch whole, or cut into rows."""

    def __init__(self, batch, count):
        self.batches = [batch] if count == 1 else [{k: v[n : n + 1] for k, v in batch.items()} for n in range(count)]

    def batch(self, index):
        return self.batches[index]


@pytest.mark.parametrize("weights", [{"hidden_weight": 300.0}, {"attention_weight": 300.0}, {"soft_weight": 1.0}])
def test_how_a_batch_is_cut_into_micro_batches_does_not_change_the_gradient(gpt, weights):
    student = Gpt(gpt.config.replace(num_hidden_layers=1))
    lengths = torch.tensor([20, 2, 3, 2])
    mask = torch.arange(20) < lengths[:, None]
    ids = torch.randint(7, 40, (4, 20), generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": ids, "attention_mask": mask, "labels": next_token_labels(ids, attention_mask=mask)}
    gradients = []
    for count in (1, 4):
        task = Distillation(CausalLM(), gpt, student, DistillConfig(**{"soft_weight": 0.0, **weights}))
        config = TrainConfig(steps=1, micro_batches=count, warmup_steps=0)
        trainer = Trainer(student.eval(), task, Pieces(batch, count), config, quiet=True)
        student.zero_grad()
        trainer.accumulate(trainer.micro_batch_group(0))
        gradients.append(torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None]))
    assert (gradients[0] - gradients[1]).norm() < 1e-4 * gradients[0].norm()


@pytest.mark.parametrize("task", ["causal", "joint"])
def test_terms_of_a_distillation_keep_their_weights_in_a_joint_objective(gpt, student, batch, task):
    soft = DistillConfig(soft_weight=0.5)
    distillation = Distillation(CausalLM(), gpt, student, soft)
    objective = Joint([distillation], [2.0]) if task == "joint" else distillation
    assert objective.weights == {"causal_lm": 2.0 if task == "joint" else 1.0}
    assert objective.terms(student, batch).keys() == objective.counts(batch).keys() == objective.weights.keys()
