"""Faults of trials: they hang, or end in every way that a user's code can make them end."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from search import silence
from tests.cli import session_members, started, wait_until
from tests.faults import unruly
from tests.faults.audit import Audit, audit
from tests.faults.memory import limited
from tests.faults.processes import trial_processes
from tests.faults.setting import EPISODES, Setting, spec

SEARCH_TAKES = 1_700_000_000
"""Bytes of a driver, a trial's process and Ray, which are there before anything is eaten."""

REASONS = {
    unruly.RAISES: ("FAIL", "KeyError: 'a bug in a user's algorithm'|KeyError: "),
    unruly.NAN: ("PRUNED", "training loss is nan at episode"),
    unruly.EXITS: ("FAIL", "its process died 3 times in a row without getting any further"),
    unruly.NO_MEMORY: ("PRUNED", "out of memory: RuntimeError: .*allocate"),
}


def _unruly(setting: Setting, **changes: object) -> dict[str, object]:
    """Return what makes a specification one of the unruly algorithm, put beside it."""
    setting.folder.mkdir(parents=True, exist_ok=True)
    (setting.folder / "unruly.py").write_text(Path(unruly.__file__).read_text())
    fixed = {"inner_lr": 0.01, "outer_lr": 0.001, "inner_steps": 1, "meta_batch_size": 4}
    space = {f"unruly:unruly/{name}": value for name, value in {**fixed, **changes}.items()}
    return {"algorithms": ["unruly:unruly"], "space": space}


def trial_hangs(setting: Setting) -> Audit:
    """A trial hangs: it is stopped after `trial_timeout`, told FAIL, and the search goes on."""
    trials = 8 if setting.full else 2
    # Long enough to import torch on a busy machine.
    limits = {"trial_timeout": 15, "episodes": 700, "first_rung": 350}
    setting.write(spec(trials, 2, budget=limits, **_unruly(setting, trouble=unruly.HANGS)))
    done = setting.run(*setting.search())
    found = audit(setting.left, trials)
    for trial in setting.left.trials():
        reason = trial.user_attrs.get("reason", "")
        found.expect(trial.state.name == "FAIL", f"trial {trial.number} is {trial.state.name}")
        found.expect("told nothing for the trial_timeout, in " in reason, f"reason: {reason}")
        stacks = Path(reason.rpartition("its stacks: ")[2])
        found.expect(stacks.is_file() and "unruly.py" in stacks.read_text(), f"no {stacks}")
    found.expect("no trial has finished" in done.output, done.output[-2000:])
    return found


def node_short_of_memory(setting: Setting) -> Audit:
    """Ray's memory monitor kills a trial: it goes on from its checkpoint, in smaller chunks.

    The monitor looks at the whole machine: where others took or gave back so much meanwhile that
    they, and not the trial, decided who is killed, it is tried again.
    """
    found = Audit()
    for again in range(10):
        folder = setting.folder / str(again)
        found, moved = _short_of_memory(replace(setting, folder=folder))
        if found.clean or moved < unruly.EATEN // 2:
            break
    return found


def _short_of_memory(setting: Setting) -> tuple[Audit, int]:
    """Return what was found, and by how many bytes the memory that others use has moved."""
    limits = {"episodes": 1400, "first_rung": 350}
    setting.write(spec(1, 1, budget=limits, **_unruly(setting, trouble=unruly.HUNGRY)))
    before = _memory_in_use()
    # Between what two and what four episodes eat, on top of what a search itself takes.
    threshold = (before + SEARCH_TAKES + 3 * unruly.EATEN) / _memory()
    setting.environment["RAY_memory_usage_threshold"] = f"{threshold:.4f}"
    setting.environment["RAY_memory_monitor_refresh_ms"] = "50"
    moved = 0
    with setting.started(*setting.search()) as driver:
        while driver.poll() is None:
            own = sum(_resident(pid) for pid in session_members(driver))
            moved = max(moved, abs(_memory_in_use() - own - before))
            time.sleep(0.3)
        output, _ = driver.communicate()
    return _tried_once_more(setting, driver.returncode, output), moved


