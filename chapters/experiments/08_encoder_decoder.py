"""StoryWorld's sentences from English to Chinese: one vector or all states, label smoothing, one stack or two.

Data: the different sentence pairs of 1,600 stories for training; 60 other stories for validation, 200 others for the
test. A test sentence whose English side occurs in training counts as seen and is not scored. Some English sentences
have two translations ("... asked for a little time": him or her?), between which only the story before decides. They
are counted; the best function of the sentence alone gets all others right and some of these. Floors: a lookup of
frames, whose names, places and things a lexicon fills in (the experiment 07f has it), and the lookup of sentences,
which is 0 by construction.

Arms, all with the same batches in the same order, STEPS of BATCH pairs, Muon, no dropout:

- "encoder-decoder": 2 + 3 blocks of width 64, no label smoothing;
- "one vector": the same, but the decoder attends to a single vector, the mean of the encoder's states;
- "smoothing 0.1": "encoder-decoder" with label smoothing 0.1;
- "one stack": a prefix language model (Raffel et al. 2020) of 6 blocks of width 64, which has the same number of
  parameters in its blocks. Source, separator and target are one sequence; the source is read in both directions, and
  only the target's tokens are predicted. Each token passes all 6 blocks, so a step costs about twice as many
  operations.

Each arm has its own sweep of five rates or more, by the unsmoothed loss on validation sentences after SWEEP_STEPS steps
with a seed of its own; the shorter training may prefer a larger rate. Three other seeds at the best.

Criterion, set before the run: for each of the other arms, the difference from "encoder-decoder" in exact matches and in
loss on unseen test sentences, paired by seed; it counts if the interval (Student's t) does not contain zero. Six
comparisons: each interval has 99.17 %, which makes 95 % together.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_chapters.experiments.translation_runs import (
    exact_matches,
    loss_of,
    losses_by_token,
    mistake_in_prefix,
    train,
)
from plm_core.data.batch import Batch, BatchSource, padding_mask
from plm_core.data.labels import IGNORE
from plm_core.data.sequence_pairs import ParallelTexts, SequencePairBatches
from plm_core.data.tokenizers import pad
from plm_core.evaluation.modes import evaluation_mode
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.seq2seq import Seq2Seq, Seq2SeqConfig
from plm_core.models.transformer import Trace
from plm_core.objectives.prefix_lm import PrefixLM
from plm_core.objectives.seq2seq import Seq2SeqLM
from plm_core.runtime import setup
from plm_core.storyworld import StoryWorld
from plm_core.storyworld.lexicon import Lexicons
from plm_core.storyworld.pairs import parallel

sentences = importlib.import_module("plm_chapters.experiments.07f_sentences")

VARIANTS = ["encoder-decoder", "one vector", "smoothing 0.1", "one stack"]
SEEDS = [0]
"""The seeds of the weights are inside a run."""
MODEL_SEEDS = [1, 2, 3]
RATES = [2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2]
STEPS, SWEEP_STEPS, BATCH = 500, 200, 64
STORIES = {"valid": 60, "test": 200}
EOS = 0
"""Begins and ends every target."""

Pair = tuple[tuple[int, ...], tuple[int, ...]]


@cache
def words() -> list[str]:
    """The English words, then the Chinese ones; <eos> has the id 0, the first Chinese id is free and pads."""
    english, chinese = sentences.vocabularies()
    return [*english, "<pad>", *chinese[1:]]


def padding() -> int:
    """The id that fills short rows."""
    return words().index("<pad>")


@cache
def pairs(split: str) -> list[Pair]:
    """Sentences and their translations as ids, without <eos>: in training each pair once."""
    if split == "train":
        return [(source, target[1:-1]) for source, target in sentences.training_pairs()]
    number = {word: place for place, word in reversed(list(enumerate(words())))}
    english, chinese = StoryWorld("small", "en"), StoryWorld("small", "zh")
    here = {word: number[word] if word not in english.vocabulary else later(word) for word in chinese.vocabulary}
    return [
        (tuple(number[word] for word in left.words), tuple(here[word] for word in right.words))
        for one, other in parallel(english, chinese, STORIES[split], split=split)
        for left, right in zip(one.sentences, other.sentences, strict=True)
    ]


def later(word: str) -> int:
    """The id of a Chinese word that is spelled like an English one, such as a comma."""
    return len(sentences.vocabularies()[0]) + sentences.vocabularies()[1].index(word)


@cache
def unseen(split: str) -> list[Pair]:
    """The pairs whose English side does not occur in training."""
    known = {source for source, _ in pairs("train")}
    return [pair for pair in pairs(split) if pair[0] not in known]


def batches(some: Sequence[Pair], *, size: int = BATCH, seed: int = 0) -> SequencePairBatches:
    """Pairs in batches."""
    texts = ParallelTexts([source for source, _ in some], [target for _, target in some])
    return SequencePairBatches(texts, start_id=EOS, end_id=EOS, pad_id=padding(), batch_size=size, seed=seed)


def as_one_sequence(batch: Batch) -> Batch:
    """A batch of pairs for one stack: source, <eos>, target, the target's tokens and its end to be predicted."""
    rows, labels, lengths = [], [], []
    for source, real, target in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
        read, written = source[real].tolist(), target[target != IGNORE].tolist()
        rows.append([*read, *written[:-1]])  # the source ends with <eos>, after which the target begins
        labels.append([IGNORE] * (len(read) - 1) + written)
        lengths.append(len(read))
    return {
        "input_ids": pad(rows, padding()),
        "attention_mask": padding_mask([len(row) for row in rows]),
        "labels": pad(labels, IGNORE),
        "prefix_lengths": torch.tensor(lengths),
    }


