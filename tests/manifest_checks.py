"""Whether manifests hold together: every name, label, port and image that one refers to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

import yaml

from tests.manifest_keys import unknown_keys
from tests.manifests import Manifest, may_reach, name_of, pods, selects, served

DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
SECRET_NAME = re.compile(r"password|token|secret|credential", re.IGNORECASE)
PASSWORD_IN_URL = re.compile(r"://[^/\s@]*:[^/\s@]+@")
ADDRESS = re.compile(r"(?:://|@)([a-z][-a-z0-9]*):(\d+)\b")
OPERATOR = {"app.kubernetes.io/name": "kuberay-operator"}
SUBMITTER = {"batch.kubernetes.io/job-name": "some-job"}


def problems(manifests: list[Manifest], secrets: set[str]) -> list[str]:
    """Return what does not hold together. secrets: those that the user makes beforehand."""
    found = [problem for manifest in manifests for problem in unknown_keys(manifest)]
    if found:
        return found
    checks: list[Callable[[list[Manifest]], Iterator[str]]] = [
        _names,
        _selectors,
        _service_ports,
        _policies,
        _addresses,
        _containers,
        _images,
        _no_secrets,
        _jobs,
    ]
    found = [problem for check in checks for problem in check(manifests)]
    return found + list(_references(manifests, secrets))


def _names(manifests: list[Manifest]) -> Iterator[str]:
    for name, count in Counter(map(name_of, manifests)).items():
        if not DNS_LABEL.fullmatch(name.partition("/")[2]):
            yield f"{name}: the name is no DNS label"
        if count > 1:
            yield f"{name}: {count} of them"
    [namespace] = [m["metadata"]["name"] for m in manifests if m["kind"] == "Namespace"]
    for manifest in manifests:
        given = manifest["metadata"].get("namespace", namespace)
        if given != namespace:
            yield f"{name_of(manifest)}: namespace {given} is not {namespace}"


def _references(manifests: list[Manifest], secrets: set[str]) -> Iterator[str]:
    exist = {name_of(manifest) for manifest in manifests} | {f"Secret/{name}" for name in secrets}
    for pod in pods(manifests):
        volumes = pod.spec.get("volumes", [])
        wanted = []
        for volume in volumes:
            for source, kind, key in (
                ("secret", "Secret", "secretName"),
                ("configMap", "ConfigMap", "name"),
                ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
            ):
                if source in volume:
                    wanted.append(f"{kind}/{volume[source][key]}")
        for variable in pod.variables:
            if "valueFrom" in variable:
                wanted.append(f"Secret/{variable['valueFrom']['secretKeyRef']['name']}")
        for name in wanted:
            if name not in exist:
                yield f"{pod.owner}: {name} does not exist"
        names = {volume["name"] for volume in volumes} | _claims(manifests, pod.owner)
        mounted = {mount["name"] for c in pod.containers for mount in c.get("volumeMounts", [])}
        for name in mounted ^ names:
            yield f"{pod.owner}: the volume {name} is not both mounted and defined"


def _claims(manifests: list[Manifest], owner: str) -> set[str]:
    return {
        claim["metadata"]["name"]
        for manifest in manifests
        if name_of(manifest) == owner
        for claim in manifest["spec"].get("volumeClaimTemplates", [])
    }


def _selectors(manifests: list[Manifest]) -> Iterator[str]:
    names = set(map(name_of, manifests))
    for manifest in manifests:
        spec = manifest.get("spec", {})
        if manifest["kind"] in ("Deployment", "StatefulSet"):
            if not selects(spec["selector"], spec["template"]["metadata"]["labels"]):
                yield f"{name_of(manifest)}: its selector misses its own pods"
            if f"Service/{spec.get('serviceName')}" not in names and "serviceName" in spec:
                yield f"{name_of(manifest)}: Service/{spec['serviceName']} does not exist"
        if manifest["kind"] == "Service" and not served(manifest, manifests):
            yield f"{name_of(manifest)}: selects no pod"


def _service_ports(manifests: list[Manifest]) -> Iterator[str]:
    for manifest in manifests:
        if manifest["kind"] == "Service":
            for pod in served(manifest, manifests):
                for port in manifest["spec"]["ports"]:
                    if port["targetPort"] not in {*pod.ports, *pod.ports.values()}:
                        yield f"{name_of(manifest)}: {pod.owner} has no port {port['targetPort']}"


def _policies(manifests: list[Manifest]) -> Iterator[str]:
    ours = pods(manifests)
    policies = [m for m in manifests if m["kind"] == "NetworkPolicy"]
    if not any(p["spec"]["podSelector"] == {} and "ingress" not in p["spec"] for p in policies):
        yield "NetworkPolicy: none denies what the others do not allow"
    for policy in policies:
        name, spec = name_of(policy), policy["spec"]
        if spec["policyTypes"] != ["Ingress"]:
            yield f"{name}: does not govern what comes in"
        chosen = [pod for pod in ours if selects(spec["podSelector"], pod.labels)]
        if not chosen:
            yield f"{name}: selects no pod"
        for rule in spec.get("ingress", []):
            if not rule.get("from"):
                yield f"{name}: lets everyone in"
            for port in rule.get("ports", []):
                for pod in chosen:
                    if port["port"] not in pod.ports.values():
                        yield f"{name}: {pod.owner} has no port {port['port']}"
            for peer in rule.get("from", []):
                known = [pod.labels for pod in ours] + [SUBMITTER]
                known = [OPERATOR] if "namespaceSelector" in peer else known
                if not peer.get("podSelector"):
                    yield f"{name}: lets every pod of a namespace in"
                elif not any(selects(peer["podSelector"], labels) for labels in known):
                    yield f"{name}: lets in a pod that does not exist: {peer['podSelector']}"


def _addresses(manifests: list[Manifest]) -> Iterator[str]:
    """Check the addresses of services in variables and arguments, and who may follow them."""
    services = {m["metadata"]["name"]: m for m in manifests if m["kind"] == "Service"}
    for pod in pods(manifests):
        texts = [variable.get("value", "") for variable in pod.variables]
        texts += [text for c in pod.containers for text in c.get("args", [])]
        for text in texts:
            for host, port in ADDRESS.findall(text):
                if host not in services:
                    yield f"{pod.owner}: no Service {host} for {text}"
                elif int(port) not in [p["port"] for p in services[host]["spec"]["ports"]]:
                    yield f"{pod.owner}: Service/{host} has no port {port}"
                else:
                    for server in served(services[host], manifests):
                        if not may_reach(manifests, pod.labels, server.owner, int(port)):
                            yield f"{pod.owner}: no NetworkPolicy lets it reach {host}:{port}"


def _containers(manifests: list[Manifest]) -> Iterator[str]:
    for pod in pods(manifests):
        if pod.spec.get("securityContext", {}).get("runAsNonRoot") is not True:
            yield f"{pod.owner}: may run as root"
        for container in pod.containers:
            resources = container.get("resources", {})
            for kind, names in (("requests", ("cpu", "memory")), ("limits", ("memory",))):
                for name in names:
                    if name not in resources.get(kind, {}):
                        yield f"{pod.owner}: no {kind} of {name}"
            if container.get("securityContext", {}).get("allowPrivilegeEscalation") is not False:
                yield f"{pod.owner}: may gain privileges"
            # KubeRay adds its own probes to Ray's containers.
            for probe in ("readinessProbe", "livenessProbe"):
                if not pod.owner.startswith("RayCluster") and probe not in container:
                    yield f"{pod.owner}: no {probe}"
                port = container.get(probe, {}).get("httpGet", {}).get("port")
                if port is not None and port not in pod.ports:
                    yield f"{pod.owner}: its {probe} asks at {port}, which is no port"


def _images(manifests: list[Manifest]) -> Iterator[str]:
    tags: dict[str, str] = {}
    for pod in pods(manifests):
        for container in pod.containers:
            image, _, tag = container["image"].rpartition(":")
            if not image or tag == "latest":
                yield f"{pod.owner}: {container['image']} names no version"
            elif tags.setdefault(image, tag) != tag:
                yield f"{pod.owner}: {image} {tag} here and {tags[image]} elsewhere"


def _no_secrets(manifests: list[Manifest]) -> Iterator[str]:
    for manifest in manifests:
        if manifest["kind"] == "Secret":
            yield f"{name_of(manifest)}: a secret is no part of the tree"
        if PASSWORD_IN_URL.search(yaml.safe_dump(manifest)):
            yield f"{name_of(manifest)}: an address with a password"
    for pod in pods(manifests):
        for variable in pod.variables:
            value = variable.get("value")
            if value and SECRET_NAME.search(variable["name"]) and not value.startswith("/"):
                yield f"{pod.owner}: {variable['name']} is written out"


def _jobs(manifests: list[Manifest]) -> Iterator[str]:
    clusters = {m["metadata"]["name"] for m in manifests if m["kind"] == "RayCluster"}
    for manifest in manifests:
        if manifest["kind"] == "RayJob":
            wanted = manifest["spec"].get("clusterSelector", {}).get("ray.io/cluster")
            if wanted not in clusters:
                yield f"{name_of(manifest)}: RayCluster/{wanted} does not exist"
