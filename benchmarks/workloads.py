"""What the contenders of `benchmarks.speed` compute: networks, weights and episodes, from a seed.

Work is the meta-gradient of one meta-batch: the mean over its episodes of the query loss after
the inner loop, differentiated by the initial weights. Batch normalization uses the statistics of
whatever is passed through the network at once (support and query apart), which is the
transductive protocol. Needs numpy only: contenders run in other virtual environments too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

Array = np.ndarray
DEPTH = 4
WIDTH = 40


@dataclass(frozen=True)
class Workload:
    """One row of work.

    method: "maml" (second order), "fomaml" (first order) or "anil" (the head alone adapts).
    filters: of the convolutional network; 0 for the fully connected one, 2 layers of 40.
    ways: classes of an episode; 0 for regression. shots, query_shots: examples of each class.
    """

    name: str
    title: str
    method: Literal["maml", "fomaml", "anil"]
    input_shape: tuple[int, ...]
    filters: int
    ways: int
    shots: int
    query_shots: int
    inner_lr: float
    inner_steps: int
    meta_batch_size: int

    @property
    def outputs(self) -> int:
        """Outputs of the network."""
        return self.ways or 1

    def of_size(self, meta_batch_size: int) -> Workload:
        """Return the same work on the first episodes only."""
        return replace(self, meta_batch_size=min(meta_batch_size, self.meta_batch_size))


@dataclass(frozen=True)
class Batch:
    """T episodes: inputs (T, N, *input_shape) float64; targets (T, N) int64 or (T, N, 1) float64.

    Labels go round the classes: 0, 1, ..., ways - 1, 0, 1, ...
    """

    support_inputs: Array
    support_targets: Array
    query_inputs: Array
    query_targets: Array


def _sinusoid(name: str, title: str, method: Any) -> Workload:
    return Workload(name, title, method, (1,), 0, 0, 10, 10, 0.01, 1, 25)


def _omniglot(name: str, title: str, method: Any, steps: int) -> Workload:
    return Workload(name, title, method, (1, 28, 28), 64, 5, 1, 15, 0.4, steps, 32)


def _mini_imagenet(name: str, title: str, shots: int) -> Workload:
    return Workload(name, title, "maml", (3, 84, 84), 32, 5, shots, 15, 0.01, 5, 4)


WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        _sinusoid("W1-maml", "sinusoid MLP, 1 step, second order", "maml"),
        _sinusoid("W1-fomaml", "sinusoid MLP, 1 step, first order", "fomaml"),
        _omniglot("W2-maml-1", "Omniglot Conv4-64, 1 step, second order", "maml", 1),
        _omniglot("W2-maml-5", "Omniglot Conv4-64, 5 steps, second order", "maml", 5),
        _omniglot("W2-fomaml-1", "Omniglot Conv4-64, 1 step, first order", "fomaml", 1),
        _omniglot("W2-fomaml-5", "Omniglot Conv4-64, 5 steps, first order", "fomaml", 5),
        _omniglot("W2-anil-1", "Omniglot Conv4-64, 1 step, ANIL", "anil", 1),
        _omniglot("W2-anil-5", "Omniglot Conv4-64, 5 steps, ANIL", "anil", 5),
        _mini_imagenet("W3-1shot", "mini-ImageNet Conv4-32, 1 shot, 5 steps, second order", 1),
        _mini_imagenet("W3-5shot", "mini-ImageNet Conv4-32, 5 shots, 5 steps, second order", 5),
    )
}


def select(names: list[str] | None) -> list[Workload]:
    """Return the workloads whose name is, or starts with, one of `names`; all if there are none.

    Raises ValueError for a name that fits no workload.
    """
    for name in names or []:
        if not any(known.startswith(name) for known in WORKLOADS):
            raise ValueError(f"workload {name!r}: must be one of {', '.join(WORKLOADS)}")
    wanted = tuple(names or [""])
    return [workload for name, workload in WORKLOADS.items() if name.startswith(wanted)]


def weights(workload: Workload, seed: int = 0) -> dict[str, Array]:
    """Return the initial weights by name, float64; their order is that of flat gradients."""
    draw = np.random.default_rng(seed)

    def linear(name: str, fan_in: int, outputs: int) -> dict[str, Array]:
        bound = fan_in**-0.5
        return {
            f"{name}.weight": draw.uniform(-bound, bound, (outputs, fan_in)),
            f"{name}.bias": draw.uniform(-bound, bound, outputs),
        }

    if not workload.filters:
        size = int(np.prod(workload.input_shape))
        hidden = linear("layer1", size, WIDTH) | linear("layer2", WIDTH, WIDTH)
        return hidden | linear("head", WIDTH, workload.outputs)
    found: dict[str, Array] = {}
    filters, (channels, height, width) = workload.filters, workload.input_shape
    for block in range(1, DEPTH + 1):
        bound = (6 / (9 * (channels + filters))) ** 0.5
        found[f"block{block}.weight"] = draw.uniform(-bound, bound, (filters, channels, 3, 3))
        found[f"block{block}.scale"] = draw.uniform(0.8, 1.2, filters)
        found[f"block{block}.shift"] = draw.uniform(-0.1, 0.1, filters)
        channels, height, width = filters, height // 2, width // 2
    return found | linear("head", filters * height * width, workload.outputs)


def batch(workload: Workload, seed: int = 1) -> Batch:
    """Return the meta-batch. An episode does not depend on the size of the batch."""
    make = _classification if workload.ways else _regression
    episodes = [
        make(workload, np.random.default_rng((seed, i))) for i in range(workload.meta_batch_size)
    ]
    return Batch(*(np.stack(parts) for parts in zip(*episodes, strict=True)))


def _regression(workload: Workload, draw: np.random.Generator) -> tuple[Array, ...]:
    amplitude, phase = draw.uniform(0.1, 5), draw.uniform(0, np.pi)
    inputs = draw.uniform(-5, 5, (workload.shots + workload.query_shots, 1))
    targets = amplitude * np.sin(inputs - phase)
    first = workload.shots
    return inputs[:first], targets[:first], inputs[first:], targets[first:]


def _classification(workload: Workload, draw: np.random.Generator) -> tuple[Array, ...]:
    """A random prototype per class, with noise: something that can be learned."""
    prototypes = draw.uniform(size=(workload.ways, *workload.input_shape))

    def examples(shots: int) -> tuple[Array, Array]:
        noise = draw.uniform(size=(shots, *prototypes.shape))
        inputs = (prototypes + noise) / 2
        labels = np.tile(np.arange(workload.ways), shots)
        return inputs.reshape(-1, *workload.input_shape), labels

    return *examples(workload.shots), *examples(workload.query_shots)


def flat(workload: Workload, gradients: Mapping[str, Any]) -> Array:
    """Return gradients by name as one vector, in the order of `weights`."""
    names = list(weights(workload))
    if set(gradients) != set(names):
        raise ValueError(f"gradients of {sorted(gradients)}, expected {sorted(names)}")
    return np.concatenate([np.asarray(gradients[name], np.float64).ravel() for name in names])
