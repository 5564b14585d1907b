"""The shipped class splits name the same classes as copies that were published elsewhere.

Those of mini-ImageNet are compared in test_mini_imagenet.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from episodes.class_splits import read_class_split, read_name_split

PARTS = {"train": "train", "validation": "val", "test": "test"}
Published = Mapping[str, Any]


@pytest.fixture
def published(data_folder: Path) -> Callable[[str], Published]:
    """Return the lists of a data set, by split; skip where they are missing, but not in CI."""
    copies = data_folder.parent / "splits"
    if not copies.is_dir():
        reason = f"no published lists in {copies}, beside METASWEEP_DATA"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)

    def lists(name: str) -> Published:
        files = {split: copies / name / f"{part}.json" for split, part in PARTS.items()}
        return {split: json.loads(path.read_text()) for split, path in files.items()}

    return lists


def in_order(classes: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {split: sorted(names) for split, names in classes.items()}


def test_cifar_fs(published: Callable[[str], Published]) -> None:
    pairs = published("cifar-fs")
    classes = {split: [fine for _, fine in listed] for split, listed in pairs.items()}
    assert in_order(classes) == in_order(read_name_split("cifar-fs").classes)


def test_fc100(published: Callable[[str], Published], real: Callable[[str], Path]) -> None:
    of_superclass = json.loads((real("cifar100") / "labels.json").read_text())["fine_of_coarse"]
    classes = {
        split: [fine for superclass in listed for fine in of_superclass[superclass]]
        for split, listed in published("fc100").items()
    }
    assert in_order(classes) == in_order(read_name_split("fc100").classes)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("cub", "cub"), ("double-mnist", "doublemnist"), ("triple-mnist", "triplemnist")],
)
def test_names(name: str, folder: str, published: Callable[[str], Published]) -> None:
    assert in_order(published(folder)) == in_order(read_name_split(name).classes)


def test_omniglot(published: Callable[[str], Published]) -> None:
    characters = {
        split: [
            (alphabet, int(name.removeprefix("character")))
            for part in ("background", "evaluation")
            for alphabet, names in listed[part].items()
            for name in names
        ]
        for split, listed in published("omniglot").items()
    }
    assert in_order(characters) == in_order(read_class_split("omniglot", "vinyals").characters)
