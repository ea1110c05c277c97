"""Ways to pretrain a small BERT on StoryWorld, and what each of them buys.

All variants read the same stories, for the same number of steps, with the same network, each at the learning rate that
10a_rates found for it. They differ in what is masked, in what stands at a masked place, and in the second task.
Measured are gaps filled in unseen stories, against the exact posterior of the world, and what the trunk knows: about
pairs of texts, moods, and who is where. The mood is not reported: the probe reads the last row of a story only, which
often lacks the wish that decides it, and always answering "sad" is right for 53 % of the test stories.

Criterion, set before the run. (a) Filling gaps: an arm is past counting if its accuracy at gaps is above that of
counting both neighbours in the same text with every seed. (b) The second tasks: a task is learned if its head is ahead
of the best rule without a network, and of the same probe on an untrained network, with every seed. (c) What the second
tasks buy: each of the two arms with a second loss against the arm that has the same rows and not the loss, paired by
five seeds, at three measures that are not the arm's own task (gaps, who is where, and the other task's pairs): six
comparisons, the interval of each (Student's t) at 99.17 %. (d) Maskings, with three seeds, are described, not tested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from plm_chapters.experiments.masked_stories import (
    CONTEXT,
    Corpus,
    Document,
    encode,
    exact_log_probs,
    fill,
    framed,
    load,
    log_probs_at,
    recall,
    rows_of,
    score_gaps,
)
from plm_chapters.notebook import load_results
from plm_core.data.batch import Batch, padding_mask
from plm_core.data.batches import MaskedBatches, MaskedPairBatches
from plm_core.data.masking import Masker, MaskingConfig
from plm_core.data.sentence_pairs import SentencePair, SentencePairs, Task
from plm_core.data.tokenizers import Tokenizer, pad
from plm_core.evaluation.probes import fit_linear_probe
from plm_core.evaluation.validation import validate
from plm_core.models.bert import Bert, BertConfig
from plm_core.objectives.base import Joint, Objective
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.objectives.sentence_pair import NextSentence, SentenceOrder
from plm_core.runtime import Runtime, setup
from plm_core.training.config import TrainConfig
from plm_core.training.hardware import Hardware
from plm_core.training.trainer import Trainer

__all__ = ["exact_log_probs", "load", "score_gaps"]  # for the chapter, which has the whole experiment under one name

MASKINGS = {
    "15 %": MaskingConfig(),
    "15 %, static": MaskingConfig(dynamic=False),
    "400 stories": MaskingConfig(),
    "400 stories, static": MaskingConfig(dynamic=False),
    "40 %": MaskingConfig(rate=0.4),
    "60 %": MaskingConfig(rate=0.6),
    "only [MASK]": MaskingConfig(mask_share=1.0, random_share=0.0),
    "no random words": MaskingConfig(mask_share=0.8, random_share=0.0),
    "no kept words": MaskingConfig(mask_share=0.8, random_share=0.2),
}
FEW = 400
"""Stories of the two arms that read a tenth of them, ten times as often: there a static mask is seen often."""
PAIRED: dict[str, tuple[Task, Objective | None]] = {
    "NSP rows, no loss": ("next_sentence", None),
    "with NSP": ("next_sentence", NextSentence()),
    "SOP rows, no loss": ("sentence_order", None),
    "with SOP": ("sentence_order", SentenceOrder()),
}
"""The arms with pairs: how the pairs are made, and the second loss."""
VARIANTS = list(dict.fromkeys(["untrained", "15 %", "40 %", *PAIRED, *MASKINGS]))
SEEDS = [0, 1, 2, 3, 4]
"""Five for the arms with pairs and the untrained network; the maskings have the first three."""
STEPS, EVERY, WARMUP = 3_000, 250, 150
PAIRS = {"train": 2_000, "valid": 600, "test": 2_400}
"""Pairs for the linear probes and for the scores of pairs."""


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Pretrain one variant with one seed and measure it."""
    rt = setup(seed=seed, preset=preset)
    model, curve = pretrain(variant, rt)
    return {"curve": curve, **measure(model, variant, rt)}


# Pretraining


