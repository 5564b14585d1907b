"""The space of one algorithm or network, and what values are legal at all."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from episodes.kinds import Kind as Kind
from spaces.errors import SpaceError
from spaces.parameter import Choice, Fixed, Float, Int, Parameter, Text, Value, values_of
from spaces.torchvision_models import SUCH_AS, TORCHVISION_MODELS

Values = Mapping[str, Value]
Condition = Callable[[Values], bool]
"""Whether a parameter matters, given what was chosen before it: values by bare name, "kind", and
what `Space.seen` tells of the network."""

EVERY_OWNER = "*"
VARIANT = "@"
UNGROUPED = f"{VARIANT}ungrouped"


@dataclass(frozen=True)
class Space:
    """What of an algorithm or network may vary, beside its published defaults.

    parameters: what a search draws, by name, in order. What comes after "@" in a name tells
        variants apart of which at most one matters ("head@fixed"): the value is called "head".
    defaults: for each kind of problem that it is for, values by bare name.
    conditions: parameters that are drawn only where their condition holds.
    points: more configurations that are worth trying first, as changes of the defaults.
    structure: parameters whose variants leave out what would not fit. An override of one is cut
        down to what each variant allows; one of any other parameter replaces every variant, but for
        those that are overridden by their own names ("outer_lr@difference").
    idle: parameters, by name and variant, that make no difference where they are met: no point is
        another one for what they are.
    grouped: of a network: by setting, which is a choice or fixed, the values that make layers
        whose outputs each see only some of the inputs (`networks.Network.grouped`).
    ungrouped: of an algorithm: whether it needs a network without such layers.
    """

    parameters: Mapping[str, Parameter]
    defaults: Mapping[Kind, Values]
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    points: Mapping[str, Mapping[Kind, Values]] = field(default_factory=dict)
    structure: frozenset[str] = frozenset()
    idle: frozenset[str] = frozenset()
    grouped: Mapping[str, frozenset[Value]] = field(default_factory=dict)
    ungrouped: bool = False

    def seen(self, settings: Values) -> dict[str, Value]:
        """Return what an algorithm's conditions see of this network with these settings.

        The settings are called "network/<setting>"; "grouped" says whether it has such layers, and
        "normalized" whether it may have layers that normalize: all may but those that are set not
        to.
        """
        grouped = any(settings.get(name) in values for name, values in self.grouped.items())
        normalized = settings.get("normalization") != "none"
        named = {f"network/{name}": value for name, value in settings.items()}
        return named | {"grouped": grouped, "normalized": normalized}

    def walk(self, given: Values, ask: Callable[[str, Parameter], Value]) -> dict[str, Value]:
        """Return a value for every parameter that matters, by bare name, as `ask` answers.

        given: what conditions may look at beside the values of this space.
        ask: (name, parameter) -> value, called in order.
        """
        chosen: dict[str, Value] = {}
        for name, parameter in self.parameters.items():
            condition = self.conditions.get(name)
            if condition is None or condition({**given, **chosen}):
                chosen[bare(name)] = ask(name, parameter)
        return chosen


def bare(name: str) -> str:
    """Return a parameter's name without its variant."""
    return name.partition(VARIANT)[0]


