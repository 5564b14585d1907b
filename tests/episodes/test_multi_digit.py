from __future__ import annotations

import gzip
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from episodes import load
from episodes.class_splits import read_name_split
from episodes.errors import DataError
from episodes.mnist import FILES, load_digits
from episodes.multi_digit import CANVAS, IMAGES_PER_CLASS, SHARES, Composed

SIZES = {"double-mnist": 2, "triple-mnist": 3}


@pytest.fixture
def mnist(real, shared_cache) -> Path:
    return real("mnist").parent


@pytest.fixture(params=list(SIZES))
def distribution(request, mnist):
    return load(request.param, ways=5, shots=1, query_shots=15, data=mnist)


def all_rows(task: str, split: str) -> np.ndarray:
    numbers = np.array([int(name) for name in read_name_split(task).classes[split]])
    return (numbers[:, None] * IMAGES_PER_CLASS + np.arange(IMAGES_PER_CLASS)).ravel()


def test_digits_are_sorted_by_class(mnist):
    stored = load_digits(mnist)
    assert stored.pixels.shape == (70_000, 1, 28, 28)
    assert sum(stored.counts.values()) == 70_000
    # The first of the published files is a 5, the second a 0, and so on.
    with gzip.open(mnist / "mnist" / "train-images-idx3-ubyte.gz") as file:
        published = np.frombuffer(file.read(16 + 3 * 784), dtype=np.uint8, offset=16)
    five, zero, four = published.reshape(3, 28, 28)
    first = np.cumsum([0, *stored.counts.values()])
    for digit, image in ((5, five), (0, zero), (4, four)):
        np.testing.assert_array_equal(stored.pixels[first[digit], 0], image)


def test_classes_are_the_published_ones(distribution):
    digits = SIZES[distribution.name]
    counts = {2: (64, 16, 20), 3: (640, 160, 200)}[digits]
    assert tuple(distribution.class_counts.values()) == counts
    names = [name for split in SHARES for name in distribution.class_names(split)]
    assert sorted(names) == [f"{number:0{digits}}" for number in range(10**digits)]
    assert distribution.input_shape == (1, CANVAS[digits], CANVAS[digits])


@pytest.mark.parametrize("task", list(SIZES))
def test_images_show_their_number_and_splits_share_no_digit(mnist, task):
    stored, digits = load_digits(mnist), SIZES[task]
    label_of = np.repeat(np.arange(10), list(stored.counts.values()))
    used = {}
    for split, share in SHARES.items():
        rows = all_rows(task, split)
        images, x, y = Composed(stored, digits, share).layout(rows)
        numbers = (label_of[images] * 10 ** np.arange(digits - 1, -1, -1)).sum(axis=1)
        np.testing.assert_array_equal(numbers, rows // IMAGES_PER_CLASS)
        # From left to right, inside of the image, never one over the other.
        assert (np.diff(x, axis=1) >= 28).all()
        for corner in (x, y):
            assert corner.min() >= 0
            assert corner.max() + 28 <= CANVAS[digits]
        assert y.min() == 0
        assert y.max() + 28 == CANVAS[digits]
        used[split] = set(images.ravel().tolist())
    assert not used["train"] & used["validation"]
    assert not used["train"] & used["test"]
    assert not used["validation"] & used["test"]
    # And nearly every digit is used.
    assert sum(map(len, used.values())) > 0.7 * 70_000


@pytest.mark.parametrize("task", list(SIZES))
def test_an_image_is_its_digits_and_nothing_else(mnist, task):
    composed = Composed(load_digits(mnist), SIZES[task], SHARES["test"])
    rows = all_rows(task, "test")[:: IMAGES_PER_CLASS // 2 + 1]
    images, x, y = composed.layout(rows)
    drawn = composed(rows)
    pixels = load_digits(mnist).pixels
    for t in range(len(rows)):
        expected = np.zeros((composed.size, composed.size), dtype=np.uint8)
        for image, left, top in zip(images[t], x[t], y[t], strict=True):
            expected[top : top + 28, left : left + 28] = pixels[image, 0]
        np.testing.assert_array_equal(drawn[t, 0].numpy(), expected)


def test_images_are_the_same_whenever_they_are_drawn(distribution):
    episodes = distribution.sample("train", 4, np.array([7, 0, 9]))
    alone = distribution.sample("train", 4, np.array([9]))
    assert torch.equal(episodes.query.inputs[2:], alone.query.inputs)
    assert episodes.query.inputs.max() == 1
    assert episodes.query.inputs.min() == 0


def test_images_of_a_class_differ(mnist):
    composed = Composed(load_digits(mnist), 2, SHARES["train"])
    images = composed(np.arange(IMAGES_PER_CLASS)).flatten(1)
    assert len(images.unique(dim=0)) == IMAGES_PER_CLASS


@pytest.fixture
def copy(mnist, tmp_path, empty_cache) -> Path:
    folder = tmp_path / "data"
    shutil.copytree(mnist / "mnist", folder / "mnist")
    for path in (folder / "mnist").iterdir():
        path.chmod(0o644)
    return folder


def load_double(data: Path):
    return load("double-mnist", ways=5, shots=1, query_shots=1, data=data)


@pytest.mark.parametrize("name", FILES)
def test_half_a_file_is_named(copy, name):
    path = copy / "mnist" / f"{name}.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=f"{name}.gz is damaged: cut short") as raised:
        load_double(copy)
    assert f"get it again from https://ossci-datasets.s3.amazonaws.com/mnist/{name}.gz" in str(
        raised.value
    )


def test_other_content_is_named(copy):
    path = copy / "mnist" / "t10k-labels-idx1-ubyte.gz"
    with gzip.open(path) as file:
        content = bytearray(file.read())
    content[-1] ^= 1
    path.write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match="unpacked, it is not the published file"):
        load_double(copy)


def test_a_missing_file_is_named(copy):
    (copy / "mnist" / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"mnist/t10k-images-idx3-ubyte\.gz is missing"):
        load_double(copy)


def test_without_a_folder_the_files_are_downloaded(copy, serve, monkeypatch):
    from torchvision.datasets import MNIST

    files = {path.name: path.read_bytes() for path in (copy / "mnist").glob("*.gz")}
    hashes = [(name, hashlib.md5(content).hexdigest()) for name, content in files.items()]
    with serve(files) as (address, asked):
        monkeypatch.setattr(MNIST, "mirrors", [f"{address}/"])
        monkeypatch.setattr(MNIST, "resources", hashes)
        assert (
            load("double-mnist", ways=5, shots=1, query_shots=1).digest == load_double(copy).digest
        )
    assert asked == [f"{name}.gz" for name in FILES]
