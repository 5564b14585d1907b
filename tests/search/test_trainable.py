from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from episodes import DataError
from search import trainable
from search.errors import UserError
from search.jobs import Job
from search.node import Expected
from search.trainable import UNFIT_NODES, WANTED, TrialActor
from tests.search.small_runs import small_config


def test_ray_is_asked_to_place_trials_elsewhere() -> None:
    asked = [
        TrialActor.default_resource_request({WANTED: {"CPU": 1}, UNFIT_NODES: nodes})
        for nodes in ([], ["a"], ["a", "b"], ["a", "b"])
    ]
    selectors = [request._bound.arguments.get("bundle_label_selector") for request in asked]
    assert selectors[0] is None
    assert selectors[1] == [{"ray.io/node-id": "!in(a)"}]
    assert selectors[2] == [{"ray.io/node-id": "!in(a,b)"}]
    # Tune lends a process to another trial where both ask for the same.
    assert asked[2] == asked[3]
    assert len({*asked}) == 3


@pytest.mark.parametrize("error", [UserError("there is no module waves"), DataError("no data")])
def test_what_cannot_be_loaded_is_another_nodes_fault_but_not_the_drivers_own(
    error: Exception, tmp_path: Path
) -> None:
    actor = object.__new__(TrialActor)
    config = small_config()
    actor._expected = Expected("drivers", "", "", None, config.problem.data_digest, {}, [])
    actor._folder = tmp_path
    actor._node = "drivers"
    assert actor._not_loaded(error, config).phase == "failed"
    actor._node = "another"
    told = actor._not_loaded(error, config)
    assert told.phase == "unfit"
    assert told.reason.startswith("node ")
    assert told.reason.endswith(f": {error}")
    assert actor._not_loaded(KeyError("a mistake of ours"), config).phase == "failed"
    assert actor._not_loaded(MemoryError(), config).phase == "out_of_memory"


def test_a_job_that_was_begun_on_other_data_makes_no_node_unfit(tmp_path: Path) -> None:
    actor = object.__new__(TrialActor)
    actor._expected = Expected("drivers", "", "", None, "newer", {}, [])
    actor._folder, actor._node, actor._unfit, actor._data = tmp_path, "another", "", None
    config = small_config()
    older = replace(config, problem=replace(config.problem, data_digest="older"))
    [told] = actor._run(Job("trial", 3, older, str(tmp_path)))
    assert told.phase == "failed"
    assert "data" in told.reason


@pytest.mark.parametrize("measured", [True, False])
def test_a_job_is_run_as_it_says(
    measured: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(
        trainable, "run_job", lambda *arguments, **options: told.update(options) or iter(())
    )
    actor = object.__new__(TrialActor)
    actor._folder, actor._unfit, actor._data, actor._driver = tmp_path, "", None, "this one"
    actor._publisher = trainable.Publisher(trainable.Tracker("", None))
    job = Job("trial", 3, small_config(), str(tmp_path), room=2)
    assert list(actor._run(replace(job, measured=measured))) == []
    assert told == {"by": "this one", "room": 2, "measured": measured}
