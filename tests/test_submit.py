"""Searches submitted to a Ray cluster that lacks the user's code, and what goes wrong there."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from search import ray_jobs
from search.dashboard import knock
from search.errors import FailedError
from search.versions import versions_here
from tests.cli import Done, call, free_port, run, started, wait_until
from tests.extending import EXTEND, fresh_process
from tests.tunnel import tunnel

BIN = Path(sys.executable).parent
RAY = (str(BIN / "ray"),)
SECRET = "5ec2e7" * 6
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": SECRET}
SPEC = """
name: slow
problem:
  task: sinusoid
  shots: 10
  query_shots: 10
  evaluation: {rung_episodes: 20, ranking_episodes: 40, test_episodes: 50}
algorithms: [maml]
networks: [my_learners:waves]
space: {maml/inner_steps: 5, maml/meta_batch_size: 4}
budget: {trials: 300, episodes: 2400, first_rung: 800, reduction_factor: 2}
confirmation: {best: 0}
"""
# A submitter with other versions: they are read when it submits.
OTHERS = (
    "import search.versions as versions; here = versions.versions_here(); "
    "versions.versions_here = lambda: here | {'ray': '2.1.0', 'torch': '1.13.1'}; "
    "from search.cli import main; main()"
)


@dataclass(frozen=True)
class Cluster:
    """A head on loopback that demands a token, and a user's folder elsewhere."""

    port: int
    dashboard: int
    folder: Path
    store: Path

    @property
    def address(self) -> str:
        """Where its dashboard listens."""
        return f"http://127.0.0.1:{self.dashboard}"

    @property
    def environment(self) -> dict[str, str]:
        """What a user's shell holds: which cluster, and its token."""
        return {"RAY_API_SERVER_ADDRESS": self.address, **TOKEN}

    def run(self, *arguments: str, **kwargs: Any) -> Done:
        """Run a command as that user, in a process of its own. The token is never shown."""
        environment = self.environment | kwargs.pop("environment", {})
        done = run(*arguments, folder=self.folder, environment=environment, **kwargs)
        assert SECRET not in done.output
        assert "Traceback" not in done.output
        return done

    def jobs(self) -> list[dict[str, Any]]:
        """Return what the head tells of its jobs."""
        asked = urllib.request.Request(
            f"{self.address}/api/jobs/", headers={"Authorization": f"Bearer {SECRET}"}
        )
        with urllib.request.urlopen(asked, timeout=20) as answer:
            text = answer.read().decode()
        assert SECRET not in text
        return list(json.loads(text))


pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    port, dashboard, agent = free_port(), free_port(), free_port()
    user = tmp_path_factory.mktemp("user")
    (user / "slow.yaml").write_text(SPEC)
    shutil.copy(EXTEND / "my_learners.py", user)
    # Sockets lie in here, whose paths may have no more than 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        arguments = [
            *("start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}"),
            *("--num-cpus=2", "--disable-usage-stats", f"--temp-dir={folder}"),
            *("--include-dashboard=true", "--dashboard-host=127.0.0.1"),
            *(f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"),
            f"--ray-client-server-port={free_port()}",
        ]
        store = tmp_path_factory.mktemp("shared") / "store"
        environment = {
            **TOKEN,
            "METASWEEP_STORAGE": str(store),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }
        cluster = Cluster(port, dashboard, user, store)
        with started(*arguments, folder=Path(folder), command=RAY, environment=environment) as head:
            wait_until(lambda: answers(head, cluster.address), 300, "a Ray head")
            # It is this one that takes jobs.
            wait_until(lambda: listens(agent), 300, "an agent of Ray's")
            yield cluster


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(head: subprocess.Popen[str], address: str) -> bool:
    assert head.poll() is None, head.communicate()[0]
    try:
        knock(address)
    except FailedError:
        return False
    return True


