"""The tasks of fine-tuning: how their files become rows, which head they take, and how predictions are scored."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plm_core.data.batch import Batch
from plm_core.data.conll import align, read_conll, tag_names
from plm_core.data.examples import TaggedSentence
from plm_core.data.label_names import LabelNames
from plm_core.data.labelled_rows import Row, tagged_row, text_rows
from plm_core.data.relations import MarkedText
from plm_core.data.squad import Question
from plm_core.data.tables import LABEL_COLUMNS, TEXT_COLUMNS, read_table
from plm_core.data.tokenizers import Tokenizer
from plm_core.evaluation.bag_of_words import BagOfWords
from plm_core.evaluation.classification import confusion
from plm_core.evaluation.modes import evaluation_mode
from plm_core.evaluation.tagging import entity_scores
from plm_core.evaluation.validation import move
from plm_core.models.bert import Bert
from plm_core.models.gpt import Gpt
from plm_core.models.heads import TokenClassifier, sequence_classifier
from plm_core.objectives.base import Objective
from plm_core.objectives.classification import Classification
from plm_core.objectives.token_classification import TokenClassification
from plm_core.runs.fine_tune_config import FineTuneConfig

VALIDATION_SHARE = 0.1
"""Share of the training examples that is set aside where no validation file is given."""

STRENGTHS = (1.0, 10.0, 100.0)
"""Inverse strengths of the penalty, of which the bag of words has one; of equally good ones, the first."""


@dataclass(frozen=True)
class Split:
    """The examples of one file."""

    name: str
    """Their source, for messages and the report."""
    texts: list[Any]
    """The examples as they were read: texts, pairs of texts, or tagged sentences."""
    labels: list[str]
    """The class of each text; no entry for tagged sentences, which carry their tags."""
    rows: list[Row]
    """The examples as rows of tokens."""
    truncated: int
    """How many of them were cut, or read in several windows."""
    windows: list[Any] = field(default_factory=list)
    """The window of each row, for questions."""


@dataclass(frozen=True)
class Predictions:
    """What a model predicts for examples, with its probabilities."""

    labels: list[str]
    """The class of each text, the tag of each word of all sentences, end to end, or the answer to each question."""
    confidence: Tensor
    """The probability of each of them, (N,)."""


class TextTask:
    """Classification of texts, or of pairs of texts.

    Args:
        config: the run.
        tokenizer: the pretrained model's.
        names: the classes; None to take those of the training file.
    """

    def __init__(self, config: FineTuneConfig, tokenizer: Tokenizer, names: LabelNames | None = None) -> None:
        self.config, self.tokenizer = config, tokenizer
        self.given, self.has_classes = names, True
        self.objective: Objective = Classification()

    @property
    def names(self) -> LabelNames:
        """The classes."""
        assert self.given is not None, "read the training file first"
        return self.given

    def read(self, path: Path) -> tuple[list[Any], list[str]]:
        """The texts of a file, pairs as tuples, and their classes.

        Raises:
            FileNotFoundError, ValueError: as for :func:`~plm_core.data.tables.read_table`; a missing column.
        """
        table = read_table(path, delimiter=self.config.delimiter if path.suffix == ".csv" else None)
        return self.texts(table), table.column(self.config.label_column or table.find(LABEL_COLUMNS, "label"))

    def texts(self, table: Any) -> list[Any]:
        """The texts of a table, pairs as tuples."""
        texts = table.column(self.config.text_column or table.find(TEXT_COLUMNS, "text"))
        if self.config.pair_column is None:
            return texts
        return list(zip(texts, table.column(self.config.pair_column), strict=True))

    def learn_names(self, texts: Sequence[Any], labels: Sequence[str]) -> None:
        """Take the classes of the training examples."""
        self.given = LabelNames.of(labels, str(self.config.train_file))

    def split(self, name: str, texts: list[Any], labels: list[str]) -> Split:
        """Examples as rows.

        Raises:
            ValueError: a label that the training examples do not have.
        """
        made = self.rows(texts, self.names.ids(labels, name))
        return Split(name, texts, labels, *made)

    def rows(self, texts: list[Any], numbers: list[int] | None) -> tuple[list[Row], int]:
        """Texts as rows, and how many of them were cut."""
        paired = self.config.pair_column is not None
        firsts, pairs = ([text[0] for text in texts], [text[1] for text in texts]) if paired else (texts, None)
        made = text_rows(firsts, self.tokenizer, pairs=pairs, labels=numbers, max_length=self.config.max_length)
        return made.rows, made.truncated

    def make_model(self, source: Bert | Gpt) -> nn.Module:
        """The head on a copy of the pretrained trunk."""
        return sequence_classifier(source, len(self.names), pooling=self.config.pooling)

    def predict(self, model: nn.Module, split: Split, batches: Iterable[Batch]) -> Predictions:
        """The likeliest class of each text."""
        logits = torch.cat([logits_BC.float().cpu() for logits_BC, _ in outputs(model, self.objective, batches)])
        confidence, numbers = logits.softmax(dim=1).max(dim=1)
        return Predictions([self.names.names[number] for number in numbers.tolist()], confidence)

    def true(self, split: Split) -> list[str]:
        """The true classes, in the order of the predictions."""
        return split.labels

    def right(self, split: Split, predicted: Sequence[str]) -> list[bool]:
        """Whether each prediction is right."""
        return [one == other for one, other in zip(self.true(split), predicted, strict=True)]

    def scores(self, split: Split, predicted: Sequence[str]) -> dict[str, float]:
        """Accuracy and the mean F1 over the classes."""
        matrix = confusion(split.labels, list(predicted), labels=self.names.names)
        return {"accuracy": matrix.accuracy, "f1": matrix.average("macro").f1}

    def baselines(self, train: Split, valid: Split, split: Split) -> dict[str, dict[str, float]]:
        """The scores of always saying the most frequent class, and of a bag of words.

        The bag of words has the one of STRENGTHS with which it is most often right about the validation examples.
        """
        most = Counter(train.labels).most_common(1)[0][0]
        texts, numbers = [_joined(text) for text in train.texts], self.names.ids(train.labels, train.name)
        bags = [BagOfWords(texts, numbers, len(self.names), strength=strength) for strength in STRENGTHS]

        def predicted(bag: BagOfWords, by: Split) -> list[str]:
            return [self.names.names[number] for number in bag.predict([_joined(text) for text in by.texts])]

        best = max(bags, key=lambda bag: sum(self.right(valid, predicted(bag, valid))))
        return {
            "majority": self.scores(split, [most] * len(split.labels)),
            "bag of words": self.scores(split, predicted(best, split)),
        }

    def remarks(self, train: Split) -> list[str]:
        """What is worth knowing about the training examples: balance of the classes, and labels that disagree."""
        counts = Counter(train.labels)
        shares = ", ".join(f"{name} {counts[name] / len(train.labels):.1%}" for name in self.names.names[:20])
        lines = [f"classes: {shares}" + (f" and {len(self.names) - 20} more" if len(self.names) > 20 else "")]
        given = defaultdict(set)
        for text, label in zip(train.texts, train.labels, strict=True):
            given[_joined(text).strip().lower()].add(label)
        twice, noisy = len(train.texts) - len(given), sum(len(labels) > 1 for labels in given.values())
        if twice:
            lines.append(f"repeated texts: {twice}; texts with different labels: {noisy}")
        return lines

    def shown(self, split: Split, number: int) -> str:
        """The example of a prediction, for the list of errors."""
        return _joined(split.texts[number])


class TagTask:
    """Classification of words: names in ``bio`` tags, or tags that stand alone.

    Args:
        config: the run.
        tokenizer: the pretrained model's.
        names: the tags; None to take those of the training file.
    """

    def __init__(self, config: FineTuneConfig, tokenizer: Tokenizer, names: LabelNames | None = None) -> None:
        self.config, self.tokenizer = config, tokenizer
        self.given, self.has_classes = names, True
        self.objective: Objective = TokenClassification()

    @property
    def names(self) -> LabelNames:
        """The tags."""
        assert self.given is not None, "read the training file first"
        return self.given

    def read(self, path: Path) -> tuple[list[Any], list[str]]:
        """The tagged sentences of a file; errors as for :func:`~plm_core.data.conll.read_conll`."""
        scheme, repair = self.config.tag_scheme, self.config.repair_tags
        return list(read_conll(path, scheme=scheme, repair=repair)), []

    def learn_names(self, texts: Sequence[Any], labels: Sequence[str]) -> None:
        """Take the tags of the training sentences."""
        self.given = tag_names(texts, str(self.config.train_file))

    def split(self, name: str, texts: list[Any], labels: list[str]) -> Split:
        """Sentences as rows.

        Raises:
            ValueError: a tag that the training sentences do not have, or a word that has no token.
        """
        aligned = [
            align(
                sentence, self.tokenizer, self.names, max_length=self.config.max_length, where=f"{name}, sentence {n}"
            )
            for n, sentence in enumerate(texts, start=1)
        ]
        cut = sum(sum(each.word_starts) < each.num_words for each in aligned)
        return Split(name, texts, labels, [tagged_row(each) for each in aligned], cut)

    def make_model(self, source: Bert | Gpt) -> nn.Module:
        """The head on a copy of the pretrained trunk."""
        return TokenClassifier.from_pretrained(source, len(self.names))

    def predict(self, model: nn.Module, split: Split, batches: Iterable[Batch]) -> Predictions:
        """The likeliest tag of each word that was not cut off."""
        labels: list[str] = []
        found = [torch.zeros(0)]
        for logits_BTC, batch in outputs(model, self.objective, batches):
            words_NC = logits_BTC.float().cpu()[batch["word_starts"].cpu()]
            confidence_N, numbers = words_NC.softmax(dim=1).max(dim=1)
            found.append(confidence_N)
            labels += [self.names.names[number] for number in numbers.tolist()]
        return Predictions(labels, torch.cat(found))

    def true(self, split: Split) -> list[str]:
        """The true tags of the words that were not cut off, in the order of the predictions."""
        return [tag for row, s in zip(split.rows, split.texts, strict=True) for tag in s.tags[: _words(row)]]

    def sentences(self, split: Split, predicted: Sequence[str]) -> list[list[str]]:
        """Predicted tags sentence by sentence; ``O``, or the first tag, for words that were cut off."""
        outside = "O" if "O" in self.names.names else self.names.names[0]
        made, place = [], 0
        for row, sentence in zip(split.rows, split.texts, strict=True):
            count = _words(row)
            tags = list(predicted[place : place + count])
            made.append(tags + [outside] * (len(sentence.words) - count))
            place += count
        return made

    def right(self, split: Split, predicted: Sequence[str]) -> list[bool]:
        """Whether each prediction is right."""
        return [one == other for one, other in zip(self.true(split), predicted, strict=True)]

    def scores(self, split: Split, predicted: Sequence[str]) -> dict[str, float]:
        """The share of words with the right tag, and F1: over names (micro), or over the tags (macro)."""
        found = self.sentences(split, predicted)
        true = [list(sentence.tags) for sentence in split.texts]
        matrix = confusion([t for s in true for t in s], [t for s in found for t in s], labels=self.names.names)
        if self.config.tag_scheme is None:
            return {"accuracy": matrix.accuracy, "f1": matrix.average("macro").f1}
        return {"accuracy": matrix.accuracy, "f1": entity_scores(true, found).average("micro").f1}

    def baselines(self, train: Split, valid: Split, split: Split) -> dict[str, dict[str, float]]:
        """The scores of always saying the most frequent tag, and of each word's most frequent tag in training."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for sentence in train.texts:
            for word, tag in zip(sentence.words, sentence.tags, strict=True):
                counts[word][tag] += 1
        most = sum(counts.values(), Counter()).most_common(1)[0][0]
        usual = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}
        kept = [word for row, s in zip(split.rows, split.texts, strict=True) for word in s.words[: _words(row)]]
        return {
            "majority": self.scores(split, [most] * len(kept)),
            "usual tag of each word": self.scores(split, [usual.get(word, most) for word in kept]),
        }

    def remarks(self, train: Split) -> list[str]:
        """What is worth knowing about the training sentences: the share of each tag."""
        counts = Counter(tag for sentence in train.texts for tag in sentence.tags)
        total = sum(counts.values())
        return ["tags: " + ", ".join(f"{name} {counts[name] / total:.1%}" for name in self.names.names[:20])]

    def shown(self, split: Split, number: int) -> str:
        """The word of a prediction in its sentence, for the list of errors."""
        for row, sentence in zip(split.rows, split.texts, strict=True):
            if number < _words(row):
                words = [f"[{word}]" if n == number else word for n, word in enumerate(sentence.words)]
                return " ".join(words)
            number -= _words(row)
        raise AssertionError("more predictions than words")


