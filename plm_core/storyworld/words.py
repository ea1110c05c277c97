"""The words of the lexicon ``small``: compact tables of English words with their Chinese equivalents.

Every table is one string of rows separated by white space; the parts of a row are separated by colons. Rows stand in
the order of their frequency. The lexicon ``full`` adds the rows of :mod:`plm_core.storyworld.more_words`.
"""

from __future__ import annotations

# letter : preposition : English : Chinese : Chinese word of place
SETTINGS = "v:in:village:村子:里 f:on:farm:农场:里 h:at:harbour:港湾:里 c:in:castle:城堡:里"

# English name : Chinese name
GIRLS = """
mira:米拉 anna:安娜 lena:莱娜 nora:诺拉 ruby:鲁比 ella:埃拉 sofia:索菲 vera:薇拉 clara:克拉拉 ida:伊达
"""
BOYS = """
tom:汤姆 ben:本杰 leo:里奥 max:马克斯 oscar:奥斯卡 felix:费利克斯 david:大卫 simon:西蒙 jack:杰克 peter:彼得
"""

# preposition : English : Chinese : Chinese word of place : settings : i indoors, o outdoors, g fruit grows
PLACES = """
in:kitchen:厨房:里:vfhc:i in:garden:花园:里:vhc:og at:market:市场:上:vh:o in:barn:谷仓:里:f:i on:beach:海滩:上:h:o
in:hall:大厅:里:c:i in:orchard:果园:里:f:og in:school:学校:里:v:i in:stable:马厩:里:fc:i on:square:广场:上:v:o
in:tower:塔楼:里:c:i on:pier:码头:上:h:o on:hill:山顶:上:f:o in:lighthouse:灯塔:里:h:i in:bakery:面包店:里:v:i
in:courtyard:院子:里:c:o in:meadow:草地:上:f:o
"""

# English : Chinese : Chinese measure word : letters of the settings
THINGS = """
ball:球:个:vhcf book:书:本:vch basket:篮子:个:vfh lamp:灯:盏:fcv kite:风筝:只:vhf rope:绳子:根:fhc hat:帽子:顶:vfc
drum:鼓:面:cv net:渔网:张:h spade:铲子:把:fv doll:洋娃娃:个:vc umbrella:雨伞:把:h flute:笛子:支:ch bucket:水桶:个:fh
"""
LIGHT = """
ball hat kite rope doll flute book basket apron bag bell belt beret bracelet brush candle cap card chain comb compass
earring envelope fan feather flag fork glove handkerchief hook letter lock mask mitten nail napkin necklace needle
notebook paintbrush pen pencil pipe pouch purse puzzle ruler sandal scarf shawl shell shoe slipper sock spoon sponge
stamp stick thimble towel veil wallet wand watch whistle wig photograph cup toy magazine newspaper calendar
"""
"""The things that a small animal can carry off."""
SECRETS = "ring:戒指:枚:vfhc map:地图:张:hc letter:信:封:vc coin:金币:枚:fh"

# English : Chinese : Chinese measure word
FRUITS = "apple:苹果:个 pear:梨:个 plum:李子:颗"

# English past tense : Chinese up to the place
MANNERS = "went:去/了:6 walked:走/到/了:2 ran:跑/到/了:1"

# English : Chinese measure word : Chinese
THIEVES = "dog:只:狗 monkey:只:猴子"
EATERS = "goat:只:山羊 bird:只:鸟"

# English : Chinese
PROUD = "proud:高兴 pleased:开心"
GRATEFUL = "grateful:感激 thankful:感动"
SAD = "sad:难过 disappointed:失望"
ANGRY = "angry:生气 cross:恼火"

NUMBERS = "one:一 two:两 three:三 four:四 five:五 six:六 seven:七 eight:八 nine:九"

IRREGULAR_PLURALS = {"knife": "knives", "loaf": "loaves"}


def rows(table: str) -> list[list[str]]:
    """Split a table into its rows, and each row into its parts."""
    return [row.split(":") for row in table.split()]


def plural(noun: str) -> str:
    """The plural of an English noun: the exceptions above, otherwise the rules of spelling.

    >>> plural("plum"), plural("cherry"), plural("peach")
    ('plums', 'cherries', 'peaches')
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
