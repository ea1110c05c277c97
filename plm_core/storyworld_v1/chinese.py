"""Chinese: the patterns by which each kind of event is told, and the way from words to text and back.

The notation is that of :mod:`plm_core.storyworld_v1.english`. Text has no spaces; the longest word of the vocabulary
that fits is always the one meant, so text splits in one way only.
"""

from __future__ import annotations

from collections.abc import Collection

FULL_STOP = "。"

_WENT = [
    (3, "{p} {how:go} 到 了 {PLACE} 。"),
    (1, "{p} 离开 {p:at} ， {how:go} 到 了 {PLACE} 。"),
    (1, "{p} 从 {p:at} {how:go} 到 了 {PLACE} 。"),
]
_NEAR = ["", "{f1:that} {f1:noun} 旁边 的 ", "{f2:that} {f2:noun} 边上 的 {f1:that} {f1:noun} 旁边 的 "]
_NEAR += ["{f3:that} {f3:noun} 前面 的 " + _NEAR[2]]

PATTERNS: dict[str, list[tuple[int, str]]] = {
    "meet_there": [
        (2, "{spot:noun} {spot:loc} 有 一 个 叫 {new:name} 的 {new:sort} 。"),
        (1, "有 一 个 叫 {new:name} 的 {new:sort} 在 {spot:noun} {spot:loc} 。"),
    ],
    "meet_here": [
        (2, "{h:noun} {h:loc} 还 有 一 个 叫 {new:name} 的 {new:sort} 。"),
        (1, "也 在 {h:noun} {h:loc} 的 是 {new:sort} {new:name} 。"),
    ],
    "thing_there": [
        (2, "{spot:noun} {spot:loc} 放 着 {new:art} {new:measure} {new:colour} 的 {new:noun} 。"),
        (1, "有 {new:art} {new:measure} {new:colour} 的 {new:noun} 放 在 {spot:noun} {spot:loc} 。"),
    ],
    "thing_here": [
        (2, "{h:noun} {h:loc} 放 着 {new:art} {new:measure} {new:colour} 的 {new:noun} 。"),
        (1, "有 {new:art} {new:measure} {new:colour} 的 {new:noun} 放 在 {h:noun} {h:loc} 。"),
    ],
    "want": [
        (2, "{p:name} 想要 {t:colour} 的 {t:noun} 。"),
        (1, "{p:name} 最 想要 的 是 {t:colour} 的 {t:noun} 。"),
    ],
    "store": [
        (2, "{p:name} 有 {n:num} {fruit:measure} {fruit:noun} 。"),
        (1, "{p:name} 的 袋子 里 有 {n:num} {fruit:measure} {fruit:noun} 。"),
    ],
    "go": [(weight, line.replace("PLACE", "h:noun")) for weight, line in _WENT],
    "explore": [(weight, line.replace("PLACE", "spot:noun")) for weight, line in _WENT],
    "follow": [(2, "{p} 跟着 {q:name} 到 了 {q:at} 。"), (1, "{p} 去 {q:at} 看 {q:name} 。")],
    "seek": [
        (2, "因为 {p:he} 想要 {t:noun} ， {p} 去 了 {t:at} 。"),
        (1, "{p} 到 {t:at} {t:in} 去 找 {t:noun} 。"),
    ],
    "take": [
        (2, "{p} 拿起 了 {t:noun} 。"),
        (1, "{p} 拿走 了 {t:colour} 的 {t:noun} 。"),
        (1, "在 {p:at} {p:in} ， {p} 拿起 了 {t:noun} 。"),
    ],
    "drop": [
        (2, "{p} 把 {t:noun} 放 在 {p:at} {p:in} 。"),
        (1, "{p} 把 {t:colour} 的 {t:noun} 留 在 {p:at} {p:in} 。"),
    ],
    "give": [(2, "{p} 把 {t:noun} 给 了 {q:name} 。"), (1, "{p} 递 给 {q:name} {t:colour} 的 {t:noun} 。")],
    "eat": [
        (2, "{p} 吃 了 {k:num} {k:measure} {k:noun} ， 现在 {p:he} 有 {left:num} {left:measure} 。"),
        (1, "{p} 吃 掉 {k:num} {k:measure} {k:noun} ， 还 剩 {left:num} {left:measure} 。"),
    ],
    "gather": [
        (2, "{p} 又 找到 了 {k:num} {k:measure} {k:noun} ， 现在 {p:he} 有 {left:num} {left:measure} 。"),
        (1, "在 {p:at} {p:in} ， {p} 又 找到 {k:num} {k:measure} {k:noun} ， 一共 有 {left:num} {left:measure} 。"),
    ],
    **{f"describe_{n}": [(1, _NEAR[n] + "{t:noun} 很 {quality:adj} 。")] for n in range(4)},
    **{f"remark_{n}": [(1, _NEAR[n] + "{t:noun} 还是 很 {t:quality} 。")] for n in range(4)},
    "noise": [
        (2, "一 {a:measure} {a:noun} 在 {h:noun} 附近 {a:sound} 。"),
        (1, "{h:noun} 附近 ， 一 {a:measure} {a:noun} {a:sound} 。"),
    ],
    "brighten": [(1, "这时 有 了 {w:noun} 。")],
    "darken": [(1, "这时 有 了 {w:noun} 。")],
    "feel_given": [
        (2, "因为 {q:name} 给 了 {p:him} {t:noun} ， {p} 很 {m:adj} 。"),
        (1, "{p} 很 {m:adj} ， 因为 得到 了 {q:name} 的 {t:noun} 。"),
    ],
    "feel_taken": [
        (2, "因为 {q:name} 拿走 了 {t:noun} ， {p} 很 {m:adj} 。"),
        (1, "{p} 很 {m:adj} ， 因为 {t:noun} 在 {q:name} 手里 。"),
    ],
    "feel_bright": [(1, "{s:weather} 让 {p:name} 很 {m:adj} 。")],
    "feel_dark": [(1, "{s:weather} 让 {p:name} 很 {m:adj} 。")],
    "ask_lying": [(1, "{t:colour} 的 {t:noun} 在 哪里 ？ 在 {t:at} {t:in} 。")],
    "ask_held": [(1, "{t:colour} 的 {t:noun} 在 哪里 ？ 在 {t:holder} 手里 ， 在 {t:at} {t:in} 。")],
    "ask_colour": [(1, "{t:noun} 是 什么 颜色 ？ 是 {t:colour} 。")],
    "ask_person": [(1, "{p:name} 在 哪里 ？ {p:he} 在 {p:at} {p:in} 。")],
    "ask_count": [(1, "{p:name} 有 几 {p:measure} {p:fruits} ？ {p:he} 有 {p:num} {p:measure} 。")],
    "ask_mood": [(1, "{p:name} 心情 怎么样 ？ {p:he} 很 {p:mood} 。")],
    "ask_wish": [(1, "{p:name} 想要 什么 ？ {p:he} 想要 {t:colour} 的 {t:noun} 。")],
    "close_glad": [
        (2, "最后 {p:name} 很 {m:adj} ， 因为 {p:he} 有 {t:colour} 的 {t:noun} 。"),
        (1, "结果 {p:he} 有 了 {t:colour} 的 {t:noun} ， {p:name} 很 {m:adj} 。"),
    ],
    "close_angry": [
        (2, "最后 {p:name} 很 {m:adj} ， 因为 {q:name} 有 {t:colour} 的 {t:noun} 。"),
        (1, "结果 {q:name} 有 了 {t:colour} 的 {t:noun} ， {p:name} 很 {m:adj} 。"),
    ],
    "close_sad": [
        (2, "最后 {p:name} 很 {m:adj} ， 因为 没有 人 有 {t:colour} 的 {t:noun} 。"),
        (1, "结果 没有 人 有 {t:colour} 的 {t:noun} ， {p:name} 很 {m:adj} 。"),
    ],
}

