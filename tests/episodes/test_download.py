from __future__ import annotations

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


@pytest.mark.parametrize(
    ("md5", "cut_after", "name", "reason"),
    [
        ("0" * 32, None, "few.zip", "does not match the known hash"),
        (MD5, 1000, "few.zip", "1000 bytes read"),
        (MD5, None, "other.zip", "404"),
    ],
    ids=["wrong-hash", "cut-short", "not-found"],
)
def test_a_failed_download_leaves_nothing(serve, tmp_path, md5, cut_after, name, reason):
    path = tmp_path / name
    with (
        serve({"few.zip": CONTENT}, cut_after) as (address, _),
        pytest.raises(DataError) as raised,
    ):
        download(f"{address}/{name}", md5, path)
    assert f"could not download {address}/{name}" in str(raised.value)
    assert reason in str(raised.value)
    assert str(path) in str(raised.value)
    assert left_behind(tmp_path) == []


def test_a_server_that_sends_more_than_there_should_be_is_left(serve, tmp_path):
    path = tmp_path / "few.zip"
    with (
        serve({"few.zip": CONTENT}) as (address, _),
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
