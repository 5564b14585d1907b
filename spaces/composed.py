"""The space of the composed algorithm: every part of an inner loop, and what each part needs.

Choices that make no sense together are never drawn: a part is a question of its own only where the
parts before it leave it open. What may stand beside what is said in `algorithms.recipe.conflicts`.
"""

from __future__ import annotations

from collections.abc import Mapping

from spaces.outer import OUTER_ADAM_DEFAULTS
from spaces.parameter import Choice, Fixed, Float, Int, Parameter, Value
from spaces.space import Condition, Space, Values

PARTS = (
    "meta_gradient",
    "adapts",
    "rate",
    "rate_learned",
    "preconditioner",
    "inner_optimizer",
    "query_loss",
    "head",
    "inner_normalization",
    "proximal",
)
THROUGH_QUERY = ("second_order", "annealed", "first_order")


def _through_query(values: Values) -> bool:
    return values["meta_gradient"] in THROUGH_QUERY


def _otherwise(values: Values) -> bool:
    return not _through_query(values)


def _difference(values: Values) -> bool:
    return values["meta_gradient"] == "difference"


def _not_difference(values: Values) -> bool:
    return not _difference(values)


def _implicit(values: Values) -> bool:
    return values["meta_gradient"] == "implicit"


def _not_implicit(values: Values) -> bool:
    return not _implicit(values)


def _annealed(values: Values) -> bool:
    return values["meta_gradient"] == "annealed"


def _classes(values: Values) -> bool:
    return values["kind"] == "classification"


def _head_moves(values: Values) -> bool:
    return _through_query(values) and values["adapts"] in ("all", "head", "subspace")


def _head_moves_with_classes(values: Values) -> bool:
    return _head_moves(values) and _classes(values)


def _head_moves_without(values: Values) -> bool:
    return _head_moves(values) and not _classes(values)


def _head_stays_with_classes(values: Values) -> bool:
    return _through_query(values) and not _head_moves(values) and _classes(values)


def _head_given(values: Values) -> bool:
    return not (_head_moves(values) or _head_stays_with_classes(values))


def _one_rate(values: Values) -> bool:
    return _through_query(values) and values["rate"] == "one"


def _several_rates(values: Values) -> bool:
    return _through_query(values) and values["rate"] != "one"


def _context(values: Values) -> bool:
    return values["adapts"] == "context"


def _preconditioned(values: Values) -> bool:
    return _through_query(values) and not _context(values)


def _not_preconditioned(values: Values) -> bool:
    return not _preconditioned(values)


def _mixed(values: Values) -> bool:
    return _preconditioned(values) and not values.get("grouped", False)


def _mixed_by_none(values: Values) -> bool:
    return _preconditioned(values) and not _mixed(values)


def _several_steps(values: Values) -> bool:
    return _through_query(values) and int(values["inner_steps"]) > 1


def _multi_step_is_out(values: Values) -> bool:
    return not _several_steps(values)


def _multi_step(values: Values) -> bool:
    return values["query_loss"] == "multi_step"


def _normalized(values: Values) -> bool:
    return _through_query(values) and bool(values["normalized"])


def _not_normalized(values: Values) -> bool:
    return _through_query(values) and not values["normalized"]


def _prototypes(values: Values) -> bool:
    return values["head"] == "prototypes"


def _not_prototypes(values: Values) -> bool:
    return not _prototypes(values)


def _proximal(values: Values) -> bool:
    return bool(values["proximal"])


def _has_momentum(values: Values) -> bool:
    return values["inner_optimizer"] in ("momentum", "adam")


def _has_decay(values: Values) -> bool:
    return values["inner_optimizer"] in ("rmsprop", "adam")


