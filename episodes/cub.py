"""CUB: few-shot episodes of photographs of 200 species of birds.

Wah et al. 2011, "The Caltech-UCSD Birds-200-2011 dataset", Caltech technical report
CNS-TR-2011-001: 11,788 images, 41 to 60 of each species. 100, 50 and 50 species are for
meta-train, meta-validation and meta-test, as in Hilliard et al. 2018, "Few-shot learning with
metric-agnostic conditional embeddings".

Inputs are (T, N, 3, 84, 84) float32 in [0, 1]: the middle of each photograph, the largest square
there is, resized.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from episodes.archives import Archive, Source, locate
from episodes.class_images import ImageEpisodes, Wanted, check_asked
from episodes.class_splits import read_name_split
from episodes.file_digests import files_digest
from episodes.packed import open_packed
from episodes.prepared import Allocate
from episodes.stored_images import fill_from_files, image_episodes, stored_images

SHAPE = (3, 84, 84)
IMAGES = 11_788
FEWEST = 41

_URL = "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz"
_MD5 = "97eceeb196236b17998738112f37df78"
_IMAGE = re.compile(r"CUB_200_2011/images/(\d{3}\.[^/]+)/([^./][^/]*\.jpg)")

ARCHIVE = Archive(
    "cub",
    "CUB_200_2011.tgz",
    lambda: Source(_URL, _MD5),
    most_packed=3 << 29,
    most_unpacked=1 << 32,
)


def archives() -> Sequence[Archive]:
    """Return the files that this task reads."""
    return (ARCHIVE,)


def load_cub(*, data: str | Path | None = None, **wanted: Any) -> ImageEpisodes:
    """Open CUB. Raises DataError when the data are missing, damaged, incomplete or too small."""
    class_split = read_name_split("cub")
    # Before a download.
    asked = Wanted.of(**wanted)
    check_asked("cub", class_split.classes, FEWEST, asked, "its rarest class")
    path = locate(ARCHIVE, data)[1]
    channels, height, width = SHAPE
    images = stored_images(
        f"cub-{channels}x{height}x{width}-{files_digest([path])}",
        lambda allocate: _build(path, allocate),
    )
    return image_episodes("cub", images, class_split.classes, class_split.digest, asked)


def _build(path: Path, allocate: Allocate) -> dict[str, Any]:
    found: dict[str, list[str]] = defaultdict(list)
    with open_packed(ARCHIVE, path) as opened:
        for name in opened.names():
            if match := _IMAGE.fullmatch(name):
                found[match[1]].append(name)
        count = sum(map(len, found.values()))
        if count != IMAGES:
            raise opened.damaged(f"{count} images of birds in it, {IMAGES} expected")
        classes = {species: sorted(found[species]) for species in sorted(found)}
        _, notes = fill_from_files(opened, classes, SHAPE, "crop", allocate)
        opened.note_if_repacked()
    return notes
