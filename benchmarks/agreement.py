"""Do meta-gradients agree with learn2learn's? `python -m benchmarks.agreement --learn2learn PATH`.

For what both have, MAML, first-order MAML, ANIL, Meta-SGD, Meta-Curvature and prototypical
networks, in float64, with the same weights and episodes, with batch normalization and with 1 and 5
inner steps; printed is the relative distance, by all that is learned. PATH is a checkout of
github.com/learnables/learn2learn (see `benchmarks.contenders`); exits with 1 where a distance is
above 1e-9.

learn2learn's Meta-Curvature multiplies the axis of inputs by what is the transpose of our matrix.
It is compared transposed, and away from the identity where both start, which is its own transpose.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from algorithms import Objective, make
from algorithms.algorithm import Hyper
from algorithms.parts.losses import CLASSIFICATION, REGRESSION
from benchmarks.contenders import ours, torch_parts
from benchmarks.contenders.contender import Options
from benchmarks.workloads import WORKLOADS, Workload
from episodes.episode import Episodes, Examples
from networks import Params, build

TOLERANCE = 1e-9
AWAY = 0.02
"""Standard deviation of what is added to Meta-Curvature's matrices."""
KINDS_OF_MATRICES = {1: ("mc",), 2: ("mc_in", "mc_out"), 4: ("mc_in", "mc_out", "mc_f")}
"""What learn2learn calls those of outputs, inputs and kernel positions, by a weight's axes."""
DOUBLE = Options(dtype="float64")


def workloads() -> list[Workload]:
    """Return small versions of the benchmarks' workloads, each with 1 and 5 steps."""
    chosen = [WORKLOADS[name] for name in ("W1-maml", "W2-maml-1", "W2-fomaml-1", "W2-anil-1")]
    return [replace(each.of_size(2), inner_steps=steps) for each in chosen for steps in (1, 5)]


def contender() -> Any:
    """Return the module of learn2learn's contender, which needs to know where its source is."""
    return importlib.import_module("benchmarks.contenders.with_learn2learn")


def part(name: str) -> Any:
    """Return one of learn2learn's modules."""
    return contender().part(name)


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the distance of two vectors as a share of the second's norm."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def prototypical(workload: Workload) -> float:
    """Return the distance of prototypical networks' gradients, by the body, to learn2learn's."""
    body, _ = torch_parts.modules(workload, DOUBLE)
    loss_of, episodes = torch_parts.loss_of(workload), torch_parts.episodes(workload, DOUBLE)
    for support, support_targets, query, query_targets in episodes:
        classifier: Any = part("nn.protonet").PrototypicalClassifier(body(support), support_targets)
        (loss_of(classifier(body(query)), query_targets) / len(episodes)).backward()
    expected = torch_parts.gradients(body.parameters())
    weights = torch_parts.weights(workload, DOUBLE)
    meta = {name: value for name, value in weights.items() if not name.startswith("head.")}
    return distance(gradients("prototypical", workload, meta), flat(expected))


def meta_sgd(workload: Workload) -> float:
    """Return the distance of Meta-SGD's gradients, by weights and rates, to learn2learn's."""
    whole = nn.Sequential(*torch_parts.modules(workload, DOUBLE))
    learner: Any = part("algorithms.meta_sgd").MetaSGD(whole, lr=workload.inner_lr)
    learner.lrs = nn.ParameterList(
        [nn.Parameter(torch.full_like(p, workload.inner_lr)) for p in whole.parameters()]
    )
    differentiate(learner, workload)
    expected = torch_parts.gradients((*whole.parameters(), *learner.lrs))
    weights = torch_parts.weights(workload, DOUBLE)
    rate = torch.tensor(workload.inner_lr, dtype=torch.float64)
    meta = weights | {f"rate/{name}": rate.expand_as(w).clone() for name, w in weights.items()}
    return distance(gradients("meta-sgd", workload, meta), flat(expected))


