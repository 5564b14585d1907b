"""A study: what is kept when, what suggestions rest on, and a database that fails."""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.trial import FrozenTrial, create_trial

from search import study as study_module
from search import study_writer
from search.errors import FailedError, UserError
from search.study import CONFIG, REASON, Halving, SearchStudy
from search.study_writer import Patience
from tests.search.conducting import Clock
from tests.search.flaky import PERIOD, Flaky, Outage

RUNG = 10
UNIFORM = optuna.distributions.FloatDistribution(0.0, 1.0)


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'study.db'}"


def opened(folder: Path, patience: Patience | None = None, **changes: Any) -> SearchStudy:
    fields = {"direction": "minimize", "halving": Halving(RUNG, 3), "seed": 0, **changes}
    if patience is not None:
        fields["patience"] = patience
    return SearchStudy("test", url_of(folder), **fields)


def begin(study: SearchStudy) -> int:
    """Ask for a trial and hand it out."""
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    trial.suggest_categorical("kind", ["a", "b"])
    study.annotate(trial.number, CONFIG, {"number": trial.number})
    return trial.number


def in_database(folder: Path) -> list[FrozenTrial]:
    """Read what anybody else would read."""
    return optuna.load_study(study_name="test", storage=url_of(folder)).trials


class Waiter:
    """A patience whose sleep takes no time; `then` is called in each."""

    def __init__(self, most: float = 600.0, then: Callable[[], None] = lambda: None) -> None:
        self.clock = Clock()
        self.naps: list[float] = []
        self.then = then
        self.patience = Patience(most=most, sleep=self.sleep, clock=self.clock)

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.clock.now += seconds
        self.then()


def test_a_new_trial_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    study = opened(tmp_path)
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    assert in_database(tmp_path) == []
    study.annotate(trial.number, CONFIG, {"rungs": (1, 2)})
    assert study.written()
    (kept,) = in_database(tmp_path)
    assert (kept.number, kept.state.name, kept.params) == (0, "RUNNING", trial.params)
    assert kept.user_attrs == {CONFIG: {"rungs": [1, 2]}}
    assert study.attributes(0) == kept.user_attrs


def test_another_driver_finds_everything_as_it_was_left(tmp_path: Path) -> None:
    study = opened(tmp_path)
    study.enqueue({"x": 0.25, "kind": "b"})
    for value in (0.3, 0.2, 0.1):
        number = begin(study)
        study.report(number, RUNG, value)
    study.tell(0, "COMPLETE", 0.3, "")
    study.tell(1, "PRUNED", None, "because")
    study.note("confirmed/0/1", "COMPLETE")
    assert study.written()
    then = opened(tmp_path)
    for before, after, stored in zip(
        study.trials(), then.trials(), in_database(tmp_path), strict=True
    ):
        for name in ("number", "state", "params", "user_attrs", "intermediate_values", "values"):
            assert getattr(before, name) == getattr(after, name) == getattr(stored, name)
        assert before.system_attrs == after.system_attrs == stored.system_attrs
    assert then.notes() == study.notes() == {"confirmed/0/1": "COMPLETE"}
    assert then.attributes(1)[REASON] == "because"
    assert begin(then) == 3
    then.tell(2, "COMPLETE", 0.1, "")
    assert [trial.number for trial in then.best(5)] == [2, 0]


def test_a_pruned_trial_keeps_its_last_value_unless_it_is_nan(tmp_path: Path) -> None:
    study = opened(tmp_path)
    for value in (0.5, math.nan):
        number = begin(study)
        study.report(number, RUNG, value)
        study.tell(number, "PRUNED", None, "")
    assert study.written()
    assert [trial.value for trial in in_database(tmp_path)] == [0.5, None]
    assert math.isnan(study.intermediate_values(1)[RUNG])
    assert study.best(5) == []


def test_suggestions_rest_on_the_best_and_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_module, "SEEN_BEST", 2)
    monkeypatch.setattr(study_module, "SEEN_NEWEST", 4)
    study = opened(tmp_path, direction="maximize")
    for value in (0.1, 0.9, 0.3, 0.8, 0.2, 0.4, 0.5):
        study.tell(begin(study), "COMPLETE", value, "")
    study.tell(begin(study), "FAIL", None, "")
    begin(study)
    seen = study._asking.get_trials(deepcopy=False)
    assert [trial.number for trial in seen] == [1, 3, 4, 5, 6, 7, 8]
    states = (optuna.trial.TrialState.COMPLETE,)
    complete = study._asking.get_trials(deepcopy=False, states=states)
    assert [trial.number for trial in complete] == [1, 3, 4, 5, 6]
    assert len(study.trials()) == 9


