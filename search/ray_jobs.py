"""Ray's job client: connects within seconds or says why not, and hides what Ray adds to jobs."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.dashboard import ADDRESSES, knock
from search.errors import FailedError, UserError
from search.plain_text import first_line

SEARCH, SPEC, STORAGE = "metasweep.search", "metasweep.spec", "metasweep.storage"
"""Keys of a job's metadata: the search, its resolved specification as JSON, where it is kept."""

NEEDED = ("aiohttp", "requests", "pydantic")
CHATTY = (
    "ray._private.runtime_env.packaging",
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
)
RECONNECTIONS = 15
SECONDS_BETWEEN = 2.0
QUIET_SECONDS = 300.0
"""After which a log is asked for anew: of a connection that is half gone nothing else tells."""
TOKEN_ADVICE = (
    "Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here to what they are on the cluster: the head and "
    "all its nodes must have been started with them"
)


@dataclass(frozen=True)
class ClusterJob:
    """A job of metasweep on a cluster.

    state: Ray's word: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
    started, ended: seconds since 1970, where they are known.
    exit_code: of its process, once that has ended by itself.
    cut_off: whether its process was lost after it had started.
    """

    id: str
    search: str
    state: str
    started: float | None
    ended: float | None
    exit_code: int | None
    cut_off: bool
    message: str
    spec: dict[str, Any] | None
    storage: str | None

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state in ("SUCCEEDED", "FAILED", "STOPPED")


class Jobs:
    """The jobs of metasweep on one cluster."""

    def __init__(self, address: str):
        """Connect. Raises UserError or FailedError that says what to set or start."""
        lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if lacking:
            raise UserError(
                f"Ray's job client needs {', '.join(lacking)}: pip install 'metasweep[cluster]'"
            )
        self.address = address
        knock(address)
        # Ray lets these override the address it is given.
        os.environ[ADDRESSES[0]] = address
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient

        for chatty in CHATTY:
            logging.getLogger(chatty).setLevel(logging.WARNING)
        self._refusal = AuthenticationError
        self._client = self._asked(lambda: JobSubmissionClient(address))

    def all(self) -> list[ClusterJob]:
        """Return all jobs of metasweep, the oldest first."""
        found = [
            _read(job)
            for job in self._asked(self._client.list_jobs)
            if job.submission_id and SEARCH in (job.metadata or {})
        ]
        return sorted(found, key=lambda job: job.started or 0.0)

    def job(self, id: str) -> ClusterJob:
        """Return a job as it is now."""
        return _read(self._asked(lambda: self._client.get_job_info(id)))

    def submit(
        self,
        id: str,
        entrypoint: str,
        folder: Path,
        environment: Mapping[str, str],
        metadata: Mapping[str, str],
    ) -> None:
        """Send a folder, unless it is there already, and start a command in it on the head."""
        self._asked(
            lambda: self._client.submit_job(
                entrypoint=entrypoint,
                submission_id=id,
                runtime_env={"working_dir": str(folder), "env_vars": dict(environment)},
                metadata=dict(metadata),
            )
        )

    def stop(self, id: str) -> None:
        """Ask a job to end: it is sent SIGTERM."""
        self._asked(lambda: self._client.stop_job(id))

    def log(self, id: str) -> str:
        """Return what a job has written so far."""
        return str(self._asked(lambda: self._client.get_job_logs(id)))

    def follow(self, id: str, show: Callable[[str], None]) -> ClusterJob:
        """Show what a job writes, from its beginning, until it ends; return how it ended.

        A lost connection is taken up where it was. Raises FailedError when that keeps failing.
        """
        shown, failures = 0, 0
        while True:
            try:
                shown = asyncio.run(self._tail(id, show, shown))
                job = self.job(id)
                if job.over:
                    return job
                failures = 0
            except _CutError as error:
                # A job may say nothing for long: what was shown before came again all the same.
                failures = 1 if error.seen >= shown and error.seen else failures + 1
                shown = error.shown
            except FailedError:
                failures += 1
            if failures > RECONNECTIONS:
                job = self.job(id)  # Raises what is wrong, where it is more than the log.
                if job.over:
                    return job
                raise FailedError(f"{self.address}: the log cannot be shown; the job goes on there")
            time.sleep(SECONDS_BETWEEN if failures else 0.2)

    async def _tail(self, id: str, show: Callable[[str], None], shown: int) -> int:
        """Show a log but for its first characters; return how many have been shown then."""
        import aiohttp

        lost = (aiohttp.ClientError, OSError, RuntimeError, TimeoutError, self._refusal)
        seen = 0
        tail = self._client.tail_job_logs(id)
        while True:
            try:
                text = await asyncio.wait_for(anext(tail), QUIET_SECONDS)
            except StopAsyncIteration:
                return shown
            except lost as error:
                raise _CutError(shown, seen) from error
            seen += len(text)
            if seen > shown:
                show(text[shown - seen :])
                shown = seen

    def _asked(self, ask: Callable[[], Any]) -> Any:
        """Ask the head. Raises FailedError for what it refuses, and when it is gone."""
        import requests

        try:
            return ask()
        except self._refusal as error:
            raise FailedError(f"{self.address}: {_refused(str(error))}\n{TOKEN_ADVICE}") from None
        except (requests.exceptions.InvalidHeader, UnicodeError):
            # Their texts would show the token.
            raise FailedError(f"RAY_AUTH_TOKEN: is no token\n{TOKEN_ADVICE}") from None
        except requests.exceptions.HTTPError as error:
            status = "" if error.response is None else f", but with {error.response.status_code}"
            raise FailedError(f"{self.address}: the head answers{status}") from None
        except (requests.exceptions.RequestException, ConnectionError) as error:
            kind = type(error).__name__
            raise FailedError(f"{self.address}: the head does not answer ({kind})") from None
        except (RuntimeError, ValueError) as error:
            raise FailedError(f"{self.address}: {_said(error)}") from None


class _CutError(Exception):
    """The connection was cut: so much has been shown in all, and so much came this time."""

    def __init__(self, shown: int, seen: int):
        super().__init__()
        self.shown, self.seen = shown, seen


def _said(error: Exception) -> str:
    """Return the line that says what is wrong: the last one of a traceback, which a head sends."""
    first = first_line(error)
    if not first.endswith("Traceback (most recent call last):"):
        return first
    return str(error).strip(" \n.").splitlines()[-1]


def _refused(text: str) -> str:
    """Say in one line what Ray says in a paragraph."""
    if "Invalid" in text:
        return "the cluster refuses this token"
    return "the cluster asks for a token, and none was sent"


def _read(job: Any) -> ClusterJob:
    metadata = job.metadata or {}
    try:
        spec = json.loads(metadata.get(SPEC, ""))
    except ValueError:
        spec = None
    return ClusterJob(
        id=job.submission_id,
        search=metadata[SEARCH],
        state=getattr(job.status, "value", str(job.status)),
        started=None if job.start_time is None else job.start_time / 1000,
        ended=None if job.end_time is None else job.end_time / 1000,
        exit_code=job.driver_exit_code,
        cut_off=job.error_type == "JOB_SUPERVISOR_ACTOR_DIED",
        message=job.message or "",
        spec=spec,
        storage=metadata.get(STORAGE),
    )
