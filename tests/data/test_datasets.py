"""Every loader reads its corpus's format: in small made files everywhere, in the real files where they are at hand."""

import gzip
import hashlib
import random
import zipfile
from dataclasses import replace
from itertools import islice
from string import ascii_lowercase

import pytest

from plm_core.data import datasets
from plm_core.data.corpus_text import corpus_blocks
from plm_core.data.datasets import (
    conll2002,
    multi30k,
    sentence_polarity,
    text8,
    tinyshakespeare,
    trec_questions,
    wikitext2,
)
from plm_core.data.examples import TaggedSentence, Translation
from plm_core.data.registry import CORPORA
from plm_core.data.token_files import write_tokens
from plm_core.data.tokenizer_training import train_characters


@pytest.fixture
def put(cache, monkeypatch):
    """Put a made file into the cache as a corpus's file; the registry then expects just this file."""

    def putting(corpus_name, file_name, content):
        entry = CORPORA[corpus_name]
        sha256 = hashlib.sha256(content).hexdigest()
        files = tuple(
            replace(file, sha256=sha256, bytes=len(content)) if file.name == file_name else file for file in entry.files
        )
        variable = corpus_name.upper().replace("-", "_").replace("WIKITEXT_2", "WIKITEXT2")
        monkeypatch.setattr(datasets, variable, replace(getattr(datasets, variable), files=files))
        monkeypatch.setitem(CORPORA, corpus_name, replace(entry, files=files))
        folder = cache / corpus_name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file_name).write_bytes(content)

    return putting


def zipped(tmp_path, **members):
    path = tmp_path / "made.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path.read_bytes()


def test_text8_is_cut_at_90_and_95_million(put, tmp_path):
    text = "a" * 90_000_000 + "b" * 5_000_000 + "c" * 5_000_000
    put("text8", "text8.zip", zipped(tmp_path, text8=text))
    assert set(text8("validation")) == {"b"}
    assert set(text8("test")) == {"c"}
    train = text8("train")
    assert len(train) == 90_000_000
    assert set(train[-1000:]) == {"a"}


def test_a_file_like_text8_goes_from_its_address_to_a_token_file(server, cache, monkeypatch, tmp_path):
    """The real format: one line of a hundred million characters, words of a to z with one space before each."""
    rng = random.Random(0)
    words = ["".join(rng.choices(ascii_lowercase, k=rng.randint(1, 9))) for _ in range(2000)]
    million = ((" " + " ".join(rng.choices(words, k=1_000)))[:5_000] * 200)[: 10**6 - 8]
    text = "".join(f" part {chr(97 + part // 26)}{chr(97 + part % 26)}{million}" for part in range(100))
    content = server.files["text8.zip"] = zipped(tmp_path, text8=text)
    file = replace(
        CORPORA["text8"].files[0], url=server.address + "text8.zip",
        sha256=hashlib.sha256(content).hexdigest(), bytes=len(content),
    )  # fmt: skip
    monkeypatch.setattr(datasets, "TEXT8", replace(datasets.TEXT8, files=(file,)))
    assert "".join(corpus_blocks("text8", "validation")) == text[90_000_000:95_000_000] == text8("validation")
    alphabet = train_characters([ascii_lowercase + " "])
    stream = (alphabet.encode(block) for block in islice(corpus_blocks("text8", "validation"), 1))
    tokens = write_tokens(tmp_path / "text8", stream, vocab_size=len(alphabet), tokenizer=alphabet.fingerprint)
    assert len(tokens.tokens) == 2**20
    assert alphabet.decode(tokens.span(0, 8)) == " part dm"
    assert alphabet.unk_id not in tokens.tokens
    assert len(server.requested_ranges) == 1


def test_tinyshakespeare_is_cut_in_order(put):
    text = "".join(chr(97 + i % 26) for i in range(1000))
    put("tinyshakespeare", "input.txt", text.encode())
    assert tinyshakespeare("train") + tinyshakespeare("validation") + tinyshakespeare("test") == text
    assert len(tinyshakespeare("train")) == 900


