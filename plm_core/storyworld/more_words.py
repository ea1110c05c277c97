"""The further rows of the tables for the lexicon ``full``, with the columns of :mod:`plm_core.storyworld.words`."""

from __future__ import annotations

TABLES: dict[str, str] = {}

TABLES["GIRLS"] = """
emma:艾玛 laura:劳拉 maria:玛丽亚 alice:爱丽丝 helen:海伦 lucy:露西 julia:朱莉娅 hanna:汉娜 molly:莫莉 greta:格蕾塔
irene:艾琳 olga:奥尔加 paula:保拉 stella:斯特拉 tessa:泰莎 wendy:温迪 agnes:阿格尼丝 berta:贝尔塔 carla:卡拉
diana:戴安娜 edith:伊迪丝 flora:弗洛拉 gloria:格洛丽亚 hilda:希尔达 ingrid:英格丽德 jenny:珍妮 karin:卡琳 linda:琳达
martha:玛莎 nadia:娜迪亚 olivia:奥利维娅 petra:佩特拉 rachel:蕾切尔 sandra:桑德拉 tanya:塔尼娅 ursula:乌苏拉
vivian:薇薇安 yvonne:伊冯娜 zelda:泽尔达 astrid:阿斯特丽德 bianca:比安卡 cecilia:塞西莉娅 daphne:达芙妮 elsa:艾尔莎
fiona:菲奥娜 gemma:杰玛 harriet:哈丽特 isabel:伊莎贝尔 joan:琼 kira:基拉 leonie:莱奥妮 magda:玛格达 naomi:内奥米
ottilie:奥蒂莉 phoebe:菲比 rita:丽塔 selma:塞尔玛 thea:西娅 valerie:瓦莱丽 winnie:维妮 zoe:佐伊 amelia:阿梅莉亚
beatrice:比阿特丽斯 carmen:卡门 dora:多拉 elena:埃莱娜 frida:弗里达 gwen:格温 hedwig:海德薇 ilse:伊尔丝 judith:朱迪丝
lydia:莉迪亚 miriam:米丽娅姆 nina:妮娜 odette:奥黛特 pamela:帕梅拉 rosa:罗莎 sylvia:西尔维娅 tilda:蒂尔达
verena:韦蕾娜 wilma:维尔玛
"""

TABLES["BOYS"] = """
adam:亚当 henry:亨利 victor:维克多 martin:马丁 hugo:雨果 daniel:丹尼尔 robert:罗伯特 thomas:托马斯 george:乔治
edward:爱德华 albert:阿尔伯特 bernard:伯纳德 charles:查尔斯 dennis:丹尼斯 emil:埃米尔 frank:弗兰克 gustav:古斯塔夫
harold:哈罗德 igor:伊戈尔 james:詹姆斯 kevin:凯文 louis:路易 michael:迈克尔 norman:诺曼 otto:奥托 paul:保罗
quentin:昆廷 richard:理查德 samuel:塞缪尔 theo:西奥 ulrich:乌尔里希 vincent:文森特 walter:沃尔特 xavier:泽维尔
yuri:尤里 anton:安东 boris:鲍里斯 conrad:康拉德 dmitri:德米特里 ernest:欧内斯特 fabian:法比安 gregor:格雷戈尔
hector:赫克托 isaac:艾萨克 jonas:约纳斯 karl:卡尔 lukas:卢卡斯 magnus:马格努斯 nathan:内森 oliver:奥利弗 philip:菲利普
ralph:拉尔夫 stefan:斯特凡 tobias:托比亚斯 valentin:瓦伦丁 werner:维尔纳 alan:艾伦 bruno:布鲁诺 colin:科林
dominik:多米尼克 erik:埃里克 ferdinand:费迪南德 gerald:杰拉尔德 horace:霍勒斯 ivan:伊万 julian:朱利安 kasper:卡斯珀
leonard:伦纳德 moritz:莫里茨 nikolai:尼古拉 orlando:奥兰多 patrick:帕特里克 roland:罗兰 sebastian:塞巴斯蒂安
timothy:蒂莫西 vernon:弗农 wilfred:威尔弗雷德 alvin:阿尔文 basil:巴兹尔 cedric:塞德里克 duncan:邓肯 elias:伊莱亚斯
finn:芬恩 gilbert:吉尔伯特
"""

