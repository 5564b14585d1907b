"""cluster.yaml: valid for `ray up`, checked without a cloud."""

from __future__ import annotations

import copy
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]
HOME = "/home/ubuntu/metasweep/"


@pytest.fixture
def raw() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


@pytest.fixture
def prepared(raw: dict[str, Any]) -> dict[str, Any]:
    """The configuration as the cluster launcher completes it."""
    return prepare_config(raw)


def test_ray_accepts_it(prepared: dict[str, Any]) -> None:
    validate_config(prepared)


@pytest.mark.parametrize("section", [(), ("auth",), ("available_node_types", "gpu_worker")])
def test_ray_would_refuse_a_misspelt_key(prepared: dict[str, Any], section: list[str]) -> None:
    wrong = copy.deepcopy(prepared)
    inner = wrong
    for name in section:
        inner = inner[name]
    inner["idle_timeout_minute"] = 5
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_minute"):
        validate_config(wrong)


def test_gpu_workers_scale_from_zero(prepared: dict[str, Any]) -> None:
    worker = prepared["available_node_types"]["gpu_worker"]
    assert worker["min_workers"] == 0
    assert worker["max_workers"] == prepared["max_workers"] > 0
    assert worker["resources"]["GPU"] == 1


def test_no_trial_runs_on_the_head(prepared: dict[str, Any]) -> None:
    assert prepared["head_node_type"] == "head"
    assert prepared["available_node_types"]["head"]["resources"] == {"CPU": 0, "GPU": 0}
    start = " ".join(prepared["head_start_ray_commands"])
    assert "--num-cpus=0 --num-gpus=0" in start


def test_every_node_demands_the_token(prepared: dict[str, Any]) -> None:
    assert "/home/ubuntu/.ray/auth_token" in prepared["file_mounts"]
    for commands in (prepared["head_start_ray_commands"], prepared["worker_start_ray_commands"]):
        [start] = [command for command in commands if "ray start" in command]
        assert start.index("RAY_AUTH_MODE=token") < start.index("ray start")


def test_the_dashboard_is_reached_through_a_tunnel_only(prepared: dict[str, Any]) -> None:
    start = " ".join(prepared["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in start
    assert "IpPermissions" not in prepared["provider"].get("security_group", {})


def test_records_are_in_a_server_database_and_a_shared_folder(prepared: dict[str, Any]) -> None:
    head = " ".join(prepared["head_setup_commands"] + prepared["head_start_ray_commands"])
    assert "install -y -qq postgresql" in head
    assert "--backend-store-uri 'postgresql:///mlflow" in head
    assert "METASWEEP_STUDY_URL='postgresql:///optuna" in head
    assert "MLFLOW_TRACKING_URI=http" in head
    assert "/etc/exports.d/metasweep.exports" in head
    for commands in (prepared["worker_setup_commands"], prepared["worker_start_ray_commands"]):
        assert any("mount -t nfs4 $RAY_HEAD_IP:/shared /shared" in command for command in commands)


def test_everything_that_an_installation_needs_is_copied(raw: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.partition(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    needed = packages | {"pyproject.toml", project["project"]["readme"], "LICENSE"}
    copied = {
        remote.removeprefix(HOME): local
        for remote, local in raw["file_mounts"].items()
        if remote.startswith(HOME)
    }
    assert copied == {name: name for name in needed}


def test_every_command_is_valid_shell(prepared: dict[str, Any]) -> None:
    for key, commands in prepared.items():
        if key.endswith("_commands"):
            for command in commands:
                subprocess.run(["bash", "-n", "-c", command], check=True)
