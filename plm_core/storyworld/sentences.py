"""How each kind of event is told, in English and Chinese side by side.

A row is ``(weight, English, Chinese)``, or has the name of a condition behind, under which alone it may be chosen.
A word in braces, ``{slot}`` or ``{slot:form}``, depends on the event or the state; the first slot of a person, without
a form, is the subject and may be a pronoun. ``GO`` stands for a verb of motion, ``THIEF`` and ``EATER`` for animals.
Slots that are not those of the event: ``at`` is the place of the first person, ``bel`` the place where the first
person believes the thing or person to be, ``holder`` who holds it by that belief, ``left`` the count after the event.
"""

from __future__ import annotations

Row = tuple[int, str, str] | tuple[int, str, str, str]

INTRODUCTION: dict[str, list[Row]] = {
    "grow": [
        (3, "{f:many} grew {h:in} the {h} , and {t:a} {t} lay {g:in} the {g} .",
            "{h} {h:loc} 长 着 {f:many} ， 有 一 {t:m} {t} 放 在 {g} {g:loc} 。"),
        (1, "there were ripe {f:many} {h:in} the {h} , and somebody had left {t:a} {t} {g:in} the {g} .",
            "{h} {h:loc} 的 {f:many} 熟 了 ， 有 人 把 一 {t:m} {t} 忘 在 {g} {g:loc} 。"),
    ],
    "lie": [
        (3, "there was also {t:a} {t} {g:in} the {g} .", "还 有 一 {t:m} {t} 放 在 {g} {g:loc} 。"),
        (1, "somebody had put {t:a} {t} {g:in} the {g} .", "有 人 把 一 {t:m} {t} 放 在 {g} {g:loc} 。"),
    ],
    "lie_two": [
        (3, "there was {t:a} {t} {g:in} the {g} , and {u:a} {u} {h:in} the {h} .",
            "一 {t:m} {t} 放 在 {g} {g:loc} ， 一 {u:m} {u} 放 在 {h} {h:loc} 。"),
        (1, "people had seen {t:a} {t} {g:in} the {g} and {u:a} {u} {h:in} the {h} .",
            "有 人 看见 一 {t:m} {t} 在 {g} {g:loc} ， 一 {u:m} {u} 在 {h} {h:loc} 。"),
    ],
    "hide": [
        (3, "there was {t:a} {t} {g:in} the {g} , and {s:a} {s} was hidden {h:in} the {h} , but only {q} knew that .",
            "有 一 {t:m} {t} 在 {g} {g:loc} ， 还 有 一 {s:m} {s} 藏 在 {h} {h:loc} ， 不过 只有 {q} 知道 。"),
        (1, "everybody had seen {t:a} {t} {g:in} the {g} , but only {q} knew of {s:a} {s} hidden {h:in} the {h} .",
            "大家 都 见 过 一 {t:m} {t} 在 {g} {g:loc} ， 可是 只有 {q} 知道 一 {s:m} {s} 藏 在 {h} {h:loc} 。"),
    ],
}  # fmt: skip

