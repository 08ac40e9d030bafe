"""The pod template of a version: what the Rollout's template says, the version's runtime, and defaults, in this order.

What the template says wins over what the version says, which wins over Weir's defaults; but the image and the variables
that name model and weights are always the version's, because they are what the release is about.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from weir.api.modelversion import Artifact, ModelVersionSpec, Runtime

CONTAINER = "model"
FETCH_CONTAINER = "fetch"
MODEL_DIR = "/mnt/models"
SOURCE_DIR = "/mnt/source"
DRAIN_SECONDS = 5
"""Seconds that a pod goes on serving after it was told to stop, so that no proxy still sends to it when it does."""

_GRACE_SECONDS = 30
_MODEL_VOLUME = "weir-model"
_SOURCE_VOLUME = "weir-source"
_READY_PATHS = {"OpenInference": "/v2/health/ready", "OpenAI": "/health"}
_CONTAINER_SECURITY: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_POD_SECURITY: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def pod_template(
    template: Mapping[str, Any] | None, content: ModelVersionSpec, labels: Mapping[str, str], fetch_image: str
) -> dict[str, Any]:
    """The complete pod template.

    Args:
        template: ``spec.template`` of the Rollout.
        content: the ModelVersion's spec; its runtime names an image.
        labels: labels that the pods must carry; they win over the template's.
        fetch_image: image of Weir, which fetches the artifact before the server starts.
    """
    result: dict[str, Any] = copy.deepcopy(dict(template or {}))
    _metadata(result, content.runtime, labels)
    spec: dict[str, Any] = result.setdefault("spec", {})
    grace = spec.setdefault("terminationGracePeriodSeconds", _GRACE_SECONDS)
    spec["securityContext"] = {**_POD_SECURITY, **(spec.get("securityContext") or {})}
    if not spec.get("serviceAccountName"):
        # A model server has no business with the API server unless somebody gave it an identity.
        spec.setdefault("automountServiceAccountToken", False)
    containers = spec.get("containers") or []
    given: dict[str, Any] = next((item for item in containers if item.get("name") == CONTAINER), {})
    others = [container for container in containers if container.get("name") != CONTAINER]
    model = _model_container(given, content, grace)
    if content.artifact is not None:
        _add_artifact(spec, model, content.artifact, fetch_image)
    spec["containers"] = [model, *others]
    return result


def _metadata(result: dict[str, Any], runtime: Runtime, labels: Mapping[str, str]) -> None:
    metadata: dict[str, Any] = result.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    metadata["annotations"] = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(runtime.port),
        "prometheus.io/path": "/metrics",
        **(metadata.get("annotations") or {}),
    }


def _model_container(given: Mapping[str, Any], content: ModelVersionSpec, grace: int) -> dict[str, Any]:
    runtime = content.runtime
    probe = _probe(runtime)
    of_version: dict[str, Any] = {
        "command": runtime.command,
        "args": runtime.args,
        "resources": runtime.resources,
    }
    defaults: dict[str, Any] = {
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "readinessProbe": {**probe, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 3},
        "startupProbe": {**probe, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 300},
    }
    drain = min(DRAIN_SECONDS, grace - 1)
    if drain > 0:
        defaults["lifecycle"] = {"preStop": {"sleep": {"seconds": drain}}}
    stated = {name: value for name, value in of_version.items() if value is not None}
    container: dict[str, Any] = {**defaults, **stated, **given, "name": CONTAINER, "image": runtime.image}
    container["ports"] = _merged(
        given.get("ports"), [{"name": "http", "containerPort": runtime.port, "protocol": "TCP"}], "name"
    )
    container["env"] = _env(given.get("env") or [], content)
    container["securityContext"] = {**_CONTAINER_SECURITY, **(given.get("securityContext") or {})}
    return container


def _probe(runtime: Runtime) -> dict[str, Any]:
    path = _READY_PATHS.get(runtime.protocol)
    if path is None:
        return {"tcpSocket": {"port": "http"}}
    return {"httpGet": {"path": path, "port": "http"}}


def _env(given: Sequence[Mapping[str, Any]], content: ModelVersionSpec) -> list[dict[str, Any]]:
    identity = {"MODEL_NAME": content.model_name, "MODEL_VERSION": content.version, "PORT": str(content.runtime.port)}
    if content.artifact is not None:
        identity["MODEL_PATH"] = MODEL_DIR
    of_version = [{"name": var.name, "value": var.value} for var in content.runtime.env or []]
    fixed = [{"name": name, "value": value} for name, value in identity.items()]
    # The version's own variables may rename a path for its server; the template may not change what is served.
    named = {var["name"] for var in fixed}
    free = [var for var in given if var["name"] not in named]
    return _merged(free, _merged(of_version, fixed, "name"), "name")


def _add_artifact(spec: dict[str, Any], model: dict[str, Any], artifact: Artifact, image: str) -> None:
    mounts = [{"name": _MODEL_VOLUME, "mountPath": MODEL_DIR}]
    volumes: list[dict[str, Any]] = [{"name": _MODEL_VOLUME, "emptyDir": {}}]
    if artifact.uri.startswith("pvc://"):
        claim = artifact.uri.removeprefix("pvc://").partition("/")[0]
        source = {"claimName": claim, "readOnly": True}
        volumes.append({"name": _SOURCE_VOLUME, "persistentVolumeClaim": source})
        mounts.append({"name": _SOURCE_VOLUME, "mountPath": SOURCE_DIR})
    readers = [{**mount, "readOnly": True} for mount in mounts]
    # Weights on a claim are linked, not copied: the server needs the claim, too.
    model["volumeMounts"] = _merged(model.get("volumeMounts"), readers, "mountPath")
    spec["volumes"] = _merged(spec.get("volumes"), volumes, "name")
    fetch: dict[str, Any] = {
        "name": FETCH_CONTAINER,
        "image": image,
        "command": ["weir"],
        "args": ["fetch", "--uri", artifact.uri, "--digest", artifact.digest, "--dest", MODEL_DIR],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {**_CONTAINER_SECURITY, "readOnlyRootFilesystem": True},
        "volumeMounts": [mounts[0], *readers[1:]],
    }
    if artifact.credentials is not None:
        fetch["envFrom"] = [{"secretRef": {"name": artifact.credentials.name}}]
    others = [item for item in spec.get("initContainers") or [] if item.get("name") != FETCH_CONTAINER]
    spec["initContainers"] = [fetch, *others]


def _merged(
    strong: Iterable[Mapping[str, Any]] | None, weak: Iterable[Mapping[str, Any]], key: str
) -> list[dict[str, Any]]:
    """Items of both lists by key, the weak list's order first; an item of the strong list replaces its namesake."""
    by_key: dict[Any, dict[str, Any]] = {item[key]: dict(item) for item in weak}
    for position, item in enumerate(strong or []):
        # Items without the key cannot clash; they are kept as they are and the API server judges them.
        by_key[item.get(key, ("unnamed", position))] = dict(item)
    return list(by_key.values())
