"""Agents of a namespace: their account, their policy, what they ask for, and what its ledger says."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.case import Case, Spec
from tests.api.harness.lab import Lab
from weir.agent.permits import slot_name
from weir.api.agentpermit import Permit
from weir.api.agentpolicy import PERMIT_LABEL, POLICY_NAME
from weir.api.base import parse_time
from weir.runtime.resources import ACTION_REQUESTS, AGENT_POLICIES, LEASES, SERVICE_ACCOUNTS, KubeObject

ACCOUNT = "tuner"
STOP: Spec = {"name": "stop", "action": "Abort"}


def account(lab: Lab, namespace: str, name: str = ACCOUNT) -> Api:
    """An agent's ServiceAccount with the chart's role for agents; the API server as seen by it."""
    lab.api.create(SERVICE_ACCOUNTS, {"metadata": {"name": name, "namespace": namespace}})
    group = "rbac.authorization.k8s.io"
    lab.apply(
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": f"agent-{name}", "namespace": namespace},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "weir-agent"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        }
    )
    api = Api(lab.kubeconfig_for(namespace, name))
    eventually(partial(_may_ask, api, namespace), f"role of the agent {name}")
    return api


def _may_ask(api: Api, namespace: str) -> bool:
    asked = {"group": "weir.dev", "resource": "actionrequests", "verb": "create", "namespace": namespace}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    return bool(api.call("POST", path, {"spec": {"resourceAttributes": asked}})["status"]["allowed"])


@dataclass
class Agents:
    """One agent, or several, that act on the Rollout of a case."""

    case: Case
    permits: Sequence[Spec] = (STOP,)
    spec: Spec = field(default_factory=dict)
    _known: dict[str, Permit] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.lab, self.namespace = self.case.lab, self.case.namespace
        self.tuner = account(self.lab, self.namespace)
        self.user = f"system:serviceaccount:{self.namespace}:{ACCOUNT}"
        self.policy(self.permits, **self.spec)

    def policy(self, permits: Sequence[Spec], **spec: Any) -> None:
        """Sets the policy, and waits until its guardrails know it."""
        self._known = {permit["name"]: Permit.model_validate(permit) for permit in permits}
        subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": self.namespace}
        content = {"subjects": [subject], "permits": list(permits), **spec}
        if self.lab.api.find(AGENT_POLICIES, self.namespace, POLICY_NAME) is None:
            meta = {"name": POLICY_NAME, "namespace": self.namespace}
            self.lab.api.create(AGENT_POLICIES, {"metadata": meta, "spec": content})
        else:
            self.lab.api.merge(AGENT_POLICIES, self.namespace, POLICY_NAME, {"spec": content})

    def change(self, **spec: Any) -> None:
        """Changes fields of the policy."""
        self.lab.api.merge(AGENT_POLICIES, self.namespace, POLICY_NAME, {"spec": spec})

    def wait_ready(self) -> None:
        """Until the operator has looked at the policy as it is, and nothing is wrong with it."""

        def ready() -> bool:
            found = self.lab.api.get(AGENT_POLICIES, self.namespace, POLICY_NAME)
            status = found.get("status") or {}
            conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
            current = status.get("observedGeneration") == found["metadata"]["generation"]
            return current and conditions.get("Ready") == "True"

        eventually(ready, "the AgentPolicy is ready")

    def name(self, permit: str, slot: int = 0) -> str:
        """The name that a request under a permit with a budget must have now."""
        return slot_name(self._known[permit], time.time(), slot)

    def ask(self, permit: str, *, by: Api | None = None, name: str = "", **fields: Any) -> str:
        """Asks under a permit, as the agent; waits while the policies' copies lag behind. Returns the request's name."""
        name = name or f"{permit}-{self.case.name}-{time.time_ns()}"
        body = self._body(name, permit, fields)

        def created() -> bool:
            try:
                (by or self.tuner).create(ACTION_REQUESTS, body)
            except Failure as failure:
                if "no params found" in failure.message:
                    return False
                raise
            return True

        eventually(created, f"{name} is admitted")
        return name

    def refusal(self, permit: str, **fields: Any) -> str:
        """What the API server would refuse a request with; empty where it would take it."""
        body = {**self._body("would-be", permit, fields), "apiVersion": ACTION_REQUESTS.api_version}
        body["kind"] = ACTION_REQUESTS.kind
        try:
            self.tuner.call("POST", ACTION_REQUESTS.path(self.namespace), body, dryRun="All")
        except Failure as failure:
            return failure.message
        return ""

    def _body(self, name: str, permit: str, fields: Spec) -> KubeObject:
        spec = {"action": self._known[permit].action, "rolloutRef": {"name": self.case.name}, "reason": "test"}
        return {
            "metadata": {"name": name, "namespace": self.namespace, "labels": {PERMIT_LABEL: permit}},
            "spec": {**spec, "permit": permit, **fields},
        }

    def answer(self, action: str, request: str, *, by: Api, **fields: Any) -> str:
        """Answers a request of an agent; returns the answer's name.

        Creation times are whole seconds: an answer in the second in which a policy was first seen counts as older.
        """
        known = parse_time(self.ledger()["observedSince"])
        eventually(lambda: time.time() >= math.ceil(known), "the second after the policy was seen")
        found = self.lab.api.get(ACTION_REQUESTS, self.namespace, request)
        about = {"name": request, "uid": found["metadata"]["uid"], "digest": found["status"]["digest"]}
        rollout = found["spec"]["rolloutRef"]
        return self.case.act(action, by=by, rolloutRef=rollout, request=about, **fields)

    def wait_status(
        self, request: str, look: Callable[[KubeObject], Any], what: str, within: float = 30.0
    ) -> KubeObject:
        """Until the status of a request is so; returns it."""
        last: KubeObject = {}

        def found() -> bool:
            nonlocal last
            last = self.case.request(request).get("status") or {}
            return bool(look(last))

        eventually(found, f"{request}: {what}", within=within)
        return last

    def ledger(self) -> KubeObject:
        """Status of the policy now."""
        found: KubeObject = self.lab.api.get(AGENT_POLICIES, self.namespace, POLICY_NAME).get("status") or {}
        return found

    def condition(self, kind: str) -> KubeObject:
        """One of the policy's conditions; empty when it is not there."""
        return next((c for c in self.ledger().get("conditions") or () if c["type"] == kind), {})

    def renew(self, lease: str = ACCOUNT) -> None:
        """A sign of life, as the administrator."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        if self.lab.api.find(LEASES, self.namespace, lease) is None:
            meta = {"name": lease, "namespace": self.namespace}
            self.lab.api.create(LEASES, {"metadata": meta, "spec": {"holderIdentity": lease, "renewTime": moment}})
        else:
            self.lab.api.merge(LEASES, self.namespace, lease, {"spec": {"renewTime": moment}})
