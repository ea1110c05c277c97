"""A BERT encoder and a T5-style model on StoryWorld's sentences, beside the simplest models of the same data.

BERT reads English sentences, a quarter of whose words are hidden, and predicts those; T5 reads an English sentence and
writes the Chinese one. Both have 2 blocks (T5: in each stack) of width 64. Training sentences come from 1,600 stories,
test sentences from 60 others; a test sentence that occurs in training counts as seen. Nearly all unseen ones are known
frames with other names, places and things, which a lookup of frames can fill in: it is the baseline that T5 has to
beat. One model each is trained; rates are fixed, not swept. Criterion: after the last step BERT's loss on unseen
sentences is lower than those of a table of frequencies by length and place and of counts between two neighbours, and T5
translates more sentences exactly than a lookup of sentences and one of frames do. If not, the text says so.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.models.bert import Bert, BertConfig
from plm_core.models.seq2seq import Seq2Seq, Seq2SeqConfig
from plm_core.runtime import setup
from plm_core.storyworld import StoryWorld
from plm_core.storyworld.lexicon import Lexicons
from plm_core.storyworld.pairs import parallel

VARIANTS = ["BERT", "T5"]
SEEDS = [0]
STEPS, STOPS, BATCH = 2000, [100, 2000], 64
RATES = {"BERT": 3e-3, "T5": 4e-3}
STORIES = {"train": 1600, "test": 60}

Pair = tuple[Tensor, Tensor]
"""Ids of an English sentence and of its translation, which begins and ends with <eos>."""
Predict = Callable[[Tensor, Tensor], Tensor]
"""BERT: ids (B, T) and which are hidden (B, T), to logits of the hidden ones (N, V). T5: source (B, S) and target
(B, T), to logits (B, T, V)."""


@cache
def vocabularies() -> tuple[list[str], list[str]]:
    """English words, then Chinese ones, whose ids follow; id 0 is <eos>. BERT's [MASK] has the first Chinese id."""
    return list(StoryWorld("small", "en").vocabulary), list(StoryWorld("small", "zh").vocabulary)


@cache
def sentence_pairs(split: str) -> dict[int, list[Pair]]:
    """Sentences by the length of the source; lengths with fewer than 16 are left out."""
    english, chinese = vocabularies()
    number = {word: i for i, word in enumerate(english)}
    here = {word: len(english) + i for i, word in enumerate(chinese)}
    pairs: dict[int, list[Pair]] = {}
    worlds = StoryWorld("small", "en"), StoryWorld("small", "zh")
    for left, right in parallel(*worlds, STORIES[split], split=split):
        for sentence, translated in zip(left.sentences, right.sentences, strict=True):
            source = torch.tensor([number[word] for word in sentence.words])
            target = torch.tensor([0, *(here[word] for word in translated.words), 0])
            pairs.setdefault(len(source), []).append((source, target))
    return {length: some for length, some in pairs.items() if len(some) >= 16}


def masked_loss(predict: Predict, pairs: list[Pair], generator: torch.Generator) -> Tensor:
    """Loss of each hidden word of English sentences of one length, (N,), in nats."""
    ids_BT = torch.stack([source for source, _ in pairs])
    masked_BT = torch.rand(ids_BT.shape, generator=generator) < 0.25
    mask_id = len(vocabularies()[0])
    logits_NV = predict(torch.where(masked_BT, mask_id, ids_BT), masked_BT)  # N hidden words
    return F.cross_entropy(logits_NV, ids_BT[masked_BT], reduction="none")


def translation_loss(predict: Predict, pairs: list[Pair], *, wrong_source: bool = False) -> Tensor:
    """Loss of the Chinese words, in nats a word; ``wrong_source`` gives each target the source of another."""
    source_BS = torch.stack([source for source, _ in pairs])
    if wrong_source:
        source_BS = source_BS.roll(1, 0)
    target = nn.utils.rnn.pad_sequence([target for _, target in pairs], batch_first=True, padding_value=-1)
    logits_BTV = predict(source_BS, target[:, :-1].clamp(min=0))
    return F.cross_entropy(logits_BTV.flatten(0, 1), target[:, 1:].flatten(), ignore_index=-1)


