"""A job's log is followed through cut connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from search import ray_jobs
from search.errors import FailedError
from search.ray_jobs import RECONNECTIONS, ClusterJob, Jobs

LOG = "what was written before it waits\n"
CUTS = 3 * RECONNECTIONS


class Client:
    """Shows the log from its beginning, and is cut so many times; then the job ends."""

    def __init__(self, cuts: int, text: str = LOG):
        self.cuts, self.text = cuts, text

    async def tail_job_logs(self, id: str) -> AsyncIterator[str]:
        if self.text:
            yield self.text
        if self.cuts > 0:
            self.cuts -= 1
            raise RuntimeError("the connection is cut")


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    found = Jobs.__new__(Jobs)
    found.address, found._refusal = "http://head:8265", PermissionError

    def job(id: str) -> Any:
        return SimpleNamespace(over=found._client.cuts == 0)

    monkeypatch.setattr(found, "job", job)
    monkeypatch.setattr(ray_jobs.time, "sleep", lambda _: None)
    return found


def test_a_job_that_is_quiet_for_long_is_followed_to_its_end(jobs: Jobs) -> None:
    jobs._client = Client(CUTS)
    shown: list[str] = []
    ended: ClusterJob = jobs.follow("mine", shown.append)
    assert ended.over
    assert shown == [LOG]


def test_a_log_that_never_comes_is_given_up(jobs: Jobs) -> None:
    jobs._client = Client(CUTS, text="")
    with pytest.raises(FailedError, match="the log cannot be shown; the job goes on there"):
        jobs.follow("mine", lambda text: None)
