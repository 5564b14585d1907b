"""A configuration as the parameters of an MLflow run, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from search.config import Config
from search.flatten import flatten

OPTIONS = "problem/options/"


def to_params(config: Config) -> dict[str, str]:
    """Return the full configuration as flat strings.

    Parameters carry their owner (`maml/inner_lr`, `conv4/filters`, `problem/shots`); the rest goes
    by its own name (`episodes`, `seed`).
    """
    tree = config.to_dict()
    tree[config.algorithm] = tree.pop("hyper")
    tree[config.network] = tree.pop("settings")
    return {key: _encode(value) for key, value in flatten(tree).items()}


def from_params(params: Mapping[str, str]) -> Config:
    """Read what `to_params` wrote. Raises KeyError, TypeError or UserError on others."""
    options: dict[str, Any] = {}
    tree: dict[str, Any] = {
        "problem": {"options": options},
        "hyper": {},
        "settings": {},
        "formulation": {},
    }
    owners = {
        params["algorithm"]: tree["hyper"],
        params["network"]: tree["settings"],
        "problem": tree["problem"],
        "formulation": tree["formulation"],
    }
    for key, text in params.items():
        owner, slash, name = key.partition("/")
        if key.startswith(OPTIONS):
            options[key.removeprefix(OPTIONS)] = _decode(text)
        elif slash:
            owners[owner][name] = _decode(text)
        else:
            tree[key] = _decode(text)
    return Config.from_dict(tree)


def _encode(value: Any) -> str:
    """Return strings as they are, unless they read as JSON; everything else as JSON."""
    if isinstance(value, str) and _decode(value) == value:
        return value
    return json.dumps(value)


def _decode(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
