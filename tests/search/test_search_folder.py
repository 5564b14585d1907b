from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from search import search_folder
from search.errors import UserError
from search.search_folder import SearchFolder, check_storage

DEAD = "process 1 on a machine that lost its power"


@pytest.fixture
def folder(tmp_path: Path) -> SearchFolder:
    return SearchFolder(tmp_path, "mine")


def _refused(folder: SearchFolder) -> str:
    with pytest.raises(UserError) as caught, folder.locked():
        pass
    return str(caught.value)


def test_a_second_driver_is_told_who_works(folder: SearchFolder) -> None:
    with folder.locked():
        assert f"is being driven already, by process {os.getpid()} on " in _refused(folder)
    with folder.locked():
        pass
    assert not (folder.path / "driver.json").exists()


def test_a_refused_driver_leaves_the_name_of_the_one_that_works(folder: SearchFolder) -> None:
    with folder.locked():
        _refused(folder)
        assert f"process {os.getpid()}" in (folder.path / "driver.json").read_text()


def test_a_driver_whose_name_vanishes_meanwhile(
    folder: SearchFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends between two looks: its lock is still held, its file was there and is gone."""
    folder.path.mkdir()
    exists = Path.exists
    monkeypatch.setattr(
        Path, "exists", lambda path: path.name == "driver.json" or exists(path), raising=True
    )
    with FileLock(folder.path / "driver.lock"):
        assert _refused(folder) == "mine: is being driven already, by another process"


def test_a_dead_driver_is_not_named(folder: SearchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It left its name; the next one holds the lock, and has not yet written its own."""
    folder.path.mkdir()
    holder = folder.path / "driver.json"
    holder.write_text(DEAD)
    taken, looked, write = threading.Event(), threading.Event(), Path.write_text

    def late(path: Path, text: str) -> int:
        if path == holder:
            taken.set()
            looked.wait(1)
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", late)
    leave = threading.Event()

    def drive() -> None:
        with folder.locked():
            leave.wait(30)

    driver = threading.Thread(target=drive)
    driver.start()
    assert taken.wait(10)
    message = _refused(folder)
    looked.set()
    leave.set()
    driver.join()
    assert message.endswith(f"by {_name()}")


def test_a_driver_that_is_stopped_at_the_door_is_waited_for_briefly(
    folder: SearchFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_folder, "ENTRY_SECONDS", 0.1)
    folder.path.mkdir()
    (folder.path / "driver.json").write_text(DEAD)
    with FileLock(folder.path / "driver.entry.lock"):
        assert _refused(folder) == "mine: is being driven already, by another process"


def test_a_name_that_cannot_be_written_leaves_the_search_free(
    folder: SearchFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> int:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="no space left"), folder.locked():
            pass
    with folder.locked():
        pass


def _name() -> str:
    return f"process {os.getpid()} on {search_folder.socket.gethostname()}"


def test_a_storage_folder_that_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    closed = tmp_path / "closed"
    closed.mkdir()
    check_storage(tmp_path)
    check_storage(tmp_path / "new" / "below")
    for path, there in ((tmp_path / "file", "file"), (tmp_path / "file" / "below", "file")):
        with pytest.raises(UserError, match=f"--storage: {path}: {tmp_path / there} is a file; na"):
            check_storage(path)
    # As it is for everyone but root.
    monkeypatch.setattr(os, "access", lambda path, mode: path != closed)
    with pytest.raises(UserError, match=f"{closed} cannot be written to; name another folder"):
        check_storage(closed / "below")
