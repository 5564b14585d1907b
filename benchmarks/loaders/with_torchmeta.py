"""Torchmeta (Deleu et al. 2019, arXiv:1909.06576) and its BatchMetaDataLoader, with 4 workers.

The path of a checkout of its source comes in TORCHMETA_SOURCE; without it an installed Torchmeta is
used. It was written for torch below 1.10. What it needs to run with the current one is set below,
and none of it is on the path that is measured.
"""

from __future__ import annotations

import io
import json
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision.datasets.utils
from torch import Tensor

from benchmarks.loaders.work import BATCH, QUERY_SHOTS, SHOTS, WAYS, Source, Work

VARIABLE = "TORCHMETA_SOURCE"
WORKERS = 4


def _import() -> Any:
    source = os.environ.get(VARIABLE)
    if source:
        if not (Path(source) / "torchmeta" / "__init__.py").is_file():
            raise ImportError(f"no torchmeta/__init__.py in {source}")
        sys.path.insert(0, source)
    # Torchmeta imports two functions for downloads that torchvision no longer has. Nothing is
    # downloaded here.
    for name in ("_get_confirm_token", "_save_response_content"):
        if not hasattr(torchvision.datasets.utils, name):
            setattr(torchvision.datasets.utils, name, None)
    import torchmeta
    from torchmeta.utils.data.task import SubsetTask

    # torch refuses a Subset with a __getitem__ of its own, but no __getitems__. Torchmeta's loader
    # asks for one item at a time, and so never calls this.
    if "__getitems__" not in vars(SubsetTask):
        SubsetTask.__getitems__ = lambda self, indices: [self[i] for i in indices]
    return torchmeta


torchmeta = _import()
VERSIONS = {"torchmeta": torchmeta.__version__}


def shipped(work: Work, folder: Path) -> Source:
    """As its helpers make the data set: an HDF5 file, an image at a time by way of Pillow."""
    name = work.name.replace("-", "")
    root = folder / "torchmeta"
    if work.name == "omniglot":
        _write_omniglot(root / name)
    else:
        _write_mini_imagenet(work, folder, root / name)
    helper = getattr(torchmeta.datasets.helpers, name)
    return _source(
        helper(str(root), shots=SHOTS, ways=WAYS, test_shots=QUERY_SHOTS, meta_train=True, seed=0)
    )


def memory(work: Work, folder: Path) -> Source:
    """Its loader over tensors that were scaled and rotated beforehand: nothing left but to draw."""
    from torchmeta.transforms import Categorical, ClassSplitter
    from torchmeta.utils.data import ClassDataset, CombinationMetaDataset, Dataset

    images = torch.from_numpy(work.floats(folder))

    class OneClass(Dataset):
        def __init__(self, index: int, target_transform: Any):
            super().__init__(index, target_transform=target_transform)
            self.images = images[index]

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return self.images[index], self.target_transform(self.index)

    class Classes(ClassDataset):
        num_classes = work.classes

        def __getitem__(self, index: int) -> OneClass:
            return OneClass(index, self.get_target_transform(index))

    tasks = CombinationMetaDataset(
        Classes(meta_train=True), WAYS, target_transform=Categorical(WAYS)
    )
    return _source(ClassSplitter(tasks, num_train_per_class=SHOTS, num_test_per_class=QUERY_SHOTS))


def _source(dataset: Any) -> Source:
    from torchmeta.utils.data import BatchMetaDataLoader

    # That the number of tasks is beyond the integers: it is only asked for their number's sake.
    warnings.simplefilter("ignore", UserWarning)
    loader = BatchMetaDataLoader(dataset, batch_size=BATCH, num_workers=WORKERS)

    def batches() -> Iterator[Any]:
        while True:
            yield from loader

    def images(batch: Any) -> list[tuple[Tensor, Tensor]]:
        return [tuple(batch[part]) for part in ("train", "test")]

    return Source(batches(), images, ahead=WORKERS * loader.prefetch_factor)


def _write_mini_imagenet(work: Work, folder: Path, root: Path) -> None:
    """Write the file that Torchmeta makes of the archive: an array (images, 84, 84, 3) a class."""
    import h5py

    labels = root / "train_labels.json"
    if labels.exists():
        return
    root.mkdir(parents=True, exist_ok=True)
    pixels = np.load(work.bytes_file(folder), mmap_mode="r")
    names = [f"n{number:08d}" for number in range(work.classes)]
    with h5py.File(root / "train_data.hdf5", "w") as file:
        group = file.create_group("datasets")
        for name, images in zip(names, pixels, strict=True):
            group.create_dataset(name, data=images.transpose(0, 2, 3, 1))
    labels.write_text(json.dumps(names))


def _write_omniglot(root: Path) -> None:
    """Write the file that Torchmeta makes of the archives: an array (20, 105, 105) a character."""
    import h5py
    from PIL import Image, ImageOps

    from episodes.archives import OpenArchive, obtain
    from episodes.class_splits import read_class_split
    from episodes.omniglot_images import ARCHIVES

    labels = root / "vinyals_train_labels.json"
    if labels.exists():
        return
    root.mkdir(parents=True, exist_ok=True)
    wanted = {
        f"{alphabet}/character{number:02d}"
        for alphabet, number in read_class_split("omniglot", "vinyals").characters["train"]
    }
    drawings: dict[str, list[np.ndarray]] = {}
    for archive in ARCHIVES:
        with OpenArchive(archive, obtain(archive, os.environ.get("METASWEEP_DATA"))) as opened:
            for member in opened.members():
                character, _, file = member.filename.rpartition("/")
                if file.endswith(".png") and character.partition("/")[2] in wanted:
                    with Image.open(io.BytesIO(opened.read(member))) as image:
                        drawing = np.asarray(ImageOps.invert(image.convert("L")))
                    drawings.setdefault(character, []).append(drawing)
    with h5py.File(root / "data.hdf5", "w") as file:
        for character, arrays in drawings.items():
            file.create_dataset(character, data=np.stack(arrays))
    labels.write_text(json.dumps(sorted(character.split("/") for character in drawings)))
