from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from episodes import fss1000, load
from episodes.errors import DataError
from episodes.fss1000 import masks_of, published_test_classes, read_images, split_classes
from tests.episodes.made_up import encode, image_of
from tests.episodes.masks import png
from tests.ready_made import assert_runs_dry

TEST = published_test_classes()
NAMES = [*TEST, *(f"class {k:03}" for k in range(760))]


def write(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def made_up(names: list[str], images: int = 2) -> dict[str, bytes]:
    """Two images a class; the marked columns tell their number, the largest value varies."""
    files = {}
    for number, name in enumerate(names):
        for i in range(images):
            mask = np.zeros((16, 16), dtype=np.uint8)
            mask[:, : 2 + i] = 255 if number % 2 else 1
            files[f"fewshot_data/{name}/{i + 1}.jpg"] = encode(image_of(number % 256, i, 16, 16))
            files[f"fewshot_data/{name}/{i + 1}.png"] = png(mask)
    return files


def load_fss(data, query_shots: int = 1, size: int = 16):
    options = {"size": size}
    return load("fss-1000", shots=1, query_shots=query_shots, data=data, options=options)


def test_the_whole_data_set(tmp_path, empty_cache):
    write(tmp_path / "fewshot_data.zip", made_up(sorted(NAMES)))
    source = load_fss(tmp_path)
    counts = {split: len(source.class_names(split)) for split in fss1000.CLASSES}
    assert counts == {"train": 520, "validation": 240, "test": 240}
    assert source.class_names("test") == tuple(sorted(TEST))
    drawn = source.sample("test", 0, range(30))
    columns = drawn.support.targets[:, 0].sum((1, 2)) // 16
    order = (drawn.support.inputs[:, 0, 1, 0, 0] * 255).round().long()
    assert (columns == 2 + order).all()
    red = (drawn.support.inputs[:, 0, 0, 0, 0] * 255).round().long()
    wanted = [sorted(NAMES).index(sorted(TEST)[int(k)]) % 256 for k in drawn.classes[:, 0]]
    assert red.tolist() == wanted
    with pytest.raises(DataError, match=r"has 2 images of class .*at most 2"):
        load_fss(tmp_path, query_shots=2)


@pytest.mark.parametrize("place", ["fss-1000/fewshot_data", "fewshot_data"])
def test_an_unpacked_folder_is_the_same_data(tmp_path, empty_cache, place):
    files = made_up(sorted(NAMES))
    packed = load_fss(write(tmp_path / "fewshot_data.zip", files).parent)
    root = tmp_path / "unpacked" / place
    for name, content in files.items():
        path = root / name.removeprefix("fewshot_data/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    loose = load_fss(tmp_path / "unpacked")
    assert loose.digest == packed.digest
    drawn = [one.sample("test", 0, range(3)).query for one in (loose, packed)]
    assert torch.equal(drawn[0].inputs, drawn[1].inputs)
    # What is in the folder decides, not its name.
    (root / sorted(NAMES)[3] / "1.png").unlink()
    with pytest.raises(DataError, match=r"1\.jpg has no mask") as raised:
        load_fss(tmp_path / "unpacked")
    assert str(raised.value).startswith(f"in the folder {root}: ")
    assert "github.com/HKUSTCV/FSS-1000" in str(raised.value)


def test_real_images_in_a_folder_are_those_of_the_archive(real, tmp_path, shared_cache):
    path = real("fss1000_samples") / "fewshot_data.zip"
    with zipfile.ZipFile(path) as file:
        file.extractall(tmp_path)
    packed, loose = read_images(path, 64), read_images(tmp_path / "fewshot_data", 64)
    assert loose.digest == packed.digest
    assert loose.notes == packed.notes
    np.testing.assert_array_equal(loose.pixels, packed.pixels)


def test_the_split_is_always_the_same_and_disjoint():
    split = split_classes(NAMES, TEST)
    assert split == split_classes(NAMES[::-1], TEST)
    assert sorted(name for names in split.values() for name in names) == sorted(NAMES)
    assert split["validation"][:4] == ["class 000", "class 001", "class 002", "class 007"]


def test_the_published_list_is_checked(tmp_path, monkeypatch):
    text = (fss1000.SPLIT_FOLDER / "fss-1000.json").read_text()
    (tmp_path / "fss-1000.json").write_text(text.replace("chess_king", "chess_pawn"))
    monkeypatch.setattr(fss1000, "SPLIT_FOLDER", tmp_path)
    with pytest.raises(DataError, match="class list was changed"):
        published_test_classes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fewshot_data/cat/1.png": None}, r"fewshot_data/cat/1\.jpg has no mask"),
        ({"fewshot_data/cat/2.jpg": None}, r"fewshot_data/cat/2\.png has no image"),
        ({"fewshot_data/cat/2.png": png(np.zeros((16, 16), np.uint8))}, r"2\.png marks no pixel"),
        ({"fewshot_data/cat/2.jpg": b"\xff\xd8"}, r"cat/2\.jpg is not an image"),
        ({"fewshot_data/cat/2.png": png(np.ones((9, 16), np.uint8))}, "is 16 x 9 pixels, its imag"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, empty_cache, change, message):
    files = {**made_up(["cat", "dog"]), **change}
    path = tmp_path / "fewshot_data.zip"
    write(path, {name: content for name, content in files.items() if content is not None})
    with pytest.raises(DataError, match=message) as raised:
        read_images(path, 16)
    assert "github.com/HKUSTCV/FSS-1000" in str(raised.value)


def test_an_incomplete_or_empty_archive_is_refused(tmp_path, empty_cache):
    write(tmp_path / "fewshot_data.zip", made_up(["cat", "dog"]))
    with pytest.raises(DataError, match=r"2 classes in .*FSS-1000 has 1000"):
        load_fss(tmp_path)
    write(tmp_path / "fewshot_data.zip", {"fewshot_data/README": b""})
    with pytest.raises(DataError, match="no images of FSS-1000 in it"):
        load_fss(tmp_path)


def test_real_images_are_read(real, shared_cache):
    images = read_images(real("fss1000_samples") / "fewshot_data.zip", 64)
    assert images.notes["classes"] == {"african_elephant": 5, "eiffel_tower": 5}
    assert images.pixels.shape == (10, 4, 64, 64)
    of_classes = masks_of(images, ["eiffel_tower", "african_elephant"])
    assert of_classes.names == ("african_elephant", "eiffel_tower")
    assert [rows.tolist() for rows in of_classes.rows] == [[*range(5)], [*range(5, 10)]]
    shares = [images.counts[row][1] / 64**2 for row in range(10)]
    assert all(0.01 < share < 0.7 for share in shares)
    # At full size, the marked pixels are those of the file.
    whole = read_images(real("fss1000_samples") / "fewshot_data.zip", 224)
    assert set(np.unique(whole.pixels[:, 3])) == {0, 1}


def test_its_ready_made_search_runs_dry(tmp_path, empty_cache):
    write(tmp_path / "fewshot_data.zip", made_up(NAMES))
    assert_runs_dry("fss-1000-5shot", tmp_path, shots="1", query_shots="1", options__size="16")
