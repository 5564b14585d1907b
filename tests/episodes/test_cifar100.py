from __future__ import annotations

import hashlib
import io
import json
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR100

from episodes import cifar100, cifar100_images, data_report, load
from episodes.class_splits import read_name_split
from episodes.errors import DataError
from tests.ready_made import assert_runs_dry

CLASSES = sorted(name for names in read_name_split("cifar-fs").classes.values() for name in names)
WANTED = {"ways": 5, "shots": 1, "query_shots": 15}

Images = dict[tuple[str, str], np.ndarray]


def write_official(path: Path, images: Images, classes: list[str] = CLASSES, **changes) -> Path:
    """Write (32, 32, 3) images by class and name as torchvision's archive has them."""
    parts = {}
    items = list(images.items())
    for part, some in (("train", items[::2][::-1]), ("test", items[1::2])):
        parts[part] = {
            "filenames": [name for (_, name), _ in some],
            "fine_labels": [classes.index(name) for (name, _), _ in some],
            "batch_label": "some of them",
            "data": np.stack([image.transpose(2, 0, 1).ravel() for _, image in some]),
        }
    parts["meta"] = {"fine_label_names": classes, "coarse_label_names": []}
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, value in (parts | changes).items():
            content = value if isinstance(value, bytes) else pickle.dumps(value, 2)
            info = tarfile.TarInfo(f"cifar-100-python/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def made_up(each: int) -> Images:
    rng = np.random.default_rng(1)
    return {
        (name, f"{name}_s_{i:06}.png"): rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        for name in CLASSES
        for i in range(each)
    }


def write_pngs(path: Path, images: Images) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("cifar-fs/splits/bertinetto/train.txt", "apple\n")
        for (name, image), pixels in reversed(images.items()):
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "PNG")
            file.writestr(f"cifar-fs/data/{name}/{image}", stream.getvalue())
    return path


@pytest.fixture(params=["cifar-fs-subset", "fc100-subset"])
def subset(request, real, data_folder, shared_cache):
    real("cifar100")
    return load(request.param, **WANTED, data=data_folder)


def test_the_splits_are_the_published_ones(real, data_folder):
    labels = json.loads((real("cifar100") / "labels.json").read_text())
    cifar_fs, fc100 = (read_name_split(name).classes for name in ("cifar-fs", "fc100"))
    for classes, counts in ((cifar_fs, (64, 16, 20)), (fc100, (60, 20, 20))):
        assert tuple(map(len, classes.values())) == counts
        assert sorted(sum(classes.values(), ())) == labels["fine_label_names"] == CLASSES
    groups = [{labels["coarse_of_fine"][name] for name in names} for names in fc100.values()]
    assert [len(group) for group in groups] == [12, 4, 4]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]


