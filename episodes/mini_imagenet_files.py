"""The four forms that the images of mini-ImageNet go round in.

- `mini-imagenet-cache-{train,val,test}.pkl`: pickles of all pixels ("image_data") and of the images
  of each class ("class_dict"), as learn2learn and others use them;
- `mini-imagenet.tar.gz`: the same three in one archive, as Torchmeta uses it;
- `mini_imagenet_full_size.tar.bz2`: a JPEG file an image, in a folder a class, in a folder a split,
  as MAML++ uses it;
- `{train,val,test}.csv` beside a folder `images`: the lists of Ravi and Larochelle 2017, which name
  the file and the class of each image.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from episodes.archives import Archive, locate
from episodes.class_splits import NameSplit
from episodes.digest import json_digest
from episodes.file_digests import files_digest
from episodes.open_folder import OpenFolder
from episodes.packed import Packed, Streamed, by_last_name
from episodes.prepared import Allocate
from episodes.safe_pickle import PickleError, load_pickle
from episodes.stored_images import StoredImages, fill_from_files, stored_images
from episodes.tar_archives import OpenTar

SHAPE = (3, 84, 84)
IMAGES = 600
PARTS = ("train", "val", "test")

# To be raised when the same files would be read to other rows.
_READING = 2
_FOLDER = "mini-imagenet"
_CACHE = "mini-imagenet-cache-{}.pkl"
_ADVICE = (
    "ImageNet's licence does not let it be passed on, so that metasweep fetches it from nowhere. "
    f"Any of these will do, in the folder {_FOLDER}:\n"
    "  mini-imagenet-cache-train.pkl, -val.pkl and -test.pkl;\n"
    "  mini-imagenet.tar.gz, with these three in it;\n"
    "  mini_imagenet_full_size.tar.bz2, with {train,val,test}/<class>/<image>.jpg in it;\n"
    "  train.csv, val.csv and test.csv of "
    "https://github.com/twitter-research/meta-learning-lstm, beside a folder images"
)


def _archive(file: str, *instead: Archive) -> Archive:
    large = 1 << 34
    return Archive(
        _FOLDER, file, None, most_packed=large, most_unpacked=large, instead=instead, advice=_ADVICE
    )


_TAR, _FULL_SIZE, _LISTS = (
    _archive(file)
    for file in ("mini-imagenet.tar.gz", "mini_imagenet_full_size.tar.bz2", "train.csv")
)
ARCHIVE = _archive(_CACHE.format("train"), _TAR, _FULL_SIZE, _LISTS)

_FULL_SIZE_IMAGE = re.compile(
    r"(?:[^/]+/)?(?:train|val|test)/(n\d{8})/[^./][^/]*\.(?:jpg|JPEG|png)"
)

Classes = Mapping[str, Sequence[str]]
"""Names of the images' files by class."""


def load_images(data: str | Path | None, class_split: NameSplit) -> StoredImages:
    """Return the images of the classes of the split.

    Raises DataError when they are missing or damaged, or not 600 of each class.
    """
    archive, path = locate(ARCHIVE, data)
    wanted = {name for names in class_split.classes.values() for name in names}
    name = f"{_FOLDER}-{class_split.digest}-{_READING}-"
    if archive is _TAR:
        return stored_images(
            name + files_digest([path]),
            lambda allocate: _from_pickles(OpenTar(archive, path), wanted, allocate),
        )
    if archive is _FULL_SIZE:
        return stored_images(
            name + files_digest([path]),
            lambda allocate: _from_full_size(OpenTar(archive, path), wanted, allocate),
        )
    folder = OpenFolder(path.parent, deep=False)
    if archive is _LISTS:
        classes = _listed(folder, wanted)
        files = [path.parent / image for images in classes.values() for image in images]
        return stored_images(
            name + files_digest(files),
            lambda allocate: fill_from_files(folder, classes, SHAPE, "stretch", allocate)[1],
        )
    caches = _present(folder, [_CACHE.format(part) for part in PARTS])
    return stored_images(
        name + files_digest(caches), lambda allocate: _from_pickles(folder, wanted, allocate)
    )


def _present(folder: OpenFolder, names: Sequence[str]) -> list[Path]:
    """Return the paths of files in a folder. Raises DataError when some are not there."""
    missing = [name for name in names if not (folder.path / name).is_file()]
    if missing:
        raise folder.damaged(f"{missing[0]} is missing, and {len(missing) - 1} other files")
    return [folder.path / name for name in names]


