from __future__ import annotations

import os

import pytest

from episodes.errors import DataError
from episodes.file_digests import files_digest


def test_equal_contents_have_equal_digests_wherever_they_lie(empty_cache, tmp_path):
    one, other, third = (tmp_path / name for name in ("one", "other", "third"))
    one.write_bytes(b"content")
    other.write_bytes(b"content")
    third.write_bytes(b"contend")
    assert files_digest([one]) == files_digest([other]) != files_digest([third])
    assert files_digest([one, third]) != files_digest([third, one])


def test_a_file_is_read_again_only_when_it_has_changed(empty_cache, tmp_path, monkeypatch):
    path = tmp_path / "one"
    path.write_bytes(b"content")
    first = files_digest([path])
    with monkeypatch.context() as patch:
        patch.setattr("episodes.file_digests._digest", lambda *_: pytest.fail("read again"))
        assert files_digest([path]) == first
    path.write_bytes(b"contend")
    os.utime(path, ns=(1, 1))
    assert files_digest([path]) != first


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("METASWEEP_CACHE", str(tmp_path / "file"))
    assert files_digest([tmp_path / "file"]) == files_digest([tmp_path / "file"])


def test_a_file_that_is_not_there_is_named(empty_cache, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError) as raised:
        files_digest([link], "Look for it elsewhere.")
    assert str(raised.value) == (
        f"{link} cannot be read: No such file or directory\nLook for it elsewhere."
    )


def test_a_file_that_may_not_be_read_is_named(empty_cache, tmp_path, forbid):
    path = tmp_path / "one"
    path.write_bytes(b"content")
    forbid(path)
    with pytest.raises(DataError, match="one cannot be read: Permission denied\nCheck that it is"):
        files_digest([path])


@pytest.mark.parametrize("content", [b"longer content", b"contend"])
def test_another_file_of_the_same_time_is_read_again(empty_cache, tmp_path, content):
    """As `cp -p` and `rsync -t` put it there."""
    path, other = tmp_path / "one", tmp_path / "other"
    path.write_bytes(b"content")
    first = files_digest([path])
    other.write_bytes(content)
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    os.utime(other, ns=times)
    os.replace(other, path)
    assert path.stat().st_mtime_ns == times[1]
    assert files_digest([path]) != first
