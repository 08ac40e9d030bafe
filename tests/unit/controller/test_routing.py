from typing import Any

import pytest

from weir.controller.routing import affected
from weir.runtime.cache import Cache, EventType
from weir.runtime.resources import (
    ACTION_REQUESTS,
    AGENT_POLICIES,
    CONTRACT_CHECKS,
    CONTROLLER_REVISIONS,
    DATA_CONTRACTS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    GATEWAYS,
    HTTP_ROUTES,
    JOBS,
    MODEL_VERSIONS,
    ROLLOUT_RECORDS,
    ROLLOUTS,
    SERVICES,
    Resource,
)

ROUTE = {"gateway": {"parentRefs": [{"name": "web"}]}}


def obj(name: str, spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "ml", "uid": name, "resourceVersion": "1", **metadata}
    return {"metadata": meta, "spec": spec or {}}


def rollout(name: str, version: str = "v1", traffic: Any = None, **status: Any) -> dict[str, Any]:
    made = obj(name, {"versionRef": {"name": version}, "traffic": traffic or ROUTE})
    return {**made, "status": status}


@pytest.fixture
def cache() -> Cache:
    filled = Cache()
    filled.put(ROLLOUTS, rollout("digits", stable={"version": "v1", "pool": "digits-1"}))
    filled.put(ROLLOUTS, rollout("other", "v9", traffic={"gateway": {"routeRef": {"name": "kept"}}}))
    return filled


def woken(
    cache: Cache, resource: Resource, thing: dict[str, Any], change: EventType = EventType.MODIFIED
) -> set[tuple[str, str]]:
    return {(key.resource.kind, key.name) for key in affected(cache, resource, thing, change)}


def test_given_our_own_status_echo_then_the_rollout_is_not_woken_but_its_versions_are(cache: Cache) -> None:
    echo = rollout("digits", "v2", stable={"version": "v1"}, retained=[{"version": "v0"}])

    assert woken(cache, ROLLOUTS, echo, EventType.STATUS) == {("ModelVersion", name) for name in ("v0", "v1", "v2")}
    assert ("Rollout", "digits") in woken(cache, ROLLOUTS, echo)


def test_given_a_rollout_that_stopped_using_a_version_then_that_version_is_looked_at(cache: Cache) -> None:
    cache.put(MODEL_VERSIONS, {**obj("v0"), "status": {"servedBy": ["digits"]}})

    assert ("ModelVersion", "v0") in woken(cache, ROLLOUTS, rollout("digits"), EventType.DELETED)


def test_given_a_new_version_then_the_rollouts_that_name_it_are_woken(cache: Cache) -> None:
    assert woken(cache, MODEL_VERSIONS, obj("v9"), EventType.ADDED) == {("ModelVersion", "v9"), ("Rollout", "other")}
    assert woken(cache, MODEL_VERSIONS, obj("v9"), EventType.STATUS) == set()


@pytest.mark.parametrize(
    ("resource", "spec"),
    [(ACTION_REQUESTS, {"rolloutRef": {"name": "digits"}}), (ROLLOUT_RECORDS, {"rollout": "digits"})],
    ids=["request", "record"],
)
def test_given_a_request_or_a_record_then_its_rollout_is_woken(
    cache: Cache, resource: Resource, spec: dict[str, Any]
) -> None:
    assert ("Rollout", "digits") in woken(cache, resource, obj("x", spec))


def test_given_a_request_then_it_is_looked_at_itself_also_when_its_result_is_written(cache: Cache) -> None:
    request = obj("x", {"rolloutRef": {"name": "digits"}})
    for change in (EventType.ADDED, EventType.STATUS):
        assert ("ActionRequest", "x") in woken(cache, ACTION_REQUESTS, request, change)


@pytest.mark.parametrize("change", [EventType.ADDED, EventType.DELETED])
def test_given_a_rollout_that_comes_or_goes_then_unanswered_requests_for_it_are_looked_at(
    cache: Cache, change: EventType
) -> None:
    cache.put(ACTION_REQUESTS, obj("open", {"rolloutRef": {"name": "digits"}}))
    cache.put(ACTION_REQUESTS, obj("elsewhere", {"rolloutRef": {"name": "other"}}))
    cache.put(ACTION_REQUESTS, {**obj("done", {"rolloutRef": {"name": "digits"}}), "status": {"phase": "Refused"}})
    found = {name for kind, name in woken(cache, ROLLOUTS, rollout("digits"), change) if kind == "ActionRequest"}
    assert found == {"open"}