LEGAL: dict[str, Parameter] = {
    "inner_lr": Float(0.0, 100.0),
    "inner_steps": Int(1, 1000),
    "inner_steps_evaluation": Int(1, 1000),
    "inner_momentum": Float(0.0, 0.9999),
    "inner_decay": Float(0.0, 0.99999),
    "inner_weight_decay": Float(0.0, 1.0),
    "proximal_strength": Float(1e-6, 1e6),
    "cg_steps": Int(1, 1000),
    "context_size": Int(1, 4096),
    "multi_step_share": Float(1e-6, 1.0),
    "first_order_share": Float(0.0, 1.0),
    "attention_scale": Float(1e-3, 1e3),
    "outer_lr": Float(0.0, 100.0),
    "outer_optimizer": Choice(("adam", "adamw", "sgd", "momentum")),
    "outer_schedule": Choice(("constant", "linear", "cosine")),
    "weight_decay": Float(0.0, 1.0),
    "meta_batch_size": Int(1, 4096),
    "clip_norm": Float(0.0, 1e6),
    "adapts": Text(),
    "rate": Choice(("one", "layer", "parameter", "layer_step")),
    "rate_learned": Choice((False, True)),
    "preconditioner": Choice(("none", "layerwise", "kronecker")),
    "inner_optimizer": Choice(("sgd", "momentum", "rmsprop", "adam")),
    "meta_gradient": Choice(("second_order", "annealed", "first_order", "difference", "implicit")),
    "query_loss": Choice(("last", "multi_step")),
    "head": Choice(("learned", "zeroed", "prototypes")),
    "inner_normalization": Choice(("network", "per_step")),
    "proximal": Choice((False, True)),
    "width": Int(1, 65536),
    "filters": Int(1, 4096),
    "depth": Int(1, 16),
    "convolutions": Int(1, 16),
    "activation": Choice(("relu", "leaky_relu", "tanh", "silu", "gelu", "sine")),
    "normalization": Choice(("batch", "layer", "group", "none")),
    "downsample": Choice(("pool", "average", "stride")),
    "residual": Choice((False, True)),
    "pool": Choice(("average", "flatten")),
    "patch": Int(1, 1024),
    "heads": Int(1, 1024),
    "expansion": Int(1, 16),
    "tied": Choice((False, True)),
    "universal": Int(0, 65536),
    "readout": Choice(("class", "mean")),
    "model": Choice(TORCHVISION_MODELS),
}
"""What a user may set each parameter to; the spaces are what is worth searching."""


def checked(name: str, parameter: Parameter) -> Parameter:
    """Return a user's parameter for `name` with its numbers as reals where reals are meant.

    A name that is not in `LEGAL` belongs to a user's own space, which is all that limits it.
    Raises SpaceError for a value outside of what is legal.
    """
    legal = LEGAL.get(bare(name))
    if legal is None:
        return parameter
    if isinstance(legal, Choice) and isinstance(parameter, Int | Float):
        low, high = parameter.low, parameter.high
        raise SpaceError(f"{low} to {high}: {_refusal(bare(name), low, legal)}")
    for value in values_of(parameter):
        if not legal.contains(value):
            raise SpaceError(f"{value}: {_refusal(bare(name), value, legal)}")
    return _as_reals(parameter) if isinstance(legal, Float) else parameter


def _as_reals(parameter: Parameter) -> Parameter:
    if isinstance(parameter, Int):
        return Float(float(parameter.low), float(parameter.high), parameter.log)
    if isinstance(parameter, Choice):
        return Choice(tuple(float(option) for option in parameter.options))
    if isinstance(parameter, Fixed):
        return Fixed(float(parameter.value))
    return parameter


def _refusal(name: str, value: Value, legal: Parameter) -> str:
    if name == "model" and isinstance(value, str):
        # Torch is imported where something is wrong, and no earlier.
        from networks.torchvision_model import why_not

        reason = why_not(value)
        if reason is not None:
            return f"{reason}, such as {SUCH_AS}"
    return f"must be {_description(legal, value)}"


def _description(legal: Parameter, value: Value) -> str:
    if isinstance(legal, Int):
        return f"a whole number from {legal.low} to {legal.high}"
    if isinstance(legal, Float):
        return f"a number from {legal.low:g} to {legal.high:g}"
    if isinstance(legal, Text):
        return "text that is not empty"
    options = [str(option) for option in values_of(legal)]
    close = difflib.get_close_matches(str(value).lower(), options, n=3)
    return "one of " + ", ".join([*close, *(each for each in options if each not in close)])
