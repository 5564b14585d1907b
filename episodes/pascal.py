"""PASCAL-5i: few-shot segmentation of photographs, in four folds.

Shaban et al. 2017, "One-shot learning for semantic segmentation", arXiv:1709.03410, section 5: fold
i of 0..3 holds the classes 5 i + 1 to 5 i + 5 of PASCAL VOC 2012 (Everingham et al. 2010) for
meta-test, with images of the validation lists; the training images are those of the training lists.
Both data sets that the paper joins are read: VOC's own masks, and those of SBD (Hariharan et al.
2011, doi:10.1109/ICCV.2011.6126343) for the images that VOC has no mask of. An image on one of
VOC's lists is in that part, whatever SBD's lists say.

The paper has no meta-validation. Here it is given the five classes of the next fold (of fold 0 for
fold 3), so that ten are left for meta-train, and the images of the training lists that show one of
these five: they are not trained on, nor is any class of meta-validation ever called background.

Inputs are (T, N, 3, size, size) float32 in [0, 1], resized whatever their proportions. A pixel on
the border of an object, VOC's label 255, is IGNORED. An image shows a class where at least 1 % of
its pixels have its label (`episodes.segmentation.LEAST_SHARE`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from episodes.archives import Archive, Source, locate
from episodes.digest import json_digest
from episodes.episode import Split
from episodes.file_digests import files_digest
from episodes.labelled_images import Pairs, check_labels, fill_from_pairs, labelled_images
from episodes.packed import Packed
from episodes.pictures import decode_labels
from episodes.prepared import Allocate
from episodes.sbd import read_labels
from episodes.segmentation import LEAST_SHARE, ClassMasks, MaskEpisodes, classes_of, mask_arguments
from episodes.tar_archives import OpenTar

TASK = "pascal-5i"
CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""VOC's classes, in the order of their labels, which begin with 1."""

FOLDS, IN_A_FOLD = 4, 5
LISTED = {"VOC": {"train": 1464, "val": 1449}, "SBD": {"train": 8498, "val": 2857}}
"""How many images the published lists have."""

_VOC = "VOCdevkit/VOC2012/"
_SBD = "benchmark_RELEASE/dataset/"


def _voc_source() -> Source:
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    published = DATASET_YEAR_DICT["2012"]
    return Source(published["url"], published["md5"])


def _sbd_source() -> Source:
    from torchvision.datasets import SBDataset

    return Source(SBDataset.url, SBDataset.md5)


VOC = Archive(
    "voc2012",
    "VOCtrainval_11-May-2012.tar",
    _voc_source,
    most_packed=1 << 31,
    most_unpacked=1 << 31,
)
SBD = Archive("sbd", "benchmark.tgz", _sbd_source, most_packed=1 << 31, most_unpacked=1 << 32)


def archives() -> Sequence[Archive]:
    """Return the files that this task reads."""
    return (VOC, SBD)


def classes_of_fold(fold: int) -> dict[Split, tuple[str, ...]]:
    """Return the names of the classes of each split, in the order of VOC's labels."""
    of = [CLASSES[IN_A_FOLD * i : IN_A_FOLD * (i + 1)] for i in range(FOLDS)]
    after = (fold + 1) % FOLDS
    rest = (name for i in range(FOLDS) if i not in (fold, after) for name in of[i])
    return {"train": tuple(rest), "validation": of[after], "test": of[fold]}


def load_pascal(
    *, data: str | Path | None = None, options: Mapping[str, Any], **wanted: Any
) -> MaskEpisodes:
    """Open a fold. Raises DataError when the data are missing, damaged, incomplete or too few."""
    voc, sbd = (locate(archive, data)[1] for archive in (VOC, SBD))
    size = options["size"]
    images = labelled_images(
        f"{TASK}-{size}-{files_digest([voc, sbd])}",
        lambda allocate: _build(voc, sbd, size, allocate),
    )
    parts = np.array(images.notes["parts"])
    names = classes_of_fold(options["fold"])
    label = {split: {name: CLASSES.index(name) + 1 for name in names[split]} for split in names}
    trained, judged = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "val")
    validation = classes_of(images, label["validation"], trained)
    # Not only where it is large: none of its pixels is to be taught as background.
    shown = [images.rows_with(of, 0) for of in label["validation"].values()]
    rest = np.setdiff1d(trained, np.concatenate(shown))
    splits: dict[Split, ClassMasks] = {
        "train": classes_of(images, label["train"], rest),
        "validation": validation,
        "test": classes_of(images, label["test"], judged),
    }
    digest = json_digest([images.digest, {"fold": options["fold"], "least": LEAST_SHARE}])
    return MaskEpisodes(TASK, images, splits, digest, **mask_arguments(options=options, **wanted))


def _build(voc_path: Path, sbd_path: Path, size: int, allocate: Allocate) -> dict[str, Any]:
    voc, sbd = OpenTar(VOC, voc_path), OpenTar(SBD, sbd_path)
    with voc, sbd:
        of_voc = _parts(voc, "VOC", _VOC + "ImageSets/Segmentation/{}.txt")
        of_sbd = _parts(sbd, "SBD", _SBD + "{}.txt")
        more = {name: part for name, part in of_sbd.items() if name not in of_voc}
        pairs = [
            Pairs(
                voc,
                [
                    (f"{_VOC}JPEGImages/{name}.jpg", f"{_VOC}SegmentationClass/{name}.png")
                    for name in of_voc
                ],
                _voc_labels,
            ),
            Pairs(
                sbd,
                [(f"{_SBD}img/{name}.jpg", f"{_SBD}cls/{name}.mat") for name in more],
                _sbd_labels,
            ),
        ]
        for part in pairs:
            _check_there(part)
        notes = fill_from_pairs(pairs, size, size, allocate)
        voc.note_if_repacked()
        sbd.note_if_repacked()
    return notes | {"parts": [*of_voc.values(), *more.values()]}


def _parts(packed: Packed, data_set: str, file: str) -> dict[str, str]:
    """Return which of "train" and "val" each image on a data set's lists is in, sorted by name."""
    found: dict[str, str] = {}
    files = {file.format(part): part for part in LISTED[data_set]}
    for name, content in packed.read_each(files):
        part = files[name]
        listed = content.decode("utf-8", "replace").split()
        if len(listed) != LISTED[data_set][part]:
            raise packed.damaged(
                f"{name} lists {len(listed)} images, {LISTED[data_set][part]} expected"
            )
        for image in listed:
            if found.setdefault(image, part) != part:
                raise packed.damaged(f"{name} lists {image}, which is on the other list too")
        del files[name]
    if files:
        raise packed.damaged(f"{next(iter(files))} is missing")
    return dict(sorted(found.items()))


def _check_there(part: Pairs) -> None:
    names = set(part.packed.names())
    missing = [file for pair in part.files for file in pair if file not in names]
    if missing:
        raise part.packed.damaged(f"{len(missing)} listed files are missing, {missing[0]} first")


def _voc_labels(content: bytes) -> np.ndarray:
    return check_labels(decode_labels(content), len(CLASSES), void=True)


def _sbd_labels(content: bytes) -> np.ndarray:
    return check_labels(read_labels(content), len(CLASSES), void=True)
