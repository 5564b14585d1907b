"""Any combination of parts, one episode at a time.

`parts` are the fields of a recipe by name, as plain words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from tests.algorithms.reference.comparing import prototypes
from tests.algorithms.reference.implicit import conjugate_gradients, implicit_direction
from tests.algorithms.reference.networks import Context, Moments, Weights
from tests.algorithms.reference.plus_plus import at_step, loss_weights, running, statistics_after
from tests.algorithms.reference.preconditioned import by_unit, curved, maps_of, masks_of
from tests.algorithms.reference.run import HEAD, Batch, Episode, Run, layer_of, leaves, of_mean

Parts = Mapping[str, str | bool]
EPSILON = 1e-8
KINDS_OF_UNITS = ("weight", "bias", "scale", "shift")


@dataclass
class Walker:
    """One episode's inner loop: where it began, where it is, what its optimizer remembers."""

    run: Run
    parts: Parts
    meta: Weights
    episode: Episode
    graph: bool
    support: Batch = field(init=False)
    fast: Weights = field(init=False)
    origin: Weights = field(init=False)
    memory: dict[str, Weights] = field(default_factory=dict)
    taken: int = 0
    moments: list[Moments] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.support = self.episode.support
        self.fast = self._start()
        self.origin = dict(self.fast)

    # What moves, and from where.

    def moving(self) -> list[str]:
        adapts, names = self.parts["adapts"], list(self.run.case.names)
        assert isinstance(adapts, str)
        if any(key.startswith("step/") for key in self.meta):
            names = [name for name in names if not name.endswith((".scale", ".shift"))]
        if adapts in ("all", "subspace"):
            return names
        if adapts in ("head", "body"):
            return [name for name in names if (name in HEAD) == (adapts == "head")]
        patterns = [pattern.strip() for pattern in adapts.split(",")]
        return [n for n in names if any(fnmatchcase(layer_of(n), p) for p in patterns)]

    def _start(self) -> Weights:
        if self.parts["adapts"] == "context":
            size = int(self.run.hyper["context_size"])
            start = {"context": torch.zeros(size, dtype=torch.float64, requires_grad=True)}
        else:
            start = {n: self.meta[n].clone() for n in self.moving() if n in self.meta}
        if self.parts["head"] == "learned":
            return start
        body = {name: self.meta[name] for name in self.run.case.names if name in self.meta}
        body |= at_step(self.run, self.meta, 0)
        # Values of their own: how the head's start depends on what moves is not the loop's affair.
        apart = {name: torch.zeros_like(v) for name, v in start.items() if name == "context"}
        features = self.run.case.forward(
            body, self.support[0], maps=maps_of(self.meta), context=self._context(apart)
        ).features
        ways = self.run.case.ways
        if self.parts["head"] == "prototypes":
            assert ways is not None
            centres = prototypes(features, self.support[1], ways)
            head = {"head.weight": 2 * centres, "head.bias": -(centres**2).sum(1)}
        else:
            outputs = ways or self.support[1].shape[1]
            weight = torch.zeros(outputs, features.shape[1], dtype=torch.float64)
            head = {"head.weight": weight, "head.bias": torch.zeros(outputs).double()}
            head = leaves(head)
        return start | head

    # The network as it is now.

    def _context(self, fast: Weights) -> Context | None:
        if self.parts["adapts"] != "context":
            return None
        prefix = "context/"
        matrices = {k.removeprefix(prefix): v for k, v in self.meta.items() if prefix in k}
        return Context(fast["context"], matrices)

    def _weights(self, step: int) -> Weights:
        weights = {name: self.meta[name] for name in self.run.case.names if name in self.meta}
        weights |= at_step(self.run, self.meta, step)
        return weights | {name: v for name, v in self.fast.items() if name != "context"}

    def outputs(self) -> Tensor:
        """Return outputs on the queries."""
        step = max(self.taken - 1, 0)
        weights, maps, context = self._weights(step), maps_of(self.meta), self._context(self.fast)
        query, case = self.episode.query[0], self.run.case
        if "running/seen" in self.run.state:
            stored = running(self.run, step)
            return case.forward(weights, query, stored, maps=maps, context=context).outputs
        return case.query_pass(weights, self.support, query, maps, context)

    # One step.

    def step(self) -> None:
        maps, context = maps_of(self.meta), self._context(self.fast)
        names = ["context"] if context is not None else self.moving()
        if not self.graph:
            self._cut()
            context = self._context(self.fast)
        found = self.run.case.forward(
            self._weights(self.taken), self.support[0], maps=maps, context=context
        )
        self.moments.append(found.moments)
        loss = self.run.case.loss(found.outputs, self.support[1])
        values = [self.fast[name] for name in names]
        gradients = torch.autograd.grad(loss, values, create_graph=self.graph, retain_graph=True)
        masks = masks_of(self.run, self.meta, self.episode)
        moved = dict(self.fast)
        for name, gradient in zip(names, gradients, strict=True):
            if self.parts["proximal"]:
                strength = float(self.run.hyper["proximal_strength"])
                gradient = gradient + strength * (self.fast[name] - self.origin[name])
            if not self.graph:
                gradient = gradient.detach()
            if self.parts["preconditioner"] == "kronecker":
                gradient = curved(self.meta, name, gradient)
            direction = self._optimized(name, gradient)
            if self.parts["adapts"] == "subspace" and name.endswith(KINDS_OF_UNITS):
                direction = by_unit(masks[layer_of(name)], direction)
            moved[name] = self.fast[name] - self._rate(name) * direction
        self.fast = moved
        self.taken += 1

    def _cut(self) -> None:
        """Make zero heads and the like points that a first-order gradient can be taken at."""
        self.fast = {
            name: value if value.requires_grad else value.detach().requires_grad_()
            for name, value in self.fast.items()
        }

    def _rate(self, name: str) -> Tensor:
        if not self.parts["rate_learned"]:
            return torch.tensor(self.run.rate, dtype=torch.float64)
        if self.parts["rate"] == "one":
            return self.meta["rate/all"]
        if self.parts["rate"] == "parameter":
            return self.meta[f"rate/{name}"]
        rate = self.meta[f"rate/{layer_of(name)}"]
        if self.parts["rate"] == "layer":
            return rate
        return rate[min(self.taken, self.run.steps - 1)]

    def _optimized(self, name: str, gradient: Tensor) -> Tensor:
        kind, hyper = self.parts["inner_optimizer"], self.run.hyper
        old = self.memory.setdefault(name, {})
        beta, decay = float(hyper["inner_momentum"]), float(hyper["inner_decay"])
        zero = torch.zeros_like(gradient)
        if kind == "sgd":
            return gradient
        if kind == "momentum":
            old["velocity"] = beta * old.get("velocity", zero) + gradient
            return old["velocity"]
        old["square"] = decay * old.get("square", zero) + (1 - decay) * gradient**2
        if kind == "rmsprop":
            return gradient / (old["square"] + EPSILON).sqrt()
        old["mean"] = beta * old.get("mean", zero) + (1 - beta) * gradient
        count = self.taken + 1
        mean, square = old["mean"] / (1 - beta**count), old["square"] / (1 - decay**count)
        return mean / (square + EPSILON).sqrt()