class OneSequence:
    """The batches of a source of pairs, each as one sequence."""

    def __init__(self, source: BatchSource) -> None:
        self.source = source

    def batch(self, index: int) -> Batch:
        """The batch of that number."""
        return as_one_sequence(self.source.batch(index))


def build(variant: str, seed: int) -> nn.Module:
    """A model with initial weights."""
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "vocab_size": len(words()),
        "hidden_size": 64,
        "num_attention_heads": 4,
        "intermediate_size": 256,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "position": "sinusoidal",
        "norm_position": "pre",
        "layer_norm_eps": 1e-5,
    }
    if variant == "one stack":
        return Bert(BertConfig(num_hidden_layers=6, type_vocab_size=0, **shape))
    kind = OneVector if variant == "one vector" else Seq2Seq
    return kind(Seq2SeqConfig(num_hidden_layers=2, num_decoder_layers=3, **shape))


class OneVector(Seq2Seq):
    """An encoder-decoder whose decoder sees the source through one vector."""

    def encode(self, input_ids: Tensor, *, attention_mask: Tensor | None = None, trace: Trace | None = None) -> Tensor:
        """The mean of the encoder's states over the real tokens, (B, 1, D)."""
        states_BSD = super().encode(input_ids, attention_mask=attention_mask, trace=trace)
        if attention_mask is None:
            return states_BSD.mean(dim=1, keepdim=True)
        real_BS1 = attention_mask[..., None]
        return (states_BSD * real_BS1).sum(dim=1, keepdim=True) / real_BS1.sum(dim=1, keepdim=True)

    def decode(
        self,
        decoder_input_ids: Tensor,
        encoder_hidden_states: Tensor,
        *,
        attention_mask: Tensor | None = None,
        **rest: Any,
    ) -> Tensor:
        """Logits, (B, T, V), as Seq2Seq has them; one vector needs no mask."""
        return super().decode(decoder_input_ids, encoder_hidden_states, **rest)


def objective(variant: str) -> PrefixLM | Seq2SeqLM:
    """What an arm is trained on."""
    if variant == "one stack":
        return PrefixLM()
    return Seq2SeqLM(label_smoothing=0.1 if variant == "smoothing 0.1" else 0.0)


def fit(variant: str, *, rate: float, seed: int, steps: int = STEPS) -> tuple[nn.Module, list[list[float]], float]:
    """Train an arm: the model, its validation curve and the processor's seconds."""
    model, source = build(variant, seed), batches(pairs("train"), seed=seed)
    valid = [shaped(variant, batch) for batch in batches(unseen("valid"), size=256).in_order()]
    train_batches: BatchSource = OneSequence(source) if variant == "one stack" else source
    curve, seconds = train(
        model, objective(variant), train_batches, rate=rate, steps=steps, valid_batches=valid, eval_every=100
    )
    return model, curve, seconds