GOALS: dict[str, list[Row]] = {
    "want_have": [
        (2, "{p} wanted to have the {t} .", "{p} 想要 那 {t:m} {t} 。"),
        (1, "more than anything , {p} wished for the {t} .", "{p} 最 想要 的 就 是 那 {t:m} {t} 。"),
    ],
    "want_bring": [
        (2, "{p} wanted to bring the {t} to {q} .", "{p} 想 把 {t} 拿 给 {q} 。"),
        (1, "{p} had promised to bring {q} the {t} .", "{p} 答应 过 要 把 {t} 带 给 {q} 。"),
    ],
    "want_meet": [
        (2, "{p} wanted to spend the evening with {q} {h:in} the {h} .", "{p} 想 和 {q} 一起 在 {h} {h:loc} 过 傍晚 。"),
        (1, "{p} dreamed of an evening {h:in} the {h} with {q} .", "{p} 盼望 傍晚 在 {h} {h:loc} 和 {q} 聚 一 聚 。"),
    ],
    "want_find": [
        (2, "{p} wanted to find out where the {s} was hidden .", "{p} 想 弄清 那 {s:m} {s} 藏 在 哪里 。"),
        (1, "{p} had heard of the {s} and wanted to know where it was .", "{p} 听说 了 那 {s:m} {s} ， 想 知道 它 在 哪里 。"),
    ],
    "want_gather": [
        (2, "{p} wanted to collect {n} {f:many} .", "{p} 想 攒 {n} {f:m} {f:many} 。"),
        (1, "{p} needed {n} {f:many} for a cake .", "{p} 要 做 蛋糕 ， 需要 {n} {f:m} {f:many} 。"),
    ],
    "plan": [
        (2, "{p} had a plan for the day , but told nobody about it .", "这 天 {p} 有 一 个 打算 ， 但是 没有 告诉 别人 。"),
        (1, "{p} had something in mind that day .", "这 天 {p} 心里 想 着 一 件 事 。"),
    ],
    "reveal_have": [
        (1, "all day long , {p} had wanted to have the {t} .", "原来 ， {p} 一直 想要 的 是 那 {t:m} {t} 。"),
    ],
    "reveal_bring": [
        (1, "all day long , {p} had wanted to bring the {t} to {q} .", "原来 ， {p} 一直 想 把 {t} 拿 给 {q} 。"),
    ],
    "reveal_meet": [
        (1, "all day long , {p} had wanted to spend the evening with {q} {h:in} the {h} .",
            "原来 ， {p} 一直 想 和 {q} 一起 在 {h} {h:loc} 过 傍晚 。"),
    ],
    "reveal_find": [
        (1, "all day long , {p} had wanted to find out where the {s} was hidden .",
            "原来 ， {p} 一直 想 弄清 那 {s:m} {s} 藏 在 哪里 。"),
    ],
    "reveal_gather": [
        (1, "all day long , {p} had wanted to collect {n} {f:many} .", "原来 ， {p} 一直 想 攒 {n} {f:m} {f:many} 。"),
    ],
    "end": [
        (3, "in the end , {p} was {m} .", "最后 ， {p} 很 {m} 。"),
        (1, "that evening {p} was very {m} .", "那天 晚上 ， {p} 非常 {m} 。"),
    ],
}  # fmt: skip

