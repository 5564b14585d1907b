"""FSS-1000: few-shot segmentation of 1,000 classes of objects, ten images each.

Li et al. 2020, "FSS-1000: a 1000-class dataset for few-shot segmentation", arXiv:1907.12347: 520
classes for meta-train, 240 for meta-validation, 240 for meta-test. The authors' repository lists
those of meta-test (shipped as `splits/fss-1000.json`) and does not say how the other 760 are
divided: here 240 of their sorted names are drawn for meta-validation, with a seed of 0, always the
same.

The archive, or the folder that it was unpacked to, holds `fewshot_data/CLASS/NUMBER.jpg` and
`fewshot_data/CLASS/NUMBER.png`. Masks are soft at their edges in places and have 1 or 255 as their
largest value: what is at least half of that is the class. Inputs are (T, N, 3, size, size) float32
in [0, 1].
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from episodes.archives import Archive, locate
from episodes.class_images import split_digest
from episodes.class_splits import SPLIT_FOLDER
from episodes.counter_rng import choose, stream_key, uniforms
from episodes.digest import json_digest
from episodes.episode import Split
from episodes.errors import DataError
from episodes.labelled_images import LabelledImages, Pairs, fill_from_pairs, labelled_images
from episodes.packed import Packed, open_packed, packed_digest
from episodes.pictures import ImageError, decode_grey
from episodes.prepared import Allocate
from episodes.segmentation import ClassMasks, MaskEpisodes, mask_arguments

TASK = "fss-1000"
CLASSES: dict[Split, int] = {"train": 520, "validation": 240, "test": 240}
CLASS = 1
"""The label of the pixels of an image's class."""

_FILE = re.compile(r"(?:[^/]+/)*([^/.][^/]*)/(\d+)\.(jpg|png)")

_ADVICE = "its authors link to it from https://github.com/HKUSTCV/FSS-1000"

ARCHIVE = Archive(
    "fss-1000",
    "fewshot_data.zip",
    None,
    most_packed=1 << 31,
    most_unpacked=1 << 31,
    instead=(Archive("fss-1000", "fewshot_data", None, advice=_ADVICE, loose=True),),
    advice=_ADVICE,
)


def archives() -> Sequence[Archive]:
    """Return the files that this task reads."""
    return (ARCHIVE,)


def load_fss1000(
    *, data: str | Path | None = None, options: Mapping[str, Any], **wanted: Any
) -> MaskEpisodes:
    """Open FSS-1000. Raises DataError when it is missing, damaged, incomplete or too small."""
    path = locate(ARCHIVE, data)[1]
    images = read_images(path, options["size"])
    names = split_classes(list(images.notes["classes"]), published_test_classes())
    splits = {split: masks_of(images, names[split]) for split in names}
    digest = json_digest([images.digest, split_digest(names)])
    return MaskEpisodes(TASK, images, splits, digest, **mask_arguments(options=options, **wanted))


def read_images(path: Path, size: int) -> LabelledImages:
    """Return the images of an archive or folder of this layout, class by class, decoded once.

    notes: "classes", how many images each has, in the order of the rows.
    Raises DataError naming what is damaged: a mask that marks nothing, an image without one.
    """
    return labelled_images(
        f"{TASK}-{size}-{packed_digest(path)}", lambda allocate: _build(path, size, allocate)
    )


def masks_of(images: LabelledImages, names: Sequence[str]) -> ClassMasks:
    """Return classes of `read_images`, in the order of their names."""
    counts: Mapping[str, int] = images.notes["classes"]
    ends = np.cumsum(list(counts.values()), dtype=np.int64)
    rows = {
        name: np.arange(end - count, end)
        for (name, count), end in zip(counts.items(), ends.tolist(), strict=True)
    }
    chosen = tuple(sorted(names))
    labels = np.full(len(chosen), CLASS, dtype=np.int64)
    return ClassMasks(chosen, labels, tuple(rows[name] for name in chosen))


def published_test_classes() -> list[str]:
    """Return the names that the authors list. Raises DataError when the list was changed."""
    path = SPLIT_FOLDER / f"{TASK}.json"
    content = json.loads(path.read_text())
    if json_digest(content["test"]) != content["digest"]:
        raise DataError(
            f"{path}: the class list was changed; restore the file by installing metasweep again"
        )
    return list(content["test"])


def split_classes(names: Sequence[str], test: Sequence[str]) -> dict[Split, list[str]]:
    """Divide the names of all classes. Raises DataError unless they are 1,000 with those of `test`.

    test: the published names of meta-test's.
    """
    expected = sum(CLASSES.values())
    missing = sorted(set(test) - set(names))
    if len(names) != expected or missing:
        lacking = f", without {missing[0]!r} and {len(missing) - 1} more" if missing else ""
        raise DataError(
            f"{TASK}: {len(names)} classes in {ARCHIVE.file}{lacking}; FSS-1000 has {expected}, "
            f"and is used whole"
        )
    rest = sorted(set(names) - set(test))
    key = stream_key(TASK, "split", 0)
    draws = uniforms(key, np.zeros(1, dtype=np.int64), CLASSES["validation"])
    drawn = {rest[k] for k in choose(draws, len(rest))[0].tolist()}
    return {
        "train": [name for name in rest if name not in drawn],
        "validation": sorted(drawn),
        "test": sorted(test),
    }


def _build(path: Path, size: int, allocate: Allocate) -> dict[str, Any]:
    with open_packed(ARCHIVE, path) as opened:
        classes = _find(opened)
        files = [pair for pairs in classes.values() for pair in pairs]
        notes = fill_from_pairs([Pairs(opened, files, _labels)], size, size, allocate)
    return notes | {"classes": {name: len(pairs) for name, pairs in classes.items()}}


def _find(opened: Packed) -> dict[str, list[tuple[str, str]]]:
    """Return the names of the images and masks of each class, sorted by class and number."""
    found: dict[str, dict[int, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for name in opened.names():
        if match := _FILE.fullmatch(name):
            found[match[1]][int(match[2])][match[3]] = name
    if not found:
        raise opened.damaged("no images of FSS-1000 in it, as fewshot_data/CLASS/1.jpg")
    classes = {}
    for of_class in sorted(found):
        pairs = found[of_class]
        for files in pairs.values():
            if len(files) < 2:
                (name,) = files.values()
                raise opened.damaged(f"{name} has no {'mask' if 'jpg' in files else 'image'}")
        classes[of_class] = [(pairs[n]["jpg"], pairs[n]["png"]) for n in sorted(pairs)]
    return classes


def _labels(content: bytes) -> np.ndarray:
    grey = decode_grey(content)
    most = int(grey.max())
    if not most:
        raise ImageError("marks no pixel of its class")
    return (2 * grey.astype(np.int64) >= most).astype(np.uint8)
