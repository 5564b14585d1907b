"""Kubernetes manifests, the pods that they make, and who may talk to whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml

Manifest = dict[str, Any]


class Pod(NamedTuple):
    """A pod that some manifest makes. owner: such as "Deployment/mlflow"."""

    owner: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        return self.spec["containers"]

    @property
    def variables(self) -> list[dict[str, Any]]:
        """The environment of all containers."""
        return [variable for container in self.containers for variable in container.get("env", [])]

    @property
    def ports(self) -> dict[str, int]:
        """The numbers of all ports by name."""
        return {
            port["name"]: port["containerPort"]
            for container in self.containers
            for port in container.get("ports", [])
        }


def load(folder: Path) -> list[Manifest]:
    """Return all documents of a folder's manifests; kustomization.yaml is not one of them."""
    files = sorted(set(folder.glob("*.yaml")) - {folder / "kustomization.yaml"})
    return [manifest for file in files for manifest in yaml.safe_load_all(file.read_text())]


def name_of(manifest: Manifest) -> str:
    """Return "Kind/name"."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def pods(manifests: list[Manifest]) -> list[Pod]:
    """Return the pods that workloads and KubeRay make, with the labels that they will have."""
    found = []
    for manifest in manifests:
        owner, spec = name_of(manifest), manifest.get("spec", {})
        if manifest["kind"] in ("Deployment", "StatefulSet"):
            template = spec["template"]
            found.append(Pod(owner, template["metadata"]["labels"], template["spec"]))
        elif manifest["kind"] == "RayCluster":
            groups = [("head", spec["headGroupSpec"])]
            groups += [("worker", group) for group in spec["workerGroupSpecs"]]
            for kind, group in groups:
                labels = {
                    "ray.io/cluster": manifest["metadata"]["name"],
                    "ray.io/node-type": kind,
                    "app.kubernetes.io/name": "kuberay",
                }
                found.append(Pod(f"{owner} {kind}", labels, group["template"]["spec"]))
    return found


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector takes a pod; an empty one takes every pod."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for term in selector.get("matchExpressions", []):
        wanted = {"In": labels.get(term["key"]) in term.get("values", [])}
        wanted["Exists"] = term["key"] in labels
        if not wanted[term["operator"]]:
            return False
    return True


def served(service: Manifest, manifests: list[Manifest]) -> list[Pod]:
    """Return the pods that a Service leads to."""
    selector = {"matchLabels": service["spec"]["selector"]}
    return [pod for pod in pods(manifests) if selects(selector, pod.labels)]


def may_reach(manifests: list[Manifest], labels: dict[str, str], owner: str, port: int) -> bool:
    """Whether a pod of the namespace with these labels may open a connection to a pod's port."""
    [pod] = [pod for pod in pods(manifests) if pod.owner == owner]
    rules = [
        rule
        for policy in manifests
        if policy["kind"] == "NetworkPolicy" and selects(policy["spec"]["podSelector"], pod.labels)
        for rule in policy["spec"].get("ingress", [])
    ]
    return any(
        "from" not in rule or any(_is_of_here(peer, labels) for peer in rule["from"])
        for rule in rules
        if "ports" not in rule or port in [allowed["port"] for allowed in rule["ports"]]
    )


def _is_of_here(peer: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a policy's peer takes a pod of its own namespace; ours names others for the rest."""
    return "namespaceSelector" not in peer and selects(peer["podSelector"], labels)