def make_model(tokenizer: Tokenizer, rt: Runtime) -> Bert:
    """A small BERT. Pre-norm, RoPE, no dropout and larger initial weights help it learn in seconds."""
    config = BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=rt.choose(laptop=64, gpu=256),
        num_hidden_layers=rt.choose(laptop=2, gpu=6),
        num_attention_heads=4,
        intermediate_size=rt.choose(laptop=256, gpu=1024),
        max_position_embeddings=None,
        position="rope",
        norm_position="pre",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.05,
    )
    torch.manual_seed(rt.seed)
    return Bert(config).to(rt.device)


def make_masker(tokenizer: Tokenizer, config: MaskingConfig, *, seed: int) -> Masker:
    """A masker that knows the special tokens."""
    return Masker(
        vocab_size=tokenizer.vocab_size,
        mask_token_id=tokenizer.mask_id,
        special_ids=sorted(tokenizer.special_ids),
        config=config,
        seed=seed,
    )


def masked(rows: list[list[int]], tokenizer: Tokenizer, config: MaskingConfig, rt: Runtime) -> MaskedBatches:
    """Rows as training batches."""
    masker = make_masker(tokenizer, config, seed=rt.seed)
    return MaskedBatches(rows, tokenizer=tokenizer, masker=masker, max_length=CONTEXT, batch_size=16, seed=rt.seed)


def standard_batches(rows: list[list[int]], tokenizer: Tokenizer) -> Sequence[Batch]:
    """Rows corrupted by BERT's own recipe, always the same mask: what every variant is scored on."""
    masker = make_masker(tokenizer, MaskingConfig(), seed=12_345)
    return MaskedBatches(rows, tokenizer=tokenizer, masker=masker, max_length=CONTEXT, batch_size=64, seed=0).in_order()


def batches_of(variant: str, documents: list[Document], rt: Runtime) -> tuple[Objective | Joint, Any]:
    """What a variant is asked, and its batches of these stories."""
    tokenizer, masked_lm = load(rt).tokenizer, MaskedLM()
    if variant in MASKINGS:
        read = documents[:FEW] if variant.startswith(f"{FEW} stories") else documents
        return masked_lm, masked(rows_of(read), tokenizer, MASKINGS[variant], rt)
    task, second = PAIRED[variant]
    pairs = SentencePairs(documents, max_tokens=CONTEXT - 3, task=task, seed=rt.seed)
    masker = make_masker(tokenizer, MaskingConfig(), seed=rt.seed)
    source = MaskedPairBatches(pairs, tokenizer=tokenizer, masker=masker, batch_size=16, seed=rt.seed)
    return (Joint([masked_lm, second]) if second else masked_lm), source


def pretrain(
    variant: str, rt: Runtime, *, rate: float | None = None, steps: int | None = None
) -> tuple[Bert, list[dict[str, float]]]:
    """Train one variant; returns the model, and how well it fills test gaps and masks of BERT's recipe on the way."""
    data = load(rt)
    model = make_model(data.tokenizer, rt)
    if variant == "untrained":
        return model.eval(), []
    objective, source = batches_of(variant, data.train, rt)
    steps = steps or rt.choose(laptop=STEPS, gpu=20_000)
    rate = rate or rate_of(variant, rt)
    config = TrainConfig(steps=steps, learning_rate=rate, warmup_steps=WARMUP, weight_decay=0.01)
    trainer = Trainer(model, objective, source, config, hardware=Hardware(rt.device, rt.precision), quiet=True)
    valid, curve = standard_batches(rows_of(data.valid), data.tokenizer), []
    for step in range(1, steps + 1):
        trainer.step()
        if step % EVERY == 0 or step == steps:
            scores = score_gaps(fill(model.eval(), data.tokenizer, data.gaps), data.tokenizer, data.gaps)
            found = validate(model, MaskedLM(), valid, device=rt.device)["masked_lm/accuracy"]
            curve.append({"step": step, "accuracy": found, "gaps": scores["accuracy"], "gap_nats": scores["nats"]})
            model.train()
    return model.eval(), curve


def rate_of(variant: str, rt: Runtime) -> float:
    """The learning rate of a variant, from the sweep of 10a_rates; that of the GPU preset was not swept."""
    if rt.preset != "laptop":
        return 5e-4
    return {each["variant"]: each["rate"] for each in load_results("10a_rates", "laptop")["runs"]}[variant]


