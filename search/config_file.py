"""Reading a configuration from YAML: one that was exported, or one written by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from episodes import TASKS, DataError, Task
from search import extensions
from search.config import (
    LARGEST_SEED,
    MOST_EPISODES,
    MOST_EVALUATION_EPISODES,
    MOST_SEEDS,
    MOST_SHOTS,
    MOST_THREADS,
    MOST_WAYS,
    Config,
    Problem,
)
from search.errors import UserError
from search.formulation_checks import check_formulation
from search.masking import masked
from search.plain_text import cut, visible
from search.read_file import UnreadableError, read_text
from search.spec_source import LARGEST, parse_yaml
from spaces.algorithms import ALGORITHM_SPACES
from spaces.errors import SpaceError, nearest
from spaces.networks import NETWORK_SPACES
from spaces.parameter import Fixed, Parameter, Value
from spaces.space import Kind, Space, bare, checked

EXPORTED = ("metasweep", "description", "config", "results", "provenance")
READY_MADE = "configurations"
DEVICE = r"cpu|mps|cuda(:\d{1,3})?"
LINES_SHOWN = 20


def ready_made_configurations() -> list[tuple[str, str]]:
    """Return the name and description of every ready-made configuration."""
    return [(name, parse_yaml(text, name)["description"]) for name, text in _ready_made().items()]


def _ready_made() -> dict[str, str]:
    folder = resources.files("spaces").joinpath(READY_MADE)
    return {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    }


def read_config(path: Path) -> Config:
    """Read a configuration: under `config` as exported, or at the top level of the file.

    A path without a folder or suffix that is no file may be the name of a ready-made one.

    Hyperparameters and settings that are left out take the published defaults. Nothing in the file
    is executed. Raises UserError that names the file, the field, its value and what is right.
    """
    try:
        named = None if path.exists() else _ready_made().get(str(path))
        text = read_text(path, LARGEST) if named is None else named
    except FileNotFoundError:
        names = ", ".join(_ready_made())
        raise UserError(
            f"{path}: no such file; `metasweep export` writes one; ready-made: {names}"
        ) from None
    except UnreadableError as error:
        raise UserError(f"{path}: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    content = parse_yaml(text, str(path))
    if isinstance(content, dict) and "config" in content:
        _refuse_unknown(path, "", content, EXPORTED)
        content = content["config"]
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no configuration, which has keys such as `algorithm`")
    if "algorithms" in content:
        raise UserError(f"{path}: is a search, which is run by: metasweep search {path}")
    return complete_config(path, content)


def complete_config(path: Path, content: Mapping[str, Any]) -> Config:
    """Return a configuration from plain values, whose missing parts take the published defaults.

    path: the file that it stands in, for errors: UserError that names the field as `read_config`.
    """
    _refuse_unknown(path, "", content, [field.name for field in fields(Config)])
    problem = content.get("problem")
    if isinstance(problem, dict):
        _refuse_unknown(path, "problem.", problem, [field.name for field in fields(Problem)])
    content = {"hyper": {}, "settings": {}, **content}
    try:
        # Strict, so that no text passes for a number; JSON, so that a list is a tuple.
        config = TypeAdapter(Config).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        lines = [_line(path, details) for details in error.errors()]
        more = [f"and {len(lines) - LINES_SHOWN} more"] if len(lines) > LINES_SHOWN else []
        raise UserError("\n".join([*lines[:LINES_SHOWN], *more])) from None
    _check_values(path, config)
    if config.formulation:
        check_formulation(f"{path}: ", config.formulation)
    extensions.resolve_field(f"{path}: problem.task", "task", config.problem.task)
    extensions.resolve_field(f"{path}: algorithm", "algorithm", config.algorithm)
    extensions.resolve_field(f"{path}: network", "network", config.network)
    algorithm, network = ALGORITHM_SPACES[config.algorithm], NETWORK_SPACES[config.network]
    kind, task = config.problem.kind, TASKS[config.problem.task]
    options = _complete_options(path, task, config.problem.options)
    if kind != task.kind_of(options):
        right = task.kind_of(options)
        raise UserError(f"{path}: problem.kind: {kind!r}: {task.name} is {right}")
    settings = _complete(path, "settings", config.settings, network, kind, {})
    hyper = _complete(path, "hyper", config.hyper, algorithm, kind, network.seen(settings))
    values = config.to_dict()
    values["problem"]["options"] = options
    return Config.from_dict({**values, "hyper": hyper, "settings": settings})


def _complete_options(path: Path, task: Task, options: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return task.complete(options)
    except DataError as error:
        lines = [f"{path}: problem.{line}" for line in str(error).splitlines()]
        raise UserError("\n".join(lines)) from None


def _complete(
    path: Path,
    section: str,
    given: Mapping[str, Any],
    space: Space,
    kind: Kind,
    seen: Mapping[str, Value],
) -> dict[str, Any]:
    """Return a value for all that matters: the given ones, if legal, else the published ones."""
    if kind not in space.defaults:
        owner = "network" if section == "settings" else "algorithm"
        raise UserError(f"{path}: {owner}: is not for {kind} problems")
    defaults = space.defaults[kind]
    _refuse_unknown(path, f"{section}.", given, {*map(bare, space.parameters), *defaults})
    values: dict[str, Any] = {}
    for name, value in given.items():
        try:
            parameter = checked(name, Fixed(value))
        except SpaceError as error:
            raise UserError(f"{path}: {section}.{name}: {error}") from None
        assert isinstance(parameter, Fixed)
        values[name] = parameter.value

    def answer(name: str, parameter: Parameter) -> Value:
        own = bare(name)
        # Where what is given calls for a variant, the published value may not be one of its.
        return values[own] if own in values else parameter.closest(defaults[own])

    complete = space.walk({"kind": kind, **seen}, answer)
    for name in values:
        if name not in complete:
            raise UserError(f"{path}: {section}.{name}: has no effect beside the rest; remove it")
    return complete


def _check_values(path: Path, config: Config) -> None:
    problem = config.problem
    # Key: value, the least and the most that it may be.
    ranges = {
        "problem.shots": (problem.shots, 1, MOST_SHOTS),
        "problem.query_shots": (problem.query_shots, 1, MOST_SHOTS),
        "problem.ways": (problem.ways, 2, MOST_WAYS),
        "problem.evaluation_seed": (problem.evaluation_seed, 0, LARGEST_SEED),
        "problem.rung_episodes": (problem.rung_episodes, 1, MOST_EVALUATION_EPISODES),
        "problem.ranking_episodes": (problem.ranking_episodes, 1, MOST_EVALUATION_EPISODES),
        "problem.test_episodes": (problem.test_episodes, 1, MOST_EVALUATION_EPISODES),
        "episodes": (config.episodes, 1, MOST_EPISODES),
        "threads": (config.threads, 1, MOST_THREADS),
        "seeds": (config.seeds, 1, MOST_SEEDS),
        "seed": (config.seed, 0, LARGEST_SEED),
    }
    for key, (value, least, most) in ranges.items():
        if value is not None and value < least:
            raise UserError(f"{path}: {key}: {value}: must be at least {least}")
        if value is not None and value > most:
            raise UserError(f"{path}: {key}: {value}: must be at most {most}")
    rungs = list(config.rungs)
    if rungs != sorted(set(rungs)) or any(not 0 < rung < config.episodes for rung in rungs):
        raise UserError(
            f"{path}: rungs: {cut(str(rungs), 60)}: must ascend, between 0 and {config.episodes}"
        )
    if not re.fullmatch(DEVICE, config.device):
        raise UserError(f"{path}: device: {config.device!r}: must be cpu, cuda, cuda:0, ... or mps")


def _refuse_unknown(
    path: Path, prefix: str, given: Mapping[str, Any], known: Iterable[str]
) -> None:
    for key in given:
        if key not in known:
            shown = cut(f"{prefix}{key}", 100)
            raise UserError(f"{path}: {shown}: unknown key: {nearest(str(key), known)}")


def _line(path: Path, details: Any) -> str:
    # In a union, pydantic appends the name of each type that it tried.
    key = ".".join(str(part) for part in details["loc"][:2])
    if details["type"] == "missing":
        return f"{path}: {key}: missing: a configuration must have it"
    message = details["msg"].removeprefix("Input ")
    return f"{path}: {cut(visible(key), 100)}: {cut(masked(repr(details['input'])), 60)}: {message}"
