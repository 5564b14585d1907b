from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from algorithms.engine import Formulation
from episodes.episode import Episodes, Examples, Kind, Split
from networks import Params
from search import checkpoint, training
from search.devices import make_current
from search.outer_loop import OuterLoop
from search.records import EpisodeRecords
from search.run_job import SEAL_SECONDS
from search.snapshot import Snapshot
from search.training import Report, hyperparameters, meta_train, seconds_to_report
from tests.search.small_runs import (
    PAIRS,
    RANKING,
    RUNG,
    TEST,
    NoisyPrototypes,
    distribution,
    small_config,
)


class Recalled(NoisyPrototypes):
    """Notes what is drawn and measured, and takes memory to measure."""

    measures = ("recall",)

    def __init__(self) -> None:
        self.drawn: list[Split] = []
        self.measured = 0

    def sample(self, split: Split, seed: int, indices: np.ndarray | range) -> Episodes:
        self.drawn.append(split)
        return super().sample(split, seed, indices)

    def measure(
        self, predict: Callable[[torch.Tensor], torch.Tensor], query: Examples
    ) -> dict[str, torch.Tensor]:
        self.measured += 1
        held = torch.ones(int(LARGE_MB * 1e6 / 4))
        return {"recall": predict(query.inputs).mean((1, 2)) * held[0]}


LARGE_MB = 400.0


@pytest.fixture
def every_batch_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "REPORT_SECONDS", 0.0)


def rows(reports: Sequence[Report], split: str) -> list[EpisodeRecords]:
    return [part for r in reports for part in r.records if (part.split == split).all()]


def column(reports: Sequence[Report], split: str, name: str) -> np.ndarray:
    return np.concatenate([getattr(part, name) for part in rows(reports, split)])


def assert_same_run(found: Sequence[Report], expected: Sequence[Report]) -> None:
    """To the last bit, in all but measured time and memory."""
    assert [r.phase for r in found] == [r.phase for r in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.episodes, ours.validation, ours.test) == (
            theirs.episodes,
            theirs.validation,
            theirs.test,
        )
        assert_same_snapshot(ours.snapshot, theirs.snapshot)
        for part, other in zip(ours.records, theirs.records, strict=True):
            for field in fields(EpisodeRecords):
                if field.name != "seconds":
                    np.testing.assert_equal(getattr(part, field.name), getattr(other, field.name))


def assert_same_snapshot(found: Snapshot, expected: Snapshot) -> None:
    assert found.tensors.keys() == expected.tensors.keys()
    for name, value in found.tensors.items():
        assert torch.equal(value, expected.tensors[name]), name
    assert found.state | {"train_seconds": 0} == expected.state | {"train_seconds": 0}


def test_only_a_gpu_with_a_number_is_made_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", made.append)
    for name in ("cpu", "cuda", "mps", "cuda:1"):
        make_current(torch.device(name))
    assert made == [torch.device("cuda:1")]


def test_what_a_gpu_was_to_do_a_cpu_does_in_its_own_way() -> None:
    """As where a configuration that was found on a GPU is trained with `device: cpu`."""
    plain = Formulation(8).to_dict()
    captured = Formulation(8, captured=True, precision="tf32", gpu_share=0.5).to_dict()
    found, expected = (
        list(meta_train(small_config(formulation=each), distribution("regression")))
        for each in (captured, plain)
    )
    last = found[-1].snapshot
    assert not last.state["formulation"]["captured"]
    for name, value in expected[-1].snapshot.tensors.items():
        assert torch.equal(last.tensors[name], value)


@pytest.mark.parametrize("batch", [1, 5, 24, 100])
def test_reports_come_at_the_rungs_and_at_the_end(batch: int) -> None:
    config = small_config(rungs=(8, 16), meta_batch_size=batch)
    reports = list(meta_train(config, distribution("regression")))
    told = [(r.phase, r.episodes) for r in reports if r.phase != "train"]
    assert told == [("rung", 8), ("rung", 16), ("final", 24)]
    assert [entry["episodes"] for entry in reports[-1].snapshot.state["history"]] == [8, 16, 24]


@pytest.mark.parametrize("batch", [1, 5, 24, 100])
def test_every_training_episode_is_seen_and_recorded_once(batch: int) -> None:
    config = small_config(meta_batch_size=batch)
    reports = list(meta_train(config, distribution("regression")))
    np.testing.assert_array_equal(column(reports, "train", "index"), np.arange(24))
    seen = column(reports, "train", "episodes_seen")
    assert (np.diff(seen) >= 0).all()
    assert seen[-1] == 24


