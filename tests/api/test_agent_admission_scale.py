"""Budgets under a rush, how soon kill switches work, and the largest policies: within the API server's CEL limits."""

from __future__ import annotations

import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.guarded import refused
from tests.api.harness.lab import Lab
from tests.api.harness.outer import bounded, unbound
from tests.api.harness.permits import JOB, Permits, Spec
from weir.agent.permits import slot_name
from weir.api.agentpermit import Permit
from weir.api.agentpolicy import POLICY_NAME
from weir.runtime.resources import ACTION_REQUESTS, AGENT_POLICIES, CLUSTER_AGENT_POLICIES

pytestmark = pytest.mark.api

TRIALS = 20
MANY = 2000
"""Requests that are stored while people ask."""


def test_given_200_requests_at_once_when_the_budget_is_5_then_exactly_5_are_stored(lab: Lab) -> None:
    room = Permits(lab)
    # A year: no window ends meanwhile.
    permit: Spec = {"name": "rush", "action": "Retry", "budget": {"limit": 5, "window": "8760h"}}
    room.govern(permits=[permit])
    dice = random.Random(7)
    made = Permit.model_validate(permit)
    names = [slot_name(made, time.time(), slot) for slot in (*range(5), *dice.choices(range(9), k=195))]
    dice.shuffle(names)

    def ask(part: list[str]) -> list[str]:
        api = Api(lab.server.kubeconfig).acting_as(room.account)
        found = []
        for name in part:
            try:
                room.under(api, "rush", "Retry", name=name, expect={"release": 2})
                found.append("stored")
            except Failure as failure:
                found.append(_told(failure))
        return found

    with ThreadPoolExecutor(20) as pool:
        answers = Counter(told for part in pool.map(ask, [names[i::20] for i in range(20)]) for told in part)

    beyond = sum(not name.endswith(("-0", "-1", "-2", "-3", "-4")) for name in names)
    assert answers == {"stored": 5, "taken": 195 - beyond, "no slot": beyond}
    stored = [request["metadata"]["name"] for request in lab.api.list(ACTION_REQUESTS, room.namespace)]
    assert sorted(stored) == sorted(slot_name(made, time.time(), slot) for slot in range(5))


def test_given_a_short_window_when_it_ends_then_the_next_one_has_its_own_slots(lab: Lab) -> None:
    room = Permits(lab)
    permit: Spec = {"name": "brief", "action": "Pause", "budget": {"limit": 1, "window": "2s"}}
    room.govern(permits=[permit])
    made = Permit.model_validate(permit)

    told = set()

    def stored() -> str:
        try:
            name = slot_name(made, time.time(), 0)
            return str(room.under(room.tuner, "brief", "Pause", name=name)["metadata"]["name"])
        except Failure as failure:
            told.add(_told(failure))
            return ""

    first = eventually(stored, "a slot of a window")
    second = eventually(stored, "a slot of a later window")
    assert first != second
    assert told <= {"taken", "no slot"}
    assert "BudgetSlot: " in room.refused(room.tuner, "brief", "Pause", name=first)


def _told(failure: Failure) -> str:
    if failure.status == 409:
        return "taken"
    return "no slot" if "BudgetSlot: " in failure.message else str(failure)


# --- kill switches ---------------------------------------------------------------------------------------------------


def _policy(room: Permits, paused: bool) -> None:
    room.lab.api.merge(AGENT_POLICIES, room.namespace, POLICY_NAME, {"spec": {"paused": paused}})


def _namespace(room: Permits, paused: bool) -> None:
    patch = {"metadata": {"labels": {"weir.dev/agents": "paused" if paused else None}}}
    room.lab.api.call("PATCH", f"/api/v1/namespaces/{room.namespace}", patch, "application/merge-patch+json")


def _cluster(room: Permits, paused: bool) -> None:
    spec = {"paused": paused, "limits": [{"action": "Abort"}]}
    if room.lab.api.find(CLUSTER_AGENT_POLICIES, None, POLICY_NAME) is None:
        room.lab.api.create(CLUSTER_AGENT_POLICIES, {"metadata": {"name": POLICY_NAME}, "spec": spec})
    else:
        room.lab.api.merge(CLUSTER_AGENT_POLICIES, None, POLICY_NAME, {"spec": spec})


