"""A node that exists only in the API server, and what kwok lets become of the pods bound to it."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

NODE = "fake-node"
READY_ANNOTATION = "weir.test/ready"
"""On a pod: "false" makes it run without being Ready; removing it makes the pod Ready."""

# A template of kwok (Go's text/template with sprig) that gives a pod's status; READY is filled in here.
_POD_STATUS = """\
{{ $now := Now }}
phase: Running
startTime: {{ or .status.startTime $now | Quote }}
conditions:
{{ range list "PodScheduled" "PodReadyToStartContainers" "Initialized" }}
- {type: {{ . }}, status: "True", lastTransitionTime: {{ $now | Quote }}}
{{ end }}
{{ range list "ContainersReady" "Ready" }}
- {type: {{ . }}, status: "READY", lastTransitionTime: {{ $now | Quote }}}
{{ end }}
initContainerStatuses:
{{ range .spec.initContainers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: true
  restartCount: 0
  state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: READY_LOWER
  started: true
  restartCount: 0
  state: {running: {startedAt: {{ $now | Quote }}}}
{{ end }}
{{ with NodeIPsWith .spec.nodeName }}
hostIP: {{ index . 0 | Quote }}
hostIPs: [{ip: {{ index . 0 | Quote }}}]
{{ end }}
{{ $addresses := PodIPsWith .spec.nodeName false .metadata.uid .metadata.name .metadata.namespace }}
{{ $address := or .status.podIP (index $addresses 0) }}
podIP: {{ $address | Quote }}
podIPs: [{ip: {{ $address | Quote }}}]
"""


_NODE_STATUS = """\
conditions:
- type: Ready
  status: "True"
  reason: Fake
  message: kwok plays this node
  lastHeartbeatTime: {{ Now | Quote }}
  lastTransitionTime: {{ Now | Quote }}
addresses:
- {type: Hostname, address: {{ .metadata.name | Quote }}}
- {type: InternalIP, address: {{ NodeIP | Quote }}}
"""


def node() -> str:
    """The Node object, with room for 10,000 pods."""
    room = {"cpu": "1000", "memory": "4000Gi", "pods": "10000"}
    labels = {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    status = {"capacity": room, "allocatable": room}
    return json.dumps(
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels}, "status": status}
    )


def stages() -> str:
    """kwok's configuration: pods become Ready (or run unready) at once, and deleted pods go at once."""
    return yaml.safe_dump_all([_node_ready(), _running(ready=True), _running(ready=False), _deleted()], sort_keys=False)


def _node_ready() -> dict[str, Any]:
    # kwok looks at the pods only of nodes that one of its stages is for.
    not_ready = {
        "key": '.status.conditions.[] | select( .type == "Ready" ) | .status',
        "operator": "NotIn",
        "values": ["True"],
    }
    return _stage("Node", "node-ready", [not_ready], {"statusTemplate": _NODE_STATUS})


def _running(ready: bool) -> dict[str, Any]:
    annotation = f'.metadata.annotations["{READY_ANNOTATION}"]'
    wanted = "True" if ready else "False"
    status = _POD_STATUS.replace("READY_LOWER", wanted.lower()).replace('"READY"', f'"{wanted}"')
    return _stage(
        "Pod",
        "pod-ready" if ready else "pod-not-ready",
        [
            {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
            {"key": annotation, "operator": "NotIn" if ready else "In", "values": ["false"]},
            {"key": ".status.phase", "operator": "In", "values": ["Pending", "Running"]},
            {
                "key": '.status.conditions.[] | select( .type == "Ready" ) | .status',
                "operator": "NotIn",
                "values": [wanted],
            },
        ],
        {"statusTemplate": status},
    )


def _deleted() -> dict[str, Any]:
    being_deleted = {"key": ".metadata.deletionTimestamp", "operator": "Exists"}
    return _stage("Pod", "pod-delete", [being_deleted], {"finalizers": {"empty": True}, "delete": True})


def _stage(kind: str, name: str, expressions: list[dict[str, Any]], following: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": expressions},
            "next": dict(following),
        },
    }
