"""Faults of processes: they are killed, or stopped for a while, or hang, or are one too many."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time

from tests.cli import session_members, wait_until
from tests.faults.audit import Audit, Kept, audit, audit_kept, kept
from tests.faults.setting import EPISODES, NAME, Setting, spec


def trial_processes(driver: subprocess.Popen[str]) -> dict[int, str]:
    """Return the processes below a driver that run trials: Ray names them after their class."""
    members = session_members(driver)
    return {pid: name for pid, name in members.items() if name.startswith("ray::TrialActor")}


def kill_trials(driver: subprocess.Popen[str]) -> None:
    """SIGKILL all that run trials."""
    for pid in trial_processes(driver):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def driver_killed(setting: Setting) -> Audit:
    """SIGKILL the driver in the midst of a trial, at random moments, and after a trial's end."""
    # Each start of a trial's process takes seconds: shortened, there is one at a time.
    moments, trials, together = (20, 8, 2) if setting.full else (3, 3, 1)
    # Long enough to be interrupted so often.
    longer = {"episodes": 4 * EPISODES, "first_rung": EPISODES // 2} if setting.full else {}
    setting.write(spec(trials, together, budget=longer))
    before: list[Kept] = []
    began, first = time.monotonic(), 0.0
    while len(before) < moments:
        with setting.started(*setting.search()) as driver:
            if not before:
                setting.wait_sealed(0, 2)
                first = time.monotonic() - began
            elif len(before) == moments - 1:
                # The first that must wait for another's end, which is COMPLETE: none is pruned.
                setting.wait_sealed(together, 1)
            else:
                # From before Ray is up to the midst of trials, as long as that takes here.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    driver.wait(setting.rng.uniform(0.1, 1.2) * min(first, 12.0))
                    break  # It was faster than all our moments, which is looked at below.
            driver.kill()
            driver.wait()
        before.append(kept(setting.left))
    if not _is_complete(setting):
        done = setting.run(*setting.search())
        if done.code != 0:
            return Audit(wrong=[f"the last resume: {done.output[-2000:]}"])
    interrupted = [n for n in range(trials) if attempts(setting, n) > 1]
    found = audit(setting.left, trials, repeat=interrupted[:3])
    kills = len(before)
    found.expect(kills == moments, f"the search was over after {kills} kills of {moments}")
    for number, moment in enumerate(before):
        audit_kept(found, setting.left, moment, interrupted=(0,) if number == 0 else ())
    found.expect(bool(before[-1].attempts), "no trial was COMPLETE before the last kill")
    return found


def trial_killed(setting: Setting) -> Audit:
    """SIGKILL the process of a trial, which Ray starts again."""
    trials = 3 if setting.full else 2
    setting.write(spec(trials, 1))
    before: list[Kept] = []
    with setting.started(*setting.search()) as driver:
        for number in range(trials):
            setting.wait_sealed(number, 2)
            before.append(kept(setting.left))
            kill_trials(driver)
        output, _ = driver.communicate(timeout=180)
    found = audit(setting.left, trials, repeat=range(trials) if setting.full else (0,))
    found.expect(driver.returncode == 0, output[-2000:])
    again = [attempts(setting, n) > 1 for n in range(trials)]
    found.expect(all(again), f"not every trial was started again: {again}")
    for number, moment in enumerate(before):
        audit_kept(found, setting.left, moment, interrupted=(number,))
    found.expect("its process died; it is started again" in output, output[-2000:])
    found.expect("Traceback" not in output, output[-4000:])
    return found


def stopped_for_a_while(setting: Setting) -> Audit:
    """SIGSTOP everything, Ray included, for a while; then only the driver and the trials.

    In full, for longer than a trial may tell nothing.
    """
    seconds = 60.0 if setting.full else 8.0
    setting.write(spec(3, 2, budget={"trial_timeout": 45} if setting.full else {}))
    with setting.started(*setting.search()) as driver:
        setting.wait_sealed(0, 1)
        pause(list(session_members(driver)), seconds)
        setting.wait_sealed(0, 3)
        pause([driver.pid, *trial_processes(driver)], 8.0)
        output, _ = driver.communicate(timeout=300)
    found = audit(setting.left, 3, repeat=(0, 1))
    found.expect(driver.returncode == 0, output[-2000:])
    return found


def orphan_wakes_up(setting: Setting) -> Audit:
    """A trial's process sleeps while its driver is killed and another goes on; then it wakes up."""
    setting.write(spec(2, 1))
    with setting.started(*setting.search()) as driver:
        setting.wait_sealed(0, 1)
        [orphan] = trial_processes(driver)
        os.kill(orphan, signal.SIGSTOP)
        driver.kill()
        driver.wait()
        with setting.started(*setting.search()) as second:
            setting.wait_sealed(0, 3)
            # Ray may have ended it with its node; then there is nobody to wake up.
            with contextlib.suppress(ProcessLookupError):
                os.kill(orphan, signal.SIGCONT)
            output, _ = second.communicate(timeout=180)
    found = audit(setting.left, 2, repeat=(0,))
    found.expect(second.returncode == 0, output[-2000:])
    return found


def two_drivers(setting: Setting) -> Audit:
    """Two drivers resume one search at once: one wins, the other says who holds it."""
    rounds, together = (5, 2) if setting.full else (1, 1)
    setting.write(spec(2, together))
    with setting.started(*setting.search()) as driver:
        setting.wait_sealed(0, 1)
        driver.kill()
        driver.wait()
    complaints: list[str] = []
    for _ in range(rounds):
        with setting.started("resume", NAME) as one, setting.started("resume", NAME) as other:
            winner, complaint = winner_of(one, other)
            complaints += complaint
            winner.kill()
            winner.wait()
    done = setting.run("resume", NAME)
    found = audit(setting.left, 2)
    found.expect(done.code == 0, done.output[-2000:])
    found.wrong += complaints
    return found


def winner_of(
    one: subprocess.Popen[str], other: subprocess.Popen[str]
) -> tuple[subprocess.Popen[str], list[str]]:
    """Wait for the end of one of two drivers; return the other, and what the end was wrong in."""
    wait_until(
        lambda: None in (one.poll(), other.poll()) and one.poll() != other.poll(),
        300,
        "the end of one driver",
    )
    loser, winner = (one, other) if one.poll() is not None else (other, one)
    text, _ = loser.communicate()
    held = f"{NAME}: is being driven already, by process {winner.pid} on "
    right = loser.returncode == 2 and held in text
    return winner, [] if right else [f"the loser said: {text[-500:]}"]


def pause(pids: list[int], seconds: float) -> None:
    """SIGSTOP processes, and SIGCONT them so many seconds later."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def attempts(setting: Setting, number: int) -> int:
    """Return how often a trial was begun or gone on with."""
    return len(list((setting.trial(number) / "attempts").glob("*.json")))


def _is_complete(setting: Setting) -> bool:
    file = setting.left.folder / "search.json"
    return file.exists() and '"COMPLETE"' in file.read_text()