def test_given_a_rollout_that_changes_then_its_requests_rest(cache: Cache) -> None:
    cache.put(ACTION_REQUESTS, obj("open", {"rolloutRef": {"name": "digits"}}))
    for change in (EventType.MODIFIED, EventType.STATUS):
        assert not [key for key in woken(cache, ROLLOUTS, rollout("digits"), change) if key[0] == "ActionRequest"]


def test_given_an_agent_that_a_rollout_serves_then_a_change_on_either_side_wakes_the_other(cache: Cache) -> None:
    permits = [{"name": "halt", "action": "Abort", "rollouts": ["digits"]}]
    subjects = [{"name": "tuner", "namespace": "agents", "rollout": "other"}]
    made = obj("agents", {"subjects": subjects, "permits": permits})
    cache.put(AGENT_POLICIES, made)

    for changed, concerned in (("digits", "other"), ("other", "digits")):
        assert ("Rollout", concerned) in woken(cache, ROLLOUTS, rollout(changed), EventType.STATUS)
    assert {("Rollout", "digits"), ("Rollout", "other")} <= woken(cache, AGENT_POLICIES, made)
    cache.put(AGENT_POLICIES, obj("agents", {"subjects": [{"name": "tuner"}], "permits": permits}))
    assert ("Rollout", "other") not in woken(cache, ROLLOUTS, rollout("digits"), EventType.STATUS)


def test_given_a_gateway_then_all_rollouts_are_woken(cache: Cache) -> None:
    assert woken(cache, GATEWAYS, obj("web")) == {("Rollout", "digits"), ("Rollout", "other")}


def test_given_a_labelled_object_then_its_rollout_is_woken_also_by_a_shortened_name(cache: Cache) -> None:
    assert woken(cache, DEPLOYMENTS, obj("digits-1", labels={"weir.dev/rollout": "digits"})) == {("Rollout", "digits")}
    long = "d" * 80
    cache.put(ROLLOUTS, rollout(long))
    from weir.workload.identity import label_value

    labels = {"weir.dev/rollout": label_value(long)}
    assert woken(cache, DEPLOYMENTS, obj("x", labels=labels)) == {("Rollout", long)}


def test_given_a_route_that_a_user_keeps_then_the_rollout_that_names_it_is_woken(cache: Cache) -> None:
    assert woken(cache, HTTP_ROUTES, obj("kept")) == {("Rollout", "other")}
    assert woken(cache, HTTP_ROUTES, obj("unrelated")) == set()


def test_given_a_foreign_route_under_the_name_of_a_rollout_that_makes_its_own_then_it_is_woken(cache: Cache) -> None:
    assert woken(cache, HTTP_ROUTES, obj("digits"), EventType.DELETED) == {("Rollout", "digits")}
    assert woken(cache, HTTP_ROUTES, obj("other")) == set()


def test_given_a_service_that_a_user_runs_then_the_rollout_that_serves_from_it_is_woken(cache: Cache) -> None:
    assert woken(cache, SERVICES, obj("digits-1")) == {("Rollout", "digits")}
    labels = {"kubernetes.io/service-name": "digits-1"}
    assert woken(cache, ENDPOINT_SLICES, obj("digits-1-abc", labels=labels)) == {("Rollout", "digits")}


# --- contracts ---------------------------------------------------------------------------------------------------


def check(name: str, contract: str = "orders", **status: Any) -> dict[str, Any]:
    return {**obj(name, {"contractRef": {"name": contract}}), "status": status}


@pytest.fixture
def contracts(cache: Cache) -> Cache:
    """v1, which digits serves, was trained on orders; v8, which nobody uses, on clicks."""
    cache.put(MODEL_VERSIONS, obj("v1", {"contracts": {"trainedOn": ["orders@sha256:ab"], "request": "asked"}}))
    cache.put(MODEL_VERSIONS, obj("v8", {"contracts": {"servedFrom": ["clicks"]}}))
    cache.put(CONTRACT_CHECKS, check("waits"))
    cache.put(CONTRACT_CHECKS, check("done", finishedAt="2026-11-21T10:00:00Z"))
    cache.put(CONTRACT_CHECKS, check("elsewhere", "clicks"))
    return cache


