"""Asking an MLflow store for runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE = 1000


@dataclass(frozen=True)
class Recorded:
    """What a store has of one run, the last value of each metric.

    experiment: its id. started: ms since 1970.
    """

    run_id: str
    experiment: str
    started: int
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]

    @classmethod
    def from_run(cls, run: Run) -> Recorded:
        """Take over what mlflow read."""
        info, data = run.info, run.data
        of = (info.run_id, info.experiment_id, info.start_time)
        return cls(*of, data.tags, data.params, data.metrics)


def find_search(client: MlflowClient, name: str) -> Recorded | None:
    """Return the run of the search with this name, or None."""
    if not re.fullmatch(r"[\w.-]+", name):
        return None
    found = runs(
        client,
        [experiment.experiment_id for experiment in client.search_experiments()],
        f"tags.`metasweep.kind` = 'search' and tags.`metasweep.search` = '{name}'",
    )
    return found[0] if found else None


def runs(
    client: MlflowClient, experiments: Sequence[str], query: str = "", most: int | None = None
) -> list[Recorded]:
    """Return the runs that a query finds, oldest first: all, or at most so many."""
    found: list[Recorded] = []
    token = None
    while True:
        page = client.search_runs(
            list(experiments),
            query,
            max_results=most or PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        found += map(Recorded.from_run, page)
        token = page.token
        if not token or most is not None:
            return found
