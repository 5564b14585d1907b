"""The leaderboard: finished trials of one problem, ranked by meta-validation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from search.baseline import NAMES, OTHERS
from search.config import Config, Metric
from search.errors import FailedError, UserError
from search.failures import TIME_LIMIT, failed, stopped
from search.flatten import differences
from search.records import Interval, interval
from search.repeated_trainings import as_one
from search.run_params import from_params

COLUMNS = (
    "rank",
    "algorithm",
    "network",
    "inner_steps",
    "validation_mean",
    "validation_ci95_low",
    "validation_ci95_high",
    "test_mean",
    "test_ci95_low",
    "test_ci95_high",
    "metric",
    "parameters",
    "train_seconds",
    "seconds_per_1000",
    "peak_memory_mb",
    "adaptation_ms",
    "episodes",
    "seed",
    "state",
    "confirmed",
    "failed_seeds",
    "published",
    "run_id",
)
HASH_SHOWN = 8
WITHOUT_META_LEARNING = ("scratch", "pretrain")
"""Algorithms that tell what meta-learning is worth: no training before an episode, and one on all
examples together."""

TestValues = Callable[[Sequence[str], str], "Sequence[pd.Series[float]]"]
"""(run ids, metric) -> of each run, the metric on each meta-test episode, by episode index."""


def split_name(name: str) -> tuple[str, str]:
    """Split NAME@HASH into the name and the beginning of a problem's hash, which may be empty."""
    name, _, prefix = name.partition("@")
    return name, prefix


def choose_problem(frame: pd.DataFrame, name: str, prefix: str = "") -> str:
    """Return the hash of the one problem whose trials can be ranked.

    frame: from `search.tracking_reader.Reader.trials(name)`.
    prefix: beginning of the hash, where `name` stands for several problems.
    Raises FailedError when no trial has finished, and UserError when `prefix` fits none, or
    several problems are left: their trials are not comparable.
    """
    ranked = _ranked(as_one(frame))
    if ranked.empty:
        raise FailedError(_nothing_to_rank(frame, name))
    problems = {h: from_params(params).problem for h, params in _first_params(ranked).items()}
    counts = Counter(ranked["problem_hash"])
    fitting = [h for h in problems if h.startswith(prefix)]
    if len(fitting) == 1:
        return fitting[0]
    first, *others = [vars(problem) for problem in problems.values()]
    keys = sorted({key for other in others for key, _, _ in differences(first, other)})
    lines = [
        f"  {name}@{h[:HASH_SHOWN]}: {counts[h]} finished trials"
        + "; " * bool(keys)
        + ", ".join(f"{key} {getattr(problem, key)}" for key in keys)
        for h, problem in problems.items()
        if h in fitting or not fitting
    ]
    asked = f"{name}@{prefix} stands" if prefix else f"{name} stands"
    what = f"{asked} for several problems" if fitting else f"{name} has no problem @{prefix}"
    advice = "Only equal problems are ranked together; name one of:"
    raise UserError("\n".join([f"{what}. {advice}", *lines]))


