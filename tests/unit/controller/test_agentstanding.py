"""A request under a permit is executed only while the ledger grants it, and on a doubt it waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from weir.api.agentpolicy import POLICY_NAME
from weir.api.base import format_time
from weir.controller.actions import Fate, fate
from weir.controller.agentstanding import NOT_YET, answered_by_policy, asks_policy, permission
from weir.controller.observe import Observer, finished, view_of
from weir.release.observation import Permission
from weir.runtime.cache import Cache
from weir.runtime.client import KubeClient
from weir.runtime.errors import NotFound, Unavailable
from weir.runtime.resources import (
    ACTION_REQUESTS,
    AGENT_POLICIES,
    CLUSTER_AGENT_POLICIES,
    NAMESPACES,
    ROLLOUTS,
    KubeObject,
    ObjectKey,
    Resource,
)

T0 = 1_800_000_000.0
WEEK = 7 * 86400.0


def policy(*, observed: int = 2, meta: Any = None, budget: Any = None, **ledger: Any) -> KubeObject:
    permit = {"name": "stop", "action": "Abort", **({"budget": budget} if budget else {})}
    return {
        "metadata": {
            "name": POLICY_NAME,
            "namespace": "team",
            "uid": "p",
            "generation": 2,
            "resourceVersion": "9",
            **(meta or {}),
        },
        "spec": {"subjects": [{"name": "tuner", "namespace": "team"}], "permits": [permit]},
        "status": {"observedGeneration": observed, **ledger},
    }


def grant(until: float = T0 + 60, **more: Any) -> dict[str, Any]:
    return {"uid": "u", "until": format_time(until), **more}


def request(status: Any = None, *, at: float = T0, **spec: Any) -> KubeObject:
    content = {"action": "Abort", "rolloutRef": {"name": "digits"}, "reason": "r", **spec}
    meta = {"name": "stop-1-0", "namespace": "team", "uid": "u", "resourceVersion": "1"}
    meta["creationTimestamp"] = format_time(at)
    return {"metadata": meta, "spec": content, "status": status or {}}


@pytest.mark.parametrize(
    ("found", "state", "said"),
    [
        (None, "Denied", "no AgentPolicy named agents"),
        (policy(meta={"deletionTimestamp": format_time(T0)}, granted=[grant()]), "Denied", "no AgentPolicy"),
        (policy(observed=1, granted=[grant()]), None, ""),
        (policy(), None, ""),
        (policy(granted=[grant()]), "Granted", ""),
        (policy(granted=[grant(T0)]), None, ""),
        (policy(granted=[grant() | {"uid": "another"}]), None, ""),
        (policy(waiting=[{"uid": "u", "message": "needs two"}]), "Waiting", "needs two"),
        (policy(denied=[{"uid": "u", "message": "no such permit"}]), "Denied", "no such permit"),
        (policy(denied=[{"uid": "u", "message": "no"}], granted=[grant()]), "Denied", "no"),
        (policy(granted=[grant(consents=[{"by": "ada"}, {"by": "bob"}])]), "Granted", "approved by ada, bob"),
        (policy(granted=[grant(overriddenBy="eve")]), "Granted", "overruled by eve"),
    ],
)
def test_where_a_request_stands(found: KubeObject | None, state: str | None, said: str) -> None:
    stands = permission(found, "u", T0)
    assert (stands.state if stands is not None else None) == state
    assert stands is None or said in stands.message


def test_given_a_policy_without_a_ledger_then_it_does_not_say() -> None:
    fresh = policy()
    del fresh["status"]
    assert permission(fresh, "u", T0) is None


def test_given_a_grant_or_a_wait_then_its_end_is_known() -> None:
    granted = permission(policy(granted=[grant(T0 + 60)]), "u", T0)
    waits = permission(policy(waiting=[{"uid": "u", "message": "m", "until": format_time(T0 + 5)}]), "u", T0)
    assert (granted and granted.until, waits and waits.until) == (T0 + 60, T0 + 5)


@pytest.mark.parametrize(
    ("spec", "asks", "answered"),
    [
        ({}, False, False),
        ({"permit": "stop"}, True, False),
        ({"action": "Retrain", "permit": "train"}, True, True),
        ({"action": "Deny", "request": {"name": "a", "uid": "b"}}, True, True),
        ({"action": "Approve", "approval": {"name": "a", "digest": "d"}}, False, False),
    ],
)
def test_who_answers(spec: Any, asks: bool, answered: bool) -> None:
    assert (asks_policy(request(**spec)), answered_by_policy(request(**spec))) == (asks, answered)


def rollout() -> KubeObject:
    meta = {"name": "digits", "namespace": "team", "uid": "r", "resourceVersion": "1"}
    return {
        "metadata": {**meta, "creationTimestamp": format_time(T0 - 100)},
        "spec": {
            "versionRef": {"name": "v1"},
            "traffic": {"service": {}},
            "strategy": {"canary": {"steps": [{"weight": 50}]}},
        },
    }


def seen(
    *requests: KubeObject,
    stale: bool = False,
    unserved: bool = False,
    off: Sequence[tuple[Resource, KubeObject]] = (),
    ledger: KubeObject | None = None,
) -> dict[str, Permission | None]:
    cache = Cache()
    for resource, switch in off:
        cache.put(resource, switch)
    cache.put(ROLLOUTS, rollout())
    cache.put(AGENT_POLICIES, ledger or policy(granted=[grant()]))
    for each in requests:
        cache.put(ACTION_REQUESTS, each)
    missing = frozenset({AGENT_POLICIES}) if unserved else frozenset()
    key = ObjectKey(AGENT_POLICIES, "team", POLICY_NAME)
    observer = Observer(cache, lambda: T0, lambda: missing, lambda asked: stale and asked == key)
    return {found.name: found.permit for found in observer.requests(view_of(rollout()))}


def test_given_requests_of_agents_then_the_rollout_sees_where_each_stands_and_a_persons_needs_nothing() -> None:
    granted = seen(request(permit="stop"))["stop-1-0"]
    assert granted is not None
    assert granted.state == "Granted"
    assert seen(request()) == {"stop-1-0": None}
    assert seen(request(action="Retrain", permit="train")) == {}


def test_given_an_executed_action_when_the_ledger_has_let_go_of_it_then_its_result_can_still_be_written() -> None:
    cache, executed = Cache(), request(permit="stop")
    cache.put(AGENT_POLICIES, policy())
    cache.put(ACTION_REQUESTS, executed)
    cache.put(ROLLOUTS, rollout())
    observer = Observer(cache, lambda: T0, frozenset, lambda _: False)
    assert observer.requests(view_of(rollout())) == (), "asked a moment ago: the ledger comes to it"

    status = {"handledRequests": [{"uid": executed["metadata"]["uid"]}]}
    cache.put(ROLLOUTS, rollout() | {"status": status})

    assert [found.name for found in observer.requests(view_of(rollout()))] == ["stop-1-0"]


def switch(name: str, labels: dict[str, str], **spec: bool) -> KubeObject:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": "1", "labels": labels}, "spec": spec}


DOUBTS: dict[str, dict[str, Any]] = {
    "written-anew": {"stale": True},
    "not-watched": {"unserved": True},
    "namespace-stopped": {"off": [(NAMESPACES, switch("team", {"weir.dev/agents": "paused"}))]},
    "cluster-stopped": {"off": [(CLUSTER_AGENT_POLICIES, switch(POLICY_NAME, {}, paused=True))]},
}


def test_given_switches_that_are_not_thrown_then_what_is_granted_stays_so() -> None:
    on = [
        (NAMESPACES, switch("team", {"weir.dev/agents": "watched"})),
        (NAMESPACES, switch("other", {"weir.dev/agents": "paused"})),
    ]
    found = seen(request(permit="stop"), off=[*on, (CLUSTER_AGENT_POLICIES, switch(POLICY_NAME, {}, paused=False))])
    assert [stands and stands.state for stands in found.values()] == ["Granted"]


@pytest.mark.parametrize("doubt", DOUBTS.values(), ids=DOUBTS)
def test_given_a_doubt_about_the_ledger_then_nothing_is_granted(doubt: dict[str, Any]) -> None:
    old = request(permit="stop", at=T0 - 60)
    assert seen(old, **doubt) == {"stop-1-0": Permission("Waiting", NOT_YET)}


@pytest.mark.parametrize("doubt", ["namespace-stopped", "cluster-stopped"])
def test_given_a_switch_then_what_the_ledger_says_of_it_is_told(doubt: str) -> None:
    ledger = policy(denied=[{"uid": "u", "message": "paused"}])
    assert seen(request(permit="stop"), ledger=ledger, **DOUBTS[doubt]) == {"stop-1-0": Permission("Denied", "paused")}


def test_given_a_doubt_then_what_a_request_says_already_stays_and_of_a_new_one_nothing_is_said_yet() -> None:
    told = request({"phase": "Pending", "message": "needs two"}, permit="stop")
    assert seen(told, stale=True) == {"stop-1-0": Permission("Waiting", "needs two")}
    assert seen(request(permit="stop"), stale=True) == {}
    assert seen(request(), stale=True) == {"stop-1-0": None}


# --- what leads forward is confirmed by the API server -----------------------------------------------------------------


class Server:
    """Holds the AgentPolicy as it is now; ``broken`` is its answer where it has none."""

    def __init__(self, now: KubeObject, broken: Exception | None = None) -> None:
        self.now, self.broken, self.reads = now, broken, 0

    async def get(self, resource: Resource, name: str, namespace: str) -> KubeObject:
        assert (resource, name, namespace) == (AGENT_POLICIES, POLICY_NAME, "team")
        self.reads += 1
        if self.broken is not None:
            raise self.broken
        return self.now


def granted_in_cache(action: str, status: Any = None) -> tuple[Observer, KubeObject]:
    """The cache shows a grant of a request with that action, which has that status."""
    cache, ledger = Cache(), policy(granted=[grant(action=action, rollout="digits", name="stop-1-0")])
    for resource, obj in (
        (ROLLOUTS, rollout()),
        (AGENT_POLICIES, ledger),
        (ACTION_REQUESTS, request(status, permit="stop", action=action)),
    ):
        cache.put(resource, obj)
    return Observer(cache, lambda: T0, frozenset), ledger


async def look(observer: Observer, server: Server) -> tuple[bool, list[str]]:
    """Whether the API server told, and where the request stands."""
    told = await observer.confirm(cast(KubeClient, server), ObjectKey(ROLLOUTS, "team", "digits"))
    return told, [found.permit.state for found in observer.requests(view_of(rollout())) if found.permit is not None]


PENDING, DONE = {"phase": "Pending", "message": "needs two"}, {"phase": "Succeeded"}


async def test_given_a_late_watch_when_a_person_denied_it_meanwhile_then_it_is_not_granted() -> None:
    observer, _ = granted_in_cache("Promote", PENDING)
    server = Server(policy(denied=[{"uid": "u", "message": "no"}], meta={"resourceVersion": "10"}))
    assert await look(observer, server) == (True, ["Denied"])


async def test_given_a_grant_that_the_api_server_confirms_then_it_counts_for_one_look() -> None:
    observer, ledger = granted_in_cache("Promote", PENDING)
    server = Server(ledger)
    assert await look(observer, server) == (True, ["Granted"])
    server.broken = Unavailable("away")
    assert await look(observer, server) == (False, ["Waiting"])
    server.broken = NotFound("an API server that starts denies kinds", status=404)
    assert await look(observer, server) == (False, ["Waiting"])


@pytest.mark.parametrize(("action", "status", "stands"), [("Abort", None, ["Granted"]), ("Promote", DONE, [])])
async def test_given_a_safe_action_or_one_that_is_done_then_nobody_is_asked(
    action: str, status: Any, stands: list[str]
) -> None:
    observer, ledger = granted_in_cache(action, status)
    server = Server(ledger, Unavailable("away"))
    assert await look(observer, server) == (True, stands)
    assert server.reads == 0


# --- what nobody else answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec", [{"action": "Retrain", "permit": "t"}, {"action": "Deny", "request": {"name": "a", "uid": "b"}}]
)
def test_given_a_request_that_the_policy_answers_then_only_without_one_it_is_refused(spec: Any) -> None:
    for there in (None, rollout()):
        assert fate(request(**spec), there, T0, WEEK, policy()) == Fate()
        refused = fate(request(**spec), there, T0, WEEK, None).status
        assert refused is not None
        assert (refused.phase, "no AgentPolicy" in refused.message) == ("Refused", True)


def test_given_a_template_that_runs_then_its_request_is_not_finished() -> None:
    assert not finished(request({"phase": "Running"}))
    assert finished(request({"phase": "Failed"}))


@pytest.mark.parametrize(
    ("budget", "kept"),
    [
        (None, 10.0),
        ({"limit": 1, "window": "2h"}, 7200.0),
        ({"limit": 1}, 3600.0),
        ({"limit": 1, "window": "5s"}, 10.0),
    ],
)
def test_given_a_budget_then_the_name_of_a_request_stays_taken_as_long_as_it_counts(budget: Any, kept: float) -> None:
    done = request({"phase": "Refused", "completedAt": format_time(T0)}, permit="stop")
    assert fate(done, None, T0 + 1, 10.0, policy(budget=budget)) == Fate(again=kept - 1)
    assert fate(done, None, T0 + kept, 10.0, policy(budget=budget)) == Fate(delete=True)
    person = request({"phase": "Refused", "completedAt": format_time(T0)})
    assert fate(person, None, T0 + 10, 10.0, policy(budget=budget)) == Fate(delete=True)
