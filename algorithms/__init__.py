"""How to learn: one file an algorithm, as records of pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from algorithms.algorithm import Adapted, Algorithm, Diagnostics, Hyper, Objective
from algorithms.anil import anil
from algorithms.fomaml import fomaml
from algorithms.maml import maml
from algorithms.meta_sgd import meta_sgd
from algorithms.pretrain import pretrain
from algorithms.reptile import reptile
from networks.network import Network

__all__ = ["ALGORITHMS", "Adapted", "Algorithm", "Diagnostics", "Entry", "Hyper", "Objective"]


@dataclass(frozen=True)
class Entry:
    """A registered algorithm: how to build it, and a line about it."""

    make: Callable[[Network, Objective], Algorithm]
    summary: str


ALGORITHMS: dict[str, Entry] = {
    "maml": Entry(maml, "learned initialization, second order (Finn 2017)"),
    "fomaml": Entry(fomaml, "MAML without second derivatives (Finn 2017)"),
    "reptile": Entry(reptile, "moves towards the adapted weights (Nichol 2018)"),
    "anil": Entry(anil, "MAML that adapts the last layer only (Raghu 2020)"),
    "meta-sgd": Entry(meta_sgd, "learned initialization and rate per parameter (Li 2017)"),
    "pretrain": Entry(pretrain, "no meta-learning: pooled training, fine-tuning (Chen 2019)"),
}
