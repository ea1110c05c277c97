"""Which setting makes the untuned LSTM of experiment 09 fail: its learning rate or the size of its initial weights?

Text, model, steps and score are those of "documentation: LSTM". The stored arms of experiment 09 change both settings
at once; each arm here changes one of them. Criterion, set before the runs: a setting matters if the arm that changes
it alone is worse than "LSTM" by more than 0.1 bits a character with each of three seeds.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from plm_core.models.recurrent import RecurrentConfig, RecurrentLM

nine: Any = importlib.import_module("plm_chapters.experiments.09_causal_language_modelling")

VARIANTS = ["lower learning rate", "smaller initial weights"]
SEEDS = [0, 1, 2]
RATES = {"lower learning rate": 4e-3, "smaller initial weights": 1e-2}
INITIAL = {"lower learning rate": 0.3, "smaller initial weights": 0.02}


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Bits per character of one arm with one seed."""
    torch.set_num_threads(1)

    def make_model(name: str, vocab_size: int, context: int, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return RecurrentLM(
            RecurrentConfig(
                vocab_size=vocab_size,
                hidden_size=216,
                hidden_dropout_prob=0.0,
                initializer_range=INITIAL[variant],
            )
        )

    kept = nine.make_model, nine.RATES
    nine.make_model, nine.RATES = make_model, {**nine.RATES, "LSTM": RATES[variant]}
    try:
        result: dict[str, Any] = nine.on_documentation("LSTM", seed, preset)
    finally:
        nine.make_model, nine.RATES = kept
    return {**result, "learning_rate": RATES[variant], "initializer_range": INITIAL[variant]}
