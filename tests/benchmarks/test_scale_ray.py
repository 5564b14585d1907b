"""A search by Ray's own scheduler, of trials that compute nothing: each is accounted for."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from benchmarks.scale_ray import BEST, SEEDS, RaySearch
from benchmarks.scale_story import EPISODES, RUNGS, SIMULATED, fate, metric, words
from search import ray_cluster
from search.study import CONFIG, REASON

ENDS = {"final": "COMPLETE", "diverged": "PRUNED", "failed": "FAIL"}


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ray_cluster.SETTINGS.items():
        monkeypatch.setenv(name, os.environ.get(name, value))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def quick_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: on a slow disk, 5,000 commits would be the test."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or shutil.disk_usage(memory).free < 1e9:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_trials_tell_of_their_rungs_and_their_end() -> None:
    ends = Counter(words(number, 0.01, seed=0)[-1]["phase"] for number in range(500))
    assert ends["final"] > 450
    assert min(ends["diverged"], ends["failed"]) >= 3
    whole = next(w for w in (words(number, 0.01, 0) for number in range(500)) if len(w) == 3)
    assert [each["phase"] for each in whole] == ["rung", "rung", "final"]
    assert [each["episodes"] for each in whole[-1]["history"]] == [*RUNGS, EPISODES]


@pytest.mark.parametrize(
    ("trials", "processes"),
    [
        pytest.param(80, 2, id="shortened"),
        pytest.param(
            2000, 4, id="two thousand", marks=[pytest.mark.faults, pytest.mark.timeout(1500)]
        ),
    ],
)
def test_every_trial_is_accounted_for(
    trials: int, processes: int, tmp_path: Path, quick_disk: Path
) -> None:
    url = f"sqlite:///{quick_disk / 'study.db'}"
    search = RaySearch("scale", url, trials, processes, tmp_path)
    marks = search.run((trials // 2, trials))
    assert [mark.trials for mark in marks] == [trials // 2, trials]
    for mark in marks:
        assert mark.reports >= 1
        assert min(mark.suggest_ms, mark.conductor_ms, mark.tune_ms, mark.memory_mb) > 0
        assert mark.share(256, 60.0) > 0

    stored = optuna.load_study(study_name="scale", storage=url).trials
    assert [trial.number for trial in stored] == list(range(trials))
    for trial in stored:
        phase, part, luck = fate(trial.number, search.spec.seed)
        outer_lr = trial.user_attrs[CONFIG]["hyper"]["outer_lr"]
        values = {step: metric(outer_lr, luck, step) for step in (*RUNGS, EPISODES)}
        seen = {step: trial.intermediate_values[step] for step in trial.intermediate_values}
        reason = trial.user_attrs.get(REASON, "")
        if SIMULATED in reason:
            assert trial.state.name == ENDS[phase] != "COMPLETE"
            values = {step: value for step, value in values.items() if step < part * EPISODES}
            assert values.items() <= seen.items()
        elif trial.state.name == "COMPLETE":
            assert phase == "final"
            assert (trial.value, seen) == (values[EPISODES], values)
        else:
            assert (trial.state.name, bool(reason)) == ("PRUNED", True)
            assert list(seen.items()) == list(values.items())[: len(seen)]
    states = Counter(trial.state.name for trial in stored)
    assert {"COMPLETE", "PRUNED"} <= set(states)
    assert len(search.study.notes()) == BEST * SEEDS
