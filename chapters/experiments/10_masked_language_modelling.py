"""Ways to pretrain a small BERT on StoryWorld, and what each of them buys.

All variants read the same stories, for the same number of steps, with the same network. They differ in what is masked,
in what stands at a masked place, and in the second task. Measured are gaps filled in unseen stories, against the exact
posterior of the world, and what the trunk knows: about pairs of texts, moods, and who is where.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from plm_core.data.batches import MaskedBatches, MaskedPairBatches, real_tokens
from plm_core.data.masking import Masker, MaskingConfig
from plm_core.data.sentence_pairs import SentencePair, SentencePairs, sentence_runs
from plm_core.data.storyworld import EOS, IdealReader, Story, StoryWorld
from plm_core.data.storyworld.labels import MOODS, mood
from plm_core.data.tokenizers import Tokenizer, pad
from plm_core.models.bert import Bert, BertConfig
from plm_core.objectives.base import Joint, Objective
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.objectives.sentence_pair import NextSentence, SentenceOrder
from plm_core.pretraining.texts import story_sentences, word_tokenizer
from plm_core.runtime import Runtime, setup
from plm_core.training.config import TrainConfig
from plm_core.training.trainer import Trainer
from plm_core.training.validation import validate

MASKINGS = {
    "15 %": MaskingConfig(),
    "15 %, static": MaskingConfig(dynamic=False),
    "40 %": MaskingConfig(rate=0.4),
    "only [MASK]": MaskingConfig(mask_share=1.0, random_share=0.0),
    "no random words": MaskingConfig(mask_share=0.8, random_share=0.0),
    "spans": MaskingConfig(unit="span"),
}
PAIRS = ("pairs, no second loss", "with NSP", "with SOP")
VARIANTS = list(dict.fromkeys(["untrained", "15 %", "40 %", *PAIRS, *MASKINGS]))
SEEDS = [0, 1, 2]

CONTEXT = 48


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Pretrain one variant with one seed and measure it."""
    rt = setup(seed=seed, preset=preset)
    model, curve = pretrain(variant, rt)
    return {"curve": curve, **measure(model, variant, rt)}


# Data


@dataclass(frozen=True)
class Corpus:
    """The stories of one size of experiment, told, cut and numbered."""

    world: StoryWorld
    tokenizer: Tokenizer
    train: list[list[list[int]]]
    test: list[list[list[int]]]
    test_stories: list[Story]

    @property
    def train_rows(self) -> list[list[int]]:
        return rows_of(self.train)

    @property
    def test_rows(self) -> list[list[int]]:
        return rows_of(self.test)


@lru_cache
def corpus(train_stories: int, test_stories: int) -> Corpus:
    """Stories as documents: lists of sentences of word ids. The words of the world are the vocabulary."""
    world = StoryWorld("small", "en")
    tokenizer = word_tokenizer([word for word in world.vocabulary if word != EOS])
    test = list(world.stories(seed=0, split="test", count=test_stories))
    train, held_out = (
        [[tokenizer.encode(sentence) for sentence in story_sentences(story)] for story in stories]
        for stories in (world.stories(seed=0, split="train", count=train_stories), test)
    )
    return Corpus(world, tokenizer, train, held_out, test)


def load(rt: Runtime) -> Corpus:
    return corpus(rt.choose(laptop=400, gpu=20_000), rt.choose(laptop=200, gpu=500))


def rows_of(documents: Sequence[Sequence[Sequence[int]]]) -> list[list[int]]:
    """Runs of whole sentences that fit into a row together with [CLS] and [SEP]."""
    return [
        [token for sentence in document[start:end] for token in sentence]
        for document in documents
        for start, end in sentence_runs([len(sentence) for sentence in document], CONTEXT - 2)
    ]


def make_masker(tokenizer: Tokenizer, config: MaskingConfig, *, seed: int) -> Masker:
    return Masker(
        vocab_size=tokenizer.vocab_size,
        mask_token_id=tokenizer.mask_id,
        special_ids=sorted(tokenizer.special_ids),
        config=config,
        seed=seed,
    )


# Pretraining


def make_model(tokenizer: Tokenizer, rt: Runtime) -> Bert:
    """A small BERT. It departs from the paper by pre-norm, RoPE and no dropout: all three help it learn in seconds."""
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
    )
    torch.manual_seed(rt.seed)
    return Bert(config).to(rt.device)