# Measures


def measure(model: Bert, variant: str, rt: Runtime) -> dict[str, Any]:
    """Everything that is measured of a pretrained model, which stays as it is."""
    data = load(rt)
    tokenizer = data.tokenizer
    standard = validate(model, MaskedLM(), standard_batches(data.test_rows, tokenizer), device=rt.device)
    result: dict[str, Any] = {
        "gaps": score_gaps(fill(model, tokenizer, data.gaps), tokenizer, data.gaps),
        "masked": {"accuracy": standard["masked_lm/accuracy"], "nats": standard["masked_lm/loss"]},
        "visible": visible_words(model, data),
        "recall": recall(model, data),
        "probe_mood": mood_accuracy(data, lambda rows: text_features(model, tokenizer, rows)),
    }
    if variant in MASKINGS:
        own = masked(data.train_rows, tokenizer, MASKINGS[variant].replace(dynamic=False), rt).in_order()[:30]
        result["own_masks"] = validate(model, MaskedLM(), own, device=rt.device)["masked_lm/accuracy"]
    for task in ("next_sentence", "sentence_order"):
        result[f"probe_{task}"] = pair_accuracy(rt, task, lambda pairs: pair_features(model, tokenizer, pairs))
        if PAIRED.get(variant, (None, None))[1] is not None and PAIRED[variant][0] == task:
            pairs = make_pairs(test_documents(rt), task, most=PAIRS["test"])
            result["pair_accuracy"] = pair_head_accuracy(model, tokenizer, pairs)
    return result


def words_only(rt: Runtime) -> dict[str, float]:
    """The same probes on counts of words, without any network: what the words give away."""
    data = load(rt)
    size = data.tokenizer.vocab_size

    def counts(rows: Sequence[Sequence[int]]) -> Tensor:
        return torch.stack([torch.bincount(torch.tensor(row), minlength=size).float() for row in rows])

    def pair_counts(pairs: Sequence[SentencePair]) -> Tensor:
        first, second = counts([pair.first for pair in pairs]), counts([pair.second for pair in pairs])
        return torch.cat([first, second, first * second], dim=-1)

    return {
        "next_sentence": pair_accuracy(rt, "next_sentence", pair_counts),
        "sentence_order": pair_accuracy(rt, "sentence_order", pair_counts),
        "mood": mood_accuracy(data, counts),
    }


@cache
def test_documents(rt: Runtime) -> list[Document]:
    """More test stories than those of the gaps: pairs are cheap to score."""
    data = load(rt)
    told = data.world.stories(seed=0, split="test", count=rt.choose(laptop=800, gpu=2_000))
    return [encode(data.tokenizer, story) for story in told]


def make_pairs(documents: list[Document], task: Task, *, most: int = 600) -> list[SentencePair]:
    """The same pairs for every variant and seed."""
    pairs = SentencePairs(documents, max_tokens=CONTEXT - 3, task=task, seed=99)
    return [pairs.pair(number) for number in range(min(most, len(pairs)))]


def pair_accuracy(rt: Runtime, task: Task, features: Callable[[Sequence[SentencePair]], Tensor]) -> float:
    """Accuracy of a linear probe of pairs from unseen stories."""
    data = load(rt)
    documents = {"train": data.train, "valid": data.valid, "test": test_documents(rt)}
    parts = [make_pairs(documents[split], task, most=most) for split, most in PAIRS.items()]
    labels = [torch.tensor([pair.label for pair in pairs]) for pairs in parts]
    return probe_accuracy([features(pairs) for pairs in parts], labels)


def mood_accuracy(data: Corpus, features: Callable[[Sequence[Sequence[int]]], Tensor]) -> float:
    """Accuracy of a linear probe of a story's mood."""
    return probe_accuracy([features(rows) for rows, _ in data.moods], [labels for _, labels in data.moods])


def probe_accuracy(features: Sequence[Tensor], labels: Sequence[Tensor]) -> float:
    """Test accuracy of a probe whose weight decay is chosen on validation stories; parts: train, valid, test."""
    probes = [fit_linear_probe(features[0], labels[0], weight_decay=decay) for decay in (0.003, 0.01, 0.03, 0.1, 0.3)]
    best = max(probes, key=lambda probe: probe.accuracy(features[1], labels[1]))
    return best.accuracy(features[2], labels[2])


