"""CIFAR-FS and FC100: few-shot episodes of the images of CIFAR-100.

CIFAR-FS (Bertinetto et al. 2018, "Meta-learning with differentiable closed-form solvers") splits
the classes at random, FC100 (Oreshkin et al. 2018, "TADAM: Task dependent adaptive metric for
improved few-shot learning") by superclass, so that what is tested on is less alike to what was
learned from. Inputs are (T, N, 3, 32, 32) float32 in [0, 1].

Accuracies on a part of the images are not those of the whole, so that a part is a task of its own:
`cifar-fs-subset` and `fc100-subset` have 100 images a class, every sixth by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from episodes.archives import Archive
from episodes.cifar100_images import (
    ARCHIVE,
    CLASSES,
    IMAGES,
    SUBSET_STEP,
    StoredImages,
    is_complete,
    load_images,
)
from episodes.class_images import (
    ImageEpisodes,
    StoredPixels,
    Wanted,
    check_asked,
)
from episodes.class_splits import read_name_split
from episodes.errors import DataError
from episodes.stored_images import image_episodes


def archives() -> Sequence[Archive]:
    """Return the files that these tasks read."""
    return (ARCHIVE,)


def load_cifar_fs(*, data: str | Path | None = None, **wanted: Any) -> ImageEpisodes:
    """Open CIFAR-FS: 64, 16 and 20 classes of 600 images.

    Raises DataError when the data are missing, damaged, incomplete, or too small for what is asked.
    """
    return _load("cifar-fs", False, Wanted.of(**wanted), data)


def load_cifar_fs_subset(*, data: str | Path | None = None, **wanted: Any) -> ImageEpisodes:
    """Open the classes of CIFAR-FS with 100 images each, or with what an archive has of them."""
    return _load("cifar-fs", True, Wanted.of(**wanted), data)


def load_fc100(*, data: str | Path | None = None, **wanted: Any) -> ImageEpisodes:
    """Open FC100: 60, 20 and 20 classes of 600 images, of 12, 4 and 4 superclasses.

    Raises DataError when the data are missing, damaged, incomplete, or too small for what is asked.
    """
    return _load("fc100", False, Wanted.of(**wanted), data)


def load_fc100_subset(*, data: str | Path | None = None, **wanted: Any) -> ImageEpisodes:
    """Open the classes of FC100 with 100 images each, or with what an archive has of them."""
    return _load("fc100", True, Wanted.of(**wanted), data)


def _load(splits: str, subset: bool, wanted: Wanted, data: str | Path | None) -> ImageEpisodes:
    task = f"{splits}-subset" if subset else splits
    class_split = read_name_split(splits)
    # Before a download.
    check_asked(task, class_split.classes, IMAGES, wanted)
    images, path = load_images(data)
    chosen = class_split.classes, class_split.digest, wanted
    if not subset:
        _check_complete(task, images, path)
        return image_episodes(task, images, *chosen)
    digest = images.notes["subset_digest"]
    if not is_complete(images.counts):
        return image_episodes(task, images, *chosen, images_digest=digest)
    fewer = StoredImages(
        images.pixels, dict.fromkeys(images.counts, IMAGES // SUBSET_STEP), images.notes
    )
    return image_episodes(
        task, fewer, *chosen, gather=_Every(images.pixels, SUBSET_STEP), images_digest=digest
    )


class _Every:
    """Gathers rows from every n-th image of an array."""

    def __init__(self, pixels: np.ndarray, step: int) -> None:
        self._stored = StoredPixels(pixels)
        self._step = step

    def __call__(self, rows: np.ndarray) -> Tensor:
        return self._stored(rows * self._step)


def _check_complete(task: str, images: StoredImages, path: Path) -> None:
    if is_complete(images.counts):
        return
    fewest = min(images.counts, key=lambda name: images.counts[name])
    raise DataError(
        f"{path} has {len(images.counts)} classes, and {images.counts[fewest]} images of class "
        f"{fewest!r}; {task} needs the whole of CIFAR-100, {CLASSES} classes of {IMAGES} images\n"
        f"For what is there, use the task {task}-subset: it is another problem, with a leaderboard "
        f"of its own. For the whole, get {ARCHIVE.file} {ARCHIVE.origin}"
    )
