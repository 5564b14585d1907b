"""Several faults in one search, each in a trial of its own: what takes long is to start one."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from tests.cli import said_by_now, session_members, wait_until
from tests.faults import disks, processes
from tests.faults.audit import Audit, audit, audit_kept, kept
from tests.faults.clock import Clock
from tests.faults.setting import NAME, Setting, spec


def on_one_machine(setting: Setting) -> Audit:
    """Go through what may go wrong on one machine, from a disk that is full before it begins.

    At the end the driver is killed while a trial's process sleeps, a file is cut short, and two
    drivers go on with the search at once.
    """
    with disks.small_disk(setting.folder / "metasweep-store") as disk:
        setting.folder.mkdir(exist_ok=True)
        watch = Clock(setting.folder)
        setting.environment |= watch.environment
        return _on_one_machine(setting, disk, watch)


def on_any_machine(setting: Setting) -> Audit:
    """Do the same with neither a disk nor a clock of its own, for which rights may be lacking."""
    return _on_one_machine(setting, None, None)


def _on_one_machine(setting: Setting, disk: Path | None, watch: Clock | None) -> Audit:
    setting.write(spec(6, 1))
    seen = Audit()
    said: list[str] = []
    if disk is not None:
        seen.wrong += disks.refused_by_a_full_disk(setting, disk)
    with setting.started(*setting.search()) as driver:
        setting.wait_sealed(0, 1)
        if watch is not None:
            watch.set_back_for_a_moment(seen, enough=setting.sealed(1, 1))
        setting.wait_sealed(1, 1)
        killed = kept(setting.left)
        processes.kill_trials(driver)
        setting.wait_sealed(2, 1)
        if disk is not None:
            seen.wrong += disks.fill_for_a_while(setting, disk, 2, driver, said)
        setting.wait_sealed(3, 1)
        processes.pause(list(session_members(driver)), 8.0)
        setting.wait_sealed(3, 3)
        processes.pause([driver.pid, *processes.trial_processes(driver)], 8.0)
        setting.wait_sealed(4, 2)
        [orphan] = processes.trial_processes(driver)
        os.kill(orphan, signal.SIGSTOP)
        driver.kill()
        driver.wait()
        before = kept(setting.left)
        disks.cut_short(setting, 4, setting.rng.choice(disks.DAMAGES))
        said.append(said_by_now(driver))
        with setting.started("resume", NAME) as one, setting.started("resume", NAME) as other:
            winner, complaints = processes.winner_of(one, other)
            wait_until(lambda: processes.attempts(setting, 4) > 1, 300, "another attempt")
            # Ray may have ended it with its node; then there is nobody to wake up.
            with contextlib.suppress(ProcessLookupError):
                os.kill(orphan, signal.SIGCONT)
            output, _ = winner.communicate(timeout=300)
    found = audit(setting.left, 6, repeat=(0, 1, 2, 3, 4))
    found.wrong += seen.wrong + complaints
    audit_kept(found, setting.left, killed, interrupted=(1,))
    # The newest was cut short.
    audit_kept(found, setting.left, disks.but_one(before, 4), interrupted=(4,))
    again = [number for number in range(6) if processes.attempts(setting, number) > 1]
    found.expect(again == [1, 4], f"trials {again} were gone on with")
    found.expect(winner.returncode == 0, output[-2000:])
    told = ["its process died; it is started again"]
    if disk is not None:
        told.append(disks.NO_SPACE)
    for words in told:
        found.expect(words in "".join(said), f"{words!r} is not in {''.join(said)[-3000:]}")
    whole = "".join([*said, output])
    found.expect("Traceback" not in whole, whole[-4000:])
    return found
