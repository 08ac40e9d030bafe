"""What a policy may let a hostile agent do: the judge of what the API server has stored.

Written from the promises alone, not from the admission policies: whatever was let through by one way or another is
judged by it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from weir.api.agentpolicy import PERMIT_LABEL
from weir.api.base import parse_time
from weir.runtime.resources import KubeObject

Spec = dict[str, Any]
_STATED = {"Release", "Promote", "Retry", "Skip", "Resume", "ShiftTraffic"}
_ANSWERS = ("Approve", "Deny", "Override")
_SECONDS = {"10m": 600, "1h": 3600}

TEMPLATE: Spec = {
    "name": "train",
    "action": "Retrain",
    "object": {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [
                        {"name": "train", "image": "registry.example/train:1", "args": ["${parameters.epochs}"]}
                    ],
                }
            }
        },
    },
}
PERMITS: list[Spec] = [
    {"name": "halt", "action": "Abort", "rollouts": ["letters"], "budget": {"limit": 6, "window": "1h"}},
    {
        "name": "shift",
        "action": "ShiftTraffic",
        "bounds": {"maxStep": 20, "maxTrafficPercent": 40},
        "budget": {"limit": 5, "window": "10m"},
    },
    {"name": "plead", "action": "Promote", "approval": {"tier": "Approve", "quorum": 1}},
    {
        "name": "tune",
        "action": "Retrain",
        "template": "train",
        "parameters": [
            {"name": "epochs", "minimum": 1, "maximum": 10, "default": "3"},
            {"name": "data", "values": ["a", "b"]},
        ],
        "budget": {"limit": 3, "window": "1h"},
        "approval": {"tier": "Approve", "quorum": 1},
    },
    {"name": "friends", "action": "Resume", "subjects": ["friend"]},
    {"name": "never", "action": "Skip", "approval": {"tier": "ManualOnly"}},
    {"name": "stop", "action": "Pause", "rollouts": ["letters"], "budget": {"limit": 100, "window": "10m"}},
]
ROLLOUTS = ("digits", "letters", "signs")


def policy(namespace: str) -> Spec:
    """An AgentPolicy: `signs` is outside of it, and its second subject is somebody else."""
    subjects = [{"name": name, "namespace": namespace} for name in ("mallory", "friend")]
    return {
        "subjects": subjects,
        "selector": {"names": ["digits", "letters"]},
        "permits": PERMITS,
        "templates": [TEMPLATE],
        "concurrency": {"perTarget": 1, "total": 5},
    }


def beyond(stored: KubeObject, user: str, others: Iterable[str]) -> str:
    """Why an ActionRequest of the agent, as it is stored, is beyond the policy; empty where it is not.

    ``others``: names of requests that are not the agent's.
    """
    spec, meta = stored["spec"], stored["metadata"]
    if spec.get("requester") != user:
        return f"in the name of {spec.get('requester')!r}"
    if meta.get("finalizers") or meta.get("deletionTimestamp"):
        return "it can keep itself from being deleted"
    if meta.get("ownerReferences"):
        return "the garbage collector can delete it, and so give its slot back"
    if (stored.get("status") or {}).get("phase"):
        return "it brought its own status"
    if "rule" in spec:
        return "it says that a rule of the policy asks"
    if spec["action"] == "Withdraw":
        return "it withdraws what others asked for" if spec["request"]["name"] in others else _squats(meta["name"])
    if spec["action"] in _ANSWERS:
        return "it answers a request"
    permit = next((permit for permit in PERMITS if permit["name"] == spec.get("permit")), None)
    if permit is None or (meta.get("labels") or {}).get(PERMIT_LABEL) != permit["name"]:
        return "no permit, or one that the label does not repeat"
    return _beyond_permit(stored, permit)


def _beyond_permit(stored: KubeObject, permit: Spec) -> str:
    spec = stored["spec"]
    rollout, expect = spec["rolloutRef"]["name"], spec.get("expect") or {}
    if permit["action"] != spec["action"] or "mallory" not in permit.get("subjects", ["mallory"]):
        return f"the permit {permit['name']} is for another action or subject"
    if rollout not in permit.get("rollouts", ["digits", "letters"]):
        return f"the permit {permit['name']} is not for Rollout {rollout}"
    if permit.get("approval", {}).get("tier") == "ManualOnly":
        return "only people may"
    if spec["action"] in _STATED and "release" not in expect:
        return "it does not say which release it means"
    if spec["action"] == "ShiftTraffic":
        most, step = permit["bounds"]["maxTrafficPercent"], permit["bounds"]["maxStep"]
        if spec["weight"] > most or "weight" not in expect or spec["weight"] - expect["weight"] > step:
            return f"{spec['weight']} % is beyond the bounds"
    if spec["action"] == "Retrain" and not _parameters_fit(spec.get("parameters") or {}):
        return f"the parameters {spec.get('parameters')} are beyond the bounds"
    return _beyond_budget(stored, permit)


def _beyond_budget(stored: KubeObject, permit: Spec) -> str:
    name, budget = stored["metadata"]["name"], permit.get("budget")
    if budget is None:
        return _squats(name)
    number = int(parse_time(stored["metadata"]["creationTimestamp"])) // _SECONDS[budget["window"]]
    slots = {f"{permit['name']}-{number}-{slot}" for slot in range(budget["limit"])}
    return "" if name in slots else "its name is no slot of the budget's window"


def _squats(name: str) -> str:
    """Why a request without a budget must not have that name; empty where it may."""
    for permit, limit in limits().items():
        found = re.fullmatch(rf"{permit}-[0-9]+-(0|[1-9][0-9]*)", name)
        if found is not None and int(found[1]) < limit:
            return f"it takes a slot of the permit {permit}"
    return ""


def _parameters_fit(given: Mapping[str, str]) -> bool:
    epochs = given.get("epochs", "3")
    whole = re.fullmatch(r"[0-9]{1,9}", epochs) is not None and 1 <= int(epochs) <= 10
    return whole and given.get("data") in ("a", "b") and given.keys() <= {"epochs", "data"}


def spent(stored: Iterable[KubeObject]) -> Counter[tuple[str, int]]:
    """How many requests there are of each permit with a budget in each of its windows."""
    found: Counter[tuple[str, int]] = Counter()
    budgets = {permit["name"]: permit["budget"] for permit in PERMITS if "budget" in permit}
    for request in stored:
        name = request["spec"].get("permit")
        if name in budgets:
            at = parse_time(request["metadata"]["creationTimestamp"])
            found[name, int(at) // _SECONDS[budgets[name]["window"]]] += 1
    return found


def limits() -> dict[str, int]:
    """Requests that a window of each permit's budget has."""
    return {permit["name"]: permit["budget"]["limit"] for permit in PERMITS if "budget" in permit}
