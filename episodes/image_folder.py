"""Few-shot episodes of a user's own images: a folder of them for each class.

The layout is that of torchvision's ImageFolder: `FOLDER/<class>/<image>`, with any folders below a
class. Hidden files, and files whose names do not end as an image's, are passed over. Inputs are
(T, N, channels, size, size) float32 in [0, 1]: the middle of each image, the largest square there
is, resized.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from episodes.augmentation import NO_AUGMENTATION, Augmentation
from episodes.class_images import (
    ImageEpisodes,
    Wanted,
    check_disjoint,
    check_images_per_class,
    check_ways,
    split_digest,
)
from episodes.counter_rng import choose, stream_key, uniforms
from episodes.digest import json_digest
from episodes.episode import SPLITS, Split
from episodes.errors import DataError
from episodes.file_digests import files_digest
from episodes.folders import absolute_path, is_folder
from episodes.open_folder import OpenFolder
from episodes.pictures import ImageError, decode_image
from episodes.prepared import Allocate
from episodes.stored_images import fill_from_files, image_episodes, stored_images

TASK = "image-folder"
CHANNELS = (1, 3)
MOST_SIZE = 1024
ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp")
_TOLD = 5
_ADVICE = "Mend or delete it, or set skip_corrupt to pass over all that cannot be read."
_RIGHT_TO_READ = "Give yourself the right to read it."

_log = logging.getLogger("metasweep")

Ratios = tuple[float, float, float]
Classes = Mapping[Split, Sequence[str]]


def load_image_folder(
    folder: str | Path,
    *,
    ways: int,
    shots: int,
    query_shots: int,
    size: int,
    channels: int,
    split_file: str | Path | None = None,
    ratios: Ratios = (0.6, 0.2, 0.2),
    split_seed: int = 0,
    skip_corrupt: bool = False,
    augmentation: Augmentation = NO_AUGMENTATION,
) -> ImageEpisodes:
    """Open a folder of images, split by class.

    size: height and width that images are brought to.
    channels: 1 for grey, 3 for colour.
    split_file: a JSON file with the names of the classes in "train", "validation" and "test";
        other classes of the folder are left out. None to draw the splits.
    ratios: shares of the classes for meta-train, meta-validation and meta-test.
    split_seed: of that draw; the same names are split in the same way anywhere.
    skip_corrupt: whether files that cannot be decoded are passed over, and logged.
    Raises DataError when anything is missing, damaged, or too small for what is asked.
    """
    wanted = Wanted(ways, shots, query_shots, augmentation)
    _check_form(size, channels)
    augmentation.check((channels, size, size))
    root = absolute_path(folder, "folder")
    found = _find_classes(root)
    if split_file is None:
        splits = split_by_ratio(sorted(found), ratios, split_seed)
    else:
        splits = read_split_file(absolute_path(split_file, "split file"), root, found)
    check_disjoint(TASK, splits)
    check_ways(TASK, {split: len(names) for split, names in splits.items()}, wanted)
    classes = {name: found[name] for name in sorted(n for names in splits.values() for n in names)}
    if skip_corrupt:
        classes = _openable(root, classes)
    for name, images in classes.items():
        check_images_per_class(str(root), len(images), wanted, f"class {name!r}")
    opened = OpenFolder(root, _ADVICE)
    shape = (channels, size, size)

    def build(allocate: Allocate) -> dict[str, Any]:
        readable = _readable(opened, classes, shape) if skip_corrupt else classes
        notes = fill_from_files(opened, readable, shape, "crop", allocate)[1]
        _tell_enlarged(root, notes, size)
        return notes

    files = [root / image for images in classes.values() for image in images]
    contents = files_digest(files, _ADVICE)
    counts = {name: len(images) for name, images in classes.items()}
    kept = json_digest([contents, counts, shape, skip_corrupt])
    stored = stored_images(f"{TASK}-{kept}", build)
    return image_episodes(TASK, stored, splits, split_digest(splits), wanted)


def ratios_of(validation_share: float, test_share: float) -> Ratios:
    """Return the three shares of classes. Raises DataError, naming the option that is wrong."""
    shares = {"validation_share": validation_share, "test_share": test_share}
    for name, share in shares.items():
        if share <= 0:
            raise DataError(
                f"options.{name}: {share:g}: must be more than 0, as each split needs classes; or "
                "name a file in options.splits"
            )
    if sum(shares.values()) >= 1:
        (larger, share), (other, rest) = sorted(shares.items(), key=lambda item: -item[1])
        raise DataError(
            f"options.{larger}: {share:g}: together with {other}, {rest:g}, it must be below 1, to "
            "leave something for meta-train"
        )
    return 1 - validation_share - test_share, validation_share, test_share


def split_by_ratio(names: Sequence[str], ratios: Ratios, seed: int) -> dict[Split, list[str]]:
    """Draw which classes belong to which split, by names in sorted order and a seed.

    Raises DataError unless the three shares are positive and add up to 1.
    """
    if len(ratios) != 3 or min(ratios) <= 0 or abs(sum(ratios) - 1) > 1e-6:
        raise DataError(
            f"ratios: {list(ratios)!r}: must be three positive shares that add up to 1, for "
            "train, validation and test, such as 0.6, 0.2, 0.2"
        )
    ordered = sorted(names)
    key = stream_key(TASK, "split", seed)
    drawn = choose(uniforms(key, np.zeros(1, dtype=np.int64), len(ordered)), len(ordered))[0]
    validation, test = (round(len(ordered) * share) for share in ratios[1:])
    cuts = np.cumsum([len(ordered) - validation - test, validation])
    parts = np.split(drawn, cuts)
    return {
        split: sorted(ordered[k] for k in part) for split, part in zip(SPLITS, parts, strict=True)
    }


def read_split_file(path: Path, root: Path, known: Mapping[str, object]) -> dict[Split, list[str]]:
    """Read which classes of a folder belong to which split.

    Raises DataError when it is not JSON of that form, or names a class that is not there, or one
    twice.
    """
    right = '{"train": [names of classes], "validation": [...], "test": [...]}'
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"split file {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"split file {path} is not JSON ({error}); it should hold {right}"
        ) from error
    if not isinstance(content, dict) or set(content) != set(SPLITS):
        keys = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise DataError(f"split file {path} holds {keys}; it should hold {right}")
    splits: dict[Split, list[str]] = {}
    for split in SPLITS:
        names = content[split]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"split file {path}: {split} is no list of names of classes")
        missing = sorted(set(names) - set(known))
        if missing:
            raise DataError(
                f"split file {path}: {split} names {len(missing)} classes that are not in {root}: "
                f"{_some(missing)}; in it are {_some(sorted(known))}"
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"split file {path}: {split} names {twice[0]!r} twice")
        splits[split] = names
    check_disjoint(f"split file {path}", splits)
    return splits


def _check_form(size: int, channels: int) -> None:
    if not isinstance(size, int) or not 1 <= size <= MOST_SIZE:
        raise DataError(f"size: {size!r}: must be a whole number from 1 to {MOST_SIZE}, in pixels")
    if channels not in CHANNELS:
        raise DataError(f"channels: {channels!r}: must be 1 for grey or 3 for colour")


def _find_classes(root: Path) -> dict[str, list[str]]:
    """Return the image files of each class, sorted, with the class in front of their names."""
    if not is_folder(root, "folder"):
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(f"folder {root} {what}; it should hold a folder of images a class")
    try:
        below = [path.name for path in root.iterdir() if path.is_dir()]
    except OSError as error:
        raise DataError(
            f"folder {root} cannot be read: {error.strerror}\n{_RIGHT_TO_READ}"
        ) from error
    classes = sorted(name for name in below if not name.startswith("."))
    if not classes:
        raise DataError(
            f"folder {root} holds no folders; it should hold one for each class, with its images"
        )
    found = {}
    for name in classes:
        files = OpenFolder(root / name, _RIGHT_TO_READ).names()
        found[name] = [f"{name}/{file}" for file in files if file.lower().endswith(ENDINGS)]
    if not any(found.values()):
        raise DataError(
            f"folder {root} holds {len(classes)} folders, but no images in them; names of images "
            f"end with {', '.join(ENDINGS)}"
        )
    return found


def _openable(root: Path, classes: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the files that can be opened and read from, and log the others."""
    closed = {}
    for name in (image for images in classes.values() for image in images):
        path = root / name
        try:
            if not path.exists():
                closed[name] = "leads nowhere"
            elif not path.is_file():
                closed[name] = "is not a plain file"
            else:
                with path.open("rb") as file:
                    file.read(1)
        except OSError as error:
            closed[name] = f"cannot be read: {error.strerror}"
    return _without(closed, root, classes)


