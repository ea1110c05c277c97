"""How the introduction, the goal and the end of a story are told; the notation is that of :mod:`notation`."""

from __future__ import annotations

from plm_core.storyworld.notation import Row

INTRODUCTION: dict[str, list[Row]] = {
    "grow": [
        (3, "{f:many} grew {h:in} the {h} , and {t:a} {t} lay {g:in} the {g} .",
         "{h} {h:loc} 长 着 {f:many} ， {g} {g:loc} 放 着 一 {t:m} {t} 。"),
        (1, "there were ripe {f:many} {h:in} the {h} , and somebody had left {t:a} {t} {g:in} the {g} .",
         "{h} {h:loc} 的 {f:many} 熟 了 ， 不 知 谁 把 一 {t:m} {t} 忘 在 了 {g} {g:loc} 。"),
        (1, "{f:many} were ripe {h:in} the {h} , and {t:a} {t} had been forgotten {g:in} the {g} .",
         "{h} {h:loc} 的 {f:many} 都 熟透 了 ， {g} {g:loc} 有 人 落下 了 一 {t:m} {t} 。"),
    ],
    "lie": [
        (3, "there was {t:a} {t} {g:in} the {g} .", "{g} {g:loc} 有 一 {t:m} {t} 。", "bare"),
        (3, "there was also {t:a} {t} {g:in} the {g} .", "{g} {g:loc} 还 有 一 {t:m} {t} 。", "furnished"),
        (1, "somebody had put {t:a} {t} {g:in} the {g} .", "有 人 在 {g} {g:loc} 放 了 一 {t:m} {t} 。"),
    ],
    "lie_two": [
        (3, "there was {t:a} {t} {g:in} the {g} , and {u:a} {u} {h:in} the {h} .",
         "{g} {g:loc} 有 一 {t:m} {t} ， {h} {h:loc} 有 一 {u:m} {u} 。", "both_bare"),
        (3, "somebody had put {t:a} {t} {g:in} the {g} and {u:a} {u} {h:in} the {h} .",
         "有 人 在 {g} {g:loc} 放 了 一 {t:m} {t} ， 在 {h} {h:loc} 放 了 一 {u:m} {u} 。", "one_furnished"),
        (1, "people had seen {t:a} {t} {g:in} the {g} and {u:a} {u} {h:in} the {h} .",
         "有 人 在 {g} {g:loc} 见 过 一 {t:m} {t} ， 在 {h} {h:loc} 见 过 一 {u:m} {u} 。"),
    ],
    "hide": [
        (1, "there was {t:a} {t} {g:in} the {g} , and only {q} knew where {s:a} {s} was hidden : {h:in} the {h} .",
         "{g} {g:loc} 有 一 {t:m} {t} ， 还 有 一 {s:m} {s} 藏 在 {h} {h:loc} ， 只有 {q} 知道 。", "bare"),
        (1, "there was also {t:a} {t} {g:in} the {g} , and only {q} knew where {s:a} {s} was hidden :"
            " {h:in} the {h} .",
         "{g} {g:loc} 还 有 一 {t:m} {t} ， {h} {h:loc} 藏 着 一 {s:m} {s} ， 这 件 事 只有 {q} 知道 。", "furnished"),
        (2, "somebody had left {t:a} {t} {g:in} the {g} , and {q} had secretly hidden {s:a} {s} {h:in} the {h} .",
         "有 人 在 {g} {g:loc} 落下 了 一 {t:m} {t} ， {q} 则 偷偷 把 一 {s:m} {s} 藏 在 了 {h} {h:loc} 。"),
        (1, "everybody had seen {t:a} {t} {g:in} the {g} , but only {q} knew where {s:a} {s} was hidden :"
            " {h:in} the {h} .",
         "大家 都 知道 {g} {g:loc} 有 一 {t:m} {t} ， 可是 只有 {q} 知道 {h} {h:loc} 藏 着 一 {s:m} {s} 。"),
    ],
}  # fmt: skip

