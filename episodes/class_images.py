"""Few-shot episodes of classes of images, of any data set that lists its classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from episodes.counter_rng import Key, choose, stream_key, uniforms
from episodes.digest import json_digest
from episodes.episode import SPLITS, Episodes, Examples, Kind, Split
from episodes.errors import DataError

Shape = tuple[int, int, int]
"""Channels, height and width of an image."""

Gather = Callable[[np.ndarray], Tensor]
"""From (N,) int64 rows to (N, channels, height, width) uint8 pixels."""


class StoredPixels:
    """Gathers images from an array of them, which is usually memory-mapped."""

    def __init__(self, pixels: np.ndarray) -> None:
        """Take (images, channels, height, width) uint8."""
        self._pixels = pixels

    def __call__(self, rows: np.ndarray) -> Tensor:
        """Return the images of these rows, (N, channels, height, width) uint8."""
        return torch.from_numpy(np.asarray(self._pixels.take(rows, axis=0)))


@dataclass(frozen=True)
class ClassImages:
    """The K classes of one split, and where their images are.

    names: of the classes; class id k is `names[k]`.
    first: (K,) int64, the row of each class's first image; its other images follow.
    counts: (K,) int64, images of each class; they may differ.
    gather: returns the images of rows.
    """

    names: tuple[str, ...]
    first: np.ndarray
    counts: np.ndarray
    gather: Gather


def class_images(
    names: Sequence[str], counts: Mapping[str, int], gather: Gather, wanted: Sequence[str]
) -> ClassImages:
    """Return the wanted classes, sorted, of images that are stored class by class.

    names: of all stored classes, in the order of their rows.
    counts: images of each of them.
    """
    ends = np.cumsum([counts[name] for name in names], dtype=np.int64)
    first = dict(zip(names, (ends - [counts[name] for name in names]).tolist(), strict=True))
    chosen = tuple(sorted(wanted))
    return ClassImages(
        chosen,
        np.array([first[name] for name in chosen], dtype=np.int64),
        np.array([counts[name] for name in chosen], dtype=np.int64),
        gather,
    )


class ImageEpisodes:
    """Episodes over the classes of three splits that share none.

    inputs: (T, N, channels, height, width) float32 in [0, 1]. N is `ways * shots` for support and
        `ways * query_shots` for query; examples are grouped by class, in label order.
    targets: (T, N) int64. Labels 0..ways-1 follow the random order in which classes were drawn.
    Class ids count the sorted names of a split's classes. All images of an episode are different.
    """

    kind: Kind = "classification"

    def __init__(
        self,
        name: str,
        input_shape: Shape,
        splits: Mapping[Split, ClassImages],
        digest: str,
        ways: int,
        shots: int,
        query_shots: int,
    ) -> None:
        """Raise DataError when two splits share a class, or have too few classes or images.

        digest: of the images and of the class split.
        """
        check_disjoint(name, {split: images.names for split, images in splits.items()})
        for split, images in splits.items():
            check_ways(name, split, len(images.names), ways)
            _check_images(name, images, shots, query_shots)
        self.name = name
        self.input_shape: tuple[int, ...] = input_shape
        self.outputs = ways
        self.shots = shots
        self.query_shots = query_shots
        self.class_counts = {split: len(images.names) for split, images in splits.items()}
        self.train_classes: int | None = self.class_counts["train"]
        self.digest = digest
        self._splits = splits

    def class_names(self, split: Split) -> tuple[str, ...]:
        """Return the names of a split's classes: class id k is the k-th of them."""
        return self._splits[split].names

    def sample(self, split: Split, seed: int, indices: np.ndarray | range) -> Episodes:
        """Draw the episodes with these indices, as a batch."""
        index = np.array(indices, dtype=np.int64)
        images = self._splits[split]
        key = stream_key(self.name, split, seed)
        per_class = self.shots + self.query_shots
        classes, picks = draw_classes(key, index, images.counts, self.outputs, per_class)
        rows = images.first[classes][:, :, None] + picks
        support, query = rows[:, :, : self.shots], rows[:, :, self.shots :]
        return Episodes(
            support=examples(images.gather(support.ravel()), support.shape),
            query=examples(images.gather(query.ravel()), query.shape),
            classes=torch.from_numpy(classes),
            index=torch.from_numpy(index),
        )


def draw_classes(
    key: Key, index: np.ndarray, counts: np.ndarray, ways: int, per_class: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the classes of episodes, and examples of each class, all without replacement.

    index: (T,) int64 episode indices.
    counts: (K,) int64, examples of each class, at least `per_class`.
    Returns (T, ways) int64 classes in the order of their labels, and (T, ways, per_class) int64
    positions within each class.
    """
    draws = uniforms(key, index, ways * (1 + per_class))
    classes = choose(draws[:, :ways], len(counts))
    of_class = draws[:, ways:].reshape(len(index) * ways, per_class)
    picks = choose(of_class, counts[classes].ravel())
    return classes, picks.reshape(len(index), ways, per_class)


def examples(pixels: Tensor, shape: tuple[int, ...]) -> Examples:
    """Return images as the examples of episodes.

    pixels: (T * ways * k, channels, height, width) uint8, in the order of episodes and labels.
    shape: (T, ways, k).
    """
    episodes, ways, k = shape
    inputs = pixels.to(torch.float32).div_(255).view(episodes, ways * k, *pixels.shape[1:])
    labels = torch.arange(ways).repeat_interleave(k).repeat(episodes, 1)
    return Examples(inputs, labels)


def split_digest(classes: Mapping[Split, Sequence[str]]) -> str:
    """Return the digest of a class split that is not a shipped one."""
    return json_digest({split: sorted(names) for split, names in classes.items()})


def check_disjoint(name: str, classes: Mapping[Split, Sequence[str]]) -> None:
    """Raise DataError when a class is in two splits."""
    for one, other in combinations(SPLITS, 2):
        shared = set(classes[one]) & set(classes[other])
        if shared:
            raise DataError(
                f"{name}: class {min(shared)!r} is in both {one} and {other}; meta-learning is "
                "judged on new classes, so each class may be in one split only"
            )


def check_ways(name: str, split: Split, classes: int, ways: int) -> None:
    """Raise DataError when episodes ask for more classes than a split has."""
    if ways > classes:
        raise DataError(
            f"ways {ways} is more than the {classes} classes of {split} in {name}: "
            f"ways may be at most {classes}"
        )


def check_images_per_class(
    name: str, least: int, shots: int, query_shots: int, which: str = "a class"
) -> None:
    """Raise DataError when episodes ask for more images of a class than there are."""
    if shots + query_shots > least:
        raise DataError(
            f"{name} has {least} images of {which}; shots {shots} + query_shots {query_shots} = "
            f"{shots + query_shots} asks for more: shots + query_shots may be at most {least}"
        )


def _check_images(name: str, images: ClassImages, shots: int, query_shots: int) -> None:
    smallest = int(images.counts.argmin())
    which = f"class {images.names[smallest]!r}"
    check_images_per_class(name, int(images.counts[smallest]), shots, query_shots, which)