def test_search_is_followed_to_its_leaderboard_and_other_versions_are_refused(
    cluster: Cluster,
) -> None:
    """Both at once: the start of a job takes its time."""
    quick = ["--trials=2", "--episodes=300", "--set=budget.first_rung=null"]
    others = {"folder": cluster.folder, "environment": cluster.environment}
    command = (sys.executable, "-c", OTHERS)
    with started(
        "submit", "slow.yaml", "--name=other", "--follow", command=command, **others
    ) as other:
        done = cluster.run("submit", "slow.yaml", "--name=quick", *quick, "--follow")
        refusal, _ = other.communicate(timeout=300)

    assert done.code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0] == f"quick: submitted to {cluster.address} as job metasweep-quick"
    assert re.fullmatch(r"  packed \d+ files, 1 of them your own, \d\.\d MB", lines[1])
    assert re.search(r"^2 / 2 trials \(.*\); best query_loss \S+ by maml", done.output, re.M)
    assert "query_loss, lower is better" in done.output
    uri = f"sqlite:///{cluster.store}/mlflow.db"
    assert f"  metasweep leaderboard quick --tracking-uri {uri}" in lines
    assert lines[-1] == "quick: SUCCEEDED, as job metasweep-quick"
    assert (cluster.store / "quick" / "results" / "best.yaml").is_file()

    assert other.returncode == 2, refusal
    here = versions_here()
    assert f"  ray is {here['ray']} there and 2.1.0 here" in refusal.splitlines()
    assert f"  torch is {here['torch']} there and 1.13.1 here" in refusal.splitlines()
    assert "python is" not in refusal
    assert "starting Ray" not in refusal
    assert refusal.splitlines()[-1] == "other: FAILED with exit code 2, as job metasweep-other"
    assert not (cluster.store / "other").exists()

    again = cluster.run("submit", "slow.yaml", "--name=quick")
    assert again.code == 2
    assert "that search has ended, as job metasweep-quick; give another --name" in again.output


def test_search_is_stopped_and_gone_on_with(cluster: Cluster) -> None:
    there = f" --address {cluster.address}"
    submitted = cluster.run("submit", "slow.yaml")
    assert submitted.code == 0, submitted.output
    assert submitted.output.splitlines()[2:] == [
        "Next:",
        f"  metasweep status slow --follow{there}",
        f"  metasweep status{there}",
        f"  metasweep stop slow{there}",
    ]

    same = cluster.run("submit", "slow.yaml")
    assert same.code == 0
    assert f"slow: is on {cluster.address} already, as job metasweep-slow (" in same.output
    other = cluster.run("submit", "slow.yaml", "--trials=3", "--set=space.maml/inner_steps=4")
    assert other.code == 2
    assert "runs already, as job metasweep-slow, with another specification" in other.output
    assert "  budget.trials: 300 there, 3 here" in other.output
    assert "  space.maml/inner_steps: 5 there, 4 here" in other.output

    third = cluster.store / "slow" / "trials" / "trial-002"
    wait_until(third.exists, 300, "the end of the first trial")
    detached = follow_for_a_while(cluster)
    assert detached.code == 130
    assert "slow: no longer shown; it goes on. Show it again with:" in detached.output
    assert detached.output.count("starting Ray for search slow") == 1
    standing = cluster.run("status", "slow")
    assert re.search(r"slow +RUNNING .* metasweep-slow ", standing.output), standing.output

    stopped = cluster.run("stop", "slow")
    assert stopped.code == 0, stopped.output
    assert stopped.output.endswith(f"Go on with:  metasweep resume slow{there}\n")
    assert "does not run: STOPPED" in cluster.run("stop", "slow").output
    refused = cluster.run("submit", "slow.yaml")
    assert refused.code == 2
    assert f"stopped, as job metasweep-slow; go on with it: metasweep resume slow{there}" in (
        refused.output
    )

    left = json.loads((cluster.store / "slow" / "search.json").read_text())
    resumed = cluster.run("resume", "slow", *there.split(), "--time-limit=80s", "--follow")
    assert resumed.code == 0, resumed.output
    assert "query_loss, lower is better" in resumed.output
    assert resumed.output.endswith("slow: SUCCEEDED, as job metasweep-slow-2\n")
    ended = json.loads((cluster.store / "slow" / "search.json").read_text())
    assert (left["state"], ended["state"]) == ("RUNNING", "COMPLETE")
    assert left["run_id"] == ended["run_id"]

    first, second = [job for job in cluster.jobs() if is_of(job, "slow")]
    # What is equal is sent once.
    assert first["runtime_env"]["working_dir"] == second["runtime_env"]["working_dir"]
    shown = cluster.run("status").output
    assert re.search(r"slow +STOPPED .* metasweep-slow ", shown)
    assert re.search(r"slow +SUCCEEDED .* metasweep-slow-2 ", shown)


