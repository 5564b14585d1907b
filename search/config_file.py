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

from search import extensions
from search.config import Config, Problem
from search.errors import UserError
from search.spec_source import parse_yaml
from spaces.algorithms import ALGORITHM_SPACES
from spaces.errors import SpaceError, nearest
from spaces.networks import NETWORK_SPACES
from spaces.parameter import Fixed, Parameter, Value
from spaces.space import Kind, Space, bare, checked

EXPORTED = ("metasweep", "description", "config", "results", "provenance")
READY_MADE = "configurations"
DEVICE = r"cpu|mps|cuda(:\d+)?"


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
        text = path.read_text(encoding="utf-8") if named is None else named
    except FileNotFoundError:
        names = ", ".join(_ready_made())
        raise UserError(
            f"{path}: no such file; `metasweep export` writes one; ready-made: {names}"
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    content = parse_yaml(text, str(path))
    if isinstance(content, dict) and "config" in content:
        _refuse_unknown(path, "", content, EXPORTED)
        content = content["config"]
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no configuration, which has keys such as `algorithm`")
    return _config(path, content)


def _config(path: Path, content: dict[str, Any]) -> Config:
    _refuse_unknown(path, "", content, [field.name for field in fields(Config)])
    problem = content.get("problem")
    if isinstance(problem, dict):
        _refuse_unknown(path, "problem.", problem, [field.name for field in fields(Problem)])
    content = {"hyper": {}, "settings": {}, **content}
    try:
        # Strict, so that no text passes for a number; JSON, so that a list is a tuple.
        config = TypeAdapter(Config).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        raise UserError("\n".join(_line(path, details) for details in error.errors())) from None
    except TypeError as error:
        raise UserError(f"{path}: {error}") from None
    _check_values(path, config)
    extensions.resolve_field(f"{path}: problem.task", "task", config.problem.task)
    extensions.resolve_field(f"{path}: algorithm", "algorithm", config.algorithm)
    extensions.resolve_field(f"{path}: network", "network", config.network)
    algorithm, network = ALGORITHM_SPACES[config.algorithm], NETWORK_SPACES[config.network]
    kind = config.problem.kind
    settings = _complete(path, "settings", config.settings, network, kind, {})
    hyper = _complete(path, "hyper", config.hyper, algorithm, kind, settings)
    return Config.from_dict({**config.to_dict(), "hyper": hyper, "settings": settings})


def _complete(
    path: Path,
    section: str,
    given: Mapping[str, Any],
    space: Space,
    kind: Kind,
    settings: Mapping[str, Any],
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
    around = {"kind": kind, **{f"network/{name}": value for name, value in settings.items()}}

    def answer(name: str, parameter: Parameter) -> Value:
        own = bare(name)
        # Where what is given calls for a variant, the published value may not be one of its.
        return values[own] if own in values else parameter.closest(defaults[own])

    complete = space.walk(around, answer)
    for name in values:
        if name not in complete:
            raise UserError(f"{path}: {section}.{name}: has no effect beside the rest; remove it")
    return complete


def _check_values(path: Path, config: Config) -> None:
    problem = config.problem
    counts = {
        "problem.shots": problem.shots,
        "problem.query_shots": problem.query_shots,
        "problem.rung_episodes": problem.rung_episodes,
        "problem.ranking_episodes": problem.ranking_episodes,
        "problem.test_episodes": problem.test_episodes,
        "episodes": config.episodes,
        "threads": config.threads,
        "seeds": config.seeds,
    }
    for key, value in counts.items():
        if value < 1:
            raise UserError(f"{path}: {key}: {value}: must be at least 1")
    for key, value in {"seed": config.seed, "evaluation_seed": problem.evaluation_seed}.items():
        if value < 0:
            raise UserError(f"{path}: {key}: {value}: must be 0 or more")
    rungs = list(config.rungs)
    if rungs != sorted(set(rungs)) or any(not 0 < rung < config.episodes for rung in rungs):
        raise UserError(f"{path}: rungs: {rungs}: must ascend, between 0 and {config.episodes}")
    if not re.fullmatch(DEVICE, config.device):
        raise UserError(f"{path}: device: {config.device!r}: must be cpu, cuda, cuda:0, ... or mps")


def _refuse_unknown(
    path: Path, prefix: str, given: Mapping[str, Any], known: Iterable[str]
) -> None:
    for key in given:
        if key not in known:
            raise UserError(f"{path}: {prefix}{key}: unknown key: {nearest(str(key), known)}")


def _line(path: Path, details: Any) -> str:
    # In a union, pydantic appends the name of each type that it tried.
    key = ".".join(str(part) for part in details["loc"][:2])
    if details["type"] == "missing":
        return f"{path}: {key}: missing: a configuration must have it"
    message = details["msg"].removeprefix("Input ")
    return f"{path}: {key}: {details['input']!r}: {message}"
