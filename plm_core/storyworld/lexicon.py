"""Lexicons: weighted lists of entries from which people, places and things are drawn, and how they are held out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from plm_core.storyworld import more_words
from plm_core.storyworld import words as w

Path = tuple[tuple[str, str], ...]
"""What is known of an entry that is still to be named: pairs of a form and its word, in the order of reading."""

HELD_OUT = ("all", "seen", "held_out")
"""The parts in which names, and pairs of a thing and a place, are used: all; those seen; those held out, which are a
fifth of the names and a third of the pairs."""


@dataclass(frozen=True, eq=False, slots=True)
class Entry:
    """One person, place or thing that may be named.

    Attributes:
        key: the English noun or name, unique in its lexicon.
        weight: the positive integer weight with which the entry is drawn.
        forms: for each language (``"en"``, ``"zh"``) its words by the name of the form.
        tags: ``"f"`` or ``"m"`` for people; ``"i"``, ``"o"`` and ``"g"`` for places indoors, outdoors and where
            fruit grows; the setting's letter for settings.
    """

    key: str
    weight: int
    forms: dict[str, dict[str, str]]
    tags: str = ""


@dataclass(eq=False)
class Lexicon:
    """A weighted list of entries, from which one is drawn without those that are excluded.

    Args:
        entries: the entries.
    """

    entries: list[Entry]
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.total = sum(entry.weight for entry in self.entries)
        self._matching: dict[tuple[str, Path], tuple[list[Entry], int, frozenset[Entry]]] = {}

    def draw(self, random: Callable[[], float], excluded: Collection[Entry]) -> Entry:
        """Draw an entry that is not excluded; ``random`` gives numbers in [0, 1)."""
        left = random() * self.weight("en", (), excluded)
        for entry in self.entries:
            if entry not in excluded:
                left -= entry.weight
                if left < 0:
                    break
        return entry

    def matching(self, language: str, path: Path) -> tuple[list[Entry], int, frozenset[Entry]]:
        """The entries whose forms are the words of a path, and their total weight."""
        found = self._matching.get((language, path))
        if found is None:
            entries = [e for e in self.entries if all(e.forms[language][form] == word for form, word in path)]
            found = (entries, sum(entry.weight for entry in entries), frozenset(entries))
            self._matching[language, path] = found
        return found

    def weight(self, language: str, path: Path, excluded: Collection[Entry]) -> int:
        """The total weight of the entries of a path that are not excluded."""
        _, total, members = self.matching(language, path)
        for entry in excluded:
            if entry in members:
                total -= entry.weight
        return total

    def words(self, language: str, path: Path, form: str, excluded: Collection[Entry]) -> dict[str, int]:
        """The words of a form, with the total weight of the entries that have them."""
        found: dict[str, int] = {}
        for entry in self.matching(language, path)[0]:
            if entry not in excluded:
                word = entry.forms[language][form]
                found[word] = found.get(word, 0) + entry.weight
        return found


EXPONENTS = {"small": 1.3, "full": 1.9}
"""Zipf's exponent of each size: large enough that names are at most a quarter of the entropy."""


def zipf(rank: int, exponent: float) -> int:
    """The weight of the entry of a rank, counted from 0, by Zipf's law."""
    return max(1, round(1_000_000 / (rank + 1) ** exponent))


def keeps(part: str, index: int, every: int = 5) -> bool:
    """Whether the item of an index belongs to a part: every fifth item, or another number, is held out."""
    return part == "all" or (part == "held_out") == (index % every == every - 1)


_PRONOUNS = {
    "f": ({"he": "she", "him": "her", "his": "her", "self": "herself"}, "她"),
    "m": ({"he": "he", "him": "him", "his": "his", "self": "himself"}, "他"),
}


