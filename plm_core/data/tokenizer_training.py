"""Training of tokenizers: characters, words, byte-level BPE and WordPiece, over the Hugging Face library.

The algorithms that chapter 02 builds stand in :mod:`plm_core.data.bpe` and :mod:`plm_core.data.wordpiece`, and a test
shows that these functions learn the same vocabulary; the work is done by the ``tokenizers`` library.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

from plm_core.data.cutting import without_long_runs
from plm_core.data.tokenizers import SPECIAL_TOKENS, Tokenizer

LINE_END = "\n"
Normalization = Literal["NFC", "NFKC"]


MAX_VOCAB_SIZE = 2**20
"""The largest vocabulary that is trained: four times that of any published model."""

TokenizerKind = Literal["characters", "words", "bpe", "wordpiece"]


def train_tokenizer_of_kind(kind: str, texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train a tokenizer of a kind that has a name, with the default settings of its kind.

    Args:
        kind: a :data:`TokenizerKind`.
        texts: the *training* texts, and no others.
        vocab_size: upper limit of the vocabulary, special tokens included.
    """
    match kind:
        case "characters":
            return train_characters(texts, max_vocab_size=vocab_size)
        case "words":
            return train_words(texts, max_vocab_size=vocab_size)
        case "bpe":
            return train_bpe(texts, vocab_size=vocab_size)
        case "wordpiece":
            return train_wordpiece(texts, vocab_size=vocab_size)
    raise ValueError(f"unknown kind of tokenizer {kind!r}: use characters, words, bpe or wordpiece")


def check_vocab_size(vocab_size: int, smallest: int, room: str) -> None:
    """Refuse a size of a vocabulary before anything is allocated for it.

    Args:
        vocab_size: the size.
        smallest: the least that it must be.
        room: what such a vocabulary must have room for besides the special tokens.

    Raises:
        ValueError: fewer than the least, or more than :data:`MAX_VOCAB_SIZE`.
    """
    if not smallest <= vocab_size <= MAX_VOCAB_SIZE:
        raise ValueError(
            f"the vocabulary must have at least {smallest} tokens ({len(SPECIAL_TOKENS)} special tokens and {room}) "
            f"and at most {MAX_VOCAB_SIZE:,}, got vocab_size={vocab_size if abs(vocab_size) < 10**18 else 'far more'}"
        )


def train_characters(
    texts: Iterable[str],
    *,
    max_vocab_size: int = 10_000,
    min_frequency: int = 1,
    lowercase: bool = False,
    normalization: Normalization | None = "NFC",
) -> Tokenizer:
    """One token per character (Unicode code point), the most frequent first; the line end is always one of them.

    Args:
        texts: the *training* texts, and no others.
        max_vocab_size: upper limit of the vocabulary, special tokens included.
        min_frequency: rarer characters become [UNK].
        lowercase: turn everything into lower case first.
        normalization: the Unicode form: NFC joins letters and accents, NFKC also folds full-width and other
            compatibility forms; None leaves the text alone.

    Raises:
        ValueError: a vocabulary without room for a character, or larger than :data:`MAX_VOCAB_SIZE`.
    """
    check_vocab_size(max_vocab_size, len(SPECIAL_TOKENS) + 2, "the line end and one more")
    backend = tokenizers.Tokenizer(models.WordLevel(unk_token="[UNK]"))
    backend.normalizer = _normalizer(normalization, lowercase)
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    trainer = trainers.WordLevelTrainer(
        vocab_size=max_vocab_size, min_frequency=min_frequency, special_tokens=list(SPECIAL_TOKENS), show_progress=False
    )
    return _trained(backend, trainer, texts)


