"""The further rows of the tables for the size ``full``, with the columns of :mod:`plm_core.storyworld_v1.words`."""

from __future__ import annotations

# Names of people and towns are put together from a beginning and an end.
BEGINNINGS = """
al:阿尔 bar:巴 bel:贝尔 bri:布里 cal:卡尔 cor:科 dar:达 del:德尔 dor:多 el:艾尔 fal:法 fen:芬 gal:加尔 gor:戈 hal:哈尔
hel:赫尔 il:伊尔 jar:贾 jol:约尔 kal:凯尔 kir:基 lar:拉 lin:林 lor:洛 mal:马尔 mar:玛 mel:梅尔 mor:莫 nal:纳尔
nim:尼姆 nor:诺 ol:奥尔 or:奥 pal:帕尔 per:佩 quin:昆 ral:拉尔 rin:林恩 ror:罗 sal:萨尔 sel:塞尔 sor:索 tal:塔尔
tem:特姆 tor:托 ul:乌尔 val:瓦尔 ver:维 vin:文 wil:威尔 yal:亚尔 yor:约 zal:扎尔 zor:佐
"""
GIRL_ENDS = "ia:娅 ina:琳娜 ette:蒂 issa:莉莎 ora:朵拉 ene:妮 isa:伊莎 una:尤娜 ely:莉 anda:安黛 inda:琳达 ice:丝"
BOY_ENDS = "ic:里克 on:隆 us:斯 ard:德 mund:蒙德 ian:利安 win:温 bert:伯特 ulf:沃夫 ko:科夫 ton:顿 rek:雷克"
TOWN_ENDS = "stead:斯泰德 ford:福德 burg:堡 haven:黑文 wick:威克 mouth:茅斯 field:菲尔德 ville:维尔"

NOT_NAMES = "palette melon malice moron salon talon talus veranda baron torus halon doric falic falus melic"
"""What would be put together although it is a word, or reads like one."""

TABLES: dict[str, str] = {}

TABLES["SORTS"] = "lady:女士:f gentleman:先生:m"

TABLES["PLACES"] = """
in:bakery:面包店:里 in:barn:谷仓:里 in:bathroom:浴室:里 in:bedroom:卧室:里 in:cabin:小木屋:里 in:castle:城堡:里
in:cave:山洞:里 in:chapel:小教堂:里 in:cinema:电影院:里 in:courtyard:院子:里 in:desert:沙漠:里 in:factory:工厂:里
in:gallery:画廊:里 in:garage:车库:里 in:greenhouse:温室:里 in:gym:体育馆:里 in:hallway:走廊:里 in:hospital:医院:里
in:hotel:旅馆:里 in:jungle:丛林:里 in:laboratory:实验室:里 in:laundry:洗衣房:里 in:lighthouse:灯塔:里
in:meadow:草地:上 in:museum:博物馆:里 in:nursery:托儿所:里 in:office:办公室:里 in:orchard:果园:里 in:palace:宫殿:里
in:pantry:储藏室:里 in:park:公园:里 in:pharmacy:药店:里 in:playground:游乐场:里 in:prison:监狱:里
in:restaurant:餐厅:里 in:shed:棚子:里 in:stadium:体育场:里 in:studio:工作室:里 in:swamp:沼泽:里 in:temple:庙:里
in:theatre:剧院:里 in:tunnel:隧道:里 in:valley:山谷:里 in:vineyard:葡萄园:里 in:warehouse:仓库:里 in:workshop:车间:里
in:zoo:动物园:里 at:airport:机场:里 at:bank:银行:里 at:crossroads:十字路口:上 at:dock:码头:上 at:fountain:喷泉:边
at:gate:大门:边 at:lake:湖:边 at:mill:磨坊:里 at:pond:池塘:边 at:river:河:边 at:shore:岸:边 at:brook:小溪:边
at:station:车站:里 at:well:水井:边 on:balcony:阳台:上 on:boat:船:上 on:cliff:悬崖:上 on:deck:甲板:上 on:farm:农场:上
on:hill:小山:上 on:island:岛:上 on:path:小路:上 on:porch:门廊:上 on:square:广场:上 on:stage:舞台:上 on:stairs:楼梯:上
on:street:街:上 on:terrace:露台:上 on:train:火车:上
"""

