"""Recording beside a search: runs opened and closed, and episodes sent, in threads of their own."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from search.attempts import SupersededError
from search.backoff import wait_after
from search.config import Config
from search.errors import StoreError
from search.jobs import Job
from search.ledger import Ledger
from search.publisher import Publisher
from search.recorder import BackgroundRecorder, SearchRuns, runs_by_name
from search.run_file import Run, RunFile
from search.snapshot import Snapshot
from search.tracking import Tracker
from search.tracking_client import connect
from search.tracking_reader import Reader
from search.trial_folder import TrialFolder
from tests.cli import wait_until
from tests.search.conftest import MakeRecords

# mlflow 3.17 maps its tables in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)


class Store:
    """A tracking store that can be taken away: a database that lies elsewhere for a while."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._file = Path(uri.removeprefix("sqlite:///"))

    def go_down(self) -> None:
        self._file.rename(self._file.with_suffix(".away"))
        self._file.mkdir()

    def come_back(self) -> None:
        self._file.rmdir()
        self._file.with_suffix(".away").rename(self._file)


@pytest.fixture
def store(tracking_uri: str) -> Store:
    return Store(tracking_uri)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.backoff.FIRST_WAIT", 0.05)
    monkeypatch.setattr("search.backoff.LONGEST_WAIT", 0.1)


@pytest.fixture
def runs(store: Store, config: Config, tmp_path: Path) -> SearchRuns:
    tracker = Tracker(store.uri, tmp_path / "artifacts")
    search = tracker.start_search(config.problem, "mine", {}, 0)
    return SearchRuns(tracker, "mine", search, None)


@pytest.fixture
def recorder(runs: SearchRuns) -> Iterator[BackgroundRecorder]:
    recorder = BackgroundRecorder(runs)
    yield recorder
    recorder.close(0)


@pytest.fixture
def job(config: Config, tmp_path: Path) -> Job:
    return Job("trial", 3, config, str(tmp_path / "trials" / "trial-003"))


def seal(job: Job, snapshot: Snapshot, make: MakeRecords, first: int, last: int) -> TrialFolder:
    folder = TrialFolder(Path(job.folder))
    folder.add([make("rung", range(first, last), 100)])
    folder.seal(snapshot, job.config)
    return folder


def rungs(uri: str, run: str) -> list[int]:
    """Return the steps of the rung episodes that a run has, in the order of their arrival."""
    history = Reader(uri)._client.get_metric_history(run, "episode/rung/query_loss_after")
    return [point.step for point in history]


def test_a_job_has_one_run_however_often_it_is_opened(runs: SearchRuns, job: Job) -> None:
    first = runs.open(job, None)
    assert runs.open(job, None) == first
    frame = Reader(runs.tracker.uri).trials("mine")
    assert runs_by_name(frame) == {"trial-003": first.id}


def test_a_run_whose_id_was_not_noted_is_found_again(runs: SearchRuns, job: Job) -> None:
    """The driver may end between the store's answer and its own note."""
    first = runs.open(job, None)
    (Path(job.folder) / "runs.json").unlink()
    known = runs_by_name(Reader(runs.tracker.uri).trials("mine"))
    again = SearchRuns(runs.tracker, "mine", "search", known)
    assert again.open(job, None).id == first.id


def test_a_confirmation_names_the_run_that_it_repeats(
    runs: SearchRuns, recorder: BackgroundRecorder, job: Job, config: Config
) -> None:
    again = Job("confirmation", 3, config, str(Path(job.folder).with_name("confirm-003-seed-7")))
    recorder.start(job, None)
    recorder.start(again, "trial-003")
    recorder.finish(again, "COMPLETE", "", {"test_mean": 0.5})
    assert recorder.close(30)
    frame = Reader(runs.tracker.uri).trials("mine").set_index("kind")
    assert frame.loc["confirmation", "of_run"] == frame.loc["trial", "run_id"]
    assert frame.loc["confirmation", "test_mean"] == 0.5
    assert frame.loc["confirmation", "state"] == "COMPLETE"


@pytest.mark.usefixtures("impatient")
def test_a_store_that_is_down_delays_runs_and_loses_none(
    store: Store, recorder: BackgroundRecorder, runs: SearchRuns, job: Job
) -> None:
    store.go_down()
    recorder.start(job, None)
    recorder.finish(job, "FAIL", "its process died", {"episodes": 7.0})
    assert not recorder.close(0.3)
    assert RunFile(Path(job.folder), store.uri).read() is None
    later = BackgroundRecorder(runs)
    later.start(job, None)
    later.finish(job, "FAIL", "its process died", {"episodes": 7.0})
    store.come_back()
    assert later.close(30)
    (row,) = Reader(store.uri).trials("mine").to_dict("records")
    assert (row["state"], row["reason"], row["episodes"]) == ("FAIL", "its process died", 7.0)


