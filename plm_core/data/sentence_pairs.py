"""Sentence pairs for next-sentence and sentence-order prediction, as a pure function of (seed, epoch, example).

Label 0 means that the second segment follows the first, label 1 that it does not, as in Devlin et al. (2019) and in
Hugging Face's heads. Examples come in pairs of opposite labels, so that the labels are balanced exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from plm_core.data.masking import example_generator

Task = Literal["next_sentence", "sentence_order"]
Sentence = Sequence[int]

FOLLOWS, FOLLOWS_NOT = 0, 1
CANDIDATES = 16
"""Places in other documents that are drawn for a negative, to find one that is as long as the true second part."""


@dataclass(frozen=True)
class SentencePair:
    """One example: two segments of token ids, whether the second follows the first, and where they came from."""

    first: list[int]
    second: list[int]
    label: int
    documents: tuple[int, int]


class SentencePairs:
    """Pairs of segments from documents.

    A document is cut into runs of sentences that fit into ``max_tokens``; each run of two sentences or more is an
    example in every epoch, split at a random sentence boundary. For next-sentence prediction, a negative keeps the
    first part and takes the second, with the same number of sentences, from *another* document. Of CANDIDATES places
    drawn there it takes the one that fits and is nearest in length to the true second part, so that neither the length
    nor a sentence that breaks off gives the label away. Where none fits, whole sentences are left out at the end, and
    only a single sentence that is too long by itself is cut. For sentence-order prediction (Lan et al. 2020) a
    negative swaps the two parts.

    Args:
        documents: documents as lists of sentences, sentences as lists of token ids.
        max_tokens: the most tokens that both segments have together, special tokens not counted.
        task: ``"next_sentence"`` or ``"sentence_order"``.
        seed: the seed of all draws.

    Raises:
        ValueError: fewer than two documents of two sentences where negatives need another document; no pair at all; an
            empty document or sentence (a lost document boundary looks like one).
    """

    def __init__(
        self, documents: Sequence[Sequence[Sentence]], *, max_tokens: int, task: Task = "next_sentence", seed: int = 0
    ) -> None:
        for number, document in enumerate(documents):
            if not document or not all(len(sentence) for sentence in document):
                raise ValueError(f"document {number} is empty or has an empty sentence: drop it before making pairs")
        self.documents = documents
        self.max_tokens = max_tokens
        self.task = task
        self.seed = seed
        self.runs = [
            (number, start, end)
            for number, document in enumerate(documents)
            for start, end in sentence_runs([len(sentence) for sentence in document], max_tokens)
            if end - start >= 2
        ]
        if not self.runs:
            raise ValueError(
                f"no document has two sentences that fit into {max_tokens} tokens: is every sentence in a document of "
                "its own (are blank lines lost), or is max_tokens too small?"
            )
        if task == "next_sentence" and len(documents) < 2:
            raise ValueError("next-sentence negatives come from another document, and there is only one document")

    def __len__(self) -> int:
        """The number of examples in an epoch."""
        return len(self.runs)

    def pair(self, example: int, *, epoch: int = 0) -> SentencePair:
        """The pair of one example, from 0 to ``len(self) - 1``, in one epoch."""
        number, start, end = self.runs[example]
        generator = example_generator(self.seed, epoch, example)
        split = int(generator.integers(start + 1, end))
        document = self.documents[number]
        first, second = document[start:split], document[split:end]
        label, other = self.label(example, epoch), number
        if label == FOLLOWS_NOT and self.task == "sentence_order":
            first, second = second, first
        elif label == FOLLOWS_NOT:
            other, second = self._elsewhere(number, second, self.max_tokens - count_tokens(first), generator)
        return SentencePair(*trim(join(first), join(second), self.max_tokens), label, (number, other))

    def label(self, example: int, epoch: int) -> int:
        """The label of an example. Two neighbouring examples have opposite labels, drawn at random for the two."""
        coin = int(example_generator(self.seed + 1, epoch, example // 2).integers(2))
        return coin ^ (example % 2)

    def _elsewhere(
        self, number: int, true: Sequence[Sentence], room: int, generator: np.random.Generator
    ) -> tuple[int, Sequence[Sentence]]:
        """Sentences of another document in place of the true ones, at most ``room`` tokens; and the document's number.

        They are as many as the true ones, or all that the document has.
        """
        found = []
        wanted = count_tokens(true)
        for _ in range(CANDIDATES):
            other = int(generator.integers(len(self.documents) - 1))
            other += other >= number
            document = self.documents[other]
            start = int(generator.integers(max(1, len(document) - len(true) + 1)))
            sentences = document[start : start + len(true)]
            found.append((abs(count_tokens(sentences) - wanted), other, sentences))
        fitting = [each for each in found if count_tokens(each[2]) <= room]
        _, other, sentences = min(fitting or found, key=lambda each: each[0])
        while len(sentences) > 1 and count_tokens(sentences) > room:
            sentences = sentences[:-1]
        return other, sentences


def count_tokens(sentences: Sequence[Sentence]) -> int:
    """The number of tokens of several sentences."""
    return sum(len(sentence) for sentence in sentences)


def sentence_runs(lengths: Sequence[int], max_tokens: int) -> list[tuple[int, int]]:
    """Cut a document into runs of whole sentences of at most ``max_tokens`` tokens each: (start, end) pairs.

    A sentence that is longer than that forms a run of its own.
    """
    runs, start, total = [], 0, 0
    for index, length in enumerate(lengths):
        if index > start and total + length > max_tokens:
            runs.append((start, index))
            start, total = index, 0
        total += length
    return [*runs, (start, len(lengths))]


def join(sentences: Sequence[Sentence]) -> list[int]:
    """The tokens of several sentences in one list."""
    return [token for sentence in sentences for token in sentence]


def trim(first: list[int], second: list[int], max_tokens: int) -> tuple[list[int], list[int]]:
    """Shorten the longer segment at its end, token by token, until both fit (Devlin et al. 2019)."""
    first, second = list(first), list(second)
    while len(first) + len(second) > max_tokens:
        (first if len(first) > len(second) else second).pop()
    return first, second
