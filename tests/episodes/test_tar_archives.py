from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from episodes.archives import Archive, OpenArchive, Source
from episodes.errors import DataError
from episodes.packed import open_packed
from episodes.tar_archives import OpenTar

URL = "https://example.org/set/few.tar.gz"
MEMBERS = {"few/a/1.png": b"first" * 500, "few/b/1.png": bytes(range(256)) * 300}


@pytest.fixture
def archive() -> Archive:
    return Archive("set", "few.tar.gz", lambda: Source(URL, "0" * 32), most_unpacked=1 << 20)


def write_tar(
    path: Path, members: dict[str, bytes], mode: str = "w:gz", extra: tarfile.TarInfo | None = None
) -> Path:
    with tarfile.open(path, mode) as tar:
        folder = tarfile.TarInfo("few")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        if extra is not None:
            tar.addfile(extra)
    return path


@pytest.fixture
def path(tmp_path) -> Path:
    return write_tar(tmp_path / "few.tar.gz", MEMBERS)


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz", "w"])
def test_files_are_listed_and_read_in_their_order(archive, tmp_path, mode):
    path = write_tar(tmp_path / "few.tar", MEMBERS, mode)
    with open_packed(archive, path) as opened:
        assert isinstance(opened, OpenTar)
        assert opened.names() == list(MEMBERS)
        assert dict(opened.read_each(MEMBERS)) == MEMBERS
        assert list(opened.read_each(["few/b/1.png"])) == [("few/b/1.png", MEMBERS["few/b/1.png"])]


def test_a_zip_is_opened_as_one(archive, tmp_path):
    import zipfile

    path = tmp_path / "few.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.mkdir("few")
        for name, content in MEMBERS.items():
            file.writestr(name, content)
    with open_packed(archive, path) as opened:
        assert isinstance(opened, OpenArchive)
        assert opened.names() == list(MEMBERS)
        assert dict(opened.read_each(MEMBERS)) == MEMBERS


def test_names_with_a_dot_in_front_are_plain_names(archive, tmp_path):
    path = write_tar(tmp_path / "few.tar", {f"./{name}": c for name, c in MEMBERS.items()}, "w")
    assert OpenTar(archive, path).names() == list(MEMBERS)


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (member("/etc/passwd"), "'/etc/passwd' points outside the archive"),
        (member("few/../../up"), "points outside the archive"),
        (member("few/link", tarfile.SYMTYPE, "/etc/passwd"), "is a link or a device"),
        (member("few/hard", tarfile.LNKTYPE, "few/a/1.png"), "is a link or a device"),
        (member("few/null", tarfile.CHRTYPE), "is a link or a device"),
        (member("few/pipe", tarfile.FIFOTYPE), "is a link or a device"),
        (member("few/a/1.png"), "is there twice"),
        (member("few/\x1b[2J"), "has control characters in its name"),
    ],
)
def test_members_that_are_not_plain_files_inside_are_refused(archive, tmp_path, extra, message):
    path = write_tar(tmp_path / "few.tar.gz", MEMBERS, extra=extra)
    with pytest.raises(DataError) as raised:
        OpenTar(archive, path)
    assert f"{path} is damaged: member " in str(raised.value)
    assert message in str(raised.value)
    assert f"get it again from {URL}" in str(raised.value)


@pytest.mark.parametrize("kept", [0, 1, 100, -1, -20])
@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_half_a_file_is_refused(archive, tmp_path, mode, kept):
    path = write_tar(tmp_path / "few.tar", MEMBERS, mode)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match="is damaged: cut short, or not a tar file"):
        list(OpenTar(archive, path).read_each(MEMBERS))


def test_a_flipped_byte_is_found(archive, path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        list(OpenTar(archive, path).read_each(MEMBERS))


def test_what_unpacks_to_too_much_is_refused(archive, tmp_path):
    path = write_tar(tmp_path / "few.tar.gz", {"few/zeros": bytes(1 << 21)})
    with pytest.raises(DataError, match="more than 1048576 bytes unpacked"):
        OpenTar(archive, path)


def test_a_header_that_would_fill_the_memory_is_refused(archive, tmp_path):
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    path = tmp_path / "few.tar"
    path.write_bytes(name.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(DataError, match="a header of"):
        OpenTar(archive, path)


def test_a_file_that_is_too_large_is_refused(path):
    archive = Archive("set", "few.tar.gz", lambda: Source(URL, "0" * 32), most_packed=100)
    with pytest.raises(DataError, match="at most 100 expected"):
        OpenTar(archive, path)
