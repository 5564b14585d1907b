from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from algorithms import engine, make
from algorithms.cuda_graphs import CudaGraphs
from algorithms.engine import Formulation
from algorithms.programs import Programs
from episodes.episode import Episodes
from networks import Params
from tests.algorithms.problems import (
    keys_of,
    regression_episodes,
    regression_objective,
    small_mlp,
)


def sizes_of_batches(separable: bool, chunk: int) -> list[int]:
    """Run 7 episodes through an algorithm that notes the size of each batch it is given."""
    algorithm = make("maml", small_mlp(), regression_objective(), {})
    seen: list[int] = []

    def noting(
        meta: Params, state: Params, hyper: object, episodes: Episodes, keys: Tensor
    ) -> tuple[Params, Params, Params]:
        seen.append(len(episodes))
        assert torch.equal(keys, keys_of(episodes))
        return {"w": episodes.index.double().mean()}, state, {"index": episodes.index}

    algorithm = replace(algorithm, meta_gradients=noting, separable=separable)
    episodes = regression_episodes(7)
    gradients, _, diagnostics = engine.meta_gradients(
        algorithm, Formulation(chunk), {}, {}, {}, episodes, keys_of(episodes)
    )
    assert gradients["w"] == pytest.approx(3.0)
    assert diagnostics["index"].tolist() == list(range(7))
    return seen


def test_a_batch_is_cut_into_chunks_that_keep_their_weight() -> None:
    assert sizes_of_batches(separable=True, chunk=3) == [3, 3, 1]
    assert sizes_of_batches(separable=True, chunk=7) == [7]


def test_chunks_are_of_one_size_where_they_can_be() -> None:
    assert sizes_of_batches(separable=True, chunk=6) == [4, 3]
    assert sizes_of_batches(separable=True, chunk=1) == [1] * 7


def test_what_is_not_separable_runs_in_one_piece() -> None:
    assert sizes_of_batches(separable=False, chunk=3) == [7]


def test_chunks_start_from_the_same_state_and_their_states_are_averaged() -> None:
    algorithm = make("maml", small_mlp(), regression_objective(), {})
    started: list[float] = []

    def moving(
        meta: Params, state: Params, hyper: object, episodes: Episodes, keys: Tensor
    ) -> tuple[Params, Params, Params]:
        started.append(float(state["mean"]))
        mean = torch.lerp(state["mean"], episodes.index.double().mean(), 0.1)
        return {}, {"mean": mean}, {"index": episodes.index}

    algorithm = replace(algorithm, meta_gradients=moving)
    episodes, state = regression_episodes(5), {"mean": torch.tensor(1.0).double()}
    _, after, _ = engine.meta_gradients(
        algorithm, Formulation(2), {}, state, {}, episodes, keys_of(episodes)
    )
    assert started == [1.0, 1.0, 1.0]
    assert float(after["mean"]) == pytest.approx(0.9 * 1 + 0.1 * 2)
    assert float(state["mean"]) == 1.0


def test_images_run_in_smaller_chunks_than_vectors_and_smallest_on_a_cpu() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    on_cpu = engine.choose((1, 28, 28), cpu).chunk
    on_gpu = engine.choose((1, 28, 28), gpu).chunk
    assert on_cpu < on_gpu < engine.choose((1,), cpu).chunk


def test_sentences_are_no_vectors() -> None:
    device = torch.device("cpu")
    sentences = engine.choose((48,), device, 10**9, 10**6, symbols=True)
    assert sentences == engine.choose((1, 28, 28), device, 10**9, 10**6)
    assert not sentences.compiled
    assert engine.choose((48,), device, 10**9).compiled


@pytest.mark.parametrize("name", ["cpu", "cuda"])
@pytest.mark.parametrize("batches", [None, 10**9])
def test_a_fully_connected_network_runs_alike_on_images_and_vectors(
    name: str, batches: int | None
) -> None:
    device = torch.device(name)
    images = engine.choose((1, 28, 28), device, batches, 1000, fully_connected=True)
    assert images == engine.choose((784,), device, batches, 1000)
    assert images != engine.choose((1, 28, 28), device, batches, 1000)


