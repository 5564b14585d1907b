"""The data sets that episodes are drawn from, and what a source of episodes is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

WAYS, SHOTS, QUERY_SHOTS = 5, 1, 15
BATCH = 16
"""Episodes of a meta-batch."""


@dataclass(frozen=True)
class Work:
    """The meta-train classes of one data set.

    shape: of an image. classes: rotated ones included. images: of each class.
    """

    name: str
    title: str
    shape: tuple[int, int, int]
    classes: int
    images: int

    def bytes_file(self, folder: Path) -> Path:
        """Where (classes, images, *shape) uint8 lies."""
        return folder / f"{self.name}-bytes.npy"

    def float_file(self, folder: Path) -> Path:
        """Where the same lies as float32, divided by 255."""
        return folder / f"{self.name}-floats.npy"

    def floats(self, folder: Path) -> np.ndarray:
        """Map the floats, as one copy for all processes; where written to, a page is copied."""
        return np.load(self.float_file(folder), mmap_mode="c")


WORKS: dict[str, Work] = {
    work.name: work
    for work in (
        Work("omniglot", "Omniglot, 1 x 28 x 28", (1, 28, 28), 4112, 20),
        Work("mini-imagenet", "mini-ImageNet's shape, 3 x 84 x 84", (3, 84, 84), 64, 600),
    )
}


@dataclass(frozen=True)
class Source:
    """A data set that a library has made ready.

    batches: meta-batches of BATCH episodes, without end.
    images: from a batch to its images, (T, ways * k, *shape), and their labels, (T, ways * k), for
        each part of an episode: support and query, or both in one where they are not parted.
    ahead: batches that processes may have ready before they are asked for.
    """

    batches: Iterator[Any]
    images: Callable[[Any], list[tuple[Tensor, Tensor]]]
    ahead: int = 0
