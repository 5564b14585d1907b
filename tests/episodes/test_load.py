from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch

from episodes import TASKS, data_report, load
from episodes.episode import Episodes
from episodes.errors import DataError

GENERATED = ["sinusoid", "harmonic", "sinusoid-line"]


def wanted(**changes):
    return {"task": "omniglot", "ways": 5, "shots": 1, "query_shots": 15, **changes}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (wanted(task="omniglott"), r"'omniglott' is unknown.*did you mean omniglot\?"),
        (
            wanted(task="x"),
            "known are sinusoid, harmonic, sinusoid-line, arrays, image-folder, omniglot",
        ),
        (wanted(shots=0), "shots: 0: must be a whole number, at least 1"),
        (wanted(shots=True), "shots: True: must be a whole number, at least 1"),
        (wanted(shots=1.0), "shots: 1.0: must be a whole number, at least 1"),
        (wanted(query_shots="15"), "query_shots: '15': must be a whole number"),
        (wanted(ways=None), "ways: missing; omniglot needs"),
        (wanted(ways=1), "ways: 1: must be a whole number, at least 2"),
        (wanted(split="vinials"), r"vinials.*vinyals, lake \(did you mean vinyals\?\)"),
        (wanted(task="sinusoid"), "ways: 5 has no meaning for the regression task sinusoid"),
        (wanted(task="sinusoid", ways=None, split="lake"), "no split 'lake'; it may be left out"),
        (
            wanted(shots=15, query_shots=10),
            r"20 drawings a class; shots 15 \+ query_shots 10 = 25 asks for more",
        ),
        (wanted(ways=689), "ways 689 is more than the 688 classes of validation in split vinyals"),
        (wanted(ways=325, split="lake"), "325 is more than the 324 classes of validation"),
    ],
)
def test_wrong_arguments_are_named_before_data_are_touched(arguments, message, tmp_path):
    with pytest.raises(DataError, match=message):
        load(**arguments, data=tmp_path / "nowhere")


def test_the_report_lists_every_file(data_folder, empty_cache):
    found = [file for file in data_report(data_folder) if file.task == "omniglot"]
    assert [file.file for file in found] == ["images_background.zip", "images_evaluation.zip"]
    assert all(file.path and file.path.is_file() for file in found)
    missing = data_report()
    assert all(file.path is None for file in missing)
    # What is not fetched comes with advice.
    assert all(file.downloads != bool(file.advice) for file in missing)
    needing = {name for name, task in TASKS.items() if task.needs_data}
    assert {file.task for file in missing} == needing
    assert needing == set(TASKS) - {*GENERATED, "arrays", "image-folder", "translation"}


def test_the_report_names_the_file_that_is_there(real, data_folder):
    real("cifar100")
    (found,) = [file for file in data_report(data_folder) if file.task == "cifar-fs-subset"]
    assert found.path == data_folder / "cifar100" / "cifar-fs.zip"
    assert found.file == "cifar-fs.zip"


def test_the_registry_imports_nothing_heavy(start_python):
    heavy = {"torch", "torchvision", "PIL", "requests"}
    process = start_python(f"import episodes, sys; print({heavy} & set(sys.modules))")
    assert process.communicate(timeout=60)[0] == "set()\n"


def values(episodes: Episodes) -> list[torch.Tensor]:
    return [
        episodes.support.inputs,
        episodes.support.targets,
        episodes.query.inputs,
        episodes.query.targets,
        episodes.classes,
        episodes.index,
    ]


FOLDERS = {
    "cifar-fs-subset": "cifar100",
    "double-mnist": "mnist",
    "tiny-imagenet-subset": "tiny_imagenet_subset",
}


@pytest.fixture(params=[*GENERATED, "omniglot", *FOLDERS])
def distribution(request, shared_cache):
    if request.param == "omniglot":
        return request.getfixturevalue("omniglot")
    if request.param in GENERATED:
        return load(request.param, shots=10, query_shots=13)
    folder = request.getfixturevalue("real")(FOLDERS[request.param])
    return load(**wanted(task=request.param), data=folder.parent)


@pytest.mark.parametrize("task", GENERATED)
def test_examples_do_not_depend_on_how_many_there_are(task):
    few = load(task, shots=1, query_shots=1).sample("train", 0, range(3))
    many = load(task, shots=10, query_shots=15).sample("train", 0, range(3))
    assert torch.equal(few.support.inputs, many.support.inputs[:, :1])
    assert torch.equal(few.support.targets, many.support.targets[:, :1])