TABLES["COLOURS"] = """
brown:棕色 grey:灰色 pink:粉色 purple:紫色 orange:橙色 golden:金色 silver:银色 turquoise:青绿色 crimson:深红色
beige:米色 violet:紫罗兰色 indigo:靛蓝色 ivory:象牙色 olive:橄榄色
"""

TABLES["OBJECTS"] = """
anchor:锚:个 armchair:扶手椅:把 arrow:箭:支 axe:斧头:把 badge:徽章:枚 bag:包:个 bandage:绷带:条 banner:横幅:条
barrel:木桶:个 basin:脸盆:个 bead:珠子:颗 bell:铃:个 belt:腰带:条 bicycle:自行车:辆 blanket:毯子:条 bolt:螺栓:个
boot:靴子:只 bottle:瓶子:个 bow:弓:张 bowl:碗:个 box:盒子:个 bracelet:手镯:个 brick:砖头:块 broom:扫帚:把
bucket:水桶:个 buckle:带扣:个 bulb:灯泡:个 button:纽扣:颗 cabinet:橱柜:个 cable:电缆:根 cage:笼子:个 calendar:日历:本
camera:照相机:台 candlestick:烛台:个 cane:手杖:根 canoe:独木舟:条 canvas:画布:块 cape:披肩:件 card:卡片:张
carpet:地毯:块 carriage:马车:辆 cart:手推车:辆 chain:链子:条 chart:图表:张 chest:箱子:个 chisel:凿子:把 clamp:夹子:个
clarinet:单簧管:支 cloak:斗篷:件 clock:钟:座 cloth:布:块 coat:大衣:件 collar:衣领:个 comb:梳子:把 compass:指南针:个
cork:软木塞:个 costume:戏服:套 crate:板条箱:个 crayon:蜡笔:支 cradle:摇篮:个 crown:王冠:顶 crutch:拐杖:根
crystal:水晶:块 curtain:窗帘:块 cushion:靠垫:个 dagger:匕首:把 diamond:钻石:颗 diary:日记:本 dice:骰子:颗 dish:盘子:个
doll:娃娃:个 drawer:抽屉:个 drawing:图画:幅 dress:连衣裙:条 drill:钻头:个 earring:耳环:只 easel:画架:个
envelope:信封:个 eraser:橡皮:块 fan:扇子:把 feather:羽毛:根 fence:栅栏:道 fiddle:提琴:把 file:锉刀:把 flag:旗:面
flask:烧瓶:个 folder:文件夹:个 fork:叉子:把 frame:相框:个 funnel:漏斗:个 gem:宝石:颗 glass:玻璃杯:个 globe:地球仪:个
goblet:高脚杯:个 gown:长袍:件 guitar:吉他:把 hammer:锤子:把 hammock:吊床:张 handbag:手提包:个 handkerchief:手帕:块
hanger:衣架:个 harp:竖琴:架 harness:马具:套 helmet:头盔:顶 hinge:铰链:个 hoe:锄头:把 hook:钩子:个
hoop:铁环:个 horn:号角:支 hose:软管:根 hourglass:沙漏:个 iron:熨斗:个 jacket:夹克:件 jar:罐子:个 jewel:珠宝:件
jug:水壶:个 kettle:茶壶:个 keyboard:键盘:个 knot:绳结:个 label:标签:张 lace:鞋带:根 ladder:梯子:架 ladle:长柄勺:把
lantern:灯笼:盏 leash:狗绳:根 lens:镜片:片 letter:信:封 lid:盖子:个 locket:吊坠盒:个 lock:锁:把 log:原木:根
loom:织布机:台 lute:鲁特琴:把 magazine:杂志:本 magnet:磁铁:块 mallet:木槌:把 map:地图:张 marble:弹珠:颗 mask:面具:个
mast:桅杆:根 match:火柴:根 mattress:床垫:张 medal:奖牌:块 microscope:显微镜:台 mirror:镜子:面 mitten:连指手套:只
mop:拖把:把 motor:马达:台 mug:马克杯:个 nail:钉子:颗 napkin:餐巾:块 necklace:项链:条 needle:针:根 net:网:张
newspaper:报纸:份 notebook:笔记本:本 oar:桨:支 oven:烤箱:台 package:包裹:个 padlock:挂锁:把 paddle:短桨:支
painting:油画:幅 palette:调色板:个 pan:平底锅:个 parasol:阳伞:把 parcel:邮包:个 pearl:珍珠:颗 pen:钢笔:支
pencil:铅笔:支 pendant:吊坠:个 photograph:照片:张 piano:钢琴:架 pillow:枕头:个 pin:别针:枚 pipe:烟斗:个
pitcher:大水罐:个 plank:木板:块 plate:碟子:个 pocketknife:小刀:把 postcard:明信片:张 poster:海报:张 pot:锅:口
pouch:小袋:个 pump:水泵:台 puppet:木偶:个 purse:钱包:个 puzzle:拼图:盒 quill:羽毛笔:支 quilt:被子:床 racket:球拍:个
radio:收音机:台 raft:木筏:只 rake:耙子:把 razor:剃刀:把 ribbon:丝带:条 rifle:步枪:支 robe:睡袍:件 rocket:火箭:枚
rod:竿子:根 roller:滚筒:个 rug:小地毯:块 ruler:尺子:把 sack:麻袋:个 saddle:马鞍:副 sail:帆:张 sandal:凉鞋:只
saucer:茶碟:个 saw:锯子:把 saxophone:萨克斯管:支 scarf:围巾:条 screw:螺丝:颗 screwdriver:螺丝刀:把 scroll:卷轴:个
sculpture:雕塑:座 seal:印章:枚 shawl:披巾:条 shell:贝壳:个 shield:盾牌:面 shirt:衬衫:件 shoe:鞋:只 shovel:铁锹:把
sickle:镰刀:把 sieve:筛子:个 sign:牌子:块 skate:溜冰鞋:只 skirt:裙子:条 sled:雪橇:架 slipper:拖鞋:只 soap:肥皂:块
sock:袜子:只 spade:铲子:把 sponge:海绵:块 spoon:勺子:把 stamp:邮票:张 statue:雕像:座 stick:棍子:根 stocking:长袜:只
stone:石头:块 stool:凳子:个 stove:炉子:个 strap:皮带:条 string:细绳:根 suitcase:行李箱:个 sweater:毛衣:件 sword:剑:把
tablecloth:桌布:块 tambourine:铃鼓:面 tape:胶带:卷 tassel:流苏:条 telescope:望远镜:架 tent:帐篷:顶
thermometer:温度计:支 thimble:顶针:个 thread:线:根 ticket:票:张 tile:瓦片:块 tin:铁罐:个 torch:火把:支 towel:毛巾:条
toy:玩具:件 trap:陷阱:个 tray:托盘:个 trophy:奖杯:座 trumpet:小号:支 trunk:大箱子:个 tub:木盆:个 tube:管子:根
tunic:短袍:件 turban:头巾:条 typewriter:打字机:台 umbrella:雨伞:把 uniform:制服:套 urn:瓮:个 vase:花瓶:个 veil:面纱:块
vest:背心:件 violin:小提琴:把 wagon:货车:辆 wallet:皮夹:个 wand:魔杖:根 watch:手表:块 wheel:轮子:个
wheelbarrow:独轮车:辆 whip:鞭子:根 whistle:哨子:个 wig:假发:顶 wire:电线:根 wreath:花环:个 wrench:扳手:把
yacht:游艇:艘 zipper:拉链:条
"""

