"""Tokenizers: what goes in comes back as far as promised, and Hugging Face reads what is saved."""

import json
import pickle
from itertools import pairwise

import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers
from transformers import AutoTokenizer

from plm_core.data import tokenizers as tokenizers_module
from plm_core.data.corpora import python_documentation
from plm_core.data.special_tokens import TokenizerSettings
from plm_core.data.tokenizer_training import train_bpe, train_characters, train_wordpiece, train_words
from plm_core.data.tokenizers import SPECIAL_TOKENS, Tokenizer, pad
from plm_core.data.wordpiece import is_chinese

ENGLISH = [document.text for document in python_documentation()[:20]]
CHINESE = ["小猫坐在窗边，看着外面的雨。", "她把红色的球放进盒子里，然后去了花园。", "盒子里的球是红色的吗？"] * 3
TEXTS = [*ENGLISH, *CHINESE]

CHARACTERS = train_characters(TEXTS)
WORDS = train_words(TEXTS)
BPE = train_bpe(TEXTS, vocab_size=1200)
WORDPIECE = train_wordpiece(TEXTS, vocab_size=1200)
ALL = {"characters": CHARACTERS, "words": WORDS, "bpe": BPE, "wordpiece": WORDPIECE}

PIECES = WORDPIECE.backend.get_vocab()
known_letters = st.text(
    [c for c in sorted(set("".join(TEXTS).lower())) if c.isspace() or {c, "##" + c} <= PIECES.keys() or is_chinese(c)]
)


def squeezed(text):
    return "".join(text.split())


@pytest.fixture(params=ALL)
def tokenizer(request):
    return ALL[request.param]


def test_special_tokens_have_the_same_ids_everywhere(tokenizer):
    assert [tokenizer.backend.token_to_id(token) for token in SPECIAL_TOKENS] == list(range(7))
    assert (tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id) == (0, 1, 2, 3)
    assert (tokenizer.mask_id, tokenizer.bos_id, tokenizer.eos_id) == (4, 5, 6)
    assert tokenizer.special_ids == set(range(7))


@pytest.mark.parametrize("train", [train_characters, train_words, train_bpe, train_wordpiece])
def test_training_twice_gives_the_same_tokenizer(train):
    first = train(TEXTS)
    assert train(iter(TEXTS)).fingerprint == first.fingerprint
    assert train(TEXTS[4:]).fingerprint != first.fingerprint


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_bpe_gives_every_string_back(text):
    assert BPE.decode(BPE.encode(text)) == BPE.normalise(text)
    assert BPE.unk_id not in BPE.encode(text)


@given(st.text("".join(sorted(set("".join(TEXTS))))))
@settings(max_examples=200, deadline=None)
def test_characters_give_known_characters_back(text):
    assert CHARACTERS.decode(CHARACTERS.encode(text)) == CHARACTERS.normalise(text)


def test_unknown_characters_become_unk_and_nothing_else_changes():
    assert CHARACTERS.decode(CHARACTERS.encode("a☃b")) == "a[UNK]b"


@given(known_letters)
@settings(max_examples=200, deadline=None)
def test_wordpiece_gives_known_letters_back_up_to_white_space(text):
    assert squeezed(WORDPIECE.decode(WORDPIECE.encode(text))) == squeezed(WORDPIECE.normalise(text))


@given(st.lists(st.sampled_from(sorted({word for text in ENGLISH for word in text.split() if word.isalpha()}))))
@settings(max_examples=100, deadline=None)
def test_words_give_known_words_back(words):
    assert WORDS.decode(WORDS.encode("  ".join(words))) == " ".join(words)


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_offsets_point_at_the_text_of_each_token(text):
    for tokenizer in (WORDPIECE, CHARACTERS):
        encoding = tokenizer.encoding(text)
        for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
            assert 0 <= start <= end <= len(text)
            if token != "[UNK]":
                piece = squeezed(tokenizer.normalise(text[start:end]))
                assert squeezed(token.removeprefix("##")) in piece