def meta_curvature(workload: Workload) -> float:
    """Return the distance of Meta-Curvature's gradients, by weights and matrices."""
    whole = nn.Sequential(*torch_parts.modules(workload, DOUBLE))
    theirs = part("optim").MetaCurvatureTransform
    learner: Any = part("algorithms.gbml").GBML(whole, theirs, lr=workload.inner_lr).double()
    weights = torch_parts.weights(workload, DOUBLE)
    rng, matrices = torch.Generator().manual_seed(0), {}
    transposed: list[tuple[Tensor, bool]] = []
    for name, transform in zip(weights, learner.compute_update.transforms_modules, strict=True):
        for axis, kind in enumerate(KINDS_OF_MATRICES[weights[name].dim()]):
            matrix = getattr(transform, kind)
            noise = torch.randn(matrix.shape, generator=rng, dtype=torch.float64)
            value = matrix.detach() + AWAY * noise
            matrices[f"curvature/{name}/{axis}"] = value
            matrix.data.copy_(value.T if kind == "mc_out" else value)
            transposed.append((matrix, kind == "mc_out"))
    differentiate(learner, workload)
    matrix_gradients = torch_parts.gradients(matrix for matrix, _ in transposed)
    expected = torch_parts.gradients(whole.parameters())
    expected += [
        gradient.T if turned else gradient
        for gradient, (_, turned) in zip(matrix_gradients, transposed, strict=True)
    ]
    return distance(gradients("meta-curvature", workload, weights | matrices), flat(expected))


def differentiate(learner: Any, workload: Workload) -> None:
    """Leave the meta-gradient of one of learn2learn's wrappers in what it learns."""
    loss_of, episodes = torch_parts.loss_of(workload), torch_parts.episodes(workload, DOUBLE)
    for support, support_targets, query, query_targets in episodes:
        clone = learner.clone()
        for _ in range(workload.inner_steps):
            clone.adapt(loss_of(clone(support), support_targets))
        (loss_of(clone(query), query_targets) / len(episodes)).backward()


def gradients(method: str, workload: Workload, meta: Params) -> np.ndarray:
    """Return our meta-gradients as one vector, in the order of `meta`."""
    settings = {"filters": workload.filters} if workload.filters else {}
    family = "conv4" if workload.filters else "mlp"
    network = build(family, workload.input_shape, workload.outputs, settings)
    ways = workload.ways or None
    objective = Objective(CLASSIFICATION if ways else REGRESSION, True, ways, ways)
    sx, sy, qx, qy = torch_parts.batch(workload, DOUBLE)
    classes = torch.arange(workload.ways).expand(len(sx), -1)
    batch = Episodes(Examples(sx, sy), Examples(qx, qy), classes, torch.arange(len(sx)))
    rate = torch.tensor(workload.inner_lr, dtype=torch.float64)
    hyper: Hyper = {"inner_lr": rate, "inner_steps": workload.inner_steps}
    algorithm = make(method, network, objective, {})
    found, _, _ = algorithm.meta_gradients(meta, {}, hyper, batch, batch.index)
    return flat([found[name] for name in meta])


def flat(values: Sequence[Tensor]) -> np.ndarray:
    """Return tensors as one vector."""
    return torch.cat([each.flatten() for each in values]).numpy()


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--learn2learn", help="checkout of its source")
    arguments = parser.parse_args()
    if arguments.learn2learn:
        os.environ["LEARN2LEARN_SOURCE"] = arguments.learn2learn
    try:
        theirs = contender()
    except ImportError as error:
        sys.exit(f"learn2learn is not installed, and --learn2learn names no checkout: {error}")
    agrees = True
    for workload in workloads():
        found, expected = ours.eager(workload, DOUBLE), theirs.build(workload, DOUBLE)
        apart = distance(found.flat(found.run()), expected.flat(expected.run()))
        rows: dict[str, float] = {workload.method: apart}
        if workload.method == "maml":
            rows["meta-sgd"] = meta_sgd(workload)
            rows["meta-curvature"] = meta_curvature(workload)
            if workload.ways and workload.inner_steps == 1:
                rows["prototypical"] = prototypical(workload)
        for method, value in rows.items():
            network = "conv4" if workload.filters else "mlp"
            steps = "" if method == "prototypical" else f"{workload.inner_steps} steps"
            print(f"{method:<15}{network:<7}{steps:<9}{value:.1e}")
            agrees &= value <= TOLERANCE  # Which no NaN is.
    if not agrees:
        sys.exit(1)


if __name__ == "__main__":
    main()