@pytest.mark.usefixtures("impatient")
def test_episodes_wait_for_their_run_and_for_the_store(
    store: Store, runs: SearchRuns, job: Job, snapshot: Snapshot, make_records: MakeRecords
) -> None:
    publisher = Publisher(Tracker(store.uri))
    folder = seal(job, snapshot, make_records, 0, 3)
    publisher.publish(folder, config=job.config, ended=False)
    assert not publisher.close(0.2)
    run = runs.open(job, None)
    assert publisher.close(30)
    assert rungs(store.uri, run.id) == [0, 1, 2]
    store.go_down()
    publisher.publish(seal(job, snapshot, make_records, 3, 5), config=job.config, ended=False)
    folder = seal(job, snapshot, make_records, 5, 6)
    publisher.publish(folder, config=job.config, ended=True)
    assert not publisher.close(0.3)
    store.come_back()
    assert publisher.close(30)
    assert rungs(store.uri, run.id) == list(range(6))
    ledger = Ledger(Path(job.folder), run.id)
    assert ledger.is_complete
    assert all(ledger.has(shard) for shard in folder.shards)


def test_two_that_send_the_same_episodes_leave_them_once(
    store: Store, runs: SearchRuns, job: Job, snapshot: Snapshot, make_records: MakeRecords
) -> None:
    folder = seal(job, snapshot, make_records, 0, 4)
    run = runs.open(job, None)
    publishers = [Publisher(Tracker(store.uri)) for _ in range(3)]
    for publisher in publishers:
        publisher.publish(folder, config=job.config, ended=True)
    assert all(publisher.close(60) for publisher in publishers)
    assert rungs(store.uri, run.id) == [0, 1, 2, 3]
    table = Reader(store.uri).episodes(run.id)
    assert list(table["index"]) == [0, 1, 2, 3]


@pytest.mark.usefixtures("impatient")
def test_a_process_that_was_superseded_sends_nothing_more(
    store: Store, runs: SearchRuns, job: Job, snapshot: Snapshot, make_records: MakeRecords
) -> None:
    """It wakes up with episodes due, after another process has sent these and more."""
    run = runs.open(job, None)
    orphan, successor = Publisher(Tracker(store.uri)), Publisher(Tracker(store.uri))
    store.go_down()
    orphan.publish(seal(job, snapshot, make_records, 0, 2), config=job.config, ended=False)
    assert not orphan.close(0.3)
    folder = TrialFolder(Path(job.folder))
    folder.resume(job.config)
    folder.add([make_records("rung", range(2, 4), 100)])
    folder.seal(snapshot, job.config)
    assert orphan.close(30), "it still tries"
    store.come_back()
    successor.publish(folder, config=job.config, ended=True)
    assert successor.close(30)
    assert rungs(store.uri, run.id) == [0, 1, 2, 3]
    assert list(Reader(store.uri).episodes(run.id)["index"]) == [0, 1, 2, 3]


