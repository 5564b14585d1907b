"""The specification of a search: what a user writes, validated."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from episodes import TASKS, DataError, Option, Task
from episodes.kinds import WITH_WAYS
from search import spec_errors
from search.config import Problem
from search.errors import UserError
from search.masking import masked
from search.spec_sections import (
    Algorithms,
    BudgetSpec,
    Concurrency,
    ConfirmationSpec,
    Description,
    Name,
    Networks,
    ProblemSpec,
    ResourcesSpec,
    Section,
    Seed,
    Seeds,
)
from search.spec_source import read_source, ready_made_names, set_values
from spaces.errors import SpaceError, nearest
from spaces.networks import IMAGE_NETWORKS
from spaces.parameter import Parameter, parse
from spaces.search_space import SearchSpace
from spaces.space import EVERY_OWNER, Kind

MOST_OPTIONS = 1_000


class Spec(Section):
    """A search, as its YAML describes it.

    space: overrides of the spaces of algorithms and networks, in the form of `spaces.parameter`.
    seeds: replicas of every trial, trained with seeds in a row; values are means over them.
    recipes: whether the named recipes of `composed` are its first trials.
    concurrency: trials at once; "auto" for what the resources allow.
    study_url: database of the Optuna study; None for the driver's own.
    """

    name: Name
    description: Description = ""
    problem: ProblemSpec
    algorithms: Algorithms
    networks: Networks
    space: dict[str, Any] = Field(default_factory=dict)
    budget: BudgetSpec
    confirmation: ConfirmationSpec = ConfirmationSpec()
    seed: Seed = 0
    seeds: Seeds = 1
    recipes: bool = True
    concurrency: Concurrency = "auto"
    resources: ResourcesSpec = ResourcesSpec()
    study_url: str | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Spec:
        problems = [*self._problem_conflicts(), *self._budget_conflicts(), *self._space_conflicts()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def options(self) -> dict[str, Any]:
        """The task's options with their defaults, and paths absolute."""
        return self._task.complete(self.problem.options)

    @property
    def first_rung(self) -> int:
        """Training episodes at the first rung."""
        budget = self.budget
        # Rounded up: rounded down, a third rung would lie just before the end.
        return budget.first_rung or -(-budget.episodes // budget.reduction_factor**2)

    def rungs(self) -> tuple[int, ...]:
        """Return the episodes seen at which a trial is validated, and may be stopped."""
        rungs = []
        rung = self.first_rung
        while rung < self.budget.episodes:
            rungs.append(rung)
            rung *= self.budget.reduction_factor
        return tuple(rungs)

    def problem_for(self, data_digest: str) -> Problem:
        """Return the problem on data of this digest."""
        problem, evaluation = self.problem, self.problem.evaluation
        return Problem(
            task=problem.task,
            kind=self._kind,
            shots=problem.shots,
            query_shots=problem.query_shots,
            ways=problem.ways,
            transductive=problem.transductive,
            split=self._split,
            data_digest=data_digest,
            evaluation_seed=evaluation.seed,
            rung_episodes=evaluation.rung_episodes,
            ranking_episodes=evaluation.ranking_episodes,
            test_episodes=evaluation.test_episodes,
            options=self.options,
        )

    def search_space(self) -> SearchSpace:
        """Return what trials are drawn from."""
        overrides = {name: parse(value) for name, value in self.space.items()}
        return SearchSpace(self.algorithms, self.networks, self._kind, overrides)

    def resolved(self) -> dict[str, Any]:
        """Return the specification as JSON values, with every default and the whole space in it.

        It is itself a specification. A password in `study_url` is masked; `resume` wants it again.
        """
        content = self.model_dump(mode="json")
        content["problem"]["split"] = self._split
        content["problem"]["options"] = self.options
        content["budget"]["first_rung"] = self.first_rung
        parameters = self.search_space().parameters
        content["space"] = {name: value.to_yaml() for name, value in parameters.items()}
        if self.study_url:
            content["study_url"] = masked(self.study_url)
        return content

    @property
    def _task(self) -> Task:
        return TASKS[self.problem.task]

    @property
    def _kind(self) -> Kind:
        return self._task.kind_of(self.problem.options)

    @property
    def _split(self) -> str | None:
        return self.problem.split or (self._task.splits[0] if self._task.splits else None)

    def _problem_conflicts(self) -> list[str]:
        task, problem = self._task, self.problem
        problems = []
        try:
            task.complete(problem.options)
        except DataError as error:
            problems += [f"problem.{line}" for line in str(error).splitlines()]
        missing = [o for o in task.options if o.required and o.name not in problem.options]
        if missing:
            values = [shlex.quote(f"problem.options.{o.name}={_stand_in(o)}") for o in missing]
            flags = " ".join(f"--set {value}" for value in values)
            problems.append(f"problem.options: write them into the specification, or: {flags}")
        if self._kind not in WITH_WAYS and problem.ways is not None:
            problems.append(
                f"problem.ways: {problem.ways}: {task.name} has no classes; leave it out"
            )
        if self._kind in WITH_WAYS and problem.ways is None:
            problems.append(
                f"problem.ways: null: {task.name} needs the classes of an episode, such as 5"
            )
        if problem.split is not None and problem.split not in task.splits:
            right = nearest(problem.split, task.splits) if task.splits else "leave it out"
            problems.append(
                f"problem.split: {problem.split!r}: {task.name} has no such split: {right}"
            )
        if not task.images:
            problems += [
                f"networks: {network!r}: needs images, and {task.name} has none"
                for network in self.networks
                if network in IMAGE_NETWORKS
            ]
        return problems

    def _placed(self, line: str) -> str:
        """Return what is wrong with a space under the key that it stands at."""
        name, _, why = line.partition(": ")
        for key, names in (("algorithms", self.algorithms), ("networks", self.networks)):
            if name in names:
                return f"{key}: {name!r}: {why}"
        return f"space.{line}"

    def unused(self) -> list[str]:
        """Return a line for each parameter in `space` of what is not searched."""
        searched = {*self.algorithms, *self.networks, EVERY_OWNER}
        owners = {name: name.rpartition("/")[0] for name in self.space}
        return [
            f"space.{name}: has no effect, since {owner} is not searched"
            for name, owner in owners.items()
            if owner not in searched
        ]

    def _budget_conflicts(self) -> list[str]:
        budget = self.budget
        problems = []
        if budget.trials is None and budget.time_limit is None:
            problems.append("budget.trials: null: give a number of trials, or a time_limit")
        if budget.first_rung is not None and budget.first_rung > budget.episodes:
            problems.append(
                f"budget.first_rung: {budget.first_rung}: "
                f"must be at most budget.episodes, {budget.episodes}"
            )
        return problems

    def _space_conflicts(self) -> list[str]:
        problems = []
        overrides: dict[str, Parameter] = {}
        for name, value in self.space.items():
            if isinstance(value, list) and len(value) > MOST_OPTIONS:
                problems.append(f"space.{name}: {len(value)} options: give at most {MOST_OPTIONS}")
                continue
            try:
                overrides[name] = parse(value)
            except SpaceError as error:
                problems.append(f"space.{name}: {error}")
        try:
            SearchSpace(self.algorithms, self.networks, self._kind, overrides)
        except SpaceError as error:
            problems += [self._placed(line) for line in str(error).splitlines()]
        return problems


def parse_spec(content: Mapping[str, Any]) -> Spec:
    """Validate a raw mapping. Raises UserError with one line a problem."""
    try:
        return Spec.model_validate(dict(content))
    except ValidationError as error:
        raise UserError("\n".join(spec_errors.lines(error, Spec))) from None


def load_spec(source: str | Path, overrides: Mapping[str, str] | None = None) -> Spec:
    """Load a YAML file or a ready-made search by its name, with values set on top.

    overrides: YAML values by dotted key, such as {"budget.trials": "6"}.
    Raises UserError with one line a problem.
    """
    content = read_source(source)
    if "config" in content or "algorithm" in content:
        raise UserError(
            f"{source}: is a configuration, which is trained by: metasweep train {source}; "
            "a search has `algorithms` and a `budget`"
        )
    set_values(content, overrides or {})
    return parse_spec(content)


def ready_made() -> list[tuple[str, str]]:
    """Return the name and description of every ready-made search."""
    # Those of a user's own data are no whole specification yet: where these lie is still to be set.
    return [(name, read_source(name)["description"]) for name in ready_made_names()]


def _stand_in(option: Option) -> str:
    """Return what a value of an option looks like."""
    return {"names": "[NAME,...]", "path": "PATH", "text": "NAME"}.get(option.type, "VALUE")
