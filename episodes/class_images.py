"""Few-shot episodes of classes of images, of any data set that lists its classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from episodes.augmentation import DRAWS, NO_AUGMENTATION, Augmentation, augment
from episodes.counter_rng import Key, choose, stream_key, uniforms
from episodes.digest import json_digest
from episodes.episode import SPLITS, Episodes, Examples, Kind, Split, episode_key, index_array
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
    turns: (K,) int64, by how many quarters of a turn the images of a class are to be rotated.
    """

    names: tuple[str, ...]
    first: np.ndarray
    counts: np.ndarray
    gather: Gather
    turns: np.ndarray


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
        np.zeros(len(chosen), dtype=np.int64),
    )


def _with_rotations(images: ClassImages) -> ClassImages:
    """Return four classes for each, one for each direction that its images are turned to."""
    turns = np.tile(np.arange(4), len(images.names))
    names = (
        f"{name}, turned {90 * turn}" if turn else name
        for name in images.names
        for turn in range(4)
    )
    return ClassImages(
        tuple(names), images.first.repeat(4), images.counts.repeat(4), images.gather, turns
    )


LEAST_WAYS = 2


@dataclass(frozen=True)
class Wanted:
    """What a user asks of the episodes of a data set.

    ways, shots, query_shots: as for `episodes.load`.
    augmentation: of the images of meta-train.
    """

    ways: int
    shots: int
    query_shots: int
    augmentation: Augmentation = NO_AUGMENTATION

    @classmethod
    def of(
        cls,
        *,
        ways: int,
        shots: int,
        query_shots: int,
        options: Mapping[str, Any] | None = None,
        **_: object,
    ) -> Wanted:
        """Read the arguments that a loader is called with, `data` left out."""
        return cls(ways, shots, query_shots, Augmentation.of(options or {}))


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
        wanted: Wanted,
    ) -> None:
        """Raise DataError when two splits share a class, or have too few classes or images.

        digest: of the images and of the class split.
        """
        augmentation = wanted.augmentation
        check_disjoint(name, {split: images.names for split, images in splits.items()})
        check_ways(name, {split: len(images.names) for split, images in splits.items()}, wanted)
        for images in splits.values():
            smallest = int(images.counts.argmin())
            which = f"class {images.names[smallest]!r}"
            check_images_per_class(name, int(images.counts[smallest]), wanted, which)
        augmentation.check(input_shape)
        if augmentation.rotations:
            splits = {**splits, "train": _with_rotations(splits["train"])}
        self.name = name
        self.input_shape: tuple[int, ...] = input_shape
        self.outputs = wanted.ways
        self.shots = wanted.shots
        self.query_shots = wanted.query_shots
        self.class_counts = {split: len(images.names) for split, images in splits.items()}
        self.train_classes: int | None = self.class_counts["train"]
        # What meta-train is made of belongs to the data, so that it makes another problem.
        self.digest = json_digest([digest, asdict(augmentation)]) if augmentation else digest
        self.device = torch.device("cpu")
        self._augmentation = augmentation
        self._splits = splits

    def sampling_on(self, device: torch.device) -> ImageEpisodes:
        """Return the same episodes with their examples on a device.

        Pixels are sent there as bytes, four times fewer than as numbers, and are converted and
        augmented there. Classes and indices stay on the CPU.
        """
        moved = copy(self)
        moved.device = device
        return moved

    def class_names(self, split: Split) -> tuple[str, ...]:
        """Return the names of a split's classes: class id k is the k-th of them."""
        return self._splits[split].names

    def sample(self, split: Split, seed: int, indices: np.ndarray | range) -> Episodes:
        """Draw the episodes with these indices, as a batch."""
        index = index_array(indices)
        key = episode_key(self.name, split, seed)
        images = self._splits[split]
        per_class = self.shots + self.query_shots
        classes, picks = draw_classes(key, index, images.counts, self.outputs, per_class)
        rows = images.first[classes][:, :, None] + picks
        pixels = images.gather(support_first(rows, self.shots)).to(self.device)
        inputs = pixels.to(torch.float32).div_(255)
        if split == "train" and self._augmentation:
            key = stream_key(f"{self.name}/augmentation", split, seed)
            draws = uniforms(key, index, DRAWS * self.outputs * per_class)
            draws = draws.reshape(*rows.shape, DRAWS)
            turns = images.turns[classes][:, :, None].repeat(per_class, axis=2)
            inputs = augment(
                inputs,
                self._augmentation,
                support_first(draws, self.shots),
                support_first(turns, self.shots),
            )
        return episodes_of(inputs, classes, index, self.shots, self.query_shots)


def support_first(values: np.ndarray, shots: int) -> np.ndarray:
    """Put what belongs to the support examples of all episodes before what belongs to the queries.

    values: (T, ways, shots + query_shots, ...).
    Returns (T * ways * (shots + query_shots), ...). Images gathered in this order are parted into
    support and query without a copy, which would cost as much as to gather them.
    """
    parts = values[:, :, :shots], values[:, :, shots:]
    return np.concatenate([part.reshape(-1, *values.shape[3:]) for part in parts])


def episodes_of(
    inputs: Tensor, classes: np.ndarray, index: np.ndarray, shots: int, query_shots: int
) -> Episodes:
    """Part images into support and query.

    inputs: (T * ways * (shots + query_shots), channels, height, width) in the order of
        `support_first`, on any device.
    classes: (T, ways) int64. index: (T,) int64.
    """
    episodes, ways = classes.shape
    labels = torch.arange(ways, device=inputs.device)

    def examples(images: Tensor, k: int) -> Examples:
        return Examples(
            images.view(episodes, ways * k, *images.shape[1:]),
            labels.repeat_interleave(k).repeat(episodes, 1),
        )

    queries_from = classes.size * shots
    return Episodes(
        support=examples(inputs[:queries_from], shots),
        query=examples(inputs[queries_from:], query_shots),
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


def check_asked(
    name: str,
    classes: Mapping[Split, Sequence[str]],
    images: int,
    wanted: Wanted,
    which: str = "a class",
) -> None:
    """Raise DataError, before anything is downloaded, for more than a published data set has.

    images: of `which`, the class that has the fewest.
    """
    check_ways(name, {split: len(names) for split, names in classes.items()}, wanted)
    check_images_per_class(name, images, wanted, which)


def check_ways(name: str, classes: Mapping[Split, int], wanted: Wanted) -> None:
    """Raise DataError when episodes ask for more classes than a split has."""
    split, count = min(classes.items(), key=lambda each: each[1])
    if wanted.ways > count:
        each = ", ".join(f"{split} {count}" for split, count in classes.items())
        most = f"ways may be at most {count}" if count >= LEAST_WAYS else "it takes more classes"
        raise DataError(
            f"ways {wanted.ways} is more than the {count} classes of {split} in {name}, and each "
            f"split needs as many of its own ({each}): {most}"
        )


def check_images_per_class(name: str, least: int, wanted: Wanted, which: str = "a class") -> None:
    """Raise DataError when episodes ask for more images of a class than there are."""
    shots, query_shots = wanted.shots, wanted.query_shots
    if shots + query_shots > least:
        raise DataError(
            f"{name} has {least} images of {which}; shots {shots} + query_shots {query_shots} = "
            f"{shots + query_shots} asks for more: shots + query_shots may be at most {least}"
        )
