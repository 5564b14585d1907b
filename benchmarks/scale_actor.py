"""Trials that only tell of themselves. No torch, nothing of search: their processes are small."""

from __future__ import annotations

import json
import time
from typing import Any

from ray import tune

from benchmarks.scale_story import words

JOB, PROGRESS, WANTED = "job", "progress", "wanted"


class _Actor(tune.Trainable):
    """A job that is told what to do in the place of a tracking URI, which it has no use for."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Any:
        """Return what the driver wants it to be given."""
        return tune.PlacementGroupFactory([config[WANTED]])

    def setup(self, config: dict[str, Any], tracking_uri: str = "") -> None:
        """Start."""
        self.told: dict[str, Any] = json.loads(tracking_uri)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start anew in the same process."""
        self.begin(json.loads(new_config[JOB]))
        return True

    def begin(self, job: dict[str, Any]) -> None:
        """Start with a job."""
        raise NotImplementedError

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save nothing."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Load nothing."""


class TellingActor(_Actor):
    """Tells so many `reports`, one every `pause` seconds, and is complete."""

    def begin(self, job: dict[str, Any]) -> None:
        """Start with a job."""
        self._number, self._left = job["number"], self.told["reports"]

    def step(self) -> dict[str, Any]:
        """Tell."""
        time.sleep(self.told["pause"])
        self._left -= 1
        ended = self._left == 0
        told: dict[str, Any] = {"phase": "final" if ended else "train", "episodes": 100}
        if ended:
            value = 1.0 + self._number / 1000
            told |= {"value": value, "history": [{"episodes": 100, "value": value}]}
        return {PROGRESS: json.dumps(told), "done": ended}


class StoryActor(_Actor):
    """Tells what a simulated trial of the `seed` tells at its rungs and its end, after `pause`s."""

    def begin(self, job: dict[str, Any]) -> None:
        """Start with a job."""
        config = job["config"]
        outer_lr, rungs = config["hyper"]["outer_lr"], config["rungs"]
        self._words = words(job["number"], outer_lr, self.told["seed"], rungs)

    def step(self) -> dict[str, Any]:
        """Tell."""
        time.sleep(self.told["pause"])
        told = self._words.pop(0)
        return {PROGRESS: json.dumps(told), "done": not self._words}
