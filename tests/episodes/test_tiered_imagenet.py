from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from episodes import load, tiered_imagenet
from episodes.errors import DataError
from tests.episodes.made_up import encode, image_of, write_tar
from tests.ready_made import assert_runs_dry

CLASSES = {"train": 6, "validation": 3, "test": 4}
PARTS = {"train": "train", "validation": "val", "test": "test"}
IMAGES = 4


@pytest.fixture
def content(monkeypatch, empty_cache) -> dict[str, object]:
    """The files of the archive before pickling, with few classes; one name is there twice."""
    monkeypatch.setattr(tiered_imagenet, "CLASSES", CLASSES)
    found: dict[str, object] = {}
    first = 0
    for split, part in PARTS.items():
        classes = CLASSES[split]
        specific = np.tile(np.arange(classes), IMAGES + 1)
        seen = [0] * classes
        images = []
        for label in specific.tolist():
            png = encode(image_of(first + label, seen[label], 84, 84))
            images.append(np.frombuffer(png, dtype=np.uint8).reshape(-1, 1))
            seen[label] += 1
        words = [f"word {first + number}" for number in range(classes)]
        if split != "validation":
            words[-1] = "crane"
        found[f"{part}_images_png.pkl"] = images
        found[f"{part}_labels.pkl"] = {
            "label_specific": specific,
            "label_general": specific // 2,
            "label_specific_str": words,
            "label_general_str": [f"{part} {number}" for number in range(classes)],
        }
        first += classes
    return found


def write(folder: Path, content: dict[str, object], loose: bool = False) -> Path:
    pickled = {
        name: value if isinstance(value, bytes) else pickle.dumps(value, 2)
        for name, value in content.items()
    }
    if loose:
        for name, value in pickled.items():
            (folder / name).write_bytes(value)
    else:
        files = {f"tiered-imagenet/{name}": value for name, value in pickled.items()}
        write_tar(folder / "tiered-imagenet.tar", files | {"tiered-imagenet/synsets.txt": b""})
    return folder


def load_tiered(data: Path):
    return load("tiered-imagenet", ways=3, shots=1, query_shots=3, data=data)


@pytest.mark.parametrize("loose", [False, True], ids=["archive", "loose"])
def test_episodes_show_their_classes(content, tmp_path, loose):
    tiered = load_tiered(write(tmp_path, content, loose))
    assert tiered.class_counts == CLASSES
    assert tiered.input_shape == (3, 84, 84)
    first = 0
    for split, part in PARTS.items():
        episodes = tiered.sample(split, 0, range(10))
        shown = (episodes.query.inputs * 255).round()[:, :, 0, 5, 5].long()
        labels = content[f"{part}_labels.pkl"]
        for t in range(10):
            for label, number in enumerate(episodes.classes[t].tolist()):
                (of_class,) = shown[t][episodes.query.targets[t] == label].unique().tolist()
                word = labels["label_specific_str"][of_class - first]
                assert tiered.class_names(split)[number].startswith(f"{word} ({part} ")
        first += CLASSES[split]


def test_the_archive_and_its_files_are_the_same_data(content, tmp_path):
    (tmp_path / "loose").mkdir()
    assert load_tiered(write(tmp_path, content)).digest == (
        load_tiered(write(tmp_path / "loose", content, loose=True)).digest
    )


def test_a_class_in_two_splits_is_refused(content, tmp_path):
    content["test_labels.pkl"] = {
        **content["test_labels.pkl"],
        "label_specific_str": ["word 0", "word 1", "word 2", "word 3"],
        "label_general_str": [f"train {number}" for number in range(4)],
    }
    with pytest.raises(DataError, match=r"class 'word 0 \(train 0\)' is in both train and test"):
        load_tiered(write(tmp_path, content))


@pytest.mark.parametrize(
    ("file", "value", "message"),
    [
        ("val_labels.pkl", b"no pickle", "val_labels.pkl not a pickle of plain data"),
        ("val_labels.pkl", {}, "has not the labels of tiered-ImageNet"),
        ("val_images_png.pkl", [], "has not one image for each of 15 labels"),
        ("test_images_png.pkl", [np.zeros(9, np.uint8)] * 20, "image 0 of test_images_png.pkl is"),
        ("train_images_png.pkl", b"\x80\x02cos\nsystem\n(S'true'\ntR.", "wants to use 'os.system'"),
    ],
)
def test_damaged_files_are_named(content, tmp_path, file, value, message):
    content[file] = value
    with pytest.raises(DataError, match="is damaged") as raised:
        load_tiered(write(tmp_path, content))
    assert message in str(raised.value)


@pytest.mark.parametrize("loose", [False, True], ids=["archive", "loose"])
def test_a_missing_part_is_named(content, tmp_path, loose):
    del content["val_images_png.pkl"]
    with pytest.raises(DataError, match=r"val_images_png\.pkl is missing"):
        load_tiered(write(tmp_path, content, loose))


def test_files_in_a_folder_beside_are_others(content, tmp_path):
    write(tmp_path, content, loose=True)
    (tmp_path / "worn").mkdir()
    write(tmp_path / "worn", dict.fromkeys(content, b"no pickle"), loose=True)
    assert load_tiered(tmp_path).class_counts == CLASSES


def test_a_file_that_is_twice_in_the_archive_is_named(content, tmp_path):
    content["old/val_labels.pkl"] = content["val_labels.pkl"]
    with pytest.raises(DataError, match=r"is damaged: val_labels\.pkl is in it twice"):
        load_tiered(write(tmp_path, content))


def test_too_few_classes_are_named(content, tmp_path, monkeypatch):
    monkeypatch.setattr(tiered_imagenet, "CLASSES", {"train": 351, "validation": 97, "test": 160})
    with pytest.raises(DataError, match="6 classes of train, 351 expected"):
        load_tiered(write(tmp_path, content))


def test_a_missing_archive_is_named_with_where_to_put_it(tmp_path, empty_cache):
    for data, folder in ((tmp_path, tmp_path), (None, empty_cache)):
        with pytest.raises(DataError) as raised:
            load("tiered-imagenet", ways=5, shots=1, query_shots=15, data=data)
        message = str(raised.value)
        assert (
            f"tiered-imagenet/tiered-imagenet.tar is missing in the data folder {folder}" in message
        )
        assert (
            "(or tiered-imagenet/train_images_png.pkl instead, with train_labels.pkl, "
            "val_images_png.pkl, val_labels.pkl, test_images_png.pkl, test_labels.pkl beside it)"
        ) in message
        assert "https://github.com/renmengye/few-shot-ssl-public" in message
        assert "downloaded" not in message


def test_its_ready_made_search_runs_dry(content, tmp_path):
    write(tmp_path, content)
    assert_runs_dry("tiered-imagenet-5way-1shot", tmp_path, ways="3", query_shots="3")