def script(study: SearchStudy, each: bool = False) -> None:
    """Do everything that a driver does to a study; each: and wait until each is written."""

    def done() -> None:
        assert not each or study.written()

    study.enqueue({"x": 0.25, "kind": "b"})
    study.enqueue({"x": 0.75, "kind": "a"}, reference=False)
    for round_ in range(10):
        trials = []
        for _ in range(3):
            trials.append(begin(study))
            done()
        first, second, third = trials
        study.report(first, RUNG, 0.5 - 0.01 * round_)
        done()
        study.tell(first, "COMPLETE", 0.4 - 0.01 * round_, "")
        done()
        assert study.report(second, RUNG, 0.9) or second == 1
        study.tell(second, "PRUNED", None, "pruned by successive halving")
        done()
        study.tell(third, "FAIL", None, "KeyError")
        done()
        study.note(f"confirmed/{first}/{round_}", "COMPLETE")
        done()
    begin(study)
    done()


def content(trial: FrozenTrial) -> dict[str, Any]:
    names = ("number", "state", "params", "values", "user_attrs", "system_attrs")
    return {name: getattr(trial, name) for name in (*names, "intermediate_values")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    study = opened(folder)
    script(study)
    assert study.written()
    return [content(trial) for trial in in_database(folder)], opened(folder).notes()


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("offset", range(PERIOD))
def test_a_database_that_fails_again_and_again_changes_nothing(
    tmp_path: Path, undisturbed: tuple[Any, Any], lost: bool, offset: int
) -> None:
    waiter = Waiter()
    study = opened(tmp_path, waiter.patience)
    flaky = Flaky(study, lost=lost, offset=offset)
    script(study, each=True)
    assert flaky.failed == len(waiter.naps) > 30
    found = [content(trial) for trial in in_database(tmp_path)]
    assert (found, opened(tmp_path).notes()) == undisturbed


@pytest.mark.parametrize("lost", [False, True])
def test_what_has_come_together_is_one_transaction_and_made_once(
    tmp_path: Path, undisturbed: tuple[Any, Any], lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_writer, "TOGETHER", 1000)
    study = opened(tmp_path, Waiter().patience)
    outage = Outage(study)
    flaky = Flaky(study, lost=lost, offset=2)
    with outage.hanging():
        script(study)
    assert study.written()
    # What came first, all the others in vain, and a look at what is there, with what is not.
    assert (flaky.failed, flaky.commits) == (1, 3)
    found = [content(trial) for trial in in_database(tmp_path)]
    assert (found, opened(tmp_path).notes()) == undisturbed


def on_every_connection(study: SearchStudy, pragma: Callable[[], str]) -> None:
    engine = study._storage._database._storage.engine
    sqlalchemy.event.listen(
        engine, "checkout", lambda connection, *_: connection.execute(f"PRAGMA {pragma()}")
    )


def lock(folder: Path, study: SearchStudy) -> Callable[[], None]:
    """Have another program hold the database; return what ends that."""
    on_every_connection(study, lambda: "busy_timeout = 20")
    other = sqlite3.connect(folder / "study.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    return other.close


def fill(folder: Path, study: SearchStudy) -> Callable[[], None]:
    """Leave the database no room to grow; return what makes some."""
    pages = [1]  # SQLite takes its present size for less than that.
    on_every_connection(study, lambda: f"max_page_count = {pages[-1]}")
    return lambda: pages.append(1_000_000)


@pytest.mark.parametrize(
    ("trouble", "said"), [(lock, "database is locked"), (fill, "database or disk is full")]
)
def test_a_database_that_is_away_is_waited_for(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    trouble: Callable[[Path, SearchStudy], Callable[[], None]],
    said: str,
) -> None:
    waiter = Waiter()
    study = opened(tmp_path, waiter.patience)
    number = begin(study)
    assert study.written()
    end = trouble(tmp_path, study)
    waiter.then = lambda: end() if len(waiter.naps) == 4 else None
    with caplog.at_level(logging.WARNING):
        study.annotate(number, "large", "x" * 100_000)
        assert study.written()
    assert waiter.naps == [0.25, 0.5, 1.0, 2.0]
    (kept,) = in_database(tmp_path)
    assert kept.user_attrs.keys() == {CONFIG, "large"}
    away, back = [record.getMessage() for record in caplog.records]
    assert f"study.db is away: {said}\n" in away
    assert "back after 4 s" in back


def test_patience_has_an_end(tmp_path: Path) -> None:
    waiter = Waiter(most=60.0)
    study = opened(tmp_path, waiter.patience)
    number = begin(study)
    assert study.written()
    unlock = lock(tmp_path, study)
    study.annotate(number, "key", "value")
    for _ in range(2):
        with pytest.raises(FailedError, match=r"study\.db: database is locked, for 60 s"):
            study.written()
    assert waiter.naps[-1] == 10.0
    assert 60.0 <= sum(waiter.naps) < 80.0
    unlock()
    study.annotate(number, "later", "value")  # Nothing follows what was not written.
    again = opened(tmp_path)
    assert again.attributes(number).keys() == {CONFIG}
    again.annotate(number, "key", "value")
    assert again.written()
    assert opened(tmp_path).attributes(number)["key"] == "value"


def test_what_no_waiting_mends_is_not_waited_for(tmp_path: Path) -> None:
    waiter = Waiter()
    study = opened(tmp_path, waiter.patience)
    with sqlite3.connect(tmp_path / "study.db") as other:
        other.execute("DROP TABLE trial_user_attributes")
    begin(study)
    with pytest.raises(FailedError, match="no such table: trial_user_attributes"):
        study.written()
    assert waiter.naps == []


def test_a_study_is_one_drivers_own(tmp_path: Path) -> None:
    study = opened(tmp_path)
    begin(study)
    assert study.written()
    stranger = optuna.load_study(study_name="test", storage=url_of(tmp_path))
    stranger.add_trial(create_trial(value=0.5, params={"x": 0.5}, distributions={"x": UNIFORM}))
    begin(study)
    with pytest.raises(FailedError, match="another program has added a trial"):
        study.written()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:////nowhere/at/all/study.db", "unable to open database file"),
        ("no address", "Could not parse SQLAlchemy URL"),
        ("oracle://user:secret@host/x", "Optuna database"),
        ("postgresql+psycopg://user:secret@127.0.0.1:1/x", "refused"),
    ],
)
def test_a_database_that_cannot_be_opened_is_named_at_once(url: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as raised:
        SearchStudy("test", url, "minimize", Halving(RUNG, 3), 0)
    assert raised.value.exit_code == 2
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_best_are_ordered_by_the_direction_of_the_study(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = SearchStudy("up", url, "maximize", Halving(RUNG, 3), 0)
    for value in (0.2, 0.9, 0.5):
        study.tell(study.ask().number, "COMPLETE", value, "")
    assert [trial.value for trial in study.best(2)] == [0.9, 0.5]
    with pytest.raises(ValueError, match="trial 3 completed with nan"):
        study.tell(study.ask().number, "COMPLETE", math.nan, "")


def test_a_database_that_cannot_be_opened_is_a_users_error(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'missing' / 'study.db'}"
    with pytest.raises(UserError, match="cannot open the Optuna database"):
        SearchStudy("test", url, "minimize", Halving(RUNG, 3), 0)


def suggestions(study: SearchStudy, count: int) -> list[float]:
    return [study.ask().suggest_float("x", 0.0, 1.0) for _ in range(count)]


def test_a_seed_tells_what_is_suggested_and_a_resumed_search_draws_anew(tmp_path: Path) -> None:
    found = {}
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        (tmp_path / name).mkdir()
        study = opened(tmp_path / name, seed=seed)
        found[name] = suggestions(study, 5)
        assert study.written(60.0)
    assert found["one"] == found["again"]
    assert not set(found["one"]) & set(found["other"])
    assert not set(suggestions(opened(tmp_path / "one", seed=0), 5)) & set(found["one"])


def test_suggestions_know_of_the_others_and_of_what_hangs_together(tmp_path: Path) -> None:
    """TPE as DESIGN measured it; `group` draws conditional parameters together, too."""
    sampler = opened(tmp_path)._asking.sampler
    assert isinstance(sampler, optuna.samplers.TPESampler)
    assert (sampler._multivariate, sampler._group, sampler._constant_liar) == (True, True, True)
