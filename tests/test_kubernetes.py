"""deploy/kubernetes: the manifests hold together, with each other and with what they start.

The checks are themselves checked: each must notice the fault that is made for it.
"""

from __future__ import annotations

import copy
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
import yaml
from mlflow import environment_variables
from mlflow.server.security_utils import is_allowed_host_header
from packaging.requirements import Requirement
from packaging.version import Version

from tests.command_lines import dry_run, parse
from tests.manifest_checks import OPERATOR, SUBMITTER, problems
from tests.manifests import Manifest, Pod, load, may_reach, name_of, pods
from tests.servers import postgres

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
FOLDER = DEPLOY / "kubernetes"
MANIFESTS = load(FOLDER)
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# The user makes it beforehand, as kustomization.yaml says.
SECRETS = {"metasweep-postgres"}
AUTHENTICATED_SINCE = Version("2.52.0")

HEAD = "RayCluster/metasweep spec.headGroupSpec.template.spec"
WORKERS = "RayCluster/metasweep spec.workerGroupSpecs.0"
MLFLOW = "Deployment/mlflow spec.template.spec"
POSTGRES = "StatefulSet/postgres spec.template.spec"
GONE = object()
FAULTS: list[tuple[str, Any, str]] = [
    ("Service/mlflow metadata.name", "ML_flow", "no DNS label"),
    ("Service/mlflow metadata.name", "postgres", "Service/postgres: 2 of them"),
    ("Service/mlflow metadata.namespace", "default", "namespace default is not metasweep"),
    ("Service/mlflow spec.selector", {"app.kubernetes.io/name": "ml"}, "selects no pod"),
    ("Service/mlflow spec.ports.0.targetPort", "web", "has no port web"),
    ("Service/mlflow spec.ports.0.port", 80, "Service/mlflow has no port 5000"),
    ("Deployment/mlflow spec.selector.matchLabels", {"a": "b"}, "misses its own pods"),
    ("StatefulSet/postgres spec.serviceName", "db", "Service/db does not exist"),
    (f"{MLFLOW}.volumes.0.persistentVolumeClaim.claimName", "x", "PersistentVolumeClaim/x does"),
    (f"{MLFLOW}.containers.0.volumeMounts.0.name", "x", "volume x is not both mounted"),
    (f"{MLFLOW}.containers.0.env.0.valueFrom.secretKeyRef.name", "x", "Secret/x does not exist"),
    (f"{MLFLOW}.containers.0.readinessProbe.httpGet.port", "web", "asks at web"),
    (f"{MLFLOW}.containers.0.livenessProbe", GONE, "no livenessProbe"),
    (f"{MLFLOW}.containers.0.resources.requests.memory", GONE, "no requests of memory"),
    (f"{MLFLOW}.containers.0.image", "metasweep:9", "and 9 elsewhere"),
    (f"{MLFLOW}.containers.0.image", "metasweep", "names no version"),
    (f"{MLFLOW}.securityContext.runAsNonRoot", False, "may run as root"),
    (f"{POSTGRES}.volumes.0.configMap.name", "x", "ConfigMap/x does not exist"),
    (f"{POSTGRES}.containers.0.securityContext", GONE, "may gain privileges"),
    (f"{POSTGRES}.containers.0.env.2", {"name": "POSTGRES_PASSWORD", "value": "x"}, "written out"),
    (f"{HEAD}.containers.0.env.0.value", "http://tracking:5000", "no Service tracking"),
    (f"{HEAD}.containers.0.env.1.value", "postgresql://a:b@postgres:5432/c", "with a password"),
    (f"{HEAD}.containers.0.ports.1.containerPort", 8266, "has no port 8265"),
    (f"{WORKERS}.minReplica", 0, "unknown key minReplica"),
    (f"{WORKERS}.template.spec.containers.0.imagePullPolice", "Always", "unknown key imagePull"),
    ("RayCluster/metasweep apiVersion", "ray.io/v1alpha1", "unknown apiVersion"),
    ("RayJob/omniglot-5way-1shot spec.entryPoint", "true", "unknown key entryPoint"),
    ("RayJob/omniglot-5way-1shot spec.clusterSelector", {"ray.io/cluster": "x"}, "RayCluster/x"),
    ("NetworkPolicy/nothing-else spec.podSelector", {"matchLabels": {"a": "b"}}, "none denies"),
    ("NetworkPolicy/mlflow spec.podSelector", {}, "has no port 5000"),
    ("NetworkPolicy/mlflow spec.ingress.0.from", GONE, "lets everyone in"),
    ("NetworkPolicy/mlflow spec.ingress.0.ports.0.port", 80, "lets it reach mlflow:5000"),
    ("NetworkPolicy/postgres spec.ingress.0.from.0.podSelector", {}, "every pod of a namespace"),
    ("NetworkPolicy/postgres spec.ingress.0.from.1", GONE, "lets it reach postgres:5432"),
    ("NetworkPolicy/postgres metadata.name", "-", "no DNS label"),
]


