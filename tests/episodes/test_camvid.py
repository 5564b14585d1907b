from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from episodes import load
from episodes.camvid import CLASSES, DRIVES, NAMES
from episodes.episode import IGNORED, SPLITS
from episodes.errors import DataError
from tests.episodes.made_up import encode
from tests.episodes.masks import png

FRAMES = 4


def made_up() -> dict[str, bytes]:
    """Frames of every drive with all 12 labels, in stripes, and their brightness their number."""
    files = {}
    stripes = np.repeat(np.arange(12, dtype=np.uint8), 4)[:, None].repeat(64, 1)
    drives = [drive for drives in DRIVES.values() for drive in drives]
    for number, drive in enumerate(drives):
        for i in range(FRAMES):
            pixels = np.full((48, 64, 3), 10 * number + i, dtype=np.uint8)
            name = f"{drive}_{i:06}"
            part = ("train", "val", "test")[i % 3]
            files[f"CamVid/{part}/{name}.jpg"] = encode(pixels)
            files[f"CamVid/{part}annot/{name}.png"] = png(stripes)
    return files


def write(folder: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(folder / "camvid-224.zip", "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return folder


def load_camvid(data, shots: int = 2, query_shots: int = 2, **options):
    return load("camvid-subset", shots=shots, query_shots=query_shots, data=data, options=options)


def test_every_class_has_a_split():
    listed = [name for names in CLASSES.values() for name in names]
    assert sorted(listed) == sorted(NAMES)
    drives = [drive for drives in DRIVES.values() for drive in drives]
    assert len(drives) == len(set(drives)) == 4


@pytest.mark.parametrize("split", SPLITS)
def test_an_episode_is_a_class_in_frames_of_its_splits_drives(tmp_path, empty_cache, split):
    source = load_camvid(write(tmp_path, made_up()))
    assert source.input_shape == (3, 48, 64)
    drives = [drive for drives in DRIVES.values() for drive in drives]
    own = {drives.index(drive) for drive in DRIVES[split]}
    drawn = source.sample(split, 0, range(30))
    numbers = (drawn.query.inputs[:, :, 0, 0, 0] * 255).round().long()
    assert set((numbers // 10).unique().tolist()) <= own
    for t in range(30):
        name = source.class_names(split)[int(drawn.classes[t, 0])]
        assert name in CLASSES[split]
        line = drawn.query.targets[t, 0, :, 0]
        assert (line == 1).nonzero().flatten().tolist() == [
            4 * NAMES.index(name) + k for k in range(4)
        ]
        assert (line[44:] == IGNORED).all()


def test_frames_of_any_size_and_packing(tmp_path, empty_cache):
    first = load_camvid(write(tmp_path, made_up()), size=24)
    assert first.input_shape == (3, 24, 32)
    assert load_camvid(write(tmp_path, dict(reversed(made_up().items()))), size=24).digest == (
        first.digest
    )
    assert load_camvid(tmp_path).digest != first.digest
    assert load_camvid(tmp_path, size=24, flip=True).digest != first.digest


def without(name: str) -> dict[str, bytes]:
    files = made_up()
    del files[name]
    return files


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"README": b""}, "no frames of CamVid in it"),
        (
            without("CamVid/trainannot/0006R0_000000.png"),
            r"CamVid/train/0006R0_000000\.jpg has no mask CamVid/trainannot/0006R0_000000\.png",
        ),
        (
            made_up() | {"CamVid/valannot/0001TP_000001.png": png(np.full((48, 64), 12, np.uint8))},
            r"CamVid/valannot/0001TP_000001\.png has pixels of the label 12; labels are 0 to 11",
        ),
        (
            made_up() | {"CamVid/val/0001TP_000001.jpg": b"no image"},
            r"CamVid/val/0001TP_000001\.jpg is not an image",
        ),
        (
            made_up() | {"CamVid/val/0001TP_000001.jpg": encode(np.zeros((48, 63, 3), np.uint8))},
            r"0001TP_000001\.png is 64 x 48 pixels, its image .* is 63 x 48",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path, empty_cache, files, message):
    with pytest.raises(DataError, match=message) as raised:
        load_camvid(write(tmp_path, files))
    assert "camvid-224.zip is damaged" in str(raised.value)


def test_too_few_frames_and_a_missing_archive(tmp_path, empty_cache):
    write(tmp_path, made_up())
    with pytest.raises(DataError, match=r"has 4 images of class 'tree'.*at most 4"):
        load_camvid(tmp_path, shots=3)
    (tmp_path / "camvid-224.zip").unlink()
    with pytest.raises(DataError, match="every second frame, by name"):
        load_camvid(tmp_path)


def test_the_real_frames(real, shared_cache):
    real("camvid_subset")
    source = load("camvid-subset", shots=5, query_shots=5)
    drawn = [source.sample(split, 0, range(20)) for split in SPLITS]
    for split, episodes in zip(SPLITS, drawn, strict=True):
        assert episodes.support.inputs.shape == (20, 5, 3, 48, 64)
        # The class is in every image.
        assert ((episodes.support.targets == 1).flatten(2).float().mean(2) >= 0.01).all()
        assert len(episodes.classes.unique()) == len(CLASSES[split])
    assert all(torch.isfinite(episodes.query.inputs).all() for episodes in drawn)