def train_words(
    texts: Iterable[str],
    *,
    max_vocab_size: int = 30_000,
    min_frequency: int = 1,
    lowercase: bool = False,
    normalization: Normalization | None = "NFC",
) -> Tokenizer:
    """One token per word, punctuation mark, Chinese character or line end; arguments: :func:`train_characters`."""
    check_vocab_size(max_vocab_size, len(SPECIAL_TOKENS) + 2, "the line end and one more")
    backend = tokenizers.Tokenizer(models.WordLevel(unk_token="[UNK]"))
    backend.normalizer = _bert_normalizer(normalization, lowercase)
    backend.pre_tokenizer = _bert_splitter()
    backend.decoder = _bert_decoder()
    trainer = trainers.WordLevelTrainer(
        vocab_size=max_vocab_size, min_frequency=min_frequency, special_tokens=list(SPECIAL_TOKENS), show_progress=False
    )
    return _trained(backend, trainer, texts)


def train_bpe(
    texts: Iterable[str],
    *,
    vocab_size: int = 8_000,
    min_frequency: int = 2,
    lowercase: bool = False,
    normalization: Normalization | None = "NFC",
) -> Tokenizer:
    """Byte-level byte-pair encoding (Sennrich et al. 2016; on bytes as in GPT-2, Radford et al. 2019).

    Args:
        texts: the *training* texts, and no others.
        vocab_size: special tokens, 256 bytes and merges together; small texts give fewer merges.
        min_frequency: pairs seen less often are not merged.
        lowercase, normalization: as for :func:`train_characters`.

    Raises:
        ValueError: a vocabulary that has no room for the 256 bytes.
    """
    check_vocab_size(vocab_size, len(SPECIAL_TOKENS) + 256, "the 256 bytes")
    backend = tokenizers.Tokenizer(models.BPE())
    backend.normalizer = _normalizer(normalization, lowercase)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    return _trained(backend, trainer, texts)


def train_wordpiece(
    texts: Iterable[str],
    *,
    vocab_size: int = 8_000,
    min_frequency: int = 2,
    lowercase: bool = True,
    normalization: Normalization | None = "NFC",
) -> Tokenizer:
    """WordPiece as in BERT (Devlin et al. 2019): words and Chinese characters, longest known piece first.

    Other than in BERT, the line end is a token, so that a causal model learns where lines end.

    The library's trainer joins the most frequent pair, as BPE does, where Schuster and Nakajima (2012) join the pair
    that raises the likelihood most; chapter 02 compares the two.

    Args:
        texts: the *training* texts, and no others.
        vocab_size: special tokens, characters and pieces together.
        min_frequency: pairs seen less often are not merged.
        lowercase, normalization: as for :func:`train_characters`.
    """
    check_vocab_size(vocab_size, len(SPECIAL_TOKENS) + 1, "a character")
    texts = list(_prepared(texts))
    normalizer, splitter = _bert_normalizer(normalization, lowercase), _bert_splitter()
    words: set[str] = set().union(*(normalizer.normalize_str(text).split() for text in texts))
    inner = sorted({letter for word, _ in splitter.pre_tokenize_str(" ".join(words)) for letter in word[1:]})
    draft = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    draft.normalizer, draft.pre_tokenizer = normalizer, splitter
    # Left alone, the trainer numbers the inner letters in the order of a hash table, which differs from run to run, and
    # settles ties by number. Given as "special" tokens of a draft they have fixed numbers.
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[*SPECIAL_TOKENS, *("##" + letter for letter in inner)],
        initial_alphabet=[LINE_END],
        show_progress=False,
    )
    draft.train_from_iterator(texts, trainer)
    backend = tokenizers.Tokenizer(models.WordPiece(draft.get_vocab(), unk_token="[UNK]"))
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    backend.normalizer, backend.pre_tokenizer = normalizer, splitter
    backend.decoder = _bert_decoder()
    if backend.get_vocab_size() > vocab_size:
        raise ValueError(
            f"the texts have so many characters that vocab_size={vocab_size} has no room for them: it needs at least "
            f"{backend.get_vocab_size()}; raise vocab_size, or use byte-level BPE"
        )
    return _framed(backend)


