"""A namespace with an AgentPolicy and its agents; the API server alone holds them to it, for no operator runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.guarded import Guarded
from weir.agent.permits import slot_name
from weir.api.agentpermit import Permit
from weir.api.agentpolicy import PERMIT_LABEL, POLICY_NAME
from weir.runtime.resources import ACTION_REQUESTS, AGENT_POLICIES, KubeObject

Spec = dict[str, Any]

JOB: Spec = {
    "name": "train",
    "action": "Retrain",
    "object": {"apiVersion": "batch/v1", "kind": "Job", "spec": {"backoffLimit": 0}},
}

PERMITS: tuple[Spec, ...] = (
    {"name": "stop", "action": "Abort", "rollouts": ["digits"]},
    {"name": "back", "action": "Rollback", "budget": {"limit": 100, "window": "24h"}},
    {"name": "shift", "action": "ShiftTraffic", "bounds": {"maxStep": 20, "maxTrafficPercent": 50}},
    {
        "name": "tune",
        "action": "Retrain",
        "template": "train",
        "parameters": [
            {"name": "epochs", "minimum": 1, "maximum": 10, "default": "3"},
            {"name": "data", "values": ["small", "large"]},
            {"name": "note", "default": ""},
        ],
        "budget": {"limit": 3, "window": "24h"},
    },
    {"name": "go", "action": "Promote", "approval": {"tier": "Approve", "quorum": 1}},
    {"name": "half", "action": "Promote", "bounds": {"maxTrafficPercent": 50}},
    {"name": "start", "action": "Release"},
    {"name": "again", "action": "Retry"},
    {"name": "resume", "action": "Resume"},
    {"name": "skip", "action": "Skip", "approval": {"tier": "ManualOnly"}},
    {"name": "hold", "action": "Pause", "subjects": ["pipeline"]},
    {
        "name": "tried",
        "action": "ShiftTraffic",
        "mode": "Audit",
        "bounds": {"maxStep": 5, "maxTrafficPercent": 10},
        "budget": {"limit": 1, "window": "24h"},
    },
)


@dataclass
class Permits(Guarded):
    """Agents `tuner` (a service account) and `pipeline` (a user), and all users in the group `bots`."""

    stamped: bool = True
    """Whether the API server fills in requester and label; else they are written here."""
    witnessed: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.account = f"system:serviceaccount:{self.namespace}:tuner"
        self.tuner = self.agent(self.account)
        self.pipeline = self.agent("pipeline")
        self.probe = self.agent("probe")

    def agent(self, name: str, group: str = "") -> Api:
        """A user with the chart's role for agents."""
        api = self.lab.api.acting_as(name, group)
        self.bind(name, {"kind": "ClusterRole", "name": "weir-agent"})
        eventually(partial(self.may, api, "list"), f"role of {name}")
        return api

    # --- the policy ------------------------------------------------------------------------------------------------

    def spec(self, **changes: Any) -> Spec:
        """The policy's spec; ``None`` leaves a field out."""
        subjects: list[Spec] = [
            {"name": "tuner", "namespace": self.namespace},
            {"kind": "User", "name": "pipeline"},
            {"kind": "Group", "name": "bots"},
        ]
        spec = {
            "subjects": subjects,
            "selector": {"names": ["digits", "letters"]},
            "permits": list(PERMITS),
            "templates": [JOB],
            **changes,
        }
        return {key: value for key, value in spec.items() if value is not None}

    def govern(self, **changes: Any) -> None:
        """Writes the policy, and returns once the API server's policies know it: what they read lags behind."""
        self.witnessed += 1
        mark = f"mark{self.witnessed}"
        spec = self.spec(**changes)
        spec["subjects"] = [*spec["subjects"], {"kind": "User", "name": "probe"}]
        spec["permits"] = [*spec["permits"], {"name": mark, "action": "Pause"}]
        self.write(spec)
        told = "Paused: " if spec.get("paused") else ""
        eventually(lambda: self._answer(mark) == told, f"the policy with {mark} is known")

    def _answer(self, mark: str) -> str:
        refusal = self.refused(self.probe, mark, "Pause")
        return "Paused: " if "Paused: " in refusal else refusal

    def write(self, spec: Spec, by: Api | None = None) -> KubeObject:
        """Creates or replaces the policy; raises Failure."""
        api = by or self.lab.api
        found = self.lab.api.find(AGENT_POLICIES, self.namespace, POLICY_NAME)
        meta = {"name": POLICY_NAME, "namespace": self.namespace}
        if found is None:
            return api.create(AGENT_POLICIES, {"metadata": meta, "spec": spec})
        body = {**found, "spec": spec}
        return api.call("PUT", AGENT_POLICIES.path(self.namespace, POLICY_NAME), body, fieldValidation="Strict")

    def tell_policy(self, status: Mapping[str, Any]) -> None:
        """Writes the policy's status, as the operator would."""
        self.lab.api.merge(AGENT_POLICIES, self.namespace, POLICY_NAME, {"status": status}, status=True)

    # --- requests --------------------------------------------------------------------------------------------------

    def under(
        self,
        by: Api,
        permit: str,
        action: str,
        rollout: str = "digits",
        *,
        name: str = "",
        dry_run: bool = False,
        meta: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> KubeObject:
        """Creates an ActionRequest under a permit; raises Failure. ``name``: by default any that is free."""
        spec = {"action": action, "rolloutRef": {"name": rollout}, "reason": "test", "permit": permit, **fields}
        if not self.stamped:
            spec = {"requester": by.session.headers["Impersonate-User"], **spec}
            meta = labelled(permit) if meta is None else meta
        body = {
            "apiVersion": ACTION_REQUESTS.api_version,
            "kind": ACTION_REQUESTS.kind,
            "metadata": {
                "name": name or f"{permit}-n{next(self._numbers)}",
                "namespace": self.namespace,
                **(meta or {}),
            },
            "spec": {key: value for key, value in spec.items() if value is not None},
        }
        query = {"dryRun": "All"} if dry_run else {}
        return by.call("POST", ACTION_REQUESTS.path(self.namespace), body, fieldValidation="Strict", **query)

    def refused(self, by: Api, permit: str, action: str, rollout: str = "digits", **fields: Any) -> str:
        """What a request would be refused with; empty where it would be admitted."""
        try:
            self.under(by, permit, action, rollout, dry_run=True, **fields)
        except Failure as failure:
            return failure.message
        return ""

    def slot(self, permit: str, number: int, windows_ago: int = 0) -> str:
        """Name of a slot of a permit in the window that it is now, or was."""
        made = next(Permit.model_validate(p) for p in PERMITS if p["name"] == permit)
        return slot_name(made, time.time() - windows_ago * 24 * 3600, number)


def labelled(permit: str) -> Spec:
    """Metadata of a request as a client writes it where the API server does not stamp the label."""
    return {"labels": {PERMIT_LABEL: permit}}
