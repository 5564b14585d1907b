"""The sections of a specification: keys, types and ranges, each on its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
)

from search import extensions
from search.duration import seconds


def _known(what: extensions.What) -> Callable[[str], str]:
    def check(value: str) -> str:
        extensions.resolve(what, value)
        return value

    return check


def _distinct(values: list[str]) -> list[str]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value} is listed twice")
    return values


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        raise ValueError(
            "must be at most 100 letters, digits, '.', '_' and '-', a letter or digit first"
        )
    return value


def _optional_seconds(value: object) -> float | None:
    return None if value is None else seconds(value)


def _concurrency(value: object) -> object:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError("must be auto, or a whole number of at least 1")


Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
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


class Section(BaseModel):
    """Part of a specification: immutable, of exact types, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class EvaluationSpec(Section):
    """The fixed evaluation episodes: see `search.config.Problem`."""

    seed: Seed = 0
    rung_episodes: int = Field(default=200, ge=2)
    ranking_episodes: int = Field(default=600, ge=2)
    test_episodes: int = Field(default=1000, ge=2)


class ProblemSpec(Section):
    """What learners are judged on."""

    task: TaskName
    shots: Count
    query_shots: Count
    ways: int | None = Field(default=None, ge=2)
    split: str | None = None
    transductive: bool = False
    evaluation: EvaluationSpec = EvaluationSpec()


class BudgetSpec(Section):
    """What a search may spend.

    trials: trials to start; None for as many as `time_limit` allows.
    episodes: training episodes of a trial that runs to its end.
    first_rung: episodes at the first rung; None for episodes / reduction_factor^2.
    reduction_factor: one trial in so many goes on at each rung.
    time_limit: seconds for the whole search; None for no limit.
    """

    trials: Count | None = None
    episodes: Count
    first_rung: Count | None = None
    reduction_factor: int = Field(default=3, ge=2)
    time_limit: Seconds = None


class ConfirmationSpec(Section):
    """How many of the best are trained again (0 for none), each with how many fresh seeds."""

    best: int = Field(default=3, ge=0)
    seeds: Count = 2


class ResourcesSpec(Section):
    """What one trial occupies; a share of a GPU may be given.

    memory_gb: of the device that it trains on; episodes run in chunks that fit half of it.
    """

    cpu: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    gpu: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    memory_gb: float | None = Field(default=None, gt=0, allow_inf_nan=False)
