"""Meta-gradients that are captured as CUDA graphs, and what makes that possible."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from algorithms import engine, make
from algorithms.algorithm import Diagnostics
from algorithms.arguments import Arguments
from algorithms.cuda_graphs import CaptureError, CudaGraphs
from algorithms.engine import Formulation
from algorithms.parts.axis import stacked
from networks import Params
from tests.algorithms.cases import SETTINGS, values_for
from tests.algorithms.learners import ALL, SEPARABLE, Learner, all_close, learner
from tests.algorithms.problems import SEED, hyperparameters, keys_of, relative_error, scrambled
from tests.algorithms.reference.run import Run
from tests.algorithms.reference.table import REFERENCES
from tests.algorithms.test_gradients import TOLERANCE, combinations
from tests.gpu import needs_gpu

aten = torch.ops.aten
WAITING = (
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.equal.default,
    aten.masked_select.default,
)


class NoWaiting(TorchDispatchMode):
    """Refuses operations for which the processor needs values, not only shapes."""

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        assert function not in WAITING, f"{function} waits for the device"
        return function(*arguments, **(named or {}))


@pytest.mark.parametrize("transductive", [False, True])
@pytest.mark.parametrize(("name", "kind"), ALL)
def test_no_meta_gradient_waits_for_its_values(name: str, kind: Any, transductive: bool) -> None:
    one = learner(name, kind, transductive)
    with NoWaiting():
        one.gradients()


def test_waiting_is_noticed() -> None:
    with pytest.raises(AssertionError, match="waits"), NoWaiting():
        float(torch.ones(1))


def test_a_key_tells_batches_and_names_apart() -> None:
    one = learner("maml", "regression")

    def key(**changes: Any) -> tuple[Any, ...]:
        of = replace(one, **changes)
        arguments = Arguments(of.meta, of.state, of.hyper, of.episodes, keys_of(of.episodes))
        return arguments.quick_signature()

    assert key() == key(meta=scrambled(one.meta, seed=1))
    others = [
        {"episodes": one.episodes[:2]},
        {"hyper": {**one.hyper, "inner_steps": 7}},
        {"hyper": {**one.hyper, "inner_lr": torch.ones(2)}},
        {"meta": dict(reversed(one.meta.items()))},
        {"state": {"seen": torch.ones(1)}},
    ]
    assert len({key(), *(key(**changes) for changes in others)}) == 1 + len(others)


def moved(one: Learner) -> Learner:
    """Return the same learner on the GPU."""

    def there(values: dict[str, Any]) -> dict[str, Any]:
        return {k: v.cuda() if isinstance(v, Tensor) else v for k, v in values.items()}

    return replace(
        one,
        meta=there(one.meta),
        state=there(one.state),
        hyper=there(dict(one.hyper)),
        episodes=one.episodes.to("cuda", torch.float64),
    )


def captured(graphs: CudaGraphs, one: Learner) -> tuple[Params, Params, Diagnostics]:
    on_gpu = moved(one)
    found = graphs.run(
        on_gpu.algorithm,
        on_gpu.meta,
        on_gpu.state,
        on_gpu.hyper,
        on_gpu.episodes,
        keys_of(one.episodes).cuda(),
    )
    gradients, state, diagnostics = ({k: v.cpu() for k, v in each.items()} for each in found)
    return gradients, state, diagnostics


@needs_gpu
@pytest.mark.parametrize(("name", "kind"), ALL)
def test_a_graph_follows_its_inputs(name: str, kind: Any) -> None:
    graphs = CudaGraphs()
    first = learner(name, kind)
    hyper = {
        key: 1.5 * value if isinstance(value, Tensor) else value
        for key, value in first.hyper.items()
    }
    other = replace(first, meta=scrambled(first.meta, seed=1), hyper=hyper)
    for one in (first, other, first):
        for found, expected in zip(captured(graphs, one), one.gradients(), strict=True):
            all_close(found, expected)
    assert graphs.captured == 1


@needs_gpu
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize(
    ("name", "setting"), combinations(["mlp", "pool-batch", "pool-batch-transductive"])
)
def test_a_captured_meta_gradient_is_that_of_a_plain_loop(
    name: str, setting: str, steps: int
) -> None:
    """Of values that the graph was not captured with."""
    on, hyper = SETTINGS[setting](), hyperparameters(inner_steps=steps)
    algorithm = make(name, on.network, on.objective, {})
    meta, state = values_for(algorithm, hyper)
    one = Learner(on.network, algorithm, on.objective, on.episodes, hyper, meta, state)
    graphs = CudaGraphs()
    captured(graphs, replace(one, meta=scrambled(meta, seed=1)))
    gradients, after, _ = captured(graphs, one)
    assert graphs.captured == 1
    expected = REFERENCES[name].gradients(Run(on.case, meta, state, hyper, on.episodes, SEED))
    assert relative_error(gradients, expected[0]) <= TOLERANCE
    assert after.keys() == expected[1].keys()
    if after:
        assert relative_error(after, expected[1]) <= TOLERANCE


@needs_gpu
@pytest.mark.parametrize(("name", "kind"), SEPARABLE)
def test_replicas_are_captured_as_one(name: str, kind: Any) -> None:
    one = learner(name, kind)
    on_gpu = moved(one)
    graphs = CudaGraphs()
    gradients, _, _ = engine.meta_gradients(
        one.algorithm,
        Formulation(8, together=8, captured=True),
        stacked([on_gpu.meta] * 2),
        stacked([on_gpu.state] * 2),
        on_gpu.hyper,
        on_gpu.episodes,
        keys_of(one.episodes).cuda(),
        graphs,
        2,
    )
    half = len(one.episodes) // 2
    for place in range(2):
        part = replace(one, episodes=one.episodes[place * half : (place + 1) * half])
        all_close({k: v[place].cpu() for k, v in gradients.items()}, part.gradients()[0])


@needs_gpu
def test_what_waits_for_the_gpu_cannot_be_captured() -> None:
    one = learner("maml", "regression")

    def waiting(meta: Params, *rest: Any) -> Any:
        float(next(iter(meta.values())).sum())
        return one.algorithm.meta_gradients(meta, *rest)

    with pytest.raises(CaptureError, match="captur"):
        captured(
            CudaGraphs(), replace(one, algorithm=replace(one.algorithm, meta_gradients=waiting))
        )
    all_close(captured(CudaGraphs(), one)[0], one.gradients()[0])
