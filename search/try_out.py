"""Runs a user's own algorithm or network for a moment, so that its mistakes show at the start."""

from __future__ import annotations

from dataclasses import replace

import torch

from episodes.episode import IGNORED, TaskDistribution
from networks.network import Network
from search import extensions
from search.config import Config
from search.errors import UserError
from search.training import meta_train
from search.user_code import blamed

EPISODES, EXAMPLES = 2, 3


def try_out(config: Config, network: Network, distribution: TaskDistribution) -> None:
    """Run the network on zeros, and the learner through two episodes of everything, on the CPU.

    Raises UserError that says what failed, in which line.
    """
    if extensions.is_extension("network", config.network):
        with blamed("running the network"):
            check_outputs(network, distribution)
    short = replace(
        config,
        problem=replace(config.problem, rung_episodes=2, ranking_episodes=2, test_episodes=2),
        hyper={**config.hyper, "meta_batch_size": EPISODES},
        episodes=EPISODES,
        rungs=(),
        seeds=1,
        device="cpu",
        formulation={},
    )
    with blamed("training for two episodes"):
        for _ in meta_train(short, distribution):
            pass


def check_outputs(network: Network, distribution: TaskDistribution) -> None:
    """Run the network with parameters that episodes share, and with one of each for each.

    Of sentences the outputs are (episodes, examples, symbols, outputs), as long as the longest.
    Raises UserError for outputs of another shape than the kind of problem wants.
    """
    shared = network.init(torch.Generator().manual_seed(0))
    own = {name: value.expand(EPISODES, *value.shape) for name, value in shared.items()}
    inputs = torch.zeros(EPISODES, EXAMPLES, *distribution.input_shape)
    pixels = distribution.input_shape[1:] if distribution.kind == "segmentation" else ()
    right: tuple[int, ...] = (EPISODES, EXAMPLES, *pixels, distribution.outputs)
    axes = "episodes, examples, height, width, outputs" if pixels else "episodes, examples, outputs"
    if distribution.kind == "translation":
        drawn = distribution.sample("train", 0, range(EPISODES)).query
        inputs, targets = drawn.inputs[:, :1], drawn.targets[:, :1]
        longest = int((targets != IGNORED).sum(-1).max())
        right = (EPISODES, 1, longest, distribution.outputs)
        axes = "episodes, examples, symbols, outputs"
    for what, params in (("", shared), (" where every episode has its own parameters", own)):
        outputs = network(params, inputs)
        if distribution.kind == "translation" and outputs.dim() == 4:
            outputs = outputs[:, :, : right[2]]  # What is behind is not looked at.
        shape = tuple(outputs.shape)
        if shape != right:
            raise UserError(
                f"outputs of inputs {tuple(inputs.shape)} have the shape {shape}{what}; must be "
                f"{right}: ({axes})"
            )
