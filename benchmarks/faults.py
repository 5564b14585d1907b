"""`python -m benchmarks.faults`: what a search survives, and what it loses.

Every row of the table makes one thing go wrong for real, in processes, servers and disks of its
own, and then compares the study, MLflow and the tables on disk, episode by episode; the row
`hostile-input` hands in what strangers may hand in. Rows that need PostgreSQL, a mount, a limit of
memory, a C compiler or network namespaces are not tried where that is not to be had, which is a
failure where CI is set.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults.machine import NotAllowedError
from tests.faults.setting import Setting
from tests.faults.table import FAULTS, Fault
from tests.servers import postgres_binaries


@dataclass
class Row:
    """What came of one fault.

    seconds: of all tries together.
    not_tried: how often this machine did not allow it.
    """

    name: str
    survived: int = 0
    tried: int = 0
    not_tried: int = 0
    lost: int = 0
    doubled: int = 0
    seconds: float = 0.0
    complaints: list[str] = field(default_factory=list)


def main() -> None:
    """Run the table; exit with 1 where something was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=1, help="tries of each row, at other moments")
    parser.add_argument("--short", action="store_true", help="fewer times and for less long")
    parser.add_argument("--only", nargs="*", choices=sorted(FAULTS), help="these rows alone")
    asked = parser.parse_args()
    rows = []
    for name in asked.only or FAULTS:
        row = Row(name)
        for seed in range(asked.tries):
            attempt(row, FAULTS[name], seed, full=not asked.short)
        print(f"{name}: survived {row.survived} / {row.tried}", *row.complaints, sep="\n  ")
        rows.append(row)
    Console().print(table(rows))
    sys.exit(exit_code(rows, in_ci=bool(os.environ.get("CI"))))


def exit_code(rows: list[Row], *, in_ci: bool) -> int:
    """Return 1 where anything was lost, doubled or not survived, or in CI not tried; else 0."""
    failed = any(row.lost or row.doubled or row.survived < row.tried for row in rows)
    return int(failed or (in_ci and any(row.not_tried for row in rows)))


def attempt(row: Row, fault: Fault, seed: int, *, full: bool) -> None:
    """Let a fault happen once more, and add to its row what came of it.

    seed: of its random moments.
    full: whether counts and times are those of the whole table, not shortened ones.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        try:
            if fault.postgres and postgres_binaries() is None:
                raise NotAllowedError("no PostgreSQL server: install Debian's package postgresql")
            found = fault.run(Setting(Path(folder) / "work", random.Random(seed), full))
        except NotAllowedError as error:
            row.not_tried += 1
            row.complaints.append(f"not to be had here: {error}")
            return
        except Exception:
            row.tried += 1
            row.complaints.append(traceback.format_exc(limit=-3))
            return
        finally:
            row.seconds += time.monotonic() - began
    row.tried += 1
    row.survived += found.clean
    row.lost += found.lost
    row.doubled += found.doubled
    row.complaints += found.wrong


def table(rows: list[Row]) -> Table:
    """Return the rows and their sums."""
    table = Table(title="faults", title_justify="left")
    for column in ("fault", "survived / tried", "episodes lost", "episodes doubled", "seconds"):
        table.add_column(column, justify="left" if column == "fault" else "right")
    for row in rows:
        count = f"{row.survived} / {row.tried}" if row.tried else "not tried"
        table.add_row(row.name, count, str(row.lost), str(row.doubled), f"{row.seconds:.0f}")
    lost, doubled = sum(row.lost for row in rows), sum(row.doubled for row in rows)
    survived, tried = sum(row.survived for row in rows), sum(row.tried for row in rows)
    table.add_section()
    table.add_row("all", f"{survived} / {tried}", str(lost), str(doubled), "")
    return table


if __name__ == "__main__":
    main()
