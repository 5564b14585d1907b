"""A search that is interrupted three times, by Ctrl-C, SIGTERM and SIGKILL, and then ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import optuna
import pytest
from optuna.trial import FrozenTrial

from search.config import Config
from search.distribution import distribution_of
from search.tracking_reader import Reader
from search.training import meta_train
from tests.cli import Done, run, run_ids, session_members, started, wait_until

SPEC = """
name: slow
problem:
  task: sinusoid
  shots: 10
  query_shots: 10
  evaluation: {rung_episodes: 20, ranking_episodes: 40, test_episodes: 50}
algorithms: [pretrain, maml]
networks: [mlp]
space: {maml/inner_steps: 5, maml/meta_batch_size: 4, maml/outer_lr: 0.003}
budget: {trials: 3, episodes: 11200, first_rung: 1400, reduction_factor: 2}
confirmation: {best: 0}
concurrency: 1
"""
TRIALS, EPISODES = 3, 11200
# The first trial is over in a second. The second is at work while all of this happens to it.
QUICK, SLOW = 0, 1
# They do no work for a search, and take a minute to notice that their node was killed.
RAY_AGENTS = {"ray::DashboardA", "ray::RuntimeEnv"}


class State(NamedTuple):
    """The states and run ids of the trials in a study, by number."""

    states: dict[int, str]
    run_ids: dict[int, str]


@dataclass(frozen=True)
class Interrupted:
    """How one driver ended, and how it left the study."""

    done: Done
    left: State


@dataclass(frozen=True)
class History:
    """What happened to the search; `second` is a driver that was started beside the first.

    at_work: names of the first driver's processes while a trial ran.
    """

    folder: Path
    at_work: set[str]
    second: Done
    first_pid: int
    interruptions: dict[str, Interrupted]
    last: Done


def trials_in(folder: Path) -> list[FrozenTrial]:
    url = f"sqlite:///{folder / 'metasweep-store' / 'slow' / 'study.db'}"
    return optuna.load_study(study_name="slow", storage=url).get_trials(deepcopy=False)


def state_of(folder: Path) -> State:
    trials = [trial for trial in trials_in(folder) if trial.state.name != "WAITING"]
    return State(
        {trial.number: trial.state.name for trial in trials},
        run_ids(folder / "metasweep-store" / "slow"),
    )


def slow_trial_sealed(folder: Path, attempt: int) -> Callable[[], bool]:
    """Return whether the slow trial has sealed episodes in an attempt: every driver makes one."""
    trial = folder / "metasweep-store" / "slow" / "trials" / f"trial-{SLOW:03d}"
    return lambda: any((trial / "episodes").glob(f"*-{attempt:04d}.parquet"))


def ctrl_c(driver: subprocess.Popen[str]) -> None:
    """Do what a terminal does: every process in the foreground is told."""
    os.killpg(driver.pid, signal.SIGINT)


def terminate(driver: subprocess.Popen[str]) -> None:
    driver.terminate()


def kill(driver: subprocess.Popen[str]) -> None:
    driver.kill()


def interrupted(
    interrupt: Callable[[subprocess.Popen[str]], None],
    driver: subprocess.Popen[str],
    folder: Path,
) -> Interrupted:
    """Interrupt a driver and wait for its end, and for that of all processes it started."""
    interrupt(driver)
    output, _ = driver.communicate(timeout=120)
    tolerated = RAY_AGENTS if interrupt is kill else set()
    wait_until(lambda: set(session_members(driver).values()) <= tolerated, 60, "the end of Ray")
    return Interrupted(Done(driver.returncode, output), state_of(folder))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    folder = tmp_path_factory.mktemp("interrupted")
    (folder / "slow.yaml").write_text(SPEC)
    interruptions = {}
    with started("search", "slow.yaml", folder=folder) as driver:
        holder = folder / "metasweep-store" / "slow" / "driver.json"
        wait_until(holder.exists, 300, "a driver that holds the search")
        second = run("resume", "slow", folder=folder)
        wait_until(slow_trial_sealed(folder, 1), 300, "a rung of the slow trial")
        at_work = set(session_members(driver).values())
        interruptions["ctrl_c"] = interrupted(ctrl_c, driver, folder)
    for attempt, interrupt in ((2, terminate), (3, kill)):
        with started("resume", "slow", folder=folder) as later:
            wait_until(slow_trial_sealed(folder, attempt), 300, "the next rung of the slow trial")
            interruptions[interrupt.__name__] = interrupted(interrupt, later, folder)
    last = run("resume", "slow", folder=folder)
    return History(folder, at_work, second, driver.pid, interruptions, last)


pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def config(history: History) -> Config:
    """The configuration of the slow trial."""
    return Config.from_dict(trials_in(history.folder)[SLOW].user_attrs["config"])


def test_second_driver_is_refused_and_told_who_works(history: History) -> None:
    assert history.second.code == 2
    message = f"error slow: is being driven already, by process {history.first_pid} on "
    assert message in history.second.output


def test_ray_keeps_no_process_that_no_trial_is_given(history: History) -> None:
    assert "ray::TrialActor" in {name[:15] for name in history.at_work}
    assert "ray::IDLE" not in history.at_work


@pytest.mark.parametrize("name", ["ctrl_c", "terminate"])
def test_orderly_end_says_how_to_go_on(name: str, history: History) -> None:
    done = history.interruptions[name].done
    assert done.code == 130, done.output
    assert re.search(r"^Interrupted\. Go on with: +metasweep resume slow$", done.output, re.M)
    assert "Traceback" not in done.output


def test_sudden_end_is_sudden(history: History) -> None:
    assert history.interruptions["kill"].done.code == -signal.SIGKILL


@pytest.mark.parametrize("name", ["ctrl_c", "terminate", "kill"])
def test_finished_trial_is_kept_and_running_one_can_go_on(name: str, history: History) -> None:
    left = history.interruptions[name].left
    assert left.states == {QUICK: "COMPLETE", SLOW: "RUNNING"}
    assert left.run_ids == history.interruptions["ctrl_c"].left.run_ids


def test_resumed_search_ends_with_the_trials_asked_for(history: History) -> None:
    assert history.last.code == 0, history.last.output
    assert "metasweep leaderboard slow" in history.last.output
    trials = trials_in(history.folder)
    assert [trial.number for trial in trials] == list(range(TRIALS))
    assert trials[QUICK].state.name == trials[SLOW].state.name == "COMPLETE"
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "PRUNED"}


def test_interrupted_trial_keeps_its_run(history: History) -> None:
    ended = state_of(history.folder)
    assert ended.run_ids.items() >= history.interruptions["ctrl_c"].left.run_ids.items()
    rows = Reader(f"sqlite:///{history.folder / 'mlflow.db'}").trials("slow")
    assert dict(zip(rows["run_id"], rows["state"], strict=True)) == {
        run_id: ended.states[number] for number, run_id in ended.run_ids.items()
    }


def test_interrupted_trial_has_every_episode_once(history: History, config: Config) -> None:
    run_id = state_of(history.folder).run_ids[SLOW]
    table = Reader(f"sqlite:///{history.folder / 'mlflow.db'}").episodes(run_id)
    assert list(table.loc[table["split"] == "train", "index"]) == list(range(EPISODES))
    rungs = table[table["split"] == "rung"]
    assert rungs.groupby("episodes_seen").size().to_dict() == dict.fromkeys(config.rungs, 20)
    assert (table["split"] == "validation").sum() == 40
    assert (table["split"] == "test").sum() == 50


def test_interrupted_trial_ends_with_the_numbers_of_an_uninterrupted_one(
    history: History, config: Config
) -> None:
    *_, report = meta_train(config, distribution_of(config.problem, None))
    assert report.validation is not None
    assert report.test is not None
    rows = Reader(f"sqlite:///{history.folder / 'mlflow.db'}").trials("slow")
    [row] = rows[rows["trial"] == SLOW].to_dict("records")
    assert row["validation_mean"] == report.validation.mean
    assert row["test_mean"] == report.test.mean
