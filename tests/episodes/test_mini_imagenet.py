from __future__ import annotations

import csv
import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest

from episodes import load, mini_imagenet, mini_imagenet_files
from episodes.class_splits import read_name_split
from episodes.errors import DataError
from tests.episodes.made_up import encode, image_of, write_tar
from tests.ready_made import assert_runs_dry

SPLIT = read_name_split("mini-imagenet")
PARTS = dict(zip(("train", "val", "test"), ("train", "validation", "test"), strict=True))
SYNSETS = sorted(name for names in SPLIT.classes.values() for name in names)
EACH = 3


@pytest.fixture(autouse=True)
def few(monkeypatch, empty_cache):
    """Let three images a class be all."""
    for module in (mini_imagenet, mini_imagenet_files):
        monkeypatch.setattr(module, "IMAGES", EACH)


def image(synset: str, i: int, size: int = 84) -> np.ndarray:
    return image_of(2 * SYNSETS.index(synset), i, size, size)


def caches() -> dict[str, dict]:
    found = {}
    for part, split in PARTS.items():
        images, of_class = [], {name: [] for name in SPLIT.classes[split]}
        for i in range(EACH):
            for synset in reversed(SPLIT.classes[split]):
                of_class[synset].append(len(images))
                images.append(image(synset, i))
        found[part] = {"image_data": np.stack(images), "class_dict": of_class}
    return found


def pickled(content: dict[str, dict]) -> dict[str, bytes]:
    return {
        f"mini-imagenet-cache-{part}.pkl": pickle.dumps(value, 2) for part, value in content.items()
    }


def write_caches(folder: Path) -> None:
    (folder / "mini-imagenet").mkdir()
    for name, content in pickled(caches()).items():
        (folder / "mini-imagenet" / name).write_bytes(content)


def write_torchmeta(folder: Path) -> None:
    write_tar(folder / "mini-imagenet.tar.gz", pickled(caches()), "w:gz")


def write_full_size(folder: Path) -> None:
    files = {
        f"mini_imagenet_full_size/{part}/{synset}/{synset}{i:08}.jpg": encode(image(synset, i, 100))
        for part, split in PARTS.items()
        for synset in SPLIT.classes[split]
        for i in range(EACH)
    }
    write_tar(folder / "mini_imagenet_full_size.tar.bz2", files, "w:bz2")


def write_lists(folder: Path) -> None:
    (folder / "mini-imagenet" / "images").mkdir(parents=True)
    for part, split in PARTS.items():
        with (folder / "mini-imagenet" / f"{part}.csv").open("w") as file:
            print("filename,label", file=file)
            for synset in SPLIT.classes[split]:
                for i in range(EACH):
                    print(f"{synset}{i:08}.jpg,{synset}", file=file)
                    path = folder / "mini-imagenet" / "images" / f"{synset}{i:08}.jpg"
                    path.write_bytes(encode(image(synset, i, 30)))


FORMS = [write_caches, write_torchmeta, write_full_size, write_lists]


def load_mini(data: Path):
    return load("mini-imagenet", ways=5, shots=1, query_shots=2, data=data)


@pytest.mark.parametrize("write", FORMS)
def test_episodes_of_any_form_show_their_classes(write, tmp_path):
    write(tmp_path)
    mini = load_mini(tmp_path)
    assert mini.class_counts == {"train": 64, "validation": 16, "test": 20}
    for split in PARTS.values():
        assert mini.class_names(split) == SPLIT.classes[split]
        episodes = mini.sample(split, 0, range(5))
        shown = (episodes.query.inputs * 255).round()[:, :, 0, 40, 40].long()
        for t in range(5):
            for label, number in enumerate(episodes.classes[t].tolist()):
                (of_class,) = shown[t][episodes.query.targets[t] == label].unique().tolist()
                assert SYNSETS[of_class // 2] == mini.class_names(split)[number]


def test_caches_are_the_same_data_in_an_archive(tmp_path):
    digests = set()
    for write in (write_caches, write_torchmeta):
        folder = tmp_path / write.__name__
        folder.mkdir()
        write(folder)
        digests.add(load_mini(folder).digest)
    assert len(digests) == 1


def test_the_classes_are_those_of_the_published_lists(real):
    for part, split in PARTS.items():
        with gzip.open(real("mini_imagenet_splits") / f"{part}.csv.gz", "rt") as file:
            labels = [row["label"] for row in csv.DictReader(file)]
        assert len(labels) == 600 * len(SPLIT.classes[split])
        assert tuple(sorted(set(labels))) == SPLIT.classes[split]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["val"]["class_dict"].popitem(), "0 images of class n"),
        (lambda c: c["test"]["class_dict"][SPLIT.classes["test"][0]].pop(), "2 images of class n"),
        (lambda c: c["train"].update(image_data=np.zeros((9, 8, 8, 3), np.uint8)), "has the shape"),
        (lambda c: c["train"].update(image_data=[1, 2]), "not an array of bytes"),
        (lambda c: c["train"].pop("image_data"), "not a cache of mini-ImageNet"),
        (lambda c: c["train"]["class_dict"].update(x=[10**9]), "images of 'x' that are not there"),
        (lambda c: c["train"].update(x=print), "wants to use '__builtin__.print'"),
    ],
)
def test_damaged_caches_are_named(change, message, tmp_path):
    content = caches()
    change(content)
    write_tar(tmp_path / "mini-imagenet.tar.gz", pickled(content), "w:gz")
    with pytest.raises(DataError, match=r"mini-imagenet\.tar\.gz is damaged") as raised:
        load_mini(tmp_path)
    assert message in str(raised.value)


