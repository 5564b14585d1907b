"""An MLflow server that does what it is asked, and whose answers are lost: nothing is doubled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from mlflow import MlflowClient

from search.config import Config
from search.errors import StoreError, UserError
from search.jobs import Job
from search.recorder import BackgroundRecorder, SearchRuns
from search.run_file import RunFile
from search.tracking import Tracker
from search.tracking_reader import Reader
from tests.cli import wait_until
from tests.http_proxy import Proxy, proxy
from tests.servers import mlflow_server

# mlflow 3.17 maps its tables in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)

CREATE = "/runs/create"
LOST = pytest.mark.parametrize("status", [500, 504, None])
"""What comes instead of the answer; None: the connection is cut."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    database = f"sqlite:///{folder / 'mlflow.db'}"
    with mlflow_server(folder, database, folder / "artifacts") as running:
        yield running.url


@pytest.fixture
def front(server: str) -> Iterator[Proxy]:
    with proxy(server) as running:
        yield running


@pytest.fixture
def name() -> str:
    """A search of the test's own, in a server that tests share."""
    return f"lost-{uuid4().hex}"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.backoff.FIRST_WAIT", 0.05)
    monkeypatch.setattr("search.backoff.LONGEST_WAIT", 0.1)


@pytest.fixture
def jobs(config: Config, tmp_path: Path) -> list[Job]:
    """Two trials, and a confirmation of the second with another seed."""
    again = replace(config, seed=config.seed + 1)
    kinds = (("trial", 0, config), ("trial", 1, config), ("confirmation", 1, again))
    placed = [Job(kind, number, of, "") for kind, number, of in kinds]  # type: ignore[arg-type]
    return [replace(job, folder=str(tmp_path / "trials" / job.name)) for job in placed]


def opened(url: str, name: str) -> Counter[tuple[str, int, int]]:
    """Count the runs below a search by what they are of."""
    frame = Reader(url).trials(name)
    return Counter(zip(frame["kind"], frame["trial"], frame["seed"], strict=True))


def searches(url: str, name: str) -> list[str]:
    client = MlflowClient(url)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(ids, f"tags.`metasweep.search` = '{name}'")
    return [run.info.run_id for run in found if run.data.tags["metasweep.kind"] == "search"]


def record(recorder: BackgroundRecorder, jobs: list[Job]) -> None:
    for job in jobs:
        recorder.start(job, "trial-001" if job.kind == "confirmation" else None)
    for job in jobs:
        recorder.finish(job, "COMPLETE", "", {})


@LOST
def test_each_job_has_one_run(
    front: Proxy, server: str, name: str, jobs: list[Job], config: Config, status: int | None
) -> None:
    tracker = Tracker(front.url)
    runs = SearchRuns(tracker, name, tracker.start_search(config.problem, name, {}, 0), None)
    front.lose_answers(CREATE, status)
    recorder = BackgroundRecorder(runs)
    record(recorder, jobs)
    assert recorder.close(60)
    of = [(job.kind, job.number, job.config.seed) for job in jobs]
    assert opened(server, name) == Counter(of)
    frame = Reader(server).trials(name)
    assert set(frame["state"]) == {"COMPLETE"}
    noted = [RunFile(Path(job.folder), front.url).read() for job in jobs]
    assert {run.id for run in noted if run} == set(frame["run_id"])


def test_a_run_that_could_not_be_looked_up_either_is_found_later(
    front: Proxy, server: str, name: str, jobs: list[Job], config: Config
) -> None:
    tracker = Tracker(front.url)
    runs = SearchRuns(tracker, name, tracker.start_search(config.problem, name, {}, 0), None)
    create = tracker.create_trial

    def create_and_lose(*arguments: object, **named: object) -> str:
        create(*arguments, **named)  # type: ignore[arg-type]
        raise StoreError("no answer in time")

    tracker.create_trial = create_and_lose  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        runs.open(jobs[0], None)
    tracker.create_trial = create  # type: ignore[method-assign]
    assert runs.open(jobs[0], None).id == Reader(server).trials(name)["run_id"].item()


@LOST
def test_a_search_has_one_run(
    front: Proxy, server: str, name: str, config: Config, status: int | None
) -> None:
    tracker = Tracker(front.url)
    tracker._client  # noqa: B018 - connected before answers are lost
    front.lose_answers(CREATE, status)
    run_id = tracker.start_search(config.problem, name, {}, 0, "mine")
    assert searches(server, name) == [run_id]
    front.pass_on()
    assert tracker.start_search(config.problem, name, {}, 0, "mine") == run_id
    assert searches(server, name) == [run_id]
    for token in ("", "another's"):
        with pytest.raises(UserError, match="in use by another search"):
            tracker.start_search(config.problem, name, {}, 0, token)


@LOST
def test_a_training_has_one_run(
    front: Proxy, server: str, config: Config, status: int | None
) -> None:
    tracker = Tracker(front.url)
    first = tracker.start_trial(config, "train", 0)
    before = list(Reader(server).trials(config.problem.name)["run_id"])
    front.lose_answers(CREATE, status)
    run_id = tracker.start_trial(config, "train", 0)
    assert run_id != first
    assert list(Reader(server).trials(config.problem.name)["run_id"]) == [*before, run_id]


def test_a_run_that_the_server_makes_too_late_is_removed(
    front: Proxy,
    server: str,
    name: str,
    jobs: list[Job],
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server takes longer than the client waits, and finds nothing wrong with that."""
    tracker = Tracker(front.url)
    runs = SearchRuns(tracker, name, tracker.start_search(config.problem, name, {}, 0), None)
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        front.slow(10.0, CREATE)
        with pytest.raises(StoreError, match="no answer in time"):
            runs.open(jobs[0], None)
    front.pass_on()
    run = runs.open(jobs[0], None)
    wait_until(lambda: opened(server, name)["trial", 0, config.seed] == 2, 60, "the late run")
    runs.close(jobs[0], None, "COMPLETE", "", {})
    frame = Reader(server).trials(name)
    assert frame["run_id"].item() == run.id
    assert frame["state"].item() == "COMPLETE"


def test_late_runs_that_an_earlier_driver_asked_for_are_removed(
    server: str, name: str, jobs: list[Job], config: Config
) -> None:
    """Of the search itself, too; another search's runs stay."""
    tracker = Tracker(server)
    search = tracker.start_search(config.problem, name, {}, 0, "mine")
    other = tracker.start_search(config.problem, f"{name}-2", {}, 0)
    runs = SearchRuns(tracker, name, search, None)
    kept = runs.open(jobs[0], None).id
    client = MlflowClient(server)
    for late_of in (kept, search):
        made = client.get_run(late_of)
        tags = {k: v for k, v in made.data.tags.items() if k != "mlflow.runName"}
        client.create_run(made.info.experiment_id, start_time=made.info.start_time - 1, tags=tags)
    assert len(searches(server, name)) == 2
    runs.remove_doubles(Path(jobs[0].folder).parent)
    assert searches(server, name) == [search]
    assert searches(server, f"{name}-2") == [other]
    assert list(Reader(server).trials(name)["run_id"]) == [kept]
