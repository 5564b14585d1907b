"""Published class splits, shipped as JSON beside this file with their source and a digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class NameSplit:
    """The same for classes that have a name.

    classes: names of each split, sorted; no name is in two of them.
    digest: of the lists alone.
    """

    classes: Mapping[Split, tuple[str, ...]]
    digest: str


def read_class_split(dataset: str, name: str) -> ClassSplit:
    """Read a shipped split. Raises DataError when its lists are not the published ones."""
    path = SPLIT_FOLDER / f"{dataset}-{name}.json"
    lists, digest = _read(path)
    characters: dict[Split, tuple[Character, ...]] = {
        split: tuple(
            sorted((a, number) for a, numbers in lists[split].items() for number in numbers)
        )
        for split in SPLITS
    }
    _check_disjoint(path, characters)
    return ClassSplit(name, characters, digest)


def read_name_split(dataset: str) -> NameSplit:
    """Read a shipped split of named classes, listed in a row or by groups, such as superclasses.

    Raises DataError when its lists are not the published ones.
    """
    path = SPLIT_FOLDER / f"{dataset}.json"
    lists, digest = _read(path)
    classes: dict[Split, tuple[str, ...]] = {}
    for split in SPLITS:
        listed = lists[split]
        groups = listed.values() if isinstance(listed, dict) else [listed]
        classes[split] = tuple(sorted(name for names in groups for name in names))
    _check_disjoint(path, classes)
    return NameSplit(classes, digest)


def _read(path: Path) -> tuple[dict[Split, Any], str]:
    """Return the lists of a file, and their digest."""
    content = json.loads(path.read_text())
    lists = {split: content[split] for split in SPLITS}
    if json_digest(lists) != content["digest"]:
        raise DataError(
            f"{path}: the class lists were changed (digest {json_digest(lists)}, published "
            f"{content['digest']}); restore the file by installing metasweep again"
        )
    return lists, content["digest"]


def _check_disjoint(path: Path, classes: Mapping[Split, tuple[Any, ...]]) -> None:
    for one, other in combinations(SPLITS, 2):
        shared = set(classes[one]) & set(classes[other])
        if shared:
            raise DataError(f"{path}: {min(shared)} is in both {one} and {other}")
