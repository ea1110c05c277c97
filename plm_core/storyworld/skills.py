"""Which skill each word of a story asks of a reader."""

from __future__ import annotations

SKILLS = (
    "wording", "grammar", "coreference", "places", "possession", "counting", "belief", "intention", "naming",
)  # fmt: skip
"""What a reader must be able to do to predict a word as well as possible.

- ``wording``: know the sentence patterns;
- ``grammar``: know articles, prepositions, agreement, measure words, and forms of pronouns and nouns;
- ``coreference``: know which people there are, and whom a name or a pronoun means;
- ``places``: track where people and things are;
- ``possession``: track who holds what;
- ``counting``: track how many there are;
- ``belief``: track where somebody believes a thing or a person to be;
- ``intention``: infer from the goal, the plan and the story so far what will be done, and the mood at the end;
- ``naming``: know how frequent the names of people, places and things are.
"""

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
