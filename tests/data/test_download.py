"""A file under its final name is complete and verified, whatever happens on the way."""

import builtins
import errno
import hashlib
import random
from pathlib import Path

import pooch
import pytest

from plm_core.data.download import data_folder, fetch, fetch_corpus
from plm_core.data.registry import CORPORA, Corpus, RemoteFile, corpus

BODY = random.Random(0).randbytes(300_000)


def remote(server, name="file.bin", body=BODY, sent=None):
    """A file of which the registry knows ``body`` while the server holds ``sent``."""
    server.files[name] = body if sent is None else sent
    return RemoteFile(name, server.address + name, hashlib.sha256(body).hexdigest(), len(body))


def test_a_file_is_fetched_once(server, cache):
    file = remote(server)
    assert fetch(file, cache, progress=False).read_bytes() == BODY
    assert fetch(file, cache, progress=False).read_bytes() == BODY
    assert len(server.requested_ranges) == 1
    assert [path.name for path in cache.iterdir()] == ["file.bin"]


def test_a_damaged_copy_is_fetched_again(server, cache):
    cache.mkdir()
    (cache / "file.bin").write_bytes(BODY[:-1] + b"?")
    assert fetch(remote(server), cache, progress=False).read_bytes() == BODY


def test_a_cut_connection_is_continued_where_it_ended(server, cache):
    file = remote(server)
    server.cut_after = [100_000, 50_000]
    assert fetch(file, cache, progress=False).read_bytes() == BODY
    first, *others = server.requested_ranges
    assert first is None
    assert len(others) == 2
    assert all(asked and int(asked[6:-1]) >= 65_536 for asked in others)


def test_a_later_call_continues_the_part_left_by_an_earlier_one(server, cache):
    file = remote(server)
    server.cut_after = [200_000, 0]
    with pytest.raises(ConnectionError, match=r"connection ended.*are here and kept; run this again"):
        fetch(file, cache, progress=False)
    kept = (cache / "file.bin.part").read_bytes()
    assert len(kept) > 100_000
    assert BODY.startswith(kept)
    assert not (cache / "file.bin").exists()
    server.requested_ranges.clear()
    assert fetch(file, cache, progress=False).read_bytes() == BODY
    assert server.requested_ranges == [f"bytes={len(kept)}-"]


def test_a_server_without_ranges_sends_the_whole_again(server, cache):
    file = remote(server)
    server.supports_ranges = False
    cache.mkdir()
    (cache / "file.bin.part").write_bytes(BODY[:1000])
    assert fetch(file, cache, progress=False).read_bytes() == BODY


def test_another_content_is_refused_and_not_kept(server, cache):
    file = remote(server, sent=BODY[::-1])
    with pytest.raises(ValueError, match="checksum mismatch"):
        fetch(file, cache, progress=False)
    assert list(cache.iterdir()) == []


def test_a_truncated_file_is_never_put_in_place(server, cache):
    file = remote(server, sent=BODY[:250_000])
    with pytest.raises((ValueError, ConnectionError)):
        fetch(file, cache, progress=False)
    assert not (cache / "file.bin").exists()


def test_a_missing_address_names_the_answer(server, cache):
    file = RemoteFile("gone.bin", server.address + "gone.bin", "0" * 64, 10)
    with pytest.raises(ConnectionError, match="answered 404"):
        fetch(file, cache, progress=False)


def test_no_network_says_what_to_do(server, cache):
    file = RemoteFile("file.bin", "http://127.0.0.1:1/file.bin", "0" * 64, 10)
    with pytest.raises(ConnectionError, match=r"no connection.*0 of 10 bytes.*put the file at"):
        fetch(file, cache, progress=False)


def test_a_full_disk_is_named(server, cache, monkeypatch):
    file = remote(server)
    really_open = builtins.open

    class FullDisk:
        def __init__(self, opened):
            self.opened = opened

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.opened.close()

        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    def opening(path, mode="r", *arguments, **options):
        opened = really_open(path, mode, *arguments, **options)
        return FullDisk(opened) if str(path).endswith(".part") else opened

    monkeypatch.setattr(builtins, "open", opening)
    with pytest.raises(OSError, match=r"is full: file.bin needs 0.3 MB") as caught:
        fetch(file, cache, progress=False)
    assert caught.value.errno == errno.ENOSPC


def test_a_cache_that_cannot_be_written_is_named(server, cache, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(PermissionError, match="PLM_DATA_DIR"):
        fetch(remote(server), cache, progress=False)


def test_a_cache_path_that_is_a_file_is_named(server, tmp_path):
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(PermissionError, match="PLM_DATA_DIR"):
        fetch(remote(server), tmp_path / "cache" / "inside", progress=False)


def test_a_corpus_is_fetched_with_all_its_files(server, cache):
    files = (remote(server, "a"), remote(server, "b", BODY[:1000]))
    made = Corpus("made", "two files", "none", "nobody", files)
    assert fetch_corpus(made, progress=False) == [cache / "made" / "a", cache / "made" / "b"]
    assert made.bytes == 301_000


def test_the_data_folder_follows_the_environment(cache, monkeypatch):
    assert data_folder() == cache
    monkeypatch.delenv("PLM_DATA_DIR")
    assert data_folder() == Path(pooch.os_cache("plm-core"))


def test_the_registry_is_complete_and_pinned():
    assert set(CORPORA) == {
        "text8", "tinyshakespeare", "wikitext-2", "multi30k", "sentence-polarity", "conll2002", "trec-questions",
        "python-docs-zh", "ud-chinese-gsd",
    }  # fmt: skip
    for entry in CORPORA.values():
        assert entry.licence
        assert entry.citation
        for file in entry.files:
            assert len(file.sha256) == 64
            assert file.bytes > 0
            if "github" in file.url:
                assert any(len(part) == 40 for part in file.url.split("/")), "not pinned to a commit"


def test_an_unknown_corpus_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown corpus 'text9'.*text8"):
        corpus("text9")
