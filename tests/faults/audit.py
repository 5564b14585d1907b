"""Compares what a search left in its study, in MLflow and on disk."""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial

from search.config import Config
from search.distribution import distribution_of
from search.episode_metrics import episode_metrics
from search.records import concatenate
from search.tracking_reader import Reader
from search.training import meta_train
from search.trial_folder import TrialFolder
from tests.cli import run_ids

ENDED = {"COMPLETE", "PRUNED", "FAIL"}
MEASURED = ["split", "index", "seed", "episodes_seen", "loss_before", "loss_after"]


@dataclass
class Audit:
    """What was found wrong. lost, doubled: episodes, counted wherever they are missing or twice."""

    lost: int = 0
    doubled: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether there is nothing to complain about."""
        return not (self.lost or self.doubled or self.wrong)

    def expect(self, condition: bool, complaint: str) -> None:
        """Complain unless the condition holds."""
        if not condition:
            self.wrong.append(complaint)

    def compare(self, what: str, found: Iterable[Any], expected: Iterable[Any]) -> None:
        """Count what of `expected` is missing in `found`, and what is there too often."""
        have, want = Counter(found), Counter(expected)
        missing, more = (want - have).total(), (have - want).total()
        self.lost += missing
        self.doubled += more
        self.expect(not missing and not more, f"{what}: {missing} lost, {more} doubled")


@dataclass(frozen=True)
class Left:
    """Where a search is."""

    folder: Path
    tracking_uri: str
    study_url: str

    @property
    def name(self) -> str:
        """The search's name."""
        return self.folder.name

    def trials(self) -> list[FrozenTrial]:
        """Return the trials of its study, but for those that only wait to be asked for."""
        storage = optuna.storages.RDBStorage(self.study_url)
        try:
            study = optuna.load_study(study_name=self.name, storage=storage)
            return [t for t in study.get_trials(deepcopy=False) if t.state.name != "WAITING"]
        finally:
            storage.engine.dispose()


def audit(left: Left, trials: int, repeat: Iterable[int] = ()) -> Audit:
    """Look at a search that has ended.

    trials: how many were asked for.
    repeat: numbers of trials to train again here, without any fault, which must give every number
        that the search has.
    """
    found = Audit()
    known = left.trials()
    numbers = [trial.number for trial in known]
    found.expect(numbers == list(range(trials)), f"trials {numbers}, {trials} asked for")
    frame = Reader(left.tracking_uri).trials(left.name)
    runs = frame[frame["kind"] == "trial"].set_index("run_id")
    per_trial = Counter(runs["trial"])
    found.expect(set(per_trial.values()) <= {1}, f"runs of a trial: {per_trial}")
    ids = run_ids(left.folder)
    for trial in known:
        config = trial.user_attrs.get("config")
        state, name = trial.state.name, f"trial {trial.number}"
        found.expect(state in ENDED, f"{name} is {state}")
        found.expect(trial.number in ids, f"{name} has no run")
        if config is None or trial.number not in ids:
            continue
        run = runs.loc[ids[trial.number]]
        found.expect(run["state"] == state, f"{name} is {state}, its run {run['state']}")
        reason = trial.user_attrs.get("reason", "")
        found.expect(run["reason"] == reason, f"{name}: {reason!r} is {run['reason']!r} in MLflow")
        _audit_episodes(found, left, trial, Config.from_dict(config), ids[trial.number])
    for number in repeat:
        _repeat(found, left, known[number])
    return found


@dataclass(frozen=True)
class Kept:
    """What a search has on disk at some moment, and must never compute again.

    shards: names of the sealed ones, by trial; each carries the number of its attempt.
    attempts: how many a trial has made, for those that are COMPLETE.
    """

    shards: dict[int, list[str]]
    attempts: dict[int, int]


def kept(left: Left) -> Kept:
    """Return what a search has now; its study is there once the first trial has a folder."""
    folders = {int(path.name[-3:]): path for path in (left.folder / "trials").glob("trial-*")}
    trials = left.trials() if folders else []
    return Kept(
        {number: _shards(path) for number, path in folders.items()},
        {t.number: _attempts(folders[t.number]) for t in trials if t.state.name == "COMPLETE"},
    )