TABLES["FRUITS"] = """
apricot:杏子:个 banana:香蕉:根 bean:豆子:颗 beet:甜菜:棵 biscuit:饼干:块 bun:小圆面包:个 cabbage:卷心菜:棵
candy:糖果:颗 cherry:樱桃:颗 chestnut:栗子:颗 coconut:椰子:个 cookie:曲奇:块 cucumber:黄瓜:根 date:枣:颗
doughnut:甜甜圈:个 dumpling:饺子:个 egg:鸡蛋:个 fig:无花果:个 grape:葡萄:颗 lemon:柠檬:个 lime:青柠:个 mango:芒果:个
melon:甜瓜:个 muffin:松饼:个 mushroom:蘑菇:朵 onion:洋葱:个 pancake:煎饼:张 peach:桃子:个 peanut:花生:颗
pepper:辣椒:个 pie:馅饼:块 pineapple:菠萝:个 potato:土豆:个 pumpkin:南瓜:个 radish:小萝卜:根 raisin:葡萄干:颗
sandwich:三明治:个 sausage:香肠:根 strawberry:草莓:颗 tomato:西红柿:个 turnip:芜菁:棵 walnut:核桃:颗
"""

TABLES["QUALITIES"] = """
ancient:古老 beautiful:美丽 bent:弯 big:大 bright:亮 cheap:便宜 coarse:粗糙 cold:冷 cracked:开裂 crooked:歪
curious:奇特 damp:潮湿 dark:暗 delicate:精致 dry:干 dull:暗淡 dusty:满是灰尘 elegant:优雅 empty:空 expensive:昂贵
famous:有名 fancy:花哨 filthy:肮脏 fine:细 flat:平 fragile:易碎 fresh:新鲜 funny:滑稽 genuine:真 gigantic:巨大
greasy:油腻 handy:方便 hard:硬 hidden:隐蔽 hollow:空心 hot:烫 huge:庞大 large:宽大 light:轻 long:长 loose:松
lovely:可爱 magnificent:壮观 modern:现代 muddy:泥泞 narrow:窄 neat:整齐 odd:古怪 ordinary:普通 perfect:完美 plain:朴素
polished:光滑 precious:珍贵 rare:稀有 rotten:腐烂 rough:毛糙 round:圆 rusty:生锈 sacred:神圣 scratched:划痕累累
shabby:破旧 sharp:锋利 shiny:闪亮 short:短 simple:简单 slippery:滑 small:小 smooth:平滑 soft:软 solid:结实
splendid:华丽 angular:有棱角 sticky:黏 stiff:僵硬 strange:奇怪 strong:牢固 sturdy:坚固 thick:厚 thin:薄 tiny:微小
torn:破烂 ugly:丑 unusual:不寻常 useful:有用 useless:没用 valuable:贵重 wet:湿 wide:宽 wonderful:奇妙 worn:磨损
"""

