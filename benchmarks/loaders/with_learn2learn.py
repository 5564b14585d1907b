"""learn2learn (Arnold et al. 2020, arXiv:2008.12284) and its sets of tasks.

The path of a checkout comes in LEARN2LEARN_SOURCE; without it an installed learn2learn is used. Its
data package is Cython, which is to be built in the checkout (see `benchmarks.episodes`), so that
it is as fast as it can be. The packages on the way to it are entered without running their
`__init__`, which would import everything else.

A task is counted as it comes, in one piece: neither parted into support and query nor stacked into
a meta-batch, for which the library has functions that cost more time.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from benchmarks.loaders.work import BATCH, QUERY_SHOTS, SHOTS, WAYS, Source, Work

VARIABLE = "LEARN2LEARN_SOURCE"
PACKAGES = ("learn2learn", "learn2learn.vision", "learn2learn.vision.datasets")
EXAMPLES = SHOTS + QUERY_SHOTS


def _enter(source: str) -> None:
    """Make packages importable whose `__init__` is not to run."""
    data = Path(source) / "learn2learn" / "data"
    if not (data / "task_dataset.pyx").is_file():
        raise ImportError(f"no learn2learn/data/task_dataset.pyx in {source}")
    if not any(data.glob("task_dataset.*.so")):
        raise ImportError(f"learn2learn/data in {source} is not built; see benchmarks.episodes")
    for name in PACKAGES:
        package = ModuleType(name)
        package.__path__ = [str(Path(source, *name.split(".")))]
        sys.modules[name] = package


if os.environ.get(VARIABLE):
    _enter(os.environ[VARIABLE])
importlib.import_module("learn2learn.utils")
data = importlib.import_module("learn2learn.data")
VERSIONS = {"learn2learn": importlib.import_module("learn2learn._version").__version__}


class Labelled(Dataset):
    """Images in memory, (N, *shape) floats, with a label for each."""

    def __init__(self, images: Tensor, labels: Sequence[int]):
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.labels[index]


def shipped(work: Work, folder: Path) -> Source:
    """As its `vision.benchmarks` make a data set and its tasks, with images decoded beforehand."""
    transforms = data.transforms
    if work.name == "omniglot":
        rotation = importlib.import_module("learn2learn.vision.transforms").RandomClassRotation
        # Every fourth class is upright.
        dataset = data.MetaDataset(_labelled(work.floats(folder)[::4]))
        drawn = [transforms.FusedNWaysKShots(dataset, n=WAYS, k=EXAMPLES)]
        last = [rotation(dataset, [0.0, 90.0, 180.0, 270.0])]
    else:
        kept = importlib.import_module("learn2learn.vision.datasets.mini_imagenet").MiniImagenet(
            root=str(folder / "mini-imagenet"), transform=lambda image: image / 255.0
        )
        kept.data = None  # the bytes, which nothing asks for any more
        dataset = data.MetaDataset(kept)
        drawn = [transforms.NWays(dataset, WAYS), transforms.KShots(dataset, EXAMPLES)]
        last = []
    return _source(dataset, [*drawn, *_loading(dataset), *last])


def memory(work: Work, folder: Path) -> Source:
    """Its tasks over tensors that were scaled and rotated beforehand, drawn by its fastest way."""
    dataset = data.MetaDataset(_labelled(work.floats(folder)))
    drawn = data.transforms.FusedNWaysKShots(dataset, n=WAYS, k=EXAMPLES)
    return _source(dataset, [drawn, *_loading(dataset)])


def _labelled(images: np.ndarray) -> Labelled:
    classes, each = images.shape[:2]
    flat = torch.from_numpy(images).flatten(0, 1)
    return Labelled(flat, np.arange(classes).repeat(each).tolist())


def _loading(dataset: Any) -> list[Any]:
    names = ("LoadData", "RemapLabels", "ConsecutiveLabels")
    return [getattr(data.transforms, name)(dataset) for name in names]


def _source(dataset: Any, transforms: list[Any]) -> Source:
    tasks = data.TaskDataset(dataset, transforms, num_tasks=-1)

    def batches() -> Iterator[list[tuple[Tensor, Tensor]]]:
        while True:
            yield [tasks.sample() for _ in range(BATCH)]

    def images(batch: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        inputs, labels = zip(*batch, strict=True)
        return [(torch.stack(inputs), torch.stack(labels))]

    return Source(batches(), images)
