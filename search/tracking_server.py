"""Asking an MLflow server for many runs: several questions at once, and its answers as they come.

A server takes 2 ms to write down a run of ours. Its pages can only be asked for one after the
other, by one process of the server; spans of time can be asked for at once. mlflow's client takes
another half millisecond to read a run, since it passes through protocol buffers.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from search.tracking_query import PAGE, Recorded

SEARCH = "/api/2.0/mlflow/runs/search"
PARTS, TOGETHER = 16, 4
"""Into how many spans of time a question is cut, and how many of them are asked for at once. Each
connection stays with one process of the server: of many long answers, most may come from one."""


def runs_of_server(uri: str, experiments: Sequence[str], query: str = "") -> list[Recorded]:
    """Return all runs that a query finds behind an http address, oldest first.

    Raises what mlflow's client raises.
    """
    with ThreadPoolExecutor(TOGETHER) as pool:
        orders = ("ASC", "DESC")
        pages = pool.map(lambda order: _page(uri, experiments, query, 1, order), orders)
        ends = [run for page in pages for run in page.get("runs", [])]
        if len(ends) < len(orders):
            return []
        spans = _spans(query, *(_recorded(run).started for run in ends))
        parts = pool.map(lambda span: _span(uri, experiments, span), spans)
        return list(itertools.chain.from_iterable(parts))


def _spans(query: str, first: int, last: int) -> list[str]:
    """Cut a query by when runs were started, in ms; together the parts find what it finds."""
    cuts = sorted({first + (last - first) * part // PARTS for part in range(1, PARTS)})
    above = [[], *([f"attributes.start_time >= {cut}"] for cut in cuts)]
    below = [*([f"attributes.start_time < {cut}"] for cut in cuts), []]
    given = [query] if query else []
    return [" and ".join(given + low + high) for low, high in zip(above, below, strict=True)]


def _span(uri: str, experiments: Sequence[str], query: str) -> list[Recorded]:
    found: list[Recorded] = []
    token = ""
    while True:
        page = _page(uri, experiments, query, token=token)
        found += map(_recorded, page.get("runs", []))
        token = page.get("next_page_token", "")
        if not token:
            return found


def _page(
    uri: str,
    experiments: Sequence[str],
    query: str,
    most: int | None = None,
    order: str = "ASC",
    token: str = "",
) -> dict[str, Any]:
    # Imported here: who reads a database needs none of it, and it takes seconds.
    from mlflow.tracking._tracking_service.utils import get_default_host_creds
    from mlflow.utils.rest_utils import http_request, verify_rest_response

    asked = {
        "experiment_ids": list(experiments),
        "filter": query,
        "max_results": most or PAGE,
        "order_by": [f"attributes.start_time {order}"],
        "page_token": token,
    }
    answer = http_request(get_default_host_creds(uri), SEARCH, "POST", json=asked)
    found: dict[str, Any] = verify_rest_response(answer, SEARCH).json()
    return found


def _recorded(run: Mapping[str, Any]) -> Recorded:
    """Read a run of the documented REST API, where numbers that are not finite are words."""
    info, data = run["info"], run.get("data", {})
    pairs = ({entry["key"]: entry["value"] for entry in data.get(of, [])} for of in _OF)
    tags, params, metrics = pairs
    values = {name: float(value) for name, value in metrics.items()}
    of = (info["run_id"], info["experiment_id"], int(info["start_time"]))
    return Recorded(*of, tags, params, values)


_OF = ("tags", "params", "metrics")
