"""The images of CIFAR-100, from torchvision's archive or from one with a PNG file an image.

The latter may also be unpacked to a folder.

Krizhevsky 2009, "Learning multiple layers of features from tiny images": 100 classes of 600
images, 32 x 32, in colour. Both archives hold the same pixels under the same names, so that they
give the same data, with the same digest.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from episodes.archives import Archive, Source, locate
from episodes.digest import json_digest
from episodes.open_folder import OpenFolder
from episodes.packed import Packed, open_packed, packed_digest
from episodes.pictures import ImageError, decode_image
from episodes.prepared import Allocate
from episodes.safe_pickle import PickleError, load_pickle
from episodes.stored_images import StoredImages, stored_images
from episodes.tar_archives import OpenTar

SHAPE = (3, 32, 32)
CLASSES = 100
IMAGES = 600
SUBSET_STEP = 6
"""Of a whole class, the subset has every sixth image, by name."""

# To be raised when the same archives would be read to other rows.
_READING = 1
_PARTS = ("train", "test")

Named = dict[str, dict[str, np.ndarray]]
"""(3, 32, 32) uint8 by class and by name of the image."""


def _source() -> Source:
    from torchvision.datasets import CIFAR100

    return Source(CIFAR100.url, CIFAR100.tgz_md5)


_LAYOUTS = ("cifar-fs", "cifar100")
_ZIPS = tuple(
    Archive("cifar100", f"{name}.zip", _source, most_packed=1 << 28, most_unpacked=1 << 29)
    for name in _LAYOUTS
)
_FOLDERS = tuple(Archive("cifar100", f"{name}/data", _source, loose=True) for name in _LAYOUTS)
ARCHIVE = Archive(
    "cifar100",
    "cifar-100-python.tar.gz",
    _source,
    most_packed=1 << 28,
    most_unpacked=1 << 29,
    instead=(*_ZIPS, *_FOLDERS),
)
_LOOSE_PNG = re.compile(r"([^/]+)/([^/]+\.png)")
_PNG = re.compile(rf"(?:{'|'.join(_LAYOUTS)})/data/{_LOOSE_PNG.pattern}")


def load_images(data: str | Path | None) -> tuple[StoredImages, Path]:
    """Return the images of each class, sorted by name, and the archive that they are from.

    Raises DataError when it is missing or damaged. Classes and images may be missing: see
    `is_complete`. `notes["subset_digest"]` is the digest of the subset alone.
    """
    archive, path = locate(ARCHIVE, data)
    name = f"cifar100-{_READING}-{packed_digest(path)}"
    return stored_images(name, lambda allocate: _build(archive, path, allocate)), path


def is_complete(counts: Mapping[str, int]) -> bool:
    """Whether these are the images of the whole data set."""
    return len(counts) == CLASSES and set(counts.values()) == {IMAGES}


def subset_rows(counts: Mapping[str, int]) -> np.ndarray:
    """Return the rows of the subset, class by class: of fewer images than the whole, all."""
    every = SUBSET_STEP if is_complete(counts) else 1
    return np.arange(0, sum(counts.values()), every)


def _build(archive: Archive, path: Path, allocate: Allocate) -> dict[str, Any]:
    with open_packed(archive, path) as opened:
        named = _from_pickles(opened) if isinstance(opened, OpenTar) else _from_pngs(opened)
        if not named:
            raise opened.damaged("no images of CIFAR-100 in it")
        counts = {name: len(named[name]) for name in sorted(named)}
        if is_complete(counts):
            opened.note_if_repacked()
    array = allocate((sum(counts.values()), *SHAPE))
    row = 0
    for name in counts:
        for image in sorted(named[name]):
            array[row] = named[name][image]
            row += 1
    subset = array[subset_rows(counts)]
    subset_counts = [len(range(0, n, SUBSET_STEP)) for n in counts.values()]
    if not is_complete(counts):
        subset_counts = list(counts.values())
    return {
        "counts": counts,
        "digest": _digest(array, list(counts.values()), list(counts)),
        "subset_digest": _digest(subset, subset_counts, list(counts)),
    }


def _digest(pixels: np.ndarray, counts: list[int], names: list[str]) -> str:
    content = hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
    return json_digest({"names": names, "counts": counts, "pixels": content})


def _from_pngs(opened: Packed) -> Named:
    """Read the layout of CIFAR-FS: a folder a class, a file an image."""
    found: Named = defaultdict(dict)
    pattern = _LOOSE_PNG if isinstance(opened, OpenFolder) else _PNG
    matches = {name: match for name in opened.names() if (match := pattern.fullmatch(name))}
    for name, content in opened.read_each(matches):
        folder, image = matches[name].groups()
        try:
            found[folder][image] = decode_image(content, SHAPE, "exact")
        except ImageError as error:
            raise opened.damaged(f"member {name} {error}") from error
    return found


def _from_pickles(opened: OpenTar) -> Named:
    """Read the layout of torchvision's archive: the pickles `meta`, `train` and `test`."""
    wanted = {f"cifar-100-python/{part}": part for part in ("meta", *_PARTS)}
    content: dict[str, Any] = {}
    for name, packed in opened.read_each(wanted):
        try:
            content[wanted[name]] = load_pickle(io.BytesIO(packed))
        except PickleError as error:
            raise opened.damaged(f"member {name} {error}") from error
    try:
        classes = content["meta"]["fine_label_names"]
        found: Named = defaultdict(dict)
        for part in _PARTS:
            labels, names, pixels = (
                content[part][key] for key in ("fine_labels", "filenames", "data")
            )
            images = np.asarray(pixels, dtype=np.uint8).reshape(len(names), *SHAPE)
            for label, name, image in zip(labels, names, images, strict=True):
                found[classes[label]][name] = image
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise opened.damaged(f"not the pickles of CIFAR-100 ({error!r})") from error
    return found
