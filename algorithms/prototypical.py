"""Prototypical networks: the nearest class mean, in a learned space."""

from __future__ import annotations

from torch import Tensor

from algorithms.algorithm import Algorithm, Hyper, Objective
from algorithms.parts.comparison import comparing
from algorithms.parts.heads import class_means, squared_distances
from networks.network import Network, Params

PROTOTYPES = "prototypes"


def prototypical(network: Network, objective: Objective) -> Algorithm:
    """Build prototypical networks (Snell, Swersky and Zemel 2017, arXiv:1703.05175, algorithm 1).

    Logits are negative squared Euclidean distances to the means of each class's support features.
    Trained on as many ways as it is judged on. Meta-parameters: those of the network's body.
    """
    return comparing("prototypical", network, objective, _prototypes, _logits)


def _prototypes(features: Tensor, labels: Tensor, ways: int, hyper: Hyper) -> Params:
    return {PROTOTYPES: class_means(features, labels, ways)}


def _logits(kept: Params, features: Tensor) -> Tensor:
    return -squared_distances(features, kept[PROTOTYPES])