def train(variant: str, model: nn.Module, predict: Predict, seed: int) -> Iterator[float]:
    """Train with AdamW, warm-up over 20 steps, linear decay to a tenth and gradients clipped to norm 1.

    Yields:
        After each step, its loss in nats a word.
    """
    pairs, draw, generator = sentence_pairs("train"), random.Random(seed), torch.Generator().manual_seed(seed)
    lengths, counts = list(pairs), [len(some) for some in pairs.values()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATES[variant])
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATES[variant] * min((step + 1) / 20, 1 - 0.9 * step / STEPS)
        batch = draw.choices(pairs[draw.choices(lengths, counts)[0]], k=BATCH)  # sentences of one length: no padding
        is_bert = variant == "BERT"
        loss = masked_loss(predict, batch, generator).mean() if is_bert else translation_loss(predict, batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield loss.item()


def build(variant: str, seed: int) -> nn.Module:
    """The library's model, its matrices drawn from N(0, 1/D) and divided by sqrt(2·L) at the end of each branch."""
    shape: dict[str, Any] = {
        "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 256,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    }  # fmt: skip
    english, chinese = vocabularies()
    model: nn.Module
    if variant == "BERT":
        model = Bert(BertConfig(vocab_size=len(english) + 1, max_position_embeddings=48, **shape))
    else:
        options: dict[str, Any] = {"position": "t5", "norm": "rmsnorm", "norm_position": "pre", "hidden_act": "relu"}
        size = len(english) + len(chinese)
        config = Seq2SeqConfig(vocab_size=size, use_bias=False, max_position_embeddings=None, **options, **shape)
        model = Seq2Seq(config)
    torch.manual_seed(seed)
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            last_of_branch = name.endswith(("output.weight", "down.weight"))
            nn.init.normal_(weight, std=64**-0.5 / (2 if last_of_branch else 1))
    return model


def of_library(model: nn.Module) -> Predict:
    """How a model of the library predicts."""
    if isinstance(model, Bert):
        return lambda ids_BT, masked_BT: model(ids_BT, masked_positions=masked_BT).prediction_logits
    return model


def by_place(ids_BT: Tensor, masked_BT: Tensor) -> Tensor:
    """A baseline for BERT: log frequencies of the words at a place in training sentences of the same length, (N, V)."""
    T = ids_BT.shape[1]
    sources_NT = torch.stack([source for source, _ in sentence_pairs("train")[T]])
    size = len(vocabularies()[0]) + 1
    counts_TV = torch.stack([sources_NT[:, t].bincount(minlength=size) for t in range(T)]) + 0.01
    return (counts_TV / counts_TV.sum(1, keepdim=True)).log()[masked_BT.nonzero()[:, 1]]


@cache
def between() -> dict[tuple[int, int], Counter[int]]:
    """How often each word stands between two words in training sentences; -1 stands beyond both ends."""
    found: dict[tuple[int, int], Counter[int]] = {}
    for some in sentence_pairs("train").values():
        for source, _ in some:
            row = [-1, *source.tolist(), -1]
            for left, word, right in zip(row, row[1:], row[2:], strict=False):
                found.setdefault((left, right), Counter())[word] += 1
    return found


def by_neighbours(ids_BT: Tensor, masked_BT: Tensor) -> Tensor:
    """A better baseline: what stands between the same two words in training, mixed with one count of :func:`by_place`,
    which is all there is if a neighbour is hidden too; log probabilities, (N, V)."""
    probabilities_NV = by_place(ids_BT, masked_BT).exp()
    padded = F.pad(ids_BT, (1, 1), value=-1).tolist()
    for n, (b, t) in enumerate(masked_BT.nonzero().tolist()):
        words = between().get((padded[b][t], padded[b][t + 2]), Counter())
        for word, count in words.items():
            probabilities_NV[n, word] += count
        probabilities_NV[n] /= 1 + words.total()
    return probabilities_NV.log()


@cache
def seen() -> dict[tuple[int, ...], list[int]]:
    """Each training sentence and its last translation: a lookup that translates what it has seen."""
    return {tuple(s.tolist()): t.tolist() for some in sentence_pairs("train").values() for s, t in some}


@cache
def lexicon() -> dict[int, int]:
    """English words with one Chinese word that nearly always occurs beside them in training, mostly names, places and
    things: the pairs whose Dice coefficient, 2·both / (one + other) in sentences, is highest and above 0.8."""
    ours, theirs, both = Counter[int](), Counter[int](), Counter[tuple[int, int]]()
    for source, target in training_pairs():
        words, translated = set(source), set(target[1:-1])
        ours.update(words)
        theirs.update(translated)
        both.update((x, y) for x in words for y in translated)
    best: dict[int, tuple[float, int]] = {}
    for (x, y), count in both.items():
        dice = 2 * count / (ours[x] + theirs[y])
        if dice > best.get(x, (0.8, 0))[0]:
            best[x] = dice, y
    return {x: y for x, (_, y) in best.items()}


@cache
def training_pairs() -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Each training sentence with each of its translations, once."""
    some = [pair for each in sentence_pairs("train").values() for pair in each]
    return list(dict.fromkeys((tuple(source.tolist()), tuple(target.tolist())) for source, target in some))


def frame(source: tuple[int, ...]) -> tuple[tuple[int, ...], dict[int, int]]:
    """A sentence with numbered slots, -1, -2, ..., in the places of the words of the lexicon, and the slot of each."""
    slots: dict[int, int] = {}
    for word in source:
        if word in lexicon():
            slots.setdefault(word, -1 - len(slots))
    return tuple(slots.get(word, word) for word in source), slots


@cache
def frames() -> dict[tuple[int, ...], Counter[tuple[int, ...]]]:
    """Each frame of the training sentences, and how often each translated frame stood beside it."""
    found: dict[tuple[int, ...], Counter[tuple[int, ...]]] = {}
    for source, target in training_pairs():
        key, slots = frame(source)
        back = {lexicon()[word]: slot for word, slot in slots.items()}
        found.setdefault(key, Counter())[tuple(back.get(word, word) for word in target)] += 1
    return found


def by_frame(source: tuple[int, ...]) -> list[int] | None:
    """A baseline for T5: the most frequent translation of the sentence's frame, its slots filled by the lexicon."""
    key, slots = frame(source)
    if key not in frames():
        return None
    filling = {slot: lexicon()[word] for word, slot in slots.items()}
    return [filling.get(word, word) for word in frames()[key].most_common(1)[0][0]]


@cache
def nouns() -> set[int]:
    """Ids of the Chinese names, places and things of StoryWorld."""
    english, chinese = vocabularies()
    entries = Lexicons("small").all_entries()
    forms = [entry.forms["zh"] for part in ("people", "places", "things") for entry in entries[part]]
    words = {form[name] for form in forms for name in ("name", "noun") if name in form}
    return {len(english) + i for i, word in enumerate(chinese) if word in words}


def kind_of_mistake(answer: list[int], reference: list[int]) -> str:
    """What is wrong with a translation: ``"exchanged"`` (the right words in another order), ``"wrong noun"`` (all is
    right but some names, places or things), ``"missing noun"`` (some are missing or too many) or ``"other"``."""
    if sorted(answer) == sorted(reference):
        return "exchanged"
    if [-1 if word in nouns() else word for word in answer] == [-1 if word in nouns() else word for word in reference]:
        return "wrong noun"
    bare = [[word for word in words if word not in nouns()] for words in (answer, reference)]
    return "missing noun" if bare[0] == bare[1] else "other"


@torch.no_grad()
def translate(predict: Predict, sources: list[Tensor], most: int = 30) -> list[list[int]]:
    """Greedy translations of sentences of one length: at each place the most probable word."""
    source_BS, ids_BT = torch.stack(sources), torch.zeros(len(sources), 1, dtype=torch.long)
    while ids_BT.shape[1] < most and not (ids_BT[:, 1:] == 0).any(1).all():
        ids_BT = torch.cat([ids_BT, predict(source_BS, ids_BT)[:, -1:].argmax(-1)], dim=1)
    rows = ids_BT.tolist()
    return [row[: row.index(0, 1) + 1] if 0 in row[1:] else row for row in rows]


def is_unseen(pair: Pair) -> bool:
    """Whether a test sentence does not occur in training."""
    return tuple(pair[0].tolist()) not in seen()


@torch.no_grad()
def evaluate_bert(predict: Predict) -> dict[str, float]:
    """Loss on unseen and on all test sentences, in nats a hidden word; the same words are hidden for every model."""
    losses: dict[str, list[Tensor]] = {"unseen": [], "all": []}
    for some in sentence_pairs("test").values():
        for name, chosen in (("unseen", list(filter(is_unseen, some))), ("all", some)):
            generator = torch.Generator().manual_seed(1)
            losses[name] += [masked_loss(predict, chosen, generator) for _ in range(4) if chosen]
    return {name: torch.cat(each).mean().item() for name, each in losses.items()}


def exact(pairs: list[Pair], answers: list[list[int] | None]) -> dict[str, float]:
    """Share of exact translations of all and of unseen sentences."""
    right = [answer == target.tolist() for (_, target), answer in zip(pairs, answers, strict=True)]
    unseen = [each for pair, each in zip(pairs, right, strict=True) if is_unseen(pair)]
    return {"all": sum(right) / len(right), "unseen": sum(unseen) / len(unseen)}


@torch.no_grad()
def evaluate_t5(predict: Predict) -> dict[str, Any]:
    """Loss with the right and the wrong source, exact translations, and how many mistakes are of which kind."""
    pairs = list(sentence_pairs("test").values())
    scores: dict[str, Any] = {}
    for name in ("right source", "wrong source"):
        losses = [translation_loss(predict, some, wrong_source=name == "wrong source").item() for some in pairs]
        scores[name] = sum(loss * len(some) for loss, some in zip(losses, pairs, strict=True)) / sum(map(len, pairs))
    answers = [answer for some in pairs for answer in translate(predict, [source for source, _ in some])]
    all_pairs = [pair for some in pairs for pair in some]
    mistakes = Counter(
        kind_of_mistake(answer, target.tolist())
        for (_, target), answer in zip(all_pairs, answers, strict=True)
        if answer != target.tolist()
    )
    return scores | exact(all_pairs, list(answers)) | {"mistakes": dict(mistakes)}


def evaluate(variant: str, predict: Predict) -> dict[str, Any]:
    """The scores of a model: :func:`evaluate_bert` or :func:`evaluate_t5`."""
    return evaluate_bert(predict) if variant == "BERT" else evaluate_t5(predict)


def baselines(variant: str) -> dict[str, dict[str, float]]:
    """The scores of the simple models of the same data."""
    if variant == "BERT":
        return {"by place": evaluate_bert(by_place), "by neighbours": evaluate_bert(by_neighbours)}
    pairs = [pair for some in sentence_pairs("test").values() for pair in some]
    sources = [tuple(source.tolist()) for source, _ in pairs]
    filled = [seen().get(source) or by_frame(source) for source in sources]
    unseen = [source for source in sources if source not in seen()]
    known = sum(frame(source)[0] in frames() for source in unseen) / len(unseen)
    return {
        "lookup of sentences": exact(pairs, [seen().get(source) for source in sources]),
        "lookup of frames": exact(pairs, filled),
        "data": {"sentences": len(pairs), "unseen": len(unseen) / len(pairs), "in known frames": known},
    }


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Train one model; its losses at the first 100 steps, its scores after each of STOPS, the baselines, a few
    answers."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    model = build(variant, seed)
    predict, scores, losses = of_library(model), {}, []
    for step, loss in enumerate(train(variant, model, predict, seed), start=1):
        losses.append(loss)
        if step in STOPS:
            scores[str(step)] = evaluate(variant, predict)
    shown = [list(filter(is_unseen, some))[:1] for some in sentence_pairs("test").values()] if variant == "T5" else []
    answers = [
        [in_words(source), in_words(torch.tensor(translate(predict, [source])[0])), in_words(target)]
        for some in shown
        for source, target in some
    ]
    return {"losses": losses[:100], "scores": scores, "baselines": baselines(variant), "answers": answers}


def in_words(ids_T: Tensor) -> str:
    """A sentence of either language as text; <eos> is left out."""
    english, chinese = vocabularies()
    ids = [i for i in ids_T.tolist() if i > 0]
    return "".join((english + chinese)[i] + (" " if i < len(english) else "") for i in ids).strip()
