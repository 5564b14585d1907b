from __future__ import annotations

import hashlib
import logging
import zipfile
from pathlib import Path

import pytest

from episodes.archives import Archive, OpenArchive, Source, locate, obtain, report
from episodes.errors import DataError

URL = "https://example.org/set/few.zip"
MEMBERS = {"few/a/1.png": b"first" * 50, "few/b/1.png": b"second" * 50}


def write_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.fixture
def archive() -> Archive:
    return Archive("set", "few.zip", lambda: Source(URL, "0" * 32))


@pytest.fixture
def path(tmp_path) -> Path:
    return write_zip(tmp_path / "set" / "few.zip", MEMBERS)


@pytest.mark.parametrize("place", ["set/few.zip", "few.zip"])
def test_an_archive_is_found_in_its_folder_or_directly(archive, tmp_path, place):
    path = write_zip(tmp_path / place, MEMBERS)
    assert obtain(archive, tmp_path) == path
    assert report("task", archive, tmp_path).path == path


def test_the_argument_comes_before_the_environment(archive, path, tmp_path, monkeypatch):
    other = write_zip(tmp_path / "other" / "few.zip", MEMBERS)
    monkeypatch.setenv("METASWEEP_DATA", str(other.parent))
    assert obtain(archive, None) == other
    assert obtain(archive, tmp_path) == path


def test_a_kept_download_is_used_again(archive, empty_cache):
    path = write_zip(empty_cache / "set" / "few.zip", MEMBERS)
    assert obtain(archive, None) == path


def test_a_missing_file_is_named_with_its_address(archive, tmp_path):
    with pytest.raises(DataError) as raised:
        obtain(archive, tmp_path)
    message = str(raised.value)
    assert f"set/few.zip is missing in the data folder {tmp_path}" in message
    assert URL in message
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named(archive, tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        obtain(archive, tmp_path / "nowhere")
    found = report("task", archive, tmp_path / "nowhere")
    assert found.path is None
    assert not found.downloads


def test_a_folder_that_may_not_be_entered_is_named(archive, tmp_path, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", forbidden)
    with pytest.raises(DataError, match=r"few\.zip cannot be looked for: Permission denied"):
        obtain(archive, tmp_path)


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("~nosuchuser/x", "data folder ~nosuchuser/x: there is no such user as nosuchuser"),
        ("/tmp/" + "a" * 300, "data folder /tmp/a+ cannot be looked for: File name too long"),
    ],
)
def test_a_data_folder_that_cannot_be_one_is_named(archive, monkeypatch, folder, message):
    with pytest.raises(DataError, match=message):
        obtain(archive, folder)
    monkeypatch.setenv("METASWEEP_DATA", folder)
    with pytest.raises(DataError, match=message):
        obtain(archive, None)


def test_a_cache_folder_of_nobody_is_named(archive, empty_cache, monkeypatch):
    monkeypatch.setenv("METASWEEP_CACHE", "~nosuchuser/x")
    with pytest.raises(DataError, match="cache folder ~nosuchuser/x: there is no such user as nos"):
        obtain(archive, None)


def test_a_missing_file_is_announced_as_a_download(archive, empty_cache):
    found = report("task", archive, None)
    assert (found.path, found.folder, found.downloads) == (None, empty_cache, True)
    assert not empty_cache.exists()


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_half_a_file_is_refused(archive, path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError) as raised:
        OpenArchive(archive, path)
    assert f"{path} is damaged: cut short" in str(raised.value)
    assert f"get it again from {URL}" in str(raised.value)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_flipped_byte_is_found(archive, path, compression):
    write_zip(path, MEMBERS, compression)
    content = bytearray(path.read_bytes())
    content[30 + len("few/a/1.png") + 5] ^= 0xFF
    path.write_bytes(content)
    with OpenArchive(archive, path) as opened:
        damaged, whole = opened.members()
        assert opened.read(whole) == MEMBERS[whole.filename]
        with pytest.raises(DataError, match=r"member few/a/1\.png is unreadable"):
            opened.read(damaged)


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "few/../../up", "..\\up", "C:\\up"])
def test_members_that_point_outside_are_refused(archive, path, name):
    write_zip(path, {**MEMBERS, name: b""})
    with pytest.raises(DataError, match="points outside the archive"):
        OpenArchive(archive, path)


def test_a_repacked_file_is_noted(archive, path, caplog):
    with OpenArchive(archive, path) as opened:
        opened.note_if_repacked()
    [record] = caplog.records
    # What a plain script shows, too.
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"{path} is not the published file bit by bit (MD5 "
        f"{hashlib.md5(path.read_bytes()).hexdigest()}), but its content is complete"
    )


def test_the_published_file_is_not_noted(path, caplog):
    caplog.set_level(logging.INFO, "metasweep")
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    with OpenArchive(Archive("set", "few.zip", lambda: Source(URL, md5)), path) as opened:
        opened.note_if_repacked()
    assert not caplog.records


def test_another_archive_serves_where_it_is_there_and_the_first_is_not(archive, tmp_path):
    other = Archive("elsewhere", "other.zip", archive.source)
    both = Archive("set", "few.zip", archive.source, instead=(other,))
    with pytest.raises(DataError, match=r"\(or elsewhere/other\.zip instead\)"):
        obtain(both, tmp_path)
    there = write_zip(tmp_path / "elsewhere" / "other.zip", MEMBERS)
    assert locate(both, tmp_path) == (other, there)
    assert report("task", both, tmp_path).file == "other.zip"
    first = write_zip(tmp_path / "few.zip", MEMBERS)
    assert locate(both, tmp_path) == (both, first)


def test_what_has_no_address_comes_with_advice(tmp_path, empty_cache):
    archive = Archive("set", "few.zip", None, advice="ask its authors")
    for data, folder in ((tmp_path, tmp_path), (None, empty_cache)):
        with pytest.raises(DataError) as raised:
            obtain(archive, data)
        assert str(raised.value) == (
            f"set/few.zip is missing in the data folder {folder}\nGet it yourself: ask its authors"
        )
        found = report("task", archive, data)
        assert not found.downloads
        assert found.advice == "ask its authors"
    path = write_zip(tmp_path / "few.zip", MEMBERS)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"again yourself: ask its authors$"):
        OpenArchive(archive, path)
