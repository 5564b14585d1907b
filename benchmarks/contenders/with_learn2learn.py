"""learn2learn (Arnold et al. 2020, arXiv:2008.12284), from a checkout of its source.

It does not build on recent Pythons, since its data sets are Cython. Nothing of them is needed: the
packages on the way to `learn2learn/algorithms/maml.py` and the like are entered without running
their `__init__`, which would import everything else. The path comes in LEARN2LEARN_SOURCE; without
it an installed learn2learn is used.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from benchmarks.contenders import torch_parts
from benchmarks.contenders.contender import Contender, Options
from benchmarks.workloads import Workload

VARIABLE = "LEARN2LEARN_SOURCE"


def _enter(name: str, folder: Path) -> ModuleType:
    """Make a package importable whose `__init__` is not to run."""
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
    return package


def _enter_source() -> None:
    source = os.environ.get(VARIABLE)
    if not source:
        return
    folder = Path(source) / "learn2learn"
    if not (folder / "algorithms" / "maml.py").is_file():
        raise ImportError(f"no learn2learn/algorithms/maml.py in {source}")
    package: Any = _enter("learn2learn", folder)
    for name in ("algorithms", "nn"):
        setattr(package, name, _enter(f"learn2learn.{name}", folder / name))
    # What its own modules look for in the package itself.
    package.clone_module = part("utils").clone_module
    package.optim = part("optim")


def part(name: str) -> Any:
    """Return one of its modules, by its name within the package. Raises ImportError."""
    return importlib.import_module(f"learn2learn.{name}")


_enter_source()
MAML = part("algorithms.maml").MAML
VERSIONS = {"learn2learn": part("_version").__version__}


def build(workload: Workload, options: Options) -> Contender:
    """Make a workload ready."""
    body, head = torch_parts.modules(workload, options)
    whole = nn.Sequential(body, head)
    episodes = torch_parts.episodes(workload, options)
    loss_of = torch_parts.loss_of(workload)
    head_only = workload.method == "anil"
    learner = MAML(
        head if head_only else whole,
        lr=workload.inner_lr,
        first_order=workload.method == "fomaml",
    )

    def compute() -> list[Tensor]:
        whole.zero_grad(set_to_none=True)
        for support, support_targets, query, query_targets in episodes:
            clone = learner.clone()
            # Passed through the body apart, so that support and query have their own statistics.
            inputs = (body(support), body(query)) if head_only else (support, query)
            for _ in range(workload.inner_steps):
                clone.adapt(loss_of(clone(inputs[0]), support_targets))
            (loss_of(clone(inputs[1]), query_targets) / len(episodes)).backward()
        return torch_parts.gradients(whole.parameters())

    return torch_parts.contender(workload, options, compute)
