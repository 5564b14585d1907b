"""The space of one algorithm or network, and what values are legal at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from spaces.errors import SpaceError
from spaces.parameter import Choice, Fixed, Float, Int, Parameter, Value, values_of

Kind = Literal["classification", "regression"]


@dataclass(frozen=True)
class Space:
    """What of an algorithm or network may vary, beside its published defaults.

    parameters: what a search draws, by name.
    defaults: for each kind of problem one value per parameter, inside its range.
    """

    parameters: Mapping[str, Parameter]
    defaults: Mapping[Kind, Mapping[str, Value]]


LEGAL: dict[str, Parameter] = {
    "inner_lr": Float(0.0, 100.0),
    "inner_steps": Int(1, 1000),
    "inner_steps_evaluation": Int(1, 1000),
    "outer_lr": Float(0.0, 100.0),
    "outer_optimizer": Choice(("adam", "sgd")),
    "outer_schedule": Choice(("constant", "linear", "cosine")),
    "meta_batch_size": Int(1, 4096),
    "clip_norm": Float(0.0, 1e6),
    "width": Int(1, 65536),
    "filters": Int(1, 4096),
    "depth": Int(1, 16),
    "activation": Choice(("relu", "leaky_relu", "tanh", "silu", "gelu")),
    "normalization": Choice(("batch", "layer", "group", "none")),
    "downsample": Choice(("pool", "stride")),
}
"""What a user may set each parameter to; the spaces are what is worth searching."""


def checked(name: str, parameter: Parameter) -> Parameter:
    """Return a user's parameter for `name` with its numbers as reals where reals are meant.

    Raises SpaceError for a value outside of what is legal.
    """
    legal = LEGAL[name]
    for value in values_of(parameter):
        if not legal.contains(value):
            raise SpaceError(f"{value}: must be {_description(legal)}")
    return _as_reals(parameter) if isinstance(legal, Float) else parameter


def _as_reals(parameter: Parameter) -> Parameter:
    if isinstance(parameter, Int):
        return Float(float(parameter.low), float(parameter.high), parameter.log)
    if isinstance(parameter, Choice):
        return Choice(tuple(float(option) for option in parameter.options))
    if isinstance(parameter, Fixed):
        return Fixed(float(parameter.value))
    return parameter


def _description(legal: Parameter) -> str:
    if isinstance(legal, Int):
        return f"a whole number from {legal.low} to {legal.high}"
    if isinstance(legal, Float):
        return f"a number from {legal.low:g} to {legal.high:g}"
    return "one of " + ", ".join(str(value) for value in values_of(legal))