def trial_killed_by_the_kernel(setting: Setting) -> Audit:
    """The kernel kills a trial that is larger than its container: it goes on, in smaller chunks."""
    limits = {"episodes": 1400, "first_rung": 350}
    setting.write(spec(1, 1, budget=limits, **_unruly(setting, trouble=unruly.HUNGRY)))
    # Between what two and what four episodes eat, on top of what a search itself takes.
    with (
        limited(SEARCH_TAKES + 3 * unruly.EATEN) as prefix,
        setting.started(*setting.search(), prefix=prefix) as driver,
    ):
        output, _ = driver.communicate()
    return _tried_once_more(setting, driver.returncode, output)


def _tried_once_more(setting: Setting, code: int, output: str) -> Audit:
    """Audit a search whose only trial was killed for lack of memory, and then had more room."""
    found = audit(setting.left, 1)
    found.expect(code == 0, output[-2000:])
    for trial in setting.left.trials():
        found.expect(trial.state.name == "COMPLETE", f"{trial.state.name}: {trial.user_attrs}")
    attempts = len(list((setting.trial(0) / "attempts").glob("*.json")))
    found.expect(attempts == 3, f"{attempts} attempts, not killed, told of and tried once more")
    return found


def random_trouble(setting: Setting) -> Audit:
    """Exceptions, NaN, exits and lack of memory, each in one trial of ten: the search completes."""
    trials = 200 if setting.full else 16
    limits = {"episodes": 400, "first_rung": 200}
    # With this seed all four happen among the trials that no result decides upon yet.
    unruly_ones = _unruly(setting, trouble=unruly.RANDOM)
    setting.write(spec(trials, "auto", seed=6, budget=limits, **unruly_ones))
    done = setting.run(*setting.search())
    found = audit(setting.left, trials)
    found.expect(done.code == 0, done.output[-2000:])
    found.expect("Traceback" not in done.output, done.output[-2000:])
    board = setting.run("leaderboard", "faulty", "--format", "json")
    listed = {entry["number"]: entry for entry in json.loads(board.output)["failed"]}
    kinds = set()
    for trial in setting.left.trials():
        luck = trial.params["unruly:unruly/luck"]
        trouble = unruly.trouble_of(unruly.RANDOM, luck)
        if trouble not in REASONS:
            found.expect(trial.number not in listed, f"trial {trial.number} is listed as failed")
            continue
        kinds.add(trouble)
        state, reason = REASONS[trouble]
        told = trial.user_attrs.get("reason", "")
        found.expect(trial.state.name == state, f"trial {trial.number} is {trial.state.name}")
        found.expect(bool(re.match(reason, told)), f"trial {trial.number}: {told}")
        there = listed.get(trial.number, {})
        found.expect(there.get("reason") == told, f"trial {trial.number} is listed as {there}")
    found.expect(kinds == REASONS.keys(), f"only {kinds} happened")
    return found


def _resident(pid: int) -> int:
    """Return the bytes that a process holds in memory for itself; 0 once it has ended."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _memory_in_use() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    [available] = [line for line in lines if line.startswith("MemAvailable:")]
    return _memory() - int(available.split()[1]) * 1024


def trial_cannot_end(setting: Setting) -> Audit:
    """A trial's process is stopped for good: the driver kills it, and the search goes on."""
    timeout, episodes = (30, EPISODES) if setting.full else (6, 2100)
    limits = {"trial_timeout": timeout, "episodes": episodes}
    setting.write(spec(2, 1, budget=limits))
    # Shortened, the driver gives a process that hangs less time to end by itself.
    grace = silence.GRACE if setting.full else 3.0
    code = f"from search import cli, silence; silence.GRACE = {grace}; cli.main()"
    with started(
        *setting.search(), folder=setting.folder, command=(sys.executable, "-c", code)
    ) as driver:
        setting.wait_sealed(0, 1)
        [stopped] = trial_processes(driver)
        os.kill(stopped, signal.SIGSTOP)
        most = timeout + grace + 60
        wait_until(lambda: stopped not in trial_processes(driver), most, "a kill")
        output, _ = driver.communicate(timeout=180)
    found = audit(setting.left, 2)
    found.expect(driver.returncode == 0, output[-2000:])
    hung, other = setting.left.trials()
    reason = hung.user_attrs.get("reason", "")
    found.expect(hung.state.name == "FAIL", f"the trial that was stopped is {hung.state.name}")
    told = "hung: it told nothing for the trial_timeout: its process did not answer"
    found.expect(reason == told, f"reason: {reason}")
    found.expect(other.state.name == "COMPLETE", f"the other trial is {other.state.name}")
    return found