def _readable(
    opened: OpenFolder, classes: Mapping[str, list[str]], shape: tuple[int, int, int]
) -> dict[str, list[str]]:
    """Return the files that can be decoded, and log the others."""
    corrupt = {}
    for name, content in opened.read_each([i for images in classes.values() for i in images]):
        try:
            decode_image(content, shape, "crop")
        except ImageError as error:
            corrupt[name] = str(error)
    return _without(corrupt, opened.path, classes)


def _without(
    problems: Mapping[str, str], root: Path, classes: Mapping[str, list[str]]
) -> dict[str, list[str]]:
    """Return the files without those that have problems, and log these."""
    for name, problem in list(problems.items())[:_TOLD]:
        _log.warning("%s/%s is passed over: it %s", root, name, problem)
    if len(problems) > _TOLD:
        _log.warning("and %d more", len(problems) - _TOLD)
    return {
        name: [image for image in images if image not in problems]
        for name, images in classes.items()
    }


def _tell_enlarged(root: Path, notes: Mapping[str, Any], size: int) -> None:
    sizes, images = notes["sizes"], sum(notes["counts"].values())
    if not sizes["enlarged"]:
        return
    (height, width), (most_height, most_width) = sizes["smallest"], sizes["largest"]
    _log.warning(
        "%s: images are %d x %d to %d x %d pixels; %d of %d are enlarged to %d x %d, which shows "
        "no more than they do",
        *(root, width, height, most_width, most_height, sizes["enlarged"], images, size, size),
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_TOLD]))
    return f"{shown} and {len(names) - _TOLD} more" if len(names) > _TOLD else shown
