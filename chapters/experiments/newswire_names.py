"""Names in the newswire of CoNLL-2002: sentences, scores, and what finds names without a network.

A tagger gives each word one tag in the ``bio`` scheme. Scored is the F1 of names (micro): a name counts if both its
ends and its kind are right, and an I- that continues nothing begins a name, as in the scoring of CoNLL.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any, Literal

from plm_core.data.datasets import Split, conll2002
from plm_core.data.examples import TaggedSentence
from plm_core.evaluation.tagging import OUTSIDE, entities, entity_scores

Language = Literal["spanish", "dutch"]
Count = Literal["few", "all"]
"""How many of the training sentences are labelled."""
FEW = 500

Tags = Sequence[Sequence[str]]
"""The tags of sentences, one for each word."""


@cache
def sentences(language: Language, split: Split) -> list[TaggedSentence]:
    """The sentences of a part; those that are not trained on by length, so that their batches have little padding."""
    found = conll2002(split, language)
    return found if split == "train" else sorted(found, key=lambda sentence: len(sentence.words))


def labelled(language: Language, count: Count, seed: int) -> list[int]:
    """The numbers of the training sentences that are labelled, in the order in which a seed draws them."""
    everything = len(sentences(language, "train"))
    return random.Random(seed).sample(range(everything), min(FEW, everything) if count == "few" else everything)


def known_sentences(language: Language, count: Count, seed: int) -> list[TaggedSentence]:
    """The labelled sentences of a seed."""
    return [sentences(language, "train")[number] for number in labelled(language, count, seed)]


def scores(found: Tags, language: Language, split: Split) -> dict[str, float]:
    """F1, precision and recall of the names in a part, given the tags of its sentences."""
    average = entity_scores([each.tags for each in sentences(language, split)], found).average("micro")
    return {"f1": average.f1, "precision": average.precision, "recall": average.recall}


def table(found: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """The scores of several seeds, one list for each measure."""
    return {measure: [each[measure] for each in found] for measure in ("f1", "precision", "recall")}


def only_outside(tested: Sequence[TaggedSentence]) -> Tags:
    """O for every word."""
    return [[OUTSIDE] * len(sentence.words) for sentence in tested]


def usual_tags(known: Sequence[TaggedSentence], tested: Sequence[TaggedSentence]) -> Tags:
    """Each word's most frequent tag; O for a word that no labelled sentence has."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for sentence in known:
        for word, tag in zip(sentence.words, sentence.tags, strict=True):
            counts[word][tag] += 1
    usual = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}
    return [[usual.get(word, OUTSIDE) for word in sentence.words] for sentence in tested]


def known_names(known: Sequence[TaggedSentence], tested: Sequence[TaggedSentence]) -> Tags:
    """The phrases that are names more often than not in the labelled sentences, each with its most frequent kind.

    A sentence is read from left to right; where several phrases begin, the longest is taken.
    """
    kinds: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for sentence in known:
        for each in entities(sentence.tags):
            kinds[sentence.words[each.start : each.end]][each.type] += 1
    lengths = sorted({len(phrase) for phrase in kinds}, reverse=True)

    def at(words: tuple[str, ...], place: int) -> list[tuple[str, ...]]:
        phrases = (words[place : place + length] for length in lengths if place + length <= len(words))
        return [phrase for phrase in phrases if phrase in kinds]

    times = Counter(phrase for each in known for place in range(len(each.words)) for phrase in at(each.words, place))
    found = []
    for sentence in tested:
        tags, place = [OUTSIDE] * len(sentence.words), 0
        while place < len(tags):
            phrase = next((p for p in at(sentence.words, place) if 2 * kinds[p].total() > times[p]), ())
            if phrase:
                ((kind, _),) = kinds[phrase].most_common(1)
                tags[place : place + len(phrase)] = [f"B-{kind}"] + [f"I-{kind}"] * (len(phrase) - 1)
            place += max(1, len(phrase))
        found.append(tags)
    return found


def floors(language: Language, seeds: Sequence[int]) -> dict[str, Any]:
    """What rules find in testb with few labels, for each seed, and with all, where nothing depends on the seed.

    Also how many sentences are labelled, the words of the training sentences, the names of testb, and the share of its
    words that belong to none.
    """
    tested = sentences(language, "test")
    rules: dict[str, Callable[..., Tags]] = {"usual tags": usual_tags, "known names": known_names}
    drawn: dict[Count, Sequence[int]] = {"few": seeds, "all": [0]}

    def scored(rule: Callable[..., Tags], count: Count, seed: int) -> dict[str, float]:
        return scores(rule(known_sentences(language, count, seed), tested), language, "test")

    outside = [tag == OUTSIDE for sentence in tested for tag in sentence.tags]
    return {
        name: {count: table([scored(rule, count, seed) for seed in each]) for count, each in drawn.items()}
        for name, rule in rules.items()
    } | {
        "only O": scores(only_outside(tested), language, "test") | {"accuracy": sum(outside) / len(outside)},
        "labelled": {count: len(labelled(language, count, 0)) for count in drawn},
        "words": sum(len(sentence.words) for sentence in sentences(language, "train")),
        "names": sum(len(entities(sentence.tags)) for sentence in tested),
    }


def shape(word: str) -> str:
    """The kinds of a word's characters, each run written once.

    >>> shape("EFE-2000"), shape("McDonald")
    ('X-0', 'XxXx')
    """
    kinds = re.sub(r"\d", "0", "".join("X" if c.isupper() else "x" if c.islower() else c for c in word))
    return "".join(kind for kind, _ in groupby(kinds))


def features(words: Sequence[str]) -> Iterator[list[str]]:
    """The features of each word of a sentence: the word, its beginnings, ends and shape, and its neighbours."""
    padded = ["<", "<", *words, ">", ">"]
    for place, word in enumerate(words, start=2):
        around = {offset: padded[place + offset] for offset in range(-2, 3)}
        found = [f"{offset} {near}" for offset, near in around.items()]
        found += [f"shape {offset} {shape(around[offset])}" for offset in (-1, 0, 1)]
        found += [f"begins {word[:size]}" for size in range(1, 5)] + [f"ends {word[-size:]}" for size in range(1, 5)]
        found += [f"lower {word.lower()}", f"before {around[-1]} {word}", f"after {word} {around[1]}"]
        yield found


def by_features(language: Language, count: Count, *, strength: float, seed: int) -> dict[str, float]:
    """Logistic regression on the features of the words in the labelled sentences; each word is decided by itself.

    Args:
        language: of the newswire.
        count: how many sentences are labelled.
        strength: inverse strength of the penalty.
        seed: draws the labelled sentences.

    Returns:
        F1, precision and recall on testb, ``valid``, the F1 on testa, and the iterations that the fit took, at most
        300. Features of one training word only are left out.
    """
    from sklearn.feature_extraction.text import CountVectorizer  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    known = known_sentences(language, count, seed)
    vectorizer = CountVectorizer(analyzer=list, binary=True, min_df=2)
    x_NF = vectorizer.fit_transform(each for sentence in known for each in features(sentence.words))
    model = LogisticRegression(C=strength, max_iter=300).fit(x_NF, [tag for sentence in known for tag in sentence.tags])

    def scored(split: Split) -> dict[str, float]:
        tested = sentences(language, split)
        x_MF = vectorizer.transform(each for sentence in tested for each in features(sentence.words))
        predicted = iter(model.predict(x_MF).tolist())
        return scores([[next(predicted) for _ in sentence.words] for sentence in tested], language, split)

    valid = {"valid": scored("validation")["f1"], "iterations": float(max(model.n_iter_))}
    return scored("test") | valid