def test_what_reports_hold() -> None:
    config = small_config(kind="classification")
    reports = list(meta_train(config, distribution("classification")))
    rung = next(r for r in reports if r.phase == "rung")
    final = reports[-1]
    assert rung.validation is not None
    assert rung.test is None
    assert rung.validation.n == RUNG
    assert final.validation is not None
    assert final.test is not None
    assert (final.validation.n, final.test.n) == (RANKING, TEST)
    accuracy = column([final], "validation", "score_after")
    assert final.validation.mean == pytest.approx(accuracy.mean())
    assert final.snapshot.state["history"][-1] == {"episodes": 24, "value": final.validation.mean}
    assert final.train_seconds > 0
    assert final.peak_memory_mb > 0
    assert final.adaptation_ms > 0
    assert final.reason == ""


@pytest.mark.usefixtures("every_batch_reports")
@pytest.mark.parametrize(("algorithm", "kind"), PAIRS)
def test_a_resumed_training_is_the_uninterrupted_one(
    algorithm: str, kind: Kind, tmp_path: Path
) -> None:
    """From what a checkpoint on disk holds of any of its reports."""
    config = small_config(algorithm, kind)
    uninterrupted = list(meta_train(config, distribution(kind)))
    assert len(uninterrupted) == 8  # two batches and a rung, four batches and the end
    for i, report in enumerate(uninterrupted):
        checkpoint.save(tmp_path, report.snapshot, config)
        found = checkpoint.load(tmp_path, config)
        assert_same_snapshot(found.snapshot, report.snapshot)
        resumed = meta_train(found.config, distribution(kind), found.snapshot)
        assert_same_run(list(resumed), uninterrupted[i + 1 :])


def test_time_spent_before_an_interruption_counts() -> None:
    config = small_config()
    first = next(meta_train(config, distribution("regression")))
    snapshot = replace(first.snapshot, state=first.snapshot.state | {"train_seconds": 1000.0})
    *_, last = meta_train(config, distribution("regression"), snapshot)
    assert last.train_seconds > 1000


@pytest.mark.usefixtures("every_batch_reports")
def test_a_seed_repeats_a_training_and_another_one_does_not() -> None:
    first, again, other = (
        list(meta_train(small_config(seed=seed), distribution("regression"))) for seed in (1, 1, 2)
    )
    assert_same_run(again, first)
    for split in ("train", "rung", "test"):
        ours, theirs = (column(run, split, "loss_after") for run in (first, other))
        assert not np.isclose(ours, theirs).any()
    assert (column(first, "rung", "index") == column(other, "rung", "index")).all()


@pytest.mark.usefixtures("every_batch_reports")
@pytest.mark.parametrize("algorithm", ["maml", "reptile", "anil"])
def test_a_training_that_diverges_says_so_and_keeps_its_episodes(algorithm: str) -> None:
    config = small_config(algorithm, inner_lr=1e20)
    reports = list(meta_train(config, distribution("regression")))
    last = reports[-1]
    assert last.phase == "diverged"
    assert "training loss is" in last.reason
    losses = column(reports, "train", "loss_after")
    first = np.flatnonzero(~np.isfinite(losses))[0]
    assert last.reason.endswith(f"at episode {first}")
    assert all(np.isfinite(entry["value"]) for entry in last.snapshot.state["history"])


class NoNumbersAtValidation(NoisyPrototypes):
    """Meta-validation images are not numbers."""

    def sample(self, split: Split, seed: int, indices: np.ndarray | range) -> Episodes:
        episodes = super().sample(split, seed, indices)
        if split == "validation":
            episodes.query.inputs[:] = np.nan
        return episodes


def test_a_validation_loss_that_is_not_finite_is_a_divergence() -> None:
    *_, last = meta_train(small_config(kind="classification"), NoNumbersAtValidation())
    assert last.phase == "diverged"
    assert last.reason == "query loss on meta-validation is nan after 8 episodes"
    assert len(column([last], "rung", "loss_after")) == RUNG
    assert last.snapshot.state["history"] == []


def test_the_formulation_of_the_configuration_is_kept() -> None:
    config = small_config(formulation={"chunk": 2})
    *_, last = meta_train(config, distribution("regression"))
    assert last.snapshot.state["formulation"] == Formulation(2).to_dict()
    *_, whole = meta_train(small_config(), distribution("regression"))
    assert whole.snapshot.state["formulation"]["chunk"] > 2
    assert last.test is not None
    assert whole.test is not None
    assert last.test.mean == pytest.approx(whole.test.mean, rel=1e-3)


