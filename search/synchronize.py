"""Sends what a search has on disk to its MLflow store, when no driver is there to do it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from search.conclusion import conclude, open_study
from search.errors import UserError
from search.masking import MASKED, mask
from search.recorder import SearchRuns, runs_by_name
from search.search_folder import UNSENT, SearchFolder, SearchRecord
from search.settle import settle
from search.spec import parse_spec
from search.tracking import Tracker
from search.tracking_client import resolve_uri
from search.tracking_reader import Reader


@dataclass(frozen=True)
class Sent:
    """What was done: runs that were brought up to date, and whether the search has ended."""

    jobs: int
    ended: bool
    tracking_uri: str


def synchronize(name: str, *, storage: Path, tracking_uri: str | None) -> Sent:
    """Bring the store up to date; where all trials have ended, write the results, too.

    Raises UserError when there is no such search or a driver works on it, and StoreError when the
    store does not answer.
    """
    folder = SearchFolder(storage, name)
    folder.read()  # Refuses an unknown name before the lock makes a folder of it.
    with folder.locked():
        record = folder.read()
        uri = store_of(record, tracking_uri)
        tracker = Tracker(uri, storage.expanduser().absolute() / "artifacts")
        runs = SearchRuns(tracker, name, record.run_id, runs_by_name(Reader(uri).trials(name)))
        spec = parse_spec(record.spec)
        study = open_study(spec, folder, spec.problem_for(""))
        jobs = settle(folder, study, runs)
        if record.state == UNSENT:
            conclude(folder, study, runs)
        return Sent(jobs, record.state != "RUNNING", runs.masked_uri)


def store_of(record: SearchRecord, tracking_uri: str | None) -> str:
    """Return the store to use: the one given, else the one that has the search.

    MLFLOW_TRACKING_URI may have moved on to another store since, or name the same one by a new
    address. Raises UserError where its password is needed again.
    """
    uri, elsewhere = tracking_uri or record.tracking_uri, os.environ.get("MLFLOW_TRACKING_URI")
    if not tracking_uri and elsewhere:
        elsewhere = resolve_uri(elsewhere)
        same = mask(elsewhere, elsewhere) == record.tracking_uri
        if same or not record.run_id or Reader(elsewhere).holds(record.run_id):
            uri = elsewhere
    if MASKED in uri:
        raise UserError(f"--tracking-uri: {uri}: give it again, with its password")
    return uri
