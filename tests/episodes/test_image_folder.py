from __future__ import annotations

import json
import logging
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import episodes
from episodes.augmentation import Augmentation
from episodes.class_images import ImageEpisodes
from episodes.errors import DataError
from episodes.image_folder import load_image_folder, split_by_ratio
from tests.episodes.made_up import encode, image_of

NAMES = [f"animal {k}" for k in range(10)]
WANTED = {"ways": 2, "shots": 1, "query_shots": 2, "size": 8, "channels": 3}


@pytest.fixture
def folder(tmp_path, empty_cache) -> Path:
    """Ten classes of four to six images of several formats, with other files between them."""
    root = tmp_path / "pictures"
    for k, name in enumerate(NAMES):
        (root / name / "more").mkdir(parents=True)
        for i in range(4 + k % 3):
            kind = ("PNG", "BMP", "TIFF")[i % 3]
            place = root / name / ("more" if i == 3 else "") / f"{i}.{kind.lower()}"
            place.write_bytes(encode(image_of(20 * k, i, 12, 20), kind))
        (root / name / "notes.txt").write_text("not an image")
        (root / name / ".hidden.png").write_bytes(b"not an image")
    (root / ".thumbnails").mkdir()
    (root / ".thumbnails" / "a.png").write_bytes(b"not an image")
    (root / "README.md").write_text("")
    return root


def load(folder: Path, **changes) -> ImageEpisodes:
    return load_image_folder(folder, **{**WANTED, **changes})


def class_names(episodes: ImageEpisodes) -> dict[str, tuple[str, ...]]:
    return {split: episodes.class_names(split) for split in ("train", "validation", "test")}


def write_split(folder: Path, content: object) -> Path:
    path = folder.parent / "split.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


SPLIT = {"train": NAMES[:4], "validation": NAMES[4:6], "test": NAMES[6:9]}


@pytest.mark.parametrize("channels", [1, 3])
def test_episodes_show_their_classes(folder, channels):
    episodes = load(folder, channels=channels)
    assert episodes.input_shape == (channels, 8, 8)
    for split, names in class_names(episodes).items():
        drawn = episodes.sample(split, 0, range(20))
        shown = drawn.query.inputs[:, :, 0, 4, 4].mul(255).round()
        for t in range(20):
            for label, number in enumerate(drawn.classes[t].tolist()):
                red = 20 * NAMES.index(names[number])
                of_class = shown[t][drawn.query.targets[t] == label]
                # Grey is a weighted sum of red and a little green.
                low, high = (red, red) if channels == 3 else (0.299 * red - 1, 0.299 * red + 5)
                assert low <= of_class.min()
                assert of_class.max() <= high


def test_classes_are_drawn_by_names_and_seed(folder):
    splits = class_names(load(folder))
    assert [len(names) for names in splits.values()] == [6, 2, 2]
    assert sorted(sum(splits.values(), ())) == NAMES
    assert class_names(load(folder)) == splits
    others = [class_names(load(folder, split_seed=seed)) for seed in range(1, 5)]
    assert any(other != splits for other in others)
    assert load(folder).digest != load(folder, split_seed=1).digest


def test_ratios_share_out_all_classes():
    for count in (3, 7, 100):
        names = [f"{k:03}" for k in range(count)]
        splits = split_by_ratio(names[::-1], (0.5, 0.25, 0.25), 3)
        assert splits == split_by_ratio(names, (0.5, 0.25, 0.25), 3)
        assert sorted(name for part in splits.values() for name in part) == names
        assert abs(len(splits["train"]) - count / 2) <= 1


def test_a_file_says_which_classes_are_in_which_split(folder):
    path = write_split(folder, SPLIT)
    episodes = load(folder, split_file=path)
    assert class_names(episodes) == {split: tuple(names) for split, names in SPLIT.items()}


