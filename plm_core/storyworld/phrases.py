"""Statements and questions about stories, in English and Chinese: what the tasks add to the stories themselves."""

from __future__ import annotations

from plm_core.storyworld.state import Goal, State

_TEMPLATES = {
    "where_thing": ("where is the {t} ?", "{t} 在 哪里 ？"),
    "where_person": ("where is {p} ?", "{p} 在 哪里 ？"),
    "who_has": ("who has the {t} ?", "{t} 在 谁 手里 ？"),
    "how_many": ("how many {f} does {p} have ?", "{p} 有 几 {fm} {f} ？"),
    "belief": ("where does {p} think the {t} is ?", "{p} 觉得 {t} 在 哪里 ？"),
    "why": ("why did {p} go to the {h} ?", "{p} 为什么 去 了 {h} ？"),
    "because_thing": ("to get the {t}", "为了 拿 {t}"),
    "because_person": ("to see {p}", "为了 找 {p}"),
    "because_secret": ("to look for the {t}", "为了 找 {t}"),
    "because_fruit": ("to pick {f}", "为了 摘 {f}"),
    "because_nothing": ("for no special reason", "没 什么 特别 的 原因"),
    "has": ("{p} has the {t} .", "{t} 在 {p} 手里 。"),
    "is_at": ("{p} is {in} the {h} .", "{p} 在 {h} {loc} 。"),
    "lies": ("the {t} is {in} the {h} .", "{t} 在 {h} {loc} 。"),
    "believes": ("{p} thinks that the {t} is {in} the {h} .", "{p} 觉得 {t} 在 {h} {loc} 。"),
    "want_have": ("{p} wants to have the {t} .", "{p} 想要 {t} 。"),
    "want_bring": ("{p} wants to bring the {t} to {q} .", "{p} 想 把 {t} 拿 给 {q} 。"),
    "want_meet": ("{p} wants to have supper with {q} {in} the {h} .", "{p} 想 和 {q} 一起 在 {h} {loc} 吃 晚饭 。"),
    "want_find": ("{p} wants to find the {t} .", "{p} 想 找到 {t} 。"),
    "want_gather": ("{p} wants to collect {n} {f} .", "{p} 想 攒 {n} {fm} {f} 。"),
    "proud": ("{goal} , and did it alone .", "{goal} ， 靠 自己 办到 了 。"),
    "grateful": ("{goal} , and did it with help .", "{goal} ， 在 别人 的 帮助 下 办到 了 。"),
    "sad": ("{goal} , but gave up .", "{goal} ， 但是 放弃 了 。"),
    "angry": ("{goal} , but was refused .", "{goal} ， 但是 被 拒绝 了 。"),
}  # fmt: skip


class Phrases:
    """Says statements and questions about a state.

    Args:
        language: ``"en"`` or ``"zh"``.
        numbers: the words of the numbers in the language, from 0.
    """

    def __init__(self, language: str, numbers: list[str]):
        self.language, self._numbers = language, numbers

    def say(self, name: str, state: State, **slots: int) -> list[str]:
        """The words of a template.

        Args:
            name: the name of the template.
            state: the state that numbers people (``p``, ``q``), things (``t``) and places (``h``).
            slots: these numbers, and ``n``, a count.
        """
        language = self.language
        said: dict[str, str] = {"f": "", "fm": ""}
        if state.fruit is not None:
            fruit = state.fruit.forms[language]
            said |= {"f": fruit["many" if language == "en" else "noun"], "fm": fruit.get("m", "")}
        for slot, number in slots.items():
            if slot in "pq":
                said[slot] = state.people[number].forms[language]["name"]
            elif slot == "t":
                said[slot] = state.things[number].forms[language]["noun"]
            elif slot == "h":
                place = state.places[number].forms[language]
                said |= {"h": place["noun"], "in": place.get("in", ""), "loc": place.get("loc", "")}
            else:
                said[slot] = self._numbers[number]
        return _TEMPLATES[name][0 if language == "en" else 1].format(**said).split()

    def number(self, count: int) -> str:
        """The word of a number; 0 is "none" or "没有"."""
        return self._numbers[count] or ("none" if self.language == "en" else "没有")

    def wish(self, state: State, goal: Goal, past: bool = False) -> list[str]:
        """The sentence that says what the protagonist wants (or, in a summary, wanted)."""
        kind, *args = goal
        slots = {
            "have": lambda: {"t": args[0]}, "bring": lambda: {"t": args[0], "q": args[1]},
            "meet": lambda: {"q": args[0], "h": args[1]}, "find": lambda: {"t": state.secret},
            "gather": lambda: {"n": args[0]},
        }[kind]()  # fmt: skip
        words = self.say("want_" + kind, state, p=0, **slots)
        return ["wanted" if past and word == "wants" else word for word in words]

    def summary(self, state: State, goal: Goal, mood: str) -> list[str]:
        """One sentence: the plan and its outcome."""
        wish = " ".join(self.wish(state, goal, past=True)[:-1])
        return _TEMPLATES[mood][0 if self.language == "en" else 1].format(goal=wish).split()

    def vocabulary(self) -> set[str]:
        """The words of the templates themselves."""
        column = 0 if self.language == "en" else 1
        words = {word for row in _TEMPLATES.values() for word in row[column].split() if "{" not in word}
        return words | ({"wanted", "none"} if self.language == "en" else {"没有"})