def follow_for_a_while(cluster: Cluster) -> Done:
    """Follow the slow search through a tunnel that is cut once, then press Ctrl-C."""
    given = {"folder": cluster.folder, "environment": cluster.environment}
    with tunnel(cluster.dashboard) as way:
        address = f"--address=http://127.0.0.1:{way.port}"
        with started("status", "slow", "--follow", address, **given) as follower:
            begun = read_until(follower, "trial-000 ")
            assert way.cut() >= 1
            begun += read_until(follower, "trial-")
            os.killpg(follower.pid, signal.SIGINT)
            rest, _ = follower.communicate(timeout=30)
    return Done(follower.returncode, begun + rest)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read what a process writes, to the end of the next line that holds a text."""
    assert process.stdout is not None
    lines = [""]
    while text not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1], "".join(lines)
    return "".join(lines)


def is_of(job: dict[str, Any], search: str) -> bool:
    return (job.get("metadata") or {}).get("metasweep.search") == search


def test_unknown_search_is_answered_with_those_there_are(cluster: Cluster) -> None:
    for command in ("status", "stop"):
        done = cluster.run(command, "nothing")
        assert done.code == 2
        assert f"nothing: no search of that name on {cluster.address}; there " in done.output


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"RAY_AUTH_TOKEN": "f" * 32}, "the cluster refuses this token"),
        ({"RAY_AUTH_TOKEN": "f\nf"}, "RAY_AUTH_TOKEN: is no token"),
        (
            {"RAY_AUTH_MODE": "disabled"},
            "the cluster asks for a token, and none was sent",
        ),
    ],
    ids=["wrong", "broken", "none"],
)
def test_token_that_does_not_fit_says_what_to_set(
    changed: dict[str, str], complaint: str, cluster: Cluster
) -> None:
    done = cluster.run("status", environment=changed)
    assert done.code == 1
    assert f"{complaint}\nSet RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here" in done.output
    assert changed.get("RAY_AUTH_TOKEN", SECRET) not in done.output


def test_other_ports_of_the_head_are_no_dashboard(cluster: Cluster) -> None:
    address = f"http://127.0.0.1:{cluster.port}"
    # What RAY_ADDRESS and its like say does not count beside the option.
    done = cluster.run("status", f"--address={address}")
    assert done.code == 1
    assert f"error {address}: is not a Ray dashboard; give the port" in done.output


NOWHERE = {"RAY_API_SERVER_ADDRESS": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--trials=0"], "budget.trials: 0"),
        (["--set=networks=[my_learners:nothing]"], "networks: 'my_learners:nothing'"),
        (["--storage=store"], "--storage: store: must be an absolute path, on the cluster"),
        (["--data=data"], "--data: data: must be an absolute path, on the cluster"),
        (
            [
                "--set=problem={task: arrays, shots: 1, query_shots: 1, "
                "options: {file: my.csv, task: unit, target: y}}"
            ],
            "problem.options.file: my.csv: must be an absolute path, on the cluster",
        ),
        (["--tracking-uri=sqlite:///a.db"], "--tracking-uri: sqlite:///a.db: must be an absolute"),
        (["--tracking-uri=http://me:pa55word@host"], "--tracking-uri: http://me:***@host: holds a"),
        (["--set=study_url=postgresql://me:pa55word@db/x"], "study_url: postgresql://me:***@db/x:"),
    ],
)
def test_users_mistake_is_found_before_a_cluster_is_asked(
    options: list[str], complaint: str, tmp_path: Path
) -> None:
    (tmp_path / "slow.yaml").write_text(SPEC)
    shutil.copy(EXTEND / "my_learners.py", tmp_path)
    with fresh_process():
        done = call("submit", "slow.yaml", *options, folder=tmp_path, environment=NOWHERE)
    assert done.code == 2, done.output
    assert done.errors.startswith(f"error {complaint}")
    assert "pa55word" not in done.output


def test_missing_client_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_jobs, "NEEDED", ("aiohttp", "no_such_module"))
    done = call("status", folder=tmp_path, environment=NOWHERE)
    assert done.code == 2
    assert done.errors == (
        "error Ray's job client needs no_such_module: pip install 'metasweep[cluster]'\n"
    )


@pytest.mark.parametrize("option", ["--follow", "--spec=slow.yaml"])
def test_options_of_a_cluster_need_its_address(option: str, tmp_path: Path) -> None:
    done = call("resume", "slow", option, folder=tmp_path)
    assert done.code == 2
    assert (
        f"error {option.partition('=')[0]}: is for a search on a cluster: give its" in done.errors
    )


def test_variable_of_the_cluster_names_the_storage_of_all_commands(tmp_path: Path) -> None:
    store = tmp_path / "kept here"
    environment = {"METASWEEP_STORAGE": str(store)}
    done = call("resume", "nothing", folder=tmp_path, environment=environment)
    assert done.code == 2
    assert done.errors.startswith(f"error nothing: no such search in {store};")