def pretrain(variant: str, rt: Runtime) -> tuple[Bert, list[dict[str, float]]]:
    """Train one variant; returns the model and how its masked accuracy on unseen stories grew."""
    data = load(rt)
    model = make_model(data.tokenizer, rt)
    if variant == "untrained":
        return model.eval(), []
    objective: Objective | Joint = MaskedLM()
    if variant in MASKINGS:
        source: MaskedBatches | MaskedPairBatches = masked(data.train_rows, data.tokenizer, MASKINGS[variant], rt)
    else:
        pairs = SentencePairs(
            data.train,
            max_tokens=CONTEXT - 3,
            task="sentence_order" if variant == "with SOP" else "next_sentence",
            seed=rt.seed,
        )
        masker = make_masker(data.tokenizer, MaskingConfig(), seed=rt.seed)
        source = MaskedPairBatches(pairs, tokenizer=data.tokenizer, masker=masker, batch_size=16, seed=rt.seed)
    if variant == "with NSP":
        objective = Joint([MaskedLM(), NextSentence()])
    elif variant == "with SOP":
        objective = Joint([MaskedLM(), SentenceOrder()])
    config = TrainConfig(
        steps=rt.choose(laptop=500, gpu=20_000),
        learning_rate=rt.choose(laptop=6e-3, gpu=5e-4),
        warmup_steps=40,
        weight_decay=0.01,
        eval_every=rt.choose(laptop=100, gpu=2000),
    )
    valid = standard_batches(data.test_rows[:128], data.tokenizer) if variant in MASKINGS else ()
    trainer = Trainer(
        model, objective, source, config, valid_batches=valid, device=rt.device, autocast=rt.autocast, quiet=True
    )
    trainer.fit()
    curve = [
        {"step": record["step"], "accuracy": record["valid/masked_lm/accuracy"]}
        for record in trainer.records
        if "valid/loss" in record
    ]
    return model.eval(), curve


def masked(rows: list[list[int]], tokenizer: Tokenizer, config: MaskingConfig, rt: Runtime) -> MaskedBatches:
    masker = make_masker(tokenizer, config, seed=rt.seed)
    return MaskedBatches(rows, tokenizer=tokenizer, masker=masker, max_length=CONTEXT, batch_size=16, seed=rt.seed)


def standard_batches(rows: list[list[int]], tokenizer: Tokenizer) -> list[dict[str, Tensor]]:
    """Rows corrupted by BERT's own recipe, always the same mask: what every variant is scored on."""
    masker = make_masker(tokenizer, MaskingConfig(), seed=12_345)
    return MaskedBatches(rows, tokenizer=tokenizer, masker=masker, max_length=CONTEXT, batch_size=64, seed=0).in_order()


# Gaps in unseen stories


@dataclass(frozen=True)
class Gap:
    """One missing word in the beginning of a story, with the exact posterior given all the other words."""

    words: list[str]
    position: int
    posterior: dict[str, float]
    kind: str


@lru_cache
def gaps(train_stories: int, test_stories: int, each: int = 3) -> list[Gap]:
    """Random gaps in the first row of every test story. What settles a word is the ideal reader's judgement."""
    data = corpus(train_stories, test_stories)
    reader, generator = IdealReader(data.world), np.random.default_rng(7)
    found = []
    for story in data.test_stories:
        kinds = [word.kind for word in reader.read(story.words)]
        _, end = sentence_runs([len(sentence.words) for sentence in story.sentences], CONTEXT - 2)[0]
        words = [word for sentence in story.sentences[:end] for word in sentence.words if word != EOS]
        for position in generator.choice(len(words), size=each, replace=False).tolist():
            found.append(Gap(words, position, reader.posterior(words, position), kinds[position]))
    return found


def load_gaps(rt: Runtime) -> list[Gap]:
    return gaps(rt.choose(laptop=400, gpu=20_000), rt.choose(laptop=200, gpu=500))


