"""cluster.yaml: valid for `ray up` on AWS and on machines of one's own, checked without either."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import ray.autoscaler
import yaml
from mlflow.server.fastapi_security import get_allowed_hosts
from mlflow.server.security_utils import is_allowed_host_header
from packaging.requirements import Requirement
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.command_lines import bash_blocks, command_lines, dry_run, parse

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "cluster.yaml").read_text()
BLOCKS = re.split(r"(?m)^# ---- .* ----\n", TEXT)
SCHEMA = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
SOURCE = "~/metasweep/"
LOCAL = "local.cluster.node"
Config = dict[str, Any]


def own_machines() -> str:
    """Return the file without the block AWS, and with the other one uncommented."""
    head, _, own, both = BLOCKS
    return head + re.sub(r"(?m)^#", "", own) + both


RAW: dict[str, Config] = {"aws": yaml.safe_load(TEXT), "own": yaml.safe_load(own_machines())}
AWS = RAW["aws"]


@pytest.fixture(params=RAW)
def prepared(request: pytest.FixtureRequest) -> Config:
    """Each configuration, as the cluster launcher completes it."""
    return prepare_config(copy.deepcopy(RAW[request.param]))


def closed_levels(schema: Config, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Find where Ray's schema refuses keys that it does not know; any node type is `gpu_worker`."""
    if schema.get("additionalProperties") is False and "patternProperties" not in schema:
        yield path
    for name, inner in schema.get("properties", {}).items():
        yield from closed_levels(inner, (*path, name))
    for inner in schema.get("patternProperties", {}).values():
        yield from closed_levels(inner, (*path, "gpu_worker"))


CLOSED = list(closed_levels(SCHEMA))


def test_ray_accepts_it(prepared: Config) -> None:
    validate_config(prepared)


def test_ray_refuses_unknown_keys_at_every_level_of_its_own() -> None:
    node = ("available_node_types", "gpu_worker")
    assert {(), ("auth",), ("docker",), ("provider", "security_group"), node} <= set(CLOSED)


@pytest.mark.parametrize("level", CLOSED, ids=lambda level: ".".join(level) or "top")
def test_ray_would_refuse_a_misspelt_key(level: tuple[str, ...]) -> None:
    wrong = prepare_config(copy.deepcopy(AWS))
    inner = wrong
    for name in level:
        inner = inner.setdefault(name, {})
    if level[-1:] == ("gcp_credentials",):
        inner["type"] = "service_account"
    validate_config(wrong)
    inner["idle_timeout_minute"] = 5
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_minute"):
        validate_config(wrong)


@pytest.mark.parametrize("where", RAW)
def test_provider_has_no_key_that_ray_does_not_know(where: str) -> None:
    """Here Ray itself would pass over a misspelt one."""
    assert RAW[where]["provider"].keys() <= SCHEMA["properties"]["provider"]["properties"].keys()


def test_gpu_workers_scale_from_zero() -> None:
    config = prepare_config(copy.deepcopy(AWS))
    worker = config["available_node_types"]["gpu_worker"]
    assert worker["min_workers"] == 0
    assert worker["max_workers"] == config["max_workers"] > 0
    assert worker["resources"]["GPU"] == 1


def test_machines_of_ones_own_are_all_used() -> None:
    raw = RAW["own"]
    nodes = prepare_config(copy.deepcopy(raw))["available_node_types"]
    assert list(nodes) == [LOCAL]
    assert nodes[LOCAL]["min_workers"] == len(raw["provider"]["worker_ips"]) > 0
    assert raw["auth"]["ssh_private_key"]
    assert set(raw) - set(AWS) == set()


def test_no_trial_runs_on_the_head(prepared: Config) -> None:
    if prepared["head_node_type"] != LOCAL:
        assert prepared["available_node_types"]["head"]["resources"] == {"CPU": 0, "GPU": 0}
    assert "--num-cpus=0 --num-gpus=0" in " ".join(prepared["head_start_ray_commands"])


