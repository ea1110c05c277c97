"""Small models, their ONNX files, and batches that the compression tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from plm_core.compression.export import export_onnx
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.classifier import BertClassifier, ClassifierConfig
from plm_core.models.gpt import Gpt, GptConfig

VOCAB = 40
SHAPE = {"vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}


@pytest.fixture
def gpt() -> Gpt:
    """A GPT with rotary positions, weights large enough to matter, no dropout."""
    torch.manual_seed(0)
    return Gpt(
        GptConfig(
            vocab_size=VOCAB,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            position="rope",
            initializer_range=0.2,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


@pytest.fixture
def bert() -> Bert:
    """A BERT without dropout."""
    torch.manual_seed(0)
    return Bert(
        BertConfig(
            vocab_size=VOCAB,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            initializer_range=0.2,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


@pytest.fixture
def ids() -> torch.Tensor:
    """Token ids, (3, 9)."""
    return torch.randint(0, VOCAB, (3, 9), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Make a model from a configuration, with weights large enough to matter, and export it; both are shared."""
    made: dict[str, tuple[Gpt | Bert, Path]] = {}

    def export(kind: type, config: GptConfig | BertConfig) -> tuple[Gpt | Bert, Path]:
        key = f"{kind.__name__} {config}"
        if key not in made:
            torch.manual_seed(0)
            model, path = kind(config).eval(), tmp_path_factory.mktemp("onnx") / "model.onnx"
            export_onnx(model, path)
            made[key] = model, path
        return made[key]

    return export


@pytest.fixture(scope="session")
def bert_files(exported):
    """A BERT with its ONNX file; neither is to be changed."""
    return exported(Bert, BertConfig(**SHAPE, initializer_range=0.2))


@pytest.fixture(scope="session")
def rope_files(exported):
    """A GPT with rotary positions and its ONNX file; neither is to be changed."""
    return exported(Gpt, GptConfig(**SHAPE, initializer_range=0.2, position="rope"))


@pytest.fixture(scope="session")
def classifier_files(exported):
    """A classifier of three classes with its ONNX file; neither is to be changed."""
    return exported(BertClassifier, ClassifierConfig(**SHAPE, initializer_range=0.2, num_labels=3))