TABLES["FURNITURE"] = """
altar:祭坛:座 arch:拱门:座 bathtub:浴缸:个 bed:床:张 bench:长凳:条 bookcase:书橱:个 bookshelf:书架:个 boulder:巨石:块
bush:灌木:丛 chimney:烟囱:座 column:柱子:根 couch:长沙发:张 counter:柜台:个 desk:书桌:张 dresser:梳妆台:个
engine:发动机:台 fireplace:壁炉:座 flowerpot:花盆:个 freezer:冰柜:台 furnace:熔炉:座 hedge:树篱:道 hut:茅屋:座
lectern:讲台:座 locker:储物柜:个 machine:机器:台 monument:纪念碑:座 pillar:石柱:根 radiator:暖气片:片 rock:岩石:块
sofa:沙发:张 stall:货摊:个 throne:王座:个 tree:树:棵 trough:食槽:个 wall:墙:面 wardrobe:衣柜:个 workbench:工作台:张
"""

TABLES["MANNERS"] = """
bounced:蹦跳着走 charged:冲 crawled:爬 crept:悄悄走 danced:跳着舞走 dashed:飞奔 drifted:飘 flew:飞 hiked:徒步走
hobbled:一瘸一拐走 hopped:跳 limped:跛行 marched:大步走 plodded:慢吞吞走 raced:飞跑 rode:骑马 rolled:滚 rushed:急忙赶
sailed:乘船 skipped:蹦蹦跳跳走 sneaked:溜 sped:疾驰 sprinted:冲刺 staggered:摇摇晃晃走 strode:阔步走 strolled:散步
stumbled:跌跌撞撞走 swam:游 tiptoed:踮着脚走 travelled:旅行 trudged:艰难走 wandered:漫步
"""

