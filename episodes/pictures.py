"""Decoding images of the usual formats to arrays of one size."""

from __future__ import annotations

import io
import struct
import warnings
from typing import Literal

import numpy as np

FORMATS = ("PNG", "JPEG", "BMP", "PPM", "WEBP", "TIFF")
MOST_PIXELS = 1 << 26

Fit = Literal["exact", "stretch", "crop"]
"""How an image comes to its size: it must have it, is resized to it whatever its proportions, or
is resized to cover it, keeping them, and cut at its middle."""


class ImageError(ValueError):
    """Bytes that are no image, or no image of the size that is wanted."""


def decode_image(content: bytes, shape: tuple[int, int, int], fit: Fit) -> np.ndarray:
    """Decode an image to (channels, height, width) uint8; resizing uses a Lanczos filter.

    shape: channels (1 for grey, 3 for red, green and blue), height and width.
    Raises ImageError, saying what is wrong.
    """
    from PIL import Image, ImageOps

    channels, height, width = shape
    size = (width, height)
    try:
        with (
            # Pillow only warns of most images that are too large to hold; below, all of them end.
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(content), formats=FORMATS) as image,
        ):
            # Until it is converted nothing is decoded: an image only says how large it is.
            if image.width * image.height > MOST_PIXELS:
                raise ImageError(f"is {image.width} x {image.height} pixels, which is too large")
            if fit == "exact" and image.size != size:
                raise ImageError(
                    f"is {image.width} x {image.height}, not {width} x {height} pixels"
                )
            plain = image.convert("RGB" if channels == 3 else "L")
    except ImageError:
        raise
    except Image.UnidentifiedImageError as error:  # Its text names an object in memory.
        raise ImageError("is not an image of a known format") from error
    # SyntaxError: a broken PNG; ValueError: text in it that would take much memory.
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise ImageError(f"is not an image ({error})") from error
    if fit == "crop":
        plain = ImageOps.fit(plain, size, Image.Resampling.LANCZOS)
    elif plain.size != size:
        plain = plain.resize(size, Image.Resampling.LANCZOS)
    pixels = np.asarray(plain).reshape(height, width, channels)
    return pixels.transpose(2, 0, 1)
