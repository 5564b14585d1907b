"""Brings MLflow up to date with the study, which is the truth about how jobs ended.

A driver may have died between the two, and a tracking server may have been down for a while.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from search.config import Config
from search.jobs import Job, Progress
from search.run_job import RESULT
from search.search_folder import SearchFolder
from search.study import CONFIG, CONFIRMED, REASON, RUN_ID, SearchStudy, State
from search.tracking import Tracker
from search.tracking_reader import Reader
from search.trial_folder import TrialFolder


def settle(folder: SearchFolder, study: SearchStudy, tracker: Tracker) -> None:
    """Close the MLflow runs of jobs that have ended, and send what they had sealed.

    Raises FailedError when the store cannot be read.
    """
    frame = Reader(tracker.uri).trials(folder.name)
    left_open = set(frame.loc[frame["state"] == "RUNNING", "run_id"])
    for job, state, reason in _ended(study):
        if job.run_id in left_open:
            kept = TrialFolder(folder.trials / job.name)
            snapshot = kept.resume(job.config)
            result = snapshot.state.get(RESULT) if snapshot else None
            summaries = Progress(**result).summaries if result else {}
            tracker.publish(job.run_id, kept, job.config)
            tracker.finish_trial(job.run_id, state, reason, summaries)


def _ended(study: SearchStudy) -> Iterator[tuple[Job, State, str]]:
    """List jobs that have ended, with how and why, as the study knows them."""
    notes = study.notes()
    for trial in study.trials("COMPLETE", "PRUNED", "FAIL"):
        attributes = trial.user_attrs
        if CONFIG not in attributes or RUN_ID not in attributes:
            continue
        config = Config.from_dict(attributes[CONFIG])
        job = Job("trial", trial.number, config, attributes[RUN_ID], "")
        yield job, cast(State, trial.state.name), attributes.get(REASON, "")
        for key, state in notes.items():
            kind, _, rest = key.partition("/")
            number, _, seed = rest.partition("/")
            if kind == CONFIRMED and int(number) == trial.number:
                again = replace(config, seed=int(seed), rungs=())
                run_id = notes[f"{RUN_ID}/{rest}"]
                yield Job("confirmation", trial.number, again, run_id, ""), state, ""
