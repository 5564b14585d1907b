"""Searches recorded in real servers: MLflow over HTTP, PostgreSQL behind it, Optuna in the same.

Passwords of these servers hold characters that a URL must encode, and are looked for in all that a
search leaves behind.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import optuna
import pandas as pd
import psycopg
import pytest
import yaml
from mlflow import MlflowClient
from moto.server import ThreadedMotoServer

from search import episode_table
from search.tracking_reader import Reader
from search.trial_folder import TrialFolder
from tests.cli import SMALL, Done, call, run
from tests.search.small_runs import small_config
from tests.servers import MlflowServer, Postgres, mlflow_server, postgres

pytestmark = [
    pytest.mark.cluster,
    # mlflow 3.17 maps its tables in a way that SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings(
        "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
    ),
]

PASSWORD = "p@ss/w%rd:4711"
TRIALS, TEST = 3, 50
OPTIONS = (f"--trials={TRIALS}", "--episodes=300", "--set=confirmation.best=0", *SMALL)


@dataclass
class Stores:
    """One PostgreSQL server with databases for MLflow and Optuna, and MLflow servers' files."""

    folder: Path
    server: Postgres
    studies: str


@dataclass
class Search:
    """A finished search. uri: where it was recorded; environment: what the user had set."""

    folder: Path
    uri: str
    environment: dict[str, str]
    done: Done

    def run(self, *arguments: str) -> Done:
        """Run a command as the same user."""
        return run(*arguments, folder=self.folder, environment=self.environment)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    folder = tmp_path_factory.mktemp("stores")
    with postgres(folder, PASSWORD) as server:
        yield Stores(folder, server, server.create_database("optuna"))


@pytest.fixture(scope="module")
def tracking(stores: Stores) -> Iterator[MlflowServer]:
    """An MLflow server on PostgreSQL, which hands artifacts on into a folder."""
    database = stores.server.create_database("mlflow")
    with mlflow_server(stores.folder, database, stores.folder / "artifacts") as server:
        yield server


@pytest.fixture(scope="module")
def search(stores: Stores, tracking: MlflowServer) -> Search:
    return _searched("served", stores, tracking.url)


@pytest.fixture(scope="module")
def direct(stores: Stores) -> Search:
    """A search that reaches PostgreSQL itself, so that the tracking URI holds the password."""
    return _searched("direct", stores, stores.server.create_database("direct"))


def _searched(name: str, stores: Stores, uri: str) -> Search:
    folder = stores.folder / name
    folder.mkdir()
    environment = {"MLFLOW_TRACKING_URI": uri, "METASWEEP_STUDY_URL": stores.studies}
    # Where Ray keeps its logs; sockets lie there, too, whose paths must be short.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as logs:
        done = run(
            *("search", "sinusoid", f"--name={name}", *OPTIONS),
            folder=folder,
            environment=environment | {"RAY_TMPDIR": logs},
        )
        assert done.code == 0, done.output
        leaks = _leaks(Path(logs))
    assert not leaks
    return Search(folder, uri, environment, done)


def _leaks(folder: Path) -> list[str]:
    """Return the files below a folder that hold the password, as it is or encoded."""
    secrets = (PASSWORD.encode(), quote(PASSWORD, safe="").encode())
    return [
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file() and any(secret in file.read_bytes() for secret in secrets)
    ]


def _tells(text: str) -> bool:
    return PASSWORD in text or quote(PASSWORD, safe="") in text


