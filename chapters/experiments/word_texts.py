"""Texts to learn word vectors from, and words whose kind is known: StoryWorld, and the Brown corpus of 1961.

The kinds of StoryWorld's words come from its own lexicons. Those of Brown are ours: 16 lists, written before any vector
was trained.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from plm_core.data.archives import open_member
from plm_core.data.download import data_folder, fetch
from plm_core.data.registry import RemoteFile
from plm_core.storyworld import Story, StoryWorld

BROWN = RemoteFile(
    "brown.zip",
    "https://raw.githubusercontent.com/nltk/nltk_data/5db857e6f7df11eabb5e5665836db9ec8df07e28/packages/corpora/brown.zip",
    "9b275f9b3b95d7bd66ccfb7cd259f445a13bbe5d1f4107aba09fd3e8364bafa6",
    3_314_357,
)
WORDSIM = RemoteFile(
    "wordsim353.tsv",
    "https://raw.githubusercontent.com/piskvorky/gensim/37f90ec121eb7cd401448a947e80953e0c53ccdc/gensim/test/test_data/"
    "wordsim353.tsv",
    "f92a022fc2537793a15bc3a8c162ebcd74990e033a228bb6388cb71e4c0b1e1d",
    7_186,
)
KINDS = {
    "month": "january february april june july august september october november december",
    "weekday": "monday tuesday wednesday thursday friday saturday sunday",
    "number": "two three four five six seven eight nine ten twelve twenty thirty",
    "colour": "red blue green white black yellow brown gray pink",
    "body": "head eyes face arm arms leg legs foot hair mouth shoulder neck fingers",
    "family": "mother father brother sister son daughter wife husband uncle aunt cousin",
    "country": "germany france england italy russia china japan india cuba spain",
    "state": "texas california georgia virginia ohio illinois massachusetts pennsylvania",
    "house": "kitchen room bedroom hall porch door window roof",
    "animal": "dog horse horses cat cow cattle bird birds fish snake",
    "food": "bread meat milk coffee sugar butter eggs beer",
    "profession": "doctor lawyer teacher farmer officer judge priest president",
    "time": "second minute minutes hour hours day days week weeks month months year years century",
    "science": "physics chemistry mathematics biology psychology philosophy",
    "vehicle": "car cars truck bus train ship ships plane boat",
    "clothes": "shirt coat hat shoes dress trousers jacket",
}
"""Words of 16 kinds."""
VOCABULARY = 5000
"""Words of Brown that are known, the most frequent ones."""


@dataclass(frozen=True)
class Text:
    """A text as numbers of words, and words of it whose kind is known.

    Attributes:
        words: the vocabulary.
        ids, sentences: the text, and the number of the sentence in which each word stands.
        known: numbers of words whose kind is known.
        kinds: for each of them the number of its kind.
        reported: for each of them whether it is reported; settings are chosen on the others. A word is on the same side
            in every text of a corpus.
        names: the names of the kinds.
    """

    words: list[str]
    ids: Tensor
    sentences: Tensor
    known: Tensor
    kinds: Tensor
    reported: Tensor
    names: list[str]

    @property
    def number(self) -> dict[str, int]:
        """The number of each word."""
        return {word: number for number, word in enumerate(self.words)}


def numbered(sentences: Iterable[Sequence[str]], number: dict[str, int]) -> tuple[Tensor, Tensor]:
    """Sentences as numbers of words and numbers of sentences; words without a number are left out."""
    ids, places = [], []
    for place, sentence in enumerate(sentences):
        known = [number[word] for word in sentence if word in number]
        ids += known
        places += [place] * len(known)
    return torch.tensor(ids, dtype=torch.int64), torch.tensor(places, dtype=torch.int64)


def of_kinds(words: list[str], ids: Tensor, sentences: Tensor, kinds: dict[str, list[str]], least: int) -> Text:
    """A text with those words of each kind that occur in it often enough and are of one kind only.

    Every second word of the lists that is in the vocabulary and of one kind only is reported, whether or not it occurs.
    """
    number = {word: place for place, word in enumerate(words)}
    counts = torch.bincount(ids, minlength=len(words))
    times = Counter(word for members in kinds.values() for word in set(members))
    listed = [
        (number[word], kind)
        for kind, members in enumerate(kinds.values())
        for word in dict.fromkeys(members)
        if times[word] == 1 and word in number
    ]
    known = [(*row, place % 2) for place, row in enumerate(listed) if counts[row[0]] >= least]
    places, labels, odd = (torch.tensor(column, dtype=torch.int64) for column in zip(*known, strict=True))
    return Text(words, ids, sentences, places, labels, odd == 1, list(kinds))


@cache
def world() -> StoryWorld:
    """The larger StoryWorld in English."""
    return StoryWorld("full")


def storyworld_kinds(world: StoryWorld) -> dict[str, list[str]]:
    """The words of each kind in StoryWorld's lexicons, and its animals.

    They come in an order drawn once: the lexicons alternate between boys and girls, and between one fruit and many, and
    every second word is reported.
    """
    kinds = {
        group: [word for entry in entries for form, word in entry.forms["en"].items() if form in FORMS[group]]
        for group, entries in world.lexicons.all_entries().items()
    }
    kinds["animals"] = [row[0] for row in world.lexicons.thieves + world.lexicons.eaters]
    return {kind: random.Random(kind).sample(words, len(words)) for kind, words in kinds.items()}


FORMS = {
    "settings": ("noun",),
    "people": ("name",),
    "places": ("noun",),
    "things": ("noun",),
    "fruits": ("one", "many"),
    "moods": ("adj",),
}
"""Which forms of an entry name it."""


def storyworld_text(stories: Sequence[Story], least: int = 5) -> Text:
    """Stories as a text; words are known whose kind is and which occur at least ``least`` times."""
    words = world().vocabulary
    number = {word: place for place, word in enumerate(words)}
    ids, sentences = numbered((sentence.words for story in stories for sentence in story.sentences), number)
    return of_kinds(words, ids, sentences, storyworld_kinds(world()), least)


@cache
def told(seed: int) -> list[Story]:
    """The first 300 stories of a seed."""
    return list(world().stories(seed, "train", 300))


@cache
def brown_documents() -> list[list[list[tuple[str, str]]]]:
    """The 500 texts of Brown as sentences of words, in lower case, with their tags; tokens without a letter left out.

    Raises:
        ConnectionError: the file is neither here nor to be fetched.
    """
    archive = fetch(BROWN, data_folder() / "brown")
    documents = []
    for letter, count in zip(
        "abcdefghjklmnpr", (44, 27, 17, 17, 36, 48, 75, 30, 80, 29, 24, 6, 29, 29, 9), strict=True
    ):
        for place in range(1, count + 1):
            with open_member(archive, f"brown/c{letter}{place:02}") as member:
                lines = member.read().decode("utf-8").split("\n")
            tagged = [[token.rsplit("/", 1) for token in line.split()] for line in lines if line.strip()]
            documents.append([[(w.lower(), tag) for w, tag in line if any(c.isalpha() for c in w)] for line in tagged])
    return documents


@cache
def brown_vocabulary() -> list[str]:
    """The most frequent words of Brown, the most frequent first."""
    counts = Counter(word for document in brown_documents() for line in document for word, _ in line)
    return sorted(counts, key=lambda word: (-counts[word], word))[:VOCABULARY]


def brown_text(seed: int | None, share: float = 0.8, without: Iterable[str] = ()) -> Text:
    """Four fifths of Brown's documents, drawn by a seed, or all of them.

    Args:
        seed: of the draw; None takes all.
        share: the share of the documents.
        without: words that are taken out of the text.
    """
    documents = brown_documents()
    if seed is not None:
        documents = random.Random(seed).sample(documents, round(share * len(documents)))
    gone = set(without)
    words = [word for word in brown_vocabulary() if word not in gone]
    number = {word: place for place, word in enumerate(words)}
    ids, sentences = numbered(([word for word, _ in line] for document in documents for line in document), number)
    return of_kinds(words, ids, sentences, {kind: members.split() for kind, members in KINDS.items()}, 1)


@cache
def brown_tags() -> dict[str, str]:
    """The most frequent tag of each word, by its first two letters: nn noun, vb verb, jj adjective, rb adverb."""
    counts: dict[str, Counter[str]] = {}
    for document in brown_documents():
        for line in document:
            for word, tag in line:
                counts.setdefault(word, Counter())[tag[:2]] += 1
    return {word: tags.most_common(1)[0][0] for word, tags in counts.items()}


def wordsim() -> list[tuple[str, str, float]]:
    """WordSim-353: pairs of words with people's mean judgement of their relatedness, 0 to 10 (Finkelstein et al. 2002).

    Raises:
        ConnectionError: the file is neither here nor to be fetched.
    """
    lines = fetch(WORDSIM, data_folder() / "wordsim-353").read_text(encoding="utf-8").split("\n")
    rows = [line.split("\t") for line in lines if line.strip() and not line.startswith("#")]
    return [(a.lower(), b.lower(), float(score)) for a, b, score in rows]
