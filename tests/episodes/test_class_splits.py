from __future__ import annotations

import json

import pytest

from episodes import class_splits
from episodes.class_splits import read_class_split, read_name_split
from episodes.errors import DataError


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("vinyals", {"train": 1028, "validation": 172, "test": 423}),
        ("lake", {"train": 883, "validation": 81, "test": 659}),
    ],
)
def test_counts_are_the_published_ones_and_classes_disjoint(name, published):
    split = read_class_split("omniglot", name)
    assert {key: len(characters) for key, characters in split.characters.items()} == published
    everything = [c for characters in split.characters.values() for c in characters]
    assert len(set(everything)) == len(everything) == 1623
    assert all(list(c) == sorted(c) for c in split.characters.values())


def test_lake_keeps_alphabets_whole():
    characters = read_class_split("omniglot", "lake").characters
    alphabets = {split: {alphabet for alphabet, _ in characters[split]} for split in characters}
    assert {split: len(names) for split, names in alphabets.items()} == {
        "train": 25,
        "validation": 5,
        "test": 20,
    }
    assert not alphabets["train"] & alphabets["validation"]
    assert not alphabets["test"] & (alphabets["train"] | alphabets["validation"])


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """The vinyals file, to be tampered with: a function that writes the changed content."""
    content = json.loads((class_splits.SPLIT_FOLDER / "omniglot-vinyals.json").read_text())
    monkeypatch.setattr(class_splits, "SPLIT_FOLDER", tmp_path)

    def write() -> None:
        (tmp_path / "omniglot-vinyals.json").write_text(json.dumps(content))

    return content, write


def test_a_changed_list_is_refused(shipped):
    content, write = shipped
    content["train"]["Angelic"].remove(7)
    write()
    with pytest.raises(DataError, match="class lists were changed"):
        read_class_split("omniglot", "vinyals")


def test_overlapping_lists_are_refused(shipped):
    content, write = shipped
    content["test"]["Angelic"] = [7]
    lists = {split: content[split] for split in ("train", "validation", "test")}
    content["digest"] = class_splits.json_digest(lists)
    write()
    with pytest.raises(DataError, match=r"\('Angelic', 7\) is in both train and test"):
        read_class_split("omniglot", "vinyals")


@pytest.mark.parametrize(
    "path", sorted(class_splits.SPLIT_FOLDER.glob("*.json")), ids=lambda path: path.stem
)
def test_every_shipped_split_says_its_source_and_counts(path):
    content = json.loads(path.read_text())
    # Of FSS-1000 only the classes of meta-test are published.
    lists = ("test",) if path.stem == "fss-1000" else ("train", "validation", "test")
    assert set(content) == {"name", "source", "format", "counts", "digest", *lists}
    assert content["source"]
    if path.stem == "fss-1000":
        assert content["counts"] == {"test": len(set(content["test"]))} == {"test": 240}
    elif not path.name.startswith("omniglot"):
        read = read_name_split(path.stem)
        assert {split: len(names) for split, names in read.classes.items()} == content["counts"]
        assert all(list(names) == sorted(set(names)) for names in read.classes.values())


def test_a_changed_list_of_names_is_refused(tmp_path, monkeypatch):
    content = json.loads((class_splits.SPLIT_FOLDER / "cub.json").read_text())
    content["train"].pop()
    (tmp_path / "cub.json").write_text(json.dumps(content))
    monkeypatch.setattr(class_splits, "SPLIT_FOLDER", tmp_path)
    with pytest.raises(DataError, match="class lists were changed"):
        read_name_split("cub")
