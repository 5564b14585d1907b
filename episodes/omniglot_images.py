"""The images of Omniglot, decoded from its two official archives.

Lake et al. 2015, "Human-level concept learning through probabilistic program induction",
doi:10.1126/science.aab3050: 1,623 characters of 50 alphabets, each drawn by 20 people.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from episodes.archives import Archive, OpenArchive, Source, obtain
from episodes.class_splits import Character
from episodes.digest import json_digest
from episodes.prepared import prepared

SIZE = 28
DRAWINGS = 20
ROTATIONS = 4

# To be raised when the same archives would be decoded to other pixels.
_DECODING = 1
_DRAWN_SIZE = (105, 105)
_CHARACTERS = {"images_background": 964, "images_evaluation": 659}

_Drawing = tuple[OpenArchive, zipfile.ZipInfo]


@dataclass(frozen=True)
class OmniglotImages:
    """Every drawing of every character in every rotation.

    pixels: (characters * 4 * 20, 784) uint8, memory-mapped, 255 on a stroke. The row of drawing d
        of character c, turned counter-clockwise by r * 90 degrees, is (c * 4 + r) * 20 + d.
    characters: c by alphabet and number, counted in sorted order.
    digest: of the archives' content, however packed, and of how it is decoded.
    """

    pixels: np.ndarray
    characters: Mapping[Character, int]
    digest: str


def load_images(data: str | Path | None) -> OmniglotImages:
    """Open the images, decoding them first if this content was not decoded here before.

    data: the folder that holds the archives, as for `episodes.archives.obtain`.
    Raises DataError when an archive is missing, damaged or incomplete.
    """
    drawings: dict[Character, list[_Drawing]] = {}
    with ExitStack() as stack:
        for archive in ARCHIVES:
            path = obtain(archive, data)
            drawings |= _drawings(stack.enter_context(OpenArchive(archive, path)))
        digest = _digest(drawings)
        pixels = prepared(f"omniglot-{SIZE}-{digest}", lambda: _decode(drawings))
    characters = {character: c for c, character in enumerate(sorted(drawings))}
    return OmniglotImages(pixels, characters, digest)


def _archive(name: str) -> Archive:
    def source() -> Source:
        from torchvision.datasets import Omniglot

        return Source(f"{Omniglot.download_url_prefix}/{name}.zip", Omniglot.zips_md5[name])

    return Archive("omniglot", f"{name}.zip", source)


ARCHIVES = tuple(_archive(name) for name in _CHARACTERS)


def _drawings(opened: OpenArchive) -> dict[Character, list[_Drawing]]:
    """List the drawings of each character by name. Raises DataError unless all are there."""
    top = Path(opened.archive.file).stem
    name = re.compile(rf"{top}/([^/]+)/character(\d+)/\d+_\d+\.png")
    found: dict[Character, list[_Drawing]] = defaultdict(list)
    for member in sorted(opened.members(), key=lambda member: member.filename):
        if match := name.fullmatch(member.filename):
            found[match[1], int(match[2])].append((opened, member))
    for (alphabet, number), drawings in found.items():
        if len(drawings) != DRAWINGS:
            which = f"character {number} of {alphabet}"
            raise opened.damaged(f"{len(drawings)} drawings of {which}, {DRAWINGS} expected")
    if len(found) != _CHARACTERS[top]:
        raise opened.damaged(f"{len(found)} characters, {_CHARACTERS[top]} expected")
    return found


def _digest(drawings: Mapping[Character, list[_Drawing]]) -> str:
    members = [
        (member.filename, member.CRC, member.file_size)
        for several in drawings.values()
        for _, member in several
    ]
    return json_digest({"decoding": _DECODING, "size": SIZE, "members": sorted(members)})


def _decode(drawings: Mapping[Character, list[_Drawing]]) -> np.ndarray:
    """Decode all drawings into the rows that `OmniglotImages.pixels` describes."""
    images = np.empty((len(drawings), DRAWINGS, SIZE, SIZE), dtype=np.uint8)
    for c, character in enumerate(sorted(drawings)):
        for d, (opened, member) in enumerate(drawings[character]):
            images[c, d] = _strokes(opened, member)
    for opened in {opened for several in drawings.values() for opened, _ in several}:
        opened.note_if_repacked()
    turned = [np.rot90(images, rotation, axes=(2, 3)) for rotation in range(ROTATIONS)]
    return np.stack(turned, axis=1).reshape(-1, SIZE * SIZE)


def _strokes(opened: OpenArchive, member: zipfile.ZipInfo) -> np.ndarray:
    """Decode one drawing to (28, 28) uint8, 255 on a stroke, 0 on the paper."""
    from PIL import Image

    content = io.BytesIO(opened.read(member))
    try:
        with (
            # Pillow only warns of most images that are too large to hold; below, all of them end.
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(content, formats=["PNG"]) as drawing,
        ):
            size = drawing.size
            # Pillow resizes two-colour images by nearest pixel, whatever filter it is asked for.
            # Until it is converted, nothing is decoded: an image only says how large it is.
            grey = drawing.convert("L") if size == _DRAWN_SIZE else None
    # SyntaxError: a broken PNG; ValueError: text in it that would take much memory.
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise opened.damaged(f"member {member.filename} is not a PNG image") from error
    if grey is None:
        raise opened.damaged(f"member {member.filename} is {size}, not {_DRAWN_SIZE} pixels")
    return 255 - np.asarray(grey.resize((SIZE, SIZE), Image.Resampling.LANCZOS))
