from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from episodes import load
from episodes.class_splits import read_name_split
from episodes.errors import DataError

WANTED = {"task": "tiny-imagenet-subset", "ways": 5, "shots": 1, "query_shots": 15}
MEMBER = "tiny-imagenet-200/train/{0}/images/{0}_{1}.JPEG"


@pytest.fixture
def tiny(real, data_folder, shared_cache):
    real("tiny_imagenet_subset")
    return load(**WANTED, data=data_folder)


def test_classes_are_those_of_mini_imagenet(tiny, real):
    with (real("tiny_imagenet_subset") / "classes.tsv").open() as file:
        listed = list(csv.DictReader(file, delimiter="\t"))
    mini = read_name_split("mini-imagenet").classes
    for split, theirs, count in (
        ("train", "train", 14),
        ("validation", "val", 6),
        ("test", "test", 5),
    ):
        names = tiny.class_names(split)
        assert len(names) == count
        assert names == tuple(
            row["synset"] for row in listed if row["mini_imagenet_split"] == theirs
        )
        assert set(names) <= set(mini[split])


def test_episodes_are_real_images_of_their_classes(tiny, real):
    assert tiny.input_shape == (3, 64, 64)
    episodes = tiny.sample("train", 0, range(3))
    with zipfile.ZipFile(real("tiny_imagenet_subset") / "tiny-imagenet-subset.zip") as file:
        for t in range(3):
            for label, number in enumerate(episodes.classes[t].tolist()):
                synset = tiny.class_names("train")[number]
                of_class = {
                    np.asarray(
                        Image.open(io.BytesIO(file.read(MEMBER.format(synset, k)))).convert("RGB")
                    ).tobytes()
                    for k in range(150)
                }
                mine = episodes.query.inputs[t][episodes.query.targets[t] == label]
                drawn = (mine * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
                assert {image.tobytes() for image in drawn} <= of_class


@pytest.fixture
def whole(real, tmp_path) -> Path:
    """The archive's own layout, with more classes, images and files than are used."""
    with (
        zipfile.ZipFile(real("tiny_imagenet_subset") / "tiny-imagenet-subset.zip") as old,
        zipfile.ZipFile(tmp_path / "tiny-imagenet-200.zip", "w") as new,
    ):
        new.writestr("tiny-imagenet-200/words.txt", "words")
        for name in reversed(old.namelist()):
            new.writestr(name, old.read(name))
        some = old.namelist()[0]
        for synset in read_name_split("tiny-imagenet").classes["train"]:
            new.writestr(MEMBER.format(synset, 150), old.read(some))
    return tmp_path


def test_the_whole_archive_poses_the_same_problem(tiny, whole, shared_cache):
    other = load(**WANTED, data=whole)
    assert other.digest == tiny.digest
    drawn = [each.sample("test", 0, range(3)).query.inputs for each in (tiny, other)]
    assert torch.equal(*drawn)


def test_a_file_that_is_no_image_is_named(tmp_path, empty_cache):
    synset = read_name_split("tiny-imagenet").classes["train"][0]
    with zipfile.ZipFile(tmp_path / "tiny-imagenet-subset.zip", "w") as file:
        file.writestr(MEMBER.format(synset, 3), b"no image")
    with pytest.raises(DataError, match=f"{synset}_3.JPEG is not an image"):
        load(**WANTED, data=tmp_path)


def test_a_missing_class_is_named(tmp_path, empty_cache):
    stream = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stream, "JPEG")
    synset = read_name_split("tiny-imagenet").classes["train"][0]
    with zipfile.ZipFile(tmp_path / "tiny-imagenet-subset.zip", "w") as file:
        file.writestr(MEMBER.format(synset, 3), stream.getvalue())
    with pytest.raises(DataError, match="13 classes of train have no images"):
        load(**WANTED, data=tmp_path)


def test_another_zip_is_refused(tmp_path, empty_cache):
    with zipfile.ZipFile(tmp_path / "tiny-imagenet-200.zip", "w") as file:
        file.writestr("other.txt", b"")
    with pytest.raises(DataError, match="no images of Tiny ImageNet in it"):
        load(**WANTED, data=tmp_path)


def test_a_missing_archive_is_named_with_what_serves_instead(tmp_path):
    with pytest.raises(DataError) as raised:
        load(**WANTED, data=tmp_path)
    message = str(raised.value)
    assert (
        f"tiny_imagenet/tiny-imagenet-200.zip is missing in the data folder {tmp_path}" in message
    )
    assert "(or tiny_imagenet_subset/tiny-imagenet-subset.zip instead)" in message
    assert "Get it from http://cs231n.stanford.edu/tiny-imagenet-200.zip" in message