def leaderboard(
    frame: pd.DataFrame,
    problem_hash: str,
    test_values: TestValues | None = None,
    top: int | None = None,
    *,
    with_references: bool = False,
) -> pd.DataFrame:
    """Rank the finished trials of one problem; columns as in `COLUMNS`, best first.

    Ranked by the mean over the fixed meta-validation episodes; of equal means the trial that was
    started first comes first. Meta-test is shown, never sorted by. Where confirmation runs of a
    trial have finished, its `test_*` are theirs; `failed_seeds` says how many others diverged, ran
    out of memory or broke, of which no mean can tell. Trainings that differ in their seed alone are
    one trial, which all of them confirm.
    frame: from `search.tracking_reader.Reader.trials`.
    test_values: gives the interval of a confirmation from each episode's mean over the seeds;
        without it, the mean half-width of the runs stands in, which is wider.
    top: show no more than so many. with_references: and then the best published default and the
        best of each of `WITHOUT_META_LEARNING`, where they are none of these.
    """
    frame = as_one(frame)
    rows = _ranked(frame)
    rows = rows[rows["problem_hash"] == problem_hash]
    if rows.empty:
        raise FailedError(f"no trial of problem {problem_hash} has finished")
    problem = from_params(rows["params"].iloc[0]).problem
    ascending = problem.direction == "minimize"
    rows = rows.sort_values("validation_mean", ascending=ascending, kind="stable")
    rows = rows.assign(rank=range(1, len(rows) + 1))
    shown = [rows.iloc[:top]]
    if with_references:
        shown.append(rows[rows["published"]].iloc[:1])
        shown += [rows[rows["algorithm"] == name].iloc[:1] for name in WITHOUT_META_LEARNING]
    rows = pd.concat(shown).drop_duplicates("rank").sort_values("rank")
    frame = frame[(frame["problem_hash"] == problem_hash) & frame["of_run"].isin(rows["run_id"])]
    finished = confirmations(frame)
    again = _confirmed(finished, problem.metric, test_values)
    lost = Counter(_broken(frame[~frame["run_id"].isin(finished["run_id"])])["of_run"])
    entries = [
        _entry(row, again.get(row["run_id"]), lost[row["run_id"]])
        for row in rows.to_dict("records")
    ]
    return pd.DataFrame(entries, columns=list(COLUMNS))