@torch.no_grad()
def fill(model: Bert, tokenizer: Tokenizer, found: Sequence[Gap]) -> Tensor:
    """The model's log probabilities of every word at each gap, (N, V)."""
    device = next(model.parameters()).device
    log_probs = []
    for start in range(0, len(found), 64):
        part = found[start : start + 64]
        rows = [[tokenizer.cls_id, *tokenizer.encode(" ".join(gap.words)), tokenizer.sep_id] for gap in part]
        ids_BT = pad(rows, tokenizer.pad_id)
        gap_BT = torch.zeros_like(ids_BT, dtype=torch.bool)
        gap_BT[torch.arange(len(part)), torch.tensor([gap.position + 1 for gap in part])] = True
        ids_BT[gap_BT] = tokenizer.mask_id
        mask_BT = real_tokens(rows).to(device)
        output = model(ids_BT.to(device), attention_mask=mask_BT, masked_positions=gap_BT.to(device))
        log_probs.append(output.prediction_logits.float().log_softmax(-1).cpu())
    return torch.cat(log_probs)


def score_gaps(log_probs_NV: Tensor, tokenizer: Tokenizer, found: Sequence[Gap]) -> dict[str, Any]:
    """Accuracy and mean surprisal of a model's distributions, over all gaps and by what settles the word."""
    true_N = torch.tensor([tokenizer.encode(gap.words[gap.position])[0] for gap in found])
    right_N = log_probs_NV.argmax(-1) == true_N
    kinds = np.array([gap.kind for gap in found])
    return {
        "accuracy": right_N.float().mean().item(),
        "nats": -log_probs_NV.gather(1, true_N[:, None]).mean().item(),
        "by_kind": {
            kind: right_N[torch.from_numpy(kinds == kind)].float().mean().item() for kind in sorted(set(kinds.tolist()))
        },
    }


def exact_log_probs(tokenizer: Tokenizer, found: Sequence[Gap]) -> Tensor:
    """The world's own log probabilities of every word at each gap, (N, V)."""
    probs_NV = torch.zeros(len(found), tokenizer.vocab_size, dtype=torch.float64)
    for row, gap in zip(probs_NV, found, strict=True):
        for word, probability in gap.posterior.items():
            row[tokenizer.encode(word)[0]] = probability
    return probs_NV.log()


@dataclass(frozen=True)
class Claim:
    """The beginning of a story, a claim with a masked place, the places told, and which of them is right."""

    words: list[str]
    claim: str
    places: list[str]
    right: int


# Measures


def measure(model: Bert, variant: str, rt: Runtime) -> dict[str, Any]:
    """Everything that is measured of a pretrained model, which stays as it is."""
    data = load(rt)
    tokenizer, found = data.tokenizer, load_gaps(rt)
    standard = validate(model, MaskedLM(), standard_batches(data.test_rows, tokenizer), device=rt.device)
    result: dict[str, Any] = {
        "gaps": score_gaps(fill(model, tokenizer, found), tokenizer, found),
        "masked": {"accuracy": standard["masked_lm/accuracy"], "nats": standard["masked_lm/loss"]},
        "visible": visible_words(model, data, rt),
    }
    if variant in MASKINGS:
        own = masked(data.train_rows, tokenizer, MASKINGS[variant].replace(dynamic=False), rt).in_order()[:30]
        result["own_masks"] = validate(model, MaskedLM(), own, device=rt.device)["masked_lm/accuracy"]
    for task in ("next_sentence", "sentence_order"):
        train, test = (make_pairs(documents, task) for documents in (data.train, data.test))
        if variant == {"next_sentence": "with NSP", "sentence_order": "with SOP"}[task]:
            result["pair_accuracy"] = pair_head_accuracy(model, tokenizer, test)
        result[f"probe_{task}"] = probe(model, tokenizer, train, test)
    result["recall"] = recall(model, data, rt)
    result["probe_mood"] = mood_probe(model, data, rt)
    return result


