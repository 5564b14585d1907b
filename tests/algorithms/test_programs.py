"""Compiled programs: the same meta-gradients, kept on disk, and never in the way."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from algorithms import make, programs
from algorithms.arguments import Arguments
from algorithms.engine import Formulation, meta_gradients
from algorithms.programs import CompileError, Programs, can_compile
from algorithms.replicas import direct
from episodes.episode import Episodes, Examples
from tests.algorithms.cases import SETTINGS, values_for
from tests.algorithms.problems import SEED, hyperparameters, keys_of, relative_error
from tests.algorithms.reference.run import Run
from tests.algorithms.reference.table import REFERENCES
from tests.algorithms.test_traced_programs import check, pairs

needs_compiler = pytest.mark.skipif(not can_compile(), reason="no C++ compiler")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Inductor warns on its loggers that no GPU is there."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def compiled(name: str, setting: str, steps: int, folder: Path) -> None:
    on, hyper = SETTINGS[setting](), hyperparameters(inner_steps=steps)
    algorithm = make(name, on.network, on.objective, {})
    meta, state = values_for(algorithm, hyper)
    kept = Programs(f"{name} on {setting}", folder)
    gradients, after, _ = meta_gradients(
        algorithm,
        Formulation(100, compiled=True),
        meta,
        state,
        hyper,
        on.episodes,
        keys_of(on.episodes),
        kept,
    )
    assert kept.loaded == 1
    run = Run(on.case, meta, state, hyper, on.episodes, SEED)
    check(REFERENCES[name].gradients(run), gradients, after)


def scattered(episodes: Episodes) -> Episodes:
    """The same values, each with a gap behind it in memory."""

    def apart(values: Tensor) -> Tensor:
        return torch.stack((values, torch.full_like(values, 1e9)), dim=-1)[..., 0]

    def examples(of: Examples) -> Examples:
        return Examples(apart(of.inputs), apart(of.targets))

    support, query = examples(episodes.support), examples(episodes.query)
    assert not support.inputs.is_contiguous()
    return replace(episodes, support=support, query=query)


@needs_compiler
def test_a_compiled_program_is_the_plain_loop(folder: Path) -> None:
    compiled("mamlpp", "mlp", 2, folder)


@needs_compiler
@pytest.mark.exhaustive
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize(("name", "setting"), pairs())
def test_every_compiled_program_is_the_plain_loop(
    name: str, setting: str, steps: int, folder: Path
) -> None:
    compiled(name, setting, steps, folder)


@needs_compiler
def test_a_program_serves_every_value_of_its_hyperparameters_and_every_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = SETTINGS["mlp"]()
    algorithm = make("fomaml", on.network, on.objective, {})
    keys = keys_of(on.episodes)

    def error(kept: Programs, inner_lr: float, episodes: Episodes = on.episodes) -> float:
        hyper = hyperparameters(inner_lr=inner_lr)
        meta, state = values_for(algorithm, hyper)
        found = kept.run(algorithm, meta, state, hyper, episodes, keys)[0]
        expected = direct(algorithm, meta, state, hyper, episodes, keys)[0]
        return relative_error(found, expected)

    first = Programs("fomaml", folder)
    assert error(first, 0.1) < 1e-12
    assert error(first, 0.7) < 1e-12
    assert error(first, 0.7, scattered(on.episodes)) < 1e-12
    assert first.loaded == 1

    def refuse(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(programs, "_compile", refuse)
    assert error(Programs("fomaml", folder), 0.3) < 1e-12
    with pytest.raises(CompileError, match="compiled again"):
        error(Programs("another", folder), 0.3)


def test_what_a_program_depends_on_is_in_its_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = SETTINGS["mlp"]()
    algorithm = make("maml", on.network, on.objective, {})

    def key(identity: str = "maml", count: int = 2, steps: int = 1) -> str:
        hyper = hyperparameters(inner_steps=steps)
        meta, state = values_for(algorithm, hyper)
        some = on.episodes[:count]
        arguments = Arguments(meta, state, hyper, some, keys_of(some))
        return Programs(identity, folder)._key(arguments, None)

    keys = [key(), key("other"), key(count=3), key(steps=2)]
    monkeypatch.setattr(programs, "environment", lambda: ["another torch"])
    keys.append(key())
    assert len(set(keys)) == len(keys)


def test_rests_of_a_batch_run_uncompiled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on, hyper = SETTINGS["mlp"](), hyperparameters()
    algorithm = make("maml", on.network, on.objective, {})
    meta, state = values_for(algorithm, hyper)
    sizes: list[int] = []
    kept = Programs("maml", folder)

    def run(*arguments: object) -> object:
        sizes.append(len(arguments[4]))  # type: ignore[arg-type]
        return direct(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(kept, "run", run)
    keys = keys_of(on.episodes)
    meta_gradients(
        algorithm, Formulation(2, compiled=True), meta, state, hyper, on.episodes, keys, kept
    )
    assert len(on.episodes) == 3
    assert sizes == [2]


@needs_compiler
def test_a_damaged_program_is_told_as_such(folder: Path) -> None:
    on, hyper = SETTINGS["mlp"](), hyperparameters()
    algorithm = make("maml", on.network, on.objective, {})
    meta, state = values_for(algorithm, hyper)
    keys = keys_of(on.episodes)
    kept = Programs("damaged", folder)
    arguments = Arguments(meta, state, hyper, on.episodes, keys)
    place = folder / kept._key(arguments, None)
    place.mkdir()
    (place / programs.PACKAGE).write_bytes(b"no program")
    (place / programs.RESULTS).write_text(json.dumps([[], [], []]))
    with pytest.raises(CompileError):
        kept.run(algorithm, meta, state, hyper, on.episodes, keys)
