"""The handwritten digits of MNIST, from its four published files.

LeCun et al. 1998, "Gradient-based learning applied to document recognition",
doi:10.1109/5.726791: 70,000 digits, 28 x 28, grey.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from episodes.archives import Archive, Source, note_if_repacked, obtain
from episodes.digest import json_digest
from episodes.prepared import Allocate
from episodes.stored_images import StoredImages, stored_images

SIZE = 28
FILES = {
    "train-images-idx3-ubyte": (16, (60_000, SIZE, SIZE), "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": (8, (60_000,), "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": (16, (10_000, SIZE, SIZE), "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": (8, (10_000,), "27ae3e4e09519cfbb04c329615203637"),
}
"""Length of the header, shape of the uint8 values, and MD5 of each file when it is unpacked."""


def _source(file: str) -> Callable[[], Source]:
    def source() -> Source:
        from torchvision.datasets import MNIST

        return Source(f"{MNIST.mirrors[0]}{file}", dict(MNIST.resources)[file])

    return source


ARCHIVES = tuple(Archive("mnist", f"{name}.gz", _source(f"{name}.gz")) for name in FILES)


def load_digits(data: str | Path | None) -> StoredImages:
    """Return all digits as (70000, 1, 28, 28), 255 on a stroke; classes are "0" to "9".

    The digits of a class are in the order of the files, the 60,000 first.
    Raises DataError when a file is missing or is not the published one, however packed.
    """
    paths = [obtain(archive, data) for archive in ARCHIVES]
    # The content is known beforehand: no file has to be read to name it.
    digest = json_digest([md5 for *_, md5 in FILES.values()])
    return stored_images(f"mnist-{digest}", lambda allocate: _build(paths, digest, allocate))


def _build(paths: list[Path], digest: str, allocate: Allocate) -> dict[str, Any]:
    train, train_labels, test, test_labels = (
        _values(archive, path) for archive, path in zip(ARCHIVES, paths, strict=True)
    )
    labels = np.concatenate([train_labels, test_labels])
    array = allocate((len(labels), 1, SIZE, SIZE))
    array[:, 0] = np.concatenate([train, test])[np.argsort(labels, kind="stable")]
    counts = np.bincount(labels, minlength=10).tolist()
    return {"counts": {str(digit): n for digit, n in enumerate(counts)}, "digest": digest}


def _values(archive: Archive, path: Path) -> np.ndarray:
    header, shape, md5 = FILES[archive.file.removesuffix(".gz")]
    expected = header + int(np.prod(shape))
    try:
        with gzip.open(path) as file:
            # One byte more than there should be: only the end is held to its checksum.
            content = file.read(expected + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise archive.damaged(path, f"cut short, or not a gzip file ({error})") from error
    if hashlib.md5(content).hexdigest() != md5:
        raise archive.damaged(path, "unpacked, it is not the published file")
    note_if_repacked(archive, path)
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)
