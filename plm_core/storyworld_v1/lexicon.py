"""Open choices: lexicons of entries with exact integer weights, and how they are held out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import accumulate

from plm_core.storyworld_v1 import words as w
from plm_core.storyworld_v1.words_full import BEGINNINGS, BOY_ENDS, GIRL_ENDS, NOT_NAMES, TABLES, TOWN_ENDS

Forms = dict[str, str]
Path = tuple[tuple[str, str], ...]
"""What is known of an entry: words by form, in the order in which they were read."""


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
        self._of_key: dict[str, list[Entry]] = {}
        for entry in self.entries:
            self._of_key.setdefault(entry.key, []).append(entry)
        self._matching: dict[tuple[str, Path], list[Entry]] = {("en", ()): self.entries, ("zh", ()): self.entries}
        self._weights: dict[tuple[str, Path], int] = {}

    def draw(self, random: Callable[[], float], used: Collection[str] = ()) -> Entry:
        """Draw an entry whose key is not in ``used``; ``random`` gives numbers in [0, 1)."""
        while True:
            entry = self.entries[bisect_right(self._cumulative, int(random() * self.total))]
            if entry.key not in used:
                return entry

    def matching(self, language: str, path: Path = ()) -> list[Entry]:
        """The entries whose forms in a language are the words of a path."""
        found = self._matching.get((language, path))
        if found is None:
            form, word = path[-1]
            found = [e for e in self.matching(language, path[:-1]) if e.forms[language][form] == word]
            self._matching[language, path] = found
        return found

    def weight(self, language: str, path: Path, used: Collection[str]) -> int:
        """The weight of the matching entries that may still be drawn."""
        total = self._weights.get((language, path))
        if total is None:
            total = self._weights[language, path] = sum(entry.weight for entry in self.matching(language, path))
        for key in used:
            for entry in self._of_key.get(key, ()):
                forms = entry.forms[language]
                if all(forms[form] == word for form, word in path):
                    total -= entry.weight
        return total

    def words(self, language: str, form: str, path: Path = ()) -> list[str]:
        """The words that a form of the matching entries may have, each once."""
        return list(dict.fromkeys(entry.forms[language][form] for entry in self.matching(language, path)))


HELD_OUT = ("all", "seen", "held_out")
"""Which part of the names or of the combinations a world uses: everything, four fifths, or the last fifth."""


def keeps(part: str, index: int) -> bool:
    """Whether the item of this index belongs to a part: every fifth item is held out."""
    return part == "all" or (part == "held_out") == (index % 5 == 4)


def zipf(rank: int) -> int:
    """The weight of the entry of a rank: earlier ones are more frequent, as words are, but less steeply."""
    return max(1, 600 // (rank + 30))


COLOURS_PER_OBJECT = 10
"""An object comes in at most so many of the colours, so that the combinations of ``full`` stay countable."""


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
                entries.append(Entry(name, zipf(index), {"en": en, "zh": zh}, gender=gender))
    return entries


def _things(objects: list[list[str]], colours: list[list[str]], part: str) -> list[Entry]:
    entries = []
    for object_index, (noun, noun_zh, measure) in enumerate(objects):
        for colour_index, (colour, colour_zh) in enumerate(colours):
            if (colour_index - object_index) % len(colours) >= COLOURS_PER_OBJECT:
                continue
            if not keeps(part, object_index + colour_index):
                continue
            for several in (False, True):
                en = {"art": "some" if several else w.article(colour), "colour": colour}
                en |= {"noun": w.plural(noun) if several else noun, "was": "were" if several else "was"}
                en |= {"it": "they" if several else "it", "them": "them" if several else "it"}
                zh = {"art": "几" if several else "一", "measure": measure, "colour": colour_zh, "noun": noun_zh}
                entries.append(Entry(noun, zipf(object_index), {"en": en, "zh": zh}, plural=several))
    return entries


def _furniture(table: list[list[str]]) -> list[Entry]:
    entries = []
    for noun, noun_zh, measure in table:
        for several in (False, True):
            en = {"noun": w.plural(noun) if several else noun}
            zh = {"that": "那些" if several else "那" + measure, "noun": noun_zh}
            entries.append(Entry(f"{noun} {several}", 1, {"en": en, "zh": zh}, plural=several))
    return entries


def _simple(table: list[list[str]], english: tuple[str, ...], chinese: tuple[str, ...], key: int = 0) -> list[Entry]:
    """Entries of tables whose rows hold the English forms, one of them the key, followed by the Chinese ones."""
    cut = len(english)
    entries = []
    for index, row in enumerate(table):
        forms = {"en": dict(zip(english, row[:cut], strict=True)), "zh": dict(zip(chinese, row[cut:], strict=True))}
        entries.append(Entry(row[key], zipf(index), forms))
    return entries


def _made_up(ends: str, names: list[list[str]], avoid: Collection[list[str]] = ()) -> list[list[str]]:
    """Names put together from every beginning and end, added to given ones.

    Left out are those that would be, or in Chinese begin like, a name that exists already.
    """
    found = list(names)
    english = {name for name, _ in (*names, *avoid)} | set(NOT_NAMES.split())
    chinese = {name for _, name in (*names, *avoid)}
    starts = {name[:cut] for name in chinese for cut in range(1, len(name) + 1)}
    for end, end_zh in w.rows(ends):
        for start, start_zh in w.rows(BEGINNINGS):
            name, name_zh = start + end, start_zh + end_zh
            heads = {name_zh[:cut] for cut in range(1, len(name_zh) + 1)}
            if name in english or name_zh in starts or heads & chinese:
                continue
            found.append([name, name_zh])
            english.add(name)
            chinese.add(name_zh)
            starts |= heads
    return found


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
    full = size == "full"

    def table(name: str) -> list[list[str]]:
        return w.rows(f"{getattr(w, name, '')} {TABLES.get(name, '')}" if full else getattr(w, name, ""))

    girls, boys, towns = table("GIRLS"), table("BOYS"), []
    if full:
        girls = _made_up(GIRL_ENDS, girls)
        boys = _made_up(BOY_ENDS, boys, avoid=girls)
        towns = _made_up(TOWN_ENDS, [], avoid=girls + boys)
    fruits = [[one, w.plural(one), zh, measure] for one, zh, measure in table("FRUITS")]
    jobs = [[job, w.article(job), zh] for job, zh in table("JOBS")]
    one = ("adj",)
    entries = {
        "people": _people(girls, boys, table("SORTS"), people),
        "places": _simple(table("PLACES"), ("prep", "noun"), ("noun", "loc"), key=1),
        "things": _things(table("OBJECTS"), table("COLOURS"), combinations),
        "fruits": _simple(fruits, ("one", "many"), ("noun", "measure")),
        "qualities": _simple(table("QUALITIES"), one, one),
        "furniture": _furniture(table("FURNITURE")),
        "manners": _simple(table("MANNERS"), ("went",), ("go",)),
        "good_moods": _simple(table("GOOD_MOODS"), one, one),
        "sad_moods": _simple(table("SAD_MOODS"), one, one),
        "angry_moods": _simple(table("ANGRY_MOODS"), one, one),
        "good_weather": _simple(table("GOOD_WEATHER"), ("noun",), ("noun",)),
        "bad_weather": _simple(table("BAD_WEATHER"), ("noun",), ("noun",)),
        "animals": _simple(table("ANIMALS"), ("noun", "sound"), ("measure", "noun", "sound")),
    }
    if full:
        entries["jobs"] = _simple(jobs, ("noun", "art"), ("noun",))
        entries["towns"] = _simple(towns, ("name",), ("name",))
        entries["relations"] = _simple(table("RELATIONS"), ("noun",), ("noun",))
    return {name: Lexicon(name, items) for name, items in entries.items()}