def content_key(text: Any) -> str:
    """What two examples with the same text have in common: a text, a pair, the words of a sentence, or a context."""
    if isinstance(text, TaggedSentence):
        return " ".join(text.words)
    return text.context if isinstance(text, Question) else _joined(text)


def set_aside(texts: list[Any], labels: list[str], *, seed: int, where: str) -> tuple[Any, Any]:
    """Divide training examples into those to train and those to validate on, (texts, labels) each.

    Examples with the same text go to the same part.

    Raises:
        ValueError: fewer than two different examples.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for number, text in enumerate(texts):
        groups[content_key(text)].append(number)
    if len(groups) < 2:
        raise ValueError(f"{where}: one example cannot be divided; give a validation_file")
    order = np.random.default_rng(seed).permutation(len(groups)).tolist()
    members = list(groups.values())
    held = {n for group in order[: max(1, round(VALIDATION_SHARE * len(groups)))] for n in members[group]}
    parts = []
    for keep in (lambda n: n not in held, lambda n: n in held):
        numbers = [n for n in range(len(texts)) if keep(n)]
        parts.append(([texts[n] for n in numbers], [labels[n] for n in numbers] if labels else []))
    return parts[0], parts[1]


def outputs(model: nn.Module, objective: Objective, batches: Iterable[Batch]) -> Iterator[tuple[Any, Batch]]:
    """What a model puts out for each batch, in evaluation mode and without gradients, and the batch."""
    device = next(model.parameters()).device
    with evaluation_mode(model), torch.no_grad():
        for batch in batches:
            yield model(**objective.inputs(move(batch, device))), batch


def _joined(text: Any) -> str:
    text = text.text if isinstance(text, MarkedText) else text
    return text if isinstance(text, str) else " ".join(text)


def _words(row: Row) -> int:
    starts = row["word_starts"]
    assert isinstance(starts, list)
    return sum(starts)
