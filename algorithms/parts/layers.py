"""A network's layers by name, and what of them adapts."""

from __future__ import annotations

from fnmatch import fnmatchcase

from algorithms.errors import RecipeError
from networks.network import Network

NORMALIZING = ("scale", "shift")


def layer_of(name: str) -> str:
    """Return the layer that a parameter belongs to: "block1" of "block1.weight"."""
    return name.rpartition(".")[0] or name


def kind_of(name: str) -> str:
    """Return what a parameter is in its layer: "weight", "bias", "scale", "shift", ..."""
    return name.rpartition(".")[2]


def layers_of(names: list[str]) -> list[str]:
    """Return the layers of these parameters, in order."""
    return list(dict.fromkeys(layer_of(name) for name in names))


def normalization_layers(network: Network) -> list[str]:
    """Return the layers that scale and shift what they normalize."""
    names = [name for name in network.shapes if kind_of(name) == "scale"]
    return layers_of(names)


def adapted_names(network: Network, adapts: str) -> list[str]:
    """Return the parameters that an inner loop moves, by `Recipe.adapts`; not for "context".

    Raises RecipeError for a layer that the network lacks.
    """
    names = list(network.shapes)
    if adapts in ("all", "subspace"):
        return names
    if adapts == "head":
        return list(network.head_names)
    if adapts == "body":
        return [name for name in names if name not in network.head_names]
    patterns = [pattern.strip() for pattern in adapts.split(",")]
    layers = layers_of(names)
    for pattern in patterns:
        if not any(fnmatchcase(layer, pattern) for layer in layers):
            raise RecipeError(
                f"adapts: {pattern!r}: {network.name} has no such layer; "
                f"its layers: {', '.join(layers)}"
            )
    return [name for name in names if any(fnmatchcase(layer_of(name), p) for p in patterns)]


def context_names(network: Network) -> list[str]:
    """Return what a context vector shifts: biases, or scales and shifts, of the first layer.

    Raises RecipeError where the network has neither.
    """
    for layer in layers_of(list(network.shapes)):
        for kinds in (NORMALIZING, ("bias",)):
            names = [f"{layer}.{kind}" for kind in kinds]
            if all(name in network.shapes for name in names):
                return names
    raise RecipeError(f"adapts: 'context': {network.name} has no bias or scale to shift")