USERS_OF_ORDERS = {("ModelVersion", "v1"), ("Rollout", "digits")}


def test_given_a_contract_that_changed_then_its_checks_and_its_users_are_woken_and_no_others(contracts: Cache) -> None:
    found = woken(contracts, DATA_CONTRACTS, obj("orders"))

    assert found == {("DataContract", "orders"), ("ContractCheck", "waits")} | USERS_OF_ORDERS


def test_given_a_contracts_own_status_then_it_is_not_woken_itself(contracts: Cache) -> None:
    found = woken(contracts, DATA_CONTRACTS, obj("orders"), EventType.STATUS)

    assert found == {("ContractCheck", "waits")} | USERS_OF_ORDERS


def test_given_a_contract_that_no_rollout_uses_then_only_its_versions_are_woken(contracts: Cache) -> None:
    found = woken(contracts, DATA_CONTRACTS, obj("clicks"), EventType.STATUS)

    assert found == {("ContractCheck", "elsewhere"), ("ModelVersion", "v8")}


def test_given_a_revision_then_its_contract_and_who_uses_it_are_woken(contracts: Cache) -> None:
    revision = obj("orders-1234567890", ownerReferences=[{"kind": "DataContract", "name": "orders", "uid": "u"}])

    found = woken(contracts, CONTROLLER_REVISIONS, revision, EventType.ADDED)

    assert found == {("DataContract", "orders")} | USERS_OF_ORDERS


def test_given_the_result_of_a_check_then_its_contract_is_woken_alone(contracts: Cache) -> None:
    assert woken(contracts, CONTRACT_CHECKS, check("waits"), EventType.STATUS) == {("DataContract", "orders")}


def test_given_a_check_that_is_withdrawn_then_those_that_wait_are_woken(contracts: Cache) -> None:
    found = woken(contracts, CONTRACT_CHECKS, check("done"), EventType.DELETED)

    waiting = {("ContractCheck", "waits"), ("ContractCheck", "elsewhere")}
    assert found == {("ContractCheck", "done"), ("DataContract", "orders")} | waiting


def test_given_a_job_that_runs_then_only_its_check_and_contract_are_woken(contracts: Cache) -> None:
    assert woken(contracts, JOBS, obj("waits")) == {("ContractCheck", "waits"), ("DataContract", "orders")}


def test_given_a_job_that_ended_then_there_is_room_for_others(contracts: Cache) -> None:
    ended = {**obj("done"), "status": {"conditions": [{"type": "Complete", "status": "True"}]}}

    found = woken(contracts, JOBS, ended)

    assert found >= {("ContractCheck", "waits"), ("ContractCheck", "elsewhere"), ("DataContract", "orders")}


def test_given_a_version_that_was_bound_then_its_contracts_and_rollouts_are_woken(contracts: Cache) -> None:
    version = contracts.get(MODEL_VERSIONS, "ml", "v1")
    assert version is not None

    found = woken(contracts, MODEL_VERSIONS, version, EventType.STATUS)

    assert found == {("DataContract", "orders"), ("DataContract", "asked"), ("Rollout", "digits")}


def test_given_a_candidate_whose_pods_count_what_they_see_when_it_appears_then_the_contract_is_woken(
    contracts: Cache,
) -> None:
    live = {"drift": [{"name": "amount", "source": "Live"}]}
    running = rollout("digits", stable={"version": "v1", "pool": "a"}, candidate={"version": "v2", "pool": "b"})
    told = ("DataContract", "orders")

    assert told not in woken(contracts, ROLLOUTS, running, EventType.STATUS)
    contracts.put(DATA_CONTRACTS, obj("orders", live))
    assert told in woken(contracts, ROLLOUTS, running, EventType.STATUS)
    assert told not in woken(contracts, ROLLOUTS, rollout("else", "v9"), EventType.STATUS)
