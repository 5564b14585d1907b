"""Small made-up images with labels, as arrays and as files."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from episodes.labelled_images import LabelledImages


def labelled(labels: np.ndarray, digest: str = "made up") -> LabelledImages:
    """Return images whose red is their number and whose green is 10 times their labels.

    labels: (M, height, width) uint8.
    """
    count, height, width = labels.shape
    pixels = np.zeros((count, 4, height, width), dtype=np.uint8)
    pixels[:, 0] = np.arange(count)[:, None, None]
    pixels[:, 1] = 10 * (labels % 25)
    pixels[:, 3] = labels
    counts = [
        dict(zip(*(found.tolist() for found in np.unique(one, return_counts=True)), strict=True))
        for one in labels
    ]
    return LabelledImages(pixels, counts, digest, {})


def png(labels: np.ndarray, palette: bool = False) -> bytes:
    """Encode (height, width) uint8 labels, in grey or as places in a palette."""
    image = Image.fromarray(labels)
    if palette:
        image = Image.frombytes("P", (labels.shape[1], labels.shape[0]), labels.tobytes())
        image.putpalette([value for k in range(256) for value in (k // 2, 255 - k, k)])
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
