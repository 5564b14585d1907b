"""A trial whose process takes its time to start: until so many others start, too."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune

JOB, PROGRESS, WANTED = "job", "progress", "wanted"
PATIENCE = 180.0
MEMORY = {"device_memory_mb": 80_000.0, "peak_memory_mb": 29_000.0}
"""With a margin, a little less than half of a GPU."""


class WaitingActor(tune.Trainable):
    """Waits in `setup` for others, notes how many there were, and tells `reports` of each job.

    It is told what to do in the place of a tracking URI: `folder`, `others`, `reports`; `started`:
    all but the first process wait until so many jobs have started, and it then for them; `pause`
    before each report, in seconds; `dies` and `raises`: the job that its process dies of, or raises
    an error of, when given it first.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Any:
        return tune.PlacementGroupFactory([config[WANTED]])

    def setup(self, config: dict[str, Any], tracking_uri: str = "") -> None:
        plan = json.loads(tracking_uri)
        self._folder, self._reports = Path(plan["folder"]), plan["reports"]
        self._others, self._started = plan["others"], plan["started"]
        self._pause, self._dies, self._raises = plan["pause"], plan["dies"], plan["raises"]
        self._begin(config)
        begun = self._folder / "begun"
        begun.mkdir(exist_ok=True)
        (begun / self._name).touch()
        self._is_first = self._comes_first("first")
        self._wait(lambda: self._count("begun/*") >= self._others)
        self._wait(lambda: self._is_first or self._count("*.wanted") >= self._started)
        (self._folder / f"{self._name}.others").write_text(str(len(list(begun.iterdir()))))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        if self._name == self._dies and self._comes_first("died"):
            os._exit(1)
        if self._name == self._raises and self._comes_first("died"):
            raise OSError("no space left there")
        return True

    def step(self) -> dict[str, Any]:
        self._left -= 1
        if self._is_first and self._count("*.wanted") >= self._started:
            self._wait(lambda: self._count("*.others") >= self._others)
        (self._folder / f"{self._name}.ran").write_text(str(os.getpid()))
        told: dict[str, Any] = {"phase": "train", "episodes": 4, "summaries": MEMORY}
        if self._left == 0:
            history = [{"episodes": 24, "value": 0.5}]
            told |= {"phase": "final", "episodes": 24, "value": 0.5, "history": history}
        time.sleep(self._pause)
        return {PROGRESS: json.dumps(told), "done": self._left == 0}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        pass

    def load_checkpoint(self, checkpoint: Any) -> None:
        pass

    def _count(self, files: str) -> int:
        return len(list(self._folder.glob(files)))

    def _wait(self, is_over: Callable[[], bool]) -> None:
        given_up, until = self._folder / "given-up", time.monotonic() + PATIENCE
        while not is_over() and not given_up.exists():
            if time.monotonic() > until:
                given_up.touch()
            time.sleep(0.05)

    def _comes_first(self, mark: str) -> bool:
        try:
            (self._folder / mark).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        job = json.loads(config[JOB])
        self._name, self._left = f"{job['kind']}-{job['number']}", self._reports
        told = config[WANTED] | {"measured": job["measured"]}
        (self._folder / f"{self._name}.wanted").write_text(json.dumps(told))
