from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from algorithms import ALGORITHMS, engine
from algorithms.engine import Formulation
from episodes.episode import Episodes
from networks import Params
from tests.algorithms.problems import regression_episodes, regression_objective, small_mlp


def sizes_of_batches(separable: bool, chunk: int) -> list[int]:
    """Run 7 episodes through an algorithm that notes the size of each batch it is given."""
    algorithm = ALGORITHMS["maml"].make(small_mlp(), regression_objective())
    seen: list[int] = []

    def noting(
        meta: Params, state: Params, hyper: object, episodes: Episodes, rng: torch.Generator
    ) -> tuple[Params, Params, Params]:
        seen.append(len(episodes))
        return {"w": episodes.index.double().mean()}, state, {"index": episodes.index}

    algorithm = replace(algorithm, meta_gradients=noting, separable=separable)
    gradients, _, diagnostics = engine.meta_gradients(
        algorithm, Formulation(chunk), {}, {}, {}, regression_episodes(7), torch.Generator()
    )
    assert gradients["w"] == pytest.approx(3.0)
    assert diagnostics["index"].tolist() == list(range(7))
    return seen


def test_a_batch_is_cut_into_chunks_that_keep_their_weight() -> None:
    assert sizes_of_batches(separable=True, chunk=3) == [3, 3, 1]
    assert sizes_of_batches(separable=True, chunk=7) == [7]


def test_what_is_not_separable_runs_in_one_piece() -> None:
    assert sizes_of_batches(separable=False, chunk=3) == [7]


def test_state_goes_from_chunk_to_chunk() -> None:
    algorithm = ALGORITHMS["maml"].make(small_mlp(), regression_objective())

    def counting(
        meta: Params, state: Params, hyper: object, episodes: Episodes, rng: torch.Generator
    ) -> tuple[Params, Params, Params]:
        return {}, {"count": state["count"] + len(episodes)}, {"index": episodes.index}

    algorithm = replace(algorithm, meta_gradients=counting)
    _, state, _ = engine.meta_gradients(
        algorithm,
        Formulation(2),
        {},
        {"count": torch.tensor(0)},
        {},
        regression_episodes(5),
        torch.Generator(),
    )
    assert state["count"] == 5


def test_images_run_in_smaller_chunks_than_vectors_and_smallest_on_a_cpu() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    on_cpu = engine.choose((1, 28, 28), cpu).chunk
    on_gpu = engine.choose((1, 28, 28), gpu).chunk
    assert on_cpu < on_gpu < engine.choose((1,), cpu).chunk


def test_a_formulation_can_be_recorded() -> None:
    assert Formulation.from_dict(Formulation(12).to_dict()) == Formulation(12)
    with pytest.raises(TypeError, match="size"):
        Formulation.from_dict({"size": 12})