_PARAMETERS: dict[str, tuple[Parameter, Condition | None]] = {
    "meta_gradient": (
        Choice(("second_order", "annealed", "first_order", "difference", "implicit")),
        None,
    ),
    "adapts": (Choice(("all", "head", "body", "context", "subspace")), _through_query),
    "adapts@all": (Fixed("all"), _otherwise),
    "inner_lr": (Float(1e-3, 1.0, log=True), None),
    "inner_steps": (Int(1, 8), _not_implicit),
    # Its memory does not grow with its steps.
    "inner_steps@implicit": (Int(1, 16, log=True), _implicit),
    "inner_steps_evaluation": (Int(1, 16, log=True), _not_difference),
    # Its published recipes are judged after up to 50.
    "inner_steps_evaluation@difference": (Int(1, 50, log=True), _difference),
    "rate": (Choice(("one", "layer", "parameter", "layer_step")), _through_query),
    "rate@one": (Fixed("one"), _otherwise),
    "rate_learned": (Choice((False, True)), _one_rate),
    "rate_learned@several": (Fixed(True), _several_rates),
    "rate_learned@fixed": (Fixed(False), _otherwise),
    "preconditioner": (Choice(("none", "layerwise", "kronecker")), _mixed),
    "preconditioner@grouped": (Choice(("none", "kronecker")), _mixed_by_none),
    "preconditioner@none": (Fixed("none"), _not_preconditioned),
    "inner_optimizer": (Choice(("sgd", "momentum", "rmsprop", "adam")), None),
    "query_loss": (Choice(("last", "multi_step")), _several_steps),
    "query_loss@last": (Fixed("last"), _multi_step_is_out),
    "head": (Choice(("learned", "zeroed", "prototypes")), _head_moves_with_classes),
    "head@moving": (Choice(("learned", "zeroed")), _head_moves_without),
    "head@still": (Choice(("learned", "prototypes")), _head_stays_with_classes),
    "head@learned": (Fixed("learned"), _head_given),
    "inner_normalization": (Choice(("network", "per_step")), _normalized),
    "inner_normalization@nothing": (Fixed("network"), _not_normalized),
    "inner_normalization@network": (Fixed("network"), _otherwise),
    "proximal": (Choice((False, True)), _not_implicit),
    "proximal@implicit": (Fixed(True), _implicit),
    "inner_momentum": (Float(0.0, 0.99), _has_momentum),
    "inner_decay": (Float(0.5, 0.999), _has_decay),
    "proximal_strength": (Float(1e-2, 10.0, log=True), _proximal),
    "cg_steps": (Int(1, 10), _implicit),
    "context_size": (Int(2, 100, log=True), _context),
    "multi_step_share": (Float(0.05, 1.0, log=True), _multi_step),
    "first_order_share": (Float(0.1, 0.9), _annealed),
    "outer_lr": (Float(1e-4, 1e-2, log=True), _not_difference),
    "outer_lr@difference": (Float(0.05, 1.0, log=True), _difference),
    # SGD with momentum, which no recipe has, takes steps ten times as long: other rates than these.
    "outer_optimizer": (Choice(("adam", "adamw")), _not_difference),
    "outer_optimizer@difference": (Fixed("sgd"), _difference),
    "outer_schedule": (Choice(("constant", "linear", "cosine")), None),
    "weight_decay": (Choice((0.0, 1e-4, 1e-2)), _not_difference),
    "weight_decay@none": (Fixed(0.0), _difference),
    "meta_batch_size": (Int(4, 64, log=True), _not_prototypes),
    # Published with one episode to a batch.
    "meta_batch_size@prototypes": (Int(1, 64, log=True), _prototypes),
    "clip_norm": (Choice((0.0, 1.0, 10.0)), None),
}

_ASIDE: dict[str, Value] = {
    "meta_gradient": "second_order",
    "adapts": "all",
    "rate": "one",
    "rate_learned": False,
    "preconditioner": "none",
    "inner_optimizer": "sgd",
    "query_loss": "last",
    "head": "learned",
    "inner_normalization": "network",
    "proximal": False,
    "inner_momentum": 0.9,
    "inner_decay": 0.99,
    "proximal_strength": 2.0,
    "cg_steps": 5,
    "context_size": 10,
    "multi_step_share": 0.1,
    "first_order_share": 1 / 3,
    **OUTER_ADAM_DEFAULTS,
}
"""MAML, and what other parts would need."""


_RECIPES: dict[str, dict[str, Value]] = {
    "fomaml": {"meta_gradient": "first_order"},
    "anil": {"adapts": "head"},
    "boil": {"adapts": "body"},
    "meta-sgd": {"rate": "parameter", "rate_learned": True},
    "reptile": {"meta_gradient": "difference"},
    "mamlpp": {
        "meta_gradient": "annealed",
        "rate": "layer_step",
        "rate_learned": True,
        "query_loss": "multi_step",
        "inner_normalization": "per_step",
    },
    "imaml": {"meta_gradient": "implicit", "proximal": True},
    "cavia": {"adapts": "context"},
    "t-net": {"preconditioner": "layerwise"},
    "mt-net": {"adapts": "subspace", "preconditioner": "layerwise"},
    "meta-curvature": {"preconditioner": "kronecker"},
    "proto-maml": {"head": "prototypes"},
}
"""The parts of the named recipes, where they are not MAML's."""


def composed_space(named: Mapping[str, Space]) -> Space:
    """Return the space, whose points are the named recipes with their own published values.

    named: the spaces of MAML and of the recipes by name, for their defaults. The defaults are
        MAML's, for translation those without second derivatives.
    """
    maml = {name: _ASIDE[name] for name in PARTS}
    defaults = {kind: {**_ASIDE, **values} for kind, values in named["maml"].defaults.items()}
    defaults["translation"] |= {**named["fomaml"].defaults["translation"], **_RECIPES["fomaml"]}
    return Space(
        {name: parameter for name, (parameter, _) in _PARAMETERS.items()},
        defaults,
        {name: condition for name, (_, condition) in _PARAMETERS.items() if condition is not None},
        {
            name: {
                kind: {**maml, **parts, **values} for kind, values in named[name].defaults.items()
            }
            for name, parts in _RECIPES.items()
        },
        frozenset(PARTS),
        # Where nothing is normalized, it may as well be at each step.
        frozenset({"inner_normalization@nothing"}),
    )


_WORDS: dict[str, str] = {
    "meta_gradient": "{}",
    "adapts": "adapts {}",
    "rate": "rate {}",
    "preconditioner": "{}",
    "inner_optimizer": "{}",
    "query_loss": "{}",
    "head": "{} head",
    "inner_normalization": "{}",
}


def described(values: Values) -> str:
    """Return the parts of a composed configuration where they are not MAML's, in a few words."""
    words = [
        text.format(values[name])
        for name, text in _WORDS.items()
        if name in values and values[name] != _ASIDE[name]
    ]
    if values.get("rate") == "one" and values.get("rate_learned"):
        words.append("rate learned")
    if values.get("proximal") and values.get("meta_gradient") != "implicit":
        words.append("proximal")
    return ", ".join(words) or "as maml"
