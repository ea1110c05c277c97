"""The corpora fetched from the network: the address, checksum and licence of each file."""

from __future__ import annotations

from dataclasses import dataclass

_GITHUB = "https://raw.githubusercontent.com/"
_NLTK = _GITHUB + "nltk/nltk_data/5db857e6f7df11eabb5e5665836db9ec8df07e28/packages/corpora/"
_MULTI30K = _GITHUB + "multi30k/dataset/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw/"


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

CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (TEXT8, TINYSHAKESPEARE, WIKITEXT2, MULTI30K, SENTENCE_POLARITY, CONLL2002, TREC_QUESTIONS)
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