@pytest.mark.parametrize(
    ("task", "digest", "inputs", "targets"),
    [
        ("sinusoid", "18c1ae0a79fc1fc3", [0.0463257, -0.1894420], [1.6790887, 0.8989828]),
        ("harmonic", "1cd846f87be4c7ed", [-3.5572999, -0.2684590], [-0.1186438, 0.3804842]),
        ("sinusoid-line", "4260aaff08f04031", [-2.6628919, -0.6344793], [-0.6143979, 0.2703730]),
    ],
)
def test_episodes_are_what_they_always_were(task, digest, inputs, targets):
    distribution = load(task, shots=1, query_shots=1)
    episodes = distribution.sample("test", 7, range(3, 5))
    assert distribution.digest == digest
    np.testing.assert_allclose(episodes.support.inputs.flatten(), inputs, rtol=0, atol=2e-6)
    np.testing.assert_allclose(episodes.query.targets.flatten(), targets, rtol=0, atol=2e-6)


@pytest.mark.parametrize("task", GENERATED)
def test_streams_share_no_function(task):
    distribution = load(task, shots=5, query_shots=5)
    targets = [
        tuple(episode.flatten().tolist())
        for split in ("train", "validation", "test")
        for seed in (0, 1)
        for episode in distribution.sample(split, seed, range(300)).support.targets
    ]
    assert len(set(targets)) == 6 * 300


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_batch_equals_its_episodes_one_by_one(distribution, split):
    indices = np.array([5, 0, 123_456_789_012, 5, 31])
    batch = distribution.sample(split, 3, indices)
    for t, index in enumerate(indices):
        alone = distribution.sample(split, 3, range(index, index + 1))
        for whole, one in zip(values(batch), values(alone), strict=True):
            assert torch.equal(whole[t : t + 1], one)


def test_seed_split_and_index_each_change_the_episode(distribution):
    first = distribution.sample("train", 0, range(1)).query.inputs
    for other in (("train", 1, range(1)), ("test", 0, range(1)), ("train", 0, range(1, 2))):
        assert not torch.equal(first, distribution.sample(*other).query.inputs)


@pytest.mark.parametrize(
    ("split", "seed", "message"),
    [
        ("val", 0, "split: 'val': must be one of train, validation, test"),
        ("train", 1.0, "seed: 1.0: must be a whole number"),
        ("train", np.float32(1), "must be a whole number"),
        ("train", True, "seed: True: must be a whole number"),
        ("train", "1", "seed: '1': must be a whole number"),
    ],
)
def test_a_stream_that_nobody_meant_is_refused(distribution, split, seed, message):
    with pytest.raises(DataError, match=message):
        distribution.sample(split, seed, range(2))


def test_whole_numbers_of_numpy_are_whole_numbers(distribution):
    few = load("sinusoid", shots=np.int64(5), query_shots=np.uint8(2))
    assert few.sample("train", 0, range(1)).support.inputs.shape == (1, 5, 1)
    one, other = (distribution.sample("train", seed, range(3)) for seed in (1, np.int64(1)))
    assert all(map(torch.equal, values(one), values(other)))


def test_no_episodes_are_an_empty_batch(distribution):
    assert len(distribution.sample("train", 0, range(0))) == 0


def fingerprint(episodes: Episodes) -> str:
    parts = b"".join(value.numpy().tobytes() for value in values(episodes))
    return hashlib.sha256(parts).hexdigest()


def test_another_process_draws_the_same(distribution, request, shared_cache, start_python):
    code = """
import json, sys
from dataclasses import astuple
from hashlib import sha256
from episodes import load

task = load(**json.loads(sys.argv[1]))
episodes = task.sample("test", 9, range(40, 44))
parts = (*astuple(episodes.support), *astuple(episodes.query), episodes.classes, episodes.index)
print(task.digest, sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest())
"""
    arguments = {"task": distribution.name, "shots": 10, "query_shots": 13}
    if distribution.name not in GENERATED:
        data = str(request.getfixturevalue("data_folder"))
        arguments = wanted(task=distribution.name, data=data)
    process = start_python(code, json.dumps(arguments))
    digest, drawn = process.communicate(timeout=60)[0].split()
    assert digest == distribution.digest
    assert drawn == fingerprint(distribution.sample("test", 9, range(40, 44)))
