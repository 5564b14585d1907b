"""Training with a compiled program, and without where that cannot be."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from algorithms import engine, programs
from algorithms.engine import Formulation
from algorithms.programs import FOLDER, CompileError, Programs, can_compile
from search import training
from search.config import Config
from search.training import Report, meta_train
from tests.search.small_runs import distribution, small_config
from tests.search.test_training import assert_same_run, assert_same_snapshot

COMPILED = Formulation(64, compiled=True).to_dict()


@pytest.fixture(autouse=True)
def _own_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path_factory.mktemp("programs")))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Inductor warns on its loggers that no GPU is there."""
    logging.getLogger("torch").setLevel(logging.ERROR)
    yield
    logging.getLogger("torch").setLevel(logging.WARNING)


def config(**changes: object) -> Config:
    return small_config(formulation=COMPILED, **changes)


def run(wanted: Config) -> list[Report]:
    return list(meta_train(wanted, distribution("regression")))


@pytest.mark.skipif(not can_compile(), reason="no C++ compiler")
def test_a_compiled_training_is_the_uncompiled_one_and_resumes_to_the_last_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "REPORT_SECONDS", 0.0)
    reports = run(config())
    assert reports[-1].snapshot.state["formulation"]["compiled"]
    # Of 24 episodes in batches of 5, with a rung at 8, only the whole batches.
    assert len(list(Path(os.environ[FOLDER]).iterdir())) == 1
    plain = run(small_config(formulation=Formulation(64).to_dict()))
    assert plain[-1].validation is not None
    assert reports[-1].validation is not None
    assert reports[-1].validation.mean == pytest.approx(plain[-1].validation.mean, rel=1e-3)
    resumed = list(meta_train(config(), distribution("regression"), reports[1].snapshot))
    assert_same_snapshot(resumed[-1].snapshot, reports[-1].snapshot)
    # The programs are on disk by now: a second run loads them.
    monkeypatch.setattr(programs, "_compile", None)
    assert_same_run(run(config()), reports)


def test_a_machine_without_a_compiler_still_trains(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine, "can_compile", lambda: False)
    last = run(config())[-1]
    assert last.phase == "final"
    assert not last.snapshot.state["formulation"]["compiled"]
    assert "no C++ compiler is found: maml runs uncompiled" in caplog.text


def test_a_program_that_does_not_compile_costs_no_trial(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise CompileError("CppCompileError: out of disk")

    monkeypatch.setattr(engine, "can_compile", lambda: True)
    monkeypatch.setattr(Programs, "run", fail)
    monkeypatch.setattr(training, "REPORT_SECONDS", 0.0)  # How busy the machine is tells nothing.
    reports = run(config())
    uncompiled = Formulation(64, together=64)
    assert not reports[-1].snapshot.state["formulation"]["compiled"]
    assert_same_run(reports, run(small_config(formulation=uncompiled.to_dict())))
    assert "maml runs uncompiled: CppCompileError: out of disk" in caplog.text
    assert list(tmp_path.iterdir()) == []
