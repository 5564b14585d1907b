"""What becomes of a submission under a name that a cluster knows."""

from __future__ import annotations

from typing import Any

import pytest

from search.errors import UserError
from search.ray_jobs import ClusterJob
from search.submission import check_new, check_same, check_unended, free_id, running_job

AT = " --address http://head:8265"
SPEC: dict[str, Any] = {
    "name": "mine",
    "budget": {"trials": 24, "time_limit": None},
    "space": {"maml/inner_lr": {"low": 0.01, "high": 0.1}},
}


def job(
    state: str, id: str = "metasweep-mine", exit_code: int | None = None, cut_off: bool = False
) -> ClusterJob:
    return ClusterJob(id, "mine", state, 1.0, None, exit_code, cut_off, "", SPEC, None)


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_running_job_is_found(state: str) -> None:
    running = job(state, "metasweep-mine-2")
    assert running_job([job("FAILED"), running]) is running
    assert running_job([job("FAILED"), job("STOPPED"), job("SUCCEEDED")]) is None


def test_equal_specification_is_the_same_search() -> None:
    check_same(job("RUNNING"), {**SPEC, "space": dict(SPEC["space"])}, AT)


def test_other_specification_is_refused_by_its_fields() -> None:
    other = {
        "name": "mine",
        "budget": {"trials": 12, "time_limit": 60.0},
        "space": {"maml/inner_lr": {"low": 0.01, "high": 0.5}, "mlp/width": "w" * 100},
    }
    with pytest.raises(UserError) as refused:
        check_same(job("RUNNING"), other, AT)
    first, *fields, last = str(refused.value).splitlines()
    assert first.startswith("--name: mine: runs already, as job metasweep-mine, with another")
    assert fields == [
        "  budget.time_limit: None there, 60.0 here",
        "  budget.trials: 24 there, 12 here",
        "  space.maml/inner_lr/high: 0.1 there, 0.5 here",
        f"  space.mlp/width: nothing there, {'w' * 57}... here",
    ]
    assert last == f"Give another --name; or stop that one first: metasweep stop mine{AT}"


def test_many_differences_are_cut() -> None:
    with pytest.raises(UserError, match="and 4 more"):
        check_same(job("RUNNING"), SPEC | {f"key{i}": i for i in range(14)}, AT)


def test_ended_search_asks_for_another_name() -> None:
    jobs = [job("STOPPED"), job("SUCCEEDED", "metasweep-mine-2")]
    with pytest.raises(UserError, match="mine: that search has ended, as job metasweep-mine-2"):
        check_new("mine", jobs, AT)
    with pytest.raises(UserError, match="mine: has ended, as job metasweep-mine-2"):
        check_unended("mine", jobs)


@pytest.mark.parametrize(
    ("ended", "how"),
    [
        (job("STOPPED"), "was stopped"),
        (job("FAILED", exit_code=-9), "was cut off"),
        (job("FAILED", cut_off=True), "was cut off"),
    ],
)
def test_interrupted_search_is_to_be_resumed(ended: ClusterJob, how: str) -> None:
    refused_later = job("FAILED", "metasweep-mine-2", exit_code=2)
    with pytest.raises(UserError, match=f"{how}, as job metasweep-mine; .*resume mine{AT}"):
        check_new("mine", [ended, refused_later], AT)
    check_unended("mine", [ended, refused_later])


@pytest.mark.parametrize("refused", [job("FAILED", exit_code=2), job("FAILED")])
def test_search_that_never_began_can_be_submitted_again(refused: ClusterJob) -> None:
    check_new("mine", [], AT)
    check_new("mine", [refused, refused], AT)


def test_search_that_may_not_have_begun_is_left_to_its_driver() -> None:
    check_new("mine", [job("FAILED", exit_code=1)], AT)


def test_ids_are_those_of_no_other_job() -> None:
    assert free_id("mine", []) == "metasweep-mine"
    taken = ["metasweep-mine", "metasweep-mine-2", "metasweep-other"]
    assert free_id("mine", taken) == "metasweep-mine-3"
