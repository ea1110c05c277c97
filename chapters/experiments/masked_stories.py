"""Stories as material for masked language models: rows of words, gaps with their exact posterior, claims to complete.

The ground truth is what the world knows about its own stories. N gaps, B rows, T tokens, V words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plm_core.data.batch import padding_mask
from plm_core.data.sentence_pairs import sentence_runs
from plm_core.data.tokenizer_training import word_tokenizer
from plm_core.data.tokenizers import Tokenizer, pad
from plm_core.models.bert import Bert
from plm_core.runtime import Runtime
from plm_core.storyworld_v1 import EOS, IdealReader, Story, StoryWorld
from plm_core.storyworld_v1.tasks import MOODS, mood, story_sentences

CONTEXT = 48
"""Tokens of a row, special ones included."""

Document = list[list[int]]
"""A story as sentences of word ids."""


@dataclass(frozen=True)
class Gap:
    """One missing word in the beginning of a story, with the exact posterior given all the other words."""

    words: list[str]
    position: int
    posterior: dict[str, float]
    kind: str


@dataclass(frozen=True)
class Claim:
    """The beginning of a story, a claim with a masked place, the places told, and which of them is right."""

    words: list[str]
    claim: str
    places: list[str]
    right: int


@dataclass(frozen=True)
class Corpus:
    """The stories of an experiment, told, cut into sentences and numbered."""

    world: StoryWorld
    tokenizer: Tokenizer
    train: list[Document]
    valid: list[Document]
    test: list[Document]
    test_stories: list[Story]

    @cached_property
    def train_rows(self) -> list[list[int]]:
        return rows_of(self.train)

    @cached_property
    def test_rows(self) -> list[list[int]]:
        return rows_of(self.test)

    @cached_property
    def gaps(self) -> list[Gap]:
        return find_gaps(self)

    @cached_property
    def claims(self) -> list[Claim]:
        return find_claims(self)

    @cached_property
    def moods(self) -> list[tuple[list[list[int]], Tensor]]:
        """Rows and moods of fresh stories, for training, validation and test."""
        sizes = {"train": 500, "valid": 200, "test": 400}
        return [
            mood_rows(self.world.stories(seed=1, split=split, count=sizes[split]), self.tokenizer) for split in sizes
        ]


@lru_cache
def load_corpus(train_stories: int, valid_stories: int, test_stories: int) -> Corpus:
    """Tell the stories. The words of the world are the vocabulary."""
    world = StoryWorld("small", "en")
    tokenizer = word_tokenizer([word for word in world.vocabulary if word != EOS])
    sizes = {"train": train_stories, "valid": valid_stories, "test": test_stories}
    stories = {split: list(world.stories(seed=0, split=split, count=count)) for split, count in sizes.items()}
    documents = {split: [encode(tokenizer, story) for story in told] for split, told in stories.items()}
    return Corpus(world, tokenizer, documents["train"], documents["valid"], documents["test"], stories["test"])


def load(rt: Runtime) -> Corpus:
    """The corpus of a preset."""
    return load_corpus(
        rt.choose(laptop=4_000, gpu=20_000), rt.choose(laptop=60, gpu=500), rt.choose(laptop=200, gpu=500)
    )


def encode(tokenizer: Tokenizer, story: Story) -> Document:
    """A story as sentences of word ids, without the word that ends it."""
    return [tokenizer.encode(sentence) for sentence in story_sentences(story)]


def rows_of(documents: Sequence[Document]) -> list[list[int]]:
    """Runs of whole sentences that fit into a row together with [CLS] and [SEP]."""
    return [
        [token for sentence in document[start:end] for token in sentence]
        for document in documents
        for start, end in sentence_runs([len(sentence) for sentence in document], CONTEXT - 2)
    ]


def mood_rows(stories: Iterable[Story], tokenizer: Tokenizer) -> tuple[list[list[int]], Tensor]:
    """The last row of each story, without the sentence that says the mood in so many words, and the moods."""
    rows, labels = [], []
    for story in stories:
        sentences = encode(tokenizer, story)[:-1]
        start, end = sentence_runs([len(sentence) for sentence in sentences], CONTEXT - 2)[-1]
        rows.append([token for sentence in sentences[start:end] for token in sentence])
        labels.append(MOODS.index(mood(story)))
    return rows, torch.tensor(labels)


def framed(tokenizer: Tokenizer, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows between [CLS] and [SEP], and the mask of what is no padding: (B, T) each."""
    ids = [[tokenizer.cls_id, *row, tokenizer.sep_id] for row in rows]
    return pad(ids, tokenizer.pad_id), padding_mask([len(row) for row in ids])


