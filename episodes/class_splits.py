"""Published class splits, shipped as JSON beside this file with their source and a digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from episodes.digest import json_digest
from episodes.episode import SPLITS, Split
from episodes.errors import DataError

SPLIT_FOLDER = Path(__file__).parent / "splits"

Character = tuple[str, int]
"""An alphabet and the number of a character in it."""


@dataclass(frozen=True)
class ClassSplit:
    """Which classes belong to meta-train, meta-validation and meta-test.

    characters: those of each split, sorted; no character is in two of them.
    digest: of the lists alone.
    """

    name: str
    characters: Mapping[Split, tuple[Character, ...]]
    digest: str


def read_class_split(dataset: str, name: str) -> ClassSplit:
    """Read a shipped split. Raises DataError when its lists are not the published ones."""
    path = SPLIT_FOLDER / f"{dataset}-{name}.json"
    content = json.loads(path.read_text())
    lists = {split: content[split] for split in SPLITS}
    if json_digest(lists) != content["digest"]:
        raise DataError(
            f"{path}: the class lists were changed (digest {json_digest(lists)}, published "
            f"{content['digest']}); restore the file by installing metasweep again"
        )
    characters: dict[Split, tuple[Character, ...]] = {
        split: tuple(
            sorted((a, number) for a, numbers in lists[split].items() for number in numbers)
        )
        for split in SPLITS
    }
    for one, other in combinations(SPLITS, 2):
        shared = set(characters[one]) & set(characters[other])
        if shared:
            raise DataError(f"{path}: {min(shared)} is in both {one} and {other}")
    return ClassSplit(name, characters, content["digest"])
