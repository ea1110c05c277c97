"""Small models and batches that the compression tests share."""

from __future__ import annotations

import pytest
import torch

from plm_core.models.bert import Bert, BertConfig
from plm_core.models.gpt import Gpt, GptConfig

VOCAB = 40


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
