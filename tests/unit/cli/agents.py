"""Namespaces with agents, as a cluster has them."""

from __future__ import annotations

import time
from typing import Any

from tests.unit.cli.apiserver import FakeApi, KubeObject
from tests.unit.cli.objects import DIGEST

AGENT = "system:serviceaccount:agents:oncall"
HOUR = 3600


def policy(*permits: KubeObject, status: KubeObject | None = None, **spec: Any) -> KubeObject:
    """The AgentPolicy of a namespace; by default with one permit of each sort that commands tell apart."""
    given = list(permits) or [
        {"name": "tune", "action": "ShiftTraffic", "budget": {"limit": 3, "window": "1h"}, "bounds": {"maxStep": 10}},
        {"name": "stop", "action": "Abort"},
        {"name": "ship", "action": "Promote", "approval": {"tier": "Approve", "quorum": 2}},
    ]
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {"name": "agents", "generation": 4},
        "spec": {
            "subjects": [{"kind": "ServiceAccount", "namespace": "agents", "name": "oncall", "priority": 5}],
            "permits": given,
            **spec,
        },
        "status": {"observedGeneration": 4, **(status or {})},
    }


def outer(**spec: Any) -> KubeObject:
    """A ClusterAgentPolicy that allows all that the policy above has."""
    limits = [{"action": "ShiftTraffic"}, {"action": "Abort"}, {"action": "Promote"}]
    return {"kind": "ClusterAgentPolicy", "metadata": {"name": "agents"}, "spec": {"limits": limits, **spec}}


def request(name: str, *, phase: str = "", message: str = "", **spec: Any) -> KubeObject:
    """An ActionRequest of the agent."""
    stated = {
        "action": "Promote",
        "permit": "ship",
        "rolloutRef": {"name": "digits"},
        "reason": "all gates pass",
        "requester": AGENT,
        **spec,
    }
    found: KubeObject = {
        "metadata": {"name": name, "uid": f"uid-{name}", "creationTimestamp": "2026-11-21T08:00:00Z"},
        "spec": {key: value for key, value in stated.items() if value is not None},
    }
    return {**found, "status": {"phase": phase, "message": message, "digest": DIGEST}} if phase else found


def waiting(name: str, **fields: Any) -> KubeObject:
    """An entry of the ledger: it waits for two people, and one agreed."""
    consent = {"by": "bob", "at": "2026-11-21T08:01:00Z", "request": f"{name}-approve-1", "generation": 4}
    return {
        "uid": f"uid-{name}",
        "name": name,
        "permit": "ship",
        "action": "Promote",
        "rollout": "digits",
        "by": AGENT,
        "reason": "ApprovalNeeded",
        "message": "1 of 2 people have agreed",
        "since": "2026-11-21T08:00:00Z",
        "digest": DIGEST,
        "quorum": 2,
        "consents": [consent],
        **fields,
    }


def slots(permit: str = "tune", window: int = HOUR) -> tuple[str, str, str]:
    """The names of the three slots of the present window; not within the last seconds of one."""
    while time.time() % window > window - 5:
        time.sleep(0.5)  # until the next window has begun: the command reads the clock after us
    number = int(time.time()) // window
    return f"{permit}-{number}-0", f"{permit}-{number}-1", f"{permit}-{number}-2"


def only(api: FakeApi) -> KubeObject:
    """The one request that was made."""
    [made] = api.all("actionrequests")
    return made