def walk(run: Run, parts: Parts, meta: Weights, episode: Episode) -> Walker:
    kind = parts["meta_gradient"]
    late = float(run.hyper["progress"]) >= float(run.hyper["first_order_share"])
    return Walker(
        run, parts, meta, episode, kind == "second_order" or (kind == "annealed" and late)
    )


def composed(run: Run, parts: Parts) -> tuple[Weights, Weights]:
    """Return meta-gradients and the state after them."""
    if parts["meta_gradient"] == "difference":
        return _difference(run, parts), run.state
    if parts["meta_gradient"] == "implicit":
        return _implicit(run, parts), run.state
    seen: list[list[Moments]] = []
    last = [0.0] * (run.steps - 1) + [1.0]
    weights = loss_weights(run) if parts["query_loss"] == "multi_step" else last

    def loss_of(meta: Weights, episode: Episode) -> Tensor:
        walker = walk(run, parts, meta, episode)
        total = torch.zeros((), dtype=torch.float64)
        for weight in weights:
            walker.step()
            total = total + weight * run.case.loss(walker.outputs(), episode.query[1])
        seen.append(walker.moments)
        return total

    gradients = of_mean(run, loss_of)
    return gradients, statistics_after(run, seen)


def _difference(run: Run, parts: Parts) -> Weights:
    total = {name: torch.zeros_like(value) for name, value in run.meta.items()}
    for episode in run.one_by_one():
        both = zip(episode.support, episode.query, strict=True)
        everything = tuple(torch.cat(pair) for pair in both)
        walker = walk(run, parts, leaves(run.meta), episode._replace(support=everything))
        for _ in range(run.steps):
            walker.step()
        for name in total:
            total[name] += (run.meta[name] - walker.fast[name].detach()) / len(run.episodes)
    return total


def _implicit(run: Run, parts: Parts) -> Weights:
    def solve(product: Callable[[Tensor], Tensor], right: Tensor) -> Tensor:
        return conjugate_gradients(product, right, int(run.hyper["cg_steps"]))

    rows: list[Tensor] = []
    for episode in run.one_by_one():
        walker = walk(run, parts, leaves(run.meta), episode)
        for _ in range(run.steps):
            walker.step()
        rows.append(implicit_direction(run, leaves(walker.fast), episode, solve))
    mean, result = torch.stack(rows).mean(0), {}
    for name, value in walker.fast.items():
        result[name], mean = mean[: value.numel()].view_as(value), mean[value.numel() :]
    return result
