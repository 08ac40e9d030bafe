"""How many pods of a pool answer, and why the others do not: read off Deployment, pods and EndpointSlices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weir.api.base import parse_time
from weir.release.observation import Pool, Problem
from weir.runtime.resources import KubeObject
from weir.workload.fetch import ARTIFACT_REASONS
from weir.workload.writes import bounded

SERVICE_LABEL = "kubernetes.io/service-name"
_IMAGE_REASONS = ("ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "ErrImagePull", "ImagePullBackOff")
_CONFIG_REASONS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
# Several pods may be in trouble for several reasons; the first of these is told, whatever the order of the pods.
_SEVERITY = (
    *ARTIFACT_REASONS,
    "OOMKilled",
    "CrashLoopBackOff",
    *_CONFIG_REASONS,
    *_IMAGE_REASONS,
    "ContainerFailed",
    "QuotaExceeded",
    "PodSecurityForbidden",
    "LimitRangeForbidden",
    "PodsNotCreated",
    "Unschedulable",
)
_TERMINAL = frozenset({"ArtifactDigestMismatch", "ArtifactInvalid", "InvalidImageName"})
_BACK_OFF = re.compile(r"[Bb]ack-off (pulling image \"[^\"]*\")?.*")


@dataclass(frozen=True)
class Endpoint:
    """One ready address behind a Service; ``pod`` is the name of its pod, empty where it has none."""

    address: str
    pod: str


def ready_endpoints(service: str, slices: Iterable[KubeObject], pods: Sequence[KubeObject] = ()) -> frozenset[Endpoint]:
    """Addresses that take new requests through the Service: ready, and not of a pod that is on its way out.

    A pod counts once, although it may be in several slices (dual-stack, or while a slice is being rewritten). ``pods``
    are those known; a deleted one counts no more, even while its slice still names it.
    """
    leaving = {pod["metadata"]["name"] for pod in pods if pod["metadata"].get("deletionTimestamp")}
    found: dict[str, Endpoint] = {}
    for item in slices:
        if (item["metadata"].get("labels") or {}).get(SERVICE_LABEL) != service:
            continue
        for endpoint in item.get("endpoints") or []:
            addresses = endpoint.get("addresses") or []
            pod = (endpoint.get("targetRef") or {}).get("name", "")
            if not addresses or pod in leaving or not _takes_requests(endpoint.get("conditions") or {}):
                continue
            known = found.get(pod or addresses[0])
            address = min(addresses[0], known.address) if known else addresses[0]
            found[pod or addresses[0]] = Endpoint(address, pod)
    return frozenset(found.values())


def _takes_requests(conditions: Mapping[str, Any]) -> bool:
    # An absent `ready` means ready, says the EndpointSlice API.
    return conditions.get("ready") is not False and not conditions.get("terminating")


def pool(
    name: str,
    deployment: KubeObject | None,
    pods: Sequence[KubeObject],
    slices: Iterable[KubeObject],
    *,
    external: bool = False,
) -> Pool:
    """The pool as a decision sees it.

    Args:
        name: its name, which is its Service's.
        deployment: its Deployment, None where there is none.
        pods: its pods.
        slices: EndpointSlices of the namespace, or just the Service's.
        external: the user runs the pods; there is no Deployment to look at.
    """
    ready = len(ready_endpoints(name, slices, pods))
    if external:
        missing = Problem("NoReadyEndpoints", f"Service {name} has no ready endpoint")
        return Pool(name, desired=ready, ready=ready, external=True, problem=None if ready else missing)
    if deployment is None:
        return Pool(name, ready=ready)
    desired = int((deployment.get("spec") or {}).get("replicas", 1))
    problem = _problem(deployment, pods) if ready < desired else None
    return Pool(name, desired=desired, ready=ready, problem=problem, ready_since=_ready_since(pods))


def _ready_since(pods: Sequence[KubeObject]) -> float | None:
    """When the youngest of the ready pods became ready."""
    found = [
        parse_time(condition["lastTransitionTime"])
        for pod in pods
        for condition in (pod.get("status") or {}).get("conditions") or []
        if condition.get("type") == "Ready" and condition.get("status") == "True" and "lastTransitionTime" in condition
    ]
    return max(found, default=None)


def _problem(deployment: KubeObject, pods: Sequence[KubeObject]) -> Problem | None:
    found = [problem for item in pods if (problem := pod_problem(item)) is not None]
    refused = _refused(deployment)
    if refused is not None:
        found.append(refused)
    return min(found, key=lambda problem: (_rank(problem.reason), problem.message), default=None)


def _rank(reason: str) -> int:
    return _SEVERITY.index(reason) if reason in _SEVERITY else len(_SEVERITY)


def _refused(deployment: KubeObject) -> Problem | None:
    """Why the API server refuses to create pods (quota, LimitRange, pod security, a bad template)."""
    for condition in (deployment.get("status") or {}).get("conditions") or []:
        if condition.get("type") != "ReplicaFailure" or condition.get("status") != "True":
            continue
        message = bounded(condition.get("message") or "the API server refused to create pods")
        if "exceeded quota" in message or "failed quota" in message:
            return Problem("QuotaExceeded", message)
        if "violates PodSecurity" in message:
            return Problem("PodSecurityForbidden", message)
        if re.search(r"(maximum|minimum) \S+ usage per|limit to request ratio", message):
            return Problem("LimitRangeForbidden", message)
        return Problem("PodsNotCreated", message)
    return None


def pod_problem(pod: KubeObject) -> Problem | None:
    """Why this pod does not serve; None when it does, or is merely starting or going."""
    if pod["metadata"].get("deletionTimestamp"):
        return None
    status = pod.get("status") or {}
    for container in (*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])):
        problem = _container_problem(container)
        if problem is not None:
            return problem
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return Problem("Unschedulable", bounded(condition.get("message") or "no node takes the pod"))
    return None


def _container_problem(container: Mapping[str, Any]) -> Problem | None:
    name, state = container.get("name", ""), container.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    # One that runs again, but is not ready, has not shown yet that it will not end the same way.
    if not container.get("ready") and ended.get("exitCode"):
        return _exit_problem(name, ended, waiting.get("reason"))
    reason = waiting.get("reason", "")
    if reason in _IMAGE_REASONS:
        return _named(reason, f"container {name}: {_stable(waiting.get('message') or reason)}")
    if reason in _CONFIG_REASONS or reason == "CrashLoopBackOff":
        return _named(reason, f"container {name}: {waiting.get('message') or reason}")
    return None


def _exit_problem(name: str, ended: Mapping[str, Any], waiting: str | None) -> Problem | None:
    last_line = (ended.get("message") or "").strip().rpartition("\n")[2]
    artifact = last_line.partition(":")[0]
    if artifact in ARTIFACT_REASONS:
        return _named(artifact, last_line.partition(":")[2].strip())
    code = ended["exitCode"]
    if ended.get("reason") == "OOMKilled":
        return _named("OOMKilled", f"container {name} was killed for exceeding its memory limit (exit code {code})")
    said = f": {last_line}" if last_line else ""
    reason = "CrashLoopBackOff" if waiting == "CrashLoopBackOff" else "ContainerFailed"
    return _named(reason, f"container {name} exits with code {code}{said}")


def _named(reason: str, message: str) -> Problem:
    return Problem(reason, bounded(message), terminal=reason in _TERMINAL)


def _stable(message: str) -> str:
    """The message without the kubelet's growing back-off, which would change the status at every look."""
    return _BACK_OFF.sub(lambda match: match[1] or "cannot be pulled", message)
