"""A tokenizer in Hugging Face's layout frames texts as the model was trained, and tokenizers of others are read as
they are."""

import json

import pytest
import tokenizers
import transformers

from plm_core.data.tokenizer_training import train_bpe, train_characters, train_wordpiece, train_words
from plm_core.data.tokenizers import SPECIAL_TOKENS, Tokenizer
from plm_core.generation.text import continue_text, fill
from plm_core.interop import open_folder, save_pretrained
from plm_core.interop.tokenizer_files import load_tokenizer
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.gpt import Gpt, GptConfig

TEXTS = ["Anna carries the red lamp to the garden.", "安娜把红灯拿到花园。", "Is it naïve? \U0001f600 [SEP]"] * 10
TRAINERS = {"characters": train_characters, "words": train_words, "bpe": train_bpe, "wordpiece": train_wordpiece}
HARD = [*TEXTS[:3], "", " two  spaces ", "line\nline\ttab", "unseen: ☃ ÆØÅ", "\u200b\x00"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(autouse=True)
def _offline(monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def trained(kind: str) -> Tokenizer:
    sizes = {"vocab_size": 400} if kind in ("bpe", "wordpiece") else {}
    return TRAINERS[kind](TEXTS, **sizes)


@pytest.mark.parametrize("kind", TRAINERS)
@pytest.mark.parametrize("position", ["learned", "rope"])
def test_a_causal_model_is_prompted_as_it_was_trained(kind, position, tmp_path) -> None:
    ours = trained(kind)
    model = Gpt(GptConfig(vocab_size=ours.vocab_size, position=position, **SIZES))
    save_pretrained(model, tmp_path, tokenizer=ours)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in [*HARD, "[MASK] is text [EOS]"]:
        found = theirs(text)
        assert found["input_ids"] == [ours.bos_id, *ours.encode(text)]
        assert set(found) == {"input_ids", "attention_mask"}
    assert theirs.model_max_length == 128
    assert (theirs.eos_token, theirs.pad_token_id) == ("[EOS]", ours.pad_id)
    assert load_tokenizer(tmp_path).encode_all(HARD) == ours.encode_all(HARD)


@pytest.mark.parametrize("kind", TRAINERS)
def test_an_encoder_reads_texts_and_pairs_as_it_was_trained(kind, tmp_path) -> None:
    ours = trained(kind)
    save_pretrained(Bert(BertConfig(vocab_size=ours.vocab_size, **SIZES)), tmp_path, tokenizer=ours)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = [text for text in HARD if "[SEP]" not in text]
    for text in texts:
        assert theirs(text)["input_ids"] == [ours.cls_id, *ours.encode(text), ours.sep_id]
    found, expected = theirs(texts, texts[::-1], padding=True, return_tensors="pt"), ours.batch(texts, texts[::-1])
    assert all((found[name] == expected[name]).all() for name in ("input_ids", "attention_mask", "token_type_ids"))


@pytest.mark.parametrize(
    ("shape", "kind"), [({}, "wordpiece"), ({"position": "rope", "norm_position": "pre"}, "words")]
)
def test_the_pipeline_that_fills_masks_guesses_what_our_model_guesses(shape, kind, tmp_path) -> None:
    ours = trained(kind)
    model = Bert(BertConfig(vocab_size=ours.vocab_size, **SIZES, **shape)).eval()
    save_pretrained(model, tmp_path, tokenizer=ours)
    pipeline = transformers.pipeline("fill-mask", model=str(tmp_path), tokenizer=str(tmp_path))
    expected = fill(model, ours, "Anna carries the [MASK] lamp", top=3)[0]
    found = pipeline("Anna carries the [MASK] lamp", top_k=3)
    assert [guess["token"] for guess in found] == [ours.backend.token_to_id(token) for token, _ in expected]
    assert [guess["score"] for guess in found] == pytest.approx([probability for _, probability in expected], rel=1e-4)


def test_transformers_generates_what_we_generate(tmp_path) -> None:
    ours = trained("bpe")
    model = Gpt(GptConfig(vocab_size=ours.vocab_size, position="rope", initializer_range=0.3, **SIZES)).eval()
    save_pretrained(model, tmp_path, tokenizer=ours)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for prompt in ("Anna", "安娜把", "the red"):
        inputs = tokenizer(prompt, return_tensors="pt")
        ids = theirs.generate(**inputs, max_new_tokens=40, do_sample=False)[0]
        expected = continue_text(model, ours, prompt, max_new_tokens=40, temperature=0)
        assert tokenizer.decode(ids, skip_special_tokens=True) == expected


def bert_tokenizer(folder, **options: object) -> transformers.PreTrainedTokenizerBase:
    pieces = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "c", "é", "e", "!", "安", "娜"]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "model_max_length": 20, **options}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return transformers.BertTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("options", [{}, {"do_lower_case": False}, {"strip_accents": False}])