def _check_complete(opened: Packed, counts: Mapping[str, int], wanted: set[str]) -> None:
    for name in sorted(wanted):
        if counts.get(name, 0) != IMAGES:
            raise opened.damaged(
                f"{counts.get(name, 0)} images of class {name}, {IMAGES} expected: it is not "
                "mini-ImageNet, or not all of it"
            )


def _listed(folder: OpenFolder, wanted: set[str]) -> Classes:
    """Return what the three lists name, in their order, which exists."""
    found: dict[str, list[str]] = defaultdict(list)
    listed: set[str] = set()
    for path in _present(folder, [f"{part}.csv" for part in PARTS]):
        with path.open(newline="", encoding="utf-8") as file:
            try:
                for row in csv.DictReader(file):
                    image = f"images/{row['filename']}"
                    if image in listed:
                        raise folder.damaged(
                            f"{path.name} lists {image!a}, which was listed before"
                        )
                    listed.add(image)
                    found[row["label"]].append(image)
            except (KeyError, UnicodeDecodeError, csv.Error) as error:
                raise folder.damaged(
                    f"{path.name} is not a list with the columns filename and label ({error!r})"
                ) from error
    _check_complete(folder, {name: len(images) for name, images in found.items()}, wanted)
    classes = {name: found[name] for name in sorted(wanted)}
    for images in classes.values():
        for image in images:
            if "/" in image.removeprefix("images/") or ".." in image:
                raise folder.damaged(f"the lists name {image!a}, which is not in images")
    _present(folder, [image for images in classes.values() for image in images])
    return classes


def _from_full_size(opened: OpenTar, wanted: set[str], allocate: Allocate) -> dict[str, Any]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in opened.names():
        if match := _FULL_SIZE_IMAGE.fullmatch(name):
            found[match[1]].append(name)
    _check_complete(opened, {name: len(images) for name, images in found.items()}, wanted)
    classes = {name: sorted(found[name]) for name in sorted(wanted)}
    return fill_from_files(opened, classes, SHAPE, "stretch", allocate)[1]


def _from_pickles(opened: Streamed, wanted: set[str], allocate: Allocate) -> dict[str, Any]:
    file_of = by_last_name(opened, [_CACHE.format(part) for part in PARTS])
    classes = sorted(wanted)
    first = {name: number * IMAGES for number, name in enumerate(classes)}
    array = allocate((len(classes) * IMAGES, *SHAPE))
    counts: dict[str, int] = {}
    digests: dict[str, str] = {}
    for part in PARTS:
        file = _CACHE.format(part)
        if file not in file_of:
            raise opened.damaged(f"{file} is missing")
        for _, stream in opened.streams([file_of[file]]):
            try:
                pixels, indices = _cache(load_pickle(stream))
            except (PickleError, KeyError, TypeError, ValueError, AttributeError) as error:
                raise opened.damaged(f"{file} is not a cache of mini-ImageNet ({error})") from error
        for name in sorted(wanted & set(indices)):
            counts[name] = counts.get(name, 0) + len(indices[name])
            if counts[name] == len(indices[name]) == IMAGES:
                rows = slice(first[name], first[name] + IMAGES)
                array[rows] = pixels[indices[name]].transpose(0, 3, 1, 2)
                digests[name] = hashlib.sha256(array[rows].tobytes()).hexdigest()
    _check_complete(opened, counts, wanted)
    return {"counts": dict.fromkeys(classes, IMAGES), "digest": json_digest(digests)}


def _cache(content: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return all pixels, (images, 84, 84, 3), and the images of each class, sorted."""
    pixels = content["image_data"]
    channels, height, width = SHAPE
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        raise ValueError("image_data is not an array of bytes")
    if pixels.shape[1:] != (height, width, channels):
        raise ValueError(f"image_data has the shape {pixels.shape}")
    indices = {}
    for name, images in content["class_dict"].items():
        indices[name] = np.sort(np.asarray(images, dtype=np.int64))
        if len(images) and not 0 <= indices[name][0] <= indices[name][-1] < len(pixels):
            raise ValueError(f"class_dict names images of {name!r} that are not there")
    return pixels, indices