def with_fault(place: str, value: Any) -> list[Manifest]:
    """Return the manifests with one value replaced, added or taken away."""
    manifests = copy.deepcopy(MANIFESTS)
    name, path = place.split()
    inner: Any = next(manifest for manifest in manifests if name_of(manifest) == name)
    *before, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in before:
        inner = inner[step]
    if value is GONE:
        del inner[last]
    else:
        inner[last] = value
    return manifests


def the(kind: str) -> Manifest:
    """Return the only manifest of a kind."""
    [found] = [manifest for manifest in MANIFESTS if manifest["kind"] == kind]
    return found


def pod(owner: str) -> Pod:
    [found] = [pod for pod in pods(MANIFESTS) if pod.owner == owner]
    return found


def value_of(owner: str, name: str) -> str:
    """Return a variable of a pod."""
    [value] = [v["value"] for v in pod(owner).variables if v["name"] == name]
    return value


def test_manifests_hold_together() -> None:
    assert problems(MANIFESTS, SECRETS) == []


@pytest.mark.parametrize(("place", "value", "expected"), FAULTS)
def test_a_fault_is_noticed(place: str, value: Any, expected: str) -> None:
    found = problems(with_fault(place, value), SECRETS)
    assert any(expected in problem for problem in found), found


def test_a_secret_in_the_tree_is_noticed() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "data": {}}
    assert problems([*MANIFESTS, secret], SECRETS)
    assert problems(MANIFESTS, set())


def test_kustomization_names_every_manifest_but_the_search() -> None:
    files = {file.name for file in FOLDER.glob("*.yaml")} - {"kustomization.yaml", "rayjob.yaml"}
    assert set(KUSTOMIZATION["resources"]) == files
    assert KUSTOMIZATION["namespace"] == the("Namespace")["metadata"]["name"]
    assert the("RayJob")["metadata"]["namespace"] == KUSTOMIZATION["namespace"]
    [image] = KUSTOMIZATION["images"]
    assert image["newTag"] == PROJECT["version"]
    used = {c["image"] for pod in pods(MANIFESTS) for c in pod.containers}
    assert f"{image['name']}:{PROJECT['version']}" in used


def test_kustomization_tells_how_to_make_the_secret() -> None:
    text = (FOLDER / "kustomization.yaml").read_text()
    assert set(re.findall(r"create secret generic ([\w-]+)", text)) == SECRETS
    keys = {
        variable["valueFrom"]["secretKeyRef"]["key"]
        for each in pods(MANIFESTS)
        for variable in each.variables
        if "valueFrom" in variable
    }
    assert keys == set(re.findall(r"--from-file=(\w+)=", text)) == {"password"}
    file = value_of("StatefulSet/postgres", "POSTGRES_PASSWORD_FILE")
    mounts = [
        m["mountPath"] for c in pod("StatefulSet/postgres").containers for m in c["volumeMounts"]
    ]
    assert file.rpartition("/")[0] in mounts
    assert file.rpartition("/")[2] in keys


def test_ray_is_one_version_that_knows_tokens() -> None:
    spec = the("RayCluster")["spec"]
    lines = (DEPLOY / "constraints.txt").read_text().splitlines()
    [pinned] = [line.partition("==")[2] for line in lines if line.startswith("ray==")]
    assert spec["rayVersion"] == pinned
    assert Version(pinned) >= AUTHENTICATED_SINCE
    for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["cluster"]):
        requirement = Requirement(text)
        assert requirement.name != "ray" or requirement.specifier.contains(pinned)
    assert spec["authOptions"] == {"mode": "token"}


