"""What a search would do, without doing it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator

import optuna
import yaml
from rich.console import Console

from episodes import data_report
from search.fitting import check_fits
from search.sampling import load_problem, sampler_of
from search.spec import Spec

SAMPLES = 3


def show(spec: Spec, data: str | None, console: Console) -> None:
    """Print the resolved specification, adjusted defaults and three sampled configurations.

    Data that are on disk are loaded, so that what they lack is found now; none are downloaded.
    """
    say = functools.partial(console.print, highlight=False, soft_wrap=True, markup=False)
    say(yaml.safe_dump(spec.resolved(), sort_keys=False))
    for line in (*spec.unused(), *_moved(spec)):
        say(f"# {line}")
    missing = [
        file
        for file in data_report(data)
        if file.task == spec.problem.task and file.path is None and file.downloads
    ]
    if missing:
        say("# the data are not here yet: the search downloads them first")
        return
    problem, distribution = load_problem(spec, data)
    check_fits(spec, problem, distribution)
    sample = sampler_of(spec, problem, distribution)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.RandomSampler(seed=spec.seed)
    study = optuna.create_study(sampler=sampler)
    for number in range(1, SAMPLES + 1):
        config = sample(study.ask()).to_dict()
        shown = {key: config[key] for key in ("algorithm", "hyper", "network", "settings")}
        say(f"# sample {number}\n{yaml.safe_dump(shown, sort_keys=False)}")
    say(f"# problem {problem.name}, hash {problem.hash}; nothing was run")


def _moved(spec: Spec) -> Iterator[str]:
    """Yield a line for all that is published and cannot be tried first as it is."""
    space = spec.search_space()
    for name, (published, used) in space.adjusted_defaults().items():
        yield f"{name}: starts at {used}; its published {published} is excluded"
    if not spec.recipes:
        return
    for algorithm in spec.algorithms:
        for network in spec.networks:
            pair = f"{algorithm} on {network}"
            for point, moves in space.adjusted_points(algorithm, network).items():
                for name, (published, used) in moves.items():
                    own = name.rpartition("/")[2]
                    yield f"{pair}: {point}: {own} is {used}; its published {published} is excluded"
            for point, parts in space.excluded_points(algorithm, network).items():
                why = " and ".join(f"{name} cannot be {part}" for name, part in parts.items())
                yield f"{pair}: {point} is left out of the first trials: {why} here"
