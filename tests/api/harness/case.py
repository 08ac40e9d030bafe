"""One Rollout in a namespace of its own, and what tests say and ask of it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.api.harness import gateway
from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.lab import Lab
from weir.runtime.resources import (
    ACTION_REQUESTS,
    MODEL_VERSIONS,
    ROLLOUT_RECORDS,
    ROLLOUTS,
    KubeObject,
)

Spec = dict[str, Any]

ERRORS: Spec = {
    "name": "errors",
    "template": "http-errors",
    "max": "0.05",
    "interval": "500ms",
    "minSamples": 20,
}
CANARY: Spec = {
    "canary": {"steps": [{"weight": 20, "minDuration": "500ms"}, {"weight": 50, "minDuration": "500ms"}], "bake": "1s"}
}
SLOW: Spec = {
    "canary": {"steps": [{"weight": 20, "minDuration": "10m"}, {"weight": 50, "minDuration": "10m"}], "bake": "10m"}
}
"""A canary that stays in each stage for as long as a test lasts."""

BLUE_GREEN: Spec = {
    "blueGreen": {
        "preview": {"minDuration": "500ms", "requestsPerSecond": 0},
        "bake": "1s",
    }
}


def gateway_traffic(hostname: str) -> Spec:
    """spec.traffic of a Rollout behind the lab's gateway."""
    parents = [{"name": gateway.NAME, "namespace": gateway.NAMESPACE}]
    return {"gateway": {"parentRefs": parents, "hostnames": [hostname]}}


def merged(base: Spec, changes: Spec) -> Spec:
    """``base`` with the top-level fields of ``changes``; None leaves a field out."""
    spec = copy.deepcopy(base) | changes
    return {name: value for name, value in spec.items() if value is not None}


def _pods(cpu: str) -> Spec:
    return {"spec": {"containers": [{"name": "model", "resources": {"limits": {"cpu": cpu}}}]}}


