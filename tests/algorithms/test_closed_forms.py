"""Linear regression: a quadratic loss, on which inner loops and meta-gradients have formulas.

With u = (w, b) and inputs extended by a 1, the loss of a set is mean((u x - y)^2), its gradient
A u - c with A = 2 mean(x x') and c = 2 mean(x y). Gradient descent from u leads after n steps of
rate r to s + (I - r A)^n (u - s), where A s = c.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from algorithms import Algorithm, make
from algorithms.compose import compose
from algorithms.recipe import Recipe
from episodes.episode import Episodes, Examples
from networks import Params, build
from tests.algorithms.problems import (
    double,
    generator,
    hyperparameters,
    keys_of,
    regression_objective,
)

DIMENSIONS, EPISODES, SUPPORT, QUERY = 3, 4, 8, 6
SIZE = DIMENSIONS + 1
RATE = 0.1
NETWORK = build("mlp", (DIMENSIONS,), 1, {"depth": 0})
OBJECTIVE = regression_objective()
STEPS = pytest.mark.parametrize("steps", [1, 2, 5])


def linear_episodes() -> Episodes:
    rng = generator(8)

    def examples(count: int) -> Examples:
        inputs = torch.randn(EPISODES, count, DIMENSIONS, generator=rng, dtype=torch.float64)
        targets = torch.randn(EPISODES, count, 1, generator=rng, dtype=torch.float64)
        return Examples(inputs, inputs.sum(-1, keepdim=True) + targets)

    support, query = examples(SUPPORT), examples(QUERY)
    classes = torch.empty((EPISODES, 0), dtype=torch.int64)
    return Episodes(support, query, classes, torch.arange(EPISODES))


@dataclass(frozen=True)
class Quadratic:
    """A (size, size) and c (size,) of one set of examples."""

    matrix: Tensor
    offset: Tensor

    @classmethod
    def of(cls, inputs: Tensor, targets: Tensor) -> Quadratic:
        x = torch.cat([inputs, torch.ones(len(inputs), 1, dtype=torch.float64)], 1)
        return cls(2 * x.T @ x / len(x), 2 * x.T @ targets.squeeze(-1) / len(x))

    def gradient(self, u: Tensor) -> Tensor:
        return self.matrix @ u - self.offset

    def contraction(self, steps: int, rate: float = RATE) -> Tensor:
        identity = torch.eye(SIZE, dtype=torch.float64)
        return torch.linalg.matrix_power(identity - rate * self.matrix, steps)

    def descended(self, u: Tensor, steps: int) -> Tensor:
        solution = torch.linalg.solve(self.matrix, self.offset)
        return solution + self.contraction(steps) @ (u - solution)


ALL = linear_episodes()
SUPPORTS = [
    Quadratic.of(x, y) for x, y in zip(ALL.support.inputs, ALL.support.targets, strict=True)
]
QUERIES = [Quadratic.of(x, y) for x, y in zip(ALL.query.inputs, ALL.query.targets, strict=True)]
BOTH = [
    Quadratic.of(
        torch.cat([ALL.support.inputs[t], ALL.query.inputs[t]]),
        torch.cat([ALL.support.targets[t], ALL.query.targets[t]]),
    )
    for t in range(EPISODES)
]
PAIRS = list(zip(SUPPORTS, QUERIES, strict=True))


def flat(params: Params) -> Tensor:
    return torch.cat([params["head.weight"][0], params["head.bias"]])


def start(algorithm: Algorithm, hyper: dict) -> Params:
    return double(algorithm.init(hyper, generator(2))[0])


def found(algorithm: Algorithm, **hyper: float) -> tuple[Tensor, Tensor, Params]:
    """Return u at the start, the meta-gradient with respect to it, and the rest of it."""
    values = hyperparameters(**{"inner_lr": RATE} | hyper)
    meta = start(algorithm, values)
    gradients = algorithm.meta_gradients(meta, {}, values, ALL, keys_of(ALL))[0]
    return flat(meta), flat(gradients), gradients


def mean(rows: list[Tensor]) -> Tensor:
    return torch.stack(rows).mean(0)


def assert_equal(ours: Tensor, expected: Tensor, tolerance: float = 1e-11) -> None:
    torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)


def named(name: str) -> Algorithm:
    return make(name, NETWORK, OBJECTIVE, {})


def parts(**choices: str | bool) -> Algorithm:
    return compose("parts", NETWORK, OBJECTIVE, Recipe(**choices))  # type: ignore[arg-type]


@STEPS
def test_maml_goes_back_through_the_contraction(steps: int) -> None:
    u, gradient, _ = found(named("maml"), inner_steps=steps)
    rows = [s.contraction(steps) @ q.gradient(s.descended(u, steps)) for s, q in PAIRS]
    assert_equal(gradient, mean(rows))


@STEPS
def test_fomaml_does_not(steps: int) -> None:
    u, gradient, _ = found(named("fomaml"), inner_steps=steps)
    assert_equal(gradient, mean([q.gradient(s.descended(u, steps)) for s, q in PAIRS]))


@STEPS
def test_reptile_is_the_way_to_where_descent_ends(steps: int) -> None:
    u, gradient, _ = found(named("reptile"), inner_steps=steps)
    assert_equal(gradient, u - mean([both.descended(u, steps) for both in BOTH]))


def test_one_step_of_reptile_is_joint_training() -> None:
    u, gradient, _ = found(named("reptile"), inner_steps=1)
    assert_equal(gradient, RATE * mean([both.gradient(u) for both in BOTH]))
    assert_equal(gradient, RATE * found(named("pretrain"))[1])


def test_many_steps_of_reptile_lead_to_the_solutions() -> None:
    u, gradient, _ = found(named("reptile"), inner_steps=3000)
    solutions = [torch.linalg.solve(both.matrix, both.offset) for both in BOTH]
    assert_equal(gradient, u - mean(solutions), 1e-8)


def proximal_end(s: Quadratic, u: Tensor, steps: int, strength: float) -> Tensor:
    """Descend on the loss plus strength / 2 |v - u|^2: with A + strength I and c + strength u."""
    held = Quadratic(s.matrix + strength * torch.eye(SIZE).double(), s.offset + strength * u)
    return held.descended(u, steps)


@pytest.mark.parametrize("strength", [0.3, 1.0, 4.0])
@STEPS
def test_imaml_solves_its_system(steps: int, strength: float) -> None:
    """As many steps of conjugate gradients as there are unknowns are exact."""
    hyper = {"inner_steps": steps, "proximal_strength": strength, "cg_steps": SIZE}
    u, gradient, _ = found(named("imaml"), **hyper)
    rows = []
    for s, q in PAIRS:
        matrix = torch.eye(SIZE).double() + s.matrix / strength
        right = q.gradient(proximal_end(s, u, steps, strength))
        rows.append(torch.linalg.solve(matrix, right))
    assert_equal(gradient, mean(rows), 1e-9)


def test_at_the_end_of_the_inner_loop_imaml_is_exact() -> None:
    """There the implicit derivative is that of the solution, strength (A + strength I)^-1."""
    hyper = {"inner_steps": 2000, "proximal_strength": 2.0, "cg_steps": SIZE}
    u, implicit, _ = found(named("imaml"), **hyper)
    _, through_the_path, _ = found(parts(proximal=True), **hyper)
    assert_equal(implicit, through_the_path, 1e-9)
    rows = []
    for s, q in PAIRS:
        held = s.matrix + 2.0 * torch.eye(SIZE).double()
        end = torch.linalg.solve(held, s.offset + 2.0 * u)
        rows.append(2.0 * torch.linalg.solve(held, q.gradient(end)))
    assert_equal(implicit, mean(rows), 1e-9)


def test_fewer_conjugate_gradients_are_not() -> None:
    hyper = {"inner_steps": 2, "proximal_strength": 1.0}
    few, enough, more = (found(named("imaml"), **hyper, cg_steps=n)[1] for n in (1, SIZE, 20))
    assert (few - enough).norm() > 1e-3 * enough.norm()
    assert_equal(more, enough, 1e-8)


@STEPS
def test_a_proximal_loop_contracts_towards_its_start(steps: int) -> None:
    strength = 1.5
    u, gradient, _ = found(parts(proximal=True), inner_steps=steps, proximal_strength=strength)
    rows = []
    for s, q in PAIRS:
        identity = torch.eye(SIZE).double()
        shrink = torch.linalg.matrix_power(
            identity - RATE * (s.matrix + strength * identity), steps
        )
        # The end is linear in u: by the way from u, and by the pull towards u.
        rise = torch.linalg.solve(s.matrix + strength * identity, strength * identity)
        slope = rise + shrink @ (identity - rise)
        rows.append(slope.T @ q.gradient(proximal_end(s, u, steps, strength)))
    assert_equal(gradient, mean(rows))


def test_two_steps_with_momentum() -> None:
    """v1 = g(u), u1 = u - r v1, v2 = m v1 + g(u1), u2 = u1 - r v2."""
    u, gradient, _ = found(parts(inner_optimizer="momentum"), inner_steps=2, inner_momentum=0.6)
    rows = []
    for s, q in PAIRS:
        first = s.gradient(u)
        middle = u - RATE * first
        end = middle - RATE * (0.6 * first + s.gradient(middle))
        once = torch.eye(SIZE).double() - RATE * s.matrix
        slope = once - RATE * (0.6 * s.matrix + s.matrix @ once)
        rows.append(slope.T @ q.gradient(end))
    assert_equal(gradient, mean(rows))


@STEPS
def test_the_learned_rate_of_the_whole(steps: int) -> None:
    """d (I - r A)^n / d r = -n A (I - r A)^(n - 1)."""
    u, gradient, rest = found(parts(rate_learned=True), inner_steps=steps)
    rows, slopes = [], []
    for s, q in PAIRS:
        solution = torch.linalg.solve(s.matrix, s.offset)
        of_query = q.gradient(s.descended(u, steps))
        rows.append(s.contraction(steps) @ of_query)
        change = -steps * s.matrix @ s.contraction(steps - 1) @ (u - solution)
        slopes.append(change @ of_query)
    assert_equal(gradient, mean(rows))
    assert_equal(rest["rate/all"], mean(slopes))


def test_meta_sgd_has_a_rate_for_every_entry() -> None:
    u, _, rest = found(named("meta-sgd"), inner_steps=1)
    rows = [-s.gradient(u) * q.gradient(s.descended(u, 1)) for s, q in PAIRS]
    assert_equal(torch.cat([rest["rate/head.weight"][0], rest["rate/head.bias"]]), mean(rows))


def test_losses_after_every_step_are_weighted() -> None:
    """With half of the annealing done three steps weigh 1/6, 1/6 and 2/3."""
    hyper = {"inner_steps": 3, "progress": 0.2, "multi_step_share": 0.4}
    u, gradient, _ = found(parts(query_loss="multi_step"), **hyper)
    weights = {1: 1 / 6, 2: 1 / 6, 3: 2 / 3}
    rows = [
        weight * s.contraction(n) @ q.gradient(s.descended(u, n))
        for s, q in PAIRS
        for n, weight in weights.items()
    ]
    assert_equal(gradient, torch.stack(rows).sum(0) / EPISODES)


def test_a_zeroed_head_is_the_least_squares_path_from_zero() -> None:
    """All of this network is its head, so that nothing is left to learn but the rate."""
    algorithm = parts(head="zeroed", rate_learned=True)
    hyper = hyperparameters(RATE, inner_steps=2)
    meta = start(algorithm, hyper)
    assert list(meta) == ["rate/all"]
    gradients = algorithm.meta_gradients(meta, {}, hyper, ALL, keys_of(ALL))[0]
    slopes = []
    for s, q in PAIRS:
        solution = torch.linalg.solve(s.matrix, s.offset)
        change = 2 * s.matrix @ s.contraction(1) @ solution
        slopes.append(change @ q.gradient(s.descended(torch.zeros(SIZE).double(), 2)))
    assert_equal(gradients["rate/all"], mean(slopes))
