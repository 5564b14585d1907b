"""An algorithm, a network and a task of our own, for metasweep to search with its own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

import algorithms
import networks
from algorithms import Adapted, Algorithm, Hyper, Objective
from algorithms.parts.axis import per_episode, scaled
from algorithms.parts.meta import through_query_loss
from episodes import Task
from episodes.counter_rng import uniforms
from episodes.digest import json_digest
from episodes.episode import Episodes, Examples, Kind, Split, episode_key
from networks import Network, Params, Statistics
from networks.initialization import linear_parameters
from networks.layers import linear
from spaces.extension import AlgorithmExtension, NetworkExtension
from spaces.outer import INNER, OUTER_ADAM, published
from spaces.parameter import Choice, Float
from spaces.space import Space

# The algorithm.


def make_signed_maml(network: Network, objective: Objective) -> Algorithm:
    """Build MAML whose inner steps go along the sign of the gradient, every entry equally far.

    The sign is flat, so second derivatives vanish. Hyperparameters: `inner_lr`, `inner_steps`.
    """
    ranks = {name: len(shape) for name, shape in network.shapes.items()}
    # Queries are normalized by the support set, unless the problem is transductive.
    collect = network.batch_normalized and not objective.transductive

    def init(hyper: Hyper, rng: torch.Generator) -> tuple[Params, Params]:
        return network.init(rng), {}

    def adapt(
        meta: Params,
        state: Params,
        hyper: Hyper,
        support: Examples,
        steps: int,
        keys: Tensor,
        start: Adapted | None = None,
    ) -> Adapted:
        params = start.params if start else per_episode(meta, ranks, len(support.inputs))
        rate = torch.as_tensor(hyper["inner_lr"])
        for _ in range(steps):
            with torch.enable_grad():
                points = {name: value.detach().requires_grad_() for name, value in params.items()}
                losses = objective.loss.per_episode(
                    network(points, support.inputs), support.targets
                )
                gradients = torch.autograd.grad(losses.sum(), list(points.values()))
            params = {
                name: value - scaled(rate, gradient.sign())
                for (name, value), gradient in zip(params.items(), gradients, strict=True)
            }
        statistics = network.features(params, support.inputs, collect=True)[1] if collect else None
        return Adapted(params, statistics)

    def predict(meta: Params, state: Params, adapted: Adapted, inputs: Tensor) -> Tensor:
        return network(adapted.params, inputs, adapted.statistics)

    gradients = through_query_loss(adapt, predict, objective)
    return Algorithm("signed-maml", init, adapt, predict, gradients)


signed_maml = AlgorithmExtension(
    algorithms.Entry(make_signed_maml, "MAML with steps along the gradient's sign"),
    Space(
        {**INNER, "inner_lr": Float(1e-4, 0.1, log=True), **OUTER_ADAM},
        {
            "classification": published(0.01, 5, 5, 16),
            "regression": published(0.01, 5, 5, 25),
        },
    ),
)


# The network.


def make_waves(
    input_shape: tuple[int, ...], outputs: int, *, waves: int = 16, width: int = 40
) -> Network:
    """Build one hidden layer on the sines of `waves` linear maps of the inputs."""
    inputs_of_first = int(np.prod(input_shape))

    def init(rng: torch.Generator) -> Params:
        params: Params = {}
        sizes = {"waves": (inputs_of_first, waves), "hidden": (waves, width)}
        for name, (fan_in, fan_out) in {**sizes, "head": (width, outputs)}.items():
            weight, bias = linear_parameters(fan_in, fan_out, rng)
            params[f"{name}.weight"], params[f"{name}.bias"] = weight, bias
        return params

    def features(
        params: Params,
        inputs: Tensor,
        statistics: Statistics | None = None,
        collect: bool = False,
    ) -> tuple[Tensor, Statistics]:
        hidden = linear(params["waves.weight"], params["waves.bias"], inputs.flatten(2)).sin()
        return linear(params["hidden.weight"], params["hidden.bias"], hidden).relu(), {}

    def head(params: Params, hidden: Tensor) -> Tensor:
        return linear(params["head.weight"], params["head.bias"], hidden)

    return Network("waves", init, features, head, ("head.weight", "head.bias"), False)


WAVES: dict[str, float | int | str | bool] = {"waves": 16, "width": 40}
waves = NetworkExtension(
    networks.Entry(make_waves, "a hidden layer on sines: waves, width"),
    Space(
        {"waves": Choice((8, 16, 32, 64)), "width": Choice((20, 40, 80))},
        {"classification": WAVES, "regression": WAVES},
    ),
)


# The task.

LOW, HIGH, PIECES = -1.0, 1.0, 4


class Steps:
    """Step functions on [-1, 1]: constant on each of 4 pieces of equal length.

    inputs and targets are (T, N, 1) float32, N being `shots` for support and `query_shots` for
    query. The three splits are separate streams of functions.
    """

    name = "steps"
    kind: Kind = "regression"
    input_shape: tuple[int, ...] = (1,)
    outputs = 1
    train_classes: int | None = None
    digest = json_digest({"steps": [LOW, HIGH, PIECES]})

    def __init__(self, shots: int, query_shots: int) -> None:
        self.shots = shots
        self.query_shots = query_shots

    def sample(self, split: Split, seed: int, indices: np.ndarray | range) -> Episodes:
        """Draw the episodes with these indices, each from (split, seed, index) alone."""
        index = np.array(indices, dtype=np.int64)
        key = episode_key(self.name, split, seed)
        draws = uniforms(key, index, PIECES + self.shots + self.query_shots)
        levels, places = np.split(draws, [PIECES], axis=1)
        piece = (places * PIECES).astype(np.int64)
        x = torch.from_numpy(LOW + (HIGH - LOW) * places).float()[..., None]
        y = torch.from_numpy(np.take_along_axis(4 * levels - 2, piece, axis=1)).float()[..., None]
        return Episodes(
            Examples(x[:, : self.shots], y[:, : self.shots]),
            Examples(x[:, self.shots :], y[:, self.shots :]),
            classes=torch.empty((len(index), 0), dtype=torch.int64),
            index=torch.from_numpy(index),
        )


def load_steps(*, shots: int, query_shots: int, **_: object) -> Steps:
    """Load the task; one with data also takes `ways`, `split` and `data`, the data folder."""
    return Steps(shots, query_shots)


steps = Task("steps", "regression of step functions on [-1, 1]", "regression", load_steps)
