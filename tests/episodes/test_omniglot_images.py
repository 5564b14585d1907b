from __future__ import annotations

import hashlib
import io
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import Omniglot as TorchvisionOmniglot

from episodes import load
from episodes.archives import OpenArchive
from episodes.errors import DataError
from episodes.omniglot_images import ARCHIVES, load_images

NAMES = ("images_background.zip", "images_evaluation.zip")


@pytest.fixture
def copy(data_folder, tmp_path) -> Path:
    """A data folder of one's own, to damage."""
    folder = tmp_path / "data"
    shutil.copytree(data_folder / "omniglot", folder / "omniglot")
    for path in (folder / "omniglot").iterdir():
        path.chmod(0o644)
    return folder


def drawing(size: tuple[int, int] = (105, 105)) -> bytes:
    stream = io.BytesIO()
    Image.new("1", size, color=1).save(stream, "PNG")
    return stream.getvalue()


def test_pixels_are_the_drawings_in_order(omniglot, data_folder, shared_cache):
    images = load_images(data_folder)
    assert images.pixels.shape == (1623 * 4 * 20, 784)
    assert images.pixels.dtype == np.uint8
    character = images.characters["Tifinagh", 55]
    with zipfile.ZipFile(data_folder / "omniglot" / NAMES[0]) as file:
        content = file.read("images_background/Tifinagh/character55/0964_20.png")
    grey = Image.open(io.BytesIO(content)).convert("L").resize((28, 28), Image.Resampling.LANCZOS)
    upright = 255 - np.asarray(grey)
    for rotation in range(4):
        row = images.pixels[(character * 4 + rotation) * 20 + 19].reshape(28, 28)
        np.testing.assert_array_equal(row, np.rot90(upright, rotation))


def test_a_repacked_archive_is_the_same_data(omniglot, data_folder, tmp_path, shared_cache):
    folder = tmp_path / "repacked"
    folder.mkdir()
    shutil.copy(data_folder / "omniglot" / NAMES[0], folder)
    with (
        zipfile.ZipFile(data_folder / "omniglot" / NAMES[1]) as old,
        zipfile.ZipFile(folder / NAMES[1], "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new,
    ):
        new.writestr("images_evaluation/", "")
        new.writestr("__MACOSX/images_evaluation/._ULOG", "")
        for name in reversed(old.namelist()):
            new.writestr(name, old.read(name))
    repacked = load("omniglot", ways=5, shots=1, query_shots=15, data=folder)
    assert repacked.digest == omniglot.digest


def test_a_damaged_image_is_named(copy, empty_cache):
    path = copy / "omniglot" / NAMES[0]
    with zipfile.ZipFile(path) as file:
        first = file.infolist()[0]
    content = bytearray(path.read_bytes())
    content[first.header_offset + 30 + len(first.filename) + 40] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        load_images(copy)
    assert f"{path} is damaged: member {first.filename} is unreadable" in str(raised.value)
    assert "raw.githubusercontent.com/brendenlake/omniglot" in str(raised.value)
    assert not list(empty_cache.rglob("*.npy"))


@pytest.mark.parametrize("name", NAMES)
def test_half_an_archive_is_named(copy, empty_cache, name):
    path = copy / "omniglot" / name
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataError, match=f"{name} is damaged: cut short"):
        load_images(copy)


@pytest.mark.parametrize(
    ("drawings", "message"),
    [
        (20, "1 characters, 964 expected"),
        (19, "19 drawings of character 3 of Latin, 20 expected"),
    ],
)
def test_an_incomplete_archive_is_refused(tmp_path, empty_cache, drawings, message):
    with zipfile.ZipFile(tmp_path / NAMES[0], "w") as file:
        for number in range(drawings):
            file.writestr(f"images_background/Latin/character03/0001_{number:02}.png", b"")
    with pytest.raises(DataError, match=message):
        load_images(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not an image", "is not a PNG image"),
        (drawing()[:60], "is not a PNG image"),
        (drawing((28, 28)), r"is \(28, 28\), not \(105, 105\) pixels"),
    ],
    ids=["no-image", "cut-image", "wrong-size"],
)
def test_a_member_that_is_no_drawing_is_refused(copy, empty_cache, content, message):
    path = copy / "omniglot" / NAMES[0]
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    members[min(members)] = content
    with zipfile.ZipFile(path, "w") as new:
        for name, value in members.items():
            new.writestr(name, value)
    with pytest.raises(DataError, match=message):
        load_images(copy)


def test_without_a_folder_the_archives_are_downloaded_and_checked(
    omniglot, data_folder, session_cache, empty_cache, serve, monkeypatch
):
    files = {name: (data_folder / "omniglot" / name).read_bytes() for name in NAMES}
    hashes = {Path(name).stem: hashlib.md5(files[name]).hexdigest() for name in NAMES}
    empty_cache.mkdir()
    (empty_cache / "prepared").symlink_to(session_cache / "prepared")
    with serve(files) as (address, asked):
        monkeypatch.setattr(TorchvisionOmniglot, "download_url_prefix", address)
        monkeypatch.setattr(TorchvisionOmniglot, "zips_md5", hashes)
        for _ in range(2):
            downloaded = load("omniglot", ways=5, shots=1, query_shots=15)
            assert downloaded.digest == omniglot.digest
    assert asked == list(NAMES)
    assert (empty_cache / "omniglot" / NAMES[0]).read_bytes() == files[NAMES[0]]


def test_the_published_archives_are_torchvisions():
    source = ARCHIVES[0].source()
    assert source.url.endswith("/brendenlake/omniglot/master/python/images_background.zip")
    assert source.md5 == "68d2efa1b9178cc56df9314c21c6e718"
    assert [archive.file for archive in ARCHIVES] == list(NAMES)


def test_the_given_archives_hold_what_is_expected(data_folder):
    for archive, count in zip(ARCHIVES, (19_280, 13_180), strict=True):
        with OpenArchive(archive, data_folder / "omniglot" / archive.file) as opened:
            images = [m for m in opened.members() if m.filename.endswith(".png")]
        assert len(images) == count
