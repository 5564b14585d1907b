"""Every fault once, shortened; `make test-faults` runs the whole table."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.faults.setting import Setting
from tests.faults.table import FAULTS

# mlflow 3.17 maps its tables in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)


def _rows(full: bool) -> list[object]:
    return [
        pytest.param(name, id=name, marks=[pytest.mark.cluster] if fault.postgres else [])
        for name, fault in FAULTS.items()
        if full or fault.short
    ]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", _rows(full=False))
def test_nothing_is_lost_and_nothing_doubled(name: str, tmp_path: Path) -> None:
    _check(name, tmp_path, full=False)


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", _rows(full=True))
def test_the_whole_table(name: str, tmp_path: Path) -> None:
    _check(name, tmp_path, full=True)


def _check(name: str, folder: Path, full: bool) -> None:
    try:
        found = FAULTS[name].run(Setting(folder, random.Random(name), full))
    except PermissionError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    assert found.clean, f"{found.lost} lost, {found.doubled} doubled; " + "\n".join(found.wrong)
