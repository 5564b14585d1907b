"""Faults of disks: one that is full, and files that were cut short."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

from search.disk import PATIENT
from search.trial_folder import TrialFolder
from tests.cli import said_by_now, session_members, wait_until
from tests.faults.audit import Audit, Kept, audit, audit_kept, kept
from tests.faults.machine import allowed
from tests.faults.setting import EPISODES, NAME, Setting, spec

DISK_MB = 48
NO_SPACE = "no space left there"
DAMAGES = ("checkpoint.json", "*.safetensors", "*.parquet")


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system of a few MB; raises NotAllowedError where that is not allowed."""
    folder.mkdir(parents=True)
    allowed("mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def disk_full(setting: Setting) -> Audit:
    """The disk of the storage folder is full for a while, whenever a trial has sealed."""
    times = 4 if setting.full else 2
    unreadable: list[str] = []
    said: list[str] = []
    with small_disk(setting.folder / "metasweep-store") as disk:
        setting.write(spec(4, 2))
        with setting.started(*setting.search()) as driver:
            for number in range(times):
                setting.wait_sealed(number, 1)
                unreadable += fill_for_a_while(setting, disk, number, driver, said)
            last, _ = driver.communicate(timeout=240)
        output = "".join([*said, last])
        found = audit(setting.left, 4, repeat=(0,))
        found.expect(driver.returncode == 0, output[-3000:])
        found.expect("Traceback" not in output, output[-3000:])
        found.wrong += unreadable
    return found


def fill_for_a_while(
    setting: Setting, disk: Path, number: int, driver: Popen[str], said: list[str]
) -> list[str]:
    """Fill a disk for a while, until the driver has told of it.

    Returns what is wrong meanwhile with what a trial has sealed. said: gets what the driver said.
    """
    filler = disk / "filler"
    said.append(said_by_now(driver))
    before, until = len(said), time.monotonic() + 8.0

    def is_told() -> bool:
        said.append(said_by_now(driver))
        return NO_SPACE in "".join(said[before:])

    _fill(filler)
    wait_until(is_told, 200, f"{NO_SPACE!r} of a driver")
    time.sleep(max(0.0, until - time.monotonic()))
    unreadable = _unreadable(setting, number)
    filler.unlink()
    return unreadable


def disk_full_for_long(setting: Setting) -> Audit:
    """A disk stays full for longer than trials wait: the search stops, and `resume` goes on."""
    with small_disk(setting.folder / "metasweep-store") as disk:
        setting.write(spec(3, 2))
        filler = disk / "filler"
        with setting.started(*setting.search()) as driver:
            setting.wait_sealed(0, 1)
            _fill(filler)
            output, _ = driver.communicate(timeout=PATIENT.most + 300)
        complaints = _unreadable(setting, 0)
        filler.unlink()
        done = setting.run("resume", NAME)
        found = audit(setting.left, 3, repeat=(0,))
        found.wrong += complaints
        found.expect(driver.returncode == 1, f"exit code {driver.returncode}: {output[-3000:]}")
        for words in (NO_SPACE, f"metasweep resume {NAME}"):
            found.expect(words in output, f"{words!r} is not in {output[-3000:]}")
        found.expect("Traceback" not in output, output[-3000:])
        found.expect(done.code == 0, done.output[-3000:])
    return found


def disk_full_from_the_start(setting: Setting) -> Audit:
    """A full disk refuses a search in one message, before anything is computed."""
    with small_disk(setting.folder / "metasweep-store") as disk:
        setting.write(spec(1, 1))
        complaints = refused_by_a_full_disk(setting, disk)
        done = setting.run(*setting.search())
        found = audit(setting.left, 1)
        found.wrong += complaints
        found.expect(done.code == 0, done.output[-3000:])
    return found


def refused_by_a_full_disk(setting: Setting, disk: Path) -> list[str]:
    """Start a search on a full disk; return what is wrong with how it is refused."""
    _fill(disk / "filler")
    done = setting.run(*setting.search())
    (disk / "filler").unlink()
    found = Audit()
    found.expect(done.code == 1, f"exit code {done.code}")
    found.expect("Traceback" not in done.output, done.output[-3000:])
    found.expect("no space left" in done.output, done.output[-3000:])
    return found.wrong


def files_cut_short(setting: Setting) -> Audit:
    """A driver is killed, and what its trials wrote last is cut short: the one before is used."""
    # Long trials: none may have ended when the third has sealed twice.
    content = spec(3, 3, budget={"episodes": 5 * EPISODES}, resources={"cpu": 0.5})
    setting.write(content)
    with setting.started(*setting.search()) as driver:
        for number in range(3):
            setting.wait_sealed(number, 2)
        # All at once: who goes on for a moment seals more, on top of what is cut short below.
        for pid in session_members(driver):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        driver.wait()
    before = kept(setting.left)
    for number, pattern in enumerate(DAMAGES):
        cut_short(setting, number, pattern)
        before = but_one(before, number)
    done = setting.run("resume", NAME)
    found = audit(setting.left, 3, repeat=(0, 1, 2))
    audit_kept(found, setting.left, before, interrupted=(0, 1, 2))
    found.expect(done.code == 0, done.output[-3000:])
    return found


def but_one(before: Kept, number: int) -> Kept:
    """Return what may be left of what was kept, where a trial's newest file is cut short."""
    return Kept(before.shards | {number: before.shards[number][:-1]}, before.attempts)


def cut_short(setting: Setting, number: int, pattern: str) -> None:
    """Cut the newest of a trial's files of a kind somewhere."""
    newest = max(setting.trial(number).rglob(pattern), key=lambda file: file.stat().st_mtime_ns)
    whole = newest.read_bytes()
    newest.write_bytes(whole[: setting.rng.randrange(len(whole))])


def _unreadable(setting: Setting, number: int) -> list[str]:
    """Return what is wrong with what a trial has sealed, while its disk is full."""
    folder = TrialFolder(setting.trial(number))
    newest = folder.newest_checkpoint()
    if newest is None:
        return [f"trial {number}: no checkpoint can be read while the disk is full"]
    rows = folder.table()
    trained = int((rows["split"] == "train").sum())
    if trained != newest.snapshot.state["episodes"]:
        return [
            f"trial {number}: {trained} of {newest.snapshot.state['episodes']} episodes are there"
        ]
    return []


def _fill(file: Path) -> None:
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
