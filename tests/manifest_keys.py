"""Which keys a Kubernetes manifest of ours may have: a misspelt one would be ignored or refused.

Of the kinds of Kubernetes itself these are the keys in use here; those of KubeRay's own levels are
complete, as of its version 1.6. A schema maps keys to the schema of their values, which holds for
each item of a list; ANY leaves a value unchecked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

ANY: dict[str, Any] = {}


def _keys(names: str, **nested: dict[str, Any]) -> dict[str, Any]:
    return dict.fromkeys(names.split(), ANY) | nested


REFERENCE = _keys("name key")
ENV = _keys("name value", valueFrom=_keys("", secretKeyRef=REFERENCE))
PROBE = _keys(
    "periodSeconds timeoutSeconds failureThreshold",
    exec=_keys("command"),
    httpGet=_keys("path port"),
)
CONTAINER_SECURITY = _keys("allowPrivilegeEscalation", capabilities=_keys("drop"))
RESOURCES = _keys("", requests=ANY, limits=ANY)
CONTAINER = _keys(
    "name image command args",
    env=ENV,
    ports=_keys("name containerPort"),
    resources=RESOURCES,
    securityContext=CONTAINER_SECURITY,
    startupProbe=PROBE,
    readinessProbe=PROBE,
    livenessProbe=PROBE,
    volumeMounts=_keys("name mountPath readOnly"),
)
VOLUME = _keys(
    "name",
    configMap=_keys("name"),
    secret=_keys("secretName"),
    persistentVolumeClaim=_keys("claimName"),
)
POD_SECURITY = _keys(
    "runAsNonRoot runAsUser runAsGroup fsGroup fsGroupChangePolicy", seccompProfile=_keys("type")
)
POD = _keys(
    "automountServiceAccountToken enableServiceLinks terminationGracePeriodSeconds",
    containers=CONTAINER,
    securityContext=POD_SECURITY,
    tolerations=_keys("key operator effect"),
    volumes=VOLUME,
)
METADATA = _keys("name namespace labels annotations")
TEMPLATE = _keys("", metadata=METADATA, spec=POD)
SELECTOR = _keys("matchLabels", matchExpressions=_keys("key operator values"))
CLAIM = _keys("accessModes storageClassName", resources=RESOURCES)
WORKLOAD = _keys("replicas", selector=SELECTOR, template=TEMPLATE)
PEER = _keys("", podSelector=SELECTOR, namespaceSelector=SELECTOR)

HEAD_GROUP = _keys(
    "headService enableIngress resources labels rayStartParams serviceType", template=TEMPLATE
)
WORKER_GROUP = _keys(
    "suspend groupName replicas minReplicas maxReplicas idleTimeoutSeconds resources labels "
    "rayStartParams scaleStrategy numOfHosts",
    template=TEMPLATE,
)
AUTOSCALER = _keys(
    "image imagePullPolicy idleTimeoutSeconds upscalingMode version env envFrom volumeMounts",
    resources=RESOURCES,
    securityContext=CONTAINER_SECURITY,
)
RAY_CLUSTER = _keys(
    "upgradeStrategy suspend managedBy headServiceAnnotations enableInTreeAutoscaling "
    "gcsFaultToleranceOptions rayVersion",
    authOptions=_keys("enableK8sTokenAuth secretName mode"),
    autoscalerOptions=AUTOSCALER,
    headGroupSpec=HEAD_GROUP,
    workerGroupSpecs=WORKER_GROUP,
)
RAY_JOB = _keys(
    "activeDeadlineSeconds backoffLimit metadata clusterSelector managedBy deletionStrategy "
    "entrypoint runtimeEnvYAML jobId submissionMode entrypointResources entrypointNumCpus "
    "entrypointNumGpus ttlSecondsAfterFinished preRunningDeadlineSeconds "
    "shutdownAfterJobFinishes suspend",
    rayClusterSpec=RAY_CLUSTER,
    submitterPodTemplate=TEMPLATE,
    submitterConfig=_keys("backoffLimit"),
)
SPECS = {
    ("v1", "Namespace"): None,
    ("v1", "ConfigMap"): None,
    ("v1", "PersistentVolumeClaim"): CLAIM,
    ("v1", "Service"): _keys("selector", ports=_keys("name port targetPort protocol")),
    ("apps/v1", "Deployment"): WORKLOAD | _keys("", strategy=_keys("type")),
    ("apps/v1", "StatefulSet"): WORKLOAD
    | _keys("serviceName", volumeClaimTemplates=_keys("", metadata=METADATA, spec=CLAIM)),
    ("networking.k8s.io/v1", "NetworkPolicy"): _keys(
        "policyTypes",
        podSelector=SELECTOR,
        ingress=_keys("", **{"from": PEER}, ports=_keys("protocol port")),
    ),
    ("ray.io/v1", "RayCluster"): RAY_CLUSTER,
    ("ray.io/v1", "RayJob"): RAY_JOB,
}


def unknown_keys(manifest: dict[str, Any]) -> Iterator[str]:
    """Name every key that does not belong where it stands, and a kind that is not ours."""
    kind = (manifest.get("apiVersion"), manifest.get("kind"))
    if kind not in SPECS:
        yield f"unknown apiVersion and kind {kind}"
        return
    spec = SPECS[kind]
    body = {"data": ANY} if spec is None else {"spec": spec}
    schema = _keys("apiVersion kind", metadata=METADATA) | body
    yield from _unknown(manifest, schema, f"{kind[1]}/{manifest['metadata']['name']}")


def _unknown(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    if schema is ANY:
        return
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, dict):
            yield f"{path}: {item!r} is no mapping"
            continue
        for key, inner in item.items():
            if key in schema:
                yield from _unknown(inner, schema[key], f"{path}.{key}")
            else:
                yield f"{path}: unknown key {key}"