ACTIONS: dict[str, list[Row]] = {
    "go": [
        (6, "{p} GO to the {h} .", "{p} GO {h} 。"),
        (3, "then {p} left the {at} for the {h} .", "接着 {p} 离开 {at} ， 去 了 {h} 。"),
        (3, "meanwhile {p} GO to the {h} .", "这时候 ， {p} GO {h} 。", "apart"),
    ],
    "seek": [
        (2, "{p} GO to the {bel} to get the {t} .", "{p} 去 {bel} 拿 {t} 。"),
        (1, "{p} thought that the {t} was {bel:in} the {bel} and GO there .", "{p} 以为 {t} 在 {bel} {bel:loc} ， 就 去 了 那里 。"),
    ],
    "visit": [
        (2, "{p} GO to the {bel} to see {q} .", "{p} 去 {bel} 找 {q} 。"),
        (1, "{p} thought that {q} was {bel:in} the {bel} and GO there .", "{p} 以为 {q} 在 {bel} {bel:loc} ， 就 去 了 那里 。"),
    ],
    "take": [
        (3, "{p} picked up the {t} .", "{p} 拿起 了 {t} 。"),
        (1, "{p} saw the {t} {at:in} the {at} and took it .", "{p} 看见 {at} {at:loc} 的 {t} ， 把 它 拿走 了 。"),
        (2, "meanwhile {p} took the {t} that lay {at:in} the {at} .", "这时候 ， {p} 拿走 了 {at} {at:loc} 的 {t} 。", "apart"),
    ],
    "drop": [
        (2, "{p} put the {t} down {at:in} the {at} .", "{p} 把 {t} 放 在 了 {at} {at:loc} 。"),
        (1, "{p} did not need the {t} any more and left it {at:in} the {at} .", "{p} 不 再 需要 {t} ， 就 把 它 留 在 了 {at} {at:loc} 。"),
    ],
    "hand": [
        (3, "{p} gave the {t} to {q} .", "{p} 把 {t} 给 了 {q} 。"),
        (1, "{p} let {q} have the {t} .", "{p} 把 {t} 让 给 了 {q} 。"),
    ],
    "carry": [
        (2, "a THIEF ran off with the {t} and dropped it {h:in} the {h} .", "一 THIEF 叼走 了 {t} ， 把 它 丢 在 了 {h} {h:loc} 。"),
        (1, "a THIEF stole the {t} and carried it to the {h} .", "一 THIEF 偷走 了 {t} ， 带 到 了 {h} 。"),
    ],
    "tell": [
        (2, "{p} told {q} that the {t} was {bel:in} the {bel} .", "{p} 告诉 {q} ， {t} 在 {bel} {bel:loc} 。"),
        (1, "{p} and {q} talked about the {t} {bel:in} the {bel} .", "{p} 和 {q} 聊 起 了 {bel} {bel:loc} 的 {t} 。"),
    ],
    "tell_held": [(1, "{p} told {q} that {holder} had the {t} .", "{p} 告诉 {q} ， {t} 在 {holder} 手里 。")],
    "think": [
        (2, "{p} thought that the {t} was still {bel:in} the {bel} .", "{p} 以为 {t} 还 在 {bel} {bel:loc} 。"),
        (1, "{p} remembered the {t} {bel:in} the {bel} .", "{p} 想起 了 {bel} {bel:loc} 的 {t} 。"),
    ],
    "pick": [
        (3, "{p} picked {k} {k:fruit} .", "{p} 摘 了 {k} {f:m} {f:many} 。", "first"),
        (2, "{p} picked {k} {k:fruit} and now had {left} .", "{p} 摘 了 {k} {f:m} {f:many} ， 现在 有 {left} {f:m} 了 。", "more"),
        (1, "{at:in} the {at} , {p} found {k} {k:fruit} , which made {left} .", "在 {at} {at:loc} ， {p} 找到 了 {k} {f:m} {f:many} ， 一共 有 {left} {f:m} 。", "more"),
    ],
    "eat": [
        (2, "{p} ate {k} {k:fruit} and had {left} left .", "{p} 吃 了 {k} {f:m} {f:many} ， 还 剩 {left} {f:m} 。"),
        (1, "{p} was hungry , ate {k} {k:fruit} and kept {left} .", "{p} 饿 了 ， 吃掉 {k} {f:m} {f:many} ， 留下 {left} {f:m} 。"),
    ],
    "spoil": [
        (1, "a EATER ate {k} of the {f:many} , and {p} had only {left} left .", "一 EATER 吃掉 了 {k} {f:m} {f:many} ， {p} 只 剩 {left} {f:m} 了 。"),
    ],
}  # fmt: skip