@dataclass
class Case:
    """A namespace with ModelVersions v1, v2 … and one Rollout."""

    lab: Lab
    namespace: str = ""
    name: str = "digits"
    spec: Spec = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    def __post_init__(self) -> None:
        self.namespace = self.namespace or self.lab.make_namespace()

    # --- what users do ---------------------------------------------------------------------------------------------

    def version(self, name: str, **runtime: Any) -> None:
        """Creates a ModelVersion whose label is its name."""
        content = {"image": f"registry.example/digits:{name}", "protocol": "HTTP", **runtime}
        body = {
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"model": "digits", "version": name, "runtime": content},
        }
        self.lab.api.create(MODEL_VERSIONS, body)

    def create(self, version: str = "v1", **changes: Any) -> None:
        """Creates the Rollout: a canary of two steps and one gate on errors, unless said otherwise."""
        base = {
            "versionRef": {"name": version},
            "replicas": 2,
            "traffic": gateway_traffic(f"{self.name}.{self.namespace}.test"),
            "strategy": CANARY,
            "gates": [ERRORS],
            "metrics": self.metrics(),
            "rollback": {"drain": "1s", "keepFor": "10m"},
            "progressDeadline": "2m",
        }
        self.spec = merged(base, changes)
        body = {"metadata": {"name": self.name, "namespace": self.namespace}, "spec": self.spec}
        self.lab.api.create(ROLLOUTS, body)

    def create_broken(self) -> None:
        """Creates it with pods that the API server refuses, and returns once it stalls; ``mend`` it."""
        self.create(template=_pods("-1"))
        self.wait(lambda _: self.condition("Stalled").get("status") == "True", "it stalls")

    def mend(self) -> None:
        """Its pods are as they should be."""
        self.patch(template=_pods("1"))

    def metrics(self, address: str = "main", **fields: Any) -> Spec:
        """spec.metrics that asks one of the lab's Prometheus addresses."""
        url = address if address.startswith("http") else self.lab.prometheus.address(address)
        return {"prometheus": {"address": url, "interval": "250ms", "timeout": "1s", **fields}}

    def patch(self, **fields: Any) -> None:
        """Changes fields of the spec."""
        self.lab.api.merge(ROLLOUTS, self.namespace, self.name, {"spec": fields})

    def release(self, version: str) -> None:
        """Asks for another version."""
        self.patch(versionRef={"name": version})

    def act(self, action: str, *, by: Api | None = None, name: str = "", **fields: Any) -> str:
        """Creates an ActionRequest, as the administrator or another user; returns its name."""
        name = name or f"{self.name}-{action.lower()}-{next(self._numbers)}"
        spec = {"action": action, "rolloutRef": {"name": self.name}, "reason": "test", **fields}
        body = {"metadata": {"name": name, "namespace": self.namespace}, "spec": spec}
        (by or self.lab.api).create(ACTION_REQUESTS, body)
        return name

    def approve(self, approval: str, *, by: Api, **fields: Any) -> str:
        """Consents to what the Rollout's status says the approval is about now; returns the request's name."""

        def consent() -> str:
            found = next(a for a in self.status()["approvals"] if a["name"] == approval)
            about = {"name": approval, "digest": found["digest"]}
            try:
                return self.act("Approve", by=by, **{"approval": about, **fields})
            except Failure as failure:
                # The policies read a copy of the Rollout that lags behind a little.
                if "waits for no approval" in failure.message or "is not what approval" in failure.message:
                    return ""
                raise

        return eventually(consent, f"the API server takes the consent to {approval}")

    def serve_first(self, **changes: Any) -> None:
        """v1 serves all traffic; v2 is there to be released."""
        self.version("v1")
        self.version("v2")
        self.create(**changes)
        self.wait_ready()

    # --- what they see ---------------------------------------------------------------------------------------------

    def rollout(self) -> KubeObject:
        """The Rollout now."""
        return self.lab.api.get(ROLLOUTS, self.namespace, self.name)

    def status(self) -> KubeObject:
        """Its status now."""
        return self.rollout().get("status") or {}

    def condition(self, kind: str) -> KubeObject:
        """One of its conditions; empty when it is not there."""
        return next((c for c in self.status().get("conditions", []) if c["type"] == kind), {})

    def wait_ready(self, within: float = 40.0) -> None:
        """Until the desired version serves all traffic."""
        self.wait(lambda status: self._ready_now(), "Ready", within)

    def _ready_now(self) -> bool:
        found = self.rollout()
        status = found.get("status") or {}
        ready: KubeObject = next((c for c in status.get("conditions", []) if c["type"] == "Ready"), {})
        version = (status.get("stable") or {}).get("version")
        return ready.get("status") == "True" and version == found["spec"]["versionRef"]["name"]

    def wait_phase(self, phase: str, within: float = 40.0) -> KubeObject:
        """Until it is in that phase; returns the status."""
        return self.wait(lambda status: status.get("phase") == phase, f"phase {phase}", within)

    def wait_reason(self, reason: str, within: float = 30.0) -> KubeObject:
        """Until its condition Ready gives that reason; returns the condition."""
        self.wait(lambda _: self.condition("Ready").get("reason") == reason, f"reason {reason}", within)
        return self.condition("Ready")

    def wait_for_stage(self, stage: str) -> KubeObject:
        """Until that stage of v2 has begun and its weight is in the route; returns the status."""

        def there(status: KubeObject) -> bool:
            state = status.get("stage") or {}
            return bool(state.get("name") == stage and self.weights().get("v2") == state["weight"] == status["weight"])

        return self.wait(there, f"{stage} in place")

    def wait(self, look: Any, what: str, within: float = 40.0) -> KubeObject:
        """Until ``look(status)`` is true; returns the status."""
        last: KubeObject = {}

        def found() -> bool:
            nonlocal last
            last = self.status()
            return bool(look(last))

        try:
            eventually(found, what, within=within)
        except AssertionError as error:
            shown = {k: last.get(k) for k in ("phase", "message", "weight", "hold", "stage", "gates", "conditions")}
            raise AssertionError(f"{self.namespace}/{self.name}: {error}: {shown}") from None
        return last

    def weights(self) -> dict[str, int]:
        """Version label → weight, as the route says."""
        status = self.status()
        arms = [status.get("stable"), status.get("candidate"), *status.get("retained", [])]
        labels = {arm["pool"]: arm["label"] for arm in arms if arm}
        route = self.lab.gateway.weights(self.namespace, self.name)
        return {labels.get(pool, pool): weight for pool, weight in route.items()}

    def request(self, name: str) -> KubeObject:
        """An ActionRequest now."""
        return self.lab.api.get(ACTION_REQUESTS, self.namespace, name)

    def answer(self, name: str, within: float = 30.0) -> KubeObject:
        """The status of an ActionRequest once it is final."""

        def ended() -> KubeObject:
            found: KubeObject = self.request(name).get("status") or {}
            return found if found.get("phase", "Pending") not in ("Pending", "Running") else {}

        return eventually(ended, f"the answer to {name}", within=within)

    def handled(self) -> list[KubeObject]:
        """Every entry that status.handledRequests ever had, oldest first; no status may tell one differently."""
        found: dict[str, KubeObject] = {}
        for rollout in self.lab.history.of(self.namespace, self.name):
            for entry in reversed((rollout.get("status") or {}).get("handledRequests") or []):
                assert found.setdefault(entry["uid"], entry) == entry
        return list(found.values())

    def records(self) -> list[KubeObject]:
        """Its records, oldest first."""
        found = self.lab.api.list(ROLLOUT_RECORDS, self.namespace)
        return sorted(
            (r for r in found if r["spec"]["rollout"] == self.name), key=lambda record: int(record["spec"]["release"])
        )

    def kubectl_wait(self, condition: str, seconds: int = 30) -> None:
        """kubectl wait, as users do; raises when the condition does not come."""
        self.lab.server.kubectl(
            "wait",
            f"--for=condition={condition}",
            f"rollouts.weir.dev/{self.name}",
            "--namespace",
            self.namespace,
            f"--timeout={seconds}s",
        )
