"""The digits model in a namespace of its own: artifact store, three versions, live traffic through the gateway."""

from __future__ import annotations

from typing import Any

from testbed.cluster import Cluster, wait_for
from testbed.install import DIGITS_IMAGE

GATEWAY = {"name": "weir", "namespace": "weir-gateway"}
GATEWAY_URL = "http://traefik.weir-gateway"
STORE = "digits-store"
LOAD = "digits-load"
SERVER = "digits-server"


def namespace(name: str) -> dict[str, Any]:
    """A namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _deployment(name: str, space: str, args: list[str], port: int, env: dict[str, str]) -> list[dict[str, Any]]:
    labels = {"app": name}
    container = {
        "name": "main",
        "image": DIGITS_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": args,
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "ports": [{"name": "http", "containerPort": port}],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1, "timeoutSeconds": 5},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = {
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    meta = {"name": name, "namespace": space, "labels": labels}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta,
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": labels, "ports": [{"name": "http", "port": port, "targetPort": "http"}]},
        },
    ]


def store(space: str) -> list[dict[str, Any]]:
    """The artifact store, as a user's object store would be."""
    return _deployment(STORE, space, ["store"], 8080, {})


def load(space: str, host: str, rate: float, url: str = GATEWAY_URL, burst: float = 1.0) -> list[dict[str, Any]]:
    """Live traffic: held-out rows through the gateway at ``rate`` requests a second, ``burst`` at once on average.

    ``url``: instead of the gateway's. Without a gateway it takes new connections for a Service to spread requests.
    ``send`` changes the rows while it runs.
    """
    env = {"TARGET_URL": url, "HOST_HEADER": host, "RATE": str(rate), "BURST": str(burst), "MODEL_NAME": "digits"}
    env["REUSE_CONNECTIONS"] = str(url == GATEWAY_URL).lower()
    return _deployment(LOAD, space, ["load"], 8081, env)


def server(space: str, version: str) -> list[dict[str, Any]]:
    """A model server that the user runs, and its Service `digits-server`."""
    env = {"MODEL_NAME": "digits", "MODEL_VERSION": version, "MODEL_PATH": f"/models/{version}"}
    return _deployment(SERVER, space, ["serve"], 8080, env)


def index(cluster: Cluster, space: str) -> dict[str, Any]:
    """What the store holds: file, digest and held-out accuracy of each version."""
    found: dict[str, Any] = cluster.http(space, STORE, "http", "models/index.json")
    return found


def ready(cluster: Cluster, space: str, name: str) -> None:
    """Waits until a Deployment is available."""
    cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", space, "--timeout=120s", timeout=130)


def summary(cluster: Cluster, space: str) -> dict[str, Any]:
    """What the load generator saw since it started or was reset."""
    found: dict[str, Any] = cluster.http(space, LOAD, "http", "summary")
    return found


def send(cluster: Cluster, space: str, inputs: str) -> None:
    """From now on the load generator sends ``brighter`` or ``inverted`` images, or the ``heldout`` rows again."""
    cluster.http(space, LOAD, "http", f"inputs/{inputs}", method="POST")


def profile(cluster: Cluster, space: str) -> dict[str, Any]:
    """The reference profile that training made, by which every server counts its inputs and answers."""
    found: dict[str, Any] = cluster.http(space, STORE, "http", "models/profile.json")
    return found


def wait_served(cluster: Cluster, space: str, version: str, requests: int = 20) -> None:
    """Waits until a version has answered that many requests of the load generator."""

    def served() -> bool:
        seen = summary(cluster, space)["by_version"].get(version, {})
        answered: int = seen.get("ok", 0) + seen.get("failed", 0)
        return answered >= requests

    wait_for(f"{requests} requests served by {version}", served, timeout=60)


def model_version(
    space: str, name: str, version: str, artifact: dict[str, Any], *, stored_in: str = "", **runtime: Any
) -> dict[str, Any]:
    """A ModelVersion of the digits model whose weights come from the store; ``runtime`` adds to spec.runtime.

    ``stored_in``: namespace of the store, by default the ModelVersion's own.
    """
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {"name": name, "namespace": space},
        "spec": {
            "model": "digits",
            "version": version,
            "artifact": {
                "uri": f"http://{STORE}.{stored_in or space}:8080/models/{artifact['file']}",
                "digest": artifact["digest"],
            },
            "runtime": {"image": DIGITS_IMAGE, "args": ["serve"], **runtime},
        },
    }


def rollout(space: str, name: str, version: str, host: str, **spec: Any) -> dict[str, Any]:
    """A Rollout of the digits model behind the shared Gateway; ``spec`` adds to or replaces fields."""
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name, "namespace": space},
        "spec": {
            "versionRef": {"name": version},
            "replicas": 2,
            "traffic": {"gateway": {"parentRefs": [GATEWAY], "hostnames": [host]}},
            **spec,
        },
    }
