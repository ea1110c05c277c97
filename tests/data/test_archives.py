"""Archives are read without trust: nothing leaves them, and damage is named."""

import gzip
import io
import os
import shutil
import zipfile

import pytest

from plm_core.data.archives import extract_member, open_gzip, open_member, open_only_member


def write_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["../evil.txt", "good/../../evil.txt", "/etc/evil", "..\\evil.txt", "C:/evil.txt"])
def test_a_member_that_leads_out_of_the_archive_is_refused(tmp_path, name):
    archive = write_zip(tmp_path / "a.zip", {"good.txt": "good", name: "evil"})
    with pytest.raises(ValueError, match="not safe"):
        extract_member(archive, "good.txt", tmp_path / "out.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_a_symbolic_link_in_an_archive_is_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    write_zip(tmp_path / "a.zip", {"good.txt": "good"})
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="not safe"), open_member(tmp_path / "a.zip", "good.txt"):
        pass


def test_a_member_is_unpacked_whole(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {"in/good.txt": "good" * 1000})
    path = extract_member(archive, "in/good.txt", tmp_path / "good.txt")
    assert path.read_text() == "good" * 1000
    archive.unlink()
    assert extract_member(archive, "in/good.txt", path) == path, "what is there already is kept"


def test_a_missing_member_lists_what_is_there(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {"good.txt": "good"})
    with pytest.raises(ValueError, match=r"no member 'bad.txt': it holds good.txt"), open_member(archive, "bad.txt"):
        pass


@pytest.mark.parametrize("keep", [0.3, 0.99])
def test_a_truncated_zip_is_named(tmp_path, keep):
    archive = write_zip(tmp_path / "a.zip", {"good.txt": "".join(map(str, range(10_000)))})
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ValueError, match="damaged or truncated"):
        extract_member(archive, "good.txt", tmp_path / "good.txt")
    assert not (tmp_path / "good.txt").exists()


def test_a_flipped_byte_in_a_zip_is_found_and_leaves_nothing(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {"good.txt": "".join(map(str, range(10_000)))})
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 255
    archive.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or truncated"):
        extract_member(archive, "good.txt", tmp_path / "good.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_a_truncated_gzip_is_named(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress("".join(map(str, range(10_000))).encode())[:-200])
    with pytest.raises(ValueError, match="damaged or truncated"), open_gzip(path) as file:
        file.read()


def test_an_archive_that_unpacks_to_far_more_than_text_does_is_not_read_on(tmp_path):
    bomb = bytes(2**27)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bomb))
    write_zip(tmp_path / "bomb.zip", {"bomb.txt": bomb})
    for open_, name in ((open_gzip, "bomb.gz"), (open_only_member, "bomb.zip")):
        with pytest.raises(ValueError, match="more than 200 times"), open_(tmp_path / name) as file:
            shutil.copyfileobj(file, io.BytesIO())


def test_an_encrypted_archive_says_so(tmp_path):
    content = bytearray(write_zip(tmp_path / "a.zip", {"a.txt": "text"}).read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flags] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match="is encrypted"), open_only_member(tmp_path / "a.zip"):
        pass


def test_an_archive_of_a_later_version_or_method_says_so(tmp_path):
    original = write_zip(tmp_path / "a.zip", {"a.txt": "text"}).read_bytes()
    for place, value in ((6, 99), (10, 77)):  # in the central directory: the version that is needed, the method
        content = bytearray(original)
        content[content.index(b"PK\x01\x02") + place] = value
        (tmp_path / "a.zip").write_bytes(content)
        with pytest.raises(ValueError, match="unknown method"), open_only_member(tmp_path / "a.zip") as file:
            file.read()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def test_damage_inside_any_kind_of_packed_data_is_named(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a.txt", os.urandom(1000))
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[60:90] = b"damage" * 5
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match="damaged"), open_only_member(tmp_path / "a.zip") as file:
        file.read()


def test_a_pipe_in_place_of_an_archive_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.gz")
    with pytest.raises(ValueError, match="no regular file"), open_gzip(tmp_path / "pipe.gz"):
        pass
