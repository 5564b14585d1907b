from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from scipy.io import savemat

from episodes import load, pascal
from episodes.episode import IGNORED, SPLITS
from episodes.errors import DataError
from episodes.labelled_images import VOID
from episodes.pascal import CLASSES, archives, classes_of_fold
from episodes.pictures import ImageError
from episodes.sbd import read_labels
from tests.episodes.made_up import encode, write_tar
from tests.episodes.masks import png
from tests.ready_made import assert_runs_dry

SIZE = 20
VOC, SBD = "VOCdevkit/VOC2012/", "benchmark_RELEASE/dataset/"


def mat(labels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    savemat(stream, {"GTcls": {"Segmentation": labels, "CategoriesPresent": np.array([1])}})
    return stream.getvalue()


def mask(label: int, *others: int) -> np.ndarray:
    """Half of the image of one class, a border of VOID, and a corner for each other class."""
    found = np.zeros((SIZE, SIZE), dtype=np.uint8)
    found[: SIZE // 2] = label
    found[SIZE // 2] = VOID
    for place, other in enumerate(others):
        found[-3:, 4 * place : 4 * place + 3] = other
    return found


def picture(number: int) -> bytes:
    return encode(np.full((SIZE, SIZE, 3), number, dtype=np.uint8))


@pytest.fixture
def files(monkeypatch, empty_cache) -> dict[str, dict[str, bytes]]:
    """Of each class two images a list and data set; their brightness is 10 + the class's label."""
    voc: dict[str, bytes] = {}
    sbd: dict[str, bytes] = {}
    lists: dict[str, list[str]] = {}
    for number, name in enumerate(CLASSES, start=1):
        for part in ("train", "val"):
            for i in range(2):
                image = f"{part}_{name}_{i}"
                voc[f"{VOC}JPEGImages/{image}.jpg"] = picture(10 + number)
                voc[f"{VOC}SegmentationClass/{image}.png"] = png(mask(number), palette=True)
                lists.setdefault(f"VOC {part}", []).append(image)
                more = f"sbd_{image}"
                sbd[f"{SBD}img/{more}.jpg"] = picture(10 + number)
                without_void = np.where(mask(number) == VOID, 0, mask(number)).astype(np.uint8)
                sbd[f"{SBD}cls/{more}.mat"] = mat(without_void)
                lists.setdefault(f"SBD {part}", []).append(more)
    # SBD has images of VOC too, with labels of its own, and on the other list: VOC's count.
    shared = lists["VOC val"][0]
    sbd[f"{SBD}img/{shared}.jpg"] = picture(0)
    sbd[f"{SBD}cls/{shared}.mat"] = mat(mask(20))
    lists["SBD train"].append(shared)
    for key, images in lists.items():
        data_set, part = key.split()
        text = ("\n".join(images) + "\n").encode()
        if data_set == "VOC":
            voc[f"{VOC}ImageSets/Segmentation/{part}.txt"] = text
        else:
            sbd[f"{SBD}{part}.txt"] = text
        monkeypatch.setitem(pascal.LISTED[data_set], part, len(images))
    voc[f"{VOC}JPEGImages/not_listed.jpg"] = b""
    return {"VOC": voc, "SBD": sbd}


def write(folder: Path, files: dict[str, dict[str, bytes]]) -> Path:
    write_tar(folder / "VOCtrainval_11-May-2012.tar", files["VOC"])
    write_tar(folder / "benchmark.tgz", files["SBD"], "w:gz")
    return folder


def load_fold(data, fold: int = 0, query_shots: int = 1, **options):
    options = {"fold": fold, "size": SIZE, **options}
    return load("pascal-5i", shots=1, query_shots=query_shots, data=data, options=options)


def test_folds_are_the_published_ones():
    for fold in range(4):
        classes = classes_of_fold(fold)
        assert [len(classes[split]) for split in SPLITS] == [10, 5, 5]
        assert sorted(sum(classes.values(), ())) == sorted(CLASSES)
        assert classes["test"] == CLASSES[5 * fold : 5 * fold + 5]
    assert classes_of_fold(0)["test"] == ("aeroplane", "bicycle", "bird", "boat", "bottle")
    assert classes_of_fold(3)["validation"] == classes_of_fold(0)["test"]


def test_archives_have_torchvisions_addresses():
    from torchvision.datasets import SBDataset
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    voc, sbd = archives()
    assert voc.source().url == DATASET_YEAR_DICT["2012"]["url"]
    assert voc.file == DATASET_YEAR_DICT["2012"]["filename"]
    assert (sbd.source().md5, sbd.file) == (SBDataset.md5, SBDataset.filename)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("fold", [0, 2])
def test_an_episode_marks_its_class(files, tmp_path, fold, split):
    source = load_fold(write(tmp_path, files), fold)
    assert source.class_names(split) == classes_of_fold(fold)[split]
    drawn = source.sample(split, 0, range(40))
    assert drawn.query.targets.shape == (40, 1, SIZE, SIZE)
    brightness = (drawn.query.inputs[:, 0, 0, 0, 0] * 255).round().long()
    names = [source.class_names(split)[k] for k in drawn.classes[:, 0].tolist()]
    assert brightness.tolist() == [11 + CLASSES.index(name) for name in names]
    assert (drawn.query.targets[:, :, : SIZE // 2] == 1).all()
    assert (drawn.query.targets[:, :, SIZE // 2 + 1 :] == 0).all()
    # Only VOC's masks have void pixels on the border.
    border = drawn.query.targets[:, 0, SIZE // 2, 0].tolist()
    assert set(border) == {0, IGNORED}


def test_all_images_of_a_class_are_found(files, tmp_path):
    source = load_fold(write(tmp_path, files), query_shots=3)
    assert source.sample("test", 0, range(1)).query.inputs.shape[1] == 3
    with pytest.raises(DataError, match="has 4 images of class 'diningtable'"):
        load_fold(tmp_path, query_shots=4)


def test_what_shows_a_class_of_meta_validation_is_not_trained_on(files, tmp_path):
    """A bus, too small to be learned from, and of meta-validation: nor is it called background."""
    labels = mask(CLASSES.index("dog") + 1)
    labels[-1, :3] = CLASSES.index("bus") + 1
    files["VOC"][f"{VOC}SegmentationClass/train_dog_0.png"] = png(labels, palette=True)
    write(tmp_path, files)
    with pytest.raises(DataError, match="has 3 images of class 'dog'"):
        load_fold(tmp_path, query_shots=3)
    # In fold 2 dogs are of meta-test, which has other images, and buses of meta-train.
    load_fold(tmp_path, 2, query_shots=3)


def test_a_class_of_a_few_pixels_is_not_shown(files, tmp_path):
    small = np.zeros((SIZE, SIZE), dtype=np.uint8)
    small[0, :3] = 1  # Of 400 pixels, 4 would be enough.
    files["VOC"][f"{VOC}SegmentationClass/val_aeroplane_1.png"] = png(small, palette=True)
    with pytest.raises(DataError, match="has 3 images of class 'aeroplane'"):
        load_fold(write(tmp_path, files), query_shots=3)


def test_folds_and_sizes_are_other_problems(files, tmp_path):
    write(tmp_path, files)
    digests = {load_fold(tmp_path, fold).digest for fold in range(4)}
    digests |= {load_fold(tmp_path, size=16).digest, load_fold(tmp_path, flip=True).digest}
    assert len(digests) == 6
    write_tar(tmp_path / "benchmark.tgz", dict(reversed(files["SBD"].items())), "w:xz")
    assert load_fold(tmp_path).digest in digests


@pytest.mark.parametrize(
    ("data_set", "name", "content", "message"),
    [
        ("SBD", f"{SBD}cls/sbd_val_bird_0.mat", b"nothing", "has no labels GTcls.Segmentation"),
        ("SBD", f"{SBD}cls/sbd_val_bird_0.mat", None, r"1 listed files are missing, .*val_bird_0"),
        ("SBD", f"{SBD}cls/sbd_val_bird_0.mat", mat(mask(21)), "label 21; labels are 0 to 20"),
        ("VOC", f"{VOC}JPEGImages/val_bird_0.jpg", b"", r"val_bird_0\.jpg is not an image"),
        ("VOC", f"{VOC}ImageSets/Segmentation/val.txt", b"a", "lists 1 images, 40 expected"),
        ("VOC", f"{VOC}ImageSets/Segmentation/val.txt", None, r"val\.txt is missing"),
    ],
)
def test_what_is_wrong_is_said(files, tmp_path, data_set, name, content, message):
    if content is None:
        del files[data_set][name]
    else:
        files[data_set][name] = content
    with pytest.raises(DataError, match=message) as raised:
        load_fold(write(tmp_path, files))
    assert "Delete it and get it again from http" in str(raised.value)


@pytest.mark.parametrize("packed", [False, True])
def test_labels_are_those_that_scipy_writes(packed):
    labels = np.random.default_rng(0).integers(0, 21, (9, 14)).astype(np.uint8)
    stream = io.BytesIO()
    boundaries = np.empty((2, 1), dtype=object)
    boundaries[:] = [[np.ones((2, 3))], [scipy.sparse.eye_array(4).tocsc()]]
    fields = {"Boundaries": boundaries, "Segmentation": labels, "CategoriesPresent": [[3]]}
    savemat(stream, {"other": [[1.5]], "GTcls": fields}, do_compression=packed)
    np.testing.assert_array_equal(read_labels(stream.getvalue()), labels)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no labels GTcls.Segmentation in MATLAB's format .no header"),
        (mat(mask(1))[:200], "cut short"),
        (mat(np.ones((4, 4))), "Segmentation is no matrix of bytes"),
        (mat(np.ones((2, 2, 2), np.uint8)), "Segmentation is no matrix of bytes"),
        (mat(mask(1)).replace(b"GTcls", b"GTcla"), "no variable GTcls"),
        (mat(mask(1)).replace(b"Segm", b"Sagm"), "no field Segmentation"),
    ],
)
def test_what_is_no_file_of_labels_is_refused(content, message):
    with pytest.raises(ImageError, match=message):
        read_labels(content)


@pytest.mark.parametrize("packed", [False, True])
def test_no_damage_ends_in_anything_but_an_error(packed):
    stream = io.BytesIO()
    savemat(stream, {"GTcls": {"Segmentation": mask(1), "Other": [[1]]}}, do_compression=packed)
    rng = random.Random(0)
    refused = 0
    for _ in range(2000):
        damaged = bytearray(stream.getvalue())
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(128, len(damaged))] = rng.randrange(256)
        try:
            read_labels(bytes(damaged[: rng.choice([None, rng.randrange(len(damaged))])]))
        except ImageError:
            refused += 1
    assert refused > 500


def test_a_file_that_unpacks_without_an_end_is_refused():
    packed = zlib.compress(bytes(1 << 27))
    content = bytes(126) + b"IM" + struct.pack("<II", 15, len(packed)) + packed
    with pytest.raises(ImageError, match="no variable GTcls"):
        read_labels(content)


def test_its_ready_made_search_runs_dry(files, tmp_path):
    assert_runs_dry("pascal-5i-1shot", write(tmp_path, files))
