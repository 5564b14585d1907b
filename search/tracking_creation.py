"""Opening an MLflow run once, though the store's answer may be lost.

A server may make a run and then fail to say so: it dies, a gateway gives up on it, or it takes
longer than the client waits. Who then simply asks again gets a second run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.tracking._tracking_service.utils import get_default_host_creds
from mlflow.utils.rest_utils import http_request, verify_rest_response

from search.tracking_client import is_server
from search.tracking_query import runs

CREATE = "/api/2.0/mlflow/runs/create"


def open_once(
    client: MlflowClient,
    uri: str,
    experiment: str,
    name: str,
    tags: Mapping[str, str],
    identity: Mapping[str, str],
) -> str:
    """Return the id of the run whose tags hold `identity`; make it, with `tags`, if there is none.

    Raises what mlflow raises. A run may appear all the same, even later: to be called again.
    """
    found = same(client, experiment, identity)
    if found:
        return found[0]
    try:
        return _create(client, uri, experiment, name, tags)
    except Exception:
        with contextlib.suppress(Exception):
            found = same(client, experiment, identity)
        if found:
            return found[0]
        raise


def same(client: MlflowClient, experiment: str, identity: Mapping[str, str]) -> list[str]:
    """Return the ids of the runs whose tags hold these values, the oldest first."""
    query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in identity.items())
    return [run.run_id for run in runs(client, [experiment], query)]


def _create(
    client: MlflowClient, uri: str, experiment: str, name: str, tags: Mapping[str, str]
) -> str:
    if not is_server(uri):
        return str(client.create_run(experiment, run_name=name, tags=dict(tags)).info.run_id)
    # Not by the client, which sends the request again whenever it gets no answer that it likes.
    asked = {
        "experiment_id": experiment,
        "user_id": "unknown",
        "run_name": name,
        "start_time": int(time.time() * 1000),
        "tags": [{"key": key, "value": value} for key, value in tags.items()],
    }
    answer = http_request(get_default_host_creds(uri), CREATE, "POST", json=asked, max_retries=0)
    return str(verify_rest_response(answer, CREATE).json()["run"]["info"]["run_id"])
