"""The files of labels of SBD (Hariharan et al. 2011), in level 5 of MATLAB's format.

Only what they need is read: a structure `GTcls` with a field `Segmentation`, a matrix of bytes, by
the format's published description ("MAT-File Format", The MathWorks). scipy's reader ends the whole
process on some damaged files, and archives are not trusted here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from episodes.pictures import ImageError

VARIABLE, FIELD = "GTcls", "Segmentation"
MOST_UNPACKED = 1 << 26
"""Bytes of a file's contents; SBD's have less than a million."""

HEADER, LITTLE_ENDIAN = 128, b"IM"
INT8, UINT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 2, 5, 6, 14, 15
OF_STRUCTURE, OF_BYTES = 2, 9
"""Classes of a matrix."""


def read_labels(content: bytes) -> np.ndarray:
    """Return the labels of the pixels, (height, width) uint8.

    Raises ImageError for what is no such file.
    """
    try:
        return _labels(content)
    except (_FormatError, struct.error, zlib.error, UnicodeDecodeError) as error:
        raise ImageError(
            f"has no labels {VARIABLE}.{FIELD} in MATLAB's format ({error})"
        ) from error


class _FormatError(ValueError):
    """Bytes that are not what the format wants where they are."""


def _labels(content: bytes) -> np.ndarray:
    if content[HEADER - 2 : HEADER] != LITTLE_ENDIAN:
        raise _FormatError("no header of a file of level 5")
    for kind, value in _elements(content[HEADER:]):
        if kind == COMPRESSED:
            unpacked = zlib.decompressobj().decompress(value, MOST_UNPACKED)
            kind, value = next(_elements(unpacked), (0, b""))
        if kind == MATRIX:
            parts = _elements(value)
            of_class, _, name = _matrix(parts)
            if name == VARIABLE:
                if of_class != OF_STRUCTURE:
                    raise _FormatError(f"{VARIABLE} is no structure")
                return _field(parts)
    raise _FormatError(f"no variable {VARIABLE}")


def _field(parts: Iterator[tuple[int, bytes]]) -> np.ndarray:
    """Return the wanted field of a structure, from what follows on its name."""
    (length,) = struct.unpack("<i", _next(parts, INT32))
    names = _next(parts, INT8)
    if length < 1 or len(names) % length:
        raise _FormatError("names of fields that have no length")
    for first in range(0, len(names), length):
        inner = _elements(_next(parts, MATRIX))
        if names[first : first + length].split(b"\0")[0].decode() == FIELD:
            of_class, shape, _ = _matrix(inner)
            values = _next(inner, UINT8) if of_class == OF_BYTES else b""
            if len(shape) != 2 or min(shape) < 1 or len(values) != shape[0] * shape[1]:
                raise _FormatError(f"{FIELD} is no matrix of bytes")
            # Column by column.
            return np.frombuffer(values, np.uint8).reshape(shape[::-1]).T.copy()
    raise _FormatError(f"no field {FIELD}")


def _matrix(parts: Iterator[tuple[int, bytes]]) -> tuple[int, tuple[int, ...], str]:
    """Return the class, shape and name that a matrix begins with."""
    flags = _next(parts, UINT32)
    shape = _next(parts, INT32)
    if len(flags) != 8 or len(shape) % 4:
        raise _FormatError("a matrix without a class or a shape")
    return flags[0], struct.unpack(f"<{len(shape) // 4}i", shape), _next(parts, INT8).decode()


def _next(parts: Iterator[tuple[int, bytes]], wanted: int) -> bytes:
    kind, value = next(parts, (0, b""))
    if kind != wanted:
        raise _FormatError(f"an element of type {kind} in place of {wanted}")
    return value


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the bytes of each element, one after the other."""
    at = 0
    while at < len(content):
        kind, size = struct.unpack_from("<II", content, at)
        first, after = at + 8, at + 8 + size
        if kind >> 16:  # A small one, in the place of its own size.
            kind, size = kind & 0xFFFF, kind >> 16
            first, after = at + 4, at + 8
        if size > after - first or after > len(content):
            raise _FormatError("cut short")
        yield kind, content[first : first + size]
        at = after if kind == COMPRESSED else after + -after % 8
