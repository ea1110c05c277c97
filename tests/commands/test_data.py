"""``plm data``: what it does, and one clear message with exit code 2 for each mistake."""

import errno
import gzip
import hashlib
import json
import random
import zipfile
from pathlib import Path

import pytest

from plm_core import cli
from plm_core.data import registry, token_files
from plm_core.data.corpora import python_documentation
from plm_core.data.registry import Corpus, RemoteFile
from plm_core.data.token_files import TokenFile
from plm_core.data.tokenizer_training import train_bpe
from plm_core.data.tokenizers import Tokenizer
from plm_core.runs.config import RunConfig
from plm_core.runs.corpus import load_texts, train_tokenizer
from tests import forked

TEXT = python_documentation()[0].text
BODY = random.Random(1).randbytes(100_000)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run ``plm data ...`` in an empty folder; gives the exit code, what was printed, and the message of a mistake."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PLM_DEBUG", raising=False)

    def running(*arguments):
        code = cli.main(["data", *map(str, arguments)])
        said = capsys.readouterr()
        message = "".join(line for line in said.err.splitlines(keepends=True) if line.startswith("plm: "))
        assert "Traceback" not in said.err
        return code, said.out, message

    return running


@pytest.fixture
def fails(run):
    """Run ``plm data ...`` and expect exit code 2 and one line with the message."""

    def running(*arguments):
        code, _, message = run(*arguments)
        assert code == 2
        assert message.count("\n") == 1
        return message

    return running


@pytest.fixture
def published(server, cache, monkeypatch):
    """Put a corpus of one file into the registry; the local server sends ``sent`` for it."""

    def putting(sent, body=None, name="file.bin"):
        body = sent if body is None else body
        server.files[name] = sent
        file = RemoteFile(name, server.address + name, hashlib.sha256(body).hexdigest(), len(body))
        monkeypatch.setitem(registry.CORPORA, "made", Corpus("made", "a made corpus", "none", "nobody", (file,)))

    return putting


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_list_shows_every_corpus_with_its_terms(run, cache):
    code, out, _ = run("list")
    assert code == 0
    for name, entry in registry.CORPORA.items():
        assert name in out
        assert entry.licence in out
    assert str(cache) in out


def test_get_fetches_and_prints_the_path(run, published, cache):
    published(BODY)
    code, out, _ = run("get", "made")
    assert code == 0
    assert out.strip() == str(cache / "made" / "file.bin")
    assert Path(out.strip()).read_bytes() == BODY
    assert "here" in run("list")[1]


def test_tokenize_with_training_and_with_a_saved_tokenizer(run, text_file, tmp_path):
    code, out, _ = run("tokenize", text_file, "--output", "first", "--train", "bpe", "--vocab-size", 400)
    assert code == 0
    assert f"1 document, {len(TokenFile(tmp_path / 'first').tokens) - 1:,} tokens" in out
    saved = Tokenizer.load(tmp_path / "first" / "tokenizer")
    assert saved.decode(TokenFile(tmp_path / "first")[0], skip_special_tokens=True) == TEXT
    code, _, _ = run("tokenize", text_file, "--output", "second", "--tokenizer", "first/tokenizer")
    assert code == 0
    assert TokenFile(tmp_path / "second").tokens.tolist() == TokenFile(tmp_path / "first").tokens.tolist()


def test_a_tokenizer_is_trained_as_a_run_trains_it_without_the_validation_text(run, tmp_path):
    (tmp_path / "text.txt").write_text("\n\n".join(f"word{number} and another" for number in range(20)))
    out = run("tokenize", "text.txt", "--output", "out", "--train", "words")[1]
    config = RunConfig(corpus=str(tmp_path / "text.txt"), output=tmp_path / "run", tokenizer="words")
    saved, expected = Tokenizer.load(tmp_path / "out" / "tokenizer"), train_tokenizer(config, load_texts(config))
    assert saved.fingerprint == expected.fingerprint
    assert "word9" not in saved.backend.get_vocab(), "of the tenth document"
    assert "of the tokens are [UNK]" in out


@pytest.mark.parametrize("kind", ["characters", "words", "wordpiece"])
def test_every_kind_can_be_trained(run, text_file, kind):
    assert run("tokenize", text_file, "--output", "out", "--train", kind, "--documents", "line")[0] == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"", "empty.txt is empty"),
        ("picture.txt", b"\x89PNG\r\n\x00\x1a", "not a text file: it holds a NUL byte at position 6"),
        ("latin.txt", "caf\xe9".encode("latin-1"), "not UTF-8: byte 0xe9 at position 3"),
        ("half.gz", gzip.compress(BODY)[:-500], "damaged or truncated"),
        ("half.zip", b"PK\x03\x04 and then nothing", "damaged or truncated"),
        ("blank.txt", b" \n \n", "only white space"),
    ],
)
def test_files_that_are_no_text(fails, tmp_path, name, content, message):
    train_bpe([TEXT]).save(tmp_path / "tokenizer")
    (tmp_path / name).write_bytes(content)
    assert message in fails("tokenize", name, "--output", "out", "--tokenizer", "tokenizer")
    assert not (tmp_path / "out").exists()


def test_missing_file_and_missing_tokenizer(fails, text_file):
    assert "no text file at nothing.txt" in fails("tokenize", "nothing.txt", "--output", "out", "--train", "bpe")
    assert "no tokenizer at nowhere" in fails("tokenize", text_file, "--output", "out", "--tokenizer", "nowhere")
    assert "choose a tokenizer" in fails("tokenize", text_file, "--output", "out")


