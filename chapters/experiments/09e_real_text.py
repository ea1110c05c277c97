"""Counting, an LSTM and a Transformer on real text, as a function of how much text there is and of the steps.

**Text.** The Brown corpus (1961), lower case, without punctuation, a sentence a line. Its 500 documents are divided
once: TESTED for the scores, VALIDATED for every choice, the rest for training, of which 1/16, 1/4 or all is read. The
tokens are pieces of a byte-level BPE of VOCABULARY, learned on all training documents, whatever is read of them. Scores
are bits per byte of the same test text.

**Readers.** Modified Kneser-Ney on the pieces, its order the best of ORDERS on validation text. An LSTM of one layer
and a Transformer of two blocks, about 0.7 million parameters each, dropout 0.1, read windows of CONTEXT pieces, with
AdamW. Each network and amount of text has its own rate: five or more, tried with a fifth of the steps and a seed of
its own, by the loss on validation text; while the best is an edge, the sweep goes on. So short a training may prefer a
larger rate than the whole. (The numbers of steps were set after one training of 1,500 steps with another seed.) Weight
decay, dropout, widths and steps were not swept. What is scored is the state that was best on validation text, of TIMES
evenly spaced ones, so reading too often does no harm. A network scores a test token with CONTEXT / 2 pieces before it
or more; counting uses as many as its order has.

**Criterion**, set before the run: a network is past counting on an amount of text if its test loss is lower with every
seed, and counting is past the network if it is higher with every seed; else they are not told apart.

**Copies.** Each Transformer also reads COPIES rows of random pieces, each row twice in a window, which no training text
resembles. An induction head (Olsson et al. 2022) looks from a piece of the second copy at the one after its first
occurrence. Stored are the loss on each copy, that share of each head's weights, and the loss on the second copy without
each head. A head is called one if that share is above a half.

A curve over steps is of one training with its warm-up and its cosine, not of trainings of several lengths.
"""

from __future__ import annotations

import copy
import math
import random
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from plm_chapters.experiments.head_removal import without_heads
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_chapters.experiments.word_texts import brown_documents
from plm_core.compression.structured import attentions
from plm_core.data.batches import WindowBatches
from plm_core.data.tokenizer_training import train_bpe
from plm_core.data.tokenizers import Tokenizer
from plm_core.evaluation.perplexity import text_loss
from plm_core.evaluation.validation import validate
from plm_core.models.counting import num_parameters
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.ngram import KneserNey
from plm_core.models.recurrent import RecurrentConfig, RecurrentLM
from plm_core.models.transformer import Trace
from plm_core.objectives.causal_lm import CausalLM
from plm_core.runtime import setup
from plm_core.training.config import TrainConfig
from plm_core.training.trainer import Trainer

STEPS = {"1/16": 800, "1/4": 1_600, "all": 4_000}
SHARES = {"1/16": 1 / 16, "1/4": 1 / 4, "all": 1.0}
READERS = ("n-gram", "LSTM", "Transformer")
VARIANTS = [f"{reader}, {share}" for share in STEPS for reader in READERS]
SEEDS = [0]
"""The seeds of the networks are inside."""
MODEL_SEEDS, SWEEP_SEED = [1, 2, 3], 100
VOCABULARY, CONTEXT, BATCH, TIMES = 2_000, 64, 32, 20
VALIDATED, TESTED, COPIES = 20, 40, 64
DRAWN = 5 * 64 * CONTEXT
"""Pieces of the validation text, from its beginning, on which the curves are measured."""
ORDERS = [2, 3, 4, 5, 6, 8, 12]
RATES = [1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2]


@cache
def texts() -> dict[str, str]:
    """The text of each part; that of 1/16 is the beginning of that of 1/4, and so on."""
    order = random.Random(0).sample(range(500), 500)
    ends = VALIDATED, VALIDATED + TESTED
    train = order[ends[1] :]
    parts = {"valid": order[: ends[0]], "test": order[ends[0] : ends[1]]}
    parts |= {name: train[: round(share * len(train))] for name, share in SHARES.items()}
    return {name: "\n".join(map(text_of, numbers)) for name, numbers in parts.items()}


def text_of(number: int) -> str:
    """A document, a sentence a line."""
    return "".join(" ".join(word for word, _ in line) + "\n" for line in brown_documents()[number])


@cache
def tokenizer() -> Tokenizer:
    """Pieces of the training text."""
    return train_bpe(texts()["all"].splitlines(keepends=True), vocab_size=VOCABULARY)


@cache
def ids(part: str) -> np.ndarray:
    """The pieces of a part."""
    return np.array(tokenizer().encode(texts()[part]))


def bits_per_byte(nats: float) -> float:
    """The loss of the whole test text, given in nats, in bits per byte."""
    return nats / math.log(2) / len(texts()["test"].encode())


def build(reader: str, seed: int) -> nn.Module:
    """A network with initial weights."""
    torch.manual_seed(seed)
    if reader == "LSTM":
        return RecurrentLM(
            RecurrentConfig(
                vocab_size=len(tokenizer()), hidden_size=192, hidden_dropout_prob=0.1, initializer_range=0.1
            )
        )
    return Gpt(
        GptConfig(
            vocab_size=len(tokenizer()),
            hidden_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=512,
            max_position_embeddings=CONTEXT,
            position="rope",
            hidden_dropout_prob=0.1,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.08,
        )
    )


