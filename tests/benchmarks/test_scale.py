"""The simulated search of the benchmark is a search: it ends as asked, and alike for all."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import scale
from benchmarks.plain_study import PlainStudy
from benchmarks.scale_search import EPISODES, SIMULATED, Simulation, halving, reports, specification
from search.jobs import Job
from search.study import SearchStudy

TRIALS = 40


def simulated(kind: type[SearchStudy], folder: Path) -> tuple[SearchStudy, Simulation]:
    spec = specification(TRIALS)
    url = f"sqlite:///{folder / f'{kind.__name__}.db'}"
    study = kind("scale", url, "minimize", halving(spec), spec.seed)
    return study, Simulation(study, spec, concurrent=8, seconds=60.0)


def test_a_simulated_search_runs_every_trial_once(tmp_path: Path) -> None:
    study, simulation = simulated(SearchStudy, tmp_path)
    first, last = simulation.run((20, TRIALS))
    assert (first.trials, last.trials) == (20, TRIALS)
    assert all(value > 0 for mark in (first, last) for value in vars(mark).values())
    states = [trial.state.name for trial in study.trials()]
    assert len(states) == TRIALS
    assert "RUNNING" not in states
    assert {"COMPLETE", "PRUNED"} <= set(states)
    assert len(study.notes()) == 3 * 2  # confirmations
    assert not simulation.conductor.running


def test_the_plain_study_decides_alike(tmp_path: Path) -> None:
    """What is compared differs in speed alone, as long as suggestions see all trials."""
    ours, simulation = simulated(SearchStudy, tmp_path)
    list(simulation.run((TRIALS,)))
    plain, simulation = simulated(PlainStudy, tmp_path)
    list(simulation.run((TRIALS,)))
    for one, other in zip(ours.trials(), plain.trials(), strict=True):
        for name in ("params", "state", "values", "user_attrs", "intermediate_values"):
            assert getattr(one, name) == getattr(other, name)


def test_a_simulated_trial_tells_its_story_in_order(tmp_path: Path) -> None:
    _, simulation = simulated(SearchStudy, tmp_path)
    ends = []
    for _ in range(TRIALS // 5):
        job = simulation.conductor.next_job()
        assert isinstance(job, Job)
        told = list(reports(job, 60.0, seed=0))
        times = [seconds for seconds, _ in told]
        assert times == sorted(times)
        assert times[-1] <= 60.0
        phases = [progress.phase for _, progress in told]
        assert phases[-1] in ("final", "diverged", "failed")
        if phases[-1] == "final":
            assert times[-1] == 60.0
            assert phases.count("rung") == 2
            assert [each["episodes"] for each in told[-1][1].history] == [1000, 3000, EPISODES]
        else:
            assert told[-1][1].reason == SIMULATED
        ends.append(len(told))
    assert max(ends) < 30


def test_the_command_prints_what_it_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--trials", "5", "10", "--plain", "5", "--concurrent", "4"]
    monkeypatch.setattr(sys, "argv", ["scale", *arguments, "--json"])
    scale.main()
    found = json.loads(capsys.readouterr().out)["simulated"]
    named = [(row["study"], row["trials"]) for row in found]
    assert named == [("ours sqlite", 5), ("ours sqlite", 10), ("plain sqlite", 5)]
    for row in found:
        spent = row["suggest_ms"] + row["decide_ms"]
        assert row["share"] == pytest.approx(1e-3 * spent * 4 / 60)
    monkeypatch.setattr(sys, "argv", ["scale", *arguments])
    scale.main()
    table = capsys.readouterr().out
    assert "plain sqlite" in table
    assert "of a core" in table