def test_a_process_superseded_while_it_sends_does_not_list_its_episodes(
    store: Store,
    runs: SearchRuns,
    job: Job,
    snapshot: Snapshot,
    make_records: MakeRecords,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, tracker = runs.open(job, None), Tracker(store.uri)
    folder = seal(job, snapshot, make_records, 0, 2)
    send = tracker._client.log_artifact

    def stopped_meanwhile(*arguments: str) -> None:
        send(*arguments)
        folder.attempts.claim()

    monkeypatch.setattr(tracker._client, "log_artifact", stopped_meanwhile)
    with pytest.raises(SupersededError):
        tracker.publish(run.id, folder, job.config, ended=True)
    ledger = Ledger(folder.path, run.id)
    assert (ledger.listed, ledger.is_complete) == ([], False)


def test_a_list_of_episodes_never_gets_shorter(
    store: Store, runs: SearchRuns, job: Job, snapshot: Snapshot, make_records: MakeRecords
) -> None:
    run, tracker = runs.open(job, None), Tracker(store.uri)
    folder = TrialFolder(Path(job.folder))
    for first in (0, 2):
        folder.add([make_records("rung", range(first, first + 2), 100)])
        folder.seal(snapshot, job.config)
    assert tracker.publish(run.id, folder, job.config)
    before = TrialFolder(folder.path, folder.shards[:1])
    assert tracker.publish(run.id, before, job.config)
    assert list(Reader(store.uri).episodes(run.id)["index"]) == [0, 1, 2, 3]


def test_closing_says_when_the_store_does_not_take_it(
    store: Store, runs: SearchRuns, job: Job
) -> None:
    store.go_down()
    with pytest.raises(StoreError, match="tracking URI"):
        SearchRuns(Tracker(store.uri), "mine", "search", None).open(job, None)
    assert RunFile(Path(job.folder), store.uri).read() is None


def test_a_run_whose_description_was_not_taken_is_described_when_it_is_opened_again(
    runs: SearchRuns, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Creating and describing are several requests, and the store may go away between them."""

    def away(*arguments: object) -> None:
        raise StoreError("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(runs.tracker, "describe_trial", away)
        with pytest.raises(StoreError):
            runs.open(job, None)
    run = runs.open(job, None)
    reader = Reader(runs.tracker.uri)
    assert list(reader.trials("mine")["run_id"]) == [run.id]
    assert reader.config(run.id) == job.config


def test_two_threads_open_one_run(runs: SearchRuns, job: Job) -> None:
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: runs.open(job, None).id, range(4)))
    assert len(set(opened)) == 1
    assert len(Reader(runs.tracker.uri).trials("mine")) == 1


@pytest.mark.usefixtures("impatient")
def test_a_run_that_the_store_refuses_does_not_hold_up_the_others(
    runs: SearchRuns, recorder: BackgroundRecorder, job: Job, config: Config
) -> None:
    """Somebody has deleted it in the MLflow UI."""
    refused = runs.open(job, None)
    connect(runs.tracker.uri).delete_run(refused.id)
    recorder.finish(job, "FAIL", "", {})
    others = [
        Job("trial", number, config, str(Path(job.folder).with_name(f"trial-{number:03d}")))
        for number in (4, 5)
    ]
    for other in others:
        recorder.start(other, None)
        recorder.finish(other, "COMPLETE", "", {})
    uri = runs.tracker.uri

    def are_closed() -> bool:
        found = [RunFile(Path(other.folder), uri).read() for other in others]
        return all(run is not None and run.closed for run in found)

    wait_until(are_closed, 60, "the ends of the others")
    assert not recorder.close(0)
    frame = Reader(runs.tracker.uri).trials("mine").set_index("trial")
    assert list(frame.loc[[4, 5], "state"]) == ["COMPLETE", "COMPLETE"]


class Stale:
    """Reads a run's file as a network's file system may, while the file is replaced."""

    def __init__(self, patch: pytest.MonkeyPatch, error: Exception, times: int) -> None:
        self._error, self._times, self._read = error, times, RunFile.read
        patch.setattr(RunFile, "read", lambda file: self(file))

    def __call__(self, file: RunFile) -> Run | None:
        self._times -= 1
        if self._times >= 0:
            raise self._error
        return self._read(file)


STALE = pytest.mark.parametrize(
    "error",
    [OSError(errno.ESTALE, "stale file handle"), ValueError("no JSON"), KeyError("id")],
    ids=lambda error: type(error).__name__,
)


@STALE
@pytest.mark.usefixtures("impatient")
def test_a_file_that_cannot_be_read_for_a_while_ends_no_publisher(
    store: Store,
    runs: SearchRuns,
    job: Job,
    snapshot: Snapshot,
    make_records: MakeRecords,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = runs.open(job, None)
    publisher = Publisher(Tracker(store.uri))
    Stale(monkeypatch, error, 3)
    folder = seal(job, snapshot, make_records, 0, 4)
    publisher.publish(folder, config=job.config, ended=True)
    assert publisher.close(30)
    assert rungs(store.uri, run.id) == [0, 1, 2, 3]
    assert len(caplog.records) == 1
    assert str(folder.path) in caplog.text


@STALE
@pytest.mark.usefixtures("impatient")
def test_a_file_that_cannot_be_read_for_a_while_ends_no_recorder(
    recorder: BackgroundRecorder,
    runs: SearchRuns,
    job: Job,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    Stale(monkeypatch, error, 3)
    recorder.start(job, None)
    recorder.finish(job, "COMPLETE", "", {})
    assert recorder.close(30)
    assert list(Reader(runs.tracker.uri).trials("mine")["state"]) == ["COMPLETE"]
    assert len(caplog.records) == 1


def test_waits_grow_and_stay_short() -> None:
    assert [wait_after(failures) for failures in (1, 2, 3, 6, 5000)] == [1, 2, 4, 30, 30]
