"""One path from text to tokens: whatever form a text comes in, a run reads it alike and measures it alike."""

import dataclasses
import math

import pytest
import torch

from plm_core.cli import main
from plm_core.data import chinese, datasets
from plm_core.data.documents import RULES, documents_as_text
from plm_core.data.examples import LabelledText, TaggedSentence, Translation
from plm_core.data.registry import CORPORA
from plm_core.data.token_files import TokenFile
from plm_core.data.tokenizer_training import train_bpe
from plm_core.data.tokenizers import Tokenizer
from plm_core.evaluation.validation import validate
from plm_core.runs.batches import make_sources, text_sources
from plm_core.runs.config import RunConfig
from plm_core.runs.corpus import load_texts, train_tokenizer
from plm_core.runs.open import Run, build_model
from plm_core.runs.pretrain import pretrain
from plm_core.runs.text_report import TokenCounts

TEXT = "\n\n".join(f"the cat sat on mat {n} .\nthen dog {n % 7} ran to the door , which was open ." for n in range(30))
MODEL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture
def config(tmp_path):
    """Make a configuration whose corpus is :data:`TEXT` in a file."""
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT, encoding="utf-8")
    values = {
        "corpus": str(path),
        "output": tmp_path / "run",
        "tokenizer": "words",
        "context": 24,
        "batch_size": 4,
        "precision": "fp32",
        "model": MODEL,
        "train": {"steps": 2, "warmup_steps": 1, "eval_every": 2, "save_every": 2, "log_every": 1},
    }
    return lambda **changes: RunConfig.from_dict({**values, **changes})


def prepared(config, folder):
    """Tokenizer and batches of a run, without training."""
    texts = load_texts(config)
    tokenizer = train_tokenizer(config, texts)
    folder.mkdir(exist_ok=True)
    return tokenizer, make_sources(config, texts, tokenizer, folder)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("objective", ["causal_lm", "masked_lm"])
def test_the_same_text_has_the_same_loss_in_validation_and_evaluation(config, tmp_path, rule, objective):
    own = tmp_path / "valid.txt"
    own.write_text(TEXT[:1000], encoding="utf-8")
    run = config(documents=rule, objective=objective, validation=own)
    tokenizer, sources = prepared(run, tmp_path / "tokens")
    model = build_model(run, tokenizer).eval()
    (tmp_path / "text").mkdir()
    measured = text_sources(run, own, tokenizer, tmp_path / "text")
    expected = validate(model, sources.objective, sources.valid)
    assert validate(model, measured.objective, measured.valid) == expected
    assert measured.valid_tokens == sources.valid_tokens
    assert expected["loss"] > 0


def test_a_document_has_the_same_loss_alone_and_among_others(config, tmp_path):
    run = config()
    tokenizer, _ = prepared(run, tmp_path / "tokens")
    model = build_model(run, tokenizer).eval()
    sums = []
    documents = TEXT.split("\n\n")[:8]
    for name, text in {"both": "\n\n".join(documents), **dict(zip("abcdefgh", documents, strict=True))}.items():
        (tmp_path / f"{name}.txt").write_text(text)
        (tmp_path / name).mkdir()
        sources = text_sources(run, tmp_path / f"{name}.txt", tokenizer, tmp_path / name)
        found = validate(model, sources.objective, sources.valid)
        sums.append(found["causal_lm/loss"] * found["causal_lm/count"])
    assert sum(sums[1:]) == pytest.approx(sums[0], rel=1e-5)


@pytest.mark.parametrize("kind", ["characters", "words", "bpe", "wordpiece"])
@pytest.mark.parametrize("rule", ["stream", "blank_line"])
def test_a_token_file_trains_like_the_text_it_was_made_from(config, tmp_path, kind, rule):
    corpus, output = tmp_path / "corpus.txt", tmp_path / "corpus.tokens"
    command = [
        "data",
        "tokenize",
        corpus,
        "--output",
        output,
        "--train",
        kind,
        "--vocab-size",
        400,
        "--documents",
        rule,
    ]
    assert main([str(argument) for argument in command]) == 0
    whole = TokenFile(output)
    tokenizer, sources = prepared(config(corpus=str(output), validation=output), tmp_path / "a")
    assert tokenizer.fingerprint == whole.tokenizer_fingerprint
    _, direct = prepared(config(documents=rule, tokenizer=str(output / "tokenizer"), validation=corpus), tmp_path / "b")
    assert sources.valid_tokens == direct.valid_tokens
    for ours, theirs in zip(sources.valid, direct.valid, strict=True):
        assert all(ours[name].equal(theirs[name]) for name in ours)
    if rule == "blank_line":
        _, direct = prepared(config(documents=rule, tokenizer=str(output / "tokenizer")), tmp_path / "b")
        _, sources = prepared(config(corpus=str(output)), tmp_path / "a")
        assert sources.train.batch(0)["input_ids"].equal(direct.train.batch(0)["input_ids"])