def _people(girls: list[list[str]], boys: list[list[str]], part: str, exponent: float) -> Iterable[Entry]:
    for gender, names in (("f", girls), ("m", boys)):
        english, chinese = _PRONOUNS[gender]
        kept = [row for index, row in enumerate(names) if keeps(part, index)]
        for rank, (name, name_zh) in enumerate(kept):
            zh = {"name": name_zh, "he": chinese, "him": chinese, "his": chinese}
            yield Entry(name, zipf(rank // 2, exponent), {"en": {"name": name, **english}, "zh": zh}, gender)


def _places(table: list[list[str]], exponent: float) -> list[tuple[str, Entry]]:
    return [
        (
            settings,
            Entry(noun, zipf(rank, exponent), {"en": {"in": prep, "noun": noun}, "zh": {"noun": zh, "loc": loc}}, tags),
        )
        for rank, (prep, noun, zh, loc, settings, tags) in enumerate(table)
    ]


def _things(table: list[list[str]], exponent: float) -> list[tuple[str, Entry]]:
    return [
        (
            settings,
            Entry(noun, zipf(rank, exponent), {"en": {"a": w.article(noun), "noun": noun}, "zh": {"m": m, "noun": zh}}),
        )
        for rank, (noun, zh, m, settings) in enumerate(table)
    ]


def _fruits(table: list[list[str]], exponent: float) -> list[Entry]:
    return [
        Entry(one, zipf(rank, exponent), {"en": {"one": one, "many": w.plural(one)}, "zh": {"noun": zh, "m": m}})
        for rank, (one, zh, m) in enumerate(table)
    ]


def _lives(setting: Entry, letters: str) -> bool:
    """Whether a row belongs to a setting: it names the setting's letter, or ``*`` for all."""
    return letters == "*" or setting.tags in letters


def _put_together(ends: str, names: list[list[str]], others: list[list[str]]) -> list[list[str]]:
    """Names put together from every beginning and end, added to given ones.

    Left out are those that exist already, in either language, or that are words.
    """
    found = list(names)
    english = {name for name, _ in names + others} | set(more_words.NOT_NAMES.split())
    chinese = {name for _, name in names + others}
    for end, end_zh in w.rows(ends):
        for start, start_zh in w.rows(more_words.BEGINNINGS):
            name, name_zh = start + end, start_zh + end_zh
            if name not in english and name_zh not in chinese:
                found.append([name, name_zh])
                english.add(name)
                chinese.add(name_zh)
    return found


class Lexicons:
    """All lexicons of a world.

    Args:
        size: ``"small"`` or ``"full"``.
        names: the part of the names in use, one of ``HELD_OUT``.
        combinations: the part of the pairs of a thing and the place where it lies first, one of ``HELD_OUT``.

    Raises:
        ValueError: an unknown size or part.
    """

    def __init__(self, size: str, names: str = "all", combinations: str = "all"):
        if size not in ("small", "full"):
            raise ValueError(f"lexicon must be 'small' or 'full', not {size!r}")
        for what, part in (("names", names), ("combinations", combinations)):
            if part not in HELD_OUT:
                raise ValueError(f"{what} must be one of {', '.join(map(repr, HELD_OUT))}, not {part!r}")
        exponent = EXPONENTS[size]
        self.size, self.names_part, self.combinations = size, names, combinations

        def table(name: str) -> list[list[str]]:
            return w.rows(getattr(w, name) + " " + (more_words.TABLES.get(name, "") if size == "full" else ""))

        self.settings = Lexicon(
            [
                Entry(
                    noun,
                    zipf(rank, exponent),
                    {"en": {"in": prep, "noun": noun}, "zh": {"noun": zh, "loc": loc}},
                    letter,
                )
                for rank, (letter, prep, noun, zh, loc) in enumerate(table("SETTINGS"))
            ]
        )
        girls, boys = table("GIRLS"), table("BOYS")
        if size == "full":
            girls = _put_together(more_words.GIRL_ENDS, girls, boys)
            boys = _put_together(more_words.BOY_ENDS, boys, girls)
        self._people = list(_people(girls, boys, names, exponent))
        self._places, self._things = _places(table("PLACES"), exponent), _things(table("THINGS"), exponent)
        self._secrets = _things(table("SECRETS"), exponent)
        self.fruits = Lexicon(_fruits(table("FRUITS"), exponent))
        self.moods = {
            mood: Lexicon(
                [
                    Entry(adj, zipf(rank, exponent), {"en": {"adj": adj}, "zh": {"adj": zh}})
                    for rank, (adj, zh) in enumerate(table(mood.upper()))
                ]
            )
            for mood in ("proud", "grateful", "sad", "angry")
        }
        numbers = w.rows(w.NUMBERS)
        self.numbers = {"en": ["", *(row[0] for row in numbers)], "zh": ["", *(row[1] for row in numbers)]}
        self.manners = [(en, " ".join(zh.split("/")), int(weight)) for en, zh, weight in table("MANNERS")]
        self.thieves, self.eaters = table("THIEVES"), table("EATERS")
        self._cache: dict[tuple[str, str, str], Lexicon] = {}

    def people(self, setting: Entry) -> Lexicon:
        """The people who live in a setting: every second name, but all that are held out, for they are few."""
        key = ("people", setting.key, "")
        if key not in self._cache:
            half = next(i for i, entry in enumerate(self.settings.entries) if entry is setting) % 2
            entries = [e for i, e in enumerate(self._people) if self.names_part == "held_out" or i % 2 == half]
            self._cache[key] = Lexicon(entries)
        return self._cache[key]

    def places(self, setting: Entry, tag: str = "") -> Lexicon:
        """The places of a setting; with a tag only those that carry it."""
        key = ("places", setting.key, tag)
        if key not in self._cache:
            entries = [entry for letters, entry in self._places if _lives(setting, letters) and tag in entry.tags]
            self._cache[key] = Lexicon(entries)
        return self._cache[key]

    def things(self, setting: Entry, place: Entry | None, secret: bool = False) -> Lexicon:
        """The things of a setting, or what may be hidden there, that may lie at a place."""
        key = ("secrets" if secret else "things", setting.key, place.key if place else "")
        if key not in self._cache:
            rows = self._secrets if secret else self._things
            number = next((i for i, (_, entry) in enumerate(self._places) if entry is place), 0)
            part = "all" if secret or place is None else self.combinations
            entries = [
                entry
                for index, (letters, entry) in enumerate(rows)
                if _lives(setting, letters) and keeps(part, index + number, 3)
            ]
            self._cache[key] = Lexicon(entries)
        return self._cache[key]

    def all_entries(self) -> dict[str, list[Entry]]:
        """Every entry by the group it belongs to, for the vocabulary."""
        return {
            "settings": self.settings.entries,
            "people": self._people,
            "places": [entry for _, entry in self._places],
            "things": [entry for _, entry in self._things + self._secrets],
            "fruits": self.fruits.entries,
            "moods": [entry for lexicon in self.moods.values() for entry in lexicon.entries],
        }
