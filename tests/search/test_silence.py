from __future__ import annotations

from search.silence import GRACE, NOTICE, Silence, Standstill


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def looking(silence: Silence, clock: Clock, seconds: float, running: list[str]) -> list[str]:
    """Ask every second, and return what was ever too long silent."""
    found: list[str] = []
    for _ in range(round(seconds)):
        clock.now += 1.0
        found += silence.too_long(running)
    return found


def test_a_job_may_be_silent_for_the_time_out_and_a_grace() -> None:
    clock = Clock()
    silence = Silence(30.0, clock)
    assert looking(silence, clock, 30 + GRACE, ["a", "b"]) == []
    silence.broken("a")
    assert looking(silence, clock, 2, ["a", "b"]) == ["b"]
    # It was dealt with, and counts anew.
    assert looking(silence, clock, 20, ["a", "b"]) == []


def test_a_job_that_waits_is_not_silent() -> None:
    clock = Clock()
    silence = Silence(30.0, clock)
    assert looking(silence, clock, 1000, []) == []
    assert looking(silence, clock, 30 + GRACE, ["a"]) == []


def test_who_was_stopped_itself_has_heard_nothing() -> None:
    clock = Clock()
    silence = Silence(30.0, clock)
    looking(silence, clock, 5, ["a"])
    clock.now += 3600.0
    assert looking(silence, clock, 80, ["a"]) == []
    assert looking(silence, clock, 20, ["a"]) == ["a"]


def test_without_a_time_out_nothing_is_too_long() -> None:
    clock = Clock()
    silence = Silence(None, clock)
    assert looking(silence, clock, 10_000, ["a"]) == []


def test_a_standstill_is_noticed_once_until_something_runs() -> None:
    clock = Clock()
    standstill = Standstill(clock)

    def noticed(seconds: float, *, waiting: bool = True, running: bool = False) -> int:
        count = 0
        for _ in range(round(seconds)):
            clock.now += 1.0
            count += standstill.begins(waiting=waiting, running=running)
        return count

    assert noticed(NOTICE) == 0
    assert noticed(10 * NOTICE) == 1
    assert noticed(2 * NOTICE, running=True) == 0
    assert noticed(2 * NOTICE) == 1
    # Whoever waits for suggestions alone has nothing that could run.
    assert noticed(2 * NOTICE, waiting=False) == 0
