"""Freezing: what is frozen gets no gradient and keeps its weights, and layers are unfrozen when they are due."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import nn

from plm_core.models.bert import Bert, BertConfig
from plm_core.models.classifier import BertClassifier
from plm_core.objectives.classification import Classification
from plm_core.training.config import TrainConfig
from plm_core.training.freezing import (
    UnfreezingTrainer,
    count_parameters,
    freeze,
    freeze_below,
    train_biases_only,
    unfreeze,
)
from plm_core.training.optim import decay_groups
from plm_core.training.trainer import Trainer

SHAPE = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}


class Rows:
    """Batches whose label follows from their first token."""

    def batch(self, index: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(index)
        ids = torch.randint(0, 20, (8, 5), generator=generator)
        return {"input_ids": ids, "labels": ids[:, 1] % 2}


@pytest.fixture
def model() -> BertClassifier:
    torch.manual_seed(0)
    return BertClassifier.from_pretrained(Bert(BertConfig(vocab_size=20, **SHAPE)), 2)


def trained(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def changed(model: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def run(model: nn.Module, kind: type[Trainer] = Trainer, *, steps: int = 2, folder=None, **named) -> Trainer:
    config = TrainConfig(steps=steps, learning_rate=1e-2, warmup_steps=0, save_every=3, schedule="constant")
    return kind(model, Classification(), Rows(), config, folder=folder, quiet=True, **named)


def test_what_is_frozen_keeps_its_weights_in_training(model):
    freeze(model, ["encoder.embeddings", "encoder.stack.layers.0", "pooler.dense.bias"])
    expected = {
        name
        for name, _ in model.named_parameters()
        if not name.startswith(("encoder.embeddings.", "encoder.stack.layers.0.")) and name != "pooler.dense.bias"
    }
    assert trained(model) == expected
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run(model).fit()
    # the gradient of a key's bias is zero: it moves all scores of a query alike
    assert changed(model, before) | {name for name in expected if name.endswith("key.bias")} == expected
    unfreeze(model, ["encoder.embeddings.word_embeddings.weight"])
    assert trained(model) == expected | {"encoder.embeddings.word_embeddings.weight"}


def test_biases_alone_are_a_small_part_of_the_model(model):
    train_biases_only(model)
    expected = {name for name, _ in model.named_parameters() if name.endswith(".bias")} | {"classifier.weight"}
    assert trained(model) == expected
    counted = count_parameters(model)
    assert counted.trained == sum(model.get_parameter(name).numel() for name in expected)
    assert counted.total == sum(parameter.numel() for parameter in model.parameters())
    assert counted.share == counted.trained / counted.total < 0.1
    with pytest.raises(ValueError, match="Linear has no bias to train"):
        train_biases_only(nn.Linear(2, 2, bias=False))
    with pytest.raises(ValueError, match="has no part 'head': its parts are encoder, pooler, dropout, classifier"):
        train_biases_only(model, ["head"])


@pytest.mark.parametrize("depth", range(5))
def test_everything_below_a_depth_is_frozen(model, depth):
    freeze(model, ["encoder", "classifier"])
    freeze_below(model, depth)
    lowest = ["encoder.embeddings", *(f"encoder.stack.layers.{number}" for number in range(3))][:depth]
    frozen = {name for name, _ in model.named_parameters() if name.startswith(tuple(f"{part}." for part in lowest))}
    assert trained(model) == {name for name, _ in model.named_parameters()} - frozen


def test_each_layer_learns_slower_than_the_one_above_it(model):
    freeze(model, ["encoder.embeddings"])
    scales = {}
    for group in decay_groups(model, 0.1, layer_decay=0.5):
        for parameter in group["params"]:
            scales[id(parameter)] = group["lr_scale"]
    for number, scale in enumerate((0.125, 0.25, 0.5)):
        layer = model.encoder.stack.layers[number]
        assert {scales[id(parameter)] for parameter in layer.parameters()} == {scale}
    assert {scales[id(parameter)] for part in (model.pooler, model.classifier) for parameter in part.parameters()} == {
        1
    }
    assert len(scales) == len(trained(model))


def test_layers_are_unfrozen_from_the_top_when_they_are_due(model):
    trainer = run(model, UnfreezingTrainer, steps=10, steps_per_layer=2)
    seen = []
    for _ in range(10):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        trainer.step()
        layers = {name.split(".")[3] for name in changed(model, before) if ".layers." in name}
        embeddings = any(name.startswith("encoder.embeddings") for name in changed(model, before))
        assert any(name.startswith("classifier") for name in changed(model, before))
        seen.append(("".join(sorted(layers)), embeddings))
    stages = [("", False), ("2", False), ("12", False), ("012", False), ("012", True)]
    assert seen == [stage for stage in stages for _ in range(2)]


def test_a_resumed_run_unfreezes_as_the_uninterrupted_one(tmp_path):
    def make(folder: str) -> UnfreezingTrainer:
        torch.manual_seed(0)
        model = BertClassifier.from_pretrained(Bert(BertConfig(vocab_size=20, **SHAPE)), 2)
        return run(model, UnfreezingTrainer, steps=6, steps_per_layer=2, folder=tmp_path / folder)

    whole = make("whole")
    whole.fit()
    make("cut").fit()  # for the checkpoint of step 3
    last = max((tmp_path / "cut").glob("*6*"))
    shutil.rmtree(last)
    again = make("cut")
    assert again.resume() == []
    assert again.progress.step == 3
    again.fit()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name


def test_what_cannot_be_is_refused(model):
    with pytest.raises(ValueError, match="has no part 'decoder'"):
        freeze(model, ["encoder", "decoder"])
    with pytest.raises(ValueError, match="has no part ''"):
        freeze(model, [""])
    assert trained(model) == {name for name, _ in model.named_parameters()}
    with pytest.raises(ValueError, match=r"depth 5: BertClassifier has depths from 0 \(embeddings\) to 4 \(head\)"):
        freeze_below(model, 5)
    with pytest.raises(ValueError, match="needs a model with one stack of layers"):
        freeze_below(nn.Linear(2, 2), 0)
    with pytest.raises(ValueError, match="steps_per_layer must be at least 1"):
        run(model, UnfreezingTrainer, steps_per_layer=0)
