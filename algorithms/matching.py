"""Matching networks: a weighted vote of the support set, in a learned space."""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms.algorithm import Algorithm, Hyper, Objective
from algorithms.parts.axis import scaled
from algorithms.parts.comparison import comparing
from algorithms.parts.heads import one_hot
from networks.network import Network, Params

FEATURES, VOTES = "matching/features", "matching/votes"
EPSILON = 1e-12


def matching(network: Network, objective: Objective) -> Algorithm:
    """Build matching networks (Vinyals et al. 2016, arXiv:1606.04080, equation 1, section 2.1.1).

    A query's class probabilities are the support labels, weighted by a softmax over cosine
    similarities times `attention_scale` (1 in the paper); outputs are their logarithms. Without
    full context embeddings. Meta-parameters: those of the network's body.
    """
    return comparing("matching", network, objective, _remember, _log_probabilities)


def _remember(features: Tensor, labels: Tensor, ways: int, hyper: Hyper) -> Params:
    votes = torch.zeros_like(labels, dtype=features.dtype).unsqueeze(-1).expand(-1, -1, ways)
    # The logarithm of a label's vote: 0 for its own class, minus infinity for the others.
    votes = votes.masked_fill(~one_hot(labels, ways), -torch.inf)
    directions = _normalized(features)
    return {FEATURES: scaled(torch.as_tensor(hyper["attention_scale"]), directions), VOTES: votes}


def _log_probabilities(kept: Params, features: Tensor) -> Tensor:
    similarities = _normalized(features) @ kept[FEATURES].mT
    attention = similarities.log_softmax(-1)
    return torch.logsumexp(attention.unsqueeze(-1) + kept[VOTES].unsqueeze(1), 2)


def _normalized(features: Tensor) -> Tensor:
    return features * torch.rsqrt(features.square().sum(-1, keepdim=True) + EPSILON)
