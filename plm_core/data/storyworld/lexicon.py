"""Open choices: lexicons of entries with exact integer weights, and how they are held out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import accumulate

from plm_core.data.storyworld import words as w

Forms = dict[str, str]


@dataclass(frozen=True, eq=False)
class Entry:
    """One thing that may be named: its key, and its forms in each language by the name of the form.

    Attributes:
        key: two entries with the same key never occur in one story together (``red ball`` and ``green balls``
            have the key ``ball``).
        weight: the positive integer weight with which the entry is drawn.
        forms: for each language (``"en"``, ``"zh"``) the words by form, such as ``{"name": "mira", "he": "she"}``.
        gender: ``"f"`` or ``"m"`` for people.
        plural: whether the entry stands for several things.
    """

    key: str
    weight: int
    forms: dict[str, Forms]
    gender: str = ""
    plural: bool = False


@dataclass(eq=False)
class Lexicon:
    """A weighted list of entries from which one is drawn; those whose key is already used are left out.

    Args:
        name: what the entries are, for example ``"people"``.
        entries: at least one entry.
    """

    name: str
    entries: list[Entry]
    total: int = field(init=False)

    def __post_init__(self) -> None:
        if not self.entries:
            raise ValueError(f"lexicon {self.name!r} is empty: take a larger size or hold less of it out")
        self._cumulative = list(accumulate(entry.weight for entry in self.entries))
        self.total = self._cumulative[-1]
        self._weight_of_key: dict[str, int] = {}
        for entry in self.entries:
            self._weight_of_key[entry.key] = self._weight_of_key.get(entry.key, 0) + entry.weight
        self._index: dict[tuple[str, str], dict[str, list[Entry]]] = {}

    def draw(self, random: Callable[[], float], used: Collection[str] = ()) -> Entry:
        """Draw an entry whose key is not in ``used``; ``random`` gives numbers in [0, 1)."""
        while True:
            entry = self.entries[bisect_right(self._cumulative, int(random() * self.total))]
            if entry.key not in used:
                return entry

    def free_weight(self, used: Collection[str] = ()) -> int:
        """The weight of all entries that may still be drawn."""
        return self.total - sum(self._weight_of_key.get(key, 0) for key in used)

    def by_word(self, language: str, form: str) -> dict[str, list[Entry]]:
        """All entries by the word that one of their forms has in a language."""
        index = self._index.get((language, form))
        if index is None:
            index = self._index[language, form] = {}
            for entry in self.entries:
                index.setdefault(entry.forms[language][form], []).append(entry)
        return index


HELD_OUT = ("all", "seen", "held_out")
"""Which part of the names or of the combinations a world uses: everything, four fifths, or the last fifth."""


def keeps(part: str, index: int) -> bool:
    """Whether the item of this index belongs to a part: every fifth item is held out."""
    return part == "all" or (part == "held_out") == (index % 5 == 4)


def _people(girls: list[list[str]], boys: list[list[str]], sorts: list[list[str]], part: str) -> list[Entry]:
    pronouns = {
        "f": ({"he": "she", "him": "her", "his": "her"}, "她"),
        "m": ({"he": "he", "him": "him", "his": "his"}, "他"),
    }
    entries = []
    for gender, names in (("f", girls), ("m", boys)):
        english, chinese = pronouns[gender]
        for index, (name, name_zh) in enumerate(names):
            if not keeps(part, index):
                continue
            for sort, sort_zh, sort_gender in sorts:
                if sort_gender != gender:
                    continue
                en = {"name": name, "sort": sort, "art": w.article(sort), **english}
                zh = {"name": name_zh, "sort": sort_zh, "he": chinese, "him": chinese, "his": chinese}
                entries.append(Entry(name, 1, {"en": en, "zh": zh}, gender=gender))
    return entries


def _things(objects: list[list[str]], colours: list[list[str]], part: str) -> list[Entry]:
    entries = []
    for object_index, (noun, noun_zh, measure) in enumerate(objects):
        for colour_index, (colour, colour_zh) in enumerate(colours):
            if not keeps(part, object_index + colour_index):
                continue
            for several in (False, True):
                en = {"art": "some" if several else w.article(colour), "colour": colour}
                en |= {"noun": w.plural(noun) if several else noun, "was": "were" if several else "was"}
                en |= {"it": "they" if several else "it", "them": "them" if several else "it"}
                zh = {"art": "几" if several else "一", "measure": measure, "colour": colour_zh, "noun": noun_zh}
                entries.append(Entry(noun, 1, {"en": en, "zh": zh}, plural=several))
    return entries


def _furniture(table: list[list[str]]) -> list[Entry]:
    entries = []
    for noun, noun_zh, measure in table:
        for several in (False, True):
            en = {"noun": w.plural(noun) if several else noun}
            zh = {"that": "那些" if several else "那" + measure, "noun": noun_zh}
            entries.append(Entry(f"{noun} {several}", 1, {"en": en, "zh": zh}, plural=several))
    return entries


def _simple(table: list[list[str]], english: tuple[str, ...], chinese: tuple[str, ...]) -> list[Entry]:
    """Entries of tables whose rows hold the English forms followed by the Chinese ones."""
    cut = len(english)
    return [
        Entry(
            row[0],
            1,
            {"en": dict(zip(english, row[:cut], strict=True)), "zh": dict(zip(chinese, row[cut:], strict=True))},
        )
        for row in table
    ]


def build_lexicons(size: str, people: str = "all", combinations: str = "all") -> dict[str, Lexicon]:
    """Build the lexicons of a world.

    Args:
        size: ``"small"`` or ``"full"``.
        people: the part of the names in use, one of ``HELD_OUT``.
        combinations: the part of the pairs of colour and object in use, one of ``HELD_OUT``.

    Raises:
        ValueError: an unknown size or part.
    """
    if size not in ("small", "full"):
        raise ValueError(f"size must be 'small' or 'full', not {size!r}")
    for name, part in (("people", people), ("combinations", combinations)):
        if part not in HELD_OUT:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, HELD_OUT))}, not {part!r}")
    fruits = [[one, w.plural(one), zh, measure] for one, zh, measure in w.rows(w.FRUITS)]
    entries = {
        "people": _people(w.rows(w.GIRLS), w.rows(w.BOYS), w.rows(w.SORTS), people),
        "places": _simple(w.rows(w.PLACES), ("prep", "noun"), ("noun", "loc")),
        "things": _things(w.rows(w.OBJECTS), w.rows(w.COLOURS), combinations),
        "fruits": _simple(fruits, ("one", "many"), ("noun", "measure")),
        "qualities": _simple(w.rows(w.QUALITIES), ("adj",), ("adj",)),
        "furniture": _furniture(w.rows(w.FURNITURE)),
        "manners": _simple(w.rows(w.MANNERS), ("went",), ("go",)),
        "good_moods": _simple(w.rows(w.GOOD_MOODS), ("adj",), ("adj",)),
        "sad_moods": _simple(w.rows(w.SAD_MOODS), ("adj",), ("adj",)),
        "angry_moods": _simple(w.rows(w.ANGRY_MOODS), ("adj",), ("adj",)),
        "good_weather": _simple(w.rows(w.GOOD_WEATHER), ("noun",), ("noun",)),
        "bad_weather": _simple(w.rows(w.BAD_WEATHER), ("noun",), ("noun",)),
        "animals": _simple(w.rows(w.ANIMALS), ("noun", "sound"), ("measure", "noun", "sound")),
    }
    return {name: Lexicon(name, items) for name, items in entries.items()}