@torch.no_grad()
def log_probs_at(model: Bert, ids_BT: Tensor, mask_BT: Tensor, places_BT: Tensor) -> Tensor:
    """The head's log probabilities of every word at the chosen places, (N, V), in reading order."""
    device = next(model.parameters()).device
    found = []
    for part in torch.arange(len(ids_BT)).split(64):
        ids_bT, mask_bT, places_bT = (tensor[part].to(device) for tensor in (ids_BT, mask_BT, places_BT))
        output = model(ids_bT, attention_mask=mask_bT, masked_positions=places_bT)
        assert output.prediction_logits is not None  # positions were given
        found.append(output.prediction_logits.float().log_softmax(-1).cpu())
    return torch.cat(found)


# Gaps


def find_gaps(data: Corpus, each: int = 3) -> list[Gap]:
    """Random gaps in the first row of every test story. What settles a word is the ideal reader's judgement."""
    reader, generator = IdealReader(data.world), np.random.default_rng(7)
    found = []
    for story in data.test_stories:
        kinds = [word.kind for word in reader.read(story.words)]
        _, end = sentence_runs([len(sentence.words) for sentence in story.sentences], CONTEXT - 2)[0]
        words = [word for sentence in story.sentences[:end] for word in sentence.words if word != EOS]
        for position in generator.choice(len(words), size=each, replace=False).tolist():
            found.append(Gap(words, position, reader.posterior(words, position), kinds[position]))
    return found


def fill(model: Bert, tokenizer: Tokenizer, gaps: Sequence[Gap]) -> Tensor:
    """The model's log probabilities of every word at each gap, (N, V)."""
    ids_NT, mask_NT = framed(tokenizer, [tokenizer.encode(" ".join(gap.words)) for gap in gaps])
    gap_NT = torch.zeros_like(mask_NT)
    gap_NT[torch.arange(len(gaps)), torch.tensor([gap.position + 1 for gap in gaps])] = True
    return log_probs_at(model, ids_NT.masked_fill(gap_NT, tokenizer.mask_id), mask_NT, gap_NT)


def exact_log_probs(tokenizer: Tokenizer, gaps: Sequence[Gap]) -> Tensor:
    """The world's own log probabilities of every word at each gap, (N, V)."""
    probs_NV = torch.zeros(len(gaps), tokenizer.vocab_size, dtype=torch.float64)
    for row, gap in zip(probs_NV, gaps, strict=True):
        for word, probability in gap.posterior.items():
            row[tokenizer.encode(word)[0]] = probability
    return probs_NV.log()


def score_gaps(log_probs_NV: Tensor, tokenizer: Tokenizer, gaps: Sequence[Gap]) -> dict[str, Any]:
    """Accuracy and mean surprisal of distributions over words, for all gaps and by what settles the word."""
    true_N = torch.tensor([tokenizer.encode(gap.words[gap.position])[0] for gap in gaps])
    right_N = log_probs_NV.argmax(-1) == true_N
    kinds = np.array([gap.kind for gap in gaps])
    return {
        "accuracy": right_N.float().mean().item(),
        "nats": -log_probs_NV.gather(1, true_N[:, None]).mean().item(),
        "by_kind": {
            kind: right_N[torch.from_numpy(kinds == kind)].float().mean().item() for kind in sorted(set(kinds.tolist()))
        },
    }


# Who is where


def find_claims(data: Corpus) -> list[Claim]:
    """Beginnings of stories, each with a sentence that says where one person is by then, its place masked.

    Several places are told, so that words alone do not give the answer away: it must be known who is where.
    """
    generator, found = np.random.default_rng(11), []
    for story in data.test_stories:
        told: list[str] = []
        usable: Claim | None = None
        for state, sentence in story.replay():
            if len(state.places) > 1 and state.people and len(told) <= CONTEXT - 9:
                who = state.people[int(generator.integers(len(state.people)))]
                forms = [place.forms["en"] for place in state.places]
                name, preposition = who.entry.forms["en"]["name"], forms[who.at]["prep"]
                claim = f"{name} was {preposition} the [MASK] ."
                usable = Claim(list(told), claim, [form["noun"] for form in forms], who.at)
            told += sentence.words
        if usable is not None:
            found.append(usable)
    return found


def recall(model: Bert, data: Corpus) -> dict[str, float]:
    """How often the head prefers the right place to all others that were told, and the chance of a blind choice.

    No training: the claim follows the story, its place is masked.
    """
    tokenizer, rows = data.tokenizer, []
    for claim in data.claims:
        before, after = claim.claim.split(" [MASK] ")
        known = tokenizer.encode(" ".join([*claim.words, before]))
        rows.append([*known, tokenizer.mask_id, *tokenizer.encode(after)])
    ids_BT, mask_BT = framed(tokenizer, rows)
    log_probs_NV = log_probs_at(model, ids_BT, mask_BT, ids_BT == tokenizer.mask_id)
    right = []
    for log_probs_V, claim in zip(log_probs_NV, data.claims, strict=True):
        choices = torch.tensor([tokenizer.encode(place)[0] for place in claim.places])
        right.append(int(log_probs_V[choices].argmax()) == claim.right)
    chance = np.mean([1 / len(claim.places) for claim in data.claims])
    return {"accuracy": float(np.mean(right)), "chance": float(chance)}