@pytest.fixture
def switched(lab: Lab) -> Iterator[Lab]:
    """What a switch of the cluster leaves behind is gone after the test."""
    yield lab
    unbound(lab)


@pytest.mark.parametrize("switch", [_policy, _namespace, _cluster], ids=lambda switch: switch.__name__.strip("_"))
def test_given_a_kill_switch_when_it_is_thrown_then_it_works_at_once(
    switched: Lab, switch: Callable[[Permits, bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    room = Permits(switched)
    room.govern()
    took = []
    for _ in range(TRIALS):
        switch(room, True)
        since = time.monotonic()
        eventually(lambda: "aused: " in room.refused(room.tuner, "stop", "Abort"), "agents are stopped", every=0.001)
        took.append(time.monotonic() - since)
        switch(room, False)
        eventually(lambda: room.refused(room.tuner, "stop", "Abort") == "", "agents go on", every=0.001)

    middle, most = (round(1000 * seconds) for seconds in (statistics.median(took), max(took)))
    with capsys.disabled():
        print(
            f"\nkill switch of the {switch.__name__.strip('_')}: median {middle} ms, at most {most} ms ({TRIALS} trials)"
        )
    assert max(took) < 5


# --- limits of CEL -------------------------------------------------------------------------------------------------


def _names(prefix: str, count: int, length: int = 63) -> list[str]:
    return [f"{prefix}{number:03d}".ljust(length, "x") for number in range(count)]


def _largest(namespace: str) -> Spec:
    """A policy with everything at its most that the admission policies look at."""
    values = _names("v", 32, 200)
    parameters = [{"name": name, "values": values} for name in _names("p", 16, 40)]
    permit: Spec = {
        "action": "Retrain",
        "template": "train",
        "subjects": _names("s", 32, 100),
        "rollouts": _names("r", 64, 50),
        "parameters": parameters,
        "budget": {"limit": 1000, "window": "8760h"},
    }
    return {
        "subjects": [{"name": name, "namespace": namespace} for name in _names("s", 32, 100)],
        "selector": {"names": _names("r", 64, 50)},
        "permits": [{**permit, "name": name} for name in _names("a", 32)],
        "templates": [JOB],
    }


def test_given_the_largest_policy_when_asked_then_every_rule_is_within_the_cost_that_cel_may_have(lab: Lab) -> None:
    room = Permits(lab)
    spec = _largest(room.namespace)
    # Values of all parameters of all permits would not fit into one object.
    for permit in spec["permits"][:-4]:
        permit["parameters"] = permit["parameters"][:1]
    room.write(spec)
    blocked = [
        {"rollout": name, "until": "2099-01-01T00:00:00Z", "reason": "Cooldown"}
        for name in (*_names("r", 49, 50), *_names("q", 50, 50))
    ]
    room.tell_policy({"blocked": [*blocked, {**blocked[0], "rollout": _names("r", 64, 50)[62]}]})
    last = spec["permits"][-1]
    agent = room.agent(f"system:serviceaccount:{room.namespace}:{spec['subjects'][-1]['name']}")
    parameters = {parameter["name"]: parameter["values"][-1] for parameter in last["parameters"]}
    most = {**parameters, **{f"unknown{number}": "x" * 1024 for number in range(48)}}
    name = slot_name(Permit.model_validate(last), time.time(), 999)

    def told(rollout: str = last["rollouts"][-1], **changes: Any) -> str:
        fields = {"name": name, "parameters": parameters, **changes}
        return room.refused(agent, last["name"], "Retrain", rollout, **fields)

    eventually(lambda: told() == "", "the largest policy is known")
    eventually(lambda: "Cooldown: " in told(last["rollouts"][62]), "its status is known")
    for rule, refusal in (
        ("RolloutNotPermitted: ", told("elsewhere")),
        ("ParameterUnknown: ", told(parameters=most)),
        ("ParameterMissing: ", told(parameters={})),
        ("ParameterBeyond: ", told(parameters={**parameters, last["parameters"][-1]["name"]: "x" * 1024})),
        ("BudgetSlot: ", told(name="x")),
        ("NoSubject: ", room.refused(room.tuner, last["name"], "Retrain", parameters=parameters)),
        ("NoPermit: ", room.refused(agent, "none", "Retrain", parameters=parameters)),
    ):
        assert rule in refusal
        assert "cost" not in refusal

    abort = {"action": "Abort", "rolloutRef": {"name": "digits"}, "reason": "test"}
    body = {"metadata": {"name": name, "namespace": room.namespace}, "spec": abort}
    with refused(403, "SlotOfAnother: "):
        room.user("oncall", "weir-actor").create(ACTION_REQUESTS, body)


def test_given_the_largest_policies_when_compared_with_outer_bounds_then_cel_may_do_it(lab: Lab) -> None:
    room = Permits(lab)
    actions = ("Release", "Promote", "Abort", "Retry", "Pause", "Resume", "Skip", "ShiftTraffic", "Rollback", "Retrain")
    limit: Spec = {"maxStep": 50, "maxTrafficPercent": 100, "maxPerHour": 10, "minTier": "Notify", "minQuorum": 1}
    outer = {
        "limits": [{"action": action, **limit} for action in actions],
        "maxExplorationPercent": 1,
        "maxUnhealthyPercent": 40,
        "requireFallback": True,
    }
    permit: Spec = {
        "action": "ShiftTraffic",
        "rollouts": _names("r", 64, 50),
        "bounds": {"maxStep": 50, "maxTrafficPercent": 100},
        "budget": {"limit": 10, "window": "1h"},
        "approval": {"tier": "Notify"},
    }
    permits = [{**permit, "name": name} for name in _names("a", 32)]
    spec = room.spec(
        subjects=[{"name": name, "namespace": room.namespace} for name in _names("s", 32, 100)],
        permits=permits,
        trial={"share": 5, "permits": [*permits[:-1], {**permits[-1], "bounds": {"maxStep": 51}}]},
        fallback={},
    )

    def told() -> str:
        try:
            room.lab.api.call(
                "POST",
                AGENT_POLICIES.path(room.namespace),
                {**_meta(room), "spec": spec},
                dryRun="All",
            )
        except Failure as failure:
            return failure.message
        return ""

    with bounded(lab, outer):
        assert "OuterStep: bounds.maxStep of permit 'a031" in told()
        spec["trial"]["permits"][-1] = permits[-1]
        assert told() == ""


def _meta(room: Permits) -> Spec:
    return {
        "apiVersion": AGENT_POLICIES.api_version,
        "kind": AGENT_POLICIES.kind,
        "metadata": {"name": POLICY_NAME, "namespace": room.namespace},
    }


def test_given_many_requests_when_people_ask_or_answer_then_it_does_not_take_long(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    room = Permits(lab)
    room.govern()
    dan = room.user("dan", "weir-approver")

    def answered() -> None:
        with pytest.raises(Failure, match="OtherRequest: "):
            room.ask(dan, "Deny", request={"name": "stop-n0", "uid": "x"}, dry_run=True)

    def took(ask: Callable[[], object]) -> float:
        found = []
        for _ in range(10):
            since = time.monotonic()
            ask()
            found.append(time.monotonic() - since)
        return statistics.median(found)

    def fill(part: range) -> None:
        api = Api(lab.server.kubeconfig).acting_as(room.account)
        for number in part:
            room.under(api, "stop", "Abort", name=f"stop-n{number}")

    fill(range(1))
    eventually(lambda: "OtherRequest" in _denied(room, dan), "the request is known")
    asks = {"an answer": answered, "an Abort": lambda: room.ask(dan, "Abort", dry_run=True)}
    few = {what: took(ask) for what, ask in asks.items()}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, [range(1 + part, MANY, 4) for part in range(4)]))
    many = {what: took(ask) for what, ask in asks.items()}

    with capsys.disabled():
        for what in asks:
            print(
                f"\n{what} takes {1000 * few[what]:.1f} ms beside 1 request, {1000 * many[what]:.1f} ms beside {MANY}"
            )
    assert max(many.values()) < 2


def _denied(room: Permits, by: Api) -> str:
    try:
        room.ask(by, "Deny", request={"name": "stop-n0", "uid": "x"}, dry_run=True)
    except Failure as failure:
        return failure.message
    return ""
