from __future__ import annotations

import sys

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


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what memory processes share")
def test_processes_that_draw_from_an_array_hold_one_copy_of_it(empty_cache, start_python):
    code = """
import re
import sys
from pathlib import Path

import numpy as np
from episodes.class_images import ImageEpisodes, StoredPixels, Wanted, class_images
from episodes.prepared import prepared

def build():
    return np.random.default_rng(0).integers(0, 256, (400, 1, 100, 100), dtype=np.uint8)

pixels = prepared("many", build)
names = [f"{number:02d}" for number in range(20)]
counts = dict.fromkeys(names, 20)
gather = StoredPixels(pixels)
parts = {"train": names[:16], "validation": names[16:18], "test": names[18:]}
splits = {split: class_images(names, counts, gather, part) for split, part in parts.items()}
task = ImageEpisodes("many", (1, 100, 100), splits, "", Wanted(ways=2, shots=1, query_shots=19))
for split in parts:
    task.sample(split, 0, range(50))  # as good as every image
print("drawn", flush=True)
sys.stdin.readline()
mapped = Path("/proc/self/smaps").read_text().split("many.npy")[1]
print(*(re.search(rf"{size}: +(\\d+) kB", mapped)[1] for size in (
    "Rss", "Pss", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty")), flush=True)
sys.stdin.readline()
"""
    several = [start_python(code) for _ in range(3)]
    assert [process.stdout.readline() for process in several] == ["drawn\n"] * 3
    sizes = []
    for process in several:
        process.stdin.write("\n")
        process.stdin.flush()
        sizes.append([int(size) for size in process.stdout.readline().split()])
    for process in several:
        process.communicate("\n", timeout=60)
    # Where the folder is in memory itself, its pages are never clean.
    resident, share, clean, dirty, *own = np.array(sizes).T
    file = (empty_cache / "prepared" / "many.npy").stat().st_size / 1024
    assert (resident > 0.95 * file).all()
    assert (clean + dirty == resident).all()
    assert np.sum(own) == 0
    assert share.sum() <= 1.05 * file
