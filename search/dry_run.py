"""What a search would do, without doing it."""

from __future__ import annotations

import functools
import warnings

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
    for name, (published, used) in spec.search_space().adjusted_defaults().items():
        say(f"# {name}: starts at {used}; its published {published} is excluded")
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
