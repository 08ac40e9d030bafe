"""The objects of a pool: one Deployment and one Service per version, and the writes that bring them about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weir.api.modelversion import ModelVersionSpec
from weir.release.observation import RolloutView
from weir.runtime.resources import DEPLOYMENTS, ROLLOUTS, SERVICES, KubeObject
from weir.workload.compare import covers
from weir.workload.identity import derived_name, label_value, short_revision
from weir.workload.podtemplate import FETCH_CONTAINER, pod_template
from weir.workload.writes import Write

WORKLOAD_MANAGER = "weir-workload"
SCALE_MANAGER = "weir-scale"
LABEL_ROLLOUT = "weir.dev/rollout"
LABEL_POOL = "weir.dev/pool"
LABEL_MODEL = "weir.dev/model"
LABEL_VERSION = "weir.dev/version"
LABEL_REVISION = "weir.dev/revision"
ANNOTATION_RENDERING = "weir.dev/rendering"
RENDERING = "1"
"""Number of the way pods are rendered. Pods rendered in another way are left alone until their next release, so that an
upgrade of Weir restarts no model server."""
SERVICE_PORT = 80
"""Port of the Services that Weir makes; they lead to the container port named ``http``."""


@dataclass(frozen=True)
class PoolRequest:
    """What is needed to render a pool: whose it is, its name and revision, and the version it runs."""

    rollout: RolloutView
    pool: str
    revision: str
    content: ModelVersionSpec
    fetch_image: str

    @property
    def external(self) -> bool:
        """Whether the user runs the pods, and the pool is only the Service they named."""
        return self.content.runtime.service_ref is not None


def owner_reference(rollout: RolloutView) -> dict[str, Any]:
    """The reference by which an object goes when the Rollout goes; it does not hold the Rollout's deletion up."""
    return {
        "apiVersion": ROLLOUTS.api_version,
        "kind": ROLLOUTS.kind,
        "name": rollout.name,
        "uid": rollout.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def owned_by(obj: KubeObject, rollout: RolloutView) -> bool:
    """Whether the object's controller is this very Rollout (not a namesake that existed before)."""
    references = obj["metadata"].get("ownerReferences") or []
    return any(reference.get("uid") == rollout.uid and reference.get("controller") for reference in references)


def rollout_labels(rollout: RolloutView) -> dict[str, str]:
    """Labels of every object that Weir makes for a Rollout."""
    name = label_value(rollout.name)
    return {"app.kubernetes.io/managed-by": "weir", "app.kubernetes.io/part-of": name, LABEL_ROLLOUT: name}


def pool_labels(request: PoolRequest) -> dict[str, str]:
    """Labels of a pool's Deployment, Service and pods; metrics carry the version by them."""
    return {
        **rollout_labels(request.rollout),
        "app.kubernetes.io/name": request.content.model,
        LABEL_POOL: request.pool,
        LABEL_MODEL: request.content.model,
        LABEL_VERSION: request.content.version,
        LABEL_REVISION: short_revision(request.revision),
    }


def deployment(request: PoolRequest) -> KubeObject:
    """The pool's Deployment, without replicas: those have a manager of their own."""
    labels = pool_labels(request)
    template = pod_template(request.rollout.spec.template, request.content, labels, request.fetch_image)
    return {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": DEPLOYMENTS.kind,
        "metadata": {
            **_metadata(request.rollout, request.pool, labels),
            "annotations": {ANNOTATION_RENDERING: RENDERING},
        },
        "spec": {
            "selector": {"matchLabels": {LABEL_POOL: request.pool}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": template,
        },
    }


def pool_service(request: PoolRequest) -> KubeObject:
    """The pool's Service: exactly the pods of one version."""
    return service(request.rollout, request.pool, {LABEL_POOL: request.pool}, pool_labels(request))


def preview_service(rollout: RolloutView, pool: str) -> KubeObject:
    """``<rollout>-preview``: the Service by which people reach the candidate before the switch."""
    return service(rollout, derived_name(rollout.name, "preview"), {LABEL_POOL: pool}, rollout_labels(rollout))


def service(
    rollout: RolloutView,
    name: str,
    selector: Mapping[str, str],
    labels: Mapping[str, str],
    *,
    annotations: Mapping[str, str] | None = None,
    target_port: int | str = "http",
) -> KubeObject:
    """A ClusterIP Service of this Rollout on `SERVICE_PORT`."""
    metadata = _metadata(rollout, name, labels)
    if annotations:
        metadata["annotations"] = dict(annotations)
    port = {"name": "http", "port": SERVICE_PORT, "protocol": "TCP", "targetPort": target_port}
    return {
        "apiVersion": SERVICES.api_version,
        "kind": SERVICES.kind,
        "metadata": metadata,
        "spec": {"selector": dict(selector), "ports": [port]},
    }


def _metadata(rollout: RolloutView, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": rollout.namespace,
        "labels": dict(labels),
        "ownerReferences": [owner_reference(rollout)],
    }


def pool_writes(
    request: PoolRequest,
    replicas: int,
    *,
    render: bool,
    live_deployment: KubeObject | None,
    live_service: KubeObject | None,
) -> tuple[Write, ...]:
    """The writes that bring a pool about; none when it is as it should be.

    ``render``: the pods may be created from the current spec; without it a missing Deployment stays missing, since what
    the spec says now may be another release's. A pool that the user runs needs no write.
    """
    if request.external:
        return ()
    writes = []
    namespace = request.rollout.namespace
    if render:
        wanted_service = pool_service(request)
        if live_service is None or not covers(live_service, wanted_service):
            writes.append(Write("apply", SERVICES, namespace, request.pool, wanted_service, WORKLOAD_MANAGER))
        wanted = deployment(request)
        if live_deployment is None or _drifted(live_deployment, wanted):
            writes.append(Write("apply", DEPLOYMENTS, namespace, request.pool, wanted, WORKLOAD_MANAGER))
    # A Deployment that is created without replicas gets one from the API server.
    current = live_deployment["spec"].get("replicas", 1) if live_deployment else 1
    if current != replicas and (live_deployment is not None or render):
        writes.append(scale_write(request.rollout, request.pool, replicas, live_deployment))
    return tuple(writes)


def scale_write(rollout: RolloutView, pool: str, replicas: int, live: KubeObject | None = None) -> Write:
    """Set the number of a pool's pods and nothing else; needs neither ModelVersion nor template."""
    metadata: dict[str, Any] = {"name": pool, "namespace": rollout.namespace}
    if live is not None:
        # Without it, scaling a Deployment that was deleted meanwhile would try to create one.
        metadata["uid"] = live["metadata"]["uid"]
    body = {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": DEPLOYMENTS.kind,
        "metadata": metadata,
        "spec": {"replicas": replicas},
    }
    return Write("apply", DEPLOYMENTS, rollout.namespace, pool, body, SCALE_MANAGER)


def removal_writes(
    rollout: RolloutView, live_deployment: KubeObject | None, live_service: KubeObject | None
) -> tuple[Write, ...]:
    """Delete a pool's objects, as far as they are this Rollout's; a Service that the user runs is never touched."""
    found = ((SERVICES, live_service), (DEPLOYMENTS, live_deployment))
    return tuple(
        Write("delete", resource, rollout.namespace, obj["metadata"]["name"], uid=obj["metadata"]["uid"])
        for resource, obj in found
        if obj is not None and owned_by(obj, rollout) and not obj["metadata"].get("deletionTimestamp")
    )


def _drifted(live: KubeObject, wanted: KubeObject) -> bool:
    annotations = live["metadata"].get("annotations") or {}
    if annotations.get(ANNOTATION_RENDERING, RENDERING) != RENDERING:
        return False
    return not covers(_without_fetch_image(live), _without_fetch_image(wanted))


def _without_fetch_image(obj: KubeObject) -> KubeObject:
    """The Deployment without the image of Weir's own init container, which changes with every upgrade of Weir."""
    template = obj["spec"]["template"]
    inits = [
        {name: value for name, value in container.items() if name != "image"}
        if container.get("name") == FETCH_CONTAINER
        else container
        for container in template["spec"].get("initContainers") or []
    ]
    pod = {**template["spec"], "initContainers": inits}
    return {**obj, "spec": {**obj["spec"], "template": {**template, "spec": pod}}}
