"""The algorithms that can be named in a specification."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from algorithms import (
    alfa,
    anil,
    boil,
    cavia,
    fomaml,
    imaml,
    maml,
    maml_plus_plus,
    meta_curvature,
    meta_sgd,
    mt_net,
    proto_maml,
    reptile,
    t_net,
)
from algorithms.algorithm import Algorithm, Objective
from algorithms.composed import composed
from algorithms.matching import matching
from algorithms.pretrain import pretrain
from algorithms.prototypical import prototypical
from algorithms.recipe import CHOICES, Recipe
from algorithms.scratch import scratch
from networks.network import Network


@dataclass(frozen=True)
class Entry:
    """A registered algorithm.

    make: (network, objective, **choices) -> the algorithm.
    summary: a line about it, with the paper's authors and year.
    recipe: its point in the table of parts; None where it is none.
    choices: hyperparameters that `make` takes as keywords: what its structure depends on.
    classes: whether it works on classification problems alone.
    """

    make: Callable[..., Algorithm]
    summary: str
    recipe: Recipe | None = None
    choices: tuple[str, ...] = ()
    classes: bool = False


ALGORITHMS: dict[str, Entry] = {
    "maml": Entry(maml.maml, "learned initialization, second order (Finn 2017)", maml.RECIPE),
    "fomaml": Entry(fomaml.fomaml, "MAML without second derivatives (Finn 2017)", fomaml.RECIPE),
    "reptile": Entry(
        reptile.reptile, "moves towards the adapted weights (Nichol 2018)", reptile.RECIPE
    ),
    "anil": Entry(anil.anil, "MAML that adapts the last layer only (Raghu 2020)", anil.RECIPE),
    "boil": Entry(boil.boil, "MAML that adapts all but the last layer (Oh 2021)", boil.RECIPE),
    "meta-sgd": Entry(
        meta_sgd.meta_sgd,
        "learned initialization and rate per parameter (Li 2017)",
        meta_sgd.RECIPE,
    ),
    "mamlpp": Entry(
        maml_plus_plus.maml_plus_plus,
        "rates and normalization per step, losses after every step (Antoniou 2019)",
        maml_plus_plus.RECIPE,
    ),
    "imaml": Entry(
        imaml.imaml,
        "implicit meta-gradient of a proximal inner loss (Rajeswaran 2019)",
        imaml.RECIPE,
    ),
    "cavia": Entry(cavia.cavia, "adapts a context vector only (Zintgraf 2019)", cavia.RECIPE),
    "t-net": Entry(t_net.t_net, "learned layerwise maps warp gradients (Lee 2018)", t_net.RECIPE),
    "mt-net": Entry(
        mt_net.mt_net, "T-net that adapts a learned subspace (Lee 2018)", mt_net.RECIPE
    ),
    "meta-curvature": Entry(
        meta_curvature.meta_curvature,
        "learned matrices transform gradients (Park 2019)",
        meta_curvature.RECIPE,
    ),
    "alfa": Entry(alfa.alfa, "generated rates and weight decays at every step (Baik 2020)"),
    "proto-maml": Entry(
        proto_maml.proto_maml,
        "MAML whose head starts at prototypes (Triantafillou 2020)",
        proto_maml.RECIPE,
        classes=True,
    ),
    "prototypical": Entry(
        prototypical, "nearest class mean in a learned space (Snell 2017)", classes=True
    ),
    "matching": Entry(matching, "weighted vote of the support set (Vinyals 2016)", classes=True),
    "pretrain": Entry(pretrain, "no meta-learning: pooled training, fine-tuning (Chen 2019)"),
    "scratch": Entry(scratch, "no meta-training: each episode by itself, from random weights"),
    "composed": Entry(
        composed, "every part of an inner loop is a choice to search", choices=tuple(CHOICES)
    ),
}


def make(name: str, network: Network, objective: Objective, values: Mapping[str, Any]) -> Algorithm:
    """Build a registered algorithm.

    values: hyperparameters, of which those that its structure depends on are used.
    Raises KeyError for an unknown name and RecipeError for what does not fit together.
    """
    entry = ALGORITHMS[name]
    chosen = {key: values[key] for key in entry.choices if key in values}
    return entry.make(network, objective, **chosen)
