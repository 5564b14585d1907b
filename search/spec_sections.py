"""The sections of a specification: keys, types and ranges, each on its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
)

from episodes import TASKS
from search import extensions
from search.config import (
    LARGEST_SEED,
    MOST_EPISODES,
    MOST_EVALUATION_EPISODES,
    MOST_SEEDS,
    MOST_SHOTS,
    MOST_WAYS,
)
from search.duration import seconds
from search.plain_text import NAME, NAME_RULE

MOST_TRIALS = 1_000_000
MOST_AT_ONCE = 100_000
MOST_SECONDS = 10 * 365 * 24 * 3600.0
MOST_DESCRIBED = 10_000


def _known(what: extensions.What) -> Callable[[str], str]:
    def check(value: str) -> str:
        extensions.resolve(what, value)
        return value

    return check


def _distinct(values: list[str]) -> list[str]:
    seen = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{value} is listed twice")
        seen.add(value)
    return values


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(NAME_RULE)
    return value


def _optional_seconds(value: object) -> float | None:
    if value is None:
        return None
    if (found := seconds(value)) > MOST_SECONDS:
        raise ValueError("must be at most 87600h, which is ten years")
    return found


def _concurrency(value: object) -> object:
    if value == "auto" or (type(value) is int and 1 <= value <= MOST_AT_ONCE):
        return value
    raise ValueError(f"must be auto, or a whole number from 1 to {MOST_AT_ONCE}")


def _gpu(value: object) -> object:
    if value == "auto":
        return value
    number = float(value) if type(value) in (int, float) else math.nan  # type: ignore[arg-type]
    if 0 <= number <= 1 or (1 < number <= MOST_AT_ONCE and number.is_integer()):
        return number
    raise ValueError("must be auto, a share of a GPU such as 0.25, or a whole number of GPUs")


Shots = Annotated[int, Field(ge=1, le=MOST_SHOTS)]
Trials = Annotated[int, Field(ge=1, le=MOST_TRIALS)]
Episodes = Annotated[int, Field(ge=1, le=MOST_EPISODES)]
EvaluationEpisodes = Annotated[int, Field(ge=2, le=MOST_EVALUATION_EPISODES)]
Seeds = Annotated[int, Field(ge=1, le=MOST_SEEDS)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Amount = Annotated[float, Field(gt=0, le=MOST_AT_ONCE, allow_inf_nan=False)]
Description = Annotated[str, Field(max_length=MOST_DESCRIBED)]
Seconds = Annotated[float | None, BeforeValidator(_optional_seconds)]
Name = Annotated[str, AfterValidator(_name)]
TaskName = Annotated[str, AfterValidator(_known("task"))]
Algorithms = Annotated[
    list[Annotated[str, AfterValidator(_known("algorithm"))]],
    Field(min_length=1),
    AfterValidator(_distinct),
]
Networks = Annotated[
    list[Annotated[str, AfterValidator(_known("network"))]],
    Field(min_length=1),
    AfterValidator(_distinct),
]
Concurrency = Annotated[int | Literal["auto"], PlainValidator(_concurrency)]
Gpu = Annotated[float | Literal["auto"], PlainValidator(_gpu)]


class Section(BaseModel):
    """Part of a specification: immutable, of exact types, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class EvaluationSpec(Section):
    """The fixed evaluation episodes: see `search.config.Problem`."""

    seed: Seed = 0
    rung_episodes: EvaluationEpisodes = 200
    ranking_episodes: EvaluationEpisodes = 600
    test_episodes: EvaluationEpisodes = 1000


class ProblemSpec(Section):
    """What learners are judged on.

    options: the task's own, as they are written; `search.spec.Spec.options` has them complete.
    """

    task: TaskName
    shots: Shots
    query_shots: Shots
    ways: int | None = Field(default=None, ge=2, le=MOST_WAYS)
    split: str | None = None
    transductive: bool = False
    options: dict[str, Any] = Field(default_factory=dict)
    evaluation: EvaluationSpec = EvaluationSpec()

    @property
    def paths(self) -> dict[str, str]:
        """The options that are paths, by name, as they are written."""
        declared = {option.name: option.type for option in TASKS[self.task].options}
        return {name: v for name, v in self.options.items() if declared.get(name) == "path"}


class BudgetSpec(Section):
    """What a search may spend.

    trials: trials to start; None for as many as `time_limit` allows.
    episodes: training episodes of a trial that runs to its end.
    first_rung: episodes at the first rung; None for episodes / reduction_factor^2.
    reduction_factor: one trial in so many goes on at each rung.
    time_limit: seconds for the whole search; None for no limit.
    trial_timeout: a trial that tells nothing for so many seconds hangs: it is stopped, and told
        FAIL; None for never.
    """

    trials: Trials | None = None
    episodes: Episodes
    first_rung: Episodes | None = None
    reduction_factor: int = Field(default=3, ge=2, le=MOST_EPISODES)
    time_limit: Seconds = None
    trial_timeout: Seconds = 3600.0


class ConfirmationSpec(Section):
    """How many of the best are trained again (0 for none), each with how many fresh seeds."""

    best: int = Field(default=3, ge=0, le=MOST_TRIALS)
    seeds: Seeds = 2


class ResourcesSpec(Section):
    """What one trial occupies; a share of a GPU may be given.

    gpu: "auto" measures the first trial of each kind and then packs as many as fit a GPU.
    memory_gb: of the device that it trains on; episodes run in chunks that fit half of it.
    """

    cpu: Amount = 1.0
    gpu: Gpu = 0.0
    memory_gb: Amount | None = None
