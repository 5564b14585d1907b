"""A clock that is set back by a day, and forward again, while a search runs.

A library that is preloaded answers for the clock of every process of the search, Ray's included.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.audit import Audit, audit
from tests.faults.machine import NotAllowedError
from tests.faults.setting import Setting, spec

DAY = 24 * 3600
SOURCE = Path(__file__).with_name("clock.c")


class Clock:
    """The clock of all processes that are started with `environment`."""

    def __init__(self, folder: Path):
        """Compile the library. Raises NotAllowedError where there is no C compiler."""
        compiler = shutil.which("cc")
        if compiler is None:
            raise NotAllowedError("no C compiler: install gcc")
        library, self._offset = folder / "clock.so", folder / "clock.offset"
        flags = ["-O2", "-Wall", "-Werror", "-shared", "-fPIC"]
        subprocess.run([compiler, *flags, "-o", library, SOURCE], check=True)
        self._offset.write_bytes(struct.pack("q", 0))
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(self._offset)}

    def now(self) -> float:
        """Ask a process that is started now what time it is."""
        command = [sys.executable, "-c", "import time; print(time.time())"]
        done = subprocess.run(command, env=self.environment, capture_output=True, check=True)
        return float(done.stdout)

    def set(self, seconds: int) -> None:
        """Let the clock differ from the real one by so many seconds."""
        with self._offset.open("r+b", buffering=0) as file:
            file.write(struct.pack("q", seconds))

    def set_back_for_a_moment(
        self, found: Audit, enough: Callable[[], bool] = lambda: False
    ) -> None:
        """Set it back by a day, and to the right time again after 5 s, or once that is enough."""
        self.set(-DAY)
        found.expect(abs(time.time() - DAY - self.now()) < 60, "the clock did not move")
        # Not for long: what waits for a moment of the real clock is woken at once meanwhile.
        until = time.monotonic() + 5.0
        while time.monotonic() < until and not enough():
            time.sleep(0.1)
        self.set(0)


def clock_set_back(setting: Setting) -> Audit:
    """Set the clock back by a day, and some seconds later to the right time again."""
    times = 3 if setting.full else 1
    setting.write(spec(4, 2))
    clock = Clock(setting.folder)
    setting.environment |= clock.environment
    found = Audit()
    with setting.started(*setting.search()) as driver:
        for number in range(times):
            setting.wait_sealed(number, 1)
            clock.set_back_for_a_moment(found)
        output, _ = driver.communicate(timeout=240)
    after = audit(setting.left, 4, repeat=(0, 1))
    after.wrong += found.wrong
    after.expect(driver.returncode == 0, output[-2000:])
    return after
