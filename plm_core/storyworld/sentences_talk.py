"""How requests, answers and help are told; the notation is that of :mod:`notation`."""

from __future__ import annotations

from plm_core.storyworld.notation import Row

TALK: dict[str, list[Row]] = {
    "ask": [
        (2, "{p} asked {q} where the {t} was .", "{p} 问 {q} ， {t} 在 哪里 。", "ask_first"),
        (1, "{p} asked {q} about the {t} .", "{p} 向 {q} 打听 {t} 的 下落 。", "ask_first"),
        (1, "{p} wondered where the {t} was and asked {q} .",
         "{p} 不 知道 {t} 在 哪里 ， 就 去 问 {q} 。", "ask_first"),
        (2, "{p} asked {q} once more where the {t} was .", "{p} 又 问 {q} ， {t} 在 哪里 。", "ask_again"),
        (2, "{p} asked {q} about the {t} again .", "{p} 再次 向 {q} 打听 {t} 的 下落 。", "ask_again"),
    ],
    "ask_person": [
        (2, "{p} asked {q} where {r} was .", "{p} 问 {q} ， {r} 在 哪里 。", "ask_person_first"),
        (1, "{p} asked {q} about {r} .", "{p} 向 {q} 打听 {r} 的 去向 。", "ask_person_first"),
        (2, "{p} asked {q} once more where {r} was .", "{p} 又 问 {q} ， {r} 在 哪里 。", "ask_person_again"),
    ],
    "beg": [
        (2, "{p} asked {q} for the {t} .", "{p} 向 {q} 要 {t} 。", "beg_first"),
        (1, "{p} begged {q} to give {p:him} the {t} .", "{p} 求 {q} 把 {t} 给 {p:him} 。", "beg_first"),
        (1, "{p} asked whether {q} would part with the {t} .",
         "{p} 问 {q} 肯 不 肯 把 {t} 让 给 {p:him} 。", "beg_first"),
        (2, "{p} asked {q} for the {t} once more .", "{p} 又 向 {q} 要 {t} 。", "beg_again"),
        (2, "{p} begged {q} again to give {p:him} the {t} .", "{p} 再次 求 {q} 把 {t} 给 {p:him} 。", "beg_again"),
    ],
    "offer": [
        (2, "{p} offered {q} the {t} .", "{p} 拿 出 {t} ， 要 送 给 {q} 。", "offer_first"),
        (1, "{p} held out the {t} to {q} .", "{p} 把 {t} 递 到 {q} 面前 。", "offer_first"),
        (2, "{p} offered {q} the {t} again .", "{p} 又 拿 出 {t} ， 要 送 给 {q} 。", "offer_again"),
        (1, "once more {p} held out the {t} to {q} .", "{p} 再次 把 {t} 递 到 {q} 面前 。", "offer_again"),
    ],
    "invite": [
        (2, "{p} asked {q} to come along to the {h} .", "{p} 请 {q} 一起 去 {h} 。", "elsewhere_first"),
        (1, "{p} invited {q} to the {h} .", "{p} 邀请 {q} 去 {h} 。", "elsewhere_first"),
        (1, "{p} asked {q} to stay for supper .", "{p} 请 {q} 留下 来 吃 晚饭 。", "there_first"),
        (2, "{p} asked {q} once more to come along to the {h} .", "{p} 又 请 {q} 一起 去 {h} 。", "elsewhere_again"),
        (1, "{p} invited {q} to the {h} again .", "{p} 再次 邀请 {q} 去 {h} 。", "elsewhere_again"),
        (1, "this time {p} asked {q} to stay for supper .", "这回 {p} 请 {q} 留下 来 吃 晚饭 。", "there_again"),
    ],
    "ask_fruit": [
        (1, "the rest hung too high , so {p} asked {q} to help with the {f:many} .",
         "剩下 的 {f:many} 太 高 ， {p} 够 不 着 ， 就 请 {q} 帮忙 。", "more"),
        (1, "the {f:many} hung too high for {p:name} , so {p:he} asked {q} for help .",
         "{f:many} 长 得 太 高 ， {p} 够 不 着 ， 就 请 {q} 帮忙 。", "first"),
    ],
    "answer": [
        (2, "{p} said that it was {bel:in} the {bel} .", "{p} 说 就 在 {bel} {bel:loc} 。"),
        (1, "{p} told {q:him} to look {bel:in} the {bel} .", "{p} 叫 {q:him} 去 {bel} {bel:loc} 看看 。"),
    ],
    "answer_held": [
        (1, "{p} said that {holder} had it .", "{p} 说 在 {holder} 手里 。"),
    ],
    "answer_mine": [
        (1, "{p} said that {p:he} had it {p:self} .", "{p} 说 就 在 自己 手里 。"),
    ],
    "answer_person": [
        (2, "{p} said that {r} was {bel:in} the {bel} .", "{p} 说 {r} 在 {bel} {bel:loc} 。"),
        (1, "{p} told {q:him} to look {bel:in} the {bel} .", "{p} 叫 {q:him} 去 {bel} {bel:loc} 看看 。"),
    ],
    "unknown": [
        (2, "{p} did not know .", "{p} 不 知道 。"),
        (1, "but {p} had no idea .", "可是 {p} 一点 也 不 清楚 。"),
        (1, "{p} could not say .", "{p} 说 不 上来 。"),
    ],
    "wont": [
        (1, "{p} only smiled and said nothing .", "{p} 只 是 笑笑 ， 什么 也 没 说 。"),
        (1, "{p} knew it , but did not tell .", "{p} 知道 ， 却 不 肯 说 。"),
    ],
    "later": [
        (1, "{p} said that it was not a good time .", "{p} 说 现在 不行 。", "invitation"),
        (1, "{p} had no time just then .", "{p} 说 这会儿 没 空 。", "invitation"),
        (1, "{p} wanted to finish something first .", "{p} 说 手头 还 有 事 要 做 。", "invitation"),
        (1, "{p} did not want to give it away yet .", "{p} 暂时 不 肯 给 。", "wanted"),
        (1, "{p} said that {p:he} wanted it , too .", "{p} 说 自己 也 想要 。", "wanted"),
        (1, "but {p} still needed it .", "可是 {p} 自己 还 想 留 着 。", "wanted"),
        (1, "{p} did not want it yet .", "{p} 说 现在 还 不 想 要 。", "offered"),
        (1, "{p} did not want to tell {q:him} yet .", "{p} 暂时 不 肯 告诉 {q:him} 。", "question"),
        (1, "{p} smiled , but did not say anything yet .", "{p} 笑 了 笑 ， 没有 说 。", "question"),
    ],
    "later_kind": [
        (2, "{p} was friendly and asked for a little time .", "{p} 很 客气 ， 请 {q:him} 稍 等 一会儿 。", "request"),
        (1, "{p} was sorry and asked {q:him} to wait .", "{p} 抱歉 地 让 {q:him} 等 一 等 。", "request"),
        (1, "{p} was sorry , but had no time just then .", "{p} 抱歉 地 说 现在 没 空 。", "invitation"),
        (1, "{p} smiled and said that it would have to wait .", "{p} 笑 着 让 {q:him} 等 一会儿 。", "invitation"),
        (2, "{p} was sorry , but still needed it .", "{p} 抱歉 地 说 自己 还 想 留 着 。", "wanted"),
        (1, "{p} was friendly , but did not want to tell {q:him} yet .",
         "{p} 很 客气 ， 不过 暂时 不 想 说 。", "question"),
    ],
    "later_rude": [
        (2, "{p} told {q:him} to go away .", "{p} 叫 {q:him} 走开 。"),
        (1, "{p} pretended not to hear .", "{p} 假装 没 听见 。"),
        (1, "{p} took no notice of {q:him} .", "{p} 没有 理 {q:him} 。"),
    ],
    "win": [
        (1, "{q} wanted a race for it , and {p} won the {t} .",
         "{q} 说 ， 谁 跑 得 快 ， {t} 就 归 谁 ， 结果 {p} 赢 了 。"),
        (1, "{q} set a riddle , and {p} solved it and won the {t} .",
         "{q} 出 了 一 个 谜语 ， {p} 猜中 了 ， 得到 了 {t} 。"),
    ],
    "accept": [
        (2, "{p} took the {t} and thanked {q:him} .", "{p} 收下 了 {t} ， 向 {q:him} 道 了 谢 。"),
        (1, "{p} was happy to get the {t} .", "{p} 乐呵呵 地 收下 了 {t} 。"),
    ],
    "together": [
        (2, "this time {q} said yes , and they had supper together {h:in} the {h} .",
         "这回 {q} 答应 了 ， 两 个 人 一起 在 {h} {h:loc} 吃 了 晚饭 。", "repeated"),
        (2, "{q} said yes , and they had supper together {h:in} the {h} .",
         "{q} 答应 了 ， 两 个 人 一起 在 {h} {h:loc} 吃 了 晚饭 。", "at_once"),
        (1, "{q} was glad to be asked , and they had a long supper {h:in} the {h} .",
         "{q} 高兴 地 答应 了 ， 两 个 人 在 {h} {h:loc} 慢慢 吃 了 一 顿 晚饭 。", "at_once"),
        (1, "at last {q} said yes , and they had a long supper {h:in} the {h} .",
         "{q} 终于 答应 了 ， 两 个 人 在 {h} {h:loc} 慢慢 吃 了 一 顿 晚饭 。", "repeated"),
    ],
    "refuse": [
        (1, "{p} did not want to give the {t} away .", "{p} 不 肯 把 {t} 给 {q:him} 。"),
        (1, "but {p} kept the {t} and laughed at {q:him} .", "可是 {p} 抓住 {t} 不 放 ， 还 笑话 {q:him} 。"),
    ],
    "decline": [
        (1, "{p} did not want the {t} and pushed it away .", "{p} 不 要 {t} ， 把 它 推开 了 。"),
        (1, "but {p} only laughed at the {t} .", "可是 {p} 见 了 {t} 只 是 笑 ， 不 肯 收 。"),
    ],
    "stay_away": [
        (1, "{p} did not want to go to the {h} .", "{p} 不 愿意 去 {h} 。", "elsewhere"),
        (1, "{p} did not want to stay .", "{p} 不 愿意 留下 来 。", "there"),
        (1, "but {p} turned around and left {q:him} standing there .",
         "可是 {p} 没有 理 {q:him} ， 转身 走开 了 。"),
    ],
    "deny": [
        (1, "{p} told {q:him} to mind {q:his} own business .", "{p} 叫 {q:him} 别 多 管 闲事 。"),
        (1, "but {p} refused to talk to {q:him} .", "可是 {p} 不 肯 跟 {q:him} 说话 。"),
    ],
    "deny_fruit": [
        (1, "{p} did not want to help {q:him} .", "{p} 不 愿意 帮 {q:him} 。"),
        (1, "but {p} laughed and told {q:him} to do it alone .", "可是 {p} 笑 着 叫 {q:him} 自己 摘 。"),
    ],
    "give_fruit": [
        (1, "{p} picked {k} {k:fruit} for {q:him} , which made {left} .",
         "{p} 帮 {q:him} 摘 了 {k} {f:m} {f:many} ， 这样 一共 有 {left} {f:m} 了 。", "receiver_has"),
        (1, "{p} picked {k} {k:fruit} for {q:him} .",
         "{p} 帮 {q:him} 摘 了 {k} {f:m} {f:many} 。", "receiver_has_none"),
    ],
}  # fmt: skip
