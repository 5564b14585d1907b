"""Images of classes, decoded once to rows of one memory-mapped array."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from episodes.class_images import Gather, ImageEpisodes, StoredPixels, Wanted, class_images
from episodes.digest import json_digest
from episodes.episode import Split
from episodes.errors import DataError
from episodes.packed import Packed
from episodes.pictures import Fit, Form, ImageError, decode_image, form_of
from episodes.prepared import Allocate, prepared_with_notes

# To be raised when the same files would be decoded to other pixels: the first for all files, the
# others for images of 16 bits or with transparency alone, so that the digest of the rest stays
# what it was.
_DECODING = 1
_DECODING_16_BITS = 2
_DECODING_TRANSPARENT = 1


@dataclass(frozen=True)
class StoredImages:
    """The images of a data set, class by class.

    pixels: (images, channels, height, width) uint8, memory-mapped.
    counts: images of each class, in the order of their rows.
    notes: what else was noted when they were decoded; `notes["digest"]` tells their content.
    """

    pixels: np.ndarray
    counts: Mapping[str, int]
    notes: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width


@dataclass
class Sizes:
    """The sizes of images before they were brought to (height, width).

    smallest, largest: height and width of the image with the shortest and the longest shorter side.
    enlarged: how many had fewer pixels than that in either direction.
    """

    height: int
    width: int
    smallest: tuple[int, int] = (0, 0)
    largest: tuple[int, int] = (0, 0)
    enlarged: int = 0

    def add(self, form: Form) -> None:
        """Count an image."""
        size = form.height, form.width
        if self.smallest == (0, 0) or min(size) < min(self.smallest):
            self.smallest = size
        if min(size) > min(self.largest):
            self.largest = size
        self.enlarged += form.height < self.height or form.width < self.width


def stored_images(name: str, build: Callable[[Allocate], dict[str, Any]]) -> StoredImages:
    """Return the images kept under this name; decode them first if that was not done before.

    name: must change with everything that the content depends on.
    build: fills an array as for `episodes.prepared.prepared_with_notes`, and returns at least
        "counts" and "digest".
    """
    kept = f"{name}-images{_DECODING}-{_DECODING_16_BITS}-{_DECODING_TRANSPARENT}"
    pixels, notes = prepared_with_notes(kept, build)
    return StoredImages(pixels, notes["counts"], notes)


def fill_from_files(
    packed: Packed,
    classes: Mapping[str, Sequence[str]],
    shape: tuple[int, int, int],
    fit: Fit,
    allocate: Allocate,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Decode the image files of each class to rows, in the order given.

    Returns the array, and as notes the counts, "sizes" as `Sizes`, and a digest of the files'
    contents: not of the pixels, since decoders of JPEG may differ in the last bit.
    Raises DataError naming a file that is no image.
    """
    array = allocate((sum(map(len, classes.values())), *shape))
    rows = {
        name: row for row, name in enumerate(name for names in classes.values() for name in names)
    }
    digests = [""] * len(rows)
    deep: list[int] = []
    transparent: list[int] = []
    sizes = Sizes(*shape[1:])
    for name, content in packed.read_each(rows):
        try:
            array[rows[name]] = decode_image(content, shape, fit)
            form = form_of(content)
        except ImageError as error:
            raise packed.damaged(f"{name} {error}") from error
        sizes.add(form)
        if form.has_16_bits:
            deep.append(rows[name])
        if form.has_transparency:
            transparent.append(rows[name])
        digests[rows[name]] = hashlib.sha256(content).hexdigest()
    counts = {name: len(names) for name, names in classes.items()}
    decoded: dict[str, Any] = {"decoding": _DECODING, "shape": shape, "fit": fit}
    if deep:
        decoded["16 bits"] = [_DECODING_16_BITS, sorted(deep)]
    if transparent:
        decoded["transparent"] = [_DECODING_TRANSPARENT, sorted(transparent)]
    digest = json_digest({**decoded, "counts": counts, "files": digests})
    return array, {"counts": counts, "digest": digest, "sizes": asdict(sizes)}


def image_episodes(
    name: str,
    images: StoredImages,
    classes: Mapping[Split, Sequence[str]],
    classes_digest: str,
    wanted: Wanted,
    gather: Gather | None = None,
    images_digest: str | None = None,
) -> ImageEpisodes:
    """Return episodes of stored images with these classes of each split.

    classes_digest: of the class split.
    gather, images_digest: where rows are not those of the array, or the digest not the noted one.
    Raises DataError when the images lack a class, or there are too few for the episodes.
    """
    for split, of_split in classes.items():
        missing = sorted(set(of_split) - set(images.counts))
        if missing:
            raise DataError(
                f"{name}: {len(missing)} classes of {split} have no images, {missing[0]!r} first; "
                f"there are images of {len(images.counts)} classes"
            )
    names = list(images.counts)
    rows = gather or StoredPixels(images.pixels)
    splits = {
        split: class_images(names, images.counts, rows, of_split)
        for split, of_split in classes.items()
    }
    digest = json_digest([images_digest or images.notes["digest"], classes_digest])
    return ImageEpisodes(name, images.shape, splits, digest, wanted)
