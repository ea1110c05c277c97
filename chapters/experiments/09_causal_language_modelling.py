"""N-gram, LSTM and Transformer of equal size: on StoryWorld against its exact floor, and on Python's documentation in
bits per character.

Every model of a comparison sees the same tokens the same number of times and is scored on the same test text; one more
Transformer reads half of the stories. (Criterion, set before those runs: more stories help if each of three seeds has a
lower loss with all of them.) Each kind of network has its own learning rate and size of initial weights, which
were set without a stored sweep; a second LSTM has the learning rate of the Transformer, and initial weights as small as
those of GPT-2. The order of each n-gram model is the one with the lowest loss on held-out text: on validation stories,
or on the last tenth of the training text by counts of the rest. Nothing is chosen on the text that is scored.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from plm_core.data.batch import Batch
from plm_core.data.batches import PaddedBatches, WindowBatches
from plm_core.data.corpora import python_documentation
from plm_core.data.tokenizer_training import train_characters, word_tokenizer
from plm_core.data.tokenizers import Tokenizer
from plm_core.evaluation.perplexity import text_loss
from plm_core.models.counting import num_parameters
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.ngram import KneserNey
from plm_core.models.recurrent import RecurrentConfig, RecurrentLM
from plm_core.objectives.causal_lm import CausalLM
from plm_core.storyworld_v1 import IdealReader, Story, StoryWorld
from plm_core.storyworld_v1.tasks import story_sentences
from plm_core.training.config import TrainConfig
from plm_core.training.trainer import Trainer

VARIANTS = [
    "stories: n-gram",
    "stories: LSTM",
    "stories: Transformer",
    "stories: Transformer, half the stories",
    "documentation: n-gram",
    "documentation: LSTM",
    "documentation: Transformer",
    "documentation: LSTM, untuned",
]
SEEDS = [0, 1, 2]

RATES = {"LSTM": 1e-2, "LSTM, untuned": 4e-3, "Transformer": 4e-3}
TRAIN_STORIES = {"laptop": 6_000, "gpu": 60_000}
VALID_STORIES = 150
TEST_STORIES = 150
ORDERS = {"stories": [3, 4, 5, 6, 7, 8, 9], "documentation": [3, 6, 9, 12, 16, 20, 24, 28, 32]}
BATCH_STORIES = 8
CHARACTER_CONTEXT = 128
CHARACTER_STEPS = {"laptop": 300, "gpu": 6_000}
BATCH_WINDOWS = 12
MAX_CHARACTERS = 128


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one model with one seed and score it on held-out text."""
    corpus, name = variant.split(": ")
    return on_stories(name, seed, preset).result if corpus == "stories" else on_documentation(name, seed, preset)


def make_model(name: str, vocab_size: int, context: int, seed: int) -> nn.Module:
    """A Transformer, or an LSTM of one wide layer: each has about 400,000 parameters with its embeddings."""
    torch.manual_seed(seed)
    if name.startswith("LSTM"):
        return RecurrentLM(
            RecurrentConfig(
                vocab_size=vocab_size,
                hidden_size=216,
                hidden_dropout_prob=0.0,
                initializer_range=0.02 if "untuned" in name else 0.3,  # no norm enlarges what enters an LSTM
            )
        )
    return Gpt(
        GptConfig(
            vocab_size=vocab_size,
            hidden_size=128,
            num_hidden_layers=2,
            intermediate_size=512,
            max_position_embeddings=context,
            position="rope",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.08,  # about 1 / sqrt(128): with GPT-2's 0.02 so narrow a model starts slowly
        )
    )


def held_out_losses(
    vocabulary_size: int, documents: Sequence[Any], held_out: Sequence[Any], orders: Sequence[int]
) -> dict[int, float]:
    """What each order of a Kneser-Ney model that counts some documents costs on others.

    Args:
        vocabulary_size: the number of token ids.
        documents: the token ids of the documents that are counted.
        held_out: the token ids of the documents that are scored.
        orders: the orders to try.

    Returns:
        The loss of each order in nats per held-out token.
    """
    losses = {}
    for order in orders:
        counter = KneserNey(vocabulary_size, order=order).fit(documents)
        losses[order] = float(np.concatenate([counter.nats(ids) for ids in held_out]).mean())
    return losses


