"""What one trial is: a problem and a learner, as plain dataclasses that any process can read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Literal

from episodes.kinds import SCORES, Kind, Score
from search.errors import UserError

Metric = Literal["query_loss", "query_accuracy", "query_iou"]
METRICS: dict[Score, Metric] = {"accuracy": "query_accuracy", "iou": "query_iou"}

# Far above what anyone trains, and below what no machine could hold or count.
MOST_WAYS = 10_000
MOST_SHOTS = 10_000
MOST_EVALUATION_EPISODES = 1_000_000
MOST_EPISODES = 10**12
MOST_SEEDS = 1_000
MOST_THREADS = 1_024
LARGEST_SEED = 2**32 - 1


def digest(value: Any) -> str:
    """Return a short hex digest of a JSON value; equal values give equal digests anywhere."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Problem:
    """What is judged alike. Two trials are comparable when their problems have one hash.

    split: name of the class split ("vinyals", "lake"); None where a task has only one.
    data_digest: digest of the data, filled in when the data are loaded.
    options: the task's own, complete. What they change of the data, or of how meta-test is
        measured, is in `data_digest`.
    evaluation_seed: seed of the fixed meta-validation and meta-test episodes.
    rung_episodes, ranking_episodes: meta-validation episodes at the rungs, and for ranking.
    test_episodes: meta-test episodes.
    """

    task: str
    kind: Kind
    shots: int
    query_shots: int
    ways: int | None = None
    transductive: bool = False
    split: str | None = None
    data_digest: str = ""
    evaluation_seed: int = 0
    rung_episodes: int = 200
    ranking_episodes: int = 600
    test_episodes: int = 1000
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """The MLflow experiment: `omniglot-5way-1shot`, `sinusoid-10shot`.

        It also names a folder, so a task `my_tasks:steps` is `my_tasks-steps` here.
        """
        ways = f"{self.ways}way-" if self.ways else ""
        split = f"-{self.split}" if self.split not in (None, "vinyals") else ""
        name = f"{self.task}-{ways}{self.shots}shot{split}" + "-transductive" * self.transductive
        return re.sub(r"[^\w.-]", "-", name)

    @property
    def hash(self) -> str:
        """Digest of everything above but the options: a file that moves holds the same data."""
        return digest({key: value for key, value in asdict(self).items() if key != "options"})

    @property
    def metric(self) -> Metric:
        """What trials are compared by, after adaptation, averaged over episodes."""
        score = SCORES[self.kind]
        return METRICS[score] if score else "query_loss"

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Which way is better."""
        return "maximize" if SCORES[self.kind] else "minimize"


@dataclass(frozen=True)
class Config:
    """One learner on one problem: all that `meta_train` needs, and all that a trial is repeated by.

    hyper: the algorithm's hyperparameters (`inner_lr`, `inner_steps`, `outer_lr`, ...).
    settings: the network's structure (`filters`, `depth`, ...).
    episodes: training budget, in episodes seen.
    rungs: episodes seen at which meta-validation is measured on the way, ascending.
    seed, seeds: the first seed, and how many replicas are trained, with seeds in a row.
    threads: CPU threads; part of the configuration because sums depend on it in the last bit.
    """

    problem: Problem
    algorithm: str
    network: str
    hyper: Mapping[str, float | int | str | bool]
    settings: Mapping[str, float | int | str | bool]
    episodes: int
    rungs: tuple[int, ...] = ()
    seed: int = 0
    seeds: int = 1
    device: str = "cpu"
    threads: int = 1
    formulation: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON values."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Config:
        """Read what `to_dict` wrote.

        Raises UserError where fields are not those of this version of metasweep, and KeyError or
        TypeError on what never was a configuration.
        """
        found = _checked(cls, value, "")
        found["problem"] = Problem(**_checked(Problem, found["problem"], "problem."))
        found["rungs"] = tuple(found.get("rungs", ()))
        return cls(**found)

    @property
    def hash(self) -> str:
        """Digest of the whole configuration, seed included."""
        return digest(self.to_dict())


def _checked(cls: type[Config | Problem], value: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the fields of a dataclass. Raises UserError where one is unknown or missing."""
    found, known = dict(value), {each.name: each for each in fields(cls)}
    needed = [
        name
        for name, each in known.items()
        if each.default is MISSING and each.default_factory is MISSING
    ]
    wrong = [(name, "is not a field") for name in found if name not in known]
    wrong += [(name, "is missing, a field") for name in needed if name not in found]
    for name, what in wrong:
        raise UserError(
            f"configuration: '{where}{name}': {what} of this version of metasweep; the search or "
            "checkpoint was made by another version, and can be gone on with by that one"
        )
    return found
