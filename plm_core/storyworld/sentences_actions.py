"""How actions, obstacles and searches are told; the notation is that of :mod:`notation`."""

from __future__ import annotations

from plm_core.storyworld.notation import Row

ACTIONS: dict[str, list[Row]] = {
    "go": [
        (6, "{p} GO to the {h} .", "{p} GO {h} 。"),
        (6, "{p} went back to the {h} .", "{p} 回 到 了 {h} 。", "back"),
        (2, "{p} left the {at} for the {h} .", "{p} 离开 {at} ， 去 了 {h} 。"),
        (1, "{p} was tired of the {at} and GO to the {h} .", "{p} 在 {at} {at:loc} 待 腻 了 ， 就 去 了 {h} 。",
         "stayed"),
        (3, "meanwhile {p} GO to the {h} .", "这时候 ， {p} GO {h} 。", "apart"),
        (2, "{p} made {p:his} way to the {h} .", "{p} 来到 了 {h} 。"),
    ],
    "seek": [
        (2, "{p} GO to the {bel} to get the {t} .", "{p} 去 {bel} 拿 {t} 。"),
        (1, "{p} thought that the {t} was {bel:in} the {bel} and GO there .",
         "{p} 心想 ， {t} 应该 在 {bel} {bel:loc} ， 就 去 了 那里 。"),
        (1, "because {p} wanted the {t} , {p:he} GO to the {bel} .", "{p} 想 拿到 {t} ， 就 去 了 {bel} 。"),
    ],
    "visit": [
        (2, "{p} GO to the {bel} to see {q} .", "{p} 去 {bel} 找 {q} 。"),
        (1, "{p} thought that {q} was {bel:in} the {bel} and GO there .",
         "{p} 心想 ， {q} 应该 在 {bel} {bel:loc} ， 就 去 了 那里 。"),
        (1, "{p} wanted to see {q} and GO to the {bel} .", "{p} 想 见 {q} ， 就 去 了 {bel} 。"),
    ],
    "take": [
        (3, "{p} picked up the {t} .", "{p} 拿起 了 {t} 。", "found"),
        (3, "{p} picked up the {t} again .", "{p} 又 拿起 了 {t} 。", "again"),
        (1, "{p} saw the {t} {at:in} the {at} and took it .",
         "{p} 看见 {at} {at:loc} 的 {t} ， 就 拿 了 起来 。", "found"),
        (2, "meanwhile {p} took the {t} that lay {at:in} the {at} .",
         "这时候 ， {p} 拿起 了 {at} {at:loc} 的 {t} 。", "apart"),
        (1, "{p} found the {t} and picked it up .", "{p} 看见 {t} ， 就 把 它 拿 了 起来 。", "found"),
    ],
    "drop": [
        (2, "{p} put the {t} down {at:in} the {at} .", "{p} 把 {t} 放 在 了 {at} {at:loc} 。"),
        (1, "{p} did not need the {t} any more and left it {at:in} the {at} .",
         "{p} 用 不 着 {t} 了 ， 就 把 它 留 在 了 {at} {at:loc} 。"),
        (1, "{p} laid the {t} aside {at:in} the {at} .", "{p} 把 {t} 搁 在 了 {at} {at:loc} 。"),
    ],
    "stow": [
        (2, "{p} took the {t} to the {h} and left it there .", "{p} 把 {t} 拿到 {h} {h:loc} 放 下 了 。"),
        (1, "{p} carried the {t} to the {h} and put it down there .",
         "{p} 把 {t} 带到 {h} {h:loc} ， 放 在 了 那里 。"),
        (1, "{p} found a better place for the {t} : the {h} .",
         "{p} 觉得 {t} 放 在 {h} {h:loc} 更 好 ， 就 拿 了 过去 。"),
        (2, "meanwhile {p} moved the {t} to the {h} .", "这时候 ， {p} 把 {t} 拿到 了 {h} {h:loc} 。", "apart"),
    ],
    "hand": [
        (3, "{p} gave the {t} to {q} .", "{p} 把 {t} 给 了 {q} 。"),
        (1, "{p} let {q} have the {t} .", "{p} 把 {t} 让 给 了 {q} 。"),
    ],
    "hold": [
        (1, "{p} still had the {t} .", "{p} 手里 还 拿 着 {t} 。"),
        (1, "the {t} was still in {owner} 's hands .", "{t} 还 在 {owner} 手里 。"),
    ],
    "show": [
        (2, "{p} showed {q} the {t} .", "{p} 把 {t} 拿 给 {q} 看 。"),
        (1, "{p} let {q} look at the {t} .", "{p} 让 {q} 看 了 看 {t} 。"),
    ],
    "carry": [
        (2, "a THIEF made off with the {t} and dropped it {h:in} the {h} .",
         "一 THIEF 偷走 了 {t} ， 丢 在 了 {h} {h:loc} 。"),
        (1, "a THIEF stole the {t} and carried it to the {h} .", "一 THIEF 偷走 了 {t} ， 带到 了 {h} {h:loc} 。"),
    ],
    "tell": [
        (2, "{p} told {q} that the {t} was {bel:in} the {bel} .", "{p} 告诉 {q} ， {t} 在 {bel} {bel:loc} 。"),
        (1, "{p} let {q} know that the {t} was {bel:in} the {bel} .", "{p} 对 {q} 说 ， {t} 在 {bel} {bel:loc} 。"),
    ],
    "tell_held": [
        (1, "{p} told {q} that {holder} had the {t} .", "{p} 告诉 {q} ， {t} 在 {holder} 手里 。"),
    ],
    "think": [
        (2, "{p} thought that the {t} was {bel:in} the {bel} .", "{p} 心想 ， {t} 大概 还 在 {bel} {bel:loc} 。"),
        (1, "as far as {p} knew , the {t} was {bel:in} the {bel} .", "据 {p} 所知 ， {t} 在 {bel} {bel:loc} 。"),
        (1, "{p} remembered the {t} {bel:in} the {bel} .", "{p} 想起 了 {bel} {bel:loc} 的 {t} 。"),
    ],
    "pick": [
        (3, "{p} picked {k} {k:fruit} .", "{p} 摘 了 {k} {f:m} {f:many} 。", "first"),
        (2, "{p} picked {k} more {k:fruit} and now had {left} .",
         "{p} 又 摘 了 {k} {f:m} {f:many} ， 现在 有 {left} {f:m} 了 。", "more"),
        (1, "{at:in} the {at} , {p} found {k} more {k:fruit} , which made {left} .",
         "{p} 在 {at} {at:loc} 又 找到 {k} {f:m} {f:many} ， 一共 有 {left} {f:m} 了 。", "more"),
        (1, "soon {p} had {k} more {k:fruit} , {left} in all .",
         "不久 {p} 又 摘到 {k} {f:m} {f:many} ， 总共 有 {left} {f:m} 了 。", "more"),
        (1, "{p} added {k} more {k:fruit} , so there were {left} .",
         "{p} 又 添 了 {k} {f:m} {f:many} ， 这样 就 有 {left} {f:m} 了 。", "more"),
    ],
    "eat": [
        (2, "{p} ate {k} {k:fruit} and had {left} left .", "{p} 吃 了 {k} {f:m} {f:many} ， 还 剩 {left} {f:m} 。"),
        (1, "{p} was hungry , ate {k} {k:fruit} and kept {left} .",
         "{p} 饿 了 ， 吃掉 了 {k} {f:m} {f:many} ， 留下 {left} {f:m} 。"),
        (1, "{k} {k:fruit} went down well , and {p} had {left} left .",
         "{k} {f:m} {f:many} 下 了 肚 ， {p} 还 剩 {left} {f:m} 。"),
    ],
    "tally": [
        (1, "{p} counted {p:his} {f:many} : there were {left} .", "{p} 数 了 数 {f:many} ， 有 {left} {f:m} 。"),
        (1, "by now {p} had {left} {f:many} .", "{p} 现在 有 {left} {f:m} {f:many} 。"),
    ],
    "pool": [
        (1, "together {p:name} and {q} had {sum} {f:many} .", "{p:name} 和 {q} 一共 有 {sum} {f:m} {f:many} 。"),
        (1, "{p:name} and {q} counted their {f:many} together : {sum} .",
         "{p:name} 和 {q} 把 {f:many} 放 在 一起 数 了 数 ， 有 {sum} {f:m} 。"),
    ],
    "chat": [
        (2, "{p} and {q} talked for a while .", "{p} 和 {q} 聊 了 一会儿 。"),
        (1, "{p} told {q} a funny story .", "{p} 给 {q} 讲 了 一 个 笑话 。"),
    ],
    "hungry": [
        (2, "{p} wanted to eat some {f:many} .", "{p} 想 吃 {f:many} 。"),
        (1, "{p} could think of nothing but {f:many} .", "{p} 心里 老 惦记 着 {f:many} 。"),
        (1, "{p} had not tasted any {f:many} yet .", "{p} 还 没 尝 过 {f:many} 。", "first"),
    ],
    "fetch": [
        (2, "so {p:he} GO to the {f_at} for some {f:many} .", "于是 {p:he} 去 {f_at} {f_at:loc} 摘 {f:many} 。"),
        (1, "{p} had seen ripe {f:many} {f_at:in} the {f_at} and GO there .",
         "{p} 知道 {f_at} {f_at:loc} 有 {f:many} ， 就 去 了 那里 。"),
    ],
    "rain": [
        (2, "suddenly it began to rain .", "忽然 下 起 了 雨 。"),
        (1, "dark clouds came up , and it rained .", "天上 乌云 密布 ， 下 起 了 雨 。"),
    ],
    "shelter": [
        (2, "{p} ran to the {h} and waited there until the rain stopped .",
         "{p} 怕 被 淋湿 ， 跑 进 {h} {h:loc} ， 一直 待 到 雨 停 。"),
        (1, "so {p} left the {at} and sat {h:in} the {h} until the rain stopped .",
         "于是 {p} 离开 {at} ， 在 {h} {h:loc} 躲 到 雨 停 。"),
    ],
    "give_away": [
        (2, "{q} was hungry , so {p} gave {q:him} {k} {k:fruit} and kept {left} .",
         "{q} 饿 了 ， {p} 就 给 了 {q:him} {k} {f:m} {f:many} ， 自己 留下 {left} {f:m} 。"),
        (1, "{p} let {q} have {k} {k:fruit} , which left {left} .",
         "{p} 分 给 {q} {k} {f:m} {f:many} ， 自己 还 有 {left} {f:m} 。"),
    ],
    "miss_held": [
        (2, "but {q} already had the {t} .", "可是 {t} 已经 在 {q} 手里 了 。"),
        (1, "{p} saw at once that {q} had taken the {t} .", "{p} 一 眼 看见 {q} 拿 着 {t} 。"),
    ],
    "spoil": [
        (1, "a EATER ate {k} of the {f:many} , and {p} had only {left} left .",
         "一 EATER 吃掉 了 {k} {f:m} {f:many} ， {p} 只 剩 {left} {f:m} 了 。"),
        (1, "{p} threw away {k} rotten {k:fruit} and had only {left} left .",
         "{p} 扔掉 了 {k} {f:m} 烂 {f:many} ， 只 剩 {left} {f:m} 了 。"),
        (1, "while {p} was not looking , a EATER ate {k} of the {f:many} , which left {left} .",
         "趁 {p} 没 注意 ， 一 EATER 吃掉 了 {k} {f:m} {f:many} ， 只 剩 {left} {f:m} 了 。"),
    ],
}  # fmt: skip