TALK: dict[str, list[Row]] = {
    "ask": [
        (2, "{p} asked {q} where the {t} was .", "{p} 问 {q} ， {t} 在 哪里 。"),
        (1, "{p} asked {q} about the {t} .", "{p} 向 {q} 打听 {t} 的 下落 。"),
    ],
    "ask_person": [
        (2, "{p} asked {q} where {r} was .", "{p} 问 {q} ， {r} 在 哪里 。"),
        (1, "{p} asked {q} about {r} .", "{p} 向 {q} 打听 {r} 的 去向 。"),
    ],
    "beg": [
        (2, "{p} asked {q} for the {t} .", "{p} 向 {q} 要 {t} 。"),
        (1, "{p} begged {q} to give {p:him} the {t} .", "{p} 求 {q} 把 {t} 给 {p:him} 。"),
    ],
    "offer": [
        (2, "{p} offered {q} the {t} .", "{p} 要 把 {t} 交 给 {q} 。"),
        (1, "{p} held out the {t} to {q} .", "{p} 把 {t} 递 到 {q} 面前 。"),
    ],
    "invite": [
        (2, "{p} asked {q} to come along to the {h} .", "{p} 请 {q} 一起 去 {h} 。"),
        (1, "{p} invited {q} to the {h} .", "{p} 邀请 {q} 去 {h} 。"),
    ],
    "ask_fruit": [(1, "{p} asked {q} to help with the {f:many} .", "{p} 请 {q} 帮忙 摘 {f:many} 。")],
    "answer": [
        (2, "{p} said that it was {bel:in} the {bel} .", "{p} 说 它 在 {bel} {bel:loc} 。"),
        (1, "{p} told {q:him} to look {bel:in} the {bel} .", "{p} 叫 {q:him} 去 {bel} {bel:loc} 看看 。"),
    ],
    "answer_held": [(1, "{p} said that {holder} had it .", "{p} 说 它 在 {holder} 手里 。")],
    "answer_mine": [(1, "{p} said that it was in {p:his} own bag .", "{p} 说 它 就 在 自己 的 包 里 。")],
    "answer_person": [
        (2, "{p} said that {r:he} was {bel:in} the {bel} .", "{p} 说 {r:he} 在 {bel} {bel:loc} 。"),
        (1, "{p} told {q:him} to look {bel:in} the {bel} .", "{p} 叫 {q:him} 去 {bel} {bel:loc} 看看 。"),
    ],
    "unknown": [
        (2, "{p} did not know .", "{p} 不 知道 。"),
        (1, "but {p} had no idea .", "可是 {p} 一点 也 不 清楚 。"),
    ],
    "wont": [
        (1, "{p} only smiled and said nothing .", "{p} 只 是 笑笑 ， 什么 也 没 说 。"),
        (1, "{p} knew it , but did not tell .", "{p} 知道 ， 却 不 肯 说 。"),
    ],
    "later": [
        (1, "{p} said : not now .", "{p} 说 ： 现在 不行 。"),
        (1, "{p} had no time just then .", "{p} 这会儿 没有 空 。"),
    ],
    "win": [
        (1, "{q} wanted a race for it , and {p} won the {t} .", "{q} 要 赛跑 决定 ， 结果 {p} 赢得 了 {t} 。"),
        (1, "{q} set a riddle , {p} solved it and got the {t} .", "{q} 出 了 一 个 谜语 ， {p} 猜中 了 ， 得到 了 {t} 。"),
    ],
    "accept": [
        (2, "{p} took the {t} and thanked {q:him} .", "{p} 收下 了 {t} ， 谢 了 {q:him} 。"),
        (1, "{p} was happy to get the {t} .", "{p} 很 高兴 地 收下 了 {t} 。"),
    ],
    "together": [
        (2, "{p} and {q} spent the evening together {h:in} the {h} .", "{p} 和 {q} 一起 在 {h} {h:loc} 过 了 傍晚 。"),
        (1, "so {p} and {q} sat {h:in} the {h} until late .", "于是 {p} 和 {q} 在 {h} {h:loc} 坐 到 很 晚 。"),
    ],
    "refuse": [
        (1, "{p} did not want to give the {t} away .", "{p} 不 肯 把 {t} 让 出来 。"),
        (1, "but {p} kept the {t} and laughed at {q:him} .", "可是 {p} 不 给 {t} ， 还 笑话 {q:him} 。"),
    ],
    "decline": [
        (1, "{p} did not want the {t} and pushed it away .", "{p} 不 要 {t} ， 把 它 推开 了 。"),
        (1, "but {p} only laughed at the {t} .", "可是 {p} 只 是 笑话 那 {t:m} {t} 。"),
    ],
    "stay_away": [
        (1, "{p} did not want to go to the {h} .", "{p} 不 愿意 去 {h} 。"),
        (1, "but {p} turned around and left {q:him} standing there .", "可是 {p} 转过 身 ， 把 {q:him} 晾 在 了 那里 。"),
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
        (1, "{p} picked {k} {k:fruit} for {q:him} , so that {q:he} had {left} .", "{p} 帮 {q:him} 摘 了 {k} {f:m} {f:many} ， 这样 {q:he} 就 有 {left} {f:m} 了 。"),
    ],
}  # fmt: skip

