"""Lexicons: weighted lists of entries from which people, places and things are drawn, and how they are held out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from itertools import zip_longest

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
            fruit grows; ``"l"`` for things that a small animal can carry; the setting's letter for settings.
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


EXPONENTS = {
    "small": {
        "SETTINGS": 0.9,
        "PEOPLE": 2.35,
        "PLACES": 1.3,
        "THINGS": 1.95,
        "SECRETS": 1.2,
        "FRUITS": 1.2,
        "MOODS": 1.0,
    },
    "full": {
        "SETTINGS": 0.7,
        "PEOPLE": 2.65,
        "PLACES": 1.2,
        "THINGS": 2.15,
        "SECRETS": 1.5,
        "FRUITS": 1.3,
        "MOODS": 1.3,
    },
}
"""Zipf's exponent for each size and group: large enough that names are at most a quarter of the entropy."""


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


def _people(girls: list[list[str]], boys: list[list[str]], part: str) -> list[Entry]:
    """People with equal weights; boys and girls take turns, so that any part of them holds as many of both."""
    found: list[list[Entry]] = []
    for gender, names in (("f", girls), ("m", boys)):
        english, chinese = _PRONOUNS[gender]
        found.append([])
        for index, (name, name_zh) in enumerate(names):
            if keeps(part, index):
                zh = {"name": name_zh, "he": chinese, "him": chinese, "his": chinese}
                found[-1].append(Entry(name, 1, {"en": {"name": name, **english}, "zh": zh}, gender))
    return [entry for pair in zip_longest(*found) for entry in pair if entry is not None]


def _places(table: list[list[str]]) -> list[tuple[str, Entry]]:
    return [
        (settings, Entry(noun, 1, {"en": {"in": prep, "noun": noun}, "zh": {"noun": zh, "loc": loc}}, tags))
        for prep, noun, zh, loc, settings, tags in table
    ]


def _things(table: list[list[str]]) -> list[tuple[str, Entry]]:
    def light(noun: str) -> str:
        return "l" if noun in w.LIGHT.split() else ""

    return [
        (
            settings,
            Entry(noun, 1, {"en": {"a": w.article(noun), "noun": noun}, "zh": {"m": m, "noun": zh}}, light(noun)),
        )
        for noun, zh, m, settings in table
    ]


def _fruits(table: list[list[str]]) -> list[Entry]:
    return [
        Entry(one, 1, {"en": {"one": one, "many": w.plural(one)}, "zh": {"noun": zh, "m": m}}) for one, zh, m in table
    ]


def _ranked(entries: Iterable[Entry], exponent: float) -> list[Entry]:
    """Entries with the weights of their ranks, by Zipf's law."""
    return [replace(entry, weight=zipf(rank, exponent)) for rank, entry in enumerate(entries)]


