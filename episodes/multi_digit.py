"""Double and triple MNIST: classes are numbers, written with two or three digits of MNIST.

Sun 2019, "Multi-digit MNIST for few-shot learning": 64, 16 and 20 classes of the numbers 00 to 99
in images of 64 x 64, and 640, 160 and 200 of 000 to 999 in 84 x 84, 1,000 images of each class.
Inputs are (T, N, 1, height, width) float32, 1 on a stroke and 0 on the paper.

The images are composed here, always in the same way: each depends on its number and its place
among the images of that number alone. They are not Sun's own images, which were drawn at random,
but of the same sizes, digits and classes. Digits stand from left to right, unscaled, each at a
height of its own, and never overlap. The three splits share no digit image either: of each 25
images of a digit 16 are for meta-train, 4 for meta-validation and 5 for meta-test.

Images are composed when an episode is drawn, which takes little beside learning from it: stored,
they would be 0.4 and 7 GB.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from episodes.archives import Archive
from episodes.class_images import (
    ClassImages,
    ImageEpisodes,
    Wanted,
    check_asked,
)
from episodes.class_splits import read_name_split
from episodes.counter_rng import stream_key, uniforms
from episodes.digest import json_digest
from episodes.episode import Split
from episodes.mnist import ARCHIVES, SIZE, load_digits
from episodes.stored_images import StoredImages

IMAGES_PER_CLASS = 1000
CANVAS = {2: 64, 3: 84}
"""Height and width of an image, by its digits."""

SHARES: dict[Split, range] = {
    "train": range(16),
    "validation": range(16, 20),
    "test": range(20, 25),
}
"""Which of each 25 images of a digit belong to a split."""

# To be raised when the same digits would be composed to other images.
_COMPOSING = 1
_ROUND = sum(map(len, SHARES.values()))


def archives() -> Sequence[Archive]:
    """Return the files that these tasks read."""
    return ARCHIVES


def load_double_mnist(*, data: str | Path | None = None, **wanted: Any) -> ImageEpisodes:
    """Open double MNIST. Raises DataError when MNIST is missing, damaged, or too small for it."""
    return _load("double-mnist", 2, Wanted.of(**wanted), data)


def load_triple_mnist(*, data: str | Path | None = None, **wanted: Any) -> ImageEpisodes:
    """Open triple MNIST. Raises DataError when MNIST is missing, damaged, or too small for it."""
    return _load("triple-mnist", 3, Wanted.of(**wanted), data)


def _load(task: str, digits: int, wanted: Wanted, data: str | Path | None) -> ImageEpisodes:
    class_split = read_name_split(task)
    # Before a download.
    check_asked(task, class_split.classes, IMAGES_PER_CLASS, wanted)
    stored = load_digits(data)
    splits = {
        split: ClassImages(
            names,
            np.array([int(name) for name in names]) * IMAGES_PER_CLASS,
            np.full(len(names), IMAGES_PER_CLASS),
            Composed(stored, digits, SHARES[split]),
            np.zeros(len(names), dtype=np.int64),
        )
        for split, names in class_split.classes.items()
    }
    size = CANVAS[digits]
    composed = {"composing": _COMPOSING, "digits": digits, "size": size, "each": IMAGES_PER_CLASS}
    digest = json_digest([composed, stored.notes["digest"], class_split.digest])
    return ImageEpisodes(task, (1, size, size), splits, digest, wanted)


class Composed:
    """Composes images of numbers from a share of the digits' images."""

    def __init__(self, stored: StoredImages, digits: int, share: range) -> None:
        """Take the digits of MNIST, how many stand in an image, and which of 25 are used."""
        self.digits = digits
        self.size = CANVAS[digits]
        self._pixels = stored.pixels
        self._rows = []
        first = 0
        for digit in range(10):
            count = stored.counts[str(digit)]
            place = np.arange(count)
            self._rows.append(first + place[np.isin(place % _ROUND, share)])
            first += count
        self._key = stream_key("multi-digit", str(digits), _COMPOSING)

    def __call__(self, rows: np.ndarray) -> Tensor:
        """Return the images of these rows, (N, 1, size, size) uint8.

        rows: (N,) int64, the number times IMAGES_PER_CLASS plus the place among its images.
        """
        images, x, y = self.layout(rows)
        shape = (len(rows), self.digits, SIZE, SIZE)
        digits = torch.from_numpy(self._pixels.take(images.ravel(), axis=0)).view(shape)
        # Where each pixel of each digit goes to in its flat image.
        corner = torch.from_numpy(y * self.size + x)[:, :, None, None]
        within = torch.arange(SIZE)[:, None] * self.size + torch.arange(SIZE)
        canvas = torch.zeros(len(rows), self.size * self.size, dtype=torch.uint8)
        canvas.scatter_(1, (corner + within).flatten(1), digits.flatten(1))
        return canvas.view(-1, 1, self.size, self.size)

    def layout(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return of what the images of these rows are made.

        Three (N, digits) int64 arrays: the row of each digit's image in MNIST, and the pixels
        left of it and above it.
        """
        n = self.digits
        number = rows[:, None] // IMAGES_PER_CLASS // 10 ** np.arange(n - 1, -1, -1) % 10
        draws = uniforms(self._key, rows, 3 * n)
        images = np.empty((len(rows), n), dtype=np.int64)
        for digit, of_digit in enumerate(self._rows):
            here = number == digit
            images[here] = of_digit[(draws[:, :n][here] * len(of_digit)).astype(np.int64)]
        # What is left of the width is shared out between the digits by sorted draws.
        room = self.size - n * SIZE + 1
        x = np.sort((draws[:, n : 2 * n] * room).astype(np.int64), axis=1) + SIZE * np.arange(n)
        y = (draws[:, 2 * n :] * (self.size - SIZE + 1)).astype(np.int64)
        return images, x, y