def test_gpu_workers_scale_from_zero_and_no_trial_runs_on_the_head() -> None:
    spec = the("RayCluster")["spec"]
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    [workers] = spec["workerGroupSpecs"]
    assert workers["minReplicas"] == workers["replicas"] == 0 < workers["maxReplicas"]
    [container] = workers["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_all_of_ray_and_mlflow_see_the_shared_folder() -> None:
    assert the("PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteMany"]
    claim = the("PersistentVolumeClaim")["metadata"]["name"]
    for each in pods(MANIFESTS):
        if each.owner != "StatefulSet/postgres":
            [volume] = each.spec["volumes"]
            assert volume["persistentVolumeClaim"]["claimName"] == claim
            assert [m["mountPath"] for c in each.containers for m in c["volumeMounts"]] == [
                "/shared"
            ]
    assert value_of("RayCluster/metasweep head", "METASWEEP_STORAGE").startswith("/shared/")


@pytest.mark.parametrize(
    ("who", "owner", "port", "expected"),
    [
        ("RayCluster/metasweep worker", "Deployment/mlflow", 5000, True),
        ("RayCluster/metasweep worker", "StatefulSet/postgres", 5432, False),
        ("RayCluster/metasweep worker", "RayCluster/metasweep head", 6379, True),
        ("RayCluster/metasweep head", "StatefulSet/postgres", 5432, True),
        ("Deployment/mlflow", "StatefulSet/postgres", 5432, True),
        ("Deployment/mlflow", "RayCluster/metasweep head", 8265, False),
        ("StatefulSet/postgres", "Deployment/mlflow", 5000, False),
    ],
)
def test_policies_let_in_who_must_and_nobody_else(
    who: str, owner: str, port: int, expected: bool
) -> None:
    assert may_reach(MANIFESTS, pod(who).labels, owner, port) is expected


def test_strangers_reach_nothing_and_submitters_the_dashboard_only() -> None:
    for each in pods(MANIFESTS):
        for port in each.ports.values():
            assert not may_reach(MANIFESTS, {"app": "stranger"}, each.owner, port)
            assert may_reach(MANIFESTS, SUBMITTER, each.owner, port) is (port == 8265)
            assert not may_reach(MANIFESTS, OPERATOR, each.owner, port)


def test_variables_are_ones_that_are_read() -> None:
    code = "".join(
        file.read_text()
        for package in ("algorithms", "episodes", "search")
        for file in (ROOT / package).rglob("*.py")
    )
    names = {variable["name"] for each in pods(MANIFESTS) for variable in each.variables}
    ours = {name for name in names if name.startswith("METASWEEP_")}
    of_mlflow = {name for name in names if name.startswith("MLFLOW_")}
    assert {name for name in ours if f'"{name}"' not in code} == set()
    assert {name for name in of_mlflow if not hasattr(environment_variables, name)} == set()
    assert names - ours - of_mlflow == {
        *("PGPASSWORD", "PGDATA", "POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD_FILE")
    }


def test_mlflow_answers_to_the_names_that_it_is_called_by() -> None:
    allowed = value_of("Deployment/mlflow", "MLFLOW_SERVER_ALLOWED_HOSTS").split(",")
    called = value_of("RayCluster/metasweep head", "MLFLOW_TRACKING_URI").removeprefix("http://")
    for host in (called, "localhost:5000", "127.0.0.1:5001"):
        assert is_allowed_host_header(allowed, host)
    assert not is_allowed_host_header(allowed, "example.com")


def test_search_of_the_job_is_one_that_metasweep_understands(tmp_path: Path) -> None:
    program, *arguments = shlex.split(the("RayJob")["spec"]["entrypoint"])
    assert program == "metasweep"
    parse(arguments)
    done = dry_run(arguments, tmp_path)
    assert done.code == 0, done.output


@pytest.mark.cluster
def test_databases_open_with_the_password_beside_their_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a real PostgreSQL, set up by the SQL of the ConfigMap."""
    study_url = value_of("RayCluster/metasweep head", "METASWEEP_STUDY_URL")
    [server] = pod("Deployment/mlflow").containers
    [store] = [a.partition("=")[2] for a in server["args"] if a.startswith("--backend-store-uri")]
    with postgres(tmp_path) as database:
        database.create_database(value_of("StatefulSet/postgres", "POSTGRES_DB"))
        engine = sqlalchemy.create_engine(database.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for script in the("ConfigMap")["data"].values():
                connection.exec_driver_sql(script)
        engine.dispose()
        here = f"127.0.0.1:{database.port}"
        monkeypatch.setenv("PGPASSWORD", database.password)
        study = optuna.storages.RDBStorage(study_url.replace("postgres:5432", here))
        study.remove_session()
        study.engine.dispose()
        engine = sqlalchemy.create_engine(store.replace("postgres:5432", here))
        with engine.connect() as connection:
            name = connection.exec_driver_sql("SELECT current_database()").scalar()
        engine.dispose()
    assert name == "mlflow"
