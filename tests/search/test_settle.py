"""How a search's records are settled at its end, where the disk has damaged some of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from search import checkpoint
from search.conductor import Conductor, Nothing, Plan
from search.errors import FailedError
from search.jobs import Job, Progress
from search.ledger import Ledger
from search.read_file import UnreadableError
from search.recorder import BackgroundRecorder, SearchRuns
from search.run_job import run_job
from search.search_folder import SearchFolder
from search.settle import lost_results, settle
from search.study import CONFIG, Halving, SearchStudy
from search.tracking import Tracker
from search.tracking_reader import Reader
from search.trial_folder import TrialFolder
from tests.search.conducting import Listener
from tests.search.small_runs import NoisyPrototypes, small_config

# mlflow 3.17 maps its tables in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)

TRIALS = 2
LOST = r"trial-000: .*damaged.*\n.*metasweep resume mine"


class Ended:
    """A search whose trials have all ended COMPLETE, of which MLflow knows nothing yet."""

    def __init__(self, folder: Path, uri: str) -> None:
        config = small_config("pretrain", "classification", rungs=(8, 16))
        self.folder = SearchFolder(folder, "mine")
        self.folder.trials.mkdir(parents=True)
        url = f"sqlite:///{folder / 'study.db'}"
        self.study = SearchStudy("mine", url, "maximize", Halving(8, 2), 0)
        self.tracker = Tracker(uri, folder / "artifacts")
        search = self.tracker.start_search(config.problem, "mine", {}, 0)
        self.runs = SearchRuns(self.tracker, "mine", search, None)
        self.jobs, self.last = [], []
        for number in range(TRIALS):
            self.study.ask()
            self.study.annotate(number, CONFIG, config.to_dict())
            self.jobs.append(Job("trial", number, config, str(self.trial(number))))
            self.last.append(self.run(self.jobs[-1]))
            self.study.tell(number, "COMPLETE", self.last[-1].value, "")

    def trial(self, number: int) -> Path:
        return self.folder.trials / f"trial-{number:03d}"

    def run(self, job: Job) -> Progress:
        """Run a job to its end, and send nothing."""
        kept = TrialFolder(Path(job.folder))
        *_, last = run_job(job.config, NoisyPrototypes(), kept, lambda *_, **__: None, by="a test")
        return last

    def damage(self, pattern: str) -> None:
        """Cut short what the first trial wrote last."""
        newest = max(self.trial(0).rglob(pattern), key=lambda file: file.stat().st_mtime_ns)
        newest.write_bytes(newest.read_bytes()[:50])

    def state(self, number: int) -> str:
        return str(self.row(number)["state"])

    def row(self, number: int) -> pd.Series:
        frame = Reader(self.tracker.uri).trials("mine").set_index("trial")
        return frame.loc[number]

    def sent(self, number: int) -> pd.DataFrame:
        return Reader(self.tracker.uri).episodes(str(self.row(number)["run_id"]))

    def conduct(self) -> Conductor:
        """Go on with the search, as `resume` does."""
        return Conductor(
            Plan(TRIALS, None, 0, 0, None),
            self.study,
            BackgroundRecorder(self.runs),
            Listener(),
            self.folder.trials,
            lambda trial: pytest.fail("a new trial"),
            lambda: 0.0,
            again=lost_results(self.folder, self.study, self.tracker.uri),
        )


@pytest.fixture
def ended(tmp_path: Path, tracking_uri: str) -> Ended:
    return Ended(tmp_path / "store", tracking_uri)


def test_every_run_is_closed_with_its_summaries_and_episodes(ended: Ended) -> None:
    assert lost_results(ended.folder, ended.study, ended.tracker.uri) == []
    assert settle(ended.folder, ended.study, ended.runs) == TRIALS
    for number in range(TRIALS):
        assert ended.state(number) == "COMPLETE"
        assert ended.row(number)["validation_mean"] == ended.last[number].value
    assert settle(ended.folder, ended.study, ended.runs) == 0


@pytest.mark.parametrize("pattern", ["checkpoint.json", "*.safetensors", "*.parquet"])
def test_a_result_that_is_damaged_is_not_recorded_as_complete_but_computed_again(
    ended: Ended, pattern: str
) -> None:
    whole = TrialFolder(ended.trial(0)).table().drop(columns="seconds")
    ended.damage(pattern)
    for _ in range(2):
        with pytest.raises(FailedError, match=LOST):
            settle(ended.folder, ended.study, ended.runs)
    assert (ended.state(0), ended.state(1)) == ("RUNNING", "COMPLETE")
    assert not Ledger(ended.trial(0), str(ended.row(0)["run_id"])).is_complete

    conductor = ended.conduct()
    job = conductor.next_job()
    assert job == ended.jobs[0]
    assert conductor.next_job() is Nothing.YET
    last = ended.run(job)
    assert len(list(ended.trial(0).glob("episodes/*-0001.parquet"))) > 0, "it began anew"
    assert not conductor.told(job, last)
    assert conductor.next_job() is Nothing.MORE
    assert not conductor.blocked
    assert ended.conduct().next_job() is Nothing.MORE
    settle(ended.folder, ended.study, ended.runs)
    assert ended.state(0) == "COMPLETE"
    assert ended.row(0)["validation_mean"] == ended.last[0].value
    again = ended.sent(0).drop(columns="seconds")
    assert len(again) == len(whole)
    for column in ("split", "index", "loss_after"):
        np.testing.assert_array_equal(again[column], whole[column])


def test_what_was_sent_before_the_damage_stays_listed(ended: Ended) -> None:
    run = ended.runs.open(ended.jobs[0], None)
    kept = TrialFolder(ended.trial(0))
    assert ended.tracker.publish(run.id, kept, ended.jobs[0].config, ended=True)
    whole = ended.sent(0)
    ended.damage("checkpoint.json")
    with pytest.raises(FailedError, match=LOST):
        settle(ended.folder, ended.study, ended.runs)
    assert ended.sent(0).equals(whole)


def test_damage_of_what_was_recorded_is_of_no_matter(ended: Ended) -> None:
    settle(ended.folder, ended.study, ended.runs)
    ended.damage("*.parquet")
    assert lost_results(ended.folder, ended.study, ended.tracker.uri) == []
    assert settle(ended.folder, ended.study, ended.runs) == 0


@pytest.mark.parametrize("phase", ["failed", "diverged", "blocked"])
def test_a_damaged_result_that_cannot_be_computed_again_stops_the_search(
    ended: Ended, phase: str
) -> None:
    ended.damage("checkpoint.json")
    conductor = ended.conduct()
    job = conductor.next_job()
    assert isinstance(job, Job)
    assert conductor.told(job, Progress(phase, 8, reason="no such luck"))  # type: ignore[arg-type]
    assert "no such luck" in conductor.blocked
    assert [trial.state.name for trial in ended.study.trials()] == ["COMPLETE"] * TRIALS


def test_what_cannot_be_read_holds_up_no_other_job_and_stays(
    ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = checkpoint.read_bounded

    def refuse(path: Path, most: int) -> bytes:
        if "trial-000" in path.parts:
            raise UnreadableError("cannot be read: Input/output error")
        return read(path, most)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "read_bounded", refuse)
        with pytest.raises(FailedError, match="cannot be read"):
            settle(ended.folder, ended.study, ended.runs)
    assert (ended.state(0), ended.state(1)) == ("RUNNING", "COMPLETE")
    assert settle(ended.folder, ended.study, ended.runs) == 1


def test_a_confirmation_is_closed_with_its_reason(ended: Ended) -> None:
    ended.study.note("confirmed/1/10000", "PRUNED")
    ended.study.note("confirmed_reason/1/10000", "training loss is nan")
    assert settle(ended.folder, ended.study, ended.runs) == TRIALS + 1
    frame = Reader(ended.tracker.uri).trials("mine")
    (again,) = frame[frame["kind"] == "confirmation"].to_dict("records")
    assert (again["state"], again["reason"]) == ("PRUNED", "training loss is nan")
    assert again["of_run"] == ended.row(1)["run_id"].iloc[0]