@torch.no_grad()
def visible_words(model: Bert, data: Corpus, rt: Runtime) -> dict[str, float]:
    """The probability that the head gives to a word it can see, where the word is right and where it was exchanged."""
    generator = torch.Generator().manual_seed(3)
    tokenizer, result = data.tokenizer, {}
    rows = [[tokenizer.cls_id, *row, tokenizer.sep_id] for row in data.test_rows[:200]]
    ids_BT, mask_BT = pad(rows, tokenizer.pad_id), real_tokens(rows)
    places_B1 = torch.tensor([[int(torch.randint(1, len(row) - 1, (), generator=generator))] for row in rows])
    chosen_BT = torch.zeros_like(mask_BT).scatter(1, places_B1, True)
    original_B = ids_BT[chosen_BT]
    words = torch.randint(len(tokenizer.special_ids), tokenizer.vocab_size, original_B.shape, generator=generator)
    for name, shown_B in (("right", original_B), ("exchanged", words)):
        ids_BT[chosen_BT] = shown_B
        output = model(
            ids_BT.to(rt.device), attention_mask=mask_BT.to(rt.device), masked_positions=chosen_BT.to(rt.device)
        )
        probs_BV = output.prediction_logits.float().softmax(-1).cpu()
        result[name] = probs_BV.gather(1, shown_B[:, None]).mean().item()
        result[f"{name}_original"] = probs_BV.gather(1, original_B[:, None]).mean().item()
    return result


def make_pairs(documents: list[list[list[int]]], task: str, *, most: int = 600) -> list[SentencePair]:
    pairs = SentencePairs(documents, max_tokens=CONTEXT - 3, task=task, seed=99)  # type: ignore[arg-type]
    return [pairs.pair(number) for number in range(min(most, len(pairs)))]


def pair_inputs(tokenizer: Tokenizer, pairs: Sequence[SentencePair]) -> dict[str, Tensor]:
    """``[CLS] first [SEP] second [SEP]``, nothing masked."""
    rows = [[tokenizer.cls_id, *p.first, tokenizer.sep_id, *p.second, tokenizer.sep_id] for p in pairs]
    types = [[0] * (len(p.first) + 2) + [1] * (len(p.second) + 1) for p in pairs]
    return {
        "input_ids": pad(rows, tokenizer.pad_id),
        "attention_mask": real_tokens(rows),
        "token_type_ids": pad(types, 0),
    }


@torch.no_grad()
def pair_head_accuracy(model: Bert, tokenizer: Tokenizer, pairs: Sequence[SentencePair]) -> float:
    """How often the pretrained pair head is right on unseen stories."""
    device = next(model.parameters()).device
    inputs = {key: value.to(device) for key, value in pair_inputs(tokenizer, pairs).items()}
    predicted_B = model(**inputs).seq_relationship_logits.argmax(-1).cpu()
    return (predicted_B == torch.tensor([pair.label for pair in pairs])).float().mean().item()


@torch.no_grad()
def features(model: Bert, tokenizer: Tokenizer, pairs: Sequence[SentencePair]) -> Tensor:
    """Frozen features of a pair, (N, 4 D): [CLS], the means m and n of both segments, and their product m n."""
    device = next(model.parameters()).device
    inputs = {key: value.to(device) for key, value in pair_inputs(tokenizer, pairs).items()}
    x_BTD = model.hidden_states(**inputs).float()
    real_BT, second_BT = inputs["attention_mask"], inputs["token_type_ids"].bool()
    means = []
    for segment_BT in (real_BT & ~second_BT, real_BT & second_BT):
        weights_BT1 = segment_BT[..., None].float()
        means.append((x_BTD * weights_BT1).sum(1) / weights_BT1.sum(1))
    return torch.cat([x_BTD[:, 0], *means, means[0] * means[1]], dim=-1).cpu()


