"""The corpora fetched from the network: the address, checksum and licence of each file."""

from __future__ import annotations

from dataclasses import dataclass

_GITHUB = "https://raw.githubusercontent.com/"
_NLTK = _GITHUB + "nltk/nltk_data/5db857e6f7df11eabb5e5665836db9ec8df07e28/packages/corpora/"
_MULTI30K = _GITHUB + "multi30k/dataset/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw/"
_PYTHON_ZH = _GITHUB + "python/python-docs-zh-cn/693cf6be2bc17f3d50ee21fe207c6964f3fab130/"
_JIEBA = _GITHUB + "fxsjy/jieba/67fa2e36e72f69d9134b8a1037b83fbb070b9775/"
_UD_GSD = _GITHUB + "UniversalDependencies/UD_Chinese-GSDSimp/eb3aed31ebb170897405ee5cd1db83a1a0b11864/"


@dataclass(frozen=True)
class RemoteFile:
    """One file of a corpus.

    Attributes:
        name: the file's name in the cache.
        url: a pinned address, whose content does not change.
        sha256: the checksum of the file as it is fetched.
        bytes: its length.
    """

    name: str
    url: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Corpus:
    """One corpus of the registry.

    Attributes:
        name: the name that ``plm data get`` takes; also its folder in the cache.
        description: what it holds, in one line.
        licence: the terms under which its owners give it.
        citation: the paper or page to cite.
        files: the files to fetch.
    """

    name: str
    description: str
    licence: str
    citation: str
    files: tuple[RemoteFile, ...]

    @property
    def bytes(self) -> int:
        """The size of the whole download."""
        return sum(file.bytes for file in self.files)

    def file(self, name: str) -> RemoteFile:
        """The file of that name."""
        return next(file for file in self.files if file.name == name)


TEXT8 = Corpus(
    name="text8",
    description="the first 100,000,000 characters of English Wikipedia (2006), lower-case letters and spaces only",
    licence="CC BY-SA (Wikipedia text)",
    citation="Mahoney (2011), About the test data, mattmahoney.net/dc/textdata",
    files=(
        RemoteFile(
            "text8.zip",
            "http://mattmahoney.net/dc/text8.zip",
            "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
            31_344_016,
        ),
    ),
)

TINYSHAKESPEARE = Corpus(
    name="tinyshakespeare",
    description="1.1 million characters from Shakespeare's plays",
    licence="public domain",
    citation="Karpathy (2015), The unreasonable effectiveness of recurrent neural networks",
    files=(
        RemoteFile(
            "input.txt",
            _GITHUB + "karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            1_115_394,
        ),
    ),
)

WIKITEXT2 = Corpus(
    name="wikitext-2",
    description="good and featured Wikipedia articles, 2 million words, rare words replaced by <unk>",
    licence="CC BY-SA 3.0",
    citation="Merity et al. (2017), Pointer sentinel mixture models",
    files=(
        RemoteFile(
            "wikitext-2-v1.zip",
            "https://wikitext.smerity.com/wikitext-2-v1.zip",
            "92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c",
            4_475_746,
        ),
        RemoteFile(
            "valid.txt",
            _GITHUB
            + "pytorch/examples/37ce9402ff0cae48d764d7788810fd2ed8238b25/word_language_model/data/wikitext-2/valid.txt",
            "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
            1_121_681,
        ),
    ),
)

MULTI30K = Corpus(
    name="multi30k",
    description="29,000 image captions in English with German translations",
    licence="research use (Flickr30k captions)",
    citation="Elliott et al. (2016), Multi30K: multilingual English-German image descriptions",
    files=tuple(
        RemoteFile(name, _MULTI30K + name, sha256, size)
        for name, sha256, size in (
            ("train.en.gz", "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f", 568_929),
            ("train.de.gz", "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6", 637_044),
            ("val.en.gz", "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28", 21_650),
            ("val.de.gz", "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a", 24_681),
            ("test_2016_flickr.en.gz", "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9", 21_077),
            ("test_2016_flickr.de.gz", "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8", 22_890),
        )
    ),
)