def test_episodes_are_real_images_of_their_classes(subset, real):
    assert subset.input_shape == (3, 32, 32)
    episodes = subset.sample("test", 0, range(4))
    with zipfile.ZipFile(real("cifar100") / "cifar-fs.zip") as file:
        for t in range(4):
            for label, number in enumerate(episodes.classes[t].tolist()):
                folder = f"cifar-fs/data/{subset.class_names('test')[number]}/"
                of_class = {
                    np.asarray(Image.open(io.BytesIO(file.read(name)))).tobytes()
                    for name in file.namelist()
                    if name.startswith(folder)
                }
                assert len(of_class) == 100
                mine = episodes.query.inputs[t][episodes.query.targets[t] == label]
                drawn = (mine * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
                assert {image.tobytes() for image in drawn} <= of_class


def test_a_part_of_the_images_is_refused_for_the_whole(real, data_folder, shared_cache):
    real("cifar100")
    for task in ("cifar-fs", "fc100"):
        with pytest.raises(DataError) as raised:
            load(task, **WANTED, data=data_folder)
        message = str(raised.value)
        assert "cifar-fs.zip has 100 classes, and 100 images of class 'apple'" in message
        assert f"use the task {task}-subset" in message
        assert "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz" in message


def test_both_archives_give_the_same_data(real, data_folder, tmp_path, shared_cache):
    images = {}
    with zipfile.ZipFile(real("cifar100") / "cifar-fs.zip") as file:
        for name in file.namelist():
            _, _, folder, image = name.split("/")
            images[folder, image] = np.asarray(Image.open(io.BytesIO(file.read(name))))
    write_official(tmp_path / "cifar-100-python.tar.gz", images)
    ours = load("cifar-fs-subset", **WANTED, data=tmp_path)
    theirs = load("cifar-fs-subset", **WANTED, data=data_folder)
    assert ours.digest == theirs.digest
    one, other = (each.sample("train", 1, range(5)) for each in (ours, theirs))
    assert torch.equal(one.query.inputs, other.query.inputs)


@pytest.mark.parametrize("place", ["cifar100/cifar-fs", "cifar-fs"])
def test_an_unpacked_folder_is_the_same_data(real, data_folder, tmp_path, shared_cache, place):
    with zipfile.ZipFile(real("cifar100") / "cifar-fs.zip") as file:
        file.extractall((tmp_path / place).parent)
    loose = load("cifar-fs-subset", **WANTED, data=tmp_path)
    packed = load("cifar-fs-subset", **WANTED, data=data_folder)
    assert loose.digest == packed.digest
    drawn = [one.sample("train", 1, range(5)).query.inputs for one in (loose, packed)]
    assert torch.equal(*drawn)
    [found] = [file for file in data_report(tmp_path) if file.task == "cifar-fs-subset"]
    assert found.path == tmp_path / place / "data"
    with pytest.raises(DataError, match="cifar-fs/data has 100 classes, and 100 images of class"):
        load("cifar-fs", **WANTED, data=tmp_path)
    (tmp_path / place / "data" / "apple").rename(tmp_path / place / "data" / "durian")
    with pytest.raises(DataError, match="have no images, 'apple' first"):
        load("cifar-fs-subset", **WANTED, data=tmp_path)


def test_a_damaged_image_in_a_folder_is_named(small, tmp_path):
    write_pngs(tmp_path / "cifar-fs.zip", small)
    with zipfile.ZipFile(tmp_path / "cifar-fs.zip") as file:
        file.extractall(tmp_path / "unpacked")
    path = tmp_path / "unpacked" / "cifar-fs" / "data" / "apple" / "apple_s_000003.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"apple/apple_s_000003\.png is not an image") as raised:
        load("cifar-fs", ways=5, shots=1, query_shots=1, data=tmp_path / "unpacked")
    assert "get it again from https://www.cs.toronto.edu/" in str(raised.value)


@pytest.fixture
def small(monkeypatch, empty_cache) -> Images:
    """Let twelve images a class be the whole data set, of which two are the subset."""
    for module in (cifar100, cifar100_images):
        monkeypatch.setattr(module, "IMAGES", 12)
    return made_up(12)


def test_the_subset_of_the_whole_is_every_sixth_image(small, tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "part").mkdir()
    write_official(tmp_path / "whole" / "cifar-100-python.tar.gz", small)
    part = {key: image for i, (key, image) in enumerate(small.items()) if i % 6 == 0}
    write_pngs(tmp_path / "part" / "cifar-fs.zip", part)
    one, other = (
        load("fc100-subset", ways=5, shots=1, query_shots=1, data=tmp_path / name)
        for name in ("whole", "part")
    )
    assert one.digest == other.digest
    drawn = [each.sample("validation", 0, range(20)) for each in (one, other)]
    assert torch.equal(drawn[0].support.inputs, drawn[1].support.inputs)
    with pytest.raises(DataError, match="fc100-subset has 2 images of class"):
        load("fc100-subset", ways=5, shots=1, query_shots=2, data=tmp_path / "whole")
    whole = load("fc100", ways=5, shots=6, query_shots=6, data=tmp_path / "whole")
    assert whole.digest != one.digest
    assert len(whole.sample("test", 0, range(2)).query.inputs) == 2


def test_without_a_folder_the_archive_is_downloaded(small, tmp_path, serve, monkeypatch):
    path = write_official(tmp_path / "cifar-100-python.tar.gz", small)
    content = path.read_bytes()
    with serve({path.name: content}) as (address, asked):
        monkeypatch.setattr(CIFAR100, "url", f"{address}/{path.name}")
        monkeypatch.setattr(CIFAR100, "tgz_md5", hashlib.md5(content).hexdigest())
        load("cifar-fs", ways=5, shots=1, query_shots=1)
        load("fc100", ways=5, shots=1, query_shots=1)
    assert asked == [path.name]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": b"not a pickle"}, "member cifar-100-python/train not a pickle"),
        ({"test": {"fine_labels": []}}, "not the pickles of CIFAR-100"),
        ({"meta": {"fine_label_names": ["apple"]}}, "not the pickles of CIFAR-100"),
        ({"meta": pickle.dumps(shutil.rmtree)}, "wants to use 'shutil.rmtree'"),
    ],
)
def test_other_pickles_are_refused(small, tmp_path, changes, message):
    write_official(tmp_path / "cifar-100-python.tar.gz", small, **changes)
    with pytest.raises(DataError, match=r"cifar-100-python\.tar\.gz is damaged") as raised:
        load("cifar-fs", ways=5, shots=1, query_shots=1, data=tmp_path)
    assert message in str(raised.value)


def test_a_missing_class_is_named(small, tmp_path):
    some = {key: image for key, image in small.items() if key[0] != "bed"}
    write_pngs(tmp_path / "cifar-fs.zip", some)
    with pytest.raises(DataError, match="1 classes of test have no images, 'bed' first"):
        load("cifar-fs-subset", ways=5, shots=1, query_shots=1, data=tmp_path)


def test_a_damaged_image_is_named(small, tmp_path):
    small["apple", "apple_s_000003.png"] = np.zeros((16, 16, 3), dtype=np.uint8)
    write_pngs(tmp_path / "cifar-fs.zip", small)
    with pytest.raises(DataError, match=r"apple_s_000003\.png is 16 x 16, not 32 x 32 pixels"):
        load("cifar-fs", ways=5, shots=1, query_shots=1, data=tmp_path)


def test_nothing_of_cifar_in_an_archive(tmp_path, empty_cache):
    with zipfile.ZipFile(tmp_path / "cifar-fs.zip", "w") as file:
        file.writestr("other/file.png", b"")
    with pytest.raises(DataError, match="no images of CIFAR-100 in it"):
        load("cifar-fs-subset", **WANTED, data=tmp_path)


def test_too_many_ways_are_named_before_data_are_touched(tmp_path):
    with pytest.raises(DataError, match="ways 17 is more than the 16 classes of validation"):
        load("cifar-fs", ways=17, shots=1, query_shots=1, data=tmp_path / "nowhere")
    with pytest.raises(DataError, match="cifar-fs has 600 images of a class; shots 600"):
        load("cifar-fs", ways=5, shots=600, query_shots=1, data=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "query_shots"), [("cifar-fs-5way-1shot", 11), ("fc100-5way-5shot", 7)]
)
def test_ready_made_searches_run_dry(small, tmp_path, name, query_shots):
    write_official(tmp_path / "cifar-100-python.tar.gz", small)
    assert_runs_dry(name, tmp_path, query_shots=str(query_shots))
