from __future__ import annotations

import numpy as np
import pytest

from episodes.errors import DataError
from episodes.labelled_images import VOID, Pairs, check_labels, fill_from_pairs, labelled_images
from episodes.open_folder import OpenFolder
from episodes.pictures import ImageError, decode_grey, decode_labels, size_of
from tests.episodes.made_up import encode
from tests.episodes.masks import png

LABELS = np.arange(48, dtype=np.uint8).reshape(6, 8) % 5
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, empty_cache):
    files = tmp_path / "files"
    files.mkdir()
    for name in ("a", "b"):
        (files / f"{name}.jpg").write_bytes(encode(PIXELS))
        (files / f"{name}.png").write_bytes(png(LABELS, palette=name == "b"))
    return files


def read(folder, height: int = 6, width: int = 8, name: str = "made-up"):
    files = [("b.jpg", "b.png"), ("a.jpg", "a.png")]
    pairs = Pairs(OpenFolder(folder), files, decode_labels)
    return labelled_images(name, lambda allocate: fill_from_pairs([pairs], height, width, allocate))


def test_images_and_labels_lie_in_one_mapped_array(folder):
    found = read(folder)
    assert isinstance(found.pixels, np.memmap)
    assert found.pixels.shape == (2, 4, 6, 8)
    np.testing.assert_array_equal(found.pixels[0, :3], PIXELS.transpose(2, 0, 1))
    np.testing.assert_array_equal(found.pixels[:, 3], [LABELS, LABELS])
    assert found.counts[1] == {0: 10, 1: 10, 2: 10, 3: 9, 4: 9}
    assert read(folder).digest == found.digest


def test_a_label_is_never_a_mixture_of_others(folder):
    found = read(folder, 3, 4, "small")
    assert set(np.unique(found.pixels[:, 3])) <= set(range(5))
    np.testing.assert_array_equal(found.pixels[0, 3], LABELS[1::2, 1::2])
    assert read(folder, 3, 4, "small").digest != read(folder).digest


def test_a_transparent_ground_is_white(folder, monkeypatch):
    opaque = read(folder).digest
    (folder / "a.jpg").write_bytes(encode(np.zeros((6, 8, 4), dtype=np.uint8)))
    transparent = read(folder, name="transparent")
    assert (transparent.pixels[1, :3] == 255).all()
    monkeypatch.setattr("episodes.labelled_images._DECODING_TRANSPARENT", 99)
    assert read(folder, name="transparent").digest != transparent.digest
    (folder / "a.jpg").write_bytes(encode(PIXELS))
    assert read(folder).digest == opaque


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("a.jpg", b"\xff\xd8\xff nothing", "a.jpg is not an image of a known format"),
        ("a.jpg", encode(PIXELS)[:80], "a.jpg is not an image"),
        ("a.png", png(LABELS)[:40], "a.png is not an image"),
        ("a.png", encode(PIXELS), "a.png is no mask: RGB in place of one byte a pixel"),
        ("a.png", png(LABELS[:, :7]), "a.png is 7 x 6 pixels, its image a.jpg is 8 x 6"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(folder, file, content, message):
    (folder / file).write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        read(folder)
    assert str(folder) in str(raised.value)


def test_labels_have_a_range():
    assert check_labels(LABELS, 4, void=False) is LABELS
    with_void = np.where(LABELS == 2, VOID, LABELS).astype(np.uint8)
    assert check_labels(with_void, 4, void=True) is with_void
    with pytest.raises(ImageError, match=r"the label 255; labels are 0 to 4$"):
        check_labels(with_void, 4, void=False)
    with pytest.raises(ImageError, match=r"the label 4; labels are 0 to 3 and 255$"):
        check_labels(with_void, 3, void=True)


def test_sizes_and_brightness_are_read():
    assert size_of(encode(PIXELS)) == (6, 8)
    np.testing.assert_array_equal(decode_grey(png(LABELS)), LABELS)
    with pytest.raises(ImageError):
        size_of(b"nothing")
