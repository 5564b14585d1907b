"""Makes an algorithm of a recipe."""

from __future__ import annotations

from algorithms.algorithm import Algorithm, MetaGradients, Objective
from algorithms.errors import RecipeError
from algorithms.parts.difference import by_difference
from algorithms.parts.implicit import implicitly
from algorithms.parts.inner_loop import InnerLoop
from algorithms.parts.layers import context_names
from algorithms.parts.meta import through_query_loss
from algorithms.recipe import Recipe, conflicts
from networks.network import Network


def compose(name: str, network: Network, objective: Objective, recipe: Recipe) -> Algorithm:
    """Compose an algorithm from the parts that a recipe names.

    Meta-parameters: the network's under their own names, and what the parts add to them:
    "rate/...", "warp/...", "curvature/...", "mask/...", "context/...", "step/...".
    Hyperparameters: `inner_lr` and `inner_steps`; where the parts need them `inner_momentum`,
    `inner_decay`, `proximal_strength`, `cg_steps`, `context_size`, `multi_step_share` and
    `first_order_share`.
    Raises RecipeError for choices that make no sense together, or not on this network.
    """
    found = conflicts(recipe)
    if recipe.head == "prototypes" and objective.ways is None:
        found.append("head: 'prototypes': needs classes to tell apart, and the problem has none")
    if found:
        raise RecipeError("\n".join(found))
    inner = InnerLoop(network, objective, recipe)
    gradients: MetaGradients
    if recipe.meta_gradient == "difference":
        gradients = by_difference(inner)
    elif recipe.meta_gradient == "implicit":
        gradients = implicitly(inner)
    else:
        gradients = through_query_loss(
            inner.adapt,
            inner.predict,
            objective,
            every_step=recipe.query_loss == "multi_step",
            ranks=inner.ranks,
        )
    _check_fit(inner)
    return Algorithm(name, inner.init, inner.adapt, inner.predict, gradients)


def _check_fit(inner: InnerLoop) -> None:
    """Raise RecipeError for what only the network tells: layers that it lacks, a still head."""
    recipe, network = inner.recipe, inner.network
    if recipe.adapts == "context":
        context_names(network)
    if recipe.preconditioner == "layerwise" and network.grouped:
        raise RecipeError(
            f"preconditioner: 'layerwise': cannot mix the outputs of {network.name}'s grouped "
            f"convolution {network.grouped[0]}; use 'kronecker' or 'none'"
        )
    if not inner.moving:
        raise RecipeError(f"adapts: {recipe.adapts!r}: nothing of {network.name} would adapt")
    if recipe.head == "zeroed" and not set(network.head_names) <= set(inner.moving):
        raise RecipeError(f"head: 'zeroed': would stay at zero, since adapts is {recipe.adapts!r}")