TURNS: dict[str, list[Row]] = {
    "grab": [
        (1, "just then {p} came along and snatched the {t} away from {q:name} .", "就 在 这时 ， {p} 过来 抢走 了 {q:name} 眼前 的 {t} 。"),
        (1, "before {q:name} could take the {t} , {p} rushed in and took it .", "{q:name} 还 没 拿到 {t} ， {p} 就 冲 过来 拿走 了 。"),
    ],
    "bring": [
        (1, "{p} had noticed everything and brought {q} the {t} .", "{p} 都 看 在 眼里 ， 把 {t} 拿来 给 了 {q} 。"),
        (1, "then {p} came to help and brought {q} the {t} .", "后来 {p} 来 帮忙 ， 给 {q} 带来 了 {t} 。"),
    ],
    "aid_wrap": [
        (1, "{p} came and helped {q} to clean the {t} .", "{p} 过来 帮 {q} 把 {t} 擦 干净 。"),
        (1, "{p} came with a ribbon for the {t} that {q} carried .", "{p} 拿来 一 条 丝带 ， 系 在 {q} 的 {t} 上 。"),
    ],
    "aid_pack": [
        (1, "{p} came and gave {q} a cake for the evening .", "{p} 过来 给 了 {q} 一 块 傍晚 吃 的 蛋糕 。"),
        (1, "{p} came and helped {q} to bake a cake .", "{p} 过来 帮 {q} 做 了 一 块 蛋糕 。"),
    ],
    "come_tell": [
        (1, "{p} came to help and told {q} that the {t} was {bel:in} the {bel} .", "{p} 来 帮忙 ， 告诉 {q} ， {t} 在 {bel} {bel:loc} 。"),
        (1, "{p} felt sorry for {q} and gave the hiding place away : it was the {bel} .", "{p} 可怜 {q} ， 就 说出 了 藏 东西 的 地方 ： 是 {bel} 。"),
    ],
    "search": [
        (2, "{p} searched the {at} , but found nothing .", "{p} 找遍 了 {at} ， 什么 也 没 找到 。"),
        (1, "{p} looked everywhere {at:in} the {at} without any luck .", "{p} 在 {at} {at:loc} 到处 找 ， 一无所获 。"),
    ],
    "find": [
        (1, "{p} searched the {at} and found the {t} .", "{p} 找遍 了 {at} ， 终于 找到 了 {t} 。"),
        (1, "{p} looked everywhere {at:in} the {at} , and there was the {t} .", "{p} 在 {at} {at:loc} 到处 找 ， 发现 了 {t} 。"),
    ],
    "miss": [
        (2, "but the {t} was not there .", "可是 {t} 不 在 那里 。"),
        (1, "{p} looked for the {t} , but it was gone .", "{p} 找 {t} ， 可是 它 不见 了 。"),
    ],
    "miss_person": [
        (2, "but {q} was not there .", "可是 {q} 不 在 那里 。"),
        (1, "{p} looked for {q} , but in vain .", "{p} 找 {q} ， 却 没 找到 。"),
    ],
    "miss_unnamed": [
        (2, "{p} looked around , but in vain .", "{p} 四处 看 了 看 ， 却 白 来 了 一 趟 。"),
        (1, "{p} shook {p:his} head in surprise .", "{p} 吃惊 地 摇 了 摇 头 。"),
    ],
    "give_up": [
        (2, "it was getting late , and {p} gave up .", "天 色 晚 了 ， {p} 放弃 了 。"),
        (1, "{p} had tried for so long , and now {p:he} went home .", "{p} 努力 了 这么 久 ， 最后 还是 放弃 回 家 了 。"),
    ],
}  # fmt: skip

SENTENCES: dict[str, list[Row]] = INTRODUCTION | GOALS | ACTIONS | TALK | TURNS
