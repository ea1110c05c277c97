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
    "seek": [
        (2, "{p} went to the {t:at} because {p:he} wanted the {t:noun} ."),
        (1, "{p} went to look for the {t:noun} {t:in} the {t:at} ."),
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

RICH_PATTERNS: dict[str, list[tuple[int, str]]] = {
    "profile": [
        (2, "{p} was {job:art} {job:noun} from {town:name} ."),
        (1, "{p} came from {town:name} and worked as {job:art} {job:noun} ."),
        (1, "by trade {p} was {job:art} {job:noun} , and {p:his} home town was {town:name} ."),
    ],
    "relate": [(2, "{p:name} was the {r:noun} of {q:name} ."), (1, "{q:name} knew {p:name} as {p:his} {r:noun} .")],
    "go_described": [
        (2, "the {p:job} from {p:town} {how:went} to the {h:noun} ."),
        (1, "then the {p:job} {how:went} to the {h:noun} ."),
    ],
    "dream": [
        (2, "{p} dreamed of {d:art} {d:colour} {d:noun} ."),
        (1, "once , long ago , {p} had owned {d:art} {d:colour} {d:noun} ."),
        (1, "{p} talked about {d:art} {d:colour} {d:noun} far away ."),
    ],
    "time": [(2, "soon it was {x:noun} ."), (1, "time went by , and it became {x:noun} .")],
    "ask_job": [(1, "what did {p:name} do for a living ? {p:he} was {p:job_art} {p:job} .")],
    "ask_town": [(1, "where did {p:name} come from ? {p:he} came from {p:town} .")],
    "ask_bond": [(1, "what was {p:name} to {q:name} ? {p:he} was the {b:noun} of {q:name} .")],
    "ask_hour": [(1, "what time of day was it ? it was {x:noun} .")],
    "meet_there": [(1, "once upon a time {new:art} {new:sort} called {new:name} lived {spot:prep} the {spot:noun} .")],
    "thing_there": [(1, "somebody had left {new:art} {new:colour} {new:noun} {spot:prep} the {spot:noun} .")],
    "thing_here": [(1, "somebody had left {new:art} {new:colour} {new:noun} {h:prep} the {h:noun} .")],
    "want": [(1, "all that {p:name} could think of {t:was} the {t:colour} {t:noun} .")],
    "follow": [(1, "{p} missed {q:name} and went to the {q:at} , too .")],
    "take": [
        (1, "carefully {p} lifted the {t:noun} and kept {t:them} ."),
        (1, "{p} noticed the {t:colour} {t:noun} and grabbed {t:them} ."),
    ],
    "drop": [(1, "tired of carrying {t:them} , {p} dropped the {t:noun} {p:in} the {p:at} .")],
    "give": [(1, "{p} made {q:name} a present of the {t:noun} ."), (1, "{p} passed the {t:noun} on to {q:name} .")],
    "eat": [(1, "hungry as {p:he} was , {p:name} ate {k:num} {k:fruit} and kept {left:num} .")],
    "gather": [(1, "{p} bought {k:num} {k:fruit} , which made {left:num} altogether .")],
    "noise": [(1, "not far from the {h:noun} , a {a:noun} {a:sound} in the grass .")],
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
