from __future__ import annotations

import gzip
import hashlib

import pytest
from filelock import FileLock

from episodes.download import download
from episodes.errors import DataError

CONTENT = bytes(range(256)) * 2000
MD5 = hashlib.md5(CONTENT).hexdigest()


def left_behind(folder) -> list[str]:
    return [path.name for path in folder.iterdir() if path.suffix != ".lock"]


def test_a_file_is_downloaded_once_with_progress_on_stderr(serve, tmp_path, capsys):
    path = tmp_path / "few.zip"
    with serve({"few.zip": CONTENT}) as (address, asked):
        download(f"{address}/few.zip", MD5, path)
        download(f"{address}/few.zip", MD5, path)
    assert path.read_bytes() == CONTENT
    assert asked == ["few.zip"]
    assert left_behind(tmp_path) == ["few.zip"]
    captured = capsys.readouterr()
    assert "few.zip: 100 % of 0.5 MB\n" in captured.err
    assert not captured.out


def test_a_packed_file_is_kept_as_it_is_published(serve, tmp_path):
    path = tmp_path / "few.tgz"
    packed = gzip.compress(CONTENT)
    with serve({"few.tgz": packed}, encodes=True) as (address, asked):
        download(f"{address}/few.tgz", hashlib.md5(packed).hexdigest(), path)
    assert path.read_bytes() == packed
    assert asked == ["few.tgz"]


def test_a_server_need_not_say_how_long_a_file_is(serve, tmp_path, capsys):
    path = tmp_path / "few.zip"
    (tmp_path / "few.zip.part").write_bytes(CONTENT[:70_000])
    with serve({"few.zip": CONTENT}, length=False) as (address, _):
        download(f"{address}/few.zip", MD5, path)
    assert path.read_bytes() == CONTENT
    assert capsys.readouterr().err == f"downloading {address}/few.zip, of unknown size\n"


def test_progress_without_a_length_is_in_megabytes(serve, tmp_path, capsys):
    content = bytes(25_000_000)
    with serve({"many.zip": content}, length=False) as (address, _):
        download(f"{address}/many.zip", hashlib.md5(content).hexdigest(), tmp_path / "many.zip")
    assert capsys.readouterr().err.splitlines() == [
        f"downloading {address}/many.zip, of unknown size",
        f"downloading {address}/many.zip: 10 MB",
        f"downloading {address}/many.zip: 20 MB",
    ]


@pytest.mark.parametrize(
    ("md5", "name", "reason"),
    [
        ("0" * 32, "few.zip", "does not match the known hash"),
        (MD5, "other.zip", "404"),
    ],
    ids=["wrong-hash", "not-found"],
)
def test_a_failed_download_leaves_nothing(serve, tmp_path, md5, name, reason):
    path = tmp_path / name
    with (
        serve({"few.zip": CONTENT}) as (address, _),
        pytest.raises(DataError) as raised,
    ):
        download(f"{address}/{name}", md5, path)
    assert f"could not download {address}/{name}" in str(raised.value)
    assert reason in str(raised.value)
    assert str(path) in str(raised.value)
    assert left_behind(tmp_path) == []


def test_a_file_that_is_too_large_is_refused_before_it_comes(serve, tmp_path):
    path = tmp_path / "few.zip"
    with (
        serve({"few.zip": CONTENT}) as (address, _),
        pytest.raises(DataError, match=f"{len(CONTENT)} bytes, at most 1000 expected"),
    ):
        download(f"{address}/few.zip", MD5, path, most=1000)
    assert left_behind(tmp_path) == []


def test_an_interrupted_download_is_continued(serve, tmp_path, capsys):
    path = tmp_path / "few.zip"
    have = 0
    for _ in range(2):
        with (
            serve({"few.zip": CONTENT}, cut_after=100_000) as (address, asked),
            pytest.raises(DataError, match="100000 bytes read"),
        ):
            download(f"{address}/few.zip", MD5, path)
        assert asked == [f"few.zip@{have}" if have else "few.zip"]
        assert left_behind(tmp_path) == ["few.zip.part"]
        assert (tmp_path / "few.zip.part").stat().st_size > have
        have = (tmp_path / "few.zip.part").stat().st_size
    with serve({"few.zip": CONTENT}) as (address, asked):
        download(f"{address}/few.zip", MD5, path)
    assert asked == [f"few.zip@{have}"]
    assert path.read_bytes() == CONTENT
    assert left_behind(tmp_path) == ["few.zip"]
    assert "few.zip: 100 % of 0.5 MB\n" in capsys.readouterr().err


def test_a_server_that_cannot_continue_sends_all_again(serve, tmp_path):
    path = tmp_path / "few.zip"
    (tmp_path / "few.zip.part").write_bytes(CONTENT[:70_000])
    with serve({"few.zip": CONTENT}, ranges=False) as (address, asked):
        download(f"{address}/few.zip", MD5, path)
    assert asked == ["few.zip"]
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"other" * 10, CONTENT[:-1] + b"x", CONTENT + b"more"])
def test_a_part_of_something_else_is_fetched_again(serve, tmp_path, part):
    path = tmp_path / "few.zip"
    (tmp_path / "few.zip.part").write_bytes(part)
    with serve({"few.zip": CONTENT}) as (address, asked):
        download(f"{address}/few.zip", MD5, path)
    assert asked == [f"few.zip@{len(part)}", "few.zip"]
    assert path.read_bytes() == CONTENT
    assert left_behind(tmp_path) == ["few.zip"]


def test_a_part_that_is_whole_only_takes_its_name(serve, tmp_path):
    path = tmp_path / "few.zip"
    (tmp_path / "few.zip.part").write_bytes(CONTENT)
    with serve({"few.zip": CONTENT}) as (address, asked):
        download(f"{address}/few.zip", MD5, path)
    assert asked == [f"few.zip@{len(CONTENT)}"]
    assert path.read_bytes() == CONTENT


def test_a_server_that_sends_more_than_there_should_be_is_left(serve, tmp_path):
    path = tmp_path / "few.zip"
    with (
        serve({"few.zip": CONTENT}, length=False) as (address, _),
        pytest.raises(DataError, match=r"few\.zip: more than 100000 bytes"),
    ):
        download(f"{address}/few.zip", MD5, path, 100_000)
    assert left_behind(tmp_path) == []


def test_nobody_listening_is_a_data_error(serve, tmp_path):
    with serve({}) as (address, _):
        pass
    with pytest.raises(DataError, match="could not download"):
        download(f"{address}/few.zip", MD5, tmp_path / "few.zip")


def test_two_processes_download_once(serve, start_python, tmp_path):
    code = """
import sys
from pathlib import Path
from episodes.download import download
print("ready", flush=True)
download(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
"""
    path = tmp_path / "few.zip"
    with serve({"few.zip": CONTENT}) as (address, asked):
        with FileLock(tmp_path / "few.zip.lock"):  # both get as far as the lock
            both = [start_python(code, f"{address}/few.zip", MD5, path) for _ in range(2)]
            for process in both:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            assert not asked
        for process in both:
            process.communicate(timeout=60)
            assert process.returncode == 0
    assert asked == ["few.zip"]
    assert path.read_bytes() == CONTENT
