"""What the tests of a user's own extensions share."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

import networks
from algorithms import ALGORITHMS
from episodes import TASKS
from search import extensions
from search.distribution import distribution_of
from spaces.algorithms import ALGORITHM_SPACES
from spaces.networks import IMAGE_NETWORKS, NETWORK_SPACES
from tests.cli import call

EXTEND = Path(__file__).parents[1] / "docs" / "extend"
PACKAGE = tomllib.loads((EXTEND / "pyproject.toml").read_text())["project"]


@contextmanager
def fresh_process() -> Iterator[None]:
    """This process as it was before any extension was met, and so again afterwards."""
    registries: tuple[Any, ...] = (
        *(ALGORITHMS, ALGORITHM_SPACES, networks.NETWORKS, NETWORK_SPACES, TASKS),
        *(IMAGE_NETWORKS, extensions._added),
    )
    kept = [registry.copy() for registry in registries]
    path, modules = list(sys.path), set(sys.modules)
    extensions._offers.cache_clear()
    distribution_of.cache_clear()
    yield
    for registry, before in zip(registries, kept, strict=True):
        registry.clear()
        registry.update(before)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name in ("my_learners", "broken"):
            del sys.modules[name]
    extensions._offers.cache_clear()
    distribution_of.cache_clear()


def install(folder: Path, name: str, groups: dict[str, dict[str, str]]) -> None:
    """Leave in a folder what an installer leaves there of a package, beside its modules."""
    info = folder / f"{name.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    lines = []
    for group, entries in groups.items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def refusal(asked: dict[str, Any], folder: Path) -> str:
    """Return what a dry run complains of, in a folder."""
    content = {
        "name": "mine",
        "problem": {"task": "sinusoid", "shots": 3, "query_shots": 4},
        "algorithms": ["maml"],
        "networks": ["mlp"],
        "budget": {"trials": 1, "episodes": 10},
    }
    task = asked.pop("task", None)
    if task is not None:
        content["problem"] = {"task": task, "shots": 3, "query_shots": 4}
    (folder / "mine.yaml").write_text(yaml.safe_dump(content | asked))
    done = call("search", "mine.yaml", "--dry-run", folder=folder)
    assert done.code == 2, done.output
    assert "Traceback" not in done.output
    return done.errors
