"""What the conductor hands out and what comes back, as values that travel between processes."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Literal

from search.config import MOST_SEEDS, Config

Kind = Literal["trial", "confirmation", "train"]
Phase = Literal["train", "rung", "final", "diverged", "out_of_memory", "failed", "unfit", "blocked"]
CONFIRMATION_SEEDS_FROM = 10_000
"""Confirmation seeds start here, far from the seeds that most trials are given."""
ENDS: tuple[Phase, ...] = ("final", "diverged", "out_of_memory", "failed", "unfit", "blocked")


@dataclass(frozen=True)
class Job:
    """One run of one configuration.

    number: of the Optuna trial; for a confirmation, of the trial that it confirms.
    folder: absolute path of what it keeps on disk.
    room: how many times the usual memory it is given; episodes run in chunks smaller by as much.
    measured: whether others of its kind wait to be told what memory it takes.
    published: whether it is a trial of an algorithm's published default, moved only as far as the
        search's space demands.
    """

    kind: Kind
    number: int
    config: Config
    folder: str
    room: int = 1
    measured: bool = False
    published: bool = False

    @property
    def name(self) -> str:
        """Unique within a search."""
        if self.kind == "confirmation":
            return confirmation_name(self.number, self.config.seed)
        return trial_name(self.number)

    def to_json(self) -> str:
        """Return the job as one opaque string, for Ray un-flattens keys with a slash."""
        return json.dumps(asdict(self) | {"config": self.config.to_dict()})

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        return cls(**fields | {"config": Config.from_dict(fields["config"])})


def fresh_seed(config: Config, number: int) -> int:
    """Return the seed of a configuration's confirmation, which none of its own replicas had."""
    first, most = CONFIRMATION_SEEDS_FROM, MOST_SEEDS * config.seeds
    if first - config.seeds < config.seed < first + most:
        first += most + config.seeds
    return first + number * config.seeds


def trial_name(number: int) -> str:
    """Return the name of a trial's job."""
    return f"trial-{number:03d}"


def confirmation_name(number: int, seed: int) -> str:
    """Return the name of the job that trains a trial again, with another seed."""
    return f"confirm-{number:03d}-seed-{seed}"


@dataclass(frozen=True)
class Progress:
    """What a running job tells of itself.

    phase: "unfit" where the node cannot run it, and another one may; "blocked" where the machine
        is to blame and not the job, which can be gone on with.
    value: the problem's metric on meta-validation at a rung or at the end; NaN otherwise.
    history: all values so far, as {"episodes", "value"}: a resumed job tells them again.
    summaries: numbers for `summary/*` ("final", and where known before).
    reason: why it ended, unless "final".
    """

    phase: Phase
    episodes: int
    value: float = math.nan
    history: list[dict[str, float]] = field(default_factory=list)
    summaries: dict[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self.phase in ENDS

    def to_json(self) -> str:
        """Return the values as one string; it may hold NaN."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Progress:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))
