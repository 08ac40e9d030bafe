"""Agents in a namespace: who they are, what they may do, how they ask, and how a model is trained anew."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import yaml

from testbed.cluster import ROOT, CommandFailed, wait_for
from testbed.contracts import CLAIM, storage
from testbed.scenario import ROLLOUT, Space, User

POLICY = "agents"
_GROUP = "rbac.authorization.k8s.io"
_SAMPLE = ROOT / "manifests" / "samples" / "agents" / "retrain.yaml"
_TRAINER = "digits-trainer"
_ENDED = ("Succeeded", "Refused", "Expired", "Failed")


def account(space: Space, name: str) -> User:
    """A ServiceAccount with the role of agents."""
    meta = {"name": name, "namespace": space.name}
    space.cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        _binding(space, f"agent-{name}", "weir-agent", {"kind": "ServiceAccount", **meta}),
    )
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{space.name}", "system:authenticated")
    return User(f"system:serviceaccount:{space.name}:{name}", groups)


def person(space: Space, name: str, role: str) -> User:
    """Somebody with one of the chart's roles."""
    subject = {"kind": "User", "apiGroup": _GROUP, "name": name}
    space.cluster.apply(_binding(space, f"{name}-{role}", role, subject))
    return User(name)


def _binding(space: Space, name: str, role: str, subject: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": space.name},
        "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }


def govern(space: Space, agents: Sequence[str], permits: Sequence[dict[str, Any]], **spec: Any) -> None:
    """Puts an AgentPolicy in force; returns when Weir accepts it and the API server's guardrails are installed."""
    subjects = [{"name": name, "namespace": space.name} for name in agents]
    space.cluster.apply(
        {
            "apiVersion": "weir.dev/v1alpha1",
            "kind": "AgentPolicy",
            "metadata": {"name": POLICY, "namespace": space.name},
            "spec": {"subjects": subjects, "permits": list(permits), **spec},
        }
    )
    for condition in ("Accepted", "GuardrailsInstalled"):
        kind = f"agentpolicies.weir.dev/{POLICY}"
        space.cluster.kubectl(
            "wait", f"--for=condition={condition}", kind, "-n", space.name, "--timeout=90s", timeout=100
        )


def ledger(space: Space) -> dict[str, Any]:
    """Status of the AgentPolicy."""
    found = space.cluster.get("agentpolicies.weir.dev", POLICY, space.name) or {}
    return found.get("status") or {}


def requests(space: Space, action: str = "", rule: str = "") -> list[dict[str, Any]]:
    """ActionRequests, oldest first; of one action, and of one rule of the policy."""
    found = space.cluster.list("actionrequests.weir.dev", space.name)
    mine = [r for r in found if action in ("", r["spec"]["action"]) and rule in ("", r["spec"].get("rule", ""))]
    return sorted(mine, key=lambda r: (r["metadata"]["creationTimestamp"], r["metadata"]["name"]))


def ask(space: Space, by: User, permit: str, action: str, **fields: Any) -> str:
    """Asks for something under a permit, as an agent does; returns the request's name. Raises CommandFailed."""
    name = f"{permit}-{time.time_ns() // 1_000_000}"
    meta = {"name": name, "namespace": space.name, "labels": {"weir.dev/permit": permit}}
    spec = {"action": action, "rolloutRef": {"name": ROLLOUT}, "reason": "test", "permit": permit, **fields}
    document = {"apiVersion": "weir.dev/v1alpha1", "kind": "ActionRequest", "metadata": meta, "spec": spec}
    space.cluster.kubectl("create", "-f", "-", *by.words(), stdin=json.dumps(document))
    return name


def answer(space: Space, by: User, action: str, request: dict[str, Any]) -> str:
    """Approves, denies or overrides what was asked for; returns the name of the answer. Raises CommandFailed."""
    meta, digest = request["metadata"], (request.get("status") or {}).get("digest")
    about = {"name": meta["name"], "uid": meta["uid"], **({"digest": digest} if digest else {})}
    name = f"{action.lower()}-{time.time_ns() // 1_000_000}"
    spec = {"action": action, "rolloutRef": request["spec"]["rolloutRef"], "reason": "looks right", "request": about}
    document = {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "ActionRequest",
        "metadata": {"name": name, "namespace": space.name},
        "spec": spec,
    }
    space.cluster.kubectl("create", "-f", "-", *by.words(), stdin=json.dumps(document))
    return name


def ended(space: Space, name: str, timeout: float = 60.0) -> dict[str, Any]:
    """Status of a request once it is final."""

    def final() -> dict[str, Any] | None:
        found = space.cluster.get("actionrequests.weir.dev", name, space.name) or {}
        status: dict[str, Any] = found.get("status") or {}
        return status if status.get("phase") in _ENDED else None

    return wait_for(f"the end of {name}", final, timeout=timeout)


def events(space: Space, reason: str) -> list[str]:
    """What Events of that reason say in the namespace."""
    found = space.cluster.list("events.events.k8s.io", space.name)
    return [event.get("note", "") for event in found if event.get("reason") == reason]


# --- a sign of life ------------------------------------------------------------------------------------------------


@dataclass
class Heartbeat:
    """An agent that renews its Lease every ``every`` seconds until it falls silent, or its ``with`` block ends."""

    space: Space
    lease: str
    every: float = 3.0
    _silent: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._renew()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.fall_silent()

    def fall_silent(self) -> None:
        """No renewal any more."""
        self._silent.set()
        if self._thread is not None:
            self._thread.join(30)

    def _run(self) -> None:
        while not self._silent.wait(self.every):
            try:
                self._renew()
            except CommandFailed:
                continue

    def _renew(self) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        self.space.cluster.apply(
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self.lease, "namespace": self.space.name},
                "spec": {"holderIdentity": "agent", "leaseDurationSeconds": 15, "renewTime": now},
            }
        )


# --- training ------------------------------------------------------------------------------------------------------


def training(space: Space) -> dict[str, Any]:
    """The sample's template, which trains on recent traffic in a Job and makes a ModelVersion of it.

    What such a Job needs is made, too. Different from the sample are only the claim and the Job's user.
    """
    text = _SAMPLE.read_text().replace("digits-models", CLAIM).replace("namespace: default", f"namespace: {space.name}")
    sample = [document for document in yaml.safe_load_all(text) if document]
    rights = [made for made in sample if made["metadata"]["name"] == _TRAINER]
    for made in rights:
        made["metadata"]["namespace"] = space.name
    space.cluster.apply(*storage(space.name, "1Gi"), *rights)
    policy = next(made for made in sample if made["kind"] == "AgentPolicy")
    template: dict[str, Any] = next(t for t in policy["spec"]["templates"] if t["name"] == "train")
    # The folder of the node belongs to root.
    template["object"]["spec"]["template"]["spec"]["securityContext"] |= {"runAsUser": 0, "runAsNonRoot": False}
    return template


def sweep(space: Space) -> None:
    """Removes the volume that belonged to training; its claim goes with the namespace."""
    space.cluster.kubectl("delete", "persistentvolume", space.name, "--wait=false", "--ignore-not-found")
