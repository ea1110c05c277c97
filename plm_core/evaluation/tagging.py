"""Scores of a tagger: entities are read from BIO tags, and an entity counts only if its type and both ends are right.

Source: the shared task of CoNLL (Tjong Kim Sang & De Meulder 2003), whose scoring ``seqeval`` and this module follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plm_core.evaluation.classification import Average, Scores, average_scores

OUTSIDE = "O"


@dataclass(frozen=True, order=True)
class Entity:
    """An entity in a sequence of tokens."""

    start: int
    """Its first token."""
    end: int
    """The token after its last one."""
    type: str
    """Its type, such as ``PER``."""


def entities(tags: Sequence[str], *, strict: bool = False) -> list[Entity]:
    """The entities that a sequence of BIO tags describes, in their order.

    ``B-X`` begins an entity of type X, ``I-X`` continues it, ``O`` stands outside. A model may also predict an ``I-X``
    that continues nothing, after ``O`` or after another type.

    Args:
        tags: one tag for each token.
        strict: such an ``I-X`` belongs to no entity. Otherwise it begins one, as in the scoring of CoNLL.

    Raises:
        ValueError: a tag that is not ``O``, ``B-X`` or ``I-X``.

    >>> entities(["B-PER", "I-PER", "O", "I-LOC"])
    [Entity(start=0, end=2, type='PER'), Entity(start=3, end=4, type='LOC')]
    """
    found: list[Entity] = []
    start, current = 0, ""
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, kind = split_tag(tag)
        if prefix == "I" and kind == current:
            continue
        if current:
            found.append(Entity(start, place, current))
        begins = prefix == "B" or (prefix == "I" and not strict)
        start, current = place, kind if begins else ""
    return found


def split_tag(tag: str) -> tuple[str, str]:
    """The two parts of a tag: ``("B", "PER")`` of ``B-PER``, ``("O", "")`` of ``O``.

    Raises:
        ValueError: a tag that is not ``O``, ``B-X`` or ``I-X``.
    """
    prefix, _, kind = tag.partition("-")
    if tag == OUTSIDE or (prefix in ("B", "I") and kind):
        return prefix, kind
    raise ValueError(f"{tag!r} is no BIO tag: expected O, B-TYPE or I-TYPE")


def impossible_tags(tags: Sequence[str]) -> list[int]:
    """The places of tags ``I-X`` that continue no entity of type X: errors of a model, or of the data.

    Raises:
        ValueError: a tag that is not ``O``, ``B-X`` or ``I-X``.
    """
    places, before = [], ""
    for place, tag in enumerate(tags):
        prefix, kind = split_tag(tag)
        if prefix == "I" and kind != before:
            places.append(place)
        before = kind
    return places


@dataclass(frozen=True)
class EntityScores:
    """How many entities of each type are true, predicted, and both."""

    counts: dict[str, tuple[int, int, int]]
    """For each type ``(right, predicted, true)``."""

    def per_type(self) -> dict[str, Scores]:
        """The scores of each type."""
        return {kind: Scores.from_counts(*counts) for kind, counts in self.counts.items()}

    def average(self, average: Average = "micro") -> Scores:
        """One score for all types. What papers report as "entity F1" is the micro average.

        Raises:
            ValueError: an unknown average.
        """
        return average_scores(list(self.counts.values()), average)


def entity_scores(
    true: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], *, strict: bool = False
) -> EntityScores:
    """Compare the entities in predicted tags with the true ones.

    Args:
        true: for each sequence its true BIO tags.
        predicted: for each sequence the predicted BIO tags, as many as the true ones.
        strict: see :func:`entities`; in ``seqeval``, ``mode="strict"`` with the scheme IOB2.

    Raises:
        ValueError: different numbers of sequences or tags, or a tag that is not ``O``, ``B-X`` or ``I-X``.
    """
    if len(true) != len(predicted):
        raise ValueError(f"there are {len(true)} sequences of true tags and {len(predicted)} of predicted ones")
    rights: list[str] = []
    predictions: list[str] = []
    truths: list[str] = []
    for number, (true_tags, predicted_tags) in enumerate(zip(true, predicted, strict=True)):
        if len(true_tags) != len(predicted_tags):
            raise ValueError(
                f"sequence {number} has {len(true_tags)} true tags and {len(predicted_tags)} predicted ones: score one "
                "tag for each word, that of its first piece"
            )
        expected, found = set(entities(true_tags, strict=strict)), set(entities(predicted_tags, strict=strict))
        rights += [each.type for each in expected & found]
        predictions += [each.type for each in found]
        truths += [each.type for each in expected]
    kinds = sorted({*predictions, *truths})
    return EntityScores({kind: (rights.count(kind), predictions.count(kind), truths.count(kind)) for kind in kinds})
