"""A job from its start to its end, and what is told when it fails."""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from episodes import DataError
from episodes.episode import Episodes, Split
from search import checkpoint, training
from search.attempts import SupersededError
from search.jobs import Job, Progress
from search.kernel_kills import KernelKills
from search.run_job import DEATHS, HUNG, NO_MEMORY, SEAL_SECONDS, run_job
from search.trial_folder import TrialFolder
from tests.search.running_jobs import CONFIG, Published, nowhere, start, table
from tests.search.small_runs import NoisyPrototypes, distribution, small_config


@pytest.fixture
def every_batch_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "REPORT_SECONDS", 0.0)


class Failing(NoisyPrototypes):
    """Works for some calls, then raises."""

    def __init__(self, error: Exception, calls: int = 0) -> None:
        self.error, self.left = error, calls

    def sample(self, split: Split, seed: int, indices: np.ndarray | range) -> Episodes:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().sample(split, seed, indices)


def test_a_job_runs_to_its_end_and_seals_every_episode(tmp_path: Path) -> None:
    published = Published()
    told = list(start(tmp_path, publish=published))
    assert [(p.phase, p.episodes) for p in told if p.phase != "train"] == [
        ("rung", 8),
        ("rung", 16),
        ("final", 24),
    ]
    counts = TrialFolder(tmp_path).table()["split"].value_counts().to_dict()
    assert counts == {"train": 24, "rung": 2 * 4, "validation": 5, "test": 6}
    assert published.rows == [8 + 4, 16 + 8, 24 + 8 + 5 + 6]
    assert published.ended


def test_progress_tells_the_values_so_far(tmp_path: Path) -> None:
    told = [p for p in start(tmp_path) if p.phase != "train"]
    values = [p.value for p in told]
    assert [entry["value"] for entry in told[-1].history] == values
    final = told[-1].summaries
    assert final["validation_mean"] == values[-1]
    assert (final["validation_n"], final["test_n"], final["episodes"]) == (5, 6, 24)
    assert final["validation_baseline"] == final["test_baseline"] == 1 / 3
    assert final["test_ci95_low"] <= final["test_mean"] <= final["test_ci95_high"]
    assert all(math.isfinite(value) for value in final.values())
    assert Progress.from_json(told[-1].to_json()) == told[-1]


@pytest.mark.usefixtures("every_batch_reports")
@pytest.mark.parametrize("reports", range(1, 9))
@pytest.mark.parametrize("tick", [0.0, SEAL_SECONDS], ids=["sealed-at-rungs", "sealed-often"])
def test_an_interrupted_job_ends_with_the_table_of_an_uninterrupted_one(
    tmp_path: Path, reports: int, tick: float
) -> None:
    whole = list(start(tmp_path / "whole"))
    assert len(whole) == 9  # two batches before each of two rungs and the end
    ticks = itertools.count()
    interrupted = start(tmp_path / "parts", clock=lambda: tick * next(ticks))
    for _ in range(reports):
        next(interrupted)
    del interrupted  # as when a process is killed: what was not sealed is gone
    *_, last = start(tmp_path / "parts")
    assert last.history == whole[-1].history
    pd.testing.assert_frame_equal(table(tmp_path / "parts"), table(tmp_path / "whole"))


@pytest.mark.usefixtures("every_batch_reports")
def test_a_job_goes_on_from_what_it_has_sealed(tmp_path: Path) -> None:
    told = start(tmp_path)
    while next(told).phase != "rung":
        pass
    again = [p.episodes for p in start(tmp_path)]
    assert min(again) > 8


@pytest.mark.usefixtures("every_batch_reports")
def test_long_stretches_of_training_are_sealed_on_the_way(tmp_path: Path) -> None:
    published = Published()
    ticks = itertools.count()
    told = start(tmp_path, publish=published, clock=lambda: SEAL_SECONDS * next(ticks))
    assert [next(told).phase for _ in range(2)] == ["train", "train"]
    assert published.rows == [5, 8]


@pytest.mark.usefixtures("every_batch_reports")
def test_between_two_seals_nothing_is_written(tmp_path: Path) -> None:
    published = Published()
    told = start(tmp_path, publish=published, clock=lambda: SEAL_SECONDS / 2)
    next(told)
    assert published.rows == []
    assert TrialFolder(tmp_path).shards == ()