def train(
    model: nn.Module, source: Any, valid: Sequence[Batch], *, steps: int, peak: float, quiet: bool = True
) -> list[dict[str, Any]]:
    """Train a model and return its log."""
    config = TrainConfig(
        steps=steps,
        learning_rate=peak,
        warmup_steps=steps // 20,
        final_fraction=0.02,
        weight_decay=0.01,
        eval_every=max(1, steps // 6),
        log_every=max(1, steps // 30),
    )
    trainer = Trainer(model, CausalLM(), source, config, valid_batches=valid, quiet=quiet)
    trainer.fit()
    return trainer.records


# StoryWorld: words, a known floor


def encode(story: Story, tokenizer: Tokenizer) -> list[int]:
    """A story as ``[BOS] words [EOS]``: one predicted token for each word that its entropy counts."""
    return [tokenizer.bos_id, *tokenizer.encode(" ".join(story_sentences(story))), tokenizer.eos_id]


@dataclass
class StoryRun:
    """A trained model with its tokenizer, its losses on the test stories, and the summary that is stored."""

    model: Any
    tokenizer: Tokenizer
    test: list[Story]
    losses: list[np.ndarray]
    result: dict[str, Any]


def on_stories(name: str, seed: int, preset: str, *, quiet: bool = True) -> StoryRun:
    """Train on stories; score every word of unseen stories, and sort the losses by what the ideal reader knows."""
    network, _, half = name.partition(", ")
    world = StoryWorld("small", "en")
    tokenizer = word_tokenizer(world.vocabulary[1:])  # without <eos>, which is [EOS] here
    stories = world.stories(seed=seed, split="train", count=TRAIN_STORIES[preset] // (2 if half else 1))
    documents = [encode(story, tokenizer) for story in stories]
    test = list(world.stories(seed=0, split="test", count=TEST_STORIES))
    test_ids = [encode(story, tokenizer) for story in test]
    records: list[dict[str, Any]] = []
    chosen: dict[str, Any] = {}
    if name == "n-gram":
        counted = [ids[1:] for ids in documents]
        valid_stories = world.stories(seed=0, split="valid", count=VALID_STORIES)
        held_out_ids = [encode(story, tokenizer)[1:] for story in valid_stories]
        by_order = held_out_losses(len(tokenizer), counted, held_out_ids, ORDERS["stories"])
        chosen = {"order": min(by_order, key=lambda order: by_order[order]), "held_out": by_order}
        model: Any = KneserNey(len(tokenizer), order=chosen["order"]).fit(counted)
        losses = [model.nats(ids[1:]) for ids in test_ids]
        parameters = None
    else:
        longest = max(map(len, [*documents, *test_ids]))
        model = make_model(network, len(tokenizer), longest, seed)
        source = PaddedBatches(documents, batch_size=BATCH_STORIES, pad_id=tokenizer.pad_id, seed=seed)
        curve_ids = test_ids[:50]  # the learning curve is drawn, and nothing is chosen by it
        valid = PaddedBatches(curve_ids, batch_size=25, pad_id=tokenizer.pad_id, seed=0).in_order()
        steps = len(documents) // BATCH_STORIES
        records = train(model, source, valid, steps=steps, peak=RATES[network], quiet=quiet)
        losses = [word_losses(model, ids) for ids in test_ids]
        parameters = num_parameters(model)
    reader = IdealReader(world)
    words = sum(len(ids) for ids in losses)
    result: dict[str, Any] = {
        "nats_per_token": float(sum(loss.sum() for loss in losses) / words),
        "floor": sum(story.nats for story in test) / words,
        "by_kind": losses_by_kind(reader, test[:60], losses),
        "parameters": parameters,
        "train_tokens": sum(map(len, documents)),
        "curve": learning_curve(records),
        **chosen,
    }
    return StoryRun(model, tokenizer, test, losses, result)


@torch.no_grad()
def word_losses(model: nn.Module, ids: Sequence[int]) -> np.ndarray:
    """The loss of every token of a document but the first, in nats, (T - 1,)."""
    tokens = torch.tensor([ids])
    logits = model.eval()(tokens[:, :-1])[0]
    return F.cross_entropy(logits, tokens[0, 1:], reduction="none").double().numpy()


def losses_by_kind(
    reader: IdealReader, stories: Sequence[Story], losses: Sequence[np.ndarray]
) -> dict[str, dict[str, float]]:
    """For each kind of word that the ideal reader tells apart: its share, its own entropy, and the model's loss."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for story, loss in zip(stories, losses, strict=False):
        for word, nats in zip(reader.read(story.words), loss, strict=True):
            entry = sums[word.kind]
            entry[0] += 1
            entry[1] += word.nats
            entry[2] += float(nats)
    total = sum(entry[0] for entry in sums.values())
    return {
        kind: {"share": count / total, "floor": floor / count, "nats": nats / count}
        for kind, (count, floor, nats) in sorted(sums.items())
    }


def learning_curve(records: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    """Tokens seen and validation loss, at every evaluation."""
    tokens, curve = 0, []
    for record in records:
        tokens = record.get("tokens", tokens)
        if "valid/loss" in record:
            curve.append((tokens, record["valid/loss"]))
    return curve


# Python's documentation: characters, no known floor


def on_documentation(name: str, seed: int, preset: str) -> dict[str, Any]:
    """Train on characters of nine tenths of the documentation; score the rest in bits per character."""
    texts = [document.text for document in python_documentation()]
    test_texts = texts[9::10]
    train_text = "\n\n".join(text for number, text in enumerate(texts) if number % 10 != 9)
    tokenizer = train_characters([train_text], max_vocab_size=MAX_CHARACTERS)
    ids = np.array(tokenizer.encode(train_text))
    test_ids = np.array(tokenizer.encode("\n\n".join(test_texts)))
    records: list[dict[str, Any]] = []
    chosen: dict[str, Any] = {}
    if name == "n-gram":
        cut = len(ids) * 9 // 10
        by_order = held_out_losses(len(tokenizer), [ids[:cut]], [ids[cut:]], ORDERS["documentation"])
        chosen = {"order": min(by_order, key=lambda order: by_order[order]), "held_out": by_order}
        counter = KneserNey(len(tokenizer), order=chosen["order"]).fit([ids])
        nats, tokens, parameters = float(counter.nats(test_ids)[1:].sum()), len(test_ids) - 1, None
    else:
        model = make_model(name, len(tokenizer), CHARACTER_CONTEXT, seed)
        source = WindowBatches(ids, context=CHARACTER_CONTEXT, batch_size=BATCH_WINDOWS, seed=seed)
        valid = WindowBatches(test_ids[:6000], context=CHARACTER_CONTEXT, batch_size=16, seed=0).in_order()
        records = train(model, source, valid, steps=CHARACTER_STEPS[preset], peak=RATES[name])
        loss = text_loss(model, torch.from_numpy(test_ids), context=CHARACTER_CONTEXT)
        nats, tokens, parameters = loss.nats, loss.tokens, num_parameters(model)
    return {
        "bits_per_character": nats / tokens / math.log(2),
        "parameters": parameters,
        "train_tokens": len(ids),
        "curve": learning_curve(records),
        **chosen,
    }
