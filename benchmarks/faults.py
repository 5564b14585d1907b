"""`python -m benchmarks.faults`: what a search survives, and what it loses.

Every row of the table makes one thing go wrong for real, in processes, servers and disks of its
own, and then compares the study, MLflow and the tables on disk, episode by episode. Rows that need
PostgreSQL, a mount or network namespaces say so where that is not to be had.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults.setting import Setting
from tests.faults.table import FAULTS


@dataclass
class Row:
    """What came of one fault. seconds: of all tries together."""

    name: str
    survived: int = 0
    tried: int = 0
    lost: int = 0
    doubled: int = 0
    seconds: float = 0.0
    complaints: list[str] = field(default_factory=list)


def main() -> None:
    """Run the table; exit with 1 where anything was lost, doubled or not survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=1, help="tries of each row, at other moments")
    parser.add_argument("--short", action="store_true", help="as `make test` runs it")
    parser.add_argument("--only", nargs="*", choices=sorted(FAULTS), help="these rows alone")
    asked = parser.parse_args()
    rows = []
    for name in asked.only or FAULTS:
        row = Row(name)
        for seed in range(asked.tries):
            _try(row, seed, full=not asked.short)
        print(f"{name}: survived {row.survived} / {row.tried}", *row.complaints, sep="\n  ")
        rows.append(row)
    Console().print(_table(rows))
    sys.exit(any(row.lost or row.doubled or row.survived < row.tried for row in rows))


def _try(row: Row, seed: int, full: bool) -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        try:
            found = FAULTS[row.name].run(Setting(Path(folder) / "work", random.Random(seed), full))
        except PermissionError as error:
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


def _table(rows: list[Row]) -> Table:
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