GOALS: dict[str, list[Row]] = {
    "want_have": [
        (2, "{p} wanted to have the {t} .", "{p} 想要 那 {t:m} {t} 。"),
        (1, "more than anything , {p} wished for the {t} .", "{p} 最 想要 的 就 是 那 {t:m} {t} 。"),
        (1, "{p} could not stop thinking of the {t} .", "{p} 一直 惦记 着 那 {t:m} {t} 。"),
    ],
    "want_bring": [
        (2, "{p} wanted to bring the {t} to {q} .", "{p} 想 把 {t} 拿 给 {q} 。"),
        (1, "{p} had promised to bring {q} the {t} .", "{p} 答应 过 要 把 {t} 带 给 {q} 。"),
    ],
    "want_meet": [
        (2, "{p} wanted to have supper with {q} {h:in} the {h} .", "{p} 想 和 {q} 一起 在 {h} {h:loc} 吃 晚饭 。"),
        (1, "{p} dreamed of a supper {h:in} the {h} with {q} .",
         "{p} 盼 着 和 {q} 在 {h} {h:loc} 好好 吃 一 顿 晚饭 。"),
    ],
    "want_find": [
        (2, "{p} wanted to find out where the {s} was hidden .", "{p} 想 弄清楚 那 {s:m} {s} 藏 在 哪里 。"),
        (1, "{p} had heard of the {s} and wanted to know where it was .",
         "{p} 听说 了 那 {s:m} {s} 的 事 ， 很 想 知道 藏 在 哪里 。"),
    ],
    "want_gather": [
        (2, "{p} wanted to collect {n} {f:many} .", "{p} 想 摘 {n} {f:m} {f:many} 。"),
        (1, "{p} needed {n} {f:many} for a cake .", "{p} 要 做 蛋糕 ， 需要 {n} {f:m} {f:many} 。"),
        (1, "{p} had to get {n} {f:many} .", "{p} 得 弄到 {n} {f:m} {f:many} 。"),
    ],
    "plan": [
        (2, "{p} had a plan for the day , but told nobody about it .",
         "这 天 {p} 有 个 打算 ， 谁 也 没 告诉 。"),
        (1, "{p} had something in mind that day .", "这 天 {p} 心里 想 着 一 件 事 。"),
        (1, "{p} kept a wish to {p:self} .", "{p} 心里 藏 着 一 个 愿望 。"),
    ],
    "reveal_have": [
        (1, "all day long , {p} had wanted to have the {t} .", "原来 ， {p} 一直 想要 的 就 是 那 {t:m} {t} 。"),
    ],
    "reveal_bring": [
        (1, "all day long , {p} had wanted to bring the {t} to {q} .", "原来 ， {p} 一直 想 把 {t} 拿 给 {q} 。"),
    ],
    "reveal_meet": [
        (1, "all day long , {p} had wanted to have supper with {q} {h:in} the {h} .",
         "原来 ， {p} 一直 想 和 {q} 一起 在 {h} {h:loc} 吃 晚饭 。"),
    ],
    "reveal_find": [
        (1, "all day long , {p} had wanted to find out where the {s} was hidden .",
         "原来 ， {p} 一直 想 弄清楚 那 {s:m} {s} 藏 在 哪里 。"),
    ],
    "reveal_gather": [
        (1, "all day long , {p} had wanted to collect {n} {f:many} .", "原来 ， {p} 一直 想 摘 {n} {f:m} {f:many} 。"),
    ],
    "end": [
        (3, "in the end , {p} was {m} .", "最后 ， {p} 很 {m} 。"),
        (1, "that evening , {p} felt {m} .", "那天 晚上 ， {p} 非常 {m} 。"),
        (1, "as the sun went down , {p} was {m} .", "太阳 下 山 的 时候 ， {p} 很 {m} 。"),
    ],
    "end_grateful": [
        (3, "in the end , {p} was {m} and felt warm inside .", "最后 ， {p} 很 {m} ， 心里 暖暖 的 。"),
        (1, "that evening , {p} was {m} and felt warm inside .", "那天 晚上 ， {p} 非常 {m} ， 心里 暖暖 的 。"),
        (1, "as the sun went down , {p} was {m} and felt warm inside .",
         "太阳 下 山 的 时候 ， {p} 很 {m} ， 心里 暖暖 的 。"),
    ],
}  # fmt: skip
