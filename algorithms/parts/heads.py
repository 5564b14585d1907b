"""Where an episode's last layer starts, other than at learned values."""

from __future__ import annotations

import torch
from torch import Tensor

from networks.network import Network, Params


def zero_head(network: Network, features: Tensor) -> Params:
    """Return heads of zeros, (T, *shape), for features (T, N, F)."""
    return {
        name: features.new_zeros(len(features), *network.shapes[name])
        for name in network.head_names
    }


def one_hot(labels: Tensor, ways: int) -> Tensor:
    """Return labels as (..., ways) truth values; torch's own needs values, which no graph has."""
    return labels.unsqueeze(-1) == torch.arange(ways, device=labels.device)


def class_means(features: Tensor, labels: Tensor, ways: int) -> Tensor:
    """Return the mean features of each class, (T, ways, F), of (T, N, F) and labels (T, N)."""
    members = one_hot(labels, ways).to(features.dtype)
    sums = members.mT @ features
    return sums / members.sum(1).unsqueeze(-1)


def prototype_head(network: Network, features: Tensor, labels: Tensor, ways: int) -> Params:
    """Return heads whose logits are negative squared distances to the class means.

    Triantafillou et al. 2020, arXiv:1903.03096, section 3: W_k = 2 c_k, b_k = -|c_k|^2; what is
    left out of the distance is equal for all classes. head_names: the weight, then the bias.
    """
    means = class_means(features, labels, ways)
    weight, bias = network.head_names
    return {weight: 2 * means, bias: -means.square().sum(-1)}


def squared_distances(features: Tensor, centres: Tensor) -> Tensor:
    """Return (T, N, ways) squared Euclidean distances of (T, N, F) to (T, ways, F)."""
    cross = torch.baddbmm(centres.square().sum(-1).unsqueeze(1), features, centres.mT, alpha=-2)
    return cross + features.square().sum(-1, keepdim=True)