def train(reader: str, part: str, *, rate: float, steps: int, seed: int) -> tuple[nn.Module, list[tuple[int, float]]]:
    """The state of a training that is best on validation text, and the validation loss in nats a piece on the way."""
    model = build(reader, seed)
    source = WindowBatches(ids(part), context=CONTEXT, batch_size=BATCH, seed=seed)
    valid = WindowBatches(ids("valid"), context=CONTEXT, batch_size=64, seed=0).in_order()[: DRAWN // (64 * CONTEXT)]
    config = TrainConfig(
        steps=steps, learning_rate=rate, warmup_steps=steps // 20, final_fraction=0.02, weight_decay=0.1
    )
    trainer = Trainer(model, CausalLM(), source, config, quiet=True)
    curve: list[tuple[int, float]] = []
    best: dict[str, Any] = {}
    for step in range(1, steps + 1):
        trainer.step()
        if step % (steps // TIMES) == 0:
            loss = validate(model.eval(), CausalLM(), valid, device=torch.device("cpu"))["loss"]
            model.train()
            if loss < min((before for _, before in curve), default=math.inf):
                best = copy.deepcopy(model.state_dict())
            curve.append((step, loss))
    model.load_state_dict(best)
    return model.eval(), curve


@torch.no_grad()
def copying(model: Gpt) -> dict[str, Any]:
    """What a Transformer makes of random pieces that come twice.

    Returns:
        The loss in nats on the first and on the second copy; for each head (layers, H) the share of its weights that
        goes from a piece of the second copy to the one after the first occurrence; and the loss on the second copy
        without that head.
    """
    ordinary = torch.tensor([piece for piece in range(len(tokenizer())) if piece not in tokenizer().special_ids])
    half, generator = CONTEXT // 2, torch.Generator().manual_seed(0)
    once_BT = ordinary[torch.randint(len(ordinary), (COPIES, half), generator=generator)]
    twice_BT = torch.cat([once_BT, once_BT], dim=1)

    def losses(network: nn.Module, **options: Any) -> torch.Tensor:
        logits_BTV = network(twice_BT, **options)
        return F.cross_entropy(logits_BTV[:, :-1].transpose(1, 2), twice_BT[:, 1:], reduction="none").mean(0)

    whole_T = losses(model, trace=(trace := Trace(keep_attentions=True)))
    at_T = torch.arange(half, 2 * half - 1)
    without = [
        [float(losses(without_heads(model, {name: [head]}))[half:].mean()) for head in range(layer.num_heads)]
        for name, layer in attentions(model).items()
    ]
    return {
        "first": float(whole_T[: half - 1].mean()),
        "second": float(whole_T[half:].mean()),
        "looks": [weights[:, :, at_T, at_T - half + 1].mean((0, 2)).tolist() for weights in trace.attentions],
        "without": without,
    }


def counting(part: str) -> dict[str, Any]:
    """Kneser-Ney at the order that is best on validation text."""
    valid = {}
    for order in ORDERS:
        counter = KneserNey(len(tokenizer()), order=order).fit([ids(part)])
        valid[order] = float(counter.nats(ids("valid"))[1:].mean())
    order = min(valid, key=lambda each: valid[each])
    counter = KneserNey(len(tokenizer()), order=order).fit([ids(part)])
    return {
        "order": order,
        "valid": valid,
        "drawn": float(counter.nats(ids("valid"))[1 : DRAWN + 1].mean()),
        "test": [bits_per_byte(float(counter.nats(ids("test"))[1:].sum()))],
    }


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """One reader of one amount of text."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    reader, part = variant.split(", ")
    sizes = {"pieces": len(ids(part)), "bytes": len(texts()[part].encode()), "test_pieces": len(ids("test"))}
    sizes |= {"test_bytes": len(texts()["test"].encode()), "vocabulary": len(tokenizer())}
    if reader == "n-gram":
        return counting(part) | sizes
    steps = STEPS[part]

    def measure(rate: float) -> float:
        return min(loss for _, loss in train(reader, part, rate=rate, steps=steps // 5, seed=SWEEP_SEED)[1])

    swept = sweep(measure, RATES, factor=2, further=3)
    rate = best_rate(swept)
    found: dict[str, list[Any]] = {"test": [], "curves": [], "copying": []}
    for each in MODEL_SEEDS:
        model, curve = train(reader, part, rate=rate, steps=steps, seed=each)
        found["test"].append(bits_per_byte(text_loss(model, torch.from_numpy(ids("test")), context=CONTEXT).nats))
        found["curves"].append(curve)
        if isinstance(model, Gpt):
            found["copying"].append(copying(model))
    return (
        found
        | sizes
        | {
            "rate": rate,
            "sweep": {f"{each:.3g}": swept[each] for each in sorted(swept)},
            "steps": steps,
            "passes": steps * BATCH * CONTEXT / len(ids(part)),
            "parameters": num_parameters(build(reader, 0)),
        }
    )