def test_an_archive_that_leads_out_of_itself(fails, tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../evil.txt", TEXT)
    assert "not safe: its member '../evil.txt'" in fails("tokenize", "evil.zip", "--output", "out", "--train", "bpe")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.zip"]


def test_a_document_longer_than_asked_for(fails, run, text_file):
    options = ["--output", "out", "--train", "bpe", "--vocab-size", 400, "--max-length", 16]
    assert "tokens, the limit is 16" in fails("tokenize", text_file, *options)
    assert run("tokenize", text_file, *options[:-2])[0] == 0, "training cuts long documents by itself"


def test_what_the_tokenizer_does_not_know_is_counted(run, tmp_path):
    train_bpe([TEXT]).save(tmp_path / "bytes")
    (tmp_path / "small.txt").write_text("abc " * 30)
    (tmp_path / "new.txt").write_text("xyz")
    run("tokenize", "small.txt", "--output", "small", "--train", "characters")
    out = run("tokenize", "new.txt", "--output", "out", "--tokenizer", "small/tokenizer")[1]
    assert "75.00% of the tokens are [UNK]" in out, "all but the end of the document"
    assert "[UNK]" not in run("tokenize", "new.txt", "--output", "known", "--tokenizer", "bytes")[1]


def test_a_folder_is_its_files(run, tmp_path):
    (tmp_path / "folder").mkdir()
    for name in "ab":
        (tmp_path / "folder" / f"{name}.txt").write_text(f"file {name}")
    assert "2 documents" in run("tokenize", "folder", "--output", "out", "--train", "words", "--documents", "file")[1]


def test_corpora_that_need_no_network_are_listed_and_need_no_fetching(run, cache):
    assert "python-documentation" in run("list")[1]
    assert "nothing to fetch" in run("get", "python-documentation")[1]


@pytest.mark.parametrize("name", ["storyworld-small-en", "storyworld-full-zh", "storyworld-v1-small-en"])
def test_generated_stories_of_both_versions_need_no_fetching(run, cache, name):
    assert "storyworld-v1-small-en" in run("list")[1]
    code, out, _ = run("get", name)
    assert code == 0
    assert "on this machine already" in out


def test_stories_that_there_are_not_are_refused(fails, cache):
    assert "StoryWorlds are storyworld-" in fails("get", "storyworld-huge-en")


def test_tokenizer_and_model_that_disagree(fails, text_file, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 30_522}))
    message = fails("tokenize", text_file, "--output", "out", "--train", "characters", "--model", tmp_path)
    assert "the model at" in message
    assert "has 30522" in message
    (tmp_path / "config.json").write_text("{}")
    assert "names no vocab_size" in fails("tokenize", text_file, "--output", "o", "--train", "bpe", "--model", tmp_path)


def test_a_token_id_out_of_range(fails, text_file, tmp_path):
    folder = train_bpe([TEXT], vocab_size=300).save(tmp_path / "tokenizer")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"]["e"] = 70_000
    (folder / "tokenizer.json").write_text(json.dumps(content))
    message = fails("tokenize", text_file, "--output", "out", "--tokenizer", folder)
    assert "token id 70000 is out of range (0 to 299)" in message


def test_an_unknown_corpus(fails):
    assert "unknown corpus 'text9'" in fails("get", "text9")


def test_a_checksum_that_does_not_match(fails, published, cache):
    published(sent=BODY[::-1], body=BODY)
    assert "checksum mismatch" in fails("get", "made")
    assert not (cache / "made" / "file.bin").exists()


def test_a_download_that_ends_early(fails, published, server):
    published(BODY)
    server.cut_after = [60_000, 0]
    assert "run this again" in fails("get", "made")


def test_no_network(fails, cache, monkeypatch):
    file = RemoteFile("file.bin", "http://127.0.0.1:1/file.bin", "0" * 64, 10)
    monkeypatch.setitem(registry.CORPORA, "made", Corpus("made", "", "", "", (file,)))
    assert "no connection" in fails("get", "made")


def test_a_full_disk_while_tokens_are_written(fails, text_file, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "out/tokens.bin")

    monkeypatch.setattr(token_files.os, "fsync", full)
    assert "No space left" in fails("tokenize", text_file, "--output", "out", "--train", "words")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.txt"], "nothing half-written stays"


def test_a_full_disk_while_a_corpus_is_fetched(fails, published, monkeypatch):
    published(BODY)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("plm_core.data.download.os.replace", full)
    assert "is full: file.bin needs 0.1 MB" in fails("get", "made")


def test_a_cache_folder_that_cannot_be_written(fails, published, cache):
    published(BODY)
    cache.write_text("a file where the folder should be")
    assert "cannot write to the cache folder" in fails("get", "made")


def test_an_output_that_exists(fails, run, text_file, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("")
    options = ["--output", "out", "--train", "words", "--overwrite"]
    assert "exists already" in fails("tokenize", text_file, *options)
    assert (tmp_path / "out" / "precious").exists()


@pytest.mark.xdist_group("processes")
def test_the_installed_command_exits_with_2(tmp_path):
    finished = forked.run("-m", "plm_core.cli", "data", "tokenize", "text.txt", "--output", "out", cwd=tmp_path)
    assert finished.returncode == 2
    assert finished.stderr.startswith("plm: choose a tokenizer: ")
    assert finished.stderr.count("\n") == 1
