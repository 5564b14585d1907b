"""Learners that compare queries with the support set's features, and MAML on top of that."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.algorithms.reference.networks import Weights
from tests.algorithms.reference.run import Episode, Run, gradients_of


def _features(run: Run, meta: Weights, episode: Episode) -> tuple[Tensor, Tensor]:
    """Return the support set's features and the queries'."""
    support = run.case.forward(meta, episode.support[0])
    statistics = None if run.case.transductive else support.moments
    return support.features, run.case.forward(meta, episode.query[0], statistics).features


def prototypes(features: Tensor, labels: Tensor, ways: int) -> Tensor:
    return torch.stack([features[labels == k].mean(0) for k in range(ways)])


def prototypical(run: Run, meta: Weights, episode: Episode, steps: int) -> Tensor:
    support, query = _features(run, meta, episode)
    assert run.case.ways is not None
    centres = prototypes(support, episode.support[1], run.case.ways)
    return torch.stack([-((one - centres) ** 2).sum(1) for one in query])


def matching(run: Run, meta: Weights, episode: Episode, steps: int) -> Tensor:
    support, query = _features(run, meta, episode)
    scale, labels = float(run.hyper["attention_scale"]), episode.support[1]
    assert run.case.ways is not None
    rows = []
    for one in query:
        attention = torch.softmax(scale * F.cosine_similarity(one.unsqueeze(0), support), 0)
        votes = [attention[labels == k].sum() for k in range(run.case.ways)]
        rows.append(torch.log(torch.stack(votes)))
    return torch.stack(rows)


def proto_maml(run: Run, meta: Weights, episode: Episode, steps: int) -> Tensor:
    """A head made of prototypes; inner gradients do not see what it is made of."""
    assert run.case.ways is not None
    features = run.case.forward(meta, episode.support[0]).features
    centres = prototypes(features, episode.support[1], run.case.ways)
    weights = {name: value.clone() for name, value in meta.items()}
    weights |= {"head.weight": 2 * centres, "head.bias": -(centres**2).sum(1)}
    for _ in range(steps):
        gradients = gradients_of(run.case.support_loss(weights, episode.support), weights, True)
        weights = {name: value - run.rate * gradients[name] for name, value in weights.items()}
    return run.case.query_pass(weights, episode.support, episode.query[0])
