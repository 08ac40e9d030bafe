"""Where an agent's request stands with the namespace's AgentPolicy, as its status (the ledger) says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from weir.api.action import TemplateAction
from weir.api.agentpolicy import PAUSED_LABEL, POLICY_NAME
from weir.api.base import parse_time
from weir.release.observation import Permission
from weir.runtime.resources import KubeObject

PAUSED = "paused"
"""Value of the label ``weir.dev/agents`` that stops the agents of a namespace."""

NO_POLICY = f"there is no AgentPolicy named {POLICY_NAME} in this namespace: no agent may act, and nobody answers this"
"""What is said of requests that only a policy could answer."""

NOT_YET = "the AgentPolicy has not looked at it yet"
"""What is said of a request that the ledger does not know."""


def asks_policy(request: KubeObject) -> bool:
    """Whether the policy has to do with the request: it names a permit, or answers another one."""
    return bool(request["spec"].get("permit") or request["spec"].get("request"))


def answered_by_policy(request: KubeObject) -> bool:
    """Whether the policy, and no Rollout, writes what becomes of the request."""
    spec = request["spec"]
    return bool(spec.get("request")) or spec.get("action") in get_args(TemplateAction)


def in_force(policy: KubeObject | None) -> bool:
    """Whether there is a policy that stays."""
    return policy is not None and not policy["metadata"].get("deletionTimestamp")


def namespace_paused(namespace: KubeObject | None) -> bool:
    """Whether the label of the namespace stops its agents."""
    labels = (namespace or {"metadata": {}})["metadata"].get("labels") or {}
    return bool(labels.get(PAUSED_LABEL) == PAUSED)


def switched_off(namespace: KubeObject | None, outer: KubeObject | None) -> bool:
    """Whether the namespace or the ClusterAgentPolicy stops agents; the ledger may not know it yet."""
    return namespace_paused(namespace) or bool(((outer or {}).get("spec") or {}).get("paused"))


def permission(policy: KubeObject | None, uid: str, now: float) -> Permission | None:
    """Whether the request with that uid may be executed. ``now``: seconds since the epoch.

    None where the ledger does not say: it does not know the request yet, was made under an older generation of the
    policy, or its grant is over. Nothing may be executed then.
    """
    if policy is None or not in_force(policy):
        return Permission("Denied", NO_POLICY)
    status: Mapping[str, Any] = policy.get("status") or {}
    if status.get("observedGeneration") != policy["metadata"].get("generation"):
        return None
    denied = _entry(status, "denied", uid)
    if denied is not None:
        return Permission("Denied", str(denied["message"]))
    granted = _entry(status, "granted", uid)
    if granted is not None:
        until = parse_time(granted["until"])
        return Permission("Granted", _consent(granted), until) if now < until else None
    waiting = _entry(status, "waiting", uid)
    if waiting is None:
        return None
    until_text = waiting.get("until")
    return Permission("Waiting", str(waiting["message"]), parse_time(until_text) if until_text else None)


def _consent(granted: Mapping[str, Any]) -> str:
    """Who agreed to what was granted, for people; empty where nobody had to."""
    people = ", ".join(str(consent["by"]) for consent in granted.get("consents") or ())
    overridden = granted.get("overriddenBy") or ""
    said = [f"approved by {people}" if people else "", f"waits overruled by {overridden}" if overridden else ""]
    return "; ".join(text for text in said if text)


def _entry(status: Mapping[str, Any], part: str, uid: str) -> Mapping[str, Any] | None:
    return next((entry for entry in status.get(part) or () if entry["uid"] == uid), None)