@given(st.lists(st.one_of(st.text(max_size=30), st.text("ab c'\n\té小 \u0301\x1c", max_size=40)), max_size=8))
@settings(max_examples=200, deadline=None)
def test_many_texts_at_once_have_the_ids_of_each_alone(texts):
    for tokenizer in ALL.values():
        assert tokenizer.encode_all(texts) == [tokenizer.encode(text) for text in texts]


def test_what_is_remembered_is_bounded(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizers_module, "MAX_REMEMBERED", 50)
    texts = [" ".join(text.split()[:30]) for text in ENGLISH] + ["x" * 100]
    for text in texts:
        assert tokenizer.encode_all([text, "the"]) == [tokenizer.encode(text), tokenizer.encode("the")]
        assert len(tokenizer._known) <= 50
        assert "x" * 100 not in tokenizer._known
    assert tokenizer.encode_all(["the"], add_special_tokens=True) == [tokenizer.encode("the", add_special_tokens=True)]


def test_offsets_of_an_answer_lead_back_into_the_original_text():
    text = "The CAFÉ — it's 咖啡馆 — opens at 9."
    encoding = BPE.encoding(text)
    covered = {i for start, end in encoding.offsets for i in range(start, end)}
    assert covered == set(range(len(text)))
    assert [text[s:e] for (s, e), w in zip(WORDS.encoding(text).offsets, WORDS.encoding(text).tokens, strict=True)][
        :3
    ] == ["The", "CAFÉ", "—"]


def test_special_tokens_written_in_a_text_are_plain_text(tokenizer):
    ids = tokenizer.encode("[MASK] [CLS] is text [PAD]")
    assert not {tokenizer.mask_id, tokenizer.cls_id, tokenizer.pad_id} & set(ids)


def test_normal_forms():
    decomposed, full_width = "cafe\u0301", "ＡＢＣ"
    assert train_bpe(TEXTS).normalise(decomposed) == "café"
    assert train_bpe(TEXTS).normalise(full_width) == full_width
    assert train_bpe(TEXTS, normalization="NFKC").normalise(full_width) == "ABC"
    assert train_bpe(TEXTS, normalization=None).normalise(decomposed) == decomposed
    assert train_words(TEXTS, lowercase=True).tokens("THE") == ["the"]
    assert train_wordpiece(TEXTS, lowercase=False).encode("The") != WORDPIECE.encode("The")


def test_chinese_characters_are_words_of_their_own():
    assert WORDS.tokens("红色的球") == ["红", "色", "的", "球"]
    assert WORDPIECE.tokens("the红球") == ["the", "红", "球"]
    assert "盒子" in "".join(BPE.tokens("盒子里的球"))
    assert BPE.unk_id not in BPE.encode("从未见过的汉字𠀀")


def test_the_vocabulary_is_as_large_as_asked_and_counts_its_special_tokens():
    assert BPE.vocab_size == len(BPE) == 1200
    assert WORDPIECE.vocab_size == 1200
    assert train_words(TEXTS, max_vocab_size=100).vocab_size == 100
    assert train_words(["a a b"], min_frequency=2).vocab_size == 9, "seven special tokens, the line end, and one word"
    with pytest.raises(ValueError, match="at least 263"):
        train_bpe(TEXTS, vocab_size=262)
    with pytest.raises(ValueError, match="raise vocab_size"):
        train_wordpiece(TEXTS, vocab_size=50)


def test_one_string_is_not_several_texts():
    with pytest.raises(ValueError, match="give a list"):
        train_bpe("one text")


def test_a_batch_is_padded_to_its_longest_and_the_mask_marks_text(tokenizer):
    batch = tokenizer.batch(["The ball is red.", "", "ball"])
    ids, mask = batch["input_ids"], batch["attention_mask"]
    assert ids.dtype == torch.int64
    assert mask.dtype == torch.bool
    assert ids.shape == mask.shape == batch["token_type_ids"].shape
    assert mask.any(0).all(), "no column is padding alone"
    assert ((ids == tokenizer.pad_id) == ~mask).all()
    alone = tokenizer.encode("ball", add_special_tokens=True)
    assert ids[2, mask[2]].tolist() == alone
    assert alone[0] == tokenizer.cls_id
    assert alone[-1] == tokenizer.sep_id