def test_the_digest_is_that_of_images_names_and_form(folder, tmp_path):
    digest = load(folder).digest
    copied = tmp_path / "elsewhere"
    folder.rename(copied)
    assert load(copied).digest == digest
    assert load(copied, size=9).digest != digest
    assert load(copied, channels=1).digest != digest
    (copied / NAMES[0]).rename(copied / "animal 00")
    assert load(copied).digest != digest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ([1], r"holds list; it should hold \{\"train\""),
        ({"train": [], "val": [], "test": []}, r"holds \['test', 'train', 'val'\]; it should"),
        ({**SPLIT, "test": "animal 9"}, "test is no list of names"),
        ({**SPLIT, "test": ["cat", "animal 9"]}, "test names 1 classes that are not in .*: 'cat'"),
        ({**SPLIT, "test": NAMES[5:8]}, "class 'animal 5' is in both validation and test"),
        ({**SPLIT, "test": ["animal 9"] * 2}, "test names 'animal 9' twice"),
        ({**SPLIT, "test": ["animal 9"]}, "ways 2 is more than the 1 classes of test"),
    ],
)
def test_a_wrong_split_file_is_named(folder, content, message):
    with pytest.raises(DataError, match=message):
        load(folder, split_file=write_split(folder, content))


def test_a_missing_split_file_is_named(folder):
    with pytest.raises(DataError, match=r"nowhere\.json cannot be read: No such file"):
        load(folder, split_file=folder / "nowhere.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratios": (0.5, 0.5, 0.0)}, "three positive shares that add up to 1"),
        ({"ratios": (0.5, 0.2, 0.2)}, "three positive shares that add up to 1"),
        ({"size": 0}, "size: 0: must be a whole number from 1 to 1024"),
        ({"channels": 4}, "channels: 4: must be 1 for grey or 3 for colour"),
        ({"ways": 3}, "ways 3 is more than the 2 classes of validation"),
        ({"query_shots": 4}, "has 4 images of class 'animal 0'; shots 1"),
        ({"augmentation": Augmentation(crop_padding=8)}, "crop_padding: 8"),
    ],
)
def test_what_is_too_much_is_named(folder, changes, message):
    with pytest.raises(DataError, match=message):
        load(folder, **changes)


def test_folders_without_images_are_named(tmp_path, empty_cache):
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no folders; it should hold one for each class"):
        load(tmp_path / "empty")
    (tmp_path / "empty" / "cat").mkdir()
    with pytest.raises(DataError, match="holds 1 folders, but no images in them"):
        load(tmp_path / "empty")


def test_a_class_without_images_is_named(folder):
    (folder / "zebra").mkdir()
    with pytest.raises(DataError, match="has 0 images of class 'zebra'"):
        load(folder)
    load(folder, split_file=write_split(folder, SPLIT))


def test_a_corrupt_image_is_named_or_passed_over(folder, caplog):
    path = folder / NAMES[2] / "1.bmp"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=f"{NAMES[2]}/1.bmp is not an image") as raised:
        load(folder)
    assert "set skip_corrupt to pass over" in str(raised.value)
    caplog.set_level(logging.WARNING, "metasweep")
    episodes = load(folder, skip_corrupt=True)
    assert f"{NAMES[2]}/1.bmp is passed over" in caplog.text
    assert episodes.train_classes == 6
    # Of what is left there must be enough.
    with pytest.raises(DataError, match="has 4 images of class"):
        load(folder, skip_corrupt=True, query_shots=4)
    for i, kind in ((0, "png"), (2, "tiff")):
        (folder / NAMES[0] / f"{i}.{kind}").write_bytes(b"")
    with pytest.raises(DataError, match=f"image-folder has 2 images of class '{NAMES[0]}'"):
        load(folder, skip_corrupt=True)


