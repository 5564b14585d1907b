from __future__ import annotations

import numpy as np
import pytest
from filelock import FileLock

from episodes.errors import DataError
from episodes.prepared import prepared, prepared_with_notes

ARRAY = np.arange(12, dtype=np.uint8).reshape(3, 4)


def refuse() -> np.ndarray:
    raise AssertionError("built again")


def test_an_array_is_built_once_and_mapped_afterwards(empty_cache):
    first = prepared("few", lambda: ARRAY)
    again = prepared("few", refuse)
    for array in (first, again):
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
        np.testing.assert_array_equal(array, ARRAY)
    names = {path.name for path in (empty_cache / "prepared").iterdir()}
    assert names == {"few.npy", "few.npy.lock"}


@pytest.mark.parametrize("kept", [0, 20, -1])
def test_a_cut_file_is_built_again(empty_cache, kept):
    prepared("few", lambda: ARRAY)
    path = empty_cache / "prepared" / "few.npy"
    path.write_bytes(path.read_bytes()[:kept])
    np.testing.assert_array_equal(prepared("few", lambda: ARRAY), ARRAY)


def test_a_failed_build_keeps_nothing(empty_cache):
    with pytest.raises(DataError, match="no luck"):
        prepared("few", lambda: (_ for _ in ()).throw(DataError("no luck")))
    assert not list((empty_cache / "prepared").glob("*.npy"))
    np.testing.assert_array_equal(prepared("few", lambda: ARRAY), ARRAY)


def test_a_cache_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("METASWEEP_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match="Set METASWEEP_CACHE"):
        prepared("few", lambda: ARRAY)


def test_two_processes_build_once(empty_cache, start_python):
    code = """
import numpy as np
from episodes.prepared import prepared, prepared_with_notes

def build():
    print("built", flush=True)
    return np.full((100, 100), 7)

print("ready", flush=True)
assert (prepared("few", build) == 7).all()
"""
    folder = empty_cache / "prepared"
    folder.mkdir(parents=True)
    with FileLock(folder / "few.npy.lock"):  # both get as far as the lock
        both = [start_python(code) for _ in range(2)]
        for process in both:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(said) == ["", "built\n"]
    assert (np.load(folder / "few.npy") == 7).all()


def build_few(allocate) -> dict[str, int]:
    allocate(ARRAY.shape)[:] = ARRAY
    return {"rows": 3}


def refuse_to_fill(allocate) -> None:
    refuse()


def test_an_array_built_on_disk_keeps_its_notes(empty_cache):
    for build in (build_few, refuse_to_fill):
        array, notes = prepared_with_notes("few", build)
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
        np.testing.assert_array_equal(array, ARRAY)
        assert notes == {"rows": 3}
    names = {path.name for path in (empty_cache / "prepared").iterdir()}
    assert names == {"few.npy", "few.json", "few.npy.lock"}


@pytest.mark.parametrize("damaged", ["few.npy", "few.json"])
def test_what_is_cut_on_disk_is_built_again(empty_cache, damaged):
    prepared_with_notes("few", build_few)
    path = empty_cache / "prepared" / damaged
    path.write_bytes(path.read_bytes()[:-3])
    array, notes = prepared_with_notes("few", build_few)
    np.testing.assert_array_equal(array, ARRAY)
    assert notes == {"rows": 3}


def test_a_failed_build_on_disk_keeps_nothing(empty_cache):
    def fail(allocate) -> None:
        allocate((1000, 1000))
        raise DataError("no luck")

    with pytest.raises(DataError, match="no luck"):
        prepared_with_notes("few", fail)
    assert [path.name for path in (empty_cache / "prepared").iterdir()] == ["few.npy.lock"]


def test_a_disk_without_room_is_named_before_it_is_filled(empty_cache):
    with pytest.raises(DataError, match="Set METASWEEP_CACHE"):
        prepared_with_notes("few", lambda allocate: allocate((1 << 50,)))
    assert [path.name for path in (empty_cache / "prepared").iterdir()] == ["few.npy.lock"]
