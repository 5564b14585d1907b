"""Do meta-gradients agree with learn2learn's? `python -m benchmarks.agreement --learn2learn PATH`.

For what both have, MAML, first-order MAML, ANIL and Meta-SGD, in float64, with the same weights and
episodes, with batch normalization and with 1 and 5 inner steps; printed is the relative distance.
PATH is a checkout of github.com/learnables/learn2learn (see `benchmarks.contenders`); exits with 1
where a distance is above 1e-9.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from algorithms import Objective, make
from algorithms.parts.losses import CLASSIFICATION, REGRESSION
from benchmarks.contenders import ours, torch_parts
from benchmarks.contenders.contender import Options
from benchmarks.workloads import WORKLOADS, Workload
from episodes.episode import Episodes, Examples
from networks import build

TOLERANCE = 1e-9
DOUBLE = Options(dtype="float64")


def workloads() -> list[Workload]:
    """Return small versions of the benchmarks' workloads, each with 1 and 5 steps."""
    chosen = [WORKLOADS[name] for name in ("W1-maml", "W2-maml-1", "W2-fomaml-1", "W2-anil-1")]
    return [replace(each.of_size(2), inner_steps=steps) for each in chosen for steps in (1, 5)]


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the distance of two vectors as a share of the second's norm."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def meta_sgd(workload: Workload) -> float:
    """Return the distance of Meta-SGD's gradients, by weights and rates, to learn2learn's."""
    theirs = importlib.import_module("learn2learn.algorithms.meta_sgd").MetaSGD
    body, head = torch_parts.modules(workload, DOUBLE)
    whole = nn.Sequential(body, head)
    learner: Any = theirs(whole, lr=workload.inner_lr)
    learner.lrs = nn.ParameterList(
        [nn.Parameter(torch.full_like(p, workload.inner_lr)) for p in whole.parameters()]
    )
    loss_of, episodes = torch_parts.loss_of(workload), torch_parts.episodes(workload, DOUBLE)
    for support, support_targets, query, query_targets in episodes:
        clone = learner.clone()
        for _ in range(workload.inner_steps):
            clone.adapt(loss_of(clone(support), support_targets))
        (loss_of(clone(query), query_targets) / len(episodes)).backward()
    expected = [p.grad for p in (*whole.parameters(), *learner.lrs)]

    settings = {"filters": workload.filters} if workload.filters else {}
    family = "conv4" if workload.filters else "mlp"
    network = build(family, workload.input_shape, workload.outputs, settings)
    ways = workload.ways or None
    objective = Objective(CLASSIFICATION if ways else REGRESSION, True, ways, ways)
    weights = torch_parts.weights(workload, DOUBLE)
    rate = torch.tensor(workload.inner_lr, dtype=torch.float64)
    meta = weights | {f"rate/{name}": rate.expand_as(w).clone() for name, w in weights.items()}
    sx, sy, qx, qy = torch_parts.batch(workload, DOUBLE)
    classes = torch.arange(workload.ways).expand(len(sx), -1)
    batch = Episodes(Examples(sx, sy), Examples(qx, qy), classes, torch.arange(len(sx)))
    hyper = {"inner_lr": rate, "inner_steps": workload.inner_steps}
    algorithm = make("meta-sgd", network, objective, {})
    gradients, _, _ = algorithm.meta_gradients(meta, {}, hyper, batch, batch.index)
    return distance(
        np.concatenate([gradients[name].numpy().ravel() for name in meta]),
        np.concatenate([each.numpy().ravel() for each in expected]),
    )


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--learn2learn", help="checkout of its source")
    arguments = parser.parse_args()
    if arguments.learn2learn:
        os.environ["LEARN2LEARN_SOURCE"] = arguments.learn2learn
    try:
        theirs = importlib.import_module("benchmarks.contenders.with_learn2learn")
    except ImportError as error:
        sys.exit(f"learn2learn is not installed, and --learn2learn names no checkout: {error}")
    worst = 0.0
    for workload in workloads():
        found, expected = ours.eager(workload, DOUBLE), theirs.build(workload, DOUBLE)
        apart = distance(found.flat(found.run()), expected.flat(expected.run()))
        rows = {workload.method: apart}
        if workload.method == "maml":
            rows["meta-sgd"] = meta_sgd(workload)
        for method, value in rows.items():
            network = "conv4" if workload.filters else "mlp"
            print(f"{method:<10}{network:<7}{workload.inner_steps} steps  {value:.1e}")
            worst = max(worst, value)
    if worst > TOLERANCE:
        sys.exit(1)


if __name__ == "__main__":
    main()