def test_wikitext_is_cut_at_first_level_headings(put, tmp_path):
    one, part, two = "\n = One = \n", "\n = = Part = = \n", "\n = Two = \n"
    text = f" {one} \n First text . \n {part} \n More , a = b . \n {two} \n Second <unk> text . \n \n"
    put("wikitext-2", "valid.txt", text.encode())
    put("wikitext-2", "wikitext-2-v1.zip", zipped(tmp_path, **{"wikitext-2/wiki.train.tokens": text}))
    for split in ("validation", "train"):
        one, two = wikitext2(split)
        assert (one.title, two.title) == ("One", "Two")
        assert one.text.startswith("First text .")
        assert "= = Part = =" in one.text
        assert two.text == "Second <unk> text ."


def test_multi30k_pairs_its_lines(put):
    put("multi30k", "val.en.gz", gzip.compress(b"A dog .\nTwo cats .\n"))
    put("multi30k", "val.de.gz", gzip.compress("Ein Hund .\nZwei Kätzchen .\n".encode()))
    assert multi30k("validation") == [
        Translation("A dog .", "Ein Hund ."),
        Translation("Two cats .", "Zwei Kätzchen ."),
    ]


def test_sentence_polarity_splits_by_text(put, tmp_path):
    lines = [f"review number {i} é" for i in range(500)]
    both = {f"sentence_polarity/rt-polarity.{end}": "\n".join(lines) + "\n" for end in ("neg", "pos")}
    put("sentence-polarity", "sentence_polarity.zip", zipped(tmp_path, **both))
    parts = {split: sentence_polarity(split) for split in ("train", "validation", "test")}
    assert sum(map(len, parts.values())) == 1000
    texts = [{example.text for example in part} for part in parts.values()]
    assert texts[0].isdisjoint(texts[1] | texts[2])
    assert texts[1].isdisjoint(texts[2])
    assert 700 < len(parts["train"]) < 900
    assert {example.label for example in parts["test"]} == {"negative", "positive"}


def test_conll2002_reads_words_and_tags(put, tmp_path):
    text = "-DOCSTART- -DOCSTART- O\n\nJan N B-PER\nziet V O\n\nParijs N B-LOC\n. Punc O\n"
    put("conll2002", "conll2002.zip", zipped(tmp_path, **{"conll2002/ned.testa": text}))
    assert conll2002("validation", "dutch") == [
        TaggedSentence(("Jan", "ziet"), ("B-PER", "O")),
        TaggedSentence(("Parijs", "."), ("B-LOC", "O")),
    ]
    with pytest.raises(ValueError, match="unknown language"):
        conll2002("train", "french")


def test_trec_reads_both_labels_and_latin_1(put, tmp_path):
    train = "\n".join(f"NUM:date When was caf\xe9 {i} opened ?" for i in range(200))
    put("trec-questions", "qc.zip", zipped(
        tmp_path, **{"qc/train.txt": train.encode("iso-8859-1"), "qc/test.txt": "HUM:ind Who ?\n"}
    ))  # fmt: skip
    [question] = trec_questions("test")
    assert (question.text, question.label, question.detail) == ("Who ?", "HUM", "ind")
    assert len(trec_questions("train")) + len(trec_questions("validation")) == 200
    assert "café" in trec_questions("train")[0].text


def test_an_unknown_split_is_named(cache):
    with pytest.raises(ValueError, match="unknown split 'dev'"):
        text8("dev")


def test_the_real_files_have_the_registry_checksums_and_the_known_sizes(real_files):
    assert sum(len(tinyshakespeare(split)) for split in ("train", "validation", "test")) == 1_115_394
    assert len(wikitext2("validation")) == 60
    assert [len(multi30k(split)) for split in ("train", "validation", "test")] == [29_000, 1_014, 1_000]
    assert sum(len(sentence_polarity(split)) for split in ("train", "validation", "test")) == 10_662
    assert [len(trec_questions(split)) for split in ("train", "validation", "test")][2] == 500
    assert len(trec_questions("train")) + len(trec_questions("validation")) == 5_452
    assert [len(conll2002(split)) for split in ("train", "validation", "test")] == [8_323, 1_915, 1_517]
    tags = {tag for sentence in conll2002("test", "dutch") for tag in sentence.tags}
    assert tags == {"O"} | {f"{edge}-{kind}" for edge in "BI" for kind in ("PER", "LOC", "ORG", "MISC")}
