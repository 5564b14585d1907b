"""Meta-gradients derived by hand, for models small enough to do so.

The line y = w x with squared error. On a set with a = mean(x^2), b = mean(x y) the gradient is
2 (w a - b), so a step of gradient descent with rate r leads to w - 2 r (w a - b), which changes
with w by 1 - 2 r a. Below, `s` marks the support set, `q` the query set and `j` both together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms import ALGORITHMS
from episodes.episode import Episodes, Examples
from networks import Network, Params, Statistics
from tests.algorithms.problems import (
    classification_objective,
    double,
    generator,
    hyperparameters,
    image_episodes,
    keys_of,
    regression_episodes,
    regression_objective,
    small_conv4,
)

RATE = 0.1
W, U, V = 0.7, 1.3, -0.4
EPISODES = regression_episodes(3)


def line() -> Network:
    """y = w x, with w shared, (1, 1), or one per episode, (T, 1, 1)."""

    def features(
        params: Params,
        inputs: Tensor,
        statistics: Statistics | None = None,
        collect: bool = False,
    ) -> tuple[Tensor, Statistics]:
        return inputs, {}

    def head(params: Params, hidden: Tensor) -> Tensor:
        return hidden * params["w"]

    return Network("line", lambda rng: {"w": scalar(W)}, features, head, ("w",), False)


def two_factors() -> Network:
    """y = v (u x): a body of one number below a head of one number."""

    def features(
        params: Params,
        inputs: Tensor,
        statistics: Statistics | None = None,
        collect: bool = False,
    ) -> tuple[Tensor, Statistics]:
        return inputs * params["u"], {}

    def head(params: Params, hidden: Tensor) -> Tensor:
        return hidden * params["v"]

    def init(rng: torch.Generator) -> Params:
        return {"u": scalar(U), "v": scalar(V)}

    return Network("two factors", init, features, head, ("v",), False)


def scalar(value: float) -> Tensor:
    return torch.full((1, 1), value, dtype=torch.float64)


def moments(examples: Examples) -> tuple[Tensor, Tensor]:
    """Return a = mean(x^2) and b = mean(x y) of each episode, (T,)."""
    x, y = examples.inputs.squeeze(-1), examples.targets.squeeze(-1)
    return (x * x).mean(1), (x * y).mean(1)


def joint(episodes: Episodes) -> Examples:
    support, query = episodes.support, episodes.query
    return Examples(
        torch.cat([support.inputs, query.inputs], 1),
        torch.cat([support.targets, query.targets], 1),
    )


def gradients(name: str, network: Network, steps: int = 1, rate: float = RATE) -> Params:
    algorithm = ALGORITHMS[name].make(network, regression_objective())
    hyper = hyperparameters(rate, inner_steps=steps)
    meta, state = algorithm.init(hyper, generator())
    return algorithm.meta_gradients(meta, state, hyper, EPISODES, keys_of(EPISODES))[0]


def assert_equal(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found.squeeze(), expected, rtol=1e-12, atol=1e-12)


S_A, S_B = moments(EPISODES.support)
Q_A, Q_B = moments(EPISODES.query)
J_A, J_B = moments(joint(EPISODES))


def adapted(steps: int) -> Tensor:
    """w after `steps` steps: its distance from the least squares solution shrinks each time."""
    solution = S_B / S_A
    return solution + (1 - 2 * RATE * S_A) ** steps * (W - solution)


def test_maml_of_a_line() -> None:
    for steps in (1, 2, 5):
        slope = (1 - 2 * RATE * S_A) ** steps
        expected = (slope * 2 * (adapted(steps) * Q_A - Q_B)).mean()
        assert_equal(gradients("maml", line(), steps)["w"], expected)


def test_fomaml_of_a_line_leaves_out_the_slope() -> None:
    for steps in (1, 2, 5):
        expected = (2 * (adapted(steps) * Q_A - Q_B)).mean()
        assert_equal(gradients("fomaml", line(), steps)["w"], expected)


def test_one_step_of_reptile_is_a_step_on_the_joint_loss() -> None:
    assert_equal(gradients("reptile", line())["w"], RATE * (2 * (W * J_A - J_B)).mean())


def test_more_steps_of_reptile_contract_towards_the_joint_solution() -> None:
    solution = J_B / J_A
    end = solution + (1 - 2 * RATE * J_A) ** 3 * (W - solution)
    assert_equal(gradients("reptile", line(), 3)["w"], W - end.mean())


def test_meta_sgd_learns_its_rate_from_both_gradients() -> None:
    found = gradients("meta-sgd", line())
    of_query = 2 * (adapted(1) * Q_A - Q_B)
    assert_equal(found["w"], ((1 - 2 * RATE * S_A) * of_query).mean())
    assert_equal(found["rate/w"], (-2 * (W * S_A - S_B) * of_query).mean())


def test_anil_differentiates_the_body_through_the_adapted_head() -> None:
    found = gradients("anil", two_factors())
    # v moves by -r * 2 (u^2 v a - u b), which depends on v and on u.
    v = V - RATE * 2 * (U**2 * V * S_A - U * S_B)
    v_by_v = 1 - 2 * RATE * U**2 * S_A
    v_by_u = -RATE * 2 * (2 * U * V * S_A - S_B)
    of_v = 2 * (U**2 * v * Q_A - U * Q_B)
    of_u = 2 * (U * v**2 * Q_A - v * Q_B)
    assert_equal(found["v"], (of_v * v_by_v).mean())
    assert_equal(found["u"], (of_u + of_v * v_by_u).mean())


def test_pretraining_is_regression_on_the_pool() -> None:
    assert_equal(gradients("pretrain", line())["w"], (2 * (W * J_A - J_B)).mean())


def test_running_statistics_approach_those_of_the_batches() -> None:
    network, episodes = small_conv4(), image_episodes(3)
    algorithm = ALGORITHMS["pretrain"].make(network, classification_objective())
    meta, state = algorithm.init({}, generator())
    meta, state = double(meta), double(state)
    _, statistics = network.features(meta, joint(episodes).inputs, collect=True)
    for _ in range(3):
        _, state, _ = algorithm.meta_gradients(meta, state, {}, episodes, keys_of(episodes))
    for layer, (mean, variance) in statistics.items():
        # They start at 0 and 1, and cover a tenth of what is left each time.
        assert_equal(state[f"{layer}/mean"], (1 - 0.9**3) * mean.mean(0))
        expected = 0.9**3 + (1 - 0.9**3) * variance.mean(0)
        assert_equal(state[f"{layer}/variance"], expected)