TABLES["GOOD_MOODS"] = """
amused:开心 cheerful:愉快 content:满足 delighted:欣喜 elated:兴高采烈 excited:兴奋 grateful:感激 hopeful:充满希望
jolly:欢快 joyful:喜悦 merry:欢乐 pleased:满意 relieved:欣慰 satisfied:心满意足 thrilled:激动
"""
TABLES["SAD_MOODS"] = """
mournful:忧郁 bored:无聊 dejected:沮丧 desperate:绝望 disappointed:失望 discouraged:灰心 downcast:垂头丧气 forlorn:凄凉
heartbroken:心碎 homesick:想家 melancholy:伤感 miserable:痛苦 sorrowful:悲伤 unhappy:不快乐 wistful:惆怅
"""
TABLES["ANGRY_MOODS"] = """
annoyed:恼火 bitter:怨恨 cross:不高兴 enraged:暴怒 envious:羡慕 frustrated:懊恼 grumpy:暴躁 indignant:愤慨
irritated:烦躁 mad:气愤 offended:受伤 outraged:义愤 resentful:不满 sulky:闷闷不乐 upset:心烦
"""
TABLES["GOOD_WEATHER"] = "breeze:微风 dawn:曙光 moonlight:月光 rainbow:彩虹 starlight:星光 warmth:暖意"
TABLES["BAD_WEATHER"] = """
blizzard:暴风雪 chill:寒流 darkness:黑暗 downpour:倾盆大雨 drizzle:毛毛雨 drought:旱情 flood:洪水 frost:霜 gale:大风
hail:冰雹 heat:酷热 lightning:闪电 mist:薄雾 sleet:雨夹雪 smoke:烟 snow:雪 storm:风暴
"""

TABLES["ANIMALS"] = """
ant:scurried:只:蚂蚁:急急地爬 bat:fluttered:只:蝙蝠:扑打翅膀 bear:growled:头:熊:低吼 bee:buzzed:只:蜜蜂:嗡嗡叫
bull:snorted:头:公牛:喷鼻息 butterfly:hovered:只:蝴蝶:盘旋 calf:bleated:头:小牛:咩咩叫 camel:grunted:头:骆驼:哼哼
canary:trilled:只:金丝雀:啼啭 chicken:clucked:只:鸡:咯咯叫 cow:mooed:头:奶牛:哞哞叫 cricket:chirped:只:蟋蟀:唧唧叫
crow:cawed:只:乌鸦:呱呱叫 deer:grazed:头:鹿:吃草 donkey:brayed:头:驴:嘶吼 dove:cooed:只:鸽子:咕咕叫
duck:quacked:只:鸭子:嘎嘎叫 eagle:soared:只:鹰:翱翔 elephant:trumpeted:头:大象:吼叫 fish:splashed:条:鱼:溅水
fox:yelped:只:狐狸:尖叫 frog:croaked:只:青蛙:呱叫 goat:nibbled:只:山羊:啃草 goose:honked:只:鹅:昂昂叫
gull:screeched:只:海鸥:尖啸 hedgehog:rustled:只:刺猬:沙沙作响 heron:waded:只:苍鹭:涉水 kitten:purred:只:小猫:打呼噜
lamb:frolicked:只:羊羔:嬉戏 lion:roared:头:狮子:咆哮 lizard:basked:只:蜥蜴:晒太阳 mole:burrowed:只:鼹鼠:打洞
monkey:chattered:只:猴子:吱吱叫 mosquito:whined:只:蚊子:嗡鸣 mouse:squeaked:只:老鼠:吱叫 otter:dived:只:水獭:潜水
owl:hooted:只:猫头鹰:咕噜叫 parrot:squawked:只:鹦鹉:学舌 peacock:strutted:只:孔雀:昂首走 pig:oinked:头:猪:哼叫
pony:trotted:匹:小马:小跑 puppy:whimpered:只:小狗:呜呜叫 rabbit:hid:只:兔子:躲藏 rat:gnawed:只:鼠:啃咬
rooster:crowed:只:公鸡:打鸣 sheep:dozed:只:绵羊:打盹 snail:slithered:只:蜗牛:慢爬 snake:hissed:条:蛇:嘶嘶叫
sparrow:twittered:只:麻雀:叽叽喳喳 spider:lurked:只:蜘蛛:埋伏 squirrel:foraged:只:松鼠:找食
swallow:swooped:只:燕子:俯冲 swan:glided:只:天鹅:滑行 tiger:prowled:只:老虎:巡游 toad:squatted:只:蟾蜍:蹲着
turtle:dawdled:只:乌龟:磨蹭 wasp:droned:只:黄蜂:低鸣 whale:spouted:头:鲸:喷水 wolf:howled:只:狼:嚎叫
woodpecker:hammered:只:啄木鸟:敲木头
"""