def test_a_masked_run_takes_a_token_file_too(config, tmp_path):
    command = [
        "data",
        "tokenize",
        str(tmp_path / "corpus.txt"),
        "--output",
        str(tmp_path / "t"),
        "--train",
        "wordpiece",
    ]
    assert main(command) == 0
    for objective in ("masked_lm", "masked_lm+next_sentence"):
        run = config(
            corpus=str(tmp_path / "t"), objective=objective, masking={"unit": "word"}, output=tmp_path / objective
        )
        if objective != "masked_lm":
            run = run.replace(masking={})
        assert math.isfinite(pretrain(run, quiet=True).metrics["loss"])


def test_a_folder_of_files_a_validation_file_and_a_ready_tokenizer(config, tmp_path):
    for name, text in (("b.txt", "second file"), ("a.txt", "first file\n\nand more")):
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "folder" / name).write_text(text)
    ready = train_bpe([TEXT], vocab_size=300).save(tmp_path / "ready")
    own = tmp_path / "own.txt"
    own.write_text("held out")
    run = config(corpus=str(tmp_path / "folder"), validation=own, tokenizer=str(ready), context=8)
    texts = load_texts(run)
    assert list(documents_as_text(texts.train.parts())) == ["first file", "and more", "second file"]
    assert list(documents_as_text(texts.valid.parts())) == ["held out"]
    assert train_tokenizer(run, texts).fingerprint == Tokenizer.load(ready).fingerprint
    with pytest.raises(FileNotFoundError, match="expected one to train"):
        train_tokenizer(run.replace(tokenizer="bpee"), texts)


def test_every_corpus_that_is_listed_trains_by_that_name(config, tmp_path, monkeypatch, capsys):
    article = datasets.Document("title", "one paragraph .\n \nanother one .\n")
    label = LabelledText("a fine film .", "positive")
    (tmp_path / "text8").write_bytes(b"x" * 90_000_000 + b"held out " * 600_000)
    monkeypatch.setattr(datasets, "text8_file", lambda: tmp_path / "text8")
    monkeypatch.setattr(datasets, "tinyshakespeare", lambda part: f"{part} :\nto be")
    monkeypatch.setattr(datasets, "wikitext2", lambda part: [article] * 2)
    monkeypatch.setattr(datasets, "multi30k", lambda part: [Translation("a dog .", "ein Hund .")])
    monkeypatch.setattr(datasets, "sentence_polarity", lambda part: [label])
    monkeypatch.setattr(datasets, "trec_questions", lambda part: [label])
    monkeypatch.setattr(datasets, "conll2002", lambda part: [TaggedSentence(("el", "perro"), ("O", "O"))])
    monkeypatch.setattr(chinese, "documentation_text", lambda part: ["所有错误都是异常。"])
    monkeypatch.setattr(chinese, "segmented_sentences", lambda part: [["小猫", "坐着", "。"]])
    first = {
        "text8": "held out held out", "tinyshakespeare": "validation :\nto be",
        "wikitext-2": "one paragraph .\nanother one .", "multi30k": "a dog .", "sentence-polarity": "a fine film .",
        "conll2002": "el perro", "trec-questions": "a fine film .",
        "python-docs-zh": "所有错误都是异常。", "ud-chinese-gsd": "小猫坐着。",
    }  # fmt: skip
    assert main(["data", "list"]) == 0
    listed = [
        line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:1].strip() and ":" not in line[:9]
    ]
    listed = [name for name in listed if name not in ("in", "without")]
    assert set(listed) >= set(CORPORA)
    for name in listed:
        texts = load_texts(config(corpus=name, max_documents=12))
        part = next(iter(texts.valid.parts()))
        assert part.text
        if name in first:
            assert next(documents_as_text(texts.valid.parts())).startswith(first[name])


def test_unknown_tokens_are_counted_in_the_report_and_cost_bits(config, tmp_path, capsys):
    run = config(vocab_size=12)
    pretrain(run, quiet=True)
    assert "of the tokens are [UNK]" in capsys.readouterr().out
    new = tmp_path / "new.txt"
    new.write_text("zyx wvu tsr " * 20)
    assert main(["evaluate", str(run.output), "--text", str(new)]) == 0
    out = capsys.readouterr().out
    assert "98.36% of the tokens are [UNK]" in out
    assert "too low" in out
    bits = float(out.split("bits per byte: ")[1].split()[0])
    assert bits > 8 * 3 / 4, "three of four bytes must be spelt"
    opened = Run.open(run.output)
    with pytest.raises(ValueError, match="number of characters"):
        _ = opened.text_loss(new).bits_per_character


