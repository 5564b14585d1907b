"""Decoding images of the usual formats to arrays of one size."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "BMP", "PPM", "WEBP", "TIFF")
MOST_PIXELS = 1 << 26
UNBOUNDED = {"I": "32-bit integers", "F": "32-bit floating point"}
"""Pillow's modes of pixels of which nobody knows what is white."""

LABEL_MODES = ("L", "P")
"""As Pillow calls images of one byte a pixel: grey, or a place in a palette."""

Fit = Literal["exact", "stretch", "crop"]
"""How an image comes to its size: it must have it, is resized to it whatever its proportions, or
is resized to cover it, keeping them, and cut at its middle."""


class ImageError(ValueError):
    """Bytes that are no image, or no image of the size that is wanted."""


def decode_image(content: bytes, shape: tuple[int, int, int], fit: Fit) -> np.ndarray:
    """Decode an image to (channels, height, width) uint8; resizing uses a Lanczos filter.

    Pixels of 16 bits become the nearest of 8: 65535 is white. What is transparent is put on white:
    most drawings without a ground of their own are black, and would vanish on black.
    shape: channels (1 for grey, 3 for red, green and blue), height and width.
    Raises ImageError, saying what is wrong.
    """
    from PIL import Image, ImageOps

    channels, height, width = shape
    size = (width, height)
    with _opened(content) as image:
        if fit == "exact" and image.size != size:
            raise ImageError(f"is {image.width} x {image.height}, not {width} x {height} pixels")
        plain = _on_white(image).convert("RGB" if channels == 3 else "L")
    if fit == "crop":
        plain = ImageOps.fit(plain, size, Image.Resampling.LANCZOS)
    elif plain.size != size:
        plain = plain.resize(size, Image.Resampling.LANCZOS)
    pixels = np.asarray(plain).reshape(height, width, channels)
    return pixels.transpose(2, 0, 1)


def size_of(content: bytes) -> tuple[int, int]:
    """Return the height and width that an image says it has. Raises ImageError."""
    with _opened(content) as image:
        return image.height, image.width


@dataclass(frozen=True)
class Form:
    """What an image says of itself before it is decoded.

    has_16_bits: whether it is of one channel of 16 bits.
    has_transparency: whether it says how opaque its pixels are, though all may be so entirely.
    """

    height: int
    width: int
    has_16_bits: bool
    has_transparency: bool


def form_of(content: bytes) -> Form:
    """Return what an image says of itself. Raises ImageError."""
    with _opened(content) as image:
        return Form(image.height, image.width, _has_16_bits(image), _has_transparency(image))


def decode_labels(content: bytes) -> np.ndarray:
    """Decode a mask whose values, grey or places in a palette, are labels: (height, width) uint8.

    Raises ImageError for what is no image, or one of colours.
    """
    with _opened(content) as image:
        if image.mode not in LABEL_MODES:
            raise ImageError(f"is no mask: {image.mode} in place of one byte a pixel")
        return np.array(image, dtype=np.uint8)


def decode_grey(content: bytes) -> np.ndarray:
    """Decode any image to its brightness, (height, width) uint8. Raises ImageError."""
    with _opened(content) as image:
        return np.array(_plain(image).convert("L"))


def resize_labels(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bring (h, w) uint8 labels to another size: each pixel takes the nearest one's label."""
    from PIL import Image

    if labels.shape == (height, width):
        return labels
    return np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))


def _has_16_bits(image: Image.Image) -> bool:
    # Pillow reads a PGM of more than 255 levels as 32-bit integers, from 0 to 65535.
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")


def _has_transparency(image: Image.Image) -> bool:
    if "transparency" in image.info or image.mode.upper().endswith("A"):
        return True
    return image.palette is not None and image.palette.mode.endswith("A")


def _on_white(image: Image.Image) -> Image.Image:
    """Return an image of 8 bits a channel without transparency."""
    from PIL import Image

    plain = _plain(image)
    if not _has_transparency(image):
        return plain
    if _has_16_bits(image):
        # Of these, one level is transparent; other levels may become the same 8 bits.
        seen = np.asarray(image) != image.info["transparency"]
        return Image.fromarray(np.where(seen, np.asarray(plain), np.uint8(255)))
    above = plain.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)


def _plain(image: Image.Image) -> Image.Image:
    """Return an image of 8 bits a channel. Pillow's own conversion cuts all else off at 255."""
    from PIL import Image

    if _has_16_bits(image):
        # 65535 = 255 * 257: half of 257 rounds to the nearest.
        levels = (np.asarray(image).astype(np.int32) + 128) // 257
        return Image.fromarray(levels.astype(np.uint8))
    if image.mode in UNBOUNDED:
        raise ImageError(
            f"has pixels of {UNBOUNDED[image.mode]}, whose range is not known: save it with 8 or "
            "16 bits, white being the largest value"
        )
    return image


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    """Open an image; what goes wrong until its end, decoding included, is an ImageError."""
    from PIL import Image

    try:
        with (
            # Pillow only warns of most images that are too large to hold; below, all of them end.
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(content), formats=FORMATS) as image,
        ):
            # Until it is converted nothing is decoded: an image only says how large it is.
            if image.width * image.height > MOST_PIXELS:
                raise ImageError(f"is {image.width} x {image.height} pixels, which is too large")
            # A PNG may have a text of this name, which Pillow would take for a level or colour.
            if isinstance(image.info.get("transparency"), str):
                del image.info["transparency"]
            yield image
    except ImageError:
        raise
    except Image.UnidentifiedImageError as error:  # Its text names an object in memory.
        raise ImageError("is not an image of a known format") from error
    # SyntaxError: a broken PNG; ValueError: text in it that would take much memory.
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise ImageError(f"is not an image ({error})") from error