TABLES["JOBS"] = """
accountant:会计 actor:演员 architect:建筑师 astronomer:天文学家 baker:面包师 banker:银行家 barber:理发师
biologist:生物学家 blacksmith:铁匠 bookseller:书商 bricklayer:砌砖工 builder:建筑工 butcher:屠夫 butler:管家
captain:船长 carpenter:木匠 cashier:收银员 chemist:化学家 clerk:职员 clown:小丑 coachman:马车夫 cobbler:鞋匠
composer:作曲家 conductor:指挥 cook:厨师 cooper:桶匠 dancer:舞蹈家 dentist:牙医 detective:侦探 diver:潜水员
doctor:医生 driver:司机 editor:编辑 electrician:电工 engineer:工程师 explorer:探险家 farmer:农夫 ferryman:摆渡人
fiddler:琴师 firefighter:消防员 fisherman:渔夫 florist:花匠 forester:护林员 gardener:园丁 geologist:地质学家
glassblower:吹玻璃工 goldsmith:金匠 grocer:杂货商 guard:守卫 guide:向导 hatter:帽匠 herbalist:草药师
historian:历史学家 hunter:猎人 innkeeper:客栈老板 inventor:发明家 jeweller:珠宝匠 jockey:骑师 journalist:记者
judge:法官 juggler:杂耍艺人 knight:骑士 lawyer:律师 librarian:图书管理员 locksmith:锁匠 magician:魔术师 maid:女仆
mason:石匠 mathematician:数学家 mayor:市长 mechanic:机械师 merchant:商人 messenger:信使 midwife:助产士 miller:磨坊主
miner:矿工 monk:修士 musician:音乐家 nurse:护士 optician:配镜师 painter:画家 pharmacist:药剂师 philosopher:哲学家
photographer:摄影师 physicist:物理学家 pianist:钢琴家 pilot:飞行员 plumber:水管工 poet:诗人 porter:搬运工
postman:邮递员 potter:陶工 priest:牧师 printer:印刷工 professor:教授 sailor:水手 salesman:推销员 scholar:学者
sculptor:雕塑家 seamstress:裁缝 secretary:秘书 shepherd:牧羊人 singer:歌手 smith:工匠 soldier:士兵 surgeon:外科医生
tailor:男裁缝 tanner:皮匠 teacher:老师 thatcher:茅屋匠 tinker:补锅匠 translator:翻译 trader:贸易商 veterinarian:兽医
waiter:服务员 watchmaker:钟表匠 weaver:织工 writer:作家 zoologist:动物学家
"""

TABLES["RELATIONS"] = """
cousin:表亲 neighbour:邻居 friend:朋友 partner:搭档 rival:对手 pupil:学生 helper:帮手 guest:客人 tenant:房客
classmate:同学 colleague:同事 customer:顾客 landlord:房东 companion:同伴 admirer:崇拜者 debtor:债务人
"""
TABLES["TIMES"] = "morning:早上 noon:中午 afternoon:下午 evening:傍晚 night:夜里"
TABLES["NUMBERS"] = """
eleven:十一 twelve:十二 thirteen:十三 fourteen:十四 fifteen:十五 sixteen:十六 seventeen:十七 eighteen:十八
nineteen:十九 twenty:二十
"""
