"""tiered-ImageNet: few-shot episodes of 608 classes of ImageNet, 84 x 84, in colour.

Ren et al. 2018, "Meta-learning for semi-supervised few-shot classification": 351 classes for
meta-train, 97 for meta-validation and 160 for meta-test, split by 34 categories, so that no
category is in two splits. The published archive holds the split; of each one, the images are a
pickled list of PNG files, and the labels a pickled dictionary.

Inputs are (T, N, 3, 84, 84) float32 in [0, 1].
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from episodes.archives import Archive, locate
from episodes.class_images import ImageEpisodes, Wanted, check_disjoint, check_ways, split_digest
from episodes.digest import json_digest
from episodes.episode import SPLITS, Split
from episodes.file_digests import files_digest
from episodes.open_folder import OpenFolder
from episodes.packed import Streamed, by_last_name
from episodes.pictures import ImageError, decode_image
from episodes.prepared import Allocate
from episodes.safe_pickle import PickleError, load_pickle
from episodes.stored_images import image_episodes, stored_images
from episodes.tar_archives import OpenTar

TASK = "tiered-imagenet"
SHAPE = (3, 84, 84)
CLASSES: dict[Split, int] = {"train": 351, "validation": 97, "test": 160}
PARTS: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}

# To be raised when the same archive would be read to other rows.
_READING = 2
_LOOSE = tuple(f"{part}_{of}.pkl" for part in PARTS.values() for of in ("images_png", "labels"))
_ADVICE = (
    "its authors link to it from https://github.com/renmengye/few-shot-ssl-public, but it has no "
    "address that metasweep could fetch it from"
)

ARCHIVE = Archive(
    "tiered-imagenet",
    "tiered-imagenet.tar",
    None,
    most_packed=1 << 35,
    most_unpacked=1 << 35,
    instead=(Archive("tiered-imagenet", _LOOSE[0], None, advice=_ADVICE, beside=_LOOSE[1:]),),
    advice=_ADVICE,
)


def archives() -> Sequence[Archive]:
    """Return the files that this task reads."""
    return (ARCHIVE,)


def load_tiered_imagenet(*, data: str | Path | None = None, **wanted: Any) -> ImageEpisodes:
    """Open tiered-ImageNet, from its archive or from the files that were in it.

    Raises DataError when the data are missing, damaged, or too small for what is asked.
    """
    asked = Wanted.of(**wanted)
    check_ways(TASK, CLASSES, asked)
    paths, open_files = _files(data)
    images = stored_images(
        f"{TASK}-{_READING}-{files_digest(paths)}", lambda allocate: _build(open_files(), allocate)
    )
    names: dict[Split, list[str]] = images.notes["classes"]
    return image_episodes(TASK, images, names, split_digest(names), asked)


def _files(data: str | Path | None) -> tuple[list[Path], Callable[[], Streamed]]:
    """Return the files that all depends on, and how to open what is in them."""
    archive, path = locate(ARCHIVE, data)
    if archive is ARCHIVE:
        return [path], lambda: OpenTar(archive, path)
    folder = OpenFolder(path.parent, f"Get the files again {ARCHIVE.origin}", deep=False)
    wanted = [f"{part}_{of}.pkl" for part in PARTS.values() for of in ("labels", "images_png")]
    missing = [name for name in wanted if not (path.parent / name).is_file()]
    if missing:
        raise folder.damaged(f"{', '.join(missing)} is missing beside {path.name}")
    return [path.parent / name for name in wanted], lambda: folder


def _build(opened: Streamed, allocate: Allocate) -> dict[str, Any]:
    file_of = by_last_name(opened, _LOOSE)
    labels = {
        split: _unpickled(opened, file_of, f"{part}_labels.pkl") for split, part in PARTS.items()
    }
    names: dict[Split, list[str]] = {}
    rows: dict[Split, np.ndarray] = {}
    counts: dict[str, int] = {}
    first = 0
    for split in SPLITS:
        try:
            names[split], of_image = _classes(labels[split])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            what = f"{PARTS[split]}_labels.pkl has not the labels of tiered-ImageNet ({error!r})"
            raise opened.damaged(what) from error
        if len(names[split]) != CLASSES[split]:
            raise opened.damaged(
                f"{len(names[split])} classes of {split}, {CLASSES[split]} expected"
            )
        # The images of a class come one after the other, in the order of the file.
        rows[split] = np.empty(len(of_image), dtype=np.int64)
        rows[split][np.argsort(of_image, kind="stable")] = np.arange(len(of_image))
        rows[split] += first
        first += len(of_image)
        each = np.bincount(of_image, minlength=len(names[split])).tolist()
        counts |= dict(zip(names[split], each, strict=True))
    check_disjoint(TASK, names)
    array = allocate((first, *SHAPE))
    digests = {}
    for split, part in PARTS.items():
        file = f"{part}_images_png.pkl"
        images = _unpickled(opened, file_of, file)
        if not isinstance(images, list) or len(images) != len(rows[split]):
            raise opened.damaged(f"{file} has not one image for each of {len(rows[split])} labels")
        digests[split] = _decode(opened, file, images, rows[split], array)
    digest = json_digest({"counts": counts, "rows": digests})
    return {"counts": counts, "classes": names, "digest": digest}


def _unpickled(opened: Streamed, file_of: dict[str, str], file: str) -> Any:
    if file not in file_of:
        raise opened.damaged(f"{file} is missing")
    for _, stream in opened.streams([file_of[file]]):
        try:
            return load_pickle(stream)
        except PickleError as error:
            raise opened.damaged(f"{file} {error}") from error
    raise opened.damaged(f"{file} is missing")


def _classes(labels: dict[str, Any]) -> tuple[list[str], np.ndarray]:
    """Return the names of a split's classes, and of each image the number of its class.

    Two classes of ImageNet are called crane: the category tells the bird from the machine.
    """
    specific = np.asarray(labels["label_specific"], dtype=np.int64)
    general = np.asarray(labels["label_general"], dtype=np.int64)
    words, categories = list(labels["label_specific_str"]), list(labels["label_general_str"])
    if specific.min() < 0 or specific.max() >= len(words) or specific.shape != general.shape:
        raise ValueError("labels without a class")
    names = []
    for number, word in enumerate(words):
        of_class = general[specific == number]
        if not len(of_class):
            raise ValueError(f"no image of class {word!r}")
        name = f"{word} ({categories[int(of_class[0])]})"
        names.append(f"{name} {number}" if name in names else name)
    return names, specific


def _decode(
    opened: Streamed, file: str, images: list[Any], rows: np.ndarray, array: np.ndarray
) -> str:
    """Decode images to their rows of the array; return the digest of their contents."""
    digest = hashlib.sha256(rows.tobytes())
    for number, (image, row) in enumerate(zip(images, rows.tolist(), strict=True)):
        content = np.asarray(image, dtype=np.uint8).tobytes()
        digest.update(content)
        try:
            array[row] = decode_image(content, SHAPE, "exact")
        except ImageError as error:
            raise opened.damaged(f"image {number} of {file} {error}") from error
    return digest.hexdigest()
