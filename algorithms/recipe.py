"""A recipe: the independent choices that an inner loop and its meta-gradient are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

CHOICES: dict[str, tuple[str | bool, ...]] = {
    "adapts": ("all", "head", "body", "context", "subspace"),
    "rate": ("one", "layer", "parameter", "layer_step"),
    "rate_learned": (False, True),
    "preconditioner": ("none", "layerwise", "kronecker"),
    "inner_optimizer": ("sgd", "momentum", "rmsprop", "adam"),
    "meta_gradient": ("second_order", "annealed", "first_order", "difference", "implicit"),
    "query_loss": ("last", "multi_step"),
    "head": ("learned", "zeroed", "prototypes"),
    "inner_normalization": ("network", "per_step"),
    "proximal": (False, True),
}
THROUGH_QUERY = ("second_order", "annealed", "first_order")


@dataclass(frozen=True)
class Recipe:
    """One point in the table of parts; the defaults are MAML's (Finn et al. 2017).

    adapts: what the inner loop moves: "all" parameters, the "head" (ANIL), the "body" (BOIL), a
        "context" vector that shifts the first layer's biases or scales and shifts (CAVIA), a
        learned "subspace" of all (MT-net's masks), or layers by name: "block3,head", "block*".
    rate: "one", one a "layer", one a "parameter" entry, or one a "layer_step".
    rate_learned: whether the rates are meta-learned, starting at `inner_lr`; they may turn
        negative. More than one rate is always learned.
    preconditioner: what gradients go through: "none", a "layerwise" linear map of every layer's
        outputs (T-net), or a "kronecker" product of a matrix an axis (Meta-Curvature).
    inner_optimizer: "sgd", "momentum", "rmsprop" or "adam", all differentiable.
    meta_gradient: of "second_order", of "first_order", "annealed" from first to second (MAML++),
        the "difference" of adapted and initial parameters (Reptile), or "implicit" (iMAML).
    query_loss: after the "last" step, or "multi_step", with annealed weights (MAML++).
    head: where an episode's last layer starts: "learned", "zeroed", or at "prototypes" (ProtoMAML).
    inner_normalization: the "network"'s, or "per_step" scales, shifts and statistics (MAML++).
    proximal: whether the inner loss holds the parameters near their start.
    """

    adapts: str = "all"
    rate: str = "one"
    rate_learned: bool = False
    preconditioner: str = "none"
    inner_optimizer: str = "sgd"
    meta_gradient: str = "second_order"
    query_loss: str = "last"
    head: str = "learned"
    inner_normalization: str = "network"
    proximal: bool = False

    def parts(self) -> dict[str, str | bool]:
        """Return the choices by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


MAML = Recipe()


def conflicts(recipe: Recipe) -> list[str]:
    """Return a line for each choice that is unknown or makes no sense beside another."""
    return list(_unknown(recipe)) or list(_conflicts(recipe))


def _unknown(recipe: Recipe) -> Iterator[str]:
    for name, value in recipe.parts().items():
        if name == "adapts" and value not in CHOICES[name]:
            if not isinstance(value, str) or not value.strip():
                yield f"adapts: {value!r}: must be layer names, or one of {_listed(name)}"
        elif value not in CHOICES[name]:
            yield f"{name}: {value!r}: must be one of {_listed(name)}"


def _conflicts(recipe: Recipe) -> Iterator[str]:
    if recipe.rate != "one" and not recipe.rate_learned:
        yield f"rate: {recipe.rate!r}: several rates are of use only if rate_learned is true"
    if recipe.meta_gradient not in THROUGH_QUERY:
        # Neither differentiates a query loss through the loop, which is what would teach these.
        for name in ("adapts", "rate_learned", "preconditioner", "query_loss", "head"):
            if getattr(recipe, name) != getattr(MAML, name):
                yield (
                    f"{name}: {getattr(recipe, name)!r}: "
                    f"is not learned by meta_gradient {recipe.meta_gradient!r}"
                )
        if recipe.inner_normalization == "per_step":
            yield (
                f"inner_normalization: 'per_step': not with meta_gradient {recipe.meta_gradient!r}"
            )
    if recipe.meta_gradient == "implicit" and not recipe.proximal:
        yield "proximal: False: meta_gradient 'implicit' is that of a proximal inner loss"
    if recipe.head == "zeroed" and recipe.adapts in ("body", "context"):
        yield f"head: 'zeroed': would stay at zero, since adapts is {recipe.adapts!r}"
    if recipe.adapts == "context" and recipe.preconditioner != "none":
        yield f"preconditioner: {recipe.preconditioner!r}: a context vector needs none"


def _listed(name: str) -> str:
    return ", ".join(str(option) for option in CHOICES[name])
