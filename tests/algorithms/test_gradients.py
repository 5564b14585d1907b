"""Meta-gradients against a plain float64 loop over episodes (tests/algorithms/reference)."""

from __future__ import annotations

import pytest
import torch

from algorithms import ALGORITHMS, Hyper, make
from tests.algorithms.cases import (
    MASK_SETTINGS,
    SETTINGS,
    Computed,
    compute,
    regression,
    values_for,
)
from tests.algorithms.problems import (
    SEED,
    hyperparameters,
    keys_of,
    regression_episodes,
    relative_error,
)
from tests.algorithms.reference.implicit import imaml_dense
from tests.algorithms.reference.run import Run
from tests.algorithms.reference.table import REFERENCES

TOLERANCE = 1e-9


def combinations(settings: list[str]) -> list[tuple[str, str]]:
    """List (algorithm, setting), classifiers only with classes."""
    return [
        (name, setting)
        for name, entry in ALGORITHMS.items()
        for setting in settings
        if not (entry.classes and setting.startswith(("mlp", "masks")))
    ]


def computed(
    name: str, setting: str, steps: int, chunk: int | None = None, **hyper: float
) -> Computed:
    on = (SETTINGS | MASK_SETTINGS)[setting]()
    algorithm = make(name, on.network, on.objective, {})
    return compute(algorithm, on, hyperparameters(inner_steps=steps, **hyper), chunk)


def check(name: str, found: Computed) -> None:
    gradients, state = REFERENCES[name].gradients(found.run)
    assert relative_error(found.gradients, gradients) <= TOLERANCE
    assert found.state.keys() == state.keys()
    if state:
        assert relative_error(found.state, state) <= TOLERANCE


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize(("name", "setting"), combinations(list(SETTINGS)))
def test_meta_gradient_is_that_of_a_plain_loop(name: str, setting: str, steps: int) -> None:
    check(name, computed(name, setting, steps))


@pytest.mark.parametrize(("name", "setting"), combinations(list(MASK_SETTINGS)))
def test_meta_gradient_of_masks_is_that_of_a_plain_loop(name: str, setting: str) -> None:
    check(name, computed(name, setting, 2))


@pytest.mark.parametrize("chunk", [1, 2, 100])
@pytest.mark.parametrize(("name", "setting"), combinations(["mlp", "pool-batch"]))
def test_chunks_change_nothing(name: str, setting: str, chunk: int) -> None:
    check(name, computed(name, setting, 2, chunk))


@pytest.mark.parametrize("steps", [0, 1, 2, 4])
@pytest.mark.parametrize(
    ("name", "setting"), combinations(["mlp", "pool-batch", "pool-batch-transductive"])
)
def test_predictions_are_those_of_a_plain_loop(name: str, setting: str, steps: int) -> None:
    """Also with more steps than at meta-train, which are two here."""
    on, hyper = SETTINGS[setting](), hyperparameters(inner_steps=2)
    algorithm = make(name, on.network, on.objective, {})
    meta, state = values_for(algorithm, hyper)
    keys = keys_of(on.episodes)
    with torch.no_grad():
        adapted = algorithm.adapt(meta, state, hyper, on.episodes.support, steps, keys)
        found = algorithm.predict(meta, state, adapted, on.episodes.query.inputs)
    run = Run(on.case, meta, state, hyper, on.episodes, SEED)
    outputs = REFERENCES[name].outputs
    tracked = {key: value.clone().requires_grad_() for key, value in meta.items()}
    expected = [outputs(run, tracked, episode, steps).detach() for episode in run.one_by_one()]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-9, atol=1e-10)


PHASES = {
    "start": {"progress": 0.0},
    "first order": {"progress": 0.3},
    "change": {"progress": 0.5},
    "second order": {"progress": 0.8},
    "least weights": {"progress": 0.89},
    "last step alone": {"progress": 0.9},
    "end": {"progress": 1.0},
    "always second order": {"progress": 0.0, "first_order_share": 0.0},
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("setting", ["mlp", "pool-batch", "pool-batch-transductive"])
def test_maml_plus_plus_in_every_phase_of_its_annealing(setting: str, phase: str) -> None:
    check("mamlpp", computed("mamlpp", setting, 3, **PHASES[phase]))


def test_annealing_changes_the_gradient() -> None:
    early, late = (computed("mamlpp", "mlp", 3, progress=p).gradients for p in (0.49, 0.5))
    assert relative_error(early, late) > 1e-3


def test_maml_plus_plus_before_any_statistics_were_seen() -> None:
    on, hyper = SETTINGS["pool-batch"](), hyperparameters(inner_steps=3)
    algorithm = make("mamlpp", on.network, on.objective, {})
    meta, state = values_for(algorithm, hyper)
    state = {key: torch.zeros_like(value) for key, value in state.items()}
    gradients, after, _ = algorithm.meta_gradients(
        meta, state, hyper, on.episodes, keys_of(on.episodes)
    )
    run = Run(on.case, meta, state, hyper, on.episodes, SEED)
    expected, expected_after = REFERENCES["mamlpp"].gradients(run)
    assert relative_error(gradients, expected) <= TOLERANCE
    assert relative_error(after, expected_after) <= TOLERANCE


@pytest.mark.parametrize("strength", [0.5, 2.0, 20.0])
def test_enough_conjugate_gradients_solve_the_system_of_the_explicit_hessian(
    strength: float,
) -> None:
    on = regression()
    hyper: Hyper = hyperparameters(
        inner_lr=0.05, inner_steps=20, cg_steps=120, proximal_strength=strength
    )
    found = compute(make("imaml", on.network, on.objective, {}), on, hyper)
    assert relative_error(found.gradients, imaml_dense(found.run)[0]) <= 1e-7


def test_episodes_draw_different_masks() -> None:
    on = regression()
    algorithm, hyper = make("mt-net", on.network, on.objective, {}), hyperparameters()
    meta, state = values_for(algorithm, hyper)
    episodes = regression_episodes(2)
    keys = [keys_of(episodes, seed) for seed in (0, 0, 1)]
    found = [algorithm.meta_gradients(meta, state, hyper, episodes, k)[0] for k in keys]
    assert relative_error(found[0], found[1]) == 0
    assert relative_error(found[0], found[2]) > 1e-3