SENTENCE_POLARITY = Corpus(
    name="sentence-polarity",
    description="10,662 sentences from film reviews, half of them positive",
    licence="CC BY 4.0",
    citation="Pang and Lee (2005), Seeing stars",
    files=(
        RemoteFile(
            "sentence_polarity.zip",
            _NLTK + "sentence_polarity.zip",
            "6e1ed4405b65c7eabf1d199a7f7c437091ac21da0ea7467b410a74062574566b",
            490_256,
        ),
    ),
)

CONLL2002 = Corpus(
    name="conll2002",
    description="Spanish and Dutch news with named entities (persons, places, organisations, others)",
    licence="research use",
    citation="Tjong Kim Sang (2002), Introduction to the CoNLL-2002 shared task",
    files=(
        RemoteFile(
            "conll2002.zip",
            _NLTK + "conll2002.zip",
            "64440e49236d0d393e08e0b266284966d68e2d2a82a50cc41b8e96d98c03b5c8",
            1_867_449,
        ),
    ),
)

TREC_QUESTIONS = Corpus(
    name="trec-questions",
    description="5,952 English questions in 6 coarse and 50 fine classes of answer",
    licence="research use",
    citation="Li and Roth (2002), Learning question classifiers",
    files=(
        RemoteFile(
            "qc.zip",
            _NLTK + "qc.zip",
            "091fb01e50883014d150acb7d5013d787136968b3f955ae01725a65e7e80f304",
            125_456,
        ),
    ),
)

PYTHON_DOCS_ZH = Corpus(
    name="python-docs-zh",
    description="Python 3.13's tutorial and language reference in English and Chinese, paragraph by paragraph",
    licence="PSF licence; translations given under CC0",
    citation="Python Software Foundation (2025), Python documentation, Chinese translation",
    files=tuple(
        RemoteFile(page.replace("/", "-") + ".po", f"{_PYTHON_ZH}{page}.po", sha256, size)
        for page, sha256, size in (
            ("reference/compound_stmts", "9cc2a1051949ec3b9d9a9aecb9b1b4af978782e02008805b71b1552c0c873198", 140_629),
            ("reference/datamodel", "bf63b81ce82269bc57b6414c80ccb2e6239e3a3ed057823aea3e6108455ef565", 300_004),
            ("reference/executionmodel", "4191501d087f477110becad63e7bc2cc4698bfbf4a526314cbfbb05079b53d36", 35_974),
            ("reference/expressions", "59556c50ff8017548b85d8e09fc85a41ba0dedc90b7fbbf2250b6cf07576957a", 169_707),
            ("reference/import", "8580bb5d50d66c44b2260a294732f6d1fa4cd33ba2669d7e75535b3764825962", 93_226),
            ("reference/introduction", "e211ca815b993c36d3a0ff07a87b965aa7fdd9bbf9e8735bff9b15bcb1a088bc", 13_966),
            ("reference/lexical_analysis", "bb506a843456a1f9fae1f5e8e93cdebe2f64437d717d3952983a75dd3e7d7eb9", 80_430),
            ("reference/simple_stmts", "7d7f5d981178986b4bc95c5cacffb3fb04788581923aa584bbc41d5111fb8936", 85_646),
            (
                "reference/toplevel_components",
                "0fc5c8cd7c8386734fe60a6ebd76ba6dc485f691020c9855ae669826847e26af",
                7_659,
            ),
            ("tutorial/appendix", "7e7069162c7312a115ac7fd2272020eb17a5badf81a73e0a2eb6a5d3c843c886", 12_375),
            ("tutorial/appetite", "186f9483cb071c8d695ae36de8cc0627f3421cfcaf093315e5fcbb807ac48788", 10_077),
            ("tutorial/classes", "0f2ddda9c4aaaf4134cfafb70e2d271858d15edeb92d0cdf9ad9b139e55c8065", 78_907),
            ("tutorial/controlflow", "af38b6a99529da65b64b189b9558b89504e210c197e86133a1a2b0a4c93c87a5", 89_082),
            ("tutorial/datastructures", "64b293559009d0f00f7de0fd16c0cd6a0609542015c3a27d356d0d01954eaecf", 53_926),
            ("tutorial/errors", "bd08ffa4254c7f0bb6234485b1cf2c33f5d787612a228ef8272d4f89b0f1672f", 52_255),
            ("tutorial/floatingpoint", "0f458de499981e0bac1aab86765c5c78420cab59bf06721e1af75e91babc19e4", 29_963),
            ("tutorial/inputoutput", "c60658334679ad380634bf2b8eaf305fcb415dfb4b619f63967195cc2febd68a", 45_645),
            ("tutorial/interactive", "ad93f6ebfd10117728f2292c42fd57bc52981fe6068c7022d203dde1b627a3fd", 5_065),
            ("tutorial/interpreter", "e3fd39819b881ae7d6e3dad3f005ad98da42f9ae01b2dfdde4a513bcdaa6bcf6", 14_262),
            ("tutorial/introduction", "97155564d30acb857eee6693f99aff7ddc27977d5f4155e7285f85f1a4deafa1", 43_490),
            ("tutorial/modules", "2cf1cd9030bad5403e093e4917cb76f64c38f0d279a9cf124f85f1baf4521681", 54_915),
            ("tutorial/stdlib", "9d56b388d0c8d0dfb7fe4a69fda18aada1a4bc1cf57e01b834f6f0aceafc9ea5", 25_146),
            ("tutorial/stdlib2", "ae5269732c3e8f2a9aabf2d4aaabc2102506c89aa6a6c3ab89baeb5abade1748", 33_463),
            ("tutorial/venv", "58e83e9666b298b422a84c26f1120bb0cd14568ecaf7507fb1b745be08260210", 16_502),
            ("tutorial/whatnow", "c0e72429371839d0390695fcb4841ac0a816770234e9d5e5493388c43a7cbb0d", 7_659),
        )
    ),
)