RICH_PATTERNS: dict[str, list[tuple[int, str]]] = {
    "profile": [
        (2, "{p} 是 来自 {town:name} 的 {job:noun} 。"),
        (1, "{p} 来自 {town:name} ， 职业 是 {job:noun} 。"),
        (1, "{p} 靠 当 {job:noun} 为生 ， {p:his} 的 家乡 是 {town:name} 。"),
    ],
    "relate": [(2, "{p:name} 是 {q:name} 的 {r:noun} 。"), (1, "{q:name} 把 {p:name} 看作 {r:noun} 。")],
    "go_described": [
        (2, "来自 {p:town} 的 {p:job} {how:go} 到 了 {h:noun} 。"),
        (1, "然后 那 位 {p:job} {how:go} 到 了 {h:noun} 。"),
    ],
    "dream": [
        (2, "{p} 梦见 了 {d:art} {d:measure} {d:colour} 的 {d:noun} 。"),
        (1, "很久 以前 ， {p} 有 过 {d:art} {d:measure} {d:colour} 的 {d:noun} 。"),
        (1, "{p} 谈起 远方 的 {d:art} {d:measure} {d:colour} 的 {d:noun} 。"),
    ],
    "time": [(2, "不久 就 到 了 {x:noun} 。"), (1, "时间 过去 了 ， 到 了 {x:noun} 。")],
    "ask_job": [(1, "{p:name} 做 什么 工作 ？ {p:he} 是 {p:job} 。")],
    "ask_town": [(1, "{p:name} 来自 哪里 ？ {p:he} 来自 {p:town} 。")],
    "ask_bond": [(1, "{p:name} 是 {q:name} 的 什么 人 ？ {p:he} 是 {q:name} 的 {b:noun} 。")],
    "ask_hour": [(1, "这时 是 什么 时候 ？ 是 {x:noun} 。")],
    "meet_there": [(1, "从前 ， {spot:noun} {spot:loc} 住 着 一 个 叫 {new:name} 的 {new:sort} 。")],
    "thing_there": [(1, "有 人 把 {new:art} {new:measure} {new:colour} 的 {new:noun} 忘 在 {spot:noun} {spot:loc} 。")],
    "thing_here": [(1, "有 人 把 {new:art} {new:measure} {new:colour} 的 {new:noun} 忘 在 {h:noun} {h:loc} 。")],
    "want": [(1, "{p:name} 心里 想 的 都 是 {t:colour} 的 {t:noun} 。")],
    "follow": [(1, "{p} 想念 {q:name} ， 也 去 了 {q:at} 。")],
    "take": [
        (1, "{p} 小心 地 捡起 {t:noun} 带 在 身上 。"),
        (1, "{p} 看见 {t:colour} 的 {t:noun} ， 连忙 抓住 。"),
    ],
    "drop": [(1, "{p} 拿 累 了 ， 把 {t:noun} 丢 在 {p:at} {p:in} 。")],
    "give": [(1, "{p} 把 {t:noun} 送 给 {q:name} 当 礼物 。"), (1, "{p} 把 {t:noun} 转交 给 {q:name} 。")],
    "eat": [(1, "{p:name} 饿 了 ， 吃 了 {k:num} {k:measure} {k:noun} ， 留下 {left:num} {left:measure} 。")],
    "gather": [(1, "{p} 买 了 {k:num} {k:measure} {k:noun} ， 加 起来 有 {left:num} {left:measure} 。")],
    "noise": [(1, "离 {h:noun} 不远 的 草丛 里 ， 一 {a:measure} {a:noun} {a:sound} 。")],
}


def write(sentences: list[list[str]], names: frozenset[str]) -> str:
    """Words to text: simply joined."""
    return "".join(word for sentence in sentences for word in sentence)


def split(text: str, vocabulary: Collection[str]) -> list[str]:
    """Text to words: always the longest word of the vocabulary that fits; what fits nowhere stands alone."""
    longest = max(map(len, vocabulary))
    words, start = [], 0
    while start < len(text):
        end = min(start + longest, len(text))
        while end > start + 1 and text[start:end] not in vocabulary:
            end -= 1
        words.append(text[start:end])
        start = end
    return words
