from __future__ import annotations

import contextlib
import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

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
    assert form_of(content) == Form(20, 30, True, False)
    assert form_of(encoded()) == Form(20, 30, False, False)


def drawing(mode: str, kind: str = "PNG", **settings) -> bytes:
    """Encode 30 x 20 pixels: nothing on the left; on the right black, or as near as may be."""
    pixels = np.zeros((20, 30, 4), dtype=np.uint8)
    pixels[:, 15:] = 0, 0, 0, 255
    image = Image.fromarray(pixels)
    if "transparency" in settings:
        levels = (pixels[..., 3] // 255).astype(np.uint16 if mode == "I;16" else np.uint8)
        image = Image.fromarray(levels).convert(mode)
    stream = io.BytesIO()
    image.convert(mode).save(stream, kind, **settings)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        drawing("RGBA"),
        drawing("LA"),
        drawing("RGBA", "WEBP", lossless=True),
        drawing("RGBA", "TIFF"),
        drawing("P", transparency=0),
        drawing("P", transparency=b"\x00\xff"),
        drawing("L", transparency=0),
        drawing("RGB", transparency=(0, 0, 0)),
        drawing("I;16", transparency=0),
    ],
    ids=["rgba", "la", "webp", "tiff", "p", "p-alphas", "l", "rgb", "16-bit"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_ground_is_white(content, channels):
    decoded = decode_image(content, (channels, 20, 30), "exact")
    assert (decoded[:, :, :15] == 255).all()
    assert (decoded[:, :, 15:] <= 1).all()
    assert form_of(content).has_transparency


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_a_text_of_that_name_is_no_transparency(mode):
    texts = PngInfo()
    texts.add_text("transparency", "none")
    stream = io.BytesIO()
    Image.new(mode, (30, 20)).save(stream, "PNG", pnginfo=texts)
    content = stream.getvalue()
    expected = 255 if mode == "RGBA" else 0
    assert (decode_image(content, (3, 20, 30), "exact") == expected).all()
    assert form_of(content).has_transparency == (mode == "RGBA")


def test_what_is_half_transparent_is_half_white_and_what_is_opaque_as_it_was():
    pixels = np.dstack([PIXELS, np.full((20, 30), 255, dtype=np.uint8)])
    opaque = decode_image(encoded(pixels), (3, 20, 30), "exact")
    np.testing.assert_array_equal(opaque, PIXELS.transpose(2, 0, 1))
    pixels[:] = 0, 0, 0, 128
    assert (decode_image(encoded(pixels), (1, 20, 30), "exact") == 127).all()


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
