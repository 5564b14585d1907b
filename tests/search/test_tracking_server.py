from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from search import tracking_query, tracking_server
from search.tracking_query import Recorded
from tests.servers import mlflow_server

# mlflow 3.17 maps its tables in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)

TIMES = [5, 5, 6, 7, 100, 101, 1_000_000, 1_000_001, 1_000_001, 2**40]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    database = f"sqlite:///{folder / 'mlflow.db'}"
    with mlflow_server(folder, database, folder / "artifacts", workers=2) as server:
        yield server.url


@pytest.fixture(scope="module")
def experiment(url: str) -> str:
    client = MlflowClient(url)
    made = client.create_experiment("of many times")
    for number, started in enumerate(TIMES):
        run_id = client.create_run(made, start_time=started).info.run_id
        client.set_tag(run_id, "even", str(number % 2 == 0))
        client.log_param(run_id, "number", number)
        for key, value in {"a": number / 3, "b": math.nan, "c": math.inf, "d": -math.inf}.items():
            client.log_metric(run_id, key, value)
    client.create_run(client.create_experiment("another"))
    return str(made)


def _known(found: list[Recorded]) -> list[tuple[object, ...]]:
    rows = ((r.run_id, r.experiment, r.started, r.tags, r.params, repr(r.metrics)) for r in found)
    return sorted(rows, key=lambda row: (row[2], row[0]))


@pytest.mark.parametrize("query", ["", "tags.even = 'True'", "params.number = '3'"])
@pytest.mark.parametrize("page", [1, 3, 1000])
def test_finds_what_the_client_finds(
    url: str, experiment: str, query: str, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = tracking_query.runs(MlflowClient(url), [experiment], query)
    monkeypatch.setattr(tracking_server, "PAGE", page)
    found = tracking_server.runs_of_server(url, [experiment], query)
    assert [run.started for run in found] == sorted(run.started for run in expected)
    assert _known(found) == _known(expected)
    assert len(found) == {"": len(TIMES), "params.number = '3'": 1}.get(query, len(TIMES) // 2)


def test_nothing_is_found_where_nothing_is(url: str, experiment: str) -> None:
    assert tracking_server.runs_of_server(url, [experiment], "tags.even = 'neither'") == []


@pytest.mark.usefixtures("experiment")
def test_a_mistaken_query_is_refused_as_by_the_client(url: str) -> None:
    with pytest.raises(MlflowException, match="Invalid"):
        tracking_server.runs_of_server(url, ["0"], "nonsense")
