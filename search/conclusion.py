"""A search's study, and how a search ends: everything recorded, then the results."""

from __future__ import annotations

import math
import os

from search.config import Problem
from search.errors import StoreError, UserError
from search.recorder import SearchRuns
from search.results import write_results
from search.search_folder import SearchFolder
from search.settle import settle
from search.spec import Spec
from search.study import Halving, SearchStudy

PATIENCE, PATIENCE_VARIABLE = 120.0, "METASWEEP_STORE_PATIENCE"


def store_patience() -> float:
    """Return for how many seconds the end of a search waits for a store that is away.

    Raises UserError where METASWEEP_STORE_PATIENCE is no such number.
    """
    given = os.environ.get(PATIENCE_VARIABLE)
    if given is None:
        return PATIENCE
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UserError(f"{PATIENCE_VARIABLE}: {given!r}: must be a number of seconds, such as 120")
    return seconds


def open_study(spec: Spec, folder: SearchFolder, problem: Problem) -> SearchStudy:
    """Open a search's study, a new one the first time. Raises UserError."""
    return SearchStudy(
        folder.name,
        folder.study_url(spec.study_url),
        problem.direction,
        Halving(spec.first_rung, spec.budget.reduction_factor),
        spec.seed,
    )


def enqueue(spec: Spec, study: SearchStudy) -> None:
    """Have what is published tried first."""
    space = spec.search_space()
    for network in spec.networks:
        for algorithm in spec.algorithms:
            study.enqueue(space.defaults(algorithm, network))
            if spec.recipes:
                for parameters in space.points(algorithm, network).values():
                    study.enqueue(parameters, reference=False)


def conclude(folder: SearchFolder, study: SearchStudy, runs: SearchRuns) -> None:
    """Send what is left, write the results, and note that the search is complete.

    Raises StoreError when the store does not answer: everything is on disk then.
    """
    record = folder.read()
    try:
        settle(folder, study, runs)
        write_results(folder, record.run_id, study, runs.tracker)
    except StoreError as error:
        raise StoreError(
            f"{error}\nAll trials of {folder.name} have ended, and every episode is in "
            f"{folder.path}. Once the store answers, send them with:  metasweep sync {folder.name}"
        ) from None
    folder.spent(folder.read().elapsed, "COMPLETE")