def word_tokenizer(words: list[str]) -> Tokenizer:
    """A tokenizer over a known vocabulary, for text whose words stand between spaces; line ends are white space."""
    vocabulary = {word: number for number, word in enumerate([*SPECIAL_TOKENS, *words])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    splitter = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("[", "isolated")]  # no word is spelt [MASK]
    backend.pre_tokenizer = pre_tokenizers.Sequence(splitter)
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    return Tokenizer(backend)


def _normalizer(normalization: Normalization | None, lowercase: bool) -> normalizers.Normalizer:
    steps: list[normalizers.Normalizer] = []
    if normalization is not None:
        steps.append({"NFC": normalizers.NFC(), "NFKC": normalizers.NFKC()}[normalization])
    if lowercase:
        steps.append(normalizers.Lowercase())
    return normalizers.Sequence(steps)


def _bert_normalizer(normalization: Normalization | None, lowercase: bool) -> normalizers.Normalizer:
    """Besides the Unicode form: control characters out, spaces around Chinese characters; line ends stay."""
    bert = normalizers.BertNormalizer(
        clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=lowercase
    )
    line_ends = normalizers.Replace(Regex(r"\r\n?"), LINE_END)
    clean = normalizers.Replace(Regex(r"[\p{Cc}\p{Cf}\p{Co}\uFFFD&&[^\t\n]]"), "")
    return normalizers.Sequence([_normalizer(normalization, lowercase=False), line_ends, clean, bert])


def _bert_splitter() -> pre_tokenizers.PreTokenizer:
    """Words between white space, with line ends and each punctuation mark on their own."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[^\S\n]+"), "removed"),
            pre_tokenizers.Split(LINE_END, "isolated"),
            pre_tokenizers.Punctuation("isolated"),
        ]
    )


def _bert_decoder() -> decoders.Decoder:
    """Pieces joined to words with spaces between them, but none beside a line end or between Chinese characters."""
    chinese = r"[\u3000-\u303F\u3400-\u4DBF\u4E00-\u9FFF\uFF00-\uFF60]"
    return decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=False),
            decoders.Fuse(),
            decoders.Replace(Regex(" ?\n ?"), LINE_END),
            decoders.Replace(Regex(f"(?<={chinese}) (?={chinese})"), ""),
        ]
    )


def _trained(backend: tokenizers.Tokenizer, trainer: trainers.Trainer, texts: Iterable[str]) -> Tokenizer:
    backend.train_from_iterator(_prepared(texts), trainer)
    if isinstance(trainer, trainers.WordLevelTrainer):
        _with_line_end(backend, trainer.vocab_size)
    return _framed(backend)


def _prepared(texts: Iterable[str]) -> Iterator[str]:
    if isinstance(texts, str):
        raise ValueError("texts must be several texts, got one string: give a list, for example [text]")
    return without_long_runs(texts)


def _with_line_end(backend: tokenizers.Tokenizer, max_vocab_size: int) -> None:
    """Give a vocabulary of whole words or characters the line end, instead of the rarest where it is full."""
    vocabulary = backend.get_vocab()
    if LINE_END in vocabulary:
        return
    if len(vocabulary) >= max_vocab_size > len(SPECIAL_TOKENS):
        vocabulary = {token: number for token, number in vocabulary.items() if number < max_vocab_size - 1}
    backend.model = models.WordLevel({**vocabulary, LINE_END: len(vocabulary)}, unk_token="[UNK]")
    backend.add_special_tokens(list(SPECIAL_TOKENS))


def _framed(backend: tokenizers.Tokenizer) -> Tokenizer:
    """Add the frame of special tokens, ``[CLS] text [SEP] pair [SEP]``."""
    cls_id, sep_id = SPECIAL_TOKENS.index("[CLS]"), SPECIAL_TOKENS.index("[SEP]")
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", cls_id), ("[SEP]", sep_id)],
    )
    return Tokenizer(backend)
