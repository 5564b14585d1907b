"""Where meta-learning starts from."""

from __future__ import annotations

import torch

from algorithms.algorithm import Hyper, Init
from networks.network import Network, Params


def network_weights(network: Network) -> Init:
    """Return an `init` whose meta-parameters are the network's weights and nothing else."""

    def init(hyper: Hyper, rng: torch.Generator) -> tuple[Params, Params]:
        return network.init(rng), {}

    return init
