"""Few-shot episodes of segmentation: mark one class in a few images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from episodes.augmentation import flip_left_right
from episodes.class_images import Wanted, check_disjoint, check_images_per_class, draw_classes
from episodes.counter_rng import stream_key, uniforms
from episodes.digest import json_digest
from episodes.episode import (
    IGNORED,
    SPLITS,
    Episodes,
    Examples,
    Kind,
    Split,
    episode_key,
    index_array,
)
from episodes.errors import DataError
from episodes.iou import MASK_MEASURES, mask_measures
from episodes.labelled_images import LABELS, VOID, LabelledImages

LEAST_SHARE = 0.01
"""An image shows a class where at least this share of its pixels has its label: a person of a few
pixels far away is nothing to learn from."""


@dataclass(frozen=True)
class ClassMasks:
    """The K classes of one split, and the images that show them.

    names: of the classes; class id k is `names[k]`.
    labels: (K,) int64, the label of each class's pixels.
    rows: (n,) int64 of each class, the rows of its images. One image may show several classes.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    rows: tuple[np.ndarray, ...]


class MaskEpisodes:
    """Episodes over the classes of three splits that share none, nor any image.

    An episode is one class, and `shots` + `query_shots` different images that show it.
    inputs: (T, N, 3, height, width) float32 in [0, 1].
    targets: (T, N, height, width) int64: 1 where the class is, 0 elsewhere, IGNORED where the
        label is VOID.
    classes: (T, 1), ids that count the names of a split's classes.
    """

    kind: Kind = "segmentation"
    measures = MASK_MEASURES

    def __init__(
        self,
        name: str,
        images: LabelledImages,
        splits: Mapping[Split, ClassMasks],
        digest: str,
        shots: int,
        query_shots: int,
        flip: bool = False,
    ) -> None:
        """Raise DataError when two splits share a class or an image, or a class has too few.

        digest: of the images and of the class split.
        flip: whether half of the images of meta-train are mirrored with their masks.
        """
        check_disjoint(name, {split: masks.names for split, masks in splits.items()})
        _check_rows_disjoint(name, splits)
        for masks in splits.values():
            for of_class, rows in zip(masks.names, masks.rows, strict=True):
                asked = Wanted(1, shots, query_shots)
                check_images_per_class(name, len(rows), asked, f"class {of_class!r}")
        self.name = name
        height, width = images.pixels.shape[2:]
        self.input_shape: tuple[int, ...] = (LABELS, height, width)
        self.outputs = 2
        self.train_classes: int | None = None
        self.shots = shots
        self.query_shots = query_shots
        # What meta-train is made of belongs to the data, so that it makes another problem.
        self.digest = json_digest([digest, {"flip": True}]) if flip else digest
        self.device = torch.device("cpu")
        self._pixels = images.pixels
        self._flip = flip
        self._splits = splits

    def sampling_on(self, device: torch.device) -> MaskEpisodes:
        """Return the same episodes with their examples on a device, sent there as bytes."""
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
        masks = self._splits[split]
        counts = np.array([len(rows) for rows in masks.rows], dtype=np.int64)
        first = np.cumsum(counts) - counts
        each = self.shots + self.query_shots
        classes, picks = draw_classes(key, index, counts, 1, each)
        rows = np.concatenate(masks.rows)[(first[classes][:, :, None] + picks).reshape(-1)]
        drawn = torch.from_numpy(np.asarray(self._pixels.take(rows, axis=0))).to(self.device)
        if split == "train" and self._flip:
            key = stream_key(f"{self.name}/augmentation", split, seed)
            draws = torch.from_numpy(uniforms(key, index, each).reshape(-1)).float()
            # Image and mask are channels of one array: they are mirrored together.
            drawn = flip_left_right(drawn, draws.to(self.device))
        drawn = drawn.view(len(index), each, *drawn.shape[1:])
        wanted = torch.from_numpy(masks.labels[classes[:, 0]]).to(self.device)
        inputs, targets = _examples(drawn, wanted)
        return Episodes(
            support=Examples(inputs[:, : self.shots], targets[:, : self.shots]),
            query=Examples(inputs[:, self.shots :], targets[:, self.shots :]),
            classes=torch.from_numpy(classes),
            index=torch.from_numpy(index),
        )

    def measure(self, predict: Callable[[Tensor], Tensor], query: Examples) -> dict[str, Tensor]:
        """Judge T adapted networks; see `episodes.iou.mask_measures`."""
        return mask_measures(predict(query.inputs), query.targets)


def _examples(drawn: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return inputs and targets of (T, N, 4, height, width) bytes and the (T,) labels wanted."""
    inputs = drawn[:, :, :LABELS].to(torch.float32).div_(255)
    labels = drawn[:, :, LABELS]
    targets = (labels == wanted[:, None, None, None]).long()
    return inputs, targets.masked_fill_(labels == VOID, IGNORED)


def classes_of(
    images: LabelledImages, labels: Mapping[str, int], among: np.ndarray, least: float = LEAST_SHARE
) -> ClassMasks:
    """Return classes with the images of `among`, (n,) int64 rows, that show them.

    labels: of the classes, by name, in the order of their ids.
    least: share of an image's pixels that has to have a label for the image to show it.
    """
    rows = [images.rows_with(label, least) for label in labels.values()]
    return ClassMasks(
        tuple(labels),
        np.array(list(labels.values()), dtype=np.int64),
        tuple(of_class[np.isin(of_class, among)] for of_class in rows),
    )


def mask_arguments(
    *, shots: int, query_shots: int, options: Mapping[str, Any], **_: object
) -> dict[str, Any]:
    """Read what `MaskEpisodes` is told of the arguments that a loader is called with."""
    return {"shots": shots, "query_shots": query_shots, "flip": options["flip"]}


def _check_rows_disjoint(name: str, splits: Mapping[Split, ClassMasks]) -> None:
    for one, other in combinations(SPLITS, 2):
        shared = np.intersect1d(
            np.concatenate(splits[one].rows), np.concatenate(splits[other].rows)
        )
        if len(shared):
            raise DataError(
                f"{name}: {len(shared)} images are in both {one} and {other}; meta-learning is "
                "judged on new images of new classes"
            )