@torch.no_grad()
def pooled(model: Bert, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Frozen features of a text, (N, 2 D): [CLS] and the mean."""
    device = next(model.parameters()).device
    x_BTD = model.hidden_states(ids_BT.to(device), attention_mask=mask_BT.to(device)).float().cpu()
    weights_BT1 = mask_BT[..., None].float()
    return torch.cat([x_BTD[:, 0], (x_BTD * weights_BT1).sum(1) / weights_BT1.sum(1)], dim=-1)


def probe(model: Bert, tokenizer: Tokenizer, train: Sequence[SentencePair], test: Sequence[SentencePair]) -> float:
    """Accuracy of a linear classifier of pairs on frozen features: what the trunk knows without further training."""
    labels = [torch.tensor([pair.label for pair in pairs]) for pairs in (train, test)]
    return linear_accuracy(features(model, tokenizer, train), labels[0], features(model, tokenizer, test), labels[1])


def linear_accuracy(train_ND: Tensor, labels_N: Tensor, test_ND: Tensor, test_labels_N: Tensor) -> float:
    """Fit a linear classifier by L-BFGS, with a little weight decay, and return its accuracy on the test part."""
    mean_D, std_D = train_ND.mean(0), train_ND.std(0) + 1e-5
    train_ND, test_ND = (train_ND - mean_D) / std_D, (test_ND - mean_D) / std_D
    classes = int(labels_N.max()) + 1
    weight_DC = torch.zeros(train_ND.shape[1], classes, requires_grad=True)
    bias_C = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight_DC, bias_C], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(train_ND @ weight_DC + bias_C, labels_N) + 0.01 * weight_DC.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return ((test_ND @ weight_DC + bias_C).argmax(-1) == test_labels_N).float().mean().item()


@lru_cache
def claims(train_stories: int, test_stories: int) -> list[Claim]:
    """The beginning of a story, and one person of it; asked is the place where he or she is by then.

    Several places are told, so that words alone do not give the answer away: it must be known who is where.
    """
    data = corpus(train_stories, test_stories)
    generator, found = np.random.default_rng(11), []
    for story in data.test_stories:
        told: list[str] = []
        usable: Claim | None = None
        for state, sentence in story.replay():
            if len(state.places) > 1 and state.people and len(told) <= CONTEXT - 9:
                who = state.people[int(generator.integers(len(state.people)))]
                forms = [place.forms["en"] for place in state.places]
                usable = Claim(
                    list(told),
                    f"{who.entry.forms['en']['name']} was {forms[who.at]['prep']} the [MASK] .",
                    [form["noun"] for form in forms],
                    who.at,
                )
            told += sentence.words
        if usable is not None:
            found.append(usable)
    return found


@torch.no_grad()
def recall(model: Bert, data: Corpus, rt: Runtime) -> dict[str, float]:
    """How often the head prefers the right place to all others that were told, and the chance of a blind choice.

    No training: the claim follows the story, its place is masked.
    """
    found, tokenizer = claims(len(data.train), len(data.test)), data.tokenizer
    rows = []
    for claim in found:
        before, after = claim.claim.split(" [MASK] ")
        ids = [*tokenizer.encode(" ".join(claim.words)), *tokenizer.encode(before), tokenizer.mask_id]
        rows.append([tokenizer.cls_id, *ids, *tokenizer.encode(after), tokenizer.sep_id])
    ids_BT, mask_BT = pad(rows, tokenizer.pad_id), real_tokens(rows)
    output = model(
        ids_BT.to(rt.device),
        attention_mask=mask_BT.to(rt.device),
        masked_positions=(ids_BT == tokenizer.mask_id).to(rt.device),
    )
    right = []
    for logits_V, claim in zip(output.prediction_logits.float().cpu(), found, strict=True):
        choices = torch.tensor([tokenizer.encode(place)[0] for place in claim.places])
        right.append(int(logits_V[choices].argmax()) == claim.right)
    return {"accuracy": float(np.mean(right)), "chance": float(np.mean([1 / len(claim.places) for claim in found]))}


def mood_examples(data: Corpus, stories: Sequence[Story]) -> tuple[list[list[int]], Tensor]:
    """The last row of each story without its last sentence, which would say the mood in so many words."""
    rows, labels = [], []
    for story in stories:
        sentences = [data.tokenizer.encode(sentence) for sentence in story_sentences(story)[:-1]]
        start, end = sentence_runs([len(sentence) for sentence in sentences], CONTEXT - 2)[-1]
        rows.append([token for sentence in sentences[start:end] for token in sentence])
        labels.append(MOODS.index(mood(story)))
    return rows, torch.tensor(labels)


def mood_probe(model: Bert, data: Corpus, rt: Runtime) -> float:
    """Accuracy of a linear classifier of a story's mood on frozen features."""
    train = mood_examples(data, list(data.world.stories(seed=1, split="train", count=500)))
    test = mood_examples(data, list(data.world.stories(seed=1, split="test", count=400)))
    features = []
    for rows, _ in (train, test):
        framed = [[data.tokenizer.cls_id, *row, data.tokenizer.sep_id] for row in rows]
        features.append(pooled(model, pad(framed, data.tokenizer.pad_id), real_tokens(framed)))
    return linear_accuracy(features[0], train[1], features[1], test[1])