def _put_together(ends: str, names: list[list[str]], others: list[list[str]]) -> list[list[str]]:
    """Names put together from every beginning and end, added to given ones.

    Left out are those that exist already, in either language, or that are words.
    """
    found = list(names)
    english = {name for name, _ in names + others} | set(more_words.NOT_NAMES.split())
    chinese = {name for _, name in names + others}
    for end, *ends_zh in w.rows(ends):
        for start, start_zh in w.rows(more_words.BEGINNINGS):
            fitting = ends_zh["lrnm".index(start[-1])]
            name, name_zh = start + end, start_zh + fitting
            if fitting != "-" and name not in english and name_zh not in chinese:
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
        self._exponents = exponents = EXPONENTS[size]
        self.size, self.names_part, self.combinations = size, names, combinations

        def table(name: str) -> list[list[str]]:
            return w.rows(getattr(w, name) + " " + (more_words.TABLES.get(name, "") if size == "full" else ""))

        settings = [
            Entry(noun, 1, {"en": {"in": prep, "noun": noun}, "zh": {"noun": zh, "loc": loc}}, letter)
            for letter, prep, noun, zh, loc in table("SETTINGS")
        ]
        self.settings = Lexicon(_ranked(settings, exponents["SETTINGS"]))
        girls, boys = table("GIRLS"), table("BOYS")
        if size == "full":
            girls = _put_together(more_words.GIRL_ENDS, girls, boys)
            boys = _put_together(more_words.BOY_ENDS, boys, girls)
        self._people = _people(girls, boys, names)
        self._places, self._things = _places(table("PLACES")), _things(table("THINGS"))
        self._secrets = _things(table("SECRETS"))
        self.fruits = Lexicon(_ranked(_fruits(table("FRUITS")), exponents["FRUITS"]))
        self.moods = {
            mood: Lexicon(
                _ranked(
                    [Entry(adj, 1, {"en": {"adj": adj}, "zh": {"adj": zh}}) for adj, zh in table(mood.upper())],
                    exponents["MOODS"],
                )
            )
            for mood in ("proud", "grateful", "sad", "angry")
        }
        numbers = w.rows(w.NUMBERS)
        self.numbers = {"en": ["", *(row[0] for row in numbers)], "zh": ["", *(row[1] for row in numbers)]}
        self.manners = [(en, " ".join(zh.split("/")), int(weight)) for en, zh, weight in table("MANNERS")]
        self.thieves, self.eaters = table("THIEVES"), table("EATERS")
        self._cache: dict[tuple[str, str, str], Lexicon] = {}
        self._locals: dict[tuple[str, str], dict[str, Entry]] = {}

    def _local(self, group: str, setting: Entry) -> dict[str, Entry]:
        """The entries of a group that belong to a setting, by their keys, with weights of their own.

        People, and things that may be anywhere, are dealt out to the settings in turn: the names that are frequent
        differ from setting to setting. Held-out names are too few for that.
        """
        if (group, setting.key) in self._locals:
            return self._locals[group, setting.key]
        number = next(i for i, entry in enumerate(self.settings.entries) if entry is setting)
        if group == "PEOPLE":
            hands = 1 if self.names_part == "held_out" else 2 if self.size == "small" else 6
            pairs = [entry for i, entry in enumerate(self._people) if i // 2 % hands == number % hands]
            found = [replace(entry, weight=zipf(rank // 2, self._exponents[group])) for rank, entry in enumerate(pairs)]
        else:
            rows = {"PLACES": self._places, "THINGS": self._things, "SECRETS": self._secrets}[group]
            found = _ranked(
                (
                    entry
                    for i, (letters, entry) in enumerate(rows)
                    if setting.tags in letters or (letters == "*" and i % 4 == number % 4)
                ),
                self._exponents[group],
            )
        self._locals[group, setting.key] = {entry.key: entry for entry in found}
        return self._locals[group, setting.key]

    def people(self, setting: Entry) -> Lexicon:
        """The people who live in a setting."""
        key = ("people", setting.key, "")
        if key not in self._cache:
            self._cache[key] = Lexicon(list(self._local("PEOPLE", setting).values()))
        return self._cache[key]

    def places(self, setting: Entry, tag: str = "") -> Lexicon:
        """The places of a setting; with a tag only those that carry it."""
        key = ("places", setting.key, tag)
        if key not in self._cache:
            self._cache[key] = Lexicon([e for e in self._local("PLACES", setting).values() if tag in e.tags])
        return self._cache[key]

    def things(self, setting: Entry, place: Entry | None, secret: bool = False) -> Lexicon:
        """The things of a setting, or what may be hidden there, that may lie at a place."""
        key = ("secrets" if secret else "things", setting.key, place.key if place else "")
        if key not in self._cache:
            local = self._local("SECRETS" if secret else "THINGS", setting)
            number = next((i for i, (_, e) in enumerate(self._places) if place and e.key == place.key), 0)
            part = "all" if secret or place is None else self.combinations
            indices = {entry.key: index for index, (_, entry) in enumerate(self._secrets if secret else self._things)}
            self._cache[key] = Lexicon([e for k, e in local.items() if keeps(part, indices[k] + number, 3)])
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
