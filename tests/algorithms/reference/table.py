"""The references by the names that algorithms are registered under."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.algorithms.reference import comparing, descent, implicit, plus_plus, preconditioned
from tests.algorithms.reference.networks import Weights
from tests.algorithms.reference.run import Outputs, Run, through


class Reference(NamedTuple):
    """outputs: of queries after adaptation. gradients: meta-gradients and the state after."""

    outputs: Outputs
    gradients: Callable[[Run], tuple[Weights, Weights]]


def _plain(outputs: Outputs) -> Reference:
    return Reference(outputs, through(outputs))


REFERENCES = {
    "maml": _plain(descent.maml),
    "fomaml": _plain(descent.fomaml),
    "reptile": Reference(descent.maml, descent.reptile),
    "anil": _plain(descent.anil),
    "boil": _plain(descent.boil),
    "meta-sgd": _plain(descent.meta_sgd),
    "mamlpp": Reference(plus_plus.outputs, plus_plus.maml_plus_plus),
    "imaml": Reference(implicit.outputs, implicit.imaml),
    "cavia": _plain(preconditioned.cavia),
    "t-net": _plain(preconditioned.t_net),
    "mt-net": _plain(preconditioned.mt_net),
    "meta-curvature": _plain(preconditioned.meta_curvature),
    "alfa": _plain(preconditioned.alfa),
    "proto-maml": _plain(comparing.proto_maml),
    "prototypical": _plain(comparing.prototypical),
    "matching": _plain(comparing.matching),
    "pretrain": Reference(descent.pretrained, descent.pretrain),
    "scratch": Reference(descent.scratch, descent.nothing),
    "composed": _plain(descent.maml),
}
