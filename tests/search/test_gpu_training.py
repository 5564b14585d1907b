"""Training on a GPU gives what training on a CPU gives, captured or not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from algorithms.engine import Formulation
from search import training
from search.training import Report, meta_train
from tests.gpu import needs_gpu
from tests.search.small_runs import PAIRS, distribution, small_config

pytestmark = needs_gpu


@pytest.fixture(autouse=True)
def every_batch_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "REPORT_SECONDS", 0.0)


def run(name: str, kind: Any, resume: Report | None = None, **changes: Any) -> list[Report]:
    config = small_config(name, kind, **changes)
    snapshot = None if resume is None else resume.snapshot
    return list(meta_train(config, distribution(kind), snapshot))


def close(found: Report, expected: Report) -> None:
    """A GPU adds up in another order, and Adam makes large steps of small differences."""
    assert found.train_seconds > 0
    assert found.peak_memory_mb > 0
    assert found.validation is not None
    assert expected.validation is not None
    assert found.validation.mean == pytest.approx(expected.validation.mean, rel=0.02)
    ours, theirs = (
        torch.cat([v.flatten() for k, v in each.snapshot.tensors.items() if k.startswith("meta/")])
        for each in (found, expected)
    )
    assert float((ours - theirs).norm()) <= 0.01 * float(theirs.norm())


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_a_trial_on_a_gpu_is_that_on_a_cpu_and_can_be_resumed(name: str, kind: Any) -> None:
    formulation = Formulation(32, together=32, captured=True).to_dict()
    expected = run(name, kind)
    found = run(name, kind, device="cuda", formulation=formulation)
    close(found[-1], expected[-1])
    middle = next(report for report in found if 0 < report.episodes < 24)
    close(run(name, kind, middle, device="cuda", formulation=formulation)[-1], expected[-1])


def test_replicas_train_together_on_a_gpu() -> None:
    formulation = Formulation(32, together=32, captured=True).to_dict()
    found = run("maml", "regression", device="cuda", seeds=3, formulation=formulation)
    close(found[-1], run("maml", "regression", seeds=3)[-1])


def test_products_are_rounded_only_where_that_does_not_matter() -> None:
    wanted = Formulation(32, captured=True, precision="tf32").to_dict()
    found = run("maml", "classification", device="cuda", formulation=wanted)
    assert found[-1].snapshot.state["formulation"]["precision"] in ("float32", "tf32")
    assert not torch.backends.cuda.matmul.allow_tf32
