"""Which skill each word of a story asks of a reader."""

from __future__ import annotations

SKILLS = (
    "wording", "grammar", "coreference", "places", "possession", "counting", "belief", "intention", "naming",
)  # fmt: skip
"""What a reader must be able to do to predict a word as well as possible.

- ``wording``: know how stories begin, the sentence patterns, and when a subject is a name or a pronoun;
- ``grammar``: know articles, prepositions, agreement, measure words, and forms of pronouns and nouns;
- ``coreference``: know which people there are, who has a part in what happens, and whom a name or a pronoun means;
- ``places``: track where people and things are, and so which of them can be meant;
- ``possession``: track who holds what;
- ``counting``: track how many there are;
- ``belief``: track where somebody believes a thing or a person to be;
- ``intention``: infer from the goal, the plan and the story so far what will be done, with how many, and the mood
  at the end;
- ``naming``: know how frequent the names of people, places and things are.

Which skill a word belongs to is decided by the largest part of its surprisal
(:func:`plm_core.storyworld.skill_reading.read`).
"""

GRAMMAR_FORMS = frozenset({"a", "m", "in", "loc", "him", "his", "he", "self"})
"""The forms of an entry that are grammar: articles, measure words, prepositions, words of place, pronouns."""

_HELD = {
    "drop", "hand", "hold", "show", "miss_held", "beg", "offer", "accept", "refuse", "decline", "win", "bring",
    "aid_wrap", "grab",
}  # fmt: skip
_SPOKEN_OF = {"tell", "tell_held", "think", "seek", "answer_held", "miss"}


def skill_of(kind: str, slot: str) -> str:
    """The skill of a word that names a known person, thing, place or number in a kind of event."""
    if slot[0] in "pqr":
        if kind.split("_")[0] in ("want", "reveal"):
            return "coreference" if slot == "p" else "intention"
        return "coreference"
    if kind.split("_")[0] in ("want", "reveal", "ask"):
        return "intention"
    if slot[0] in "tus":
        if kind in _HELD:
            return "possession"
        return "belief" if kind in _SPOKEN_OF else "places"
    if slot[0] in "kn":
        return "counting"
    return "places" if kind in ("grow_old", "grow_new", "lie", "lie_two", "hide") else "intention"


def told_skill(slot: str, opened: bool) -> str:
    """The skill of a word that is uncertain above all because it tells which event happens.

    How many fruit are picked or eaten is such a choice, so a number that is uncertain is no matter of counting.

    Args:
        slot: the skill of its slot; ``"wording"`` for words of the pattern.
        opened: whether the introduction is over. How stories begin is a matter of wording.
    """
    if slot not in ("wording", "coreference", "counting"):
        return slot
    return "intention" if opened else "wording"