def test_pairs_have_types_zero_and_one(tokenizer):
    batch = tokenizer.batch(["who is it?"], ["it is the ball"])
    types = batch["token_type_ids"][0]
    end = (batch["input_ids"][0] == tokenizer.sep_id).nonzero()[0].item()
    assert (types[: end + 1] == 0).all()
    assert (types[end + 1 :] == 1).all()
    with pytest.raises(ValueError, match="one pair for each text"):
        tokenizer.batch(["a", "b"], ["c"])


def test_too_long_a_text_is_an_error_unless_truncation_is_asked_for(tokenizer):
    long = "the ball is in the box " * 20
    with pytest.raises(ValueError, match=r"text 1 has \d+ tokens, the limit is 16"):
        tokenizer.batch(["the", long], max_length=16)
    batch = tokenizer.batch(["the", long], max_length=16, truncation="longest_first")
    assert batch["input_ids"].shape == (2, 16)
    assert batch["input_ids"][1, -1] == tokenizer.sep_id, "the frame survives the cut"
    assert len(tokenizer.encode(long)) > 16, "truncation does not outlive its batch"


def test_only_second_keeps_the_question_whole():
    question = WORDPIECE.encode("where is the ball?")
    batch = WORDPIECE.batch(["where is the ball?"], ["the box " * 50], max_length=20, truncation="only_second")
    assert batch["input_ids"][0, 1 : 1 + len(question)].tolist() == question


@pytest.mark.parametrize("stride", [0, 3])
def test_windows_cover_the_whole_context_and_overlap_by_the_stride(stride):
    question, context = "where is the ball?", " ".join(document.split(".")[0] for document in ENGLISH[:5])
    windows = BPE.windows(question, context, max_length=30, stride=stride)
    asked, wanted = BPE.encode(question), BPE.encode(context)
    parts = []
    for window in windows:
        assert len(window.ids) <= 30
        assert window.ids[1 : 1 + len(asked)] == asked
        parts.append(
            [i for i, t, s in zip(window.ids, window.type_ids, window.special_tokens_mask, strict=True) if t and not s]
        )
    joined = parts[0] + [token for part in parts[1:] for token in part[stride:]]
    assert joined == wanted
    assert all(left[len(left) - stride :] == right[:stride] for left, right in pairwise(parts))
    with pytest.raises(ValueError, match="raise max_length"):
        BPE.windows(question, context, max_length=len(asked) + 4, stride=3)


def test_decoding_a_foreign_id_names_it(tokenizer):
    with pytest.raises(ValueError, match=f"token id {tokenizer.vocab_size} at position 1 is out of range"):
        tokenizer.decode([7, tokenizer.vocab_size])
    assert isinstance(tokenizer.decode(torch.tensor([8, 9])), str)


def test_special_tokens_can_be_left_out_of_decoding(tokenizer):
    ids = tokenizer.encode("ball", add_special_tokens=True)
    assert "[CLS]" in tokenizer.decode(ids)
    assert "[" not in tokenizer.decode(ids, skip_special_tokens=True)


def test_saved_and_loaded_it_is_the_same(tokenizer, tmp_path):
    loaded = Tokenizer.load(tokenizer.save(tmp_path / "tokenizer"))
    assert loaded.fingerprint == tokenizer.fingerprint
    assert Tokenizer.load(tmp_path / "tokenizer" / "tokenizer.json").encode(ENGLISH[0]) == tokenizer.encode(ENGLISH[0])


