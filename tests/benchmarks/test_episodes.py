"""`python -m benchmarks.episodes`, but for the libraries that it compares with."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import episodes
from benchmarks.episode_data import prepare
from benchmarks.episode_worker import EpisodeWorker, describe
from benchmarks.episodes import Row, Table
from benchmarks.loaders import LABELS, LOADERS, WORKS, Source, Work
from benchmarks.loaders.work import BATCH, QUERY_SHOTS, SHOTS, WAYS
from benchmarks.remote import NotInstalledError
from benchmarks.worker import answer
from episodes import load, mini_imagenet, mini_imagenet_files


def test_every_source_has_a_name_to_show() -> None:
    assert list(LABELS) == list(LOADERS)


def test_made_up_images_are_read_as_mini_imagenet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METASWEEP_CACHE", str(tmp_path / "cache"))
    for module in (mini_imagenet, mini_imagenet_files):
        monkeypatch.setattr(module, "IMAGES", 3)
    work = Work("mini-imagenet", "few", (3, 84, 84), 64, 3)
    prepare(work, tmp_path)
    task = load("mini-imagenet", ways=5, shots=1, query_shots=2, data=tmp_path)
    batch = task.sample("train", 0, range(4))
    floats = work.floats(tmp_path)
    assert floats.shape == (64, 3, 3, 84, 84)
    for inputs, classes in zip(batch.query.inputs, batch.classes.tolist(), strict=True):
        for image, of_class in zip(inputs, np.repeat(classes, 2), strict=True):
            assert any(np.array_equal(image, one) for one in floats[of_class])
    assert np.array_equal(np.load(work.bytes_file(tmp_path)) / np.float32(255), floats)


def source(value: float = 1.0, ahead: int = 0) -> tuple[Source, list[int]]:
    """A source of noise up to `value`, and how many batches were drawn from it."""
    drawn = [0]

    def images(_: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [
            (
                torch.rand(BATCH, WAYS * k, 1, 4, 4) * value,
                torch.arange(WAYS).repeat_interleave(k).repeat(BATCH, 1),
            )
            for k in (SHOTS, QUERY_SHOTS)
        ]

    def batches() -> Any:
        for drawn[0] in itertools.count(1):
            yield None

    return Source(batches(), images, ahead), drawn


def test_what_a_batch_looks_like() -> None:
    looks = describe(source()[0], None)
    assert looks == {
        "episodes": BATCH,
        "images": 80,
        "shape": [1, 4, 4],
        "type": "torch.float32",
        "from 0 to 1": True,
        "labels": [16] * 5,
    }
    assert describe(source(255.0)[0], None) == {**looks, "from 0 to 1": False}


def test_what_was_ready_before_a_turn_is_not_counted() -> None:
    worker = EpisodeWorker("ours", 1)
    worker._source, drawn = source(ahead=8)
    timed = worker.do_time(0)
    assert timed["episodes"] == BATCH
    assert drawn == [9]
    assert timed["wall"] > 0


@pytest.mark.parametrize(
    ("name", "variable", "file"),
    [
        ("torchmeta", "TORCHMETA_SOURCE", "torchmeta/__init__.py"),
        ("learn2learn", "LEARN2LEARN_SOURCE", "learn2learn/data/task_dataset.pyx"),
    ],
)
def test_a_checkout_that_is_none_is_named(
    name: str, variable: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(tmp_path))
    replied = answer(EpisodeWorker(name, 1), {"do": "import"})
    assert replied == {"missing": f"ImportError: no {file} in {tmp_path}"}


def test_learn2learn_that_is_not_built_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "learn2learn" / "data"
    data.mkdir(parents=True)
    (data / "task_dataset.pyx").write_text("")
    monkeypatch.setenv("LEARN2LEARN_SOURCE", str(tmp_path))
    replied = answer(EpisodeWorker("learn2learn", 1), {"do": "import"})
    assert "is not built" in replied["missing"]


def rows() -> list[Row]:
    looks = {"images": 80}
    return [
        Row("ours", [100.0, 300.0, 200.0], [400.0], looks),
        Row("ours_loader", [150.0], [400.0], looks),
        Row("torchmeta", [4.0, 2.0, 3.0], [5.0], looks),
        Row("learn2learn", [2.0], [5.0], {"images": 40}),
        Row("torchmeta_memory", failure=episodes.told(NotInstalledError("No module named 'x'"))),
    ]


def test_ratios_are_of_medians_and_ours_is_not_compared_with_itself() -> None:
    shown = episodes.lines(Table("work", rows(), 1.0))
    assert [len(line) for line in shown] == [len(episodes.HEADER)] * 5
    assert shown[0] == ["ours, sample", "200", "100 to 300", "", "400", ""]
    assert shown[1][3] == shown[1][5] == ""
    assert shown[2][1:] == ["3", "2 to 4", "66.7 times", "5", "80 times"]
    assert shown[3][0] == "learn2learn (other images)"
    assert shown[4][1] == "not found"


def test_without_ours_there_are_no_ratios() -> None:
    [line] = episodes.lines(Table("work", rows()[2:3], 1.0))
    assert line[1:] == ["3", "2 to 4", "", "5", ""]


def test_a_document_says_how_it_was_made_and_names_no_paths() -> None:
    arguments = ["--torchmeta=/secret/a", "--learn2learn", "/secret/b", "--folder", "/secret/c"]
    arguments += ["--output", "/secret/loading.md"]
    table = Table(WORKS["omniglot"].title, rows(), 0.5, [0.4, 0.5, 0.6])
    document = episodes.markdown([table], {"torch": "2"}, arguments)
    assert "secret" not in document
    assert (
        "python -m benchmarks.episodes --torchmeta=PATH --learn2learn PATH --folder PATH "
        "--output loading.md" in document
    )
    assert "not found (No module named 'x'): name a checkout with --torchmeta" in document
    assert "Ours had 50 % of one core in the median turn." in document
    assert "are 0.5 MB of numbers: ours writes 0.2 GB of them in a second" in document
