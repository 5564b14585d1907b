"""Small made-up images, encoded as those of real data sets are."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """Encode (height, width, 3) uint8, or (height, width)."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def image_of(number: int, i: int, height: int, width: int) -> np.ndarray:
    """An image that tells its class, in red, and its number in the class, in green."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0], pixels[..., 1] = number, i
    return pixels


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    """Write a tar archive of these files."""
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path