UD_CHINESE_GSD = Corpus(
    name="ud-chinese-gsd",
    description="1,000 sentences of Chinese Wikipedia cut into words by hand (development and test sections)",
    licence="CC BY-SA 4.0",
    citation="Universal Dependencies (2025), UD Chinese GSDSimp",
    files=(
        RemoteFile(
            "zh_gsdsimp-ud-dev.conllu",
            _UD_GSD + "zh_gsdsimp-ud-dev.conllu",
            "342a2969df6d6d08bdc25dbc067c93c86ab3099bb054a9921ae7067cbc2c53ad",
            1_180_003,
        ),
        RemoteFile(
            "zh_gsdsimp-ud-test.conllu",
            _UD_GSD + "zh_gsdsimp-ud-test.conllu",
            "573f59b799b499a920d2d5bdc0e3c1dbd7bcacf86bdece4334ecbd03e21b6150",
            1_120_900,
        ),
    ),
)

JIEBA_DICTIONARY = Corpus(
    name="jieba-dictionary",
    description="109,749 Chinese words with their frequencies",
    licence="MIT",
    citation="Sun (2012), jieba, Chinese text segmentation",
    files=(
        RemoteFile(
            "dict.txt.small",
            _JIEBA + "extra_dict/dict.txt.small",
            "479cf8cc37e78bc908ae330d9153375547d4ff7f7d03a1ac4d4908d3677ff664",
            1_552_161,
        ),
    ),
)
"""The small dictionary of jieba, a program that cuts Chinese into words; not a text, so not among the corpora."""

CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        TEXT8,
        TINYSHAKESPEARE,
        WIKITEXT2,
        MULTI30K,
        SENTENCE_POLARITY,
        CONLL2002,
        TREC_QUESTIONS,
        PYTHON_DOCS_ZH,
        UD_CHINESE_GSD,
    )
}
"""Every networked corpus by its name."""


def corpus(name: str) -> Corpus:
    """Look a corpus up by its name.

    Raises:
        ValueError: no corpus has that name.
    """
    if name not in CORPORA:
        raise ValueError(f"unknown corpus {name!r}: there are {', '.join(CORPORA)}")
    return CORPORA[name]
