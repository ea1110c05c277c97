"""The words of StoryWorld: compact tables of English words with their Chinese equivalents.

Every table is one string of rows separated by white space; the parts of a row are separated by colons. The size
``small`` uses the first rows of a table, ``full`` all of them, so the words of ``small`` are words of ``full``.
"""

from __future__ import annotations

# English name : Chinese name
GIRLS = """
mira:米拉 anna:安娜 lena:莱娜 nora:诺拉 ruby:鲁比 ella:埃拉 sofia:索菲 vera:薇拉 clara:克拉拉 ida:伊达 tessa:泰莎
lucy:露西 molly:莫莉 hanna:汉娜 greta:格蕾塔 julia:尤莉
"""
BOYS = """
tom:汤姆 ben:本杰 leo:里奥 max:马克斯 oscar:奥斯卡 felix:菲力 david:大卫 simon:西蒙 jack:杰克 peter:彼得 adam:亚当
henry:亨利 victor:维克多 martin:马丁 robin:罗宾 hugo:雨果
"""

# English : Chinese : gender
SORTS = "girl:女孩:f boy:男孩:m woman:女人:f man:男人:m"

# preposition : English : Chinese : Chinese word of place
PLACES = """
in:kitchen:厨房:里 in:garden:花园:里 in:library:图书馆:里 on:roof:屋顶:上 in:cellar:地窖:里 at:market:市场:上
on:bridge:桥:上 in:forest:森林:里 in:stable:马厩:里 at:harbour:港口:边 in:tower:塔楼:里 on:beach:海滩:上
in:school:学校:里 in:attic:阁楼:上
"""

# English : Chinese
COLOURS = "red:红色 blue:蓝色 green:绿色 yellow:黄色 white:白色 black:黑色"

# English : Chinese : Chinese measure word
OBJECTS = """
ball:球:个 key:钥匙:把 book:书:本 cup:杯子:个 hat:帽子:顶 coin:硬币:枚 lamp:灯:盏 rope:绳子:根 knife:刀:把
drum:鼓:面 ring:戒指:枚 kite:风筝:只 brush:刷子:把 flute:笛子:支 candle:蜡烛:根 glove:手套:只
"""

FRUITS = "apple:苹果:个 pear:梨:个 plum:李子:颗 nut:坚果:颗 carrot:胡萝卜:根 cake:蛋糕:块"

QUALITIES = "old:旧 heavy:重 dirty:脏 clean:干净 pretty:漂亮 broken:破 new:新 warm:暖和"

# English : Chinese : Chinese measure word
FURNITURE = "table:桌子:张 chair:椅子:把 door:门:扇 window:窗户:扇 basket:篮子:个 cupboard:柜子:个"

# English past tense : Chinese
MANNERS = "walked:走 ran:跑 hurried:赶"

# English : Chinese
GOOD_MOODS = "glad:高兴 happy:快乐 proud:得意"
SAD_MOODS = "sad:难过 lonely:孤单 gloomy:忧伤"
ANGRY_MOODS = "angry:生气 jealous:嫉妒 furious:愤怒"

# English : Chinese
GOOD_WEATHER = "sunshine:阳光 spring:春意"
BAD_WEATHER = "rain:雨 fog:雾 thunder:雷声"

# English : English sound : Chinese measure word : Chinese : Chinese sound
ANIMALS = "dog:barked:只:狗:汪汪叫 cat:meowed:只:猫:喵喵叫 bird:sang:只:鸟:唱歌 horse:neighed:匹:马:嘶叫"

NUMBERS = "one:一 two:两 three:三 four:四 five:五 six:六 seven:七 eight:八 nine:九 ten:十"


def rows(table: str) -> list[list[str]]:
    """Split a table into its rows, and each row into its parts."""
    return [row.split(":") for row in table.split()]


IRREGULAR_PLURALS = {"knife": "knives", "foot": "feet", "tooth": "teeth", "mouse": "mice", "goose": "geese"}


def plural(noun: str) -> str:
    """The plural of an English noun: the exceptions above, otherwise the rules of spelling.

    >>> plural("key"), plural("berry"), plural("brush"), plural("knife")
    ('keys', 'berries', 'brushes', 'knives')
    """
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    return noun + "s"


def article(word: str) -> str:
    """The indefinite article before an English word, by its first letter."""
    return "an" if word[0] in "aeiou" else "a"