# Further names are put together from a beginning and an end. English beginnings end in l, r, n or m; Chinese ends come
# in one form for each of them, since Chinese writes a consonant and the vowel behind it as one syllable.
BEGINNINGS = """
al:阿 bar:巴 bel:贝 cal:卡 cor:科 dar:达 del:德 dor:多 fal:法 gal:加 hal:哈 kel:凯 lor:洛 mal:马 mel:梅 mor:莫 nim:尼
nor:诺 per:佩 rin:里 sal:萨 sel:塞 tal:塔 tem:泰 tor:托 val:瓦 wil:威 fen:费 jor:乔 len:伦 man:曼 ber:贝 ger:格 far:法
kar:卡 mar:马 rol:罗 tam:塔 sam:萨 ner:内
"""
GIRL_ENDS = """
ia:莉娅:丽娅:妮娅:米娅 ina:莉娜:丽娜:妮娜:米娜 ette:莱特:蕾特:内特:梅特 issa:莉莎:丽莎:妮莎:米莎 ora:洛拉:罗拉:诺拉:莫拉
ene:莱妮:雷妮:内妮:梅妮 anda:兰达:兰达:南达:曼达 inda:琳达:琳达:宁达:敏达 ita:莉塔:丽塔:妮塔:米塔
ana:拉娜:兰娜:纳娜:玛娜
"""
BOY_ENDS = """
ic:利克:里克:尼克:米克 us:卢斯:鲁斯:努斯:穆斯 ard:拉德:拉德:纳德:马德 ian:利安:里安:尼安:米安 win:尔文:尔温:-:-
bert:尔伯特:尔伯特:-:- ton:尔顿:尔顿:-:- mund:尔蒙德:尔蒙德:-:- in:林:林:宁:明 an:兰:兰:南:曼 ido:利多:里多:尼多:米多
"""
NOT_NAMES = """
malice malic moron melon talon dorian walton dalton talus malus salus doric toric baric carbon torus barton marten
perian mania manic felon salina saline marina marine manard lenten samian manda belard mallard collard dollard melic
gallard galette palette noric manus menus tamina merlin berlin marlin martin german merman human woman
batman cabin basin resin margin virgin talian bean man can fan pan ran dan tan van in an solid herd
"""

TABLES["SETTINGS"] = """
t:in:town:小城:里 i:on:island:小岛:上 w:in:forest:森林:里 m:in:mountains:山:里 p:in:palace:王宫:里
o:at:oasis:绿洲:里 y:in:monastery:修道院:里 n:at:inn:客栈:里 d:on:estate:庄园:里
"""

TABLES["PLACES"] = """
in:library:图书馆:里:tcyp:i in:courtyard:院子:里:npyd:o in:cellar:地窖:里:ndyp:i in:attic:阁楼:里:ndvt:i
in:park:公园:里:tp:og in:grove:树林:里:wodi:og in:chapel:小教堂:里:ypdm:i in:greenhouse:温室:里:pdy:ig
on:terrace:露台:上:pdn:o in:cabin:小木屋:里:wmi:i on:slope:山坡:上:mw:og in:cave:山洞:里:mwi:i in:clearing:空地:上:w:o
in:museum:博物馆:里:t:i in:theatre:剧院:里:t:i in:mill:磨坊:里:vwf:i in:bookshop:书店:里:t:i in:pharmacy:药店:里:t:i
in:workshop:作坊:里:vtd:i on:balcony:阳台:上:pct:o in:ballroom:舞厅:里:pc:i in:gallery:画廊:里:pt:i
on:ferry:渡船:上:ih:o in:camp:营地:里:om:o in:tent:帐篷:里:om:i in:lane:小巷:里:tn:o in:dormitory:宿舍:里:y:i
in:refectory:餐厅:里:y:i in:cloister:回廊:里:y:o in:laundry:洗衣房:里:nd:i in:pantry:储藏室:里:ndc:i
in:henhouse:鸡舍:里:fd:i in:shed:棚子:里:fvd:i in:paddock:围场:里:fd:o on:ridge:山脊:上:m:o in:valley:山谷:里:mw:o
in:pasture:牧场:上:mf:o in:quarry:采石场:里:m:o at:bazaar:集市:上:o:o in:plantation:种植园:里:io:og
in:hut:茅屋:里:wiom:i in:watchtower:瞭望塔:里:wci:i on:shore:沙滩:上:ih:o in:taproom:酒馆:里:n:i
in:backyard:后院:里:n:og in:plot:菜园:里:y:og in:dovecote:鸽舍:里:dc:i in:smithy:铁匠铺:里:vt:i
"""

