"""Images with a label for each of their pixels, decoded once to one memory-mapped array."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from episodes.digest import json_digest
from episodes.packed import Packed
from episodes.pictures import ImageError, decode_image, form_of, resize_labels
from episodes.prepared import Allocate, prepared_with_notes

LABELS = 3
"""The channel that holds the labels, behind red, green and blue."""

VOID = 255
"""The label of pixels that belong to no class, nor to the background."""

# To be raised when the same files would be decoded to other values: the second for images with
# transparency alone, so that the digest of others stays what it was.
_DECODING = 1
_DECODING_TRANSPARENT = 1

Decode = Callable[[bytes], np.ndarray]
"""From a file to (height, width) uint8 labels; raises ImageError."""


@dataclass(frozen=True)
class Pairs:
    """Images and their masks, in one archive.

    files: name of the image and name of its mask, of each pair.
    decode: reads a mask.
    """

    packed: Packed
    files: Sequence[tuple[str, str]]
    decode: Decode


@dataclass(frozen=True)
class LabelledImages:
    """M images of one size.

    pixels: (M, 4, height, width) uint8, memory-mapped: red, green, blue, label.
    counts: of each image, how many of its pixels have which label.
    digest: of the files and of how they were brought to their size.
    notes: what else the builder noted.
    """

    pixels: np.ndarray
    counts: Sequence[Mapping[int, int]]
    digest: str
    notes: Mapping[str, Any]

    def rows_with(self, label: int, least: float) -> np.ndarray:
        """Return the images, (n,) int64, at least this share of whose pixels has a label.

        least: 0 for those with any pixel of it.
        """
        pixels = max(1, least * self.pixels.shape[2] * self.pixels.shape[3])
        fitting = [row for row, of in enumerate(self.counts) if of.get(label, 0) >= pixels]
        return np.array(fitting, dtype=np.int64)


def labelled_images(name: str, build: Callable[[Allocate], dict[str, Any]]) -> LabelledImages:
    """Return the images kept under this name; decode them first if that was not done before.

    name: must change with everything that the content depends on.
    build: fills an array as for `episodes.prepared.prepared_with_notes`, and returns at least
        what `fill_from_pairs` does.
    """
    pixels, notes = prepared_with_notes(f"{name}-masks{_DECODING}-{_DECODING_TRANSPARENT}", build)
    counts = [{int(label): count for label, count in of.items()} for of in notes["counts"]]
    return LabelledImages(pixels, counts, notes["digest"], notes)


def fill_from_pairs(
    parts: Sequence[Pairs], height: int, width: int, allocate: Allocate
) -> dict[str, Any]:
    """Decode pairs to rows, in the order given; images and masks are resized to one size.

    Images by a Lanczos filter, whatever their proportions; masks by the nearest pixel.
    Returns as notes "counts" and a "digest" of the files' contents, as `LabelledImages` has them.
    Raises DataError that names a file which is no image or no mask, or a mask of another size than
    its image.
    """
    array = allocate((sum(len(part.files) for part in parts), 4, height, width))
    digests = [["", ""] for _ in range(len(array))]
    transparent: list[int] = []
    first = 0
    for part in parts:
        transparent += _fill(part, array, first, digests)
        first += len(part.files)
    decoded: dict[str, Any] = {"decoding": _DECODING, "height": height, "width": width}
    if transparent:
        decoded["transparent"] = [_DECODING_TRANSPARENT, sorted(transparent)]
    counts = []
    for row in array[:, LABELS]:
        labels, each = np.unique(row, return_counts=True)
        counts.append(dict(zip(map(str, labels.tolist()), each.tolist(), strict=True)))
    return {"counts": counts, "digest": json_digest({**decoded, "files": digests})}


def _fill(part: Pairs, array: np.ndarray, first: int, digests: list[list[str]]) -> list[int]:
    """Decode one archive's pairs to the rows from `first` on.

    Returns the rows of images with transparency.
    """
    height, width = array.shape[2:]
    places: dict[str, tuple[int, int]] = {}
    for number, pair in enumerate(part.files):
        places |= {name: (number, which) for which, name in enumerate(pair)}
    sizes: dict[tuple[int, int], tuple[int, int]] = {}
    transparent = []
    for name, content in part.packed.read_each(places):
        number, which = places[name]
        row = first + number
        try:
            if which == 0:
                form = form_of(content)
                sizes[number, which] = form.height, form.width
                if form.has_transparency:
                    transparent.append(row)
                array[row, :LABELS] = decode_image(content, (LABELS, height, width), "stretch")
            else:
                labels = part.decode(content)
                sizes[number, which] = (labels.shape[0], labels.shape[1])
                array[row, LABELS] = resize_labels(labels, height, width)
        except ImageError as error:
            raise part.packed.damaged(f"{name} {error}") from error
        digests[row][which] = hashlib.sha256(content).hexdigest()
    for number, (image, mask) in enumerate(part.files):
        if sizes[number, 0] != sizes[number, 1]:
            (h, w), (mask_h, mask_w) = sizes[number, 0], sizes[number, 1]
            raise part.packed.damaged(
                f"{mask} is {mask_w} x {mask_h} pixels, its image {image} is {w} x {h}"
            )
    return transparent


def check_labels(labels: np.ndarray, most: int, void: bool) -> np.ndarray:
    """Return labels, (height, width) uint8, from 0 to `most`, and VOID where that is allowed.

    Raises ImageError that names another value.
    """
    wrong = labels > most
    if void:
        wrong &= labels != VOID
    if wrong.any():
        or_void = f" and {VOID}" if void else ""
        raise ImageError(
            f"has pixels of the label {int(labels[wrong].max())}; labels are 0 to {most}{or_void}"
        )
    return labels