def audit_kept(found: Audit, left: Left, before: Kept, interrupted: Iterable[int] = ()) -> None:
    """Look whether a search that has ended went on from what it had at an interruption.

    interrupted: trials that must have sealed something by then.
    """
    after = kept(left)
    for number in interrupted:
        found.expect(bool(before.shards.get(number)), f"trial {number} had sealed nothing")
    for number, names in before.shards.items():
        now = after.shards[number]
        found.expect(now[: len(names)] == names, f"trial {number}: of {names} it has {now}")
    for number, count in before.attempts.items():
        again = after.attempts.get(number)
        found.expect(again == count, f"trial {number} was COMPLETE, and ran again: {again}")


def _shards(trial: Path) -> list[str]:
    return [shard.name for shard in TrialFolder(trial).shards]


def _attempts(trial: Path) -> int:
    return len(list((trial / "attempts").glob("*.json")))


def _audit_episodes(
    found: Audit, left: Left, trial: FrozenTrial, config: Config, run_id: str
) -> None:
    name = f"trial {trial.number}"
    table = TrialFolder(left.folder / "trials" / f"trial-{trial.number:03d}").table()
    rows = _identities(table)
    found.compare(f"{name} on disk", rows, _expected(table, config, trial))
    train = table.loc[table["split"] == "train", "index"]
    found.expect(train.is_monotonic_increasing, f"{name}: training episodes out of order")
    reader = Reader(left.tracking_uri)
    sent = reader.episodes(run_id)
    found.compare(f"{name} in MLflow's artifacts", _identities(sent), rows)
    wanted = pd.DataFrame(list(episode_metrics(table, config)), columns=["key", "value", "step"])
    for key, points in wanted.groupby("key", sort=False):
        history = reader._client.get_metric_history(run_id, str(key))
        found.compare(
            f"{name} in MLflow, {key}",
            [(point.step, point.value) for point in history],
            zip(points["step"], points["value"], strict=True),
        )
    if trial.state.name == "COMPLETE":
        values = table.loc[table["split"] == "validation", "loss_after"]
        found.expect(trial.value == float(values.mean()), f"{name}: its value is not its mean")


def _expected(table: pd.DataFrame, config: Config, trial: FrozenTrial) -> list[tuple[Any, ...]]:
    """List the episodes that a trial must have, by split, episodes seen, index and seed."""
    problem, state = config.problem, trial.state.name
    seen = table.loc[table["split"] == "train", ["index", "episodes_seen"]]
    count = config.episodes if state == "COMPLETE" else len(seen)
    at = dict(zip(seen["index"], seen["episodes_seen"], strict=True))
    rows: list[tuple[Any, ...]] = [("train", at.get(i), i, config.seed) for i in range(count)]
    ranked = problem.rung_episodes
    # Sealed as a whole, and before the study hears of it. A trial that diverges or that memory does
    # not hold reports NaN, wherever that happens.
    judged = {rung for rung, value in trial.intermediate_values.items() if not math.isnan(value)}
    judged |= set(table.loc[table["split"] == "rung", "episodes_seen"])
    for rung in config.rungs:
        if state == "COMPLETE" or rung in judged:
            rows += [("rung", rung, i, config.seed) for i in range(ranked)]
    if state == "COMPLETE":
        chosen = range(ranked, ranked + problem.ranking_episodes)
        rows += [("validation", count, i, config.seed) for i in chosen]
        rows += [("test", count, i, config.seed) for i in range(problem.test_episodes)]
    return rows


def _identities(table: pd.DataFrame) -> list[tuple[Any, ...]]:
    columns = (table[name] for name in ("split", "episodes_seen", "index", "seed"))
    return list(zip(*columns, strict=True))


def _repeat(found: Audit, left: Left, trial: FrozenTrial) -> None:
    """Train without any fault, and compare every number."""
    table = TrialFolder(left.folder / "trials" / f"trial-{trial.number:03d}").table()
    again = _without_fault(json.dumps(trial.user_attrs["config"], sort_keys=True))
    for split, columns in again.items():
        ours = table[table["split"] == split]
        for column, its in columns.items():
            mine = ours[column].to_numpy()
            same = len(mine) == len(its) and np.array_equal(mine, its, equal_nan=True)
            found.expect(same, f"trial {trial.number}: {split} {column} differs when repeated")


@functools.cache
def _without_fault(config: str) -> dict[str, dict[str, np.ndarray]]:
    """Train once for all faults whose trials are configured alike; return columns by split."""
    of = Config.from_dict(json.loads(config))
    reports = list(meta_train(of, distribution_of(of.problem, None)))
    found = {}
    for split in ("train", "rung", "validation", "test"):
        parts = [part for report in reports for part in report.records if part.split[0] == split]
        whole = concatenate(parts)
        found[split] = {column: np.asarray(getattr(whole, column)) for column in MEASURED[1:]}
    return found
