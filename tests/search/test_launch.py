"""What a search is begun with, or gone on with, before Ray is started."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from search import launch
from search.config import Config
from search.errors import UserError
from search.masking import mask
from search.sampling import load_problem
from search.search_folder import STUDY_URL_VARIABLE, SearchFolder, SearchRecord
from search.spec import Spec
from search.study import Halving, SearchStudy
from search.synchronize import store_of
from search.tracking import Tracker
from tests.search import specs

# mlflow 3.17 maps its tables in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)

NAME = "first"


@pytest.fixture
def spec() -> Spec:
    return specs.spec(name=NAME)


@pytest.fixture
def tracker(tracking_uri: str, tmp_path: Path) -> Tracker:
    return Tracker(tracking_uri, tmp_path / "artifacts")


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("Ray is started")

    monkeypatch.setattr(launch, "start_ray", refuse)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv(STUDY_URL_VARIABLE, raising=False)


def recorded(spec: Spec, uri: str, storage: Path, run_id: str, token: str = "mine") -> SearchRecord:
    record = SearchRecord(spec.resolved(), run_id, mask(uri, uri), None, token=token)
    SearchFolder(storage, NAME).write(record)
    return record


def resume(storage: Path, uri: str | None = None) -> None:
    launch.resume(
        NAME,
        tracking_uri=uri,
        storage=storage,
        data=None,
        time_limit=None,
        console=Console(quiet=True),
    )


def test_an_old_study_of_the_same_name_is_not_gone_on_with(
    spec: Spec, tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    old = SearchStudy(NAME, url, "maximize", Halving(8, 3), 0)
    trial = old.ask()
    old.annotate(trial.number, "config", {})
    assert old.written(10.0)
    monkeypatch.setenv(STUDY_URL_VARIABLE, url)
    with pytest.raises(UserError, match="with 1 trials of another search; give another --name"):
        launch.start(
            spec,
            tracking_uri=tracking_uri,
            storage=tmp_path / "storage",
            data=None,
            named=True,
            console=Console(quiet=True),
        )
    assert not (tmp_path / "storage" / NAME / "search.json").exists()


def test_the_run_of_another_search_of_the_same_name_is_not_taken_over(
    spec: Spec, tracker: Tracker, tracking_uri: str, tmp_path: Path
) -> None:
    problem, _ = load_problem(spec, None)
    theirs = tracker.start_search(problem, NAME, {}, 0, "theirs")
    recorded(spec, tracking_uri, tmp_path, run_id="")
    with pytest.raises(UserError, match=f"in use by another search .run {theirs}.; give another"):
        resume(tmp_path)
    recorded(spec, tracking_uri, tmp_path, run_id="", token="theirs")
    with pytest.raises(AssertionError, match="Ray is started"):
        resume(tmp_path)
    assert SearchFolder(tmp_path, NAME).read().run_id == theirs


def test_other_data_than_its_trials_had_are_refused(
    spec: Spec, tracker: Tracker, tracking_uri: str, tmp_path: Path, config: Config
) -> None:
    problem, _ = load_problem(spec, None)
    run_id = tracker.start_search(problem, NAME, {}, 0, "mine")
    other = replace(config, problem=replace(problem, data_digest="of other data"))
    tracker.start_trial(other, "trial", 0, search_name=NAME, search_run_id=run_id)
    recorded(spec, tracking_uri, tmp_path, run_id)
    with pytest.raises(UserError, match=f"another problem .{problem.hash[:8]}. than its trials"):
        resume(tmp_path)


def test_a_search_is_looked_for_in_the_store_that_has_it(
    spec: Spec,
    tracker: Tracker,
    tracking_uri: str,
    empty_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem, _ = load_problem(spec, None)
    empty_uri = f"sqlite:///{shutil.copy(empty_store, tmp_path / 'empty.db')}"
    record = recorded(spec, tracking_uri, tmp_path, tracker.start_search(problem, NAME, {}, 0))
    assert store_of(record, None) == tracking_uri
    assert store_of(record, empty_uri) == empty_uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", empty_uri)
    assert store_of(record, None) == tracking_uri
    # The same store by another address, where the recorded one is gone.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    assert store_of(replace(record, tracking_uri="http://gone:5000"), None) == tracking_uri
