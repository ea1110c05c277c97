"""Further ways to tell events, for the lexicon ``full``; the notation is that of :mod:`notation`."""

from __future__ import annotations

from plm_core.storyworld.notation import Row

FULL: dict[str, list[Row]] = {
    "grow": [
        (1, "the {f:many} {h:in} the {h} were better than ever , and {t:a} {t} was lying {g:in} the {g} .",
         "{h} {h:loc} 的 {f:many} 长 得 特别 好 ， {g} {g:loc} 扔 着 一 {t:m} {t} 。"),
    ],
    "lie": [
        (1, "nobody knew who had left {t:a} {t} {g:in} the {g} .",
         "{g} {g:loc} 有 一 {t:m} {t} ， 不 知道 是 谁 留下 的 。"),
        (1, "{t:a} {t} had been lying {g:in} the {g} for days .",
         "{g} {g:loc} 有 一 {t:m} {t} ， 放 了 好 几 天 了 。"),
    ],
    "go": [
        (1, "soon {p} was {h:in} the {h} .", "不久 ， {p} 就 到 了 {h} {h:loc} 。", "another"),
        (1, "{p} thought of something and GO to the {h} .", "{p} 想起 一 件 事 ， 就 去 了 {h} 。"),
        (1, "after some thought {p} GO to the {h} .", "{p} 想 了 想 ， 去 了 {h} 。"),
    ],
    "take": [
        (1, "{p} liked the {t} and took it .",
         "{p} 很 喜欢 {t} ， 就 拿 了 起来 。", "found"),
        (1, "{p} reached for the {t} and took it .", "{p} 伸手 拿起 了 {t} 。"),
    ],
    "seek": [
        (1, "{p} wished to have the {t} and GO to the {bel} for it .",
         "{p} 想要 {t} ， 就 到 {bel} {bel:loc} 去 找 。"),
        (1, "{p} was sure that the {t} was {bel:in} the {bel} and GO there .",
         "{p} 心想 ， {t} 肯定 在 {bel} {bel:loc} ， 就 去 了 那里 。"),
    ],
    "visit": [
        (1, "{p} had something to say to {q} and GO to the {bel} .",
         "{p} 有 话 要 对 {q} 说 ， 就 去 了 {bel} 。", "others"),
        (1, "{p} GO to the {bel} to look for {q} .", "{p} 到 {bel} {bel:loc} 去 找 {q} 。"),
    ],
    "pick": [
        (1, "{p} helped {p:self} to {k} {k:fruit} .", "{p} 自己 摘 了 {k} {f:m} {f:many} 。", "first"),
        (1, "{p} put {k} more {k:fruit} into {p:his} pockets , which now held {left} .",
         "{p} 又 往 兜 里 装 了 {k} {f:m} {f:many} ， 现在 兜 里 有 {left} {f:m} 了 。", "more"),
    ],
    "beg": [
        (1, "{p} asked {q} to let {p:him} have the {t} .", "{p} 请 {q} 把 {t} 让 给 {p:him} 。", "beg_first"),
        (1, "{p} wanted to know whether {q} could spare the {t} .",
         "{p} 问 {q} 能 不 能 把 {t} 让 给 自己 。", "beg_first"),
    ],
    "ask": [
        (1, "{p} asked whether {q} had seen the {t} .",
         "{p} 想 ， {q} 也许 见 过 {t} ， 就 去 问 了 问 。", "ask_first"),
    ],
    "later": [
        (1, "{p} asked for a little patience .", "{p} 让 {q:him} 再 等 一会儿 。", "request"),
        (1, "{p} promised to think it over .", "{p} 答应 考虑 一下 。", "request"),
        (1, "but {p} was not in the mood for it .", "可是 {p} 没 什么 心情 。", "invitation"),
    ],
    "unknown": [
        (1, "{p} shook {p:his} head .", "{p} 摇 了 摇 头 。"),
        (1, "{p} knew nothing about it .", "{p} 说 自己 不 知道 。"),
    ],
    "wont": [
        (1, "{p} put a finger to {p:his} lips .", "{p} 把 手指 放 在 嘴 边 。"),
    ],
    "invite": [
        (1, "{p} praised the {h} and asked {q} along .",
         "{p} 把 {h} 夸 了 一 番 ， 请 {q} 一起 去 。", "elsewhere_first"),
    ],
    "tell": [
        (1, "{q} learned from {p} that the {t} was {bel:in} the {bel} .",
         "{q} 从 {p} 那里 得知 ， {t} 在 {bel} {bel:loc} 。"),
        (1, "{p} said that the {t} was {bel:in} the {bel} , and {q} listened .",
         "{p} 说 {t} 在 {bel} {bel:loc} ， {q} 记 在 了 心里 。"),
    ],
    "search": [
        (1, "{p} looked into every corner of the {at} , to no avail .",
         "{p} 找遍 了 {at} 的 每 个 角落 ， 还是 没 找到 。"),
        (1, "{p} found nothing of use {at:in} the {at} .", "{at} {at:loc} 没有 {p} 要 找 的 东西 。"),
    ],
    "chat": [
        (1, "{p} and {q} laughed about old times .", "{p} 和 {q} 笑 着 聊 起 了 往事 。"),
        (1, "{p} sang a song for {q} .", "{p} 给 {q} 唱 了 一 首 歌 。"),
        (1, "{p} asked how {q} was .", "{p} 问 {q} 最近 好 不 好 。"),
    ],
    "carry": [
        (1, "quick as lightning , a THIEF carried the {t} off to the {h} .",
         "转眼 间 ， 一 THIEF 就 把 {t} 带到 了 {h} {h:loc} 。"),
    ],
    "spoil": [
    ],
    "hungry": [
        (1, "{p} wished for some {f:many} .", "{p} 馋 {f:many} 了 。"),
        (1, "{p} had a craving for {f:many} .", "{p} 很 想 吃 {f:many} 。"),
    ],
    "fetch": [
        (1, "{p} GO to the {f_at} at once to pick some .", "{p} 马上 就 去 了 {f_at} 。"),
    ],
    "eat": [
        (1, "{p} could not resist {k} {k:fruit} and still had {left} .",
         "{p} 忍不住 吃 了 {k} {f:m} {f:many} ， 还 有 {left} {f:m} 。"),
    ],
    "rain": [
        (1, "a shower of rain came down .", "哗哗 地 下 起 了 一 阵 大雨 。"),
        (1, "there was thunder , and then rain .", "天上 响 起 了 雷声 ， 接着 下 起 了 雨 。"),
    ],
    "shelter": [
        (1, "{p} ran to the {h} and stayed dry there until the rain stopped .",
         "{p} 跑 进 {h} {h:loc} 躲 雨 ， 等到 雨 停 。"),
    ],
    "drop": [
        (1, "{p} left the {t} lying {at:in} the {at} .", "{p} 把 {t} 留 在 了 {at} {at:loc} 。"),
    ],
    "hand": [
        (1, "{p} passed the {t} on to {q} .", "{p} 把 {t} 交 给 了 {q} 。"),
        (1, "with a smile {p} handed {q} the {t} .", "{p} 微笑 着 把 {t} 递 给 了 {q} 。"),
    ],
    "hold": [
        (1, "{owner} had not given the {t} away .", "{owner} 一直 把 {t} 带 在 身边 。"),
    ],
    "show": [
        (1, "{p} held the {t} up for {q} to see .", "{p} 举起 {t} 给 {q} 看 。"),
    ],
    "tally": [
        (1, "there were {left} {f:many} in {p:name} 's pockets .", "{p:name} 的 兜 里 装 着 {left} {f:m} {f:many} 。"),
    ],
    "miss": [
        (1, "there was no sign of the {t} .", "那里 连 {t} 的 影子 也 没有 。"),
    ],
    "miss_person": [
        (1, "there was no sign of {q} .", "那里 连 {q} 的 影子 也 没有 。"),
    ],
    "miss_unnamed": [
        (1, "{p} sighed .", "{p} 叹 了 口 气 。"),
    ],
    "miss_held": [
        (1, "{q} showed {p} the {t} with a grin .", "{q} 笑 着 把 手里 的 {t} 给 {p} 看 。"),
    ],
    "give_up": [
        (1, "with a sigh {p} let the matter rest .", "{p} 叹 了 口 气 ， 不 再 去 想 了 。"),
    ],
    "win": [
        (1, "{q} and {p} threw dice for the {t} , and {p} won .", "{q} 和 {p} 掷 骰子 决定 {t} 归 谁 ， {p} 赢 了 。"),
    ],
    "offer": [
        (1, "{p} said that the {t} was for {q} .", "{p} 说 这 {t:m} {t} 是 给 {q} 的 。"),
    ],
    "accept": [
        (1, "{p} reached for the {t} and was glad to have it .", "{p} 接过 {t} ， 高兴 地 收下 了 。"),
    ],
    "together": [
        (1, "{q} agreed , and they laid the table {h:in} the {h} and had a feast .",
         "{q} 答应 了 ， 两 个 人 在 {h} {h:loc} 摆 好 桌子 ， 大 吃 了 一 顿 。"),
    ],
    "refuse": [
        (1, "{p} would never part with the {t} .", "{p} 说 什么 也 舍不得 把 {t} 给 人 。"),
    ],
    "decline": [
        (1, "{p} had no use for the {t} .", "{p} 用 不 着 {t} 。"),
    ],
    "deny": [
        (1, "{p} turned away without a word .", "{p} 一 句 话 也 没 说 就 转身 走开 了 。"),
    ],
    "deny_fruit": [
        (1, "{p} said that work was not for {p:him} .", "{p} 说 自己 不 想 干活 。"),
    ],
    "plan": [
        (1, "{p} woke up with a wish and kept quiet about it .",
         "{p} 一 醒 来 就 有 了 一 个 愿望 ， 但是 没有 说 出来 。"),
        (1, "nobody knew what {p} was up to that day .", "这 天 {p} 想 做 什么 ， 谁 也 猜 不 到 。"),
    ],
    "want_have": [
        (1, "{p} had set {p:his} heart on the {t} .", "{p} 一 心 想要 那 {t:m} {t} 。"),
    ],
    "want_bring": [
        (1, "it was {q} 's birthday , and {p} had chosen the {t} as a present .",
         "{q} 过 生日 ， {p} 想 把 {t} 送 给 {q:him} 。"),
    ],
    "want_meet": [
        (1, "{p} hoped that {q} would come to supper {h:in} the {h} .",
         "{p} 希望 能 和 {q} 在 {h} {h:loc} 一起 吃 晚饭 。"),
    ],
    "want_find": [
    ],
    "want_gather": [
        (1, "{n} {f:many} were what {p} wanted to pick .", "{p} 想 摘 够 {n} {f:m} {f:many} 。"),
    ],
    "end": [
        (1, "when it grew dark , {p} was {m} .", "天 黑 的 时候 ， {p} 很 {m} 。"),
        (1, "at the end of the day , {p} was truly {m} .", "这 一天 结束 的 时候 ， {p} 十分 {m} 。"),
    ],
    "end_grateful": [
        (1, "when it grew dark , {p} was {m} and felt warm inside .",
         "天 黑 的 时候 ， {p} 很 {m} ， 心里 暖暖 的 。"),
        (1, "at the end of the day , {p} was truly {m} and felt warm inside .",
         "这 一天 结束 的 时候 ， {p} 十分 {m} ， 心里 暖暖 的 。"),
    ],
}  # fmt: skip