def confirmations(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that repeated a trial with a fresh seed to its end, and to a finite mean."""
    complete = (frame["kind"] == "confirmation") & (frame["state"] == "COMPLETE")
    return frame[complete & np.isfinite(frame["test_mean"])]


def _broken(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that failed, or ended with a mean that is not finite."""
    is_failed = frame["run_id"].isin(failed(frame)["run_id"])
    return frame[is_failed | (frame["state"] == "COMPLETE")]


@dataclass(frozen=True)
class Baseline:
    """What one gets without learning, by the problem's metric; see `search.baseline`."""

    name: str
    validation_mean: float
    test_mean: float


@dataclass(frozen=True)
class Standing:
    """How the trials of one problem stand.

    ranked: columns as in `COLUMNS`, best first, always with what it is to be compared with: the
        best published default, and the best without meta-learning.
    failed: columns as in `search.failures.COLUMNS`.
    stopped: how many trials the search itself stopped before their end.
    baselines: what does not learn, which each of them has to be compared with, the strongest first;
        empty where no run knows.
    """

    ranked: pd.DataFrame
    failed: pd.DataFrame
    stopped: int
    baselines: tuple[Baseline, ...] = ()


def standing(
    frame: pd.DataFrame,
    name: str,
    test_values: TestValues | None = None,
    top: int | None = None,
    *,
    ranking_needed: bool = True,
) -> Standing:
    """Rank the finished trials of a search or a problem, and list the failed ones beside them.

    frame: from `search.tracking_reader.Reader.trials`. name: NAME or NAME@HASH.
    test_values, top: as for `leaderboard`; `top` leaves the failed ones whole.
    ranking_needed: raise FailedError when no trial has finished; else the ranking is empty then.
    Raises UserError for several problems.
    """
    bare, prefix = split_name(name)
    if _ranked(frame).empty and not ranking_needed:
        nothing = pd.DataFrame(columns=list(COLUMNS))
        return Standing(nothing, failed(frame, prefix), stopped(frame, prefix))
    problem_hash = choose_problem(frame, bare, prefix)
    ranked = leaderboard(frame, problem_hash, test_values, top, with_references=True)
    return Standing(
        ranked,
        failed(frame, problem_hash),
        stopped(frame, problem_hash),
        _baselines(frame[frame["problem_hash"] == problem_hash]),
    )


def _baselines(rows: pd.DataFrame) -> tuple[Baseline, ...]:
    """Return the baselines that the first of some runs of one problem tells of."""
    known = rows[np.isfinite(rows["validation_baseline"]) & np.isfinite(rows["test_baseline"])]
    if known.empty:
        return ()
    row = known.iloc[0]
    kind = from_params(row["params"]).problem.kind
    ends = {"": NAMES[kind], **{f"_{key}": name for key, name in OTHERS.get(kind, {}).items()}}
    return tuple(
        Baseline(name, float(row[f"validation_baseline{end}"]), float(row[f"test_baseline{end}"]))
        for end, name in ends.items()
    )


def _ranked(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that compete: finished, with a number to be ranked by."""
    return frame[
        frame["kind"].isin(("trial", "train"))
        & (frame["state"] == "COMPLETE")
        & np.isfinite(frame["validation_mean"])
    ]


def _first_params(rows: pd.DataFrame) -> dict[str, Mapping[str, str]]:
    first = rows.drop_duplicates("problem_hash")
    return dict(zip(first["problem_hash"], first["params"], strict=True))


def _nothing_to_rank(frame: pd.DataFrame, name: str) -> str:
    counts = Counter(frame.loc[frame["kind"] != "confirmation", "state"])
    found = ", ".join(f"{n} {state.lower()}" for state, n in sorted(counts.items()))
    if not found:
        return f"{name}: no trial was started yet"
    reasons = frame.loc[frame["state"] == "PRUNED", "reason"]
    if "RUNNING" in counts:
        advice = f"wait for the running ones, or, if it was interrupted: metasweep resume {name}"
    elif len(reasons) and reasons.str.startswith(TIME_LIMIT).all():
        advice = "the time limit ended them; give a larger budget.time_limit, or fewer episodes"
    else:
        advice = "give a larger budget"
    if len(failed(frame)):
        advice += f"; see why: metasweep leaderboard {name} --failed"
    return f"{name}: no trial has finished, so there is nothing to rank ({found}); {advice}"


def _entry(
    row: Mapping[Hashable, Any],
    confirmed: Interval | None,
    failed_seeds: int,
) -> dict[str, Any]:
    config = from_params(row["params"])
    entry = {name: row[name] for name in COLUMNS if name in row}
    entry |= {
        "inner_steps": inner_steps(config),
        "metric": config.problem.metric,
        "parameters": parameters(config),
        "episodes": int(row["episodes"]),
        "seconds_per_1000": 1000 * row["train_seconds"] / (row["episodes"] * config.seeds),
        "confirmed": confirmed is not None,
        "failed_seeds": failed_seeds,
    }
    if confirmed is not None:
        entry["test_mean"] = confirmed.mean
        entry["test_ci95_low"], entry["test_ci95_high"] = confirmed.ci95_low, confirmed.ci95_high
    return entry


def inner_steps(config: Config) -> int:
    """Return the number of inner steps at meta-validation and meta-test."""
    return int(config.hyper.get("inner_steps_evaluation", config.hyper.get("inner_steps", 0)))


def parameters(config: Config) -> dict[str, Any]:
    """Return hyperparameters and network settings under their owners' names."""
    hyper = {f"{config.algorithm}/{name}": value for name, value in config.hyper.items()}
    return hyper | {f"{config.network}/{name}": v for name, v in config.settings.items()}


def _confirmed(
    finished: pd.DataFrame, metric: Metric, test_values: TestValues | None
) -> dict[str, Interval]:
    """Return meta-test of each trial that was confirmed, by the trial's run id."""
    run_ids = list(finished["run_id"])
    episodes = dict(zip(run_ids, test_values(run_ids, metric), strict=True)) if test_values else {}
    return {
        str(trial): _over_seeds(runs, [episodes[run] for run in runs["run_id"] if episodes])
        for trial, runs in finished.groupby("of_run")
    }


def _over_seeds(runs: pd.DataFrame, episodes: Sequence[pd.Series[float]]) -> Interval:
    """Summarize meta-test over the seeds of a confirmation."""
    mean = float(runs["test_mean"].mean())
    n = int(runs["test_n"].min())
    if episodes:
        by_seed = pd.concat(episodes, axis=1)
        # Values that are not finite are not in MLflow; then the episodes of the seeds do not match.
        if len(by_seed) == n and not by_seed.isna().to_numpy().any():
            return interval(by_seed.mean(axis=1).to_numpy())
    half = float((runs["test_ci95_high"] - runs["test_ci95_low"]).mean()) / 2
    return (
        Interval(mean, mean - half, mean + half, n)
        if math.isfinite(half)
        else Interval(mean, math.nan, math.nan, n)
    )