def test_a_berts_vocabulary_is_read_as_transformers_reads_it(options, tmp_path) -> None:
    theirs = bert_tokenizer(tmp_path, **options)
    ours = load_tokenizer(tmp_path)
    for text in ("ab cab A é!安娜", "É e [MASK] [unused0]", "", "x\tab\x00"):
        assert ours.encode(text, add_special_tokens=True) == theirs(text)["input_ids"]
    assert (ours.pad_id, ours.cls_id, ours.sep_id, ours.mask_id) == (0, 3, 4, 5)
    with pytest.raises(ValueError, match="no bos_token, which is needed here"):
        _ = ours.bos_id


def test_a_gpt2s_vocabulary_is_read_as_transformers_reads_it(tmp_path) -> None:
    trainer = tokenizers.ByteLevelBPETokenizer()
    trainer.train_from_iterator(TEXTS, vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False)
    trainer.save_model(str(tmp_path))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    theirs, ours = transformers.GPT2Tokenizer.from_pretrained(tmp_path), load_tokenizer(tmp_path)
    for text in HARD:
        assert ours.encode(text) == theirs(text)["input_ids"]
    model = Gpt(GptConfig(vocab_size=ours.vocab_size, **SIZES))
    for trained_here, begin in ((False, []), (True, [ours.bos_id])):
        save_pretrained(model, tmp_path / "out", tokenizer=ours, trained_here=trained_here)
        assert transformers.AutoTokenizer.from_pretrained(tmp_path / "out")("Anna").input_ids == begin + ours.encode(
            "Anna"
        )
    assert ours.decode(ours.encode(HARD[1])) == HARD[1]
    with pytest.raises(ValueError, match="no mask_token, which is needed here"):
        _ = ours.mask_id


def test_a_foreign_tokenizer_comes_through_an_import_and_an_export_unchanged(tmp_path) -> None:
    (tmp_path / "first").mkdir()
    theirs = bert_tokenizer(tmp_path / "first")
    shape = transformers.BertConfig(vocab_size=14, num_hidden_layers=1, hidden_size=16, num_attention_heads=2)
    transformers.BertForPreTraining(shape).save_pretrained(tmp_path / "first")
    model, ours = open_folder(tmp_path / "first")
    save_pretrained(model, tmp_path / "second", tokenizer=ours)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "second")
    for text in ("ab cab A é!安娜", "[MASK] c"):
        assert again(text)["input_ids"] == theirs(text)["input_ids"] == ours.encode(text, add_special_tokens=True)
    assert again.mask_token == "[MASK]"


def test_a_folder_without_a_tokenizer_says_which_files_are_read(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected tokenizer\.json, vocab\.txt"):
        load_tokenizer(tmp_path)
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(ValueError, match=r"lacks \[UNK\]"):
        load_tokenizer(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    (tmp_path / "merges.txt").write_text("a b\n")
    with pytest.raises(ValueError, match="do not fit together"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("train", [train_bpe, train_wordpiece])
def test_the_exported_tokenizer_loads_in_auto_tokenizer(train, tmp_path) -> None:
    tokenizer = train(TEXTS[:2] * 20, vocab_size=300)
    for name, given in (("ours", tokenizer), ("theirs", tokenizer.backend)):
        save_pretrained(Bert(BertConfig.tiny(300)), tmp_path / name, tokenizer=given)
        loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / name)
        for text in TEXTS[:2]:
            assert loaded(text)["input_ids"] == tokenizer.encode(text, add_special_tokens=True)
        assert (loaded.mask_token, loaded.pad_token_id) == ("[MASK]", 0)
        assert loaded.model_max_length == 128
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["pad_token_id"] == 0
    save_pretrained(Gpt(GptConfig.tiny(300)), tmp_path / "gpt", tokenizer=tmp_path / "ours" / "tokenizer.json")
    config = transformers.AutoConfig.from_pretrained(tmp_path / "gpt")
    assert config.bos_token_id == SPECIAL_TOKENS.index("[BOS]")


def test_tokenizers_that_do_not_belong_are_refused(tmp_path) -> None:
    tokenizer = train_bpe(TEXTS[:2] * 20, vocab_size=300)
    with pytest.raises(ValueError, match=r"ids up to 299, the model's vocabulary has 200: they do not belong"):
        save_pretrained(Gpt(GptConfig.tiny(200)), tmp_path / "x", tokenizer=tokenizer)
    assert not (tmp_path / "x").exists()
    with pytest.raises(FileNotFoundError, match="no tokenizer file"):
        save_pretrained(Gpt(GptConfig.tiny(300)), tmp_path, tokenizer=tmp_path / "none.json")
    with pytest.raises(ValueError, match="mask_token '<m>' is not in the tokenizer's vocabulary"):
        save_pretrained(Gpt(GptConfig.tiny(300)), tmp_path, tokenizer=tokenizer, special_tokens={"mask_token": "<m>"})
    with pytest.raises(ValueError, match="unknown role 'mask'"):
        save_pretrained(Gpt(GptConfig.tiny(300)), tmp_path, tokenizer=tokenizer, special_tokens={"mask": "[MASK]"})
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    save_pretrained(Gpt(GptConfig.tiny(300)), tmp_path / "p", tokenizer=plain, special_tokens={"unk_token": "a"})
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "p").unk_token == "a"
