"""What a study's database refuses, for good or for the moment."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
import sqlalchemy
from psycopg.errors import InternalError

from search import launch, study_database, study_writer
from search.errors import FailedError, UserError
from search.study_writer import AwayError
from tests.search.flaky import Flaky, Outage
from tests.search.test_study import Waiter, begin, in_database, opened, url_of


@pytest.mark.parametrize("away", [False, True])
def test_what_came_before_a_refused_call_is_written_and_nothing_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    """Somebody else ends a trial in the database; Optuna then refuses another end."""
    monkeypatch.setattr(study_writer, "TOGETHER", 1000)
    study = opened(tmp_path, Waiter().patience)
    first, second = begin(study), begin(study)
    assert study.written()
    other = optuna.load_study(study_name="test", storage=url_of(tmp_path))
    other.tell(first, state=optuna.trial.TrialState.FAIL)
    outage = Outage(study)
    if away:  # What comes first has to be written again, and its answer is lost.
        Flaky(study, lost=True, offset=2)
    with outage.hanging():
        study.note("confirmed/0/1", "COMPLETE")
        study.tell(second, "COMPLETE", 0.2, "")
        third = begin(study)
        study.tell(first, "COMPLETE", 0.1, "")
        study.note("confirmed/0/2", "COMPLETE")
    for _ in range(2):
        with pytest.raises(FailedError, match=r"^study: .*study\.db: UpdateFinishedTrialError: "):
            study.written()
    states = [(trial.number, trial.state.name) for trial in in_database(tmp_path)]
    assert states == [(first, "FAIL"), (second, "COMPLETE"), (third, "RUNNING")]
    assert opened(tmp_path).notes() == {"confirmed/0/1": "COMPLETE"}


def test_a_mistake_of_ours_is_no_refusal(tmp_path: Path) -> None:
    study = opened(tmp_path)
    database = study._storage._database

    def mistaken() -> None:
        raise TypeError("of ours")

    database._writer.add(mistaken)
    with pytest.raises(TypeError, match="of ours"):
        study.written()


def test_a_study_that_is_gone_is_told_in_a_line(tmp_path: Path) -> None:
    study = opened(tmp_path)
    begin(study)
    assert study.written()
    optuna.delete_study(study_name="test", storage=url_of(tmp_path))
    begin(study)
    with pytest.raises(FailedError, match=r"^study: .*study\.db: "):
        study.written()


def test_trials_of_another_program_are_named_when_a_search_goes_on(tmp_path: Path) -> None:
    study = opened(tmp_path)
    study.enqueue({"x": 0.25, "kind": "b"})
    number = begin(study)
    study.tell(number, "PRUNED", None, "because")
    study.enqueue({"x": 0.5, "kind": "b"})
    enqueued = study.ask().number  # Not handed out yet.
    assert study.written()
    assert "fixed_params" in opened(tmp_path).trials("RUNNING")[0].system_attrs
    counts, best = launch._before(opened(tmp_path), {number})
    assert (dict(counts), best) == ({}, None)
    other = optuna.load_study(study_name="test", storage=url_of(tmp_path))
    other.add_trial(optuna.trial.create_trial(value=0.1))
    running = other.ask().number
    foreign = rf"\[{enqueued + 1}, {running}\]"
    with pytest.raises(
        UserError, match=f"^study: another program has added trials .*: {foreign}; "
    ):
        launch._before(opened(tmp_path), ())


def test_a_server_that_hands_over_to_another_is_waited_for() -> None:
    """As PostgreSQL's does for some seconds, with an error that psycopg calls an internal one."""
    handing_over = InternalError("cannot execute SELECT FOR UPDATE in a read-only transaction")
    wrapped = sqlalchemy.exc.InternalError("SELECT", {}, handing_over)
    context = SimpleNamespace(
        is_pre_ping=False,
        is_disconnect=False,
        sqlalchemy_exception=wrapped,
        original_exception=handing_over,
    )
    with pytest.raises(FailedError):
        study_database._tell_what_passes("here", context)  # type: ignore[arg-type]
    handing_over.sqlstate = "25006"  # type: ignore[attr-defined]
    with pytest.raises(AwayError, match="read-only"):
        study_database._tell_what_passes("here", context)  # type: ignore[arg-type]
    assert context.is_disconnect
