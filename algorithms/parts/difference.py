"""The meta-gradient of Reptile: how far the inner loop goes."""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms.algorithm import Diagnostics, Hyper, MetaGradients
from algorithms.parts.axis import averaged
from algorithms.parts.inner_loop import InnerLoop
from algorithms.parts.meta import diagnose, steps_of
from episodes.episode import Episodes, Examples
from networks.network import Params


def by_difference(inner: InnerLoop) -> MetaGradients:
    """Return `meta_gradients`: meta minus the mean of the adapted parameters.

    Nichol et al. 2018, algorithm 2. The inner loop trains on all of an episode's examples.
    """

    def meta_gradients(
        meta: Params, state: Params, hyper: Hyper, episodes: Episodes, keys: Tensor
    ) -> tuple[Params, Params, Diagnostics]:
        support, query = episodes.support, episodes.query
        everything = Examples(
            torch.cat([support.inputs, query.inputs], 1),
            torch.cat([support.targets, query.targets], 1),
        )
        with torch.no_grad():
            adapted = inner.adapt(meta, state, hyper, everything, steps_of(hyper), keys)
            outputs = inner.predict(meta, state, adapted, query.inputs)
            assert adapted.loop is not None
            origin, fast = adapted.loop.origin, adapted.loop.fast
            direction = {
                name: averaged(origin[name] - fast[name], like=meta[name]) for name in meta
            }
        return direction, state, diagnose(inner.objective, outputs, query.targets)

    return meta_gradients