def shaped(variant: str, batch: Batch) -> Batch:
    """A batch as an arm reads it."""
    return as_one_sequence(batch) if variant == "one stack" else batch


@torch.no_grad()
def exact_in_one_stack(model: nn.Module, some: Sequence[Batch]) -> Tensor:
    """Whether greedy search writes each target exactly, (N,), as exact_matches has it for two stacks."""
    task, found = PrefixLM(), []
    with evaluation_mode(model):
        for batch in some:
            prepared = task.prepare(batch)
            labels_BT = prepared["labels"]
            logits_NV = model(**task.inputs(prepared)).prediction_logits
            wrong_BT = torch.zeros_like(labels_BT, dtype=torch.bool)
            wrong_BT[labels_BT != IGNORE] = logits_NV.argmax(dim=-1) != labels_BT[labels_BT != IGNORE]
            found.append(~wrong_BT.any(dim=1))
    return torch.cat(found)


def scores(variant: str, model: nn.Module) -> dict[str, float]:
    """Exact matches and loss on unseen test sentences."""
    test = [shaped(variant, batch) for batch in batches(unseen("test"), size=256).in_order()]
    right_N = exact_in_one_stack(model, test) if variant == "one stack" else exact_matches(model, test)
    return {
        "exact": float(right_N.float().mean()),
        "loss": loss_of(model, test, objective(variant).for_evaluation()),
    } | ({} if variant == "one stack" else {"probability": probability_of_labels(model, test)})


def probability_of_labels(model: nn.Module, some: Sequence[Batch]) -> float:
    """The mean probability that the model gives the right token after the given prefix."""
    nats = torch.cat([losses_by_token(model, batch, batch["decoder_input_ids"]).flatten() for batch in some])
    return float((-nats[~nats.isnan()]).exp().mean())


def is_undecided(pair: Pair) -> bool:
    """Whether the translation says he or she of a person whom the English sentence neither names nor refers to."""
    source, target = [[words()[number] for number in side] for side in pair]
    says_which = {"he", "she", "him", "her", "his"} & set(source)
    return bool({"他", "她"} & set(target)) and not says_which and len(names() & set(source)) == 1


@cache
def names() -> set[str]:
    """The English names of the people."""
    return {entry.forms["en"]["name"] for entry in Lexicons("small").all_entries()["people"]}


def lookup_of_frames(some: Sequence[Pair]) -> float:
    """The share of targets that the lookup of frames writes exactly."""
    return sum(sentences.by_frame(source) == [EOS, *target, EOS] for source, target in some) / len(some)


def chinese_ids() -> list[int]:
    """The ids of the target language."""
    return list(range(len(sentences.vocabularies()[0]) + 1, len(words())))


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Sweep the rates of one arm, then train with each of MODEL_SEEDS."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    swept = sweep(
        lambda rate: fit(variant, rate=rate, seed=100, steps=SWEEP_STEPS)[1][-1][1], RATES, factor=2, further=2
    )
    rate = best_rate(swept)
    trained = [fit(variant, rate=rate, seed=each) for each in MODEL_SEEDS]
    test = batches(unseen("test"), size=256).in_order()
    return {
        "rate": rate,
        "sweep": {f"{each:.2g}": swept[each] for each in sorted(swept)},
        "parameters": sum(parameter.numel() for parameter in trained[0][0].parameters()),
        "curve": [curve for _, curve, _ in trained],
        "seconds of training": [seconds for _, _, seconds in trained],
        "scores": [scores(variant, model) for model, _, _ in trained],
        "mistake": None
        if variant == "one stack"
        else [mistake_in_prefix(model, test, ids=chinese_ids()) for model, _, _ in trained],
        "sentences": {"test": len(pairs("test")), "unseen": len(unseen("test"))},
        "undecided": sum(map(is_undecided, unseen("test"))),
        "lookup of frames": lookup_of_frames(unseen("test")),
    }