def test_a_missing_cache_is_named(tmp_path):
    write_caches(tmp_path)
    (tmp_path / "mini-imagenet" / "mini-imagenet-cache-val.pkl").unlink()
    with pytest.raises(DataError, match=r"mini-imagenet-cache-val\.pkl is missing"):
        load_mini(tmp_path)


def test_caches_in_a_folder_beside_are_others(tmp_path):
    write_caches(tmp_path)
    other = caches()
    for content in other.values():
        content["image_data"][:] = 255
    (tmp_path / "mini-imagenet" / "old").mkdir()
    for name, content in pickled(other).items():
        (tmp_path / "mini-imagenet" / "old" / name).write_bytes(content)
    assert load_mini(tmp_path).sample("train", 0, range(5)).query.inputs.max() < 1


def test_a_cache_that_is_twice_in_an_archive_is_named(tmp_path):
    files = pickled(caches())
    write_tar(
        tmp_path / "mini-imagenet.tar.gz",
        files | {f"old/{name}": content for name, content in files.items()},
        "w:gz",
    )
    with pytest.raises(DataError, match=r"-cache-train\.pkl is in it twice, as 'mini-.* and 'old/"):
        load_mini(tmp_path)


def test_an_image_that_is_listed_twice_is_named(tmp_path):
    write_lists(tmp_path)
    path = tmp_path / "mini-imagenet" / "val.csv"
    name = SPLIT.classes["validation"][0]
    path.write_text(path.read_text().replace(f"{name}00000001.jpg", f"{name}00000000.jpg"))
    message = rf"val\.csv lists 'images/{name}00000000\.jpg', which was listed before"
    with pytest.raises(DataError, match=message):
        load_mini(tmp_path)


def test_a_listed_image_that_is_missing_is_named(tmp_path):
    write_lists(tmp_path)
    name = f"{SYNSETS[3]}00000001.jpg"
    (tmp_path / "mini-imagenet" / "images" / name).unlink()
    with pytest.raises(DataError, match=f"images/{name} is missing, and 0 other files"):
        load_mini(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,b\n1,2\n", "columns filename and label"), ("filename,label\n", "0 images of class")],
)
def test_a_list_of_something_else_is_named(text, message, tmp_path):
    write_lists(tmp_path)
    (tmp_path / "mini-imagenet" / "val.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_mini(tmp_path)


def test_a_list_cannot_lead_elsewhere(tmp_path):
    write_lists(tmp_path)
    path = tmp_path / "mini-imagenet" / "val.csv"
    name = f"{SPLIT.classes['validation'][0]}00000000.jpg"
    path.write_text(path.read_text().replace(f"{name},", "../../secret.jpg,"))
    with pytest.raises(DataError, match="which is not in images"):
        load_mini(tmp_path)


def test_missing_data_say_which_file_to_put_where(tmp_path, empty_cache):
    for data, folder in ((tmp_path, tmp_path), (None, empty_cache)):
        with pytest.raises(DataError) as raised:
            load("mini-imagenet", ways=5, shots=1, query_shots=1, data=data)
        message = str(raised.value)
        assert f"is missing in the data folder {folder}" in message
        for file in ("mini-imagenet-cache-train.pkl", "mini-imagenet.tar.gz", "train.csv"):
            assert file in message
        assert "in the folder mini-imagenet:" in message


def test_its_ready_made_search_runs_dry(tmp_path):
    write_caches(tmp_path)
    assert_runs_dry("mini-imagenet-5way-1shot", tmp_path, query_shots="2")