def pair_inputs(model: Bert, tokenizer: Tokenizer, pairs: Sequence[SentencePair]) -> dict[str, Tensor]:
    """``[CLS] first [SEP] second [SEP]``, nothing masked."""
    rows = [[tokenizer.cls_id, *p.first, tokenizer.sep_id, *p.second, tokenizer.sep_id] for p in pairs]
    types = [[0] * (len(p.first) + 2) + [1] * (len(p.second) + 1) for p in pairs]
    device = next(model.parameters()).device
    return {
        "input_ids": pad(rows, tokenizer.pad_id).to(device),
        "attention_mask": padding_mask([len(row) for row in rows]).to(device),
        "token_type_ids": pad(types, 0).to(device),
    }


@torch.no_grad()
def pair_head_accuracy(model: Bert, tokenizer: Tokenizer, pairs: Sequence[SentencePair]) -> float:
    """How often the pretrained pair head is right on unseen stories."""
    predicted_B = model(**pair_inputs(model, tokenizer, pairs)).seq_relationship_logits.argmax(-1).cpu()
    return (predicted_B == torch.tensor([pair.label for pair in pairs])).float().mean().item()


@torch.no_grad()
def pair_features(model: Bert, tokenizer: Tokenizer, pairs: Sequence[SentencePair]) -> Tensor:
    """Frozen features of a pair, (N, 4 D): [CLS], the means m and n of both segments, and their product m n."""
    inputs = pair_inputs(model, tokenizer, pairs)
    x_BTD, real_BT, second_BT = (
        model.encoder(
            inputs["input_ids"], attention_mask=inputs["attention_mask"], token_type_ids=inputs["token_type_ids"]
        ).float(),
        inputs["attention_mask"],
        inputs["token_type_ids"],
    )
    first_BD, second_BD = mean_state(x_BTD, real_BT & (second_BT == 0)), mean_state(x_BTD, real_BT & (second_BT == 1))
    return torch.cat([x_BTD[:, 0], first_BD, second_BD, first_BD * second_BD], dim=-1).cpu()


@torch.no_grad()
def text_features(model: Bert, tokenizer: Tokenizer, rows: Sequence[Sequence[int]]) -> Tensor:
    """Frozen features of a text, (N, 2 D): [CLS] and the mean."""
    device = next(model.parameters()).device
    ids_BT, mask_BT = (tensor.to(device) for tensor in framed(tokenizer, rows))
    x_BTD = model.encoder(ids_BT, attention_mask=mask_BT).float()
    return torch.cat([x_BTD[:, 0], mean_state(x_BTD, mask_BT)], dim=-1).cpu()


def mean_state(x_BTD: Tensor, chosen_BT: Tensor) -> Tensor:
    """The mean of the chosen states of each row, (B, D)."""
    weights_BT1 = chosen_BT[..., None].float()
    return (x_BTD * weights_BT1).sum(1) / weights_BT1.sum(1)


def visible_words(model: Bert, data: Corpus) -> dict[str, float]:
    """The probability that the head gives to a word it can see, where the word is right and where it was exchanged."""
    generator = torch.Generator().manual_seed(3)
    tokenizer, result = data.tokenizer, {}
    rows = data.test_rows[:200]
    ids_BT, mask_BT = framed(tokenizer, rows)
    places_B1 = torch.tensor([[int(torch.randint(1, len(row) + 1, (), generator=generator))] for row in rows])
    chosen_BT = torch.zeros_like(mask_BT).scatter(1, places_B1, True)
    original_B = ids_BT[chosen_BT]
    exchanged_B = torch.randint(len(tokenizer.special_ids), tokenizer.vocab_size, original_B.shape, generator=generator)
    for name, shown_B in (("right", original_B), ("exchanged", exchanged_B)):
        ids_BT[chosen_BT] = shown_B
        probs_BV = log_probs_at(model, ids_BT, mask_BT, chosen_BT).exp()
        result[name] = probs_BV.gather(1, shown_B[:, None]).mean().item()
        result[f"{name}_original"] = probs_BV.gather(1, original_B[:, None]).mean().item()
    return result
