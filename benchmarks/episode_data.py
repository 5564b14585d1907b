"""Data that `benchmarks.episodes` draws from, on disk in the forms that the libraries read.

Omniglot is real; of mini-ImageNet there is only the shape, 100 classes of 600 images of noise, in
the three pickles that it goes round in.
"""

from __future__ import annotations

import math
import os
import pickle
from pathlib import Path

import numpy as np

from benchmarks.loaders.work import Work
from episodes.class_splits import read_class_split, read_name_split
from episodes.episode import Split
from episodes.omniglot_images import DRAWINGS, ROTATIONS, load_images

PARTS: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}


def prepare(work: Work, folder: Path) -> None:
    """Write the data of one work, unless it is there. Raises DataError where Omniglot is missing.

    Besides what each library has for itself, the bytes of the meta-train classes are written, and
    the same as numbers, for those that want them in memory.
    """
    if work.float_file(folder).exists():
        return
    pixels = _omniglot(work) if work.name == "omniglot" else _mini_imagenet(work, folder)
    np.save(work.bytes_file(folder), pixels)
    temporary = folder / "unfinished.npy"
    floats = np.lib.format.open_memmap(temporary, "w+", np.float32, pixels.shape)
    for of_class, values in zip(pixels, floats, strict=True):
        np.divide(of_class, np.float32(255), out=values)
    del floats
    os.replace(temporary, work.float_file(folder))


def _omniglot(work: Work) -> np.ndarray:
    images = load_images(None)
    characters = read_class_split("omniglot", "vinyals").characters["train"]
    by_character = images.pixels.reshape(-1, ROTATIONS, DRAWINGS, *work.shape)
    rows = [images.characters[character] for character in characters]
    return by_character[rows].reshape(work.classes, work.images, *work.shape)


def _mini_imagenet(work: Work, folder: Path) -> np.ndarray:
    """Write the three pickles; return the meta-train part of them."""
    rng = np.random.default_rng(0)
    channels, height, width = work.shape
    each = work.images
    (folder / work.name).mkdir(parents=True, exist_ok=True)
    kept: dict[str, np.ndarray] = {}
    for split, part in PARTS.items():
        names = read_name_split(work.name).classes[split]
        shape = (len(names) * each, height, width, channels)
        pixels = np.frombuffer(rng.bytes(math.prod(shape)), np.uint8).reshape(shape)
        rows = {name: list(range(i * each, (i + 1) * each)) for i, name in enumerate(names)}
        with (folder / work.name / f"mini-imagenet-cache-{part}.pkl").open("wb") as file:
            pickle.dump({"image_data": pixels, "class_dict": rows}, file, protocol=4)
        kept[split] = pixels
    by_class = kept["train"].reshape(work.classes, each, height, width, channels)
    return np.ascontiguousarray(by_class.transpose(0, 1, 4, 2, 3))
