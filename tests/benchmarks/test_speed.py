from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import networks
from benchmarks import report, speed, workloads
from benchmarks.contenders import CONTENDERS, NotOfferedError, Options, load
from benchmarks.remote import ContenderError, NotInstalledError, Remote, Settings
from benchmarks.report import Report, Row
from benchmarks.worker import Worker
from benchmarks.workloads import WORKLOADS, Workload

DOUBLE = Options(dtype="float64")


def tiny(name: str) -> Workload:
    """A workload of the same kind that takes milliseconds."""
    workload = WORKLOADS[name].of_size(2)
    if not workload.filters:
        return workload
    return replace(workload, input_shape=(1, 16, 16), filters=3, query_shots=2)


def gradients(contender: str, workload: Workload) -> np.ndarray:
    built = load(contender)(workload, DOUBLE)
    return built.flat(built.run())


@pytest.mark.parametrize("name", ["W1-maml", "W1-fomaml", "W2-maml-5", "W2-fomaml-5", "W2-anil-5"])
def test_ours_computes_what_the_plain_loop_does(name: str) -> None:
    expected = gradients("plain_loop", tiny(name))
    assert np.linalg.norm(expected) > 0
    np.testing.assert_allclose(gradients("ours", tiny(name)), expected, rtol=1e-8, atol=1e-11)


def test_methods_are_different_work() -> None:
    found = [gradients("plain_loop", tiny(f"W2-{m}-5")) for m in ("maml", "fomaml", "anil")]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert np.linalg.norm(found[i] - found[j]) > 1e-3 * np.linalg.norm(found[i])


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=list(WORKLOADS))
def test_weights_are_those_of_our_networks(workload: Workload) -> None:
    settings = {"filters": workload.filters} if workload.filters else {}
    family = "conv4" if workload.filters else "mlp"
    network = networks.build(family, workload.input_shape, workload.outputs, settings)
    ours = network.init(torch.Generator().manual_seed(0))
    weights = workloads.weights(workload)
    assert {n: v.shape for n, v in weights.items()} == {n: tuple(v.shape) for n, v in ours.items()}


@pytest.mark.parametrize("name", ["W1-maml", "W2-anil-1"])
def test_all_get_the_same_work(name: str) -> None:
    small, large = tiny(name), replace(tiny(name), meta_batch_size=3)
    np.testing.assert_array_equal(
        workloads.batch(small).query_inputs, workloads.batch(large).query_inputs[:2]
    )
    first, again = workloads.weights(small), workloads.weights(small)
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_workloads_are_selected_by_how_they_start() -> None:
    assert [w.name for w in workloads.select(["W1", "W2-anil"])] == [
        "W1-maml",
        "W1-fomaml",
        "W2-anil-1",
        "W2-anil-5",
    ]
    assert workloads.select(None) == list(WORKLOADS.values())
    with pytest.raises(ValueError, match="'W9'"):
        workloads.select(["W9"])


def test_flat_gradients_have_the_order_of_the_weights() -> None:
    weights = workloads.weights(tiny("W1-maml"))
    backwards = dict(reversed(weights.items()))
    flat = workloads.flat(tiny("W1-maml"), backwards)
    np.testing.assert_array_equal(flat[:40], weights["layer1.weight"].ravel())
    with pytest.raises(ValueError, match="expected"):
        workloads.flat(tiny("W1-maml"), {"other": flat})


def test_a_disagreement_is_shown() -> None:
    ours, other = np.array([3.0, 4.0]), np.array([3.0, 4.5])
    assert speed.distances({"plain_loop": other, "ours": ours}) == {"ours": 0, "plain_loop": 0.1}
    assert speed.distances({"jax": other}) == {}
    row = Row("work", "other", rates=[1.0], float32=0.1)
    assert row.cells()[0] == "other (float32 differs)"
    row.float64 = 1e-12
    assert row.cells()[0] == "other"
    row.float64 = float("nan")
    assert row.cells()[0] == "other (disagrees)"


def test_ratios_are_of_medians() -> None:
    rows = [
        Row("work", "a", rates=[1.0, 2.0, 30.0]),
        Row("work", "b", rates=[4.0]),
        Row("work", "c"),
    ]
    report.set_ratios(rows, rows[0])
    assert [row.ratio for row in rows] == [1.0, 2.0, None]


def test_a_document_names_no_paths_of_a_machine() -> None:
    arguments = ["--python", "jax=/secret/bin/python", "--path=/secret/libraries", "--turns", "3"]
    arguments += ["--learn2learn", "/secret/checkout", "--output", "/secret/speed.md"]
    rows = [
        Row("some work", "fast", rates=[1234.5], ratio=2.0, baseline=10**6, peak=3 * 10**6),
        Row("some work", "absent", failure="not installed"),
        Row("some work", "lacking", failure="not offered", reason="no first order"),
    ]
    document = report.markdown(Report(arguments, "cpu", 1, "cpu", rows, {"torch": "2"}))
    assert report.busy([Row("some work", "fast", shares=[0.5])]).endswith(
        "50 % of a core in the median turn"
    )
    assert "secret" not in document
    assert (
        "--python jax=PATH --path=PATH --turns 3 --learn2learn PATH --output speed.md" in document
    )
    assert "GPU: see [speed-gpu.md]" in document
    assert "Time of the processor, not on the wall\n" in document
    assert "| fast | 1234 | 2.00 | 2 | 3 |" in document
    assert "| absent | not installed |" in document
    assert "lacking: not offered: no first order" in document


def test_why_there_are_no_numbers() -> None:
    assert speed.told(NotInstalledError("No module named 'x'")) == ("not installed", "")
    assert speed.told(NotOfferedError("only y")) == ("not offered", "only y")
    assert speed.told(ContenderError("z")) == ("failed", "z")


def test_a_worker_answers_what_went_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONTENDERS, "absent", "with_nothing:build")
    assert "missing" in Worker("absent", "cpu", 1).answer({"do": "import"})
    assert "error" in Worker("plain_loop", "cpu", 1).answer({"do": "time", "seconds": 0})


def test_a_contender_that_ends_before_its_memory_is_read_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Ending(Remote):
        def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
            if do == "memory" and "plain_loop" in self._process.args:  # type: ignore[operator]
                self._process.kill()
            return super().ask(do, **arguments)

    monkeypatch.setattr(speed, "Remote", Ending)
    work = WORKLOADS["W1-maml"].of_size(2)
    (ours, plain), _ = speed.compare(
        work, ["ours", "plain_loop"], Settings(), seconds=0, turns=1, clock="cpu", double=False
    )
    assert (plain.failure, plain.reason) == ("failed", "ended with status -9")
    assert ours.failure == ""
    assert ours.peak >= ours.baseline > 0


def test_a_worker_builds_computes_and_times(tmp_path: object) -> None:
    worker = Worker("plain_loop", "cpu", 1)
    assert "torch" in worker.answer({"do": "import"})["ok"]["versions"]
    worker.answer({"do": "build", "workload": "W1-maml", "dtype": "float32", "size": 2})
    file = f"{tmp_path}/gradients.npy"
    assert worker.answer({"do": "gradients", "path": file})["ok"]["seconds"] > 0
    assert np.load(file).shape == (1761,)
    assert worker.answer({"do": "time", "seconds": 0})["ok"]["batches"] == 1
    memory = worker.answer({"do": "memory"})["ok"]
    assert memory["peak"] >= memory["baseline"] > 0