def test_a_job_that_has_ended_tells_its_result_without_training(tmp_path: Path) -> None:
    *_, last = start(tmp_path)
    published = Published()
    broken = Failing(AssertionError("drawn again"))
    assert list(start(tmp_path, broken, publish=published)) == [last]
    assert published.rows == [24 + 8 + 5 + 6]


@pytest.mark.parametrize("algorithm", ["maml", "reptile"])
def test_a_divergence_keeps_its_episodes_and_is_told_again(tmp_path: Path, algorithm: str) -> None:
    config = small_config(algorithm, inner_lr=1e20)

    def run() -> list[Progress]:
        folder = TrialFolder(tmp_path)
        return list(run_job(config, distribution("regression"), folder, nowhere, by="driver"))

    *_, last = run()
    assert last.phase == "diverged"
    assert last.reason.startswith("training loss is")
    assert not np.isfinite(TrialFolder(tmp_path).table()["loss_after"]).all()
    (again,) = run()
    assert (again.phase, again.reason, again.history) == ("diverged", last.reason, last.history)


def test_an_exception_fails_the_job_and_leaves_its_traceback(tmp_path: Path) -> None:
    (only,) = start(tmp_path, Failing(RuntimeError("no such disk\nmore")))
    assert only.phase == "failed"
    assert only.reason.startswith("RuntimeError: no such disk (traceback: ")
    text = (tmp_path / "error.txt").read_text()
    assert "Traceback" in text
    assert "in sample" in text
    assert str(tmp_path / "error.txt") in only.reason


SECRETS = ("t0ken", "p@ss/word", "s1gned", "qu3ry")


@pytest.mark.parametrize("kind", [RuntimeError, DataError, MemoryError])
def test_a_failure_tells_no_password_of_an_address(tmp_path: Path, kind: type[Exception]) -> None:
    cause = OSError("cannot read s3://me:p@ss/word@bucket/x?token=qu3ry&X-Amz-Signature=s1gned")
    error = kind("401: Unauthorized for url: https://user:t0ken@host/data?api_key=qu3ry\nmore")
    error.__cause__ = cause
    error.add_note("also tried: http://user:t0ken@mirror/data;sig=s1gned")
    (only,) = start(tmp_path, Failing(error))
    assert "401: Unauthorized for url: https://user:***@host/data?api_key=***" in only.reason
    told = [only.reason, *(file.read_text() for file in tmp_path.glob("error.txt"))]
    assert len(told) == (2 if kind is RuntimeError else 1)
    assert [secret for secret in SECRETS for text in told if secret in text] == []


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
    ids=["device", "host", "allocator"],
)
def test_lack_of_memory_is_told_apart(tmp_path: Path, error: Exception) -> None:
    (only,) = start(tmp_path, Failing(error))
    assert only.phase == "out_of_memory"
    assert only.reason.startswith(f"out of memory: {type(error).__name__}")
    assert only.ended