def test_a_resumed_training_keeps_the_formulation_that_it_began_with() -> None:
    config = small_config(kind="classification", formulation=Formulation(2).to_dict())
    first = next(meta_train(config, distribution("classification")))
    assert first.snapshot.state["formulation"] == Formulation(2).to_dict()
    elsewhere = replace(config, formulation=Formulation(3).to_dict())
    *_, last = meta_train(elsewhere, distribution("classification"), first.snapshot)
    assert last.snapshot.state["formulation"] == Formulation(2).to_dict()


def test_hyperparameters_are_tensors_but_for_counts() -> None:
    found = hyperparameters(small_config(), torch.device("cpu"))
    assert isinstance(found["inner_lr"], torch.Tensor)
    assert found["inner_steps"] == 2
    assert isinstance(found["meta_batch_size"], int)
    assert "outer_optimizer" not in found


def test_maml_learns_sinusoids() -> None:
    config = small_config(
        settings={"width": 40, "depth": 2},
        episodes=5000,
        rungs=(),
        meta_batch_size=10,
        inner_steps=1,
        inner_lr=0.02,
        inner_steps_evaluation=5,
        outer_schedule="constant",
    )
    config = replace(config, problem=replace(config.problem, test_episodes=200))
    *_, last = meta_train(config, distribution("regression"))
    after, before = (column([last], "test", f"loss_{when}").mean() for when in ("after", "before"))
    assert after < 0.4 * before


@pytest.mark.parametrize(
    ("trained", "expected"), [(0.0, 1.0), (5.0, 1.0), (10.0, 2.0), (24.0, 4.8), (1e6, 5.0)]
)
def test_reports_come_less_often_as_a_trial_grows_old(trained: float, expected: float) -> None:
    assert seconds_to_report(trained) == pytest.approx(expected)
    assert seconds_to_report(trained) < SEAL_SECONDS / 2  # A seal waits for a report.


def test_an_old_trial_reports_as_seldom_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that shows a second more each time it is read, as a batch of a second would."""
    seconds = iter(range(10_000))
    monkeypatch.setattr(training.time, "perf_counter", lambda: float(next(seconds)))
    config = small_config(episodes=480, rungs=(), meta_batch_size=4)
    reports = list(meta_train(config, distribution("regression")))
    trained = [report.episodes for report in reports if report.phase == "train"]
    between = np.diff(trained)
    assert between[0] < between[-2]
    assert list(between[:-1]) == sorted(between[:-1])


def test_a_trial_that_is_measured_evaluates_before_it_tells_its_peak(
    every_batch_reports: None,
) -> None:
    """An evaluation may take more memory than training, and come hours later."""
    config = small_config("pretrain", "classification", rungs=())
    peaks, runs = {}, {}
    for measured in (True, False):
        source = Recalled()
        reports = meta_train(config, source, measured=measured)
        first = next(reports)
        assert first.phase == "train"
        assert source.measured == int(measured)
        assert ("validation" in source.drawn) == measured
        assert "test" not in source.drawn
        peaks[measured] = first.peak_memory_mb
        runs[measured] = [first, *reports]
    assert peaks[True] - peaks[False] > 0.7 * LARGE_MB
    assert_same_run(runs[True], runs[False])
    assert runs[False][-1].peak_memory_mb - peaks[False] > 0.7 * LARGE_MB


@pytest.mark.parametrize("seeds", [1, 2])
def test_measuring_goes_on_from_a_snapshot_with_the_same_numbers(
    every_batch_reports: None, seeds: int
) -> None:
    config = small_config(seeds=seeds)
    source = distribution("regression")
    whole = list(meta_train(config, source))
    half = next(i for i, report in enumerate(whole) if report.phase == "rung")
    rest = list(meta_train(config, source, whole[half].snapshot, measured=True))
    assert_same_run(rest, whole[half + 1 :])


def test_schedules_and_annealing_go_by_what_was_spent_before_a_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spent: list[float] = []
    step = OuterLoop.step

    def noted(outer: OuterLoop, gradients: Params, progress: float) -> None:
        spent.append(progress)
        step(outer, gradients, progress)

    monkeypatch.setattr(OuterLoop, "step", noted)
    config = small_config("maml", "regression", episodes=12, rungs=(), meta_batch_size=4)
    list(meta_train(config, distribution("regression")))
    assert spent == pytest.approx([0.0, 1 / 3, 2 / 3])