def test_replicas_repay_compiling_sooner_but_less_than_as_many_trials_would() -> None:
    device = torch.device("cpu")
    alone = round(engine.COMPILE_SECONDS / engine.SAVED_SECONDS)
    for batches, replicas in ((alone + 1, 1), (alone // 2, 8), (alone * 2 // 3, 4)):
        assert engine.choose((1,), device, batches, replicas=replicas).compiled
    for batches, replicas in ((alone, 1), (alone // 8 + 1, 8), (alone // 4 + 1, 4)):
        assert not engine.choose((1,), device, batches, replicas=replicas).compiled


def test_on_a_gpu_all_but_sentences_and_short_trials_are_captured() -> None:
    gpu, often = torch.device("cuda"), engine.CAPTURED_FROM
    assert engine.choose((1,), gpu, often).captured
    images = engine.choose((1, 28, 28), gpu, often, gpu_share=0.2)
    assert (images.captured, images.precision, images.gpu_share) == (True, "tf32", 0.2)
    for left_out in (
        engine.choose((1,), gpu, often - 1),
        engine.choose((1,), gpu),
        engine.choose((48,), gpu, often, symbols=True),
        engine.choose((1, 28, 28), torch.device("cpu"), often),
    ):
        assert not left_out.captured


def test_less_memory_means_fewer_episodes_at_once() -> None:
    usual = Formulation(8, together=8)
    assert engine.smaller(usual, 100, 1 / 2) == Formulation(4)
    assert engine.smaller(usual, 5, 1 / 4) == Formulation(1)
    assert engine.smaller(usual, 3, 1 / 3) == Formulation(1)
    assert engine.smaller(Formulation(4, queries=2), 100, 1 / 2) == Formulation(1, queries=1)


def test_a_formulation_is_stripped_of_what_a_device_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    every = Formulation(8, compiled=True, captured=True, precision="tf32")
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 1)
    monkeypatch.setattr(engine, "can_compile", lambda: True)
    assert engine.possible(every, cpu) == Formulation(8, compiled=True)
    on_gpu = Formulation(8, captured=True, precision="tf32", together=8)
    assert engine.possible(every, gpu) == on_gpu
    assert engine.possible(every, torch.device("mps")) == Formulation(8, together=8)
    apart = Formulation(8, queries=1)
    assert engine.possible(apart, cpu) == apart
    assert engine.possible(apart, gpu) == Formulation(8)
    monkeypatch.setattr(engine, "can_compile", lambda: False)
    assert engine.possible(every, cpu) == Formulation(8, together=8)
    # Replicas share a batch then, as where nothing was to be compiled.
    chosen = engine.choose((1,), cpu, 10**9, replicas=8)
    assert (chosen.compiled, chosen.together) == (True, 1)
    assert engine.possible(chosen, cpu) == engine.choose((1,), cpu, 1, replicas=8)
    assert engine.unprepared(chosen) == engine.choose((1,), cpu, 1, replicas=8)
    captured = Formulation(8, captured=True, together=4)
    assert engine.unprepared(captured) == Formulation(8, together=4)


def test_what_is_prepared_follows_from_the_formulation() -> None:
    assert engine.prepared(Formulation(8), "") is None
    assert isinstance(engine.prepared(Formulation(8, compiled=True), ""), Programs)
    assert isinstance(engine.prepared(Formulation(8, captured=True), ""), CudaGraphs)


@pytest.mark.parametrize(
    ("error", "precision"), [(0.005, "tf32"), (0.02, "float32"), (torch.nan, "float32")]
)
def test_products_are_rounded_where_the_meta_gradient_allows(
    error: float, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now: list[str] = []

    @contextmanager
    def computing_in(wanted: str, device: torch.device) -> Iterator[None]:
        now.append(wanted)
        yield
        now.pop()

    def rounded(meta: Params, state: Params, *_: object) -> tuple[Params, Params, Params]:
        off = error if now[-1] == "tf32" else 0.0
        return {"w": torch.tensor([3.0, 4.0 + 5.0 * off])}, state, {}

    monkeypatch.setattr(engine, "computing_in", computing_in)
    algorithm = make("maml", small_mlp(), regression_objective(), {})
    algorithm, episodes = replace(algorithm, meta_gradients=rounded), regression_episodes(2)
    found = engine.exact_enough(
        Formulation(8, captured=True, precision="tf32"),
        algorithm,
        {},
        {},
        {},
        episodes,
        keys_of(episodes),
    )
    assert found == Formulation(8, captured=True, precision=precision)


def test_a_formulation_can_be_recorded() -> None:
    assert Formulation.from_dict(Formulation(12).to_dict()) == Formulation(12)
    with pytest.raises(TypeError, match="size"):
        Formulation.from_dict({"size": 12})
