"""Sends sealed episodes to MLflow in a thread of its own, so that no store slows a trial down."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from search.attempts import SupersededError
from search.backoff import wait_after
from search.config import Config
from search.run_file import Run, RunFile
from search.tracking import Tracker
from search.trial_folder import TrialFolder

RUN_UNKNOWN_WAIT = 0.2

log = logging.getLogger("metasweep")


@dataclass(frozen=True)
class _Due:
    """What is to be sent: all that a folder held when it was last sealed."""

    folder: TrialFolder
    config: Config
    ended: bool


class Publisher:
    """Keeps the newest seal of each job, and sends until the store has it.

    The run of a job is opened by the driver, which may take its time, too. What is not sent when
    the process ends lies sealed on disk, and `search.settle` sends it. What another process has
    taken over meanwhile is that one's to send.
    """

    def __init__(self, tracker: Tracker):
        self._tracker = tracker
        self._due: dict[Path, _Due] = {}
        self._told: set[Path] = set()
        self._changed = threading.Condition()
        threading.Thread(target=self._work, name="publisher", daemon=True).start()

    def publish(self, folder: TrialFolder, *, config: Config, ended: bool) -> None:
        """Have sent what is sealed in a folder by now."""
        sealed = folder.as_sealed()
        with self._changed:
            self._due.pop(folder.path, None)
            self._due[folder.path] = _Due(sealed, config, ended)
            self._changed.notify_all()

    def close(self, seconds: float) -> bool:
        """Wait until all is sent, at most so long; return whether it is."""
        deadline = time.monotonic() + seconds
        with self._changed:
            return self._changed.wait_for(lambda: not self._due, deadline - time.monotonic())

    def _work(self) -> None:
        failures = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._due))
                waiting = list(self._due.items())
            sent = [self._try(path, due) for path, due in waiting]
            failures = failures + 1 if not all(sent) else 0
            time.sleep(wait_after(failures) if failures else RUN_UNKNOWN_WAIT)

    def _try(self, path: Path, due: _Due) -> bool:
        """Send what is due, once its run is known; return whether nothing went wrong."""
        try:
            run = RunFile(path, self._tracker.uri).read()
            sent = run is None or self._send(path, due, run)
        except Exception:
            # A file may vanish, or be half there, while a network's file system replaces it. And a
            # thread that ends here, for whatever reason, would send nothing more of any job.
            if path not in self._told:
                self._told.add(path)
                log.exception("The episodes in %s are tried again.", path)
            return False
        self._told.discard(path)
        return sent

    def _send(self, path: Path, due: _Due, run: Run) -> bool:
        """Send what is due; return whether that is over and done with."""
        try:
            if not self._tracker.publish(run.id, due.folder, due.config, ended=due.ended):
                return False
        except SupersededError as error:
            log.warning("%s; it sends the episodes, too", error)
        with self._changed:
            if self._due.get(path) is due:
                del self._due[path]
            self._changed.notify_all()
        return True