def _rows(url: str) -> str:
    """Return all that a PostgreSQL database holds, as text."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        assert tables
        rows = [
            connection.execute(f'SELECT * FROM "{name}"'.encode()).fetchall() for (name,) in tables
        ]
    return str(rows)


class TestSearch:
    def test_study_is_in_postgresql(self, stores: Stores, search: Search) -> None:
        storage = optuna.storages.RDBStorage(stores.studies)
        study = optuna.load_study(study_name="served", storage=storage)
        states = [trial.state.name for trial in study.trials]
        storage.engine.dispose()
        assert [state for state in states if state != "WAITING"] == ["COMPLETE"] * TRIALS
        assert not list(search.folder.rglob("*.db"))

    def test_every_episode_is_in_mlflow(self, search: Search) -> None:
        runs = Reader(search.uri).trials("served")
        assert list(runs["state"]) == ["COMPLETE"] * TRIALS
        client = MlflowClient(search.uri)
        for run_id in runs["run_id"]:
            points = client.get_metric_history(run_id, "episode/test/query_loss_after")
            assert sorted(point.step for point in points) == list(range(TEST))

    def test_leaderboard_and_export(self, search: Search) -> None:
        board = search.run("leaderboard", "served", "--format=json")
        document = json.loads(board.output)
        assert [row["rank"] for row in document["ranked"]] == [1, 2, 3]
        assert document["failed"] == []
        exported = search.run("export", "served", "-o", "best.yaml")
        assert exported.code == 0, exported.output
        best = yaml.safe_load((search.folder / "best.yaml").read_text())
        assert best["provenance"]["run_id"] == document["ranked"][0]["run_id"]

    def test_artifacts_went_through_the_server(self, stores: Stores, search: Search) -> None:
        runs = Reader(search.uri).trials("served")
        for run_id in runs["run_id"]:
            assert (
                MlflowClient(search.uri)
                .get_run(run_id)
                .info.artifact_uri.startswith("mlflow-artifacts:/")
            )
            episodes = Reader(search.uri).episodes(run_id)
            assert (episodes["split"] == "test").sum() == TEST
            [trial] = search.folder.glob(
                f"**/trials/trial-{runs.set_index('run_id').trial[run_id]:03d}"
            )
            local = episode_table.read(sorted(trial.glob("episodes/*.parquet")))
            pd.testing.assert_frame_equal(local, episodes)
        assert list((stores.folder / "artifacts").rglob("*.parquet"))

    def test_goes_on_after_both_servers_were_restarted(
        self, stores: Stores, tracking: MlflowServer, search: Search
    ) -> None:
        stores.server.restart()
        assert search.run("leaderboard", "served", "--format=csv").code == 0
        tracking.restart()
        again = search.run("leaderboard", "served", "--format=csv")
        assert again.code == 0
        assert len(again.output.splitlines()) == 1 + TRIALS


class TestPassword:
    """Nowhere does a search that is given URLs with a password tell it."""

    def test_is_in_no_output(self, search: Search, direct: Search) -> None:
        for found in (search, direct):
            assert not _tells(found.done.output)
        for command in (["leaderboard", "direct"], ["export", "direct"], ["resume", "direct"]):
            assert not _tells(direct.run(*command).output)

    def test_is_in_no_file(self, search: Search, direct: Search) -> None:
        assert list(direct.folder.rglob("*.parquet"))
        assert _leaks(search.folder) + _leaks(direct.folder) == []

    def test_is_not_in_the_databases(self, stores: Stores, search: Search, direct: Search) -> None:
        for url in (direct.uri, stores.studies, direct.uri.replace("/direct", "/mlflow")):
            rows = _rows(url)
            assert len(rows) > 10_000
            assert not _tells(rows)

    def test_is_not_what_mlflow_keeps_as_artifacts(self, stores: Stores, search: Search) -> None:
        artifacts = stores.folder / "artifacts"
        assert any(artifacts.rglob("spec.yaml"))
        assert _leaks(artifacts) == []


@pytest.mark.parametrize("trouble", ["down", "wrong password", "no such database"])
@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_URI", "METASWEEP_STUDY_URL"])
def test_errors_do_not_tell_the_password(
    stores: Stores, tmp_path: Path, variable: str, trouble: str
) -> None:
    url = stores.studies
    if trouble == "down":
        url = re.sub(r":\d+/", ":1/", url)
    elif trouble == "wrong password":
        url = url.replace(quote(PASSWORD, safe=""), quote(PASSWORD[::-1], safe=""))
    else:
        url += "-missing"
    done = call(
        *("search", "sinusoid", *OPTIONS),
        folder=tmp_path,
        environment={"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db", variable: url},
    )
    assert done.code in (1, 2), done.output
    assert "Traceback" not in done.output
    assert "error " in done.output
    assert not _tells(done.output)
    assert PASSWORD[::-1] not in done.output
    assert quote(PASSWORD[::-1], safe="") not in done.output
    assert _leaks(tmp_path) == []


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A store that speaks S3's protocol, on loopback, as this process and its children reach it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "MLFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket="episodes")
    try:
        yield client
    finally:
        client.close()
        server.stop()


DIRECT = {
    "MLFLOW_DEFAULT_ARTIFACT_ROOT": "s3://episodes/kept",
    "MLFLOW_SERVE_ARTIFACTS": "false",
}


@pytest.mark.parametrize(
    ("scheme", "environment"),
    [
        pytest.param("mlflow-artifacts:/", {}, id="through the server"),
        pytest.param("s3://episodes/kept/", DIRECT, id="from the trial itself"),
    ],
)
def test_artifacts_in_s3(s3: Any, tmp_path: Path, scheme: str, environment: dict[str, str]) -> None:
    database = f"sqlite:///{tmp_path}/mlflow.db"
    with mlflow_server(tmp_path, database, "s3://episodes/kept", None, environment) as server:
        done = run(
            *("train", str(_small_config(tmp_path)), "--seeds=1"),
            folder=tmp_path,
            environment={"MLFLOW_TRACKING_URI": server.url},
        )
        assert done.code == 0, done.output
        reader = Reader(server.url)
        [run_id] = reader.trials("sinusoid-5shot")["run_id"]
        episodes = reader.episodes(run_id)
        location = MlflowClient(server.url).get_run(run_id).info.artifact_uri
    [folder] = (tmp_path / "metasweep-store" / "train").iterdir()
    pd.testing.assert_frame_equal(TrialFolder(folder).table(), episodes)
    assert location.startswith(scheme)
    # moto keeps what it was sent for as long as this process lives.
    listed = s3.list_objects_v2(Bucket="episodes", Prefix="kept/")["Contents"]
    kept = [entry["Key"] for entry in listed if run_id in entry["Key"]]
    assert sum(key.endswith(".parquet") for key in kept) == len(TrialFolder(folder).shards)


def _small_config(folder: Path) -> Path:
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(small_config().to_dict()))
    return file