def test_a_file_that_cannot_be_opened_is_named_or_passed_over(folder, caplog, forbid):
    (folder / NAMES[2] / "link.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / NAMES[4] / "pipe.png")
    forbid(folder / NAMES[3] / "0.png")
    with pytest.raises(DataError, match=f"{NAMES[2]}/link.png cannot be read: No such") as raised:
        load(folder)
    assert "set skip_corrupt to pass over" in str(raised.value)
    caplog.set_level(logging.WARNING, "metasweep")
    load(folder, skip_corrupt=True)
    for name in (f"{NAMES[2]}/link.png", f"{NAMES[3]}/0.png", f"{NAMES[4]}/pipe.png"):
        assert f"{name} is passed over: it " in caplog.text
    (folder / NAMES[2] / "link.png").unlink()
    with pytest.raises(DataError, match=f"{NAMES[4]}/pipe.png cannot be read: Not a plain file"):
        load(folder)
    (folder / NAMES[4] / "pipe.png").unlink()
    with pytest.raises(DataError, match=f"{NAMES[3]}/0.png cannot be read: Permission denied"):
        load(folder)


def test_a_folder_that_may_not_be_read_is_named(folder, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", forbidden)
    with pytest.raises(DataError, match="pictures cannot be read: Permission denied"):
        load(folder)


@pytest.mark.parametrize(("inside", "name"), [("", "it"), ("more", "more/")])
def test_a_folder_of_a_class_that_may_not_be_read_is_named(folder, monkeypatch, inside, name):
    forbidden = folder / NAMES[1] / inside
    listed = os.scandir

    def list_allowed(path):
        if Path(path) == forbidden:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", list_allowed)
    message = f"in the folder {folder / NAMES[1]}: {name} cannot be read: Permission denied"
    with pytest.raises(DataError, match=message):
        load(folder)


def test_a_folder_that_a_class_links_to_is_passed_over(folder, tmp_path):
    digest = load(folder).digest
    (folder / NAMES[1] / "linked").symlink_to(folder / NAMES[2])
    assert load(folder).digest == digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folder": "~nosuchuser/pics"}, "folder ~nosuchuser/pics: there is no such user as nosu"),
        ({"split_file": "~nosuchuser/a"}, "split file ~nosuchuser/a: there is no such user as nos"),
        ({"folder": "/tmp/" + "a" * 300}, "folder /tmp/a+ cannot be looked for: File name too lo"),
        ({"folder": "/tmp/a\0b"}, "folder /tmp/a\0b cannot be looked for: embedded null byte"),
    ],
)
def test_a_path_that_cannot_be_one_is_named(folder, changes, message):
    with pytest.raises(DataError, match=message):
        load(**({"folder": folder} | changes))


def test_enlarged_images_are_told_once_with_their_sizes(folder, caplog):
    (folder / NAMES[1] / "9.png").write_bytes(encode(image_of(20, 9, 30, 100)))
    load(folder, size=12)
    assert not caplog.records
    load(folder, size=16)
    load(folder, size=16)
    images = sum(4 + k % 3 for k in range(10)) + 1
    assert [record.getMessage() for record in caplog.records] == [
        f"{folder}: images are 20 x 12 to 100 x 30 pixels; {images - 1} of {images} are enlarged "
        "to 16 x 16, which shows no more than they do"
    ]


def test_16_bit_images_keep_what_they_show(folder):
    digest = load(folder, channels=1).digest
    for path in folder.rglob("[!.]*.png"):
        path.write_bytes(encode(np.full((9, 9), 30_000, dtype=np.uint16)))
    assert load(folder, channels=1).digest != digest
    levels = load(folder, channels=1).sample("train", 0, range(20)).query.inputs.mul(255).round()
    # Of an image that is not of 16 bits, red is at most 180: 0.3 of that as grey.
    assert set(levels.unique().tolist()) - set(range(60)) == {117}


def test_a_transparent_ground_is_white(folder, monkeypatch):
    version = "episodes.stored_images._DECODING_TRANSPARENT"
    opaque = load(folder, channels=1).digest
    # Only what has transparency is another problem when that is decoded in another way.
    monkeypatch.setattr(version, 99)
    assert load(folder, channels=1).digest == opaque
    for path in folder.rglob("[!.]*.png"):
        path.write_bytes(encode(np.zeros((9, 9, 4), dtype=np.uint8)))
    white = load(folder, channels=1)
    levels = white.sample("train", 0, range(20)).query.inputs.mul(255).round()
    assert set(levels.unique().tolist()) - set(range(60)) == {255}
    monkeypatch.setattr(version, 100)
    assert load(folder, channels=1).digest != white.digest


def test_an_image_of_floating_point_is_named(folder):
    path = folder / NAMES[2] / "2.tiff"
    path.write_bytes(encode(np.full((9, 9), 0.5, dtype=np.float32), "TIFF"))
    with pytest.raises(DataError, match=f"{NAMES[2]}/2.tiff has pixels of 32-bit floating point"):
        load(folder)


