"""Every fault once, many in one search; `make test-faults` runs the whole table, one by one."""

from __future__ import annotations

import inspect
import os
import random
from pathlib import Path

import pytest

from tests.faults.audit import Audit
from tests.faults.machine import NotAllowedError, allowed
from tests.faults.setting import Setting
from tests.faults.table import FAULTS, Fault

# mlflow 3.17 maps its tables in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)


def _rows(full: bool) -> list[object]:
    rows = []
    for name, fault in FAULTS.items():
        if full or fault.short:
            marks = [pytest.mark.cluster] if fault.postgres else []
            if full and fault.short and fault.alike:
                marks.append(pytest.mark.again)
            rows.append(pytest.param(name, id=name, marks=marks))
    return rows


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("name", _rows(full=False))
def test_nothing_is_lost_and_nothing_doubled(name: str, tmp_path: Path) -> None:
    _check(name, tmp_path, full=False)


@pytest.mark.faults
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("name", _rows(full=True))
def test_the_whole_table(name: str, tmp_path: Path) -> None:
    _check(name, tmp_path, full=True)


def _check(name: str, folder: Path, full: bool) -> None:
    fault = FAULTS[name]
    try:
        found = fault.run(Setting(folder, random.Random(name), full))
    except NotAllowedError as error:
        if os.environ.get("CI"):
            raise
        if full or fault.otherwise is None:  # The whole table has the other one, too.
            pytest.skip(str(error))
        other = Setting(folder / fault.otherwise, random.Random(name), full)
        found = FAULTS[fault.otherwise].run(other)
    assert found.clean, f"{found.lost} lost, {found.doubled} doubled; " + "\n".join(found.wrong)


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_alike_asks_nowhere_whether_it_is_shortened(name: str) -> None:
    fault = FAULTS[name]
    assert fault.alike == ("setting.full" not in inspect.getsource(fault.run))


def _row(monkeypatch: pytest.MonkeyPatch, error: Exception, otherwise: str | None = None) -> None:
    def run(setting: Setting) -> Audit:
        raise error

    monkeypatch.setitem(FAULTS, "row", Fault(run, otherwise=otherwise))


def test_an_error_of_permissions_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    _row(monkeypatch, PermissionError("a bug of ours"))
    with pytest.raises(PermissionError, match="a bug of ours"):
        _check("row", tmp_path, full=False)


def test_what_a_machine_does_not_allow_is_skipped_but_not_in_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    _row(monkeypatch, NotAllowedError("no mount"))
    with pytest.raises(pytest.skip.Exception, match="no mount"):
        _check("row", tmp_path, full=False)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(NotAllowedError):
        _check("row", tmp_path, full=False)


def test_a_row_may_name_another_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    _row(monkeypatch, NotAllowedError("no namespaces"), otherwise="other")
    monkeypatch.setitem(FAULTS, "other", Fault(lambda setting: Audit(lost=1)))
    with pytest.raises(AssertionError, match="1 lost"):
        _check("row", tmp_path, full=False)
    with pytest.raises(pytest.skip.Exception, match="no namespaces"):
        _check("row", tmp_path, full=True)


def test_a_command_that_is_refused_or_missing_is_not_allowed(tmp_path: Path) -> None:
    with pytest.raises(NotAllowedError, match=r"ls .*: .*No such file"):
        allowed("ls", str(tmp_path / "nothing"))
    with pytest.raises(NotAllowedError, match="no-such-command: No such file"):
        allowed("no-such-command")
    allowed("ls", str(tmp_path))


def test_a_worker_is_killed_wherever_namespaces_are_not_allowed() -> None:
    assert FAULTS["cluster-in-network"].otherwise == "cluster"
