from __future__ import annotations

import contextlib
import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from episodes.pictures import Form, ImageError, decode_grey, decode_image, form_of

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def encoded(pixels: np.ndarray = PIXELS, kind: str = "PNG", mode: str | None = None) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
def test_pixels_come_channels_first_and_unchanged(kind):
    decoded = decode_image(encoded(kind=kind), (3, 20, 30), "exact")
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, PIXELS.transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
@pytest.mark.parametrize("channels", [1, 3])
def test_other_colours_are_converted(mode, channels):
    decoded = decode_image(encoded(mode=mode), (channels, 20, 30), "exact")
    assert decoded.shape == (channels, 20, 30)


DEEP = np.arange(600, dtype=np.uint16).reshape(20, 30) * 109 + 1


def big_endian_tiff(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(">u2")).save(stream, "TIFF")
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        *(encoded(DEEP, kind) for kind in ("PNG", "TIFF", "PPM")),
        big_endian_tiff(DEEP),
    ],
    ids=["png", "tiff", "pgm", "big-endian"],
)
def test_16_bits_become_the_nearest_of_8(content):
    expected = np.rint(DEEP / 257).astype(np.uint8)
    for channels in (1, 3):
        decoded = decode_image(content, (channels, 20, 30), "exact")
        np.testing.assert_array_equal(decoded, np.stack([expected] * channels))
    np.testing.assert_array_equal(decode_grey(content), expected)
    assert form_of(content) == Form(20, 30, True)
    assert form_of(encoded()) == Form(20, 30, False)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30), "32-bit floating point"),
        (DEEP.astype(np.int32), "32-bit integers"),
    ],
)
def test_pixels_without_a_known_range_are_refused(pixels, said):
    for decode in (decode_grey, lambda content: decode_image(content, (1, 20, 30), "crop")):
        with pytest.raises(ImageError, match=f"has pixels of {said}.*save it with 8 or 16 bits"):
            decode(encoded(pixels, "TIFF"))


def test_stretching_and_cropping():
    halves = np.zeros((20, 60, 3), dtype=np.uint8)
    halves[:, 20:40] = 255
    stretched = decode_image(encoded(halves), (1, 20, 20), "stretch")
    assert stretched.shape == (1, 20, 20)
    assert (stretched[0, :, 0] == 0).all()
    assert (decode_image(encoded(halves), (1, 20, 20), "crop") == 255).all()
    assert decode_image(encoded(halves), (3, 84, 84), "crop").shape == (3, 84, 84)


def huge_png() -> bytes:
    """A PNG that says it is 100,000 x 100,000 pixels."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + b""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an image of a known format$"),
        (b"text", "is not an image"),
        (encoded()[:200], "is not an image"),
        (encoded(kind="JPEG")[:-200], "is not an image"),
        (encoded(PIXELS[:10]), "is 30 x 10, not 30 x 20 pixels"),
        (huge_png(), "is"),
    ],
    ids=["empty", "text", "cut-png", "cut-jpeg", "size", "bomb"],
)
def test_what_is_no_image_is_said(content, message):
    with pytest.raises(ImageError, match=message):
        decode_image(content, (3, 20, 30), "exact")


def test_damage_anywhere_is_found_or_decoded():
    rng = random.Random(0)
    for kind in ("PNG", "JPEG", "WEBP"):
        content = encoded(kind=kind)
        for _ in range(100):
            damaged = bytearray(content)
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            with contextlib.suppress(ImageError):
                assert decode_image(bytes(damaged), (3, 20, 30), "stretch").shape == (3, 20, 30)