def test_every_node_demands_the_token(prepared: Config) -> None:
    assert "~/.ray/auth_token" in prepared["file_mounts"]
    for commands in (prepared["head_start_ray_commands"], prepared["worker_start_ray_commands"]):
        [start] = [command for command in commands if "ray start" in command]
        assert start.index("RAY_AUTH_MODE=token") < start.index("ray start")


def test_only_the_cluster_and_a_tunnel_reach_its_ports(prepared: Config) -> None:
    start = " ".join(prepared["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in start
    assert "IpPermissions" not in prepared["provider"].get("security_group", {})
    open_to_all = [c for c in prepared["head_start_ray_commands"] if "0.0.0.0" in c]
    for command in open_to_all:
        assert "--property IPAddressDeny=any" in command
        assert '--property "IPAddressAllow=localhost $(cat ~/networks)"' in command
    assert len(open_to_all) == 1
    assert "listen_addresses" not in " ".join(prepared["head_setup_commands"])


@pytest.mark.parametrize("addresses", ["10.0.0.5 172.17.0.1", "203.0.113.7 10.0.0.5"])
def test_mlflow_answers_under_all_names_of_the_head_and_no_other(
    prepared: Config, monkeypatch: pytest.MonkeyPatch, addresses: str
) -> None:
    """By default it answers under private addresses only."""
    commands = prepared["head_start_ray_commands"]
    [serve] = [command for command in commands if "mlflow" in command and "--setenv" in command]
    [tell] = [command for command in commands if "export MLFLOW_TRACKING_URI" in command]
    machine = f"""
      hostname() {{
        case "$*" in -I) echo {addresses} ;; -f) echo head.example.com ;; *) echo head ;; esac
      }}
      cat() {{ echo 203.0.113.0/24; }}
      sudo() {{ printf '%s\n' "$@"; }}
      ray() {{ echo "uri=$MLFLOW_TRACKING_URI"; }}
    """
    said = subprocess.run(
        ["bash", "-c", f"{machine}\n{serve}\n{tell}"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    [hosts] = [line for line in said if line.startswith("MLFLOW_SERVER_ALLOWED_HOSTS=")]
    [uri] = [line.removeprefix("uri=") for line in said if line.startswith("uri=")]
    monkeypatch.setenv(*hosts.split("="))
    allowed = get_allowed_hosts()
    own = [f"{name}:5000" for name in (*addresses.split(), "head", "head.example.com")]
    assert urlsplit(uri).netloc in own
    for host in (*own, "localhost:5000", "127.0.0.1:8080"):
        assert is_allowed_host_header(allowed, host), (host, allowed)
    for host in ("rebound.example.com:5000", "203.0.113.8:5000", ""):
        assert not is_allowed_host_header(allowed, host), (host, allowed)


def test_shared_folder_is_exported_to_the_networks_only(
    prepared: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    commands = prepared["head_setup_commands"]
    [networks] = [command for command in commands if command.endswith("> ~/networks")]
    exports = [command for command in commands if "/etc/exports.d" in command]
    # As on a machine that has never exported anything: its /etc is empty.
    (tmp_path / "etc").mkdir()
    lines = [command.replace("/etc/", f"{tmp_path}/etc/") for command in exports]
    script = "\n".join(["set -e", 'sudo() { "$@"; }', networks, *lines])
    subprocess.run(["bash", "-o", "pipefail", "-c", script], check=True, capture_output=True)
    shown = (tmp_path / "etc" / "exports.d" / "metasweep.exports").read_text().split()
    assert shown[0] == "/shared"
    assert len(shown) > 1
    assert all(re.fullmatch(r"[\d.]+/\d+\(rw,no_subtree_check\)", each) for each in shown[1:])


def test_records_are_in_a_server_database_and_a_shared_folder(prepared: Config) -> None:
    head = " ".join(prepared["head_setup_commands"] + prepared["head_start_ray_commands"])
    assert "install -y -qq postgresql" in head
    assert "--backend-store-uri 'postgresql+psycopg:///mlflow" in head
    assert "METASWEEP_STUDY_URL='postgresql+psycopg:///optuna" in head
    assert "MLFLOW_TRACKING_URI=http" in head
    assert "METASWEEP_STORAGE=/shared/" in head
    for commands in (prepared["worker_setup_commands"], prepared["worker_start_ray_commands"]):
        assert any("mount -t nfs4 $RAY_HEAD_IP:/shared /shared" in command for command in commands)


def test_variables_are_ones_that_metasweep_reads() -> None:
    code = "".join(
        file.read_text()
        for package in ("algorithms", "episodes", "search")
        for file in (ROOT / package).rglob("*.py")
    )
    exported = set(re.findall(r"METASWEEP_[A-Z_]+", TEXT))
    assert len(exported) >= 3
    assert {name for name in exported if f'"{name}"' not in code} == set()


def test_all_nodes_install_one_wheel(prepared: Config) -> None:
    head, worker = prepared["head_setup_commands"], prepared["worker_setup_commands"]
    [build, install, freeze] = [c for c in head if re.search(r"/uv (build|pip)", c)]
    assert build.startswith("rm -rf /shared/wheel && ")
    assert "uv build --wheel --out-dir /shared/wheel ~/metasweep" in build
    assert '"$(ls /shared/wheel/*.whl)[cluster]"' in install
    assert "--constraint ~/metasweep/constraints.txt" in install
    assert freeze.endswith("> /shared/versions.txt")
    [install] = [c for c in worker if re.search(r"/uv (build|pip)", c)]
    assert install.endswith("--requirement /shared/versions.txt")
    assert "~/metasweep" not in " ".join(worker)


def test_everything_that_the_wheel_needs_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.partition(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    needed = packages | {"pyproject.toml", project["project"]["readme"], "LICENSE"}
    copied = {
        remote.removeprefix(SOURCE): local
        for remote, local in AWS["file_mounts"].items()
        if remote.startswith(SOURCE)
    }
    assert copied.pop("constraints.txt") == "deploy/constraints.txt"
    assert copied == {name: name for name in needed}


def test_constraints_agree_with_the_requirements() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {Requirement(text).name: Requirement(text) for text in project["dependencies"]}
    lines = (ROOT / "deploy" / "constraints.txt").read_text().splitlines()
    pinned = {r.name: r for r in map(Requirement, [x for x in lines if x[:1] != "#"])}
    assert pinned.keys() == {"ray", "torch"}
    for name, requirement in pinned.items():
        [exact] = requirement.specifier
        assert exact.operator == "=="
        assert wanted[name].specifier.contains(exact.version.replace("*", "0"))


def test_every_command_is_valid_shell(prepared: Config) -> None:
    for key, commands in prepared.items():
        if key.endswith("_commands"):
            for command in commands:
                subprocess.run(["bash", "-n", "-c", command], check=True)


def test_commands_of_its_comments_are_understood(tmp_path: Path) -> None:
    shown = command_lines(BLOCKS[0])
    assert [name for name, *_ in shown] == ["submit", "status", "stop"]
    for arguments in shown:
        parse(arguments)
    done = dry_run(shown[0], tmp_path)
    assert done.code == 0, done.output


def test_commands_of_the_guide_are_understood() -> None:
    guide = (ROOT / "docs" / "cluster.md").read_text()
    shown = command_lines(bash_blocks(guide))
    assert {"submit", "status", "stop", "resume"} <= {name for name, *_ in shown}
    for arguments in shown:
        parse(arguments)
    for link in re.findall(r"\]\((?!http)([^)]+)\)", guide):
        assert (ROOT / "docs" / link).exists(), link