@pytest.mark.parametrize("version", ["_DECODING", "_DECODING_16_BITS", "_DECODING_TRANSPARENT"])
def test_images_that_are_decoded_in_another_way_are_not_taken_from_the_cache(
    folder, monkeypatch, version
):
    load(folder)
    monkeypatch.setattr(f"episodes.stored_images.{version}", 99)
    monkeypatch.setattr(
        "episodes.stored_images.decode_image", lambda *_: np.full((3, 8, 8), 7, np.uint8)
    )
    assert (load(folder).sample("train", 0, range(2)).query.inputs * 255).unique().tolist() == [7]


def test_a_changed_image_is_read_again(folder):
    digest = load(folder).digest
    path = folder / NAMES[0] / "0.png"
    path.write_bytes(encode(np.full((9, 9, 3), 77, dtype=np.uint8)))
    assert load(folder).digest != digest


def test_real_images_in_folders(real, tmp_path, empty_cache):
    """Tiny ImageNet's folders, as a user would have unpacked them."""
    with zipfile.ZipFile(real("tiny_imagenet_subset") / "tiny-imagenet-subset.zip") as file:
        for name in file.namelist():
            number = int(name.rpartition("_")[2].removesuffix(".JPEG"))
            if number < 8:
                file.extract(name, tmp_path)
    root = tmp_path / "tiny-imagenet-200" / "train"
    episodes = load(root, ways=5, query_shots=7, size=28, channels=1)
    assert episodes.class_counts == {"train": 120, "validation": 40, "test": 40}
    drawn = episodes.sample("train", 0, range(4))
    assert drawn.query.inputs.shape == (4, 35, 1, 28, 28)
    assert 0.2 < drawn.query.inputs.mean() < 0.7
    assert not torch.equal(drawn.query.inputs[0], drawn.query.inputs[1])


def test_options_say_what_to_load(folder):
    asked = {"ways": 2, "shots": 1, "query_shots": 2}
    options = {"folder": str(folder), "size": 8, "test_share": 0.3, "flip": True, "jitter": 0.5}
    loaded = episodes.load("image-folder", **asked, options=options)
    same = load(folder, ratios=(0.5, 0.2, 0.3), augmentation=Augmentation(flip=True, jitter=0.5))
    assert loaded.digest == same.digest
    assert class_names(loaded) == class_names(same)
    split = write_split(folder, SPLIT)
    # A file of the splits leaves nothing to share out.
    options["validation_share"] = 0
    other = episodes.load("image-folder", **asked, options={**options, "splits": str(split)})
    assert class_names(other) == {name: tuple(names) for name, names in SPLIT.items()}
    del options["validation_share"]
    for wrong, message in (
        ({"size": 8}, "options.folder: missing: image-folder needs it"),
        ({**options, "channels": 2}, "channels: 2: must be 1 for grey or 3 for colour"),
        ({**options, "jitter": 2}, "options.jitter: 2: must be a number, at least 0 and at most 1"),
        (
            {**options, "test_share": 0.8},
            r"options.test_share: 0\.8: together with validation_share",
        ),
        (
            {**options, "test_share": 2},
            r"options.test_share: 2: together with validation_share, 0\.2",
        ),
        ({**options, "test_share": 0}, "options.test_share: 0: must be more than 0"),
        ({**options, "validation_share": 0}, "options.validation_share: 0: must be more than 0"),
    ):
        with pytest.raises(DataError, match=message):
            episodes.load("image-folder", **asked, options=wrong)


def test_the_smallest_split_says_how_many_ways_there_may_be(folder):
    with pytest.raises(DataError) as raised:
        load(folder, ways=9, shots=1, query_shots=2)
    smallest = min(load(folder, ways=2, shots=1, query_shots=2).class_counts.values())
    message = str(raised.value)
    assert f"ways 9 is more than the {smallest} classes of " in message
    assert message.endswith(f"ways may be at most {smallest}")
    assert "each split needs as many of its own (train " in message


def test_too_few_classes_for_any_episode(folder):
    for name in NAMES[3:]:
        shutil.rmtree(folder / name)
    with pytest.raises(
        DataError, match=r"\(train 1, validation 1, test 1\): it takes more classes"
    ):
        load(folder)
