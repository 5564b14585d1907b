"""mini-ImageNet: few-shot episodes of 100 classes of ImageNet, 84 x 84, in colour.

Vinyals et al. 2016, "Matching networks for one shot learning", with the classes and images of
Ravi and Larochelle 2017, "Optimization as a model for few-shot learning": 64, 16 and 20 classes of
600 images. Inputs are (T, N, 3, 84, 84) float32 in [0, 1].

The images may not be passed on, so that no address has them for good; they go round in four forms,
and any of them is read: see `episodes.mini_imagenet_files`. Their makers resized the images in
differing ways, so that each form has its digest, and thus its own leaderboard.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from episodes.archives import Archive
from episodes.class_images import ImageEpisodes, Wanted, check_asked
from episodes.class_splits import read_name_split
from episodes.mini_imagenet_files import ARCHIVE, IMAGES, load_images
from episodes.stored_images import image_episodes

TASK = "mini-imagenet"


def archives() -> Sequence[Archive]:
    """Return the files that this task reads."""
    return (ARCHIVE,)


def load_mini_imagenet(*, data: str | Path | None = None, **wanted: Any) -> ImageEpisodes:
    """Open mini-ImageNet.

    Raises DataError when the data are missing, damaged, incomplete, or too small for what is asked.
    """
    class_split = read_name_split(TASK)
    asked = Wanted.of(**wanted)
    check_asked(TASK, class_split.classes, IMAGES, asked)
    images = load_images(data, class_split)
    return image_episodes(TASK, images, class_split.classes, class_split.digest, asked)
