"""A trial whose process takes its time to start: until so many others start, too."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ray import tune

JOB, PROGRESS, WANTED = "job", "progress", "wanted"
PATIENCE = 60.0
MEMORY = {"device_memory_mb": 80_000.0, "peak_memory_mb": 29_000.0}
"""With a margin, a little less than half of a GPU."""


class WaitingActor(tune.Trainable):
    """Waits in `setup` for others, notes how many there were, and tells `reports` of each job.

    It is told what to do in the place of a tracking URI: `folder`, `others` and `reports`.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Any:
        return tune.PlacementGroupFactory([config[WANTED]])

    def setup(self, config: dict[str, Any], tracking_uri: str = "") -> None:
        plan = json.loads(tracking_uri)
        self._folder, self._reports = Path(plan["folder"]), plan["reports"]
        self._begin(config)
        begun = self._folder / "begun"
        begun.mkdir(exist_ok=True)
        (begun / self._name).touch()
        given_up, until = self._folder / "given-up", time.monotonic() + PATIENCE
        while len(list(begun.iterdir())) < plan["others"] and not given_up.exists():
            if time.monotonic() > until:
                given_up.touch()
            time.sleep(0.05)
        (self._folder / f"{self._name}.others").write_text(str(len(list(begun.iterdir()))))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        self._left -= 1
        told: dict[str, Any] = {"phase": "train", "episodes": 4, "summaries": MEMORY}
        if self._left == 0:
            history = [{"episodes": 24, "value": 0.5}]
            told |= {"phase": "final", "episodes": 24, "value": 0.5, "history": history}
        time.sleep(0.05)
        return {PROGRESS: json.dumps(told), "done": self._left == 0}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        pass

    def load_checkpoint(self, checkpoint: Any) -> None:
        pass

    def _begin(self, config: dict[str, Any]) -> None:
        job = json.loads(config[JOB])
        self._name, self._left = f"{job['kind']}-{job['number']}", self._reports
        told = config[WANTED] | {"measured": job["measured"]}
        (self._folder / f"{self._name}.wanted").write_text(json.dumps(told))