def test_bits_per_byte_are_those_of_the_original_text(config, tmp_path):
    text = "Größe naïve 中文\nline two\n"
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode())
    run = config(documents="stream", tokenizer="characters", context=64)
    (tmp_path / "corpus.txt").write_text(text * 30)
    tokenizer, _ = prepared(run, tmp_path / "tokens")
    model = build_model(run, tokenizer).eval()
    sources = text_sources(run, path, tokenizer, tmp_path / "tokens")
    found = validate(model, sources.objective, sources.valid)
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id]])
    with torch.no_grad():
        nats = -model(ids[:, :-1]).log_softmax(-1).gather(2, ids[:, 1:, None]).sum().item()
    bits = nats / math.log(2) / len(text.encode())
    assert sources.valid_tokens.bits_per_byte(found["causal_lm/loss"]) == pytest.approx(bits, rel=1e-5)


def test_validation_uses_every_batch_or_says_how_many(config, tmp_path):
    _, sources = prepared(config(batch_size=1), tmp_path / "tokens")
    assert len(sources.valid) == sources.all_valid > 1
    assert not any("each validation" in line for line in sources.lines())
    everything = sum(int((batch["labels"] != -100).sum()) for batch in sources.valid)
    assert everything == sources.valid_tokens.tokens
    _, capped = prepared(config(batch_size=1, validation_batches=1), tmp_path / "tokens")
    assert len(capped.valid) == 1
    assert f"each validation uses 1 of {capped.all_valid} batches, evenly spread" in capped.lines()


def test_a_corpus_without_documents_for_pairs_is_named_with_the_remedy(config, tmp_path):
    run = config(documents="stream", objective="masked_lm+next_sentence")
    with pytest.raises(ValueError, match=r"corpus\.txt: .*one document.*one sentence a line.*blank line between"):
        prepared(run, tmp_path / "tokens")


def test_a_text_of_paragraphs_is_refused_for_pairs_and_a_mixed_one_is_reported(config, tmp_path):
    paragraph = "a long paragraph on a single line , as files of articles have them ."
    run = config(objective="masked_lm+next_sentence", context=40)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join([*[paragraph] * 100, *["one .\ntwo ."] * 2]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"only \d% of the tokens make pairs.*90 of 9. documents have a single line"):
        prepared(run, tmp_path / "tokens")
    corpus.write_text("\n\n".join([paragraph, f"{paragraph}\n{paragraph}"] * 20), encoding="utf-8")
    _, sources = prepared(run, tmp_path / "tokens")
    assert any("of the training tokens and" in line and "make pairs of segments" in line for line in sources.lines())
    corpus.write_text("\n\n".join([f"{paragraph}\n{paragraph}"] * 20), encoding="utf-8")
    _, sources = prepared(run, tmp_path / "tokens")
    assert not any("make pairs of segments" in line for line in sources.lines())


def test_the_bytes_of_a_part_of_a_token_file_are_marked_as_an_estimate(config, tmp_path):
    corpus, output = tmp_path / "corpus.txt", tmp_path / "corpus.tokens"
    command = ["data", "tokenize", str(corpus), "--output", str(output), "--train", "characters"]
    assert main(command) == 0
    _, part = prepared(config(corpus=str(output)), tmp_path / "part")
    assert part.valid_tokens.estimated
    assert "about" in part.lines()[1]
    _, whole = prepared(config(corpus=str(output), validation=output), tmp_path / "whole")
    assert not whole.valid_tokens.estimated
    assert "about" not in whole.lines()[1]


def test_a_line_longer_than_a_row_is_trained_on_in_parts(config, tmp_path):
    (tmp_path / "corpus.txt").write_text("one two three four " * 200)
    for objective in ("causal_lm", "masked_lm"):
        _, sources = prepared(config(objective=objective), tmp_path / "tokens")
        seen = sum(int(batch["input_ids"].numel()) for batch in sources.train.in_order())
        assert seen >= 0.9 * 800 * 0.9


def test_a_share_of_unknown_tokens_that_rounds_to_nothing_is_not_shown_as_none():
    counts = TokenCounts(documents=1, tokens=10**6, text_bytes=10**7, characters=10**7, unknown=3, unknown_bytes=9)
    assert counts.warnings()[0].startswith("fewer than 0.01% of the tokens are [UNK]")
    assert dataclasses.replace(counts, unknown=100).warnings()[0].startswith("0.01% of the tokens are [UNK]")
    assert not dataclasses.replace(counts, unknown=0).warnings()


def test_bytes_are_shown_with_what_the_end_of_a_document_counts():
    counts = TokenCounts(documents=2, tokens=9, text_bytes=40, characters=40, unknown=0, unknown_bytes=0)
    assert counts.shown("blank_line").endswith("40 bytes (with 2 for the end of each document)")
    assert counts.shown("stream") == counts.shown() == "2 documents, 9 tokens, 40 bytes"
