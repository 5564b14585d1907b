"""A part of Tiny ImageNet: 25 classes of 150 images, 64 x 64, in colour.

Tiny ImageNet has 200 classes of ImageNet (Russakovsky et al. 2015, doi:10.1007/s11263-015-0816-y)
in 64 x 64. 25 of them are also in mini-ImageNet, and are split here as there (Ravi and Larochelle
2017): 14 classes for meta-train, 6 for meta-validation, 5 for meta-test. Of each class the images
numbered 0 to 149 are used, so that the whole archive and a part of it pose the same problem.

Fewer classes and smaller images than mini-ImageNet's: accuracies here say nothing about those.
Inputs are (T, N, 3, 64, 64) float32 in [0, 1].
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from episodes.archives import Archive, Source, locate
from episodes.class_images import ImageEpisodes, Wanted, check_asked
from episodes.class_splits import read_name_split
from episodes.file_digests import files_digest
from episodes.packed import open_packed
from episodes.prepared import Allocate
from episodes.stored_images import fill_from_files, image_episodes, stored_images

TASK = "tiny-imagenet-subset"
SHAPE = (3, 64, 64)
IMAGES = 150

_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
_IMAGE = re.compile(r"tiny-imagenet-200/train/(n\d{8})/images/n\d{8}_(\d+)\.JPEG")


def _source() -> Source:
    return Source(_URL, _MD5)


ARCHIVE = Archive(
    "tiny_imagenet",
    "tiny-imagenet-200.zip",
    _source,
    most_packed=1 << 29,
    most_unpacked=1 << 30,
    instead=(
        Archive(
            "tiny_imagenet_subset",
            "tiny-imagenet-subset.zip",
            _source,
            most_packed=1 << 29,
            most_unpacked=1 << 30,
        ),
    ),
)


def archives() -> Sequence[Archive]:
    """Return the files that this task reads."""
    return (ARCHIVE,)


def load_tiny_imagenet(*, data: str | Path | None = None, **wanted: Any) -> ImageEpisodes:
    """Open the 25 classes. Raises DataError when the data are missing, damaged or too small."""
    class_split = read_name_split("tiny-imagenet")
    # Before a download.
    asked = Wanted.of(**wanted)
    check_asked(TASK, class_split.classes, IMAGES, asked)
    archive, path = locate(ARCHIVE, data)
    synsets = {name for names in class_split.classes.values() for name in names}
    images = stored_images(
        f"tiny-imagenet-{class_split.digest}-{files_digest([path])}",
        lambda allocate: _build(archive, path, synsets, allocate),
    )
    return image_episodes(TASK, images, class_split.classes, class_split.digest, asked)


def _build(archive: Archive, path: Path, wanted: set[str], allocate: Allocate) -> dict[str, Any]:
    numbered: dict[str, dict[int, str]] = defaultdict(dict)
    with open_packed(archive, path) as opened:
        for name in opened.names():
            match = _IMAGE.fullmatch(name)
            if match and match[1] in wanted and int(match[2]) < IMAGES:
                numbered[match[1]][int(match[2])] = name
        if not numbered:
            raise opened.damaged("no images of Tiny ImageNet in it")
        classes = {
            synset: [name for _, name in sorted(numbered[synset].items())]
            for synset in sorted(numbered)
        }
        _, notes = fill_from_files(opened, classes, SHAPE, "exact", allocate)
        if set(classes) == wanted and all(len(names) == IMAGES for names in classes.values()):
            opened.note_if_repacked()
    return notes
