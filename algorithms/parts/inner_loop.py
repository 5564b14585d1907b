"""The inner loop of every composed recipe: what adapts, from where, by which steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from algorithms.algorithm import Adapted, Hyper, Loop, Objective
from algorithms.parts.axis import per_episode, requires_grad, scaled
from algorithms.parts.context import CONTEXT, PROJECTION, projections, shifted
from algorithms.parts.heads import prototype_head, zero_head
from algorithms.parts.inner_optimizers import INNER_OPTIMIZERS
from algorithms.parts.layers import (
    NORMALIZING,
    adapted_names,
    context_names,
    kind_of,
    normalization_layers,
)
from algorithms.parts.per_step import (
    at_step,
    no_statistics,
    step_parameters,
    stored_statistics,
)
from algorithms.parts.preconditioners import (
    curvature_matrices,
    curved,
    layerwise_maps,
    mask_logits,
    masked,
    sampled_masks,
    warped,
)
from algorithms.parts.rates import learned_rates, rated
from algorithms.recipe import Recipe
from episodes.episode import Examples
from networks.network import Network, Params, Statistics

MASK_TEMPERATURE = 1.0


@dataclass(frozen=True)
class InnerLoop:
    """The inner loop of one recipe on one network, as pure functions of what they are given.

    Raises RecipeError, from `init` or `moving`, where the recipe does not fit the network.
    """

    network: Network
    objective: Objective
    recipe: Recipe

    @cached_property
    def moving(self) -> list[str]:
        """What is moved, by name: parameters of the network, or the context."""
        if self.recipe.adapts == "context":
            return [CONTEXT]
        names = adapted_names(self.network, self.recipe.adapts)
        return [name for name in names if not (self.per_step and kind_of(name) in NORMALIZING)]

    @cached_property
    def per_step(self) -> bool:
        """Whether scales and shifts are a step's own."""
        return self.recipe.inner_normalization == "per_step" and bool(
            normalization_layers(self.network)
        )

    @cached_property
    def stored(self) -> bool:
        """Whether queries are normalized with running statistics of their step."""
        batches = self.network.batch_normalized and not self.objective.transductive
        return self.per_step and batches

    @cached_property
    def collects(self) -> bool:
        """Whether queries are normalized with statistics of their support set."""
        batches = self.network.batch_normalized and not self.objective.transductive
        return batches and not self.per_step

    @cached_property
    def fixed_features(self) -> bool:
        """Whether the body stays as it is, so that features need to be computed only once."""
        return set(self.moving) <= set(self.network.head_names) and not self.per_step

    @cached_property
    def ranks(self) -> dict[str, int]:
        """Number of axes of each of the network's parameters."""
        return {name: len(shape) for name, shape in self.network.shapes.items()}

    def init(self, hyper: Hyper, rng: torch.Generator) -> tuple[Params, Params]:
        """Return meta-parameters, the network's first, and the state; see `algorithms.parts`."""
        recipe, network = self.recipe, self.network
        weights = network.init(rng)
        meta = dict(weights)
        state: Params = {}
        if recipe.head != "learned":
            for name in network.head_names:
                del meta[name]
        if self.per_step:
            own = step_parameters(network, weights, hyper)
            for layer in normalization_layers(network):
                for kind in NORMALIZING:
                    del meta[f"{layer}.{kind}"]
            meta |= own
            if self.stored:
                state = no_statistics(network, hyper)
        shapes = dict(network.shapes)
        moving = {name: shapes[name] for name in self.moving if name in shapes}
        if recipe.adapts == "context":
            names, size = context_names(network), int(hyper["context_size"])
            meta |= projections({name: shapes[name] for name in names}, size, rng)
            moving = {CONTEXT: torch.Size([size])}
        if recipe.adapts == "subspace":
            meta |= mask_logits(moving)
        if recipe.preconditioner == "layerwise":
            meta |= layerwise_maps(shapes)
        if recipe.preconditioner == "kronecker":
            meta |= curvature_matrices(moving)
        if recipe.rate_learned:
            meta |= learned_rates(recipe.rate, moving, hyper)
        return meta, state

    def adapt(
        self,
        meta: Params,
        state: Params,
        hyper: Hyper,
        support: Examples,
        steps: int,
        keys: Tensor,
        start: Adapted | None = None,
    ) -> Adapted:
        """Take `steps` steps on T episodes; see `algorithms.algorithm.Adapt`."""
        graph = requires_grad(meta)
        features: Tensor | None = None
        statistics: Statistics | None = None
        if self.fixed_features:
            features, found = self._features(meta, support, self.collects)
            statistics = found if self.collects else None
        loop = self.begin(meta, support, start, features)
        masks = (
            sampled_masks(meta, keys, MASK_TEMPERATURE) if self.recipe.adapts == "subspace" else {}
        )
        for _ in range(steps):
            loop = self._step(meta, hyper, support, loop, masks, features, graph)
        return self.end(meta, state, support, loop, statistics)

    def end(
        self,
        meta: Params,
        state: Params,
        support: Examples,
        loop: Loop,
        statistics: Statistics | None = None,
    ) -> Adapted:
        """Return the adapted networks with the statistics that queries must use.

        statistics: those of the support sets, where they are known already.
        """
        at = max(loop.taken - 1, 0)
        params = self.view(meta, loop.fast, at)
        if self.stored:
            statistics = stored_statistics(state, at)
        elif self.collects and statistics is None:
            statistics = self.network.features(params, support.inputs, collect=True)[1]
        return Adapted(params, statistics, loop)

    def predict(self, meta: Params, state: Params, adapted: Adapted, inputs: Tensor) -> Tensor:
        """Return outputs (T, N, outputs) of the adapted networks."""
        return self.network(adapted.params, inputs, adapted.statistics)

    def view(self, meta: Params, fast: Params, step: int) -> Params:
        """Return the network's parameters that meta-parameters and adapted values stand for."""
        params = {name: meta[name] for name in self.network.shapes if name in meta}
        if self.per_step:
            params |= at_step(meta, step)
        params |= {name: value for name, value in fast.items() if name in self.ranks}
        if self.recipe.adapts == "context":
            params = shifted(meta, params, fast[CONTEXT])
        if self.recipe.preconditioner == "layerwise":
            params = warped(meta, params, self.ranks)
        return params

    def loss(
        self,
        meta: Params,
        support: Examples,
        fast: Params,
        step: int,
        features: Tensor | None = None,
        collect: bool = False,
    ) -> tuple[Tensor, Statistics]:
        """Return the (T,) support loss of adapted values, and the statistics of its batches."""
        params = self.view(meta, fast, step)
        statistics: Statistics = {}
        if features is None:
            features, statistics = self.network.features(params, support.inputs, collect=collect)
        outputs = self.network.head(params, features)
        return self.objective.loss.per_episode(outputs, support.targets), statistics

    def _features(
        self, meta: Params, support: Examples, collect: bool
    ) -> tuple[Tensor, Statistics]:
        """Return features of the support sets below the head, before any step."""
        fast: Params = {}
        if self.recipe.adapts == "context":
            fast = self._empty_context(meta, len(support.inputs))
        return self.network.features(self.view(meta, fast, 0), support.inputs, collect=collect)

    def _empty_context(self, meta: Params, episodes: int) -> Params:
        matrix = next(value for key, value in meta.items() if key.startswith(PROJECTION))
        return {CONTEXT: matrix.new_zeros(episodes, matrix.shape[-1])}

    def begin(
        self,
        meta: Params,
        support: Examples,
        start: Adapted | None = None,
        features: Tensor | None = None,
    ) -> Loop:
        """Return the loop where it stands at `start`, or before its first step.

        features: those of the support sets, where they are known already.
        """
        if start is not None:
            assert start.loop is not None
            return start.loop
        episodes = len(support.inputs)
        moving = {name: meta[name] for name in self.moving if name in meta}
        # Views, so that inner gradients leave out how the head's start depends on these.
        views = {name: value.view_as(value) for name, value in moving.items()}
        fast = per_episode(views, self.ranks, episodes)
        if self.recipe.adapts == "context":
            fast |= self._empty_context(meta, episodes)
        if self.recipe.head != "learned":
            if features is None:
                features = self._features(meta, support, False)[0]
            if self.recipe.head == "zeroed":
                fast |= zero_head(self.network, features)
            else:
                assert self.objective.ways is not None
                fast |= prototype_head(self.network, features, support.targets, self.objective.ways)
        slots = {
            f"{slot}/{name}": torch.zeros_like(fast[name])
            for slot in INNER_OPTIMIZERS[self.recipe.inner_optimizer].slots
            for name in self.moving
        }
        return Loop(fast, fast, slots, 0)

    def _step(
        self,
        meta: Params,
        hyper: Hyper,
        support: Examples,
        loop: Loop,
        masks: Params,
        features: Tensor | None,
        graph: bool,
    ) -> Loop:
        """Take one step. `graph`: whether meta-parameters are being differentiated."""
        collect = graph and self.stored
        second = graph and self.recipe.meta_gradient in ("second_order", "annealed")
        with torch.enable_grad():
            points = {name: differentiable(loop.fast[name]) for name in self.moving}
            losses, statistics = self.loss(
                meta, support, loop.fast | points, loop.taken, features, collect
            )
            gradients = torch.autograd.grad(
                losses.sum(), list(points.values()), create_graph=second
            )
        fast, slots = dict(loop.fast), dict(loop.slots)
        optimizer = INNER_OPTIMIZERS[self.recipe.inner_optimizer]
        for name, gradient in zip(self.moving, gradients, strict=True):
            gradient = self._constrained(hyper, loop, name, gradient, second)
            if self.recipe.preconditioner == "kronecker":
                gradient = curved(meta, name, gradient)
            own = {slot: slots[f"{slot}/{name}"] for slot in optimizer.slots}
            direction, own = optimizer.update(gradient, own, hyper, loop.taken)
            slots |= {f"{slot}/{name}": value for slot, value in own.items()}
            if masks:
                direction = masked(masks, name, direction)
            fast[name] = loop.fast[name] - self._rated(meta, hyper, name, direction, loop.taken)
        observed = (*loop.observed, statistics) if collect else loop.observed
        return Loop(loop.origin, fast, slots, loop.taken + 1, observed)

    def _constrained(
        self, hyper: Hyper, loop: Loop, name: str, gradient: Tensor, second: bool
    ) -> Tensor:
        """Add the gradient of the proximal term; cut off what is not to be differentiated."""
        if self.recipe.proximal:
            distance = loop.fast[name] - loop.origin[name]
            gradient = gradient + scaled(torch.as_tensor(hyper["proximal_strength"]), distance)
        if not second:
            return gradient.detach()
        if self.recipe.meta_gradient == "annealed":
            progress = torch.as_tensor(hyper.get("progress", 1.0))
            whole = (progress >= torch.as_tensor(hyper["first_order_share"])).to(gradient.dtype)
            constant = gradient.detach()
            return constant + scaled(whole, gradient - constant)
        return gradient

    def _rated(self, meta: Params, hyper: Hyper, name: str, direction: Tensor, step: int) -> Tensor:
        if self.recipe.rate_learned:
            return rated(meta, self.recipe.rate, name, direction, step)
        return scaled(torch.as_tensor(hyper["inner_lr"]), direction)


def differentiable(value: Tensor) -> Tensor:
    """Return the value itself where a graph leads to it, else a leaf that one can start from."""
    return value if value.requires_grad else value.detach().requires_grad_()