def test_a_failure_keeps_what_was_sealed_and_can_be_tried_again(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    *_, failed = start(parts, Failing(OSError("gone"), calls=5))
    assert failed.phase == "failed"
    assert len(TrialFolder(parts).table()) > 0
    *_, last = start(parts)
    assert last.phase == "final"
    list(start(whole))
    pd.testing.assert_frame_equal(table(parts), table(whole))


def test_the_folder_of_another_configuration_is_not_touched(tmp_path: Path) -> None:
    list(start(tmp_path))
    before = table(tmp_path)
    (only,) = start(tmp_path, config=small_config("anil", "classification"))
    assert only.phase == "failed"
    assert "belongs to another configuration" in only.reason
    pd.testing.assert_frame_equal(table(tmp_path), before)


@pytest.mark.usefixtures("every_batch_reports")
def test_a_process_that_was_taken_over_seals_nothing_more(tmp_path: Path) -> None:
    whole = list(start(tmp_path / "whole"))
    old = start(tmp_path / "parts")
    while next(old).phase != "rung":
        pass
    new = start(tmp_path / "parts")
    next(new)
    with pytest.raises(SupersededError, match=f"taken over by process {os.getpid()} on"):
        list(old)
    *_, last = new
    assert last.history == whole[-1].history
    pd.testing.assert_frame_equal(table(tmp_path / "parts"), table(tmp_path / "whole"))


@pytest.mark.usefixtures("every_batch_reports")
def test_a_process_that_dies_in_one_place_again_and_again_is_given_up(tmp_path: Path) -> None:
    told = start(tmp_path, by="driver")
    while next(told).phase != "rung":
        pass
    del told
    for _ in range(DEATHS):
        assert next(start(tmp_path, by="driver")).phase == "train"
    (only,) = start(tmp_path, by="driver")
    assert only.phase == "failed"
    assert only.reason == f"its process died {DEATHS} times in a row without getting any further"
    *_, last = start(tmp_path, by="another driver")
    assert last.phase == "final"


def test_a_job_that_hung_is_not_run_again(tmp_path: Path) -> None:
    stacks = """Timeout (0:01:00)!
Thread 0x00007f (most recent call first):
  File "/lib/queue.py", line 180 in get

Thread 0x00008f (most recent call first):
  File "/mine/learner.py", line 12 in adapt
  File "/search/run_job.py", line 80 in run_job
"""
    (tmp_path / HUNG).write_text(stacks)
    (only,) = start(tmp_path)
    assert only.phase == "failed"
    assert only.reason.startswith(
        "hung: it told nothing for the trial_timeout, in adapt (/mine/learner.py, line 12); "
    )
    assert str(tmp_path / HUNG) in only.reason


def test_a_job_whose_node_had_no_memory_left_tells_so_and_may_be_tried_again(
    tmp_path: Path,
) -> None:
    (tmp_path / NO_MEMORY).write_text("its node ran low on memory")
    (only,) = start(tmp_path)
    assert only.phase == "out_of_memory"
    assert only.reason == "out of memory: its node ran low on memory"
    assert list(start(tmp_path, room=2))[-1].phase == "final"


@pytest.mark.usefixtures("every_batch_reports")
def test_a_process_that_dies_while_the_kernel_kills_for_memory_tells_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = [KernelKills("boot", "group", 7)]
    monkeypatch.setattr(KernelKills, "here", lambda: kills[0])
    told = start(tmp_path, by="driver")
    while next(told).phase != "rung":
        pass
    del told
    kills[0] = KernelKills("boot", "group", 8)
    (only,) = start(tmp_path, by="driver")
    assert only.phase == "out_of_memory"
    assert only.reason.startswith("out of memory: the kernel killed a process")
    assert next(start(tmp_path, by="driver", room=2)).phase == "train"
    kills[0] = KernelKills("another boot", "group", 9)
    assert list(start(tmp_path, by="driver", room=2))[-1].phase == "final"


def test_what_is_sealed_by_another_version_blocks_the_job(tmp_path: Path) -> None:
    told = start(tmp_path)
    while next(told).phase != "rung":
        pass
    del told
    before = table(tmp_path)
    [file] = tmp_path.glob("checkpoints/*/checkpoint.json")
    content = file.read_text()
    file.write_text(content.replace(checkpoint.FORMAT, "metasweep-checkpoint-2"))
    (only,) = start(tmp_path)
    assert only.phase == "blocked"
    assert f"{file}: not a checkpoint of this version" in only.reason
    file.write_text(content)
    pd.testing.assert_frame_equal(table(tmp_path), before)
    *_, again = start(tmp_path)
    assert again.phase == "final"


def test_more_room_means_smaller_chunks_and_the_same_result(tmp_path: Path) -> None:
    usual, smaller = [list(start(tmp_path / str(room), room=room))[-1] for room in (1, 2)]
    assert smaller.value == pytest.approx(usual.value, rel=1e-4)
    chunks = {
        room: TrialFolder(tmp_path / str(room)).newest(CONFIG).state["formulation"]["chunk"]
        for room in (1, 2)
    }
    assert chunks[2] <= CONFIG.hyper["meta_batch_size"] // 2
    assert chunks[2] < chunks[1]
    *_, again = start(tmp_path / "2", room=2)
    assert again == smaller


@pytest.mark.parametrize("measured", [True, False])
def test_a_job_that_is_measured_evaluates_at_once(tmp_path: Path, measured: bool) -> None:
    source = NoisyPrototypes()
    drawn: list[Split] = []
    sample = source.sample
    source.sample = lambda split, *which: drawn.append(split) or sample(split, *which)  # type: ignore
    assert next(start(tmp_path, source, measured=measured)).phase == "train"
    assert ("validation" in drawn) == measured


def test_a_job_travels_as_text() -> None:
    job = Job("confirmation", 7, CONFIG, "/somewhere", room=2, measured=True)
    assert Job.from_json(job.to_json()) == job
    assert job.name == "confirm-007-seed-1"
    progress = Progress("train", 3)
    again = Progress.from_json(progress.to_json())
    assert math.isnan(again.value)
    assert not again.ended