TABLES["THINGS"] = """
apron:围裙:条:* axe:斧子:把:* bag:袋子:个:* bell:铃铛:个:* belt:皮带:条:* blanket:毯子:条:* beret:贝雷帽:顶:*
boot:靴子:只:* bottle:瓶子:个:* bow:弓:张:* bowl:碗:个:* box:盒子:个:* bracelet:手镯:个:* brush:刷子:把:*
candle:蜡烛:根:* cane:手杖:根:* cap:鸭舌帽:顶:* card:卡片:张:* chain:链子:条:* cloak:斗篷:件:* clock:小钟:座:*
coat:外套:件:* comb:梳子:把:* compass:指南针:个:* cushion:垫子:个:* earring:耳环:只:* envelope:信封:个:* fan:扇子:把:*
feather:羽毛:根:* flag:旗子:面:* flask:水壶:个:* fork:叉子:把:* funnel:漏斗:个:* glove:手套:只:* goblet:高脚杯:个:*
hammer:锤子:把:* handkerchief:手帕:块:* helmet:头盔:顶:* hook:钩子:个:* horn:号角:支:* horseshoe:马蹄铁:块:*
jar:罐子:个:* jug:水罐:个:* kettle:烧水壶:把:* ladle:长勺:把:* lantern:灯笼:盏:* lock:锁:把:* magnet:磁铁:块:*
mask:面具:副:* mirror:镜子:面:* mitten:棉手套:只:* mug:马克杯:个:* nail:钉子:根:* napkin:餐巾:条:* necklace:项链:条:*
needle:针:根:* notebook:笔记本:个:* oar:船桨:支:* paintbrush:画笔:支:* pan:平底锅:口:* pen:钢笔:支:* pencil:铅笔:支:*
pillow:枕头:个:* pipe:烟斗:个:* plate:盘子:个:* pot:锅:口:* pouch:小包:个:* purse:钱包:个:* puzzle:拼图:幅:*
quilt:被子:床:* rake:耙子:把:* rug:小地毯:块:* ruler:尺子:把:* sack:麻袋:个:* saddle:马鞍:副:* sandal:凉鞋:只:*
saucer:茶碟:个:* saw:锯子:把:* scarf:围巾:条:* shawl:披肩:条:* shell:贝壳:个:* shirt:衬衫:件:* shoe:鞋:只:*
sickle:镰刀:把:* sieve:筛子:个:* skirt:裙子:条:* slate:石板:块:* slipper:拖鞋:只:* sock:袜子:只:* spoon:勺子:把:*
sponge:海绵:块:* stamp:邮票:枚:* stick:棍子:根:* stool:凳子:张:* sweater:毛衣:件:* sword:剑:把:* tambourine:铃鼓:面:*
teapot:茶壶:把:* telescope:望远镜:架:* thimble:顶针:枚:* tile:瓷砖:块:* torch:火把:支:* towel:毛巾:条:* tray:托盘:个:*
trumpet:小号:支:* vase:花瓶:个:* veil:面纱:块:* vest:背心:件:* violin:小提琴:把:* wallet:皮夹:个:* wand:魔杖:根:*
watch:手表:块:* wheel:轮子:个:* whip:鞭子:条:* whistle:哨子:个:* wig:假发:顶:* picture:画:幅:* photograph:照片:张:*
newspaper:报纸:份:* magazine:杂志:本:* dictionary:字典:本:* calendar:日历:本:* atlas:地图册:本:* accordion:手风琴:架:*
inkwell:墨水瓶:个:* cup:杯子:个:* knife:刀:把:* toy:玩具:个:* skate:冰鞋:只:* sledge:雪橇:架:*
"""

TABLES["SECRETS"] = """
jewel:宝石:颗:* crown:王冠:顶:* scroll:卷轴:个:* diamond:钻石:颗:* medal:奖章:枚:* statue:雕像:尊:*
manuscript:手稿:份:* amulet:护身符:个:* emerald:祖母绿:颗:* idol:神像:尊:* dagger:匕首:把:* chalice:圣杯:只:*
brooch:胸针:枚:* passport:护照:本:* contract:契约:份:* sapphire:蓝宝石:颗:* potion:药水:瓶:* casket:首饰盒:个:*
pearl:珍珠:颗:* treasure:宝物:件:* will:遗嘱:份:*
"""

TABLES["FRUITS"] = """
cherry:樱桃:颗 peach:桃子:个 apricot:杏子:颗 fig:无花果:个 lemon:柠檬:个 orange:橙子:个 lime:青柠:个
walnut:核桃:颗 chestnut:栗子:颗 hazelnut:榛子:颗 almond:扁桃:颗 strawberry:草莓:颗
raspberry:树莓:颗 blackberry:黑莓:颗 blueberry:蓝莓:颗 gooseberry:醋栗:颗 olive:橄榄:颗 mulberry:桑葚:颗
"""

TABLES["MANNERS"] = """
hurried:赶/到/了:1 strolled:慢慢/走/到/了:1 rushed:冲/到/了:1 wandered:溜达/到/了:1 dashed:飞奔/到/了:1
crept:悄悄/走/到/了:1 trotted:一路/小跑/来到/了:1
"""

TABLES["THIEVES"] = """
fox:只:狐狸 cat:只:猫 puppy:只:小狗 raccoon:只:浣熊 magpie:只:喜鹊 raven:只:渡鸦 squirrel:只:松鼠
"""
TABLES["EATERS"] = """
pig:头:猪 sheep:只:绵羊 goose:只:鹅 mouse:只:老鼠 rabbit:只:兔子 donkey:头:驴 cow:头:牛 deer:头:鹿 hen:只:母鸡
crow:只:乌鸦 parrot:只:鹦鹉 hedgehog:只:刺猬
"""

TABLES["PROUD"] = "satisfied:满意 triumphant:得意 elated:兴奋 jubilant:快活"
TABLES["GRATEFUL"] = ""
TABLES["SAD"] = "gloomy:忧郁 unhappy:伤心 heartbroken:心碎 downcast:沮丧 miserable:痛苦 discouraged:气馁"
TABLES["ANGRY"] = "furious:愤怒 annoyed:气恼 irritated:烦躁 indignant:气愤 resentful:不满 bitter:恼怒"
