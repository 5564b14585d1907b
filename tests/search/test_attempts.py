from __future__ import annotations

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from search.attempts import Attempts, SupersededError
from search.kernel_kills import KernelKills


def test_attempts_are_counted(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path / "attempts")
    assert attempts.newest() == 0
    assert [attempts.claim() for _ in range(3)] == [1, 2, 3]
    assert attempts.newest() == 3


def test_no_two_processes_make_the_same_attempt(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        claimed = list(pool.map(lambda _: Attempts(tmp_path / "attempts").claim(), range(64)))
    assert sorted(claimed) == list(range(1, 65))


def test_only_the_newest_attempt_goes_on(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path / "trial-007" / "attempts")
    first = attempts.claim()
    attempts.check(first)
    second = attempts.claim()
    attempts.describe(second, "driver", "")
    attempts.check(second)
    with pytest.raises(SupersededError, match=r"trial-007: taken over by process \d+ on \S+"):
        attempts.check(first)


def test_only_attempts_of_one_driver_at_one_checkpoint_in_a_row_are_in_vain(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path)
    for by, begins_at in [("a", "x"), ("a", ""), ("a", "x"), ("b", "x"), ("a", "x"), ("a", "x")]:
        attempts.describe(attempts.claim(), by, begins_at)
    last = attempts.claim()
    assert attempts.in_vain(last, "a", "x") == 2
    assert attempts.in_vain(last, "a", "y") == 0
    assert attempts.in_vain(last, "c", "x") == 0


def test_an_attempt_of_which_only_the_name_was_written_still_counts(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path)
    first = attempts.claim()
    attempts.describe(first, "a", "")
    attempts.claim()
    with pytest.raises(SupersededError):
        attempts.check(first)


def test_memory_ran_out_where_the_kernel_killed_during_the_attempt_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = Attempts(tmp_path)
    told = [
        KernelKills("one", "group", 3),
        KernelKills("one", "group", 4),
        KernelKills("one", "group", 4),
        KernelKills("one", "another group", 9),
        KernelKills("two", "another group", 10),
        None,
    ]
    found = []
    for now in told:
        monkeypatch.setattr(KernelKills, "here", lambda now=now: now)
        number = attempts.claim()
        found.append(attempts.memory_ran_out(number, "driver"))
        attempts.describe(number, "driver", "")
    assert found == [False, True, False, False, False, False]
    monkeypatch.setattr(KernelKills, "here", lambda: KernelKills("two", "another group", 11))
    assert not attempts.memory_ran_out(6, "another driver")
    assert attempts.memory_ran_out(6, "driver")


def test_an_attempt_notes_which_counter_it_has_read(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path)
    attempts.describe(attempts.claim(), "driver", "")
    [file] = tmp_path.iterdir()
    here = KernelKills.here()
    assert here is not None
    assert json.loads(file.read_text())["kernel_kills"] == {
        "boot": here.boot,
        "counter": here.counter,
        "count": here.count,
    }


def test_a_folder_of_attempts_that_cannot_be_read_supersedes_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = Attempts(tmp_path)
    number = attempts.claim()

    def refuse(path: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as patch:
        for call in ("listdir", "scandir"):
            patch.setattr(os, call, refuse)
        with pytest.raises(PermissionError):
            attempts.check(number)
    attempts.check(number)
