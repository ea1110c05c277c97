"""English: the patterns by which each kind of event is told, and the way from words to text and back.

A pattern is a weight and a line of words. ``{slot:form}`` is one word: a form of the entry in that slot. ``{p}`` alone
is the subject: the name, or, where :meth:`State.may_say_pronoun` allows it, with double weight the pronoun.
"""

from __future__ import annotations

import re
from collections.abc import Collection

FULL_STOP = "."

_WENT = [
    (3, "{p} {how:went} to the {PLACE} ."),
    (1, "{p} left the {p:at} and {how:went} to the {PLACE} ."),
    (1, "from the {p:at} , {p} {how:went} to the {PLACE} ."),
]
_NEAR = ["", " near the {f1:noun}", " near the {f1:noun} by the {f2:noun}"]
_NEAR += [_NEAR[2] + " behind the {f3:noun}"]

PATTERNS: dict[str, list[tuple[int, str]]] = {
    "meet_there": [
        (2, "{new:art} {new:sort} called {new:name} was {spot:prep} the {spot:noun} ."),
        (1, "{spot:prep} the {spot:noun} there was {new:art} {new:sort} called {new:name} ."),
    ],
    "meet_here": [
        (2, "{new:art} {new:sort} called {new:name} was {h:prep} the {h:noun} , too ."),
        (1, "{new:art} {new:sort} , {new:name} , was also {h:prep} the {h:noun} ."),
    ],
    "thing_there": [
        (2, "{new:art} {new:colour} {new:noun} lay {spot:prep} the {spot:noun} ."),
        (1, "{spot:prep} the {spot:noun} there {new:was} {new:art} {new:colour} {new:noun} ."),
    ],
    "thing_here": [
        (2, "{new:art} {new:colour} {new:noun} lay {h:prep} the {h:noun} ."),
        (1, "{h:prep} the {h:noun} there {new:was} {new:art} {new:colour} {new:noun} ."),
    ],
    "want": [
        (2, "{p:name} wanted the {t:colour} {t:noun} ."),
        (1, "more than anything , {p:name} wished for the {t:colour} {t:noun} ."),
    ],
    "store": [(2, "{p:name} had {n:num} {fruit:many} ."), (1, "{p:name} carried {n:num} {fruit:many} in a bag .")],
    "go": [(weight, line.replace("PLACE", "h:noun")) for weight, line in _WENT],
    "explore": [(weight, line.replace("PLACE", "spot:noun")) for weight, line in _WENT],
    "follow": [
        (2, "{p} followed {q:name} to the {q:at} ."),
        (1, "{p} went to see {q:name} {q:in} the {q:at} ."),
    ],
    "take": [
        (2, "{p} picked up the {t:noun} ."),
        (1, "{p} took the {t:colour} {t:noun} ."),
        (1, "{p:in} the {p:at} , {p} took the {t:noun} ."),
    ],
    "drop": [
        (2, "{p} put the {t:noun} down {p:in} the {p:at} ."),
        (1, "{p} left the {t:colour} {t:noun} {p:in} the {p:at} ."),
    ],
    "give": [(2, "{p} gave the {t:noun} to {q:name} ."), (1, "{p} handed {q:name} the {t:colour} {t:noun} .")],
    "eat": [
        (2, "{p} ate {k:num} {k:fruit} , so now {p:he} had {left:num} ."),
        (1, "{p} ate {k:num} of the {p:fruits} and had {left:num} left ."),
    ],
    "gather": [
        (2, "{p} found {k:num} more {k:fruit} , so now {p:he} had {left:num} ."),
        (1, "{p:in} the {p:at} , {p} found {k:num} more {k:fruit} and then had {left:num} ."),
    ],
    **{f"describe_{n}": [(1, "the {t:noun}" + _NEAR[n] + " {t:was} {quality:adj} .")] for n in range(4)},
    **{f"remark_{n}": [(1, "the {t:noun}" + _NEAR[n] + " {t:was} still {t:quality} .")] for n in range(4)},
    "noise": [(2, "a {a:noun} {a:sound} near the {h:noun} ."), (1, "near the {h:noun} , a {a:noun} {a:sound} .")],
    "brighten": [(1, "then came the {w:noun} .")],
    "darken": [(1, "then came the {w:noun} .")],
    "feel_given": [
        (2, "{p} was {m:adj} because {q:name} had given {p:him} the {t:noun} ."),
        (1, "because of the {t:noun} from {q:name} , {p} was {m:adj} ."),
    ],
    "feel_taken": [
        (2, "{p} was {m:adj} because {q:name} had taken the {t:noun} ."),
        (1, "now that {q:name} had the {t:noun} , {p} was {m:adj} ."),
    ],
    "feel_bright": [(1, "the {s:weather} made {p:name} {m:adj} .")],
    "feel_dark": [(1, "the {s:weather} made {p:name} {m:adj} .")],
    "ask_lying": [(1, "where {t:was} the {t:colour} {t:noun} ? {t:it} {t:was} {t:in} the {t:at} .")],
    "ask_held": [(1, "where {t:was} the {t:colour} {t:noun} ? {t:holder} had {t:them} {t:in} the {t:at} .")],
    "ask_colour": [(1, "what colour {t:was} the {t:noun} ? {t:it} {t:was} {t:colour} .")],
    "ask_person": [(1, "where was {p:name} ? {p:he} was {p:in} the {p:at} .")],
    "ask_count": [(1, "how many {p:fruits} did {p:name} have ? {p:he} had {p:num} .")],
    "ask_mood": [(1, "how was {p:name} ? {p:he} was {p:mood} .")],
    "ask_wish": [(1, "what did {p:name} want ? {p:he} wanted the {t:colour} {t:noun} .")],
    "close_glad": [
        (2, "in the end , {p:name} was {m:adj} because {p:he} had the {t:colour} {t:noun} ."),
        (1, "at last {p:he} had the {t:colour} {t:noun} , and {p:name} was {m:adj} ."),
    ],
    "close_angry": [
        (2, "in the end , {p:name} was {m:adj} because {q:name} had the {t:colour} {t:noun} ."),
        (1, "at last {q:name} had the {t:colour} {t:noun} , and {p:name} was {m:adj} ."),
    ],
    "close_sad": [
        (2, "in the end , {p:name} was {m:adj} because nobody had the {t:colour} {t:noun} ."),
        (1, "at last nobody had the {t:colour} {t:noun} , and {p:name} was {m:adj} ."),
    ],
}


def write(sentences: list[list[str]], names: frozenset[str]) -> str:
    """Words to text: capitals at the start of sentences and names, no space before a mark of punctuation."""
    out: list[str] = []
    for sentence in sentences:
        start = True
        for word in sentence:
            if word in {".", ",", "?"}:
                out.append(word)
            else:
                shown = word.capitalize() if start or word in names else word
                out.append(" " + shown if out else shown)
            start = word in {".", "?"}
    return "".join(out)


def split(text: str, vocabulary: Collection[str]) -> list[str]:
    """Text to words: the inverse of :func:`write`, without the division into sentences."""
    return re.findall(r"[a-z'-]+|[^a-z'\s-]", text.lower())
