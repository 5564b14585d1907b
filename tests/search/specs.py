"""Small specifications for tests to change."""

from __future__ import annotations

from typing import Any

from search.spec import Spec, parse_spec

SMALLEST: dict[str, Any] = {
    "name": "mine",
    "problem": {"task": "sinusoid", "shots": 10, "query_shots": 10},
    "algorithms": ["maml"],
    "networks": ["mlp"],
    "budget": {"trials": 4, "episodes": 900},
}
OMNIGLOT = {"task": "omniglot", "shots": 1, "query_shots": 15, "ways": 5}
BUDGET = {"trials": 1, "episodes": 9}


def spec(**changes: Any) -> Spec:
    return parse_spec(SMALLEST | changes)