@pytest.mark.parametrize("name", ALL)
def test_hugging_face_reads_the_saved_folder(name, tmp_path):
    ours = ALL[name]
    theirs = AutoTokenizer.from_pretrained(ours.save(tmp_path))
    texts = ["The ball is in the box.", "它在盒子里 [MASK]", "☃", ""]
    for text in texts:
        assert theirs(text)["input_ids"] == ours.encode(text, add_special_tokens=True)
    both = theirs(texts, texts[::-1], padding=True, return_tensors="pt")
    batch = ours.batch(texts, texts[::-1])
    assert torch.equal(both["input_ids"], batch["input_ids"])
    assert torch.equal(both["attention_mask"].bool(), batch["attention_mask"])
    assert torch.equal(both["token_type_ids"], batch["token_type_ids"])
    assert (theirs.pad_token_id, theirs.mask_token_id, theirs.eos_token_id) == (0, 4, 6)
    assert len(theirs) == ours.vocab_size


def test_bad_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no tokenizer at"):
        Tokenizer.load(tmp_path / "nothing")
    (tmp_path / "tokenizer.json").write_text('{"half": ')
    with pytest.raises(ValueError, match="is not a tokenizer"):
        Tokenizer.load(tmp_path)
    content = json.loads(BPE.backend.to_str())
    content["model"]["vocab"]["the" if "the" in content["model"]["vocab"] else "t"] = 99_999
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="99999 is out of range"):
        Tokenizer.load(tmp_path)


def foreign_tokenizer(**special_tokens: str) -> Tokenizer:
    """A tokenizer that is not ours: other ids, other special tokens."""
    backend = tokenizers.Tokenizer(
        models.WordLevel({"a": 0, "b": 1, "<pad>": 5, "<end>": 7, "<?>": 9}, unk_token="<?>")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens(["<pad>", "<end>", "<?>"])
    backend.enable_truncation(3)
    backend.enable_padding(length=3, pad_id=5, pad_token="<pad>")
    return Tokenizer(backend, TokenizerSettings(special_tokens, max_length=8))


def test_a_foreign_tokenizer_keeps_its_ids_special_tokens_and_truncation(tmp_path):
    foreign = foreign_tokenizer(pad_token="<pad>", eos_token="<end>", unk_token="<?>")
    assert (foreign.pad_id, foreign.eos_id, foreign.unk_id, foreign.vocab_size) == (5, 7, 9, 10)
    assert foreign.special_ids == {5, 7, 9}
    assert foreign.encode("a b b a c") == [0, 1, 1, 0, 9]  # neither cut nor padded before somebody says so
    assert foreign.encode("a <end>") == [0, 7]
    assert foreign.encode_all(["a <end>", "b"]) == [[0, 7], [1]]
    for copy in (Tokenizer.load(foreign.save(tmp_path)), pickle.loads(pickle.dumps(foreign))):
        assert copy.settings == foreign.settings
        assert copy.fingerprint == foreign.fingerprint
        assert copy.encode("a b b a c") == [0, 1, 1, 0, 9]
    assert json.loads((tmp_path / "tokenizer.json").read_text())["truncation"]["max_length"] == 3


def test_a_missing_special_token_is_named_when_it_is_needed():
    foreign = foreign_tokenizer(eos_token="<end>")
    assert foreign.pad_id == 7  # lent: masks hide padding
    with pytest.raises(ValueError, match="no mask_token, which is needed here; its special tokens: eos_token <end>"):
        _ = foreign.mask_id
    with pytest.raises(ValueError, match="'<none>' is not in the tokenizer's vocabulary"):
        foreign_tokenizer(mask_token="<none>")


def test_special_tokens_in_a_text_stay_text_in_copies_of_our_tokenizers():
    assert pickle.loads(pickle.dumps(BPE)).encode("[MASK]") == BPE.encode("[MASK]") != [BPE.mask_id]


def test_half_a_surrogate_pair_is_refused_by_its_place():
    for encode in (BPE.encode, lambda text: BPE.encode_all([text]), lambda text: BPE.batch([text])):
        with pytest.raises(ValueError, match="character 2 of the text is half a surrogate pair"):
            encode("a \ud83d b")


def test_pad_fills_up_on_the_right():
    assert pad([[1, 2, 3], [4]], 0).tolist() == [[1, 2, 3], [4, 0, 0]]
    assert pad([[1]], 9, multiple_of=4).tolist() == [[1, 9, 9, 9]]
    assert pad([], 0).shape == (0, 0)