TURNS: dict[str, list[Row]] = {
    "grab": [
        (1, "{p} came along and took the {t} .", "{p} 走 过来 ， 拿走 了 {t} 。", "arriving"),
        (1, "before {q:name} could take the {t} , {p} rushed in and took it .",
         "{q:name} 还 没 拿到 {t} ， {p} 就 冲 过来 抢先 拿走 了 。", "arriving"),
        (1, "but {p} was quicker and took the {t} .", "可是 {p} 手 更 快 ， 拿走 了 {t} 。", "beside"),
        (1, "before {q:name} could take the {t} , {p} snatched it away .",
         "{q:name} 还 没 拿到 {t} ， {p} 就 抢先 拿走 了 。", "beside"),
    ],
    "bring": [
        (1, "then {p} came to help and brought {q} the {t} .",
         "后来 {p} 赶来 帮忙 ， 把 {t} 交 到 了 {q} 手里 。", "bringing"),
        (1, "{p} heard that {q} needed help and came with the {t} .",
         "{p} 听说 {q} 需要 帮忙 ， 就 把 {t} 送 了 过来 。", "bringing"),
        (1, "{p} had a change of heart and brought {q} the {t} .",
         "{p} 改变 了 主意 ， 把 {t} 拿来 给 了 {q} 。", "bringing_begged"),
        (1, "{p} wanted to help and gave {q} the {t} .", "{p} 想 帮忙 ， 就 把 {t} 给 了 {q} 。", "giving"),
        (1, "{p} felt sorry for {q} and gave {q:him} the {t} .",
         "{p} 不 忍心 再 拒绝 ， 就 把 {t} 给 了 {q} 。", "giving_begged"),
        (1, "{p} had a change of heart and gave {q} the {t} .",
         "{p} 改变 了 主意 ， 把 {t} 给 了 {q} 。", "giving_begged"),
        (1, "{p} promised to look for the {t} and soon came back with it for {q} .",
         "{p} 答应 帮忙 找 ， 不久 就 找来 {t} ， 交 给 了 {q} 。", "fetching"),
        (1, "{p} wanted to help , fetched the {t} and gave it to {q} .",
         "{p} 想 帮忙 ， 就 去 取来 {t} ， 交 给 了 {q} 。", "fetching"),
        (1, "{p} picked up the {t} and gave it to {q} .", "{p} 拿起 {t} ， 交 给 了 {q} 。", "lying"),
        (1, "{p} came over , picked up the {t} and gave it to {q} .",
         "{p} 走 过来 拿起 {t} ， 交 给 了 {q} 。", "lying_there"),
    ],
    "aid_wrap": [
        (1, "{p} came over and helped {q} to clean the {t} .", "{p} 过来 帮 {q} 把 {t} 擦 干净 了 。", "arriving"),
        (1, "{p} helped {q} to clean the {t} .", "{p} 帮 {q} 把 {t} 擦 干净 了 。", "beside"),
        (1, "{p} brought a ribbon and tied it around the {t} for {q} .",
         "{p} 拿来 一 条 丝带 ， 帮 {q} 系 在 了 {t} 上 。"),
    ],
    "aid_pack": [
        (1, "{p} came over and gave {q} a cake for supper .",
         "{p} 过来 给 {q} 送 了 一 个 蛋糕 ， 让 {q:him} 晚饭 时 吃 。", "arriving"),
        (1, "{p} gave {q} a cake for supper .", "{p} 送 给 {q} 一 个 蛋糕 ， 让 {q:him} 晚饭 时 吃 。", "beside"),
        (1, "{p} came over and lent {q} a tablecloth for supper .",
         "{p} 过来 借 给 {q} 一 块 桌布 ， 让 {q:him} 晚饭 时 用 。", "arriving"),
        (1, "{p} lent {q} a tablecloth for supper .", "{p} 借 给 {q} 一 块 桌布 ， 让 {q:him} 晚饭 时 用 。", "beside"),
    ],
    "come_tell": [
        (1, "{p} came to help and told {q} that the {t} was {bel:in} the {bel} .",
         "{p} 来 帮忙 ， 告诉 {q} ， {t} 在 {bel} {bel:loc} 。", "arriving"),
        (1, "{p} wanted to help {q} and came to say that the {t} was {bel:in} the {bel} .",
         "{p} 想 帮 {q} ， 特意 过来 说 ， {t} 在 {bel} {bel:loc} 。", "arriving"),
        (1, "at last {p} told {q} that the {t} was {bel:in} the {bel} .",
         "{p} 终于 告诉 {q} ， {t} 在 {bel} {bel:loc} 。", "beside"),
        (1, "{p} felt sorry for {q} and said that the {t} was hidden {bel:in} the {bel} .",
         "{p} 不 忍心 瞒 着 {q} ， 说 {t} 藏 在 {bel} {bel:loc} 。", "beside"),
    ],
    "luck": [
        (1, "at last {p} found the {t} {t:in} the {t:at} .", "{p} 终于 在 {t:at} {t:loc} 找到 了 {t} 。"),
        (1, "at last {p} came upon the {t} {t:in} the {t:at} .",
         "最后 ， {p} 碰巧 在 {t:at} {t:loc} 看见 了 {t} ， 就 拿 了 起来 。"),
    ],
    "search": [
        (2, "{p} searched the {at} , but found nothing .", "{p} 找遍 了 {at} ， 什么 也 没 找到 。", "untold"),
        (2, "{p} searched the {at} , but did not find the {secret} .",
         "{p} 找遍 了 {at} ， 还 没 找到 {secret} 。", "told"),
        (1, "{p} looked everywhere {at:in} the {at} without any luck .", "{p} 在 {at} {at:loc} 到处 找 ， 一无所获 。"),
        (1, "{p} turned the {at} upside down in vain .", "{p} 把 {at} 翻 了 个 遍 ， 还是 没 找到 。", "indoors"),
    ],
    "find": [
        (1, "{p} searched the {at} and found the {t} .", "{p} 找遍 了 {at} ， 终于 找到 了 {t} 。"),
        (1, "{p} looked everywhere {at:in} the {at} , and there was the {t} .",
         "{p} 在 {at} {at:loc} 到处 找 ， 总算 找到 了 {t} 。"),
    ],
    "miss": [
        (2, "but the {t} was not there .", "可是 {t} 不 在 那里 。"),
        (1, "{p} looked for the {t} , but it was gone .", "{p} 来 找 {t} ， 可是 {t} 已经 不见 了 。"),
    ],
    "miss_person": [
        (2, "but {q} was not there .", "可是 {q} 不 在 那里 。"),
        (1, "{p} looked for {q} , but in vain .", "{p} 到处 找 {q} ， 却 没 找到 。"),
    ],
    "miss_unnamed": [
        (2, "{p} had come there in vain .", "{p} 扑 了 个 空 。"),
        (1, "{p} shook {p:his} head in surprise .", "{p} 吃惊 地 摇 了 摇 头 。"),
    ],
    "give_up": [
        (2, "it was getting late , and {p} gave up .", "时候 不 早 了 ， {p} 放弃 了 。"),
        (1, "{p} lost heart and stopped trying .", "{p} 灰心 了 ， 不 想 再 试 了 。"),
        (1, "{p} shook {p:his} head and went home .", "{p} 摇 了 摇 头 ， 回 家 去 了 。"),
        (1, "{p} was tired and decided to let it be .", "{p} 累 了 ， 决定 算 了 。"),
    ],
}  # fmt: skip
