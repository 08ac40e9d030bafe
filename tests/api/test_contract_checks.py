"""Checks of data with a real API server and the real operator; the test plays the pods that check."""

from __future__ import annotations

import json

import pytest

from tests.api.harness.api import eventually
from tests.api.harness.contracts import LAKE, Contracts, document, profile
from tests.api.harness.lab import Lab
from weir.jobs.plan import Plan
from weir.runtime.resources import (
    CONFIG_MAPS,
)

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]


@pytest.fixture
def room(lab: Lab) -> Contracts:
    """An empty namespace."""
    return Contracts(lab)


# --- checks -----------------------------------------------------------------------------------------------------------


def test_given_a_person_asks_when_the_data_is_checked_then_the_contract_tells_the_result(room: Contracts) -> None:
    room.create()
    digest = room.accepted()["digest"]

    check = room.ask()
    pod = room.pod(check)
    plan = Plan.model_validate_json(room.lab.api.get(CONFIG_MAPS, room.namespace, check)["data"]["plan.json"])
    assert (plan.check, plan.digest, plan.servers, plan.purpose) == (check, digest, ["lake"], "Request")
    assert plan.odcs == document()
    assert room.status()["checks"][0]["reason"] == "Running"
    room.finish(check)

    assert room.wait("DataValid", "RulesHold")["status"] == "True"
    entry = room.status()["checks"][0]
    assert (entry["check"], entry["verdict"], entry["passed"], entry["digest"]) == (check, "Pass", 3, digest)
    assert pod.startswith(f"{check}-")


def test_given_data_that_breaks_a_rule_then_it_is_told_once_and_what_is_repaired_counts_again(
    room: Contracts,
) -> None:
    room.create()
    room.accepted()
    room.finish(room.ask(), "Fail")
    broken = room.wait("DataValid", "RulesBroken")
    assert "orders.amount: 3 rows below 0.5" in broken["message"]
    assert room.status()["verdict"] == "Fail"

    room.finish(room.ask())

    room.wait("DataValid", "RulesHold")
    told = [(e["reason"], e["type"]) for e in room.events("orders") if e["action"].startswith("DataValid")]
    assert sorted(told) == [("RulesBroken", "Warning"), ("RulesHold", "Normal")]


def test_given_a_contract_that_is_not_accepted_when_asked_then_no_job_runs_until_it_is(room: Contracts) -> None:
    room.create(odcs=document() | {"schema": [{"name": 7}]})
    room.wait("Accepted", "InvalidDocument")

    check = room.ask()

    eventually(lambda: [e for e in room.events(check) if e["reason"] == "ContractNotAccepted"], "it is told")
    assert room.jobs() == {}
    room.edit(odcs=document("1.0.1"))
    room.pod(check)


def test_given_a_server_that_the_contract_does_not_have_then_the_check_says_so(room: Contracts) -> None:
    room.create()
    room.accepted()

    check = room.ask(servers=["sea"])

    (told,) = eventually(lambda: room.events(check), "it is told")
    assert told["reason"] == "UnknownServer"
    assert "'sea'" in told["note"]
    assert room.jobs() == {}


def test_given_resources_that_are_none_then_the_contract_says_what_the_api_server_said(room: Contracts) -> None:
    room.create(engine={"resources": {"limits": {"memory": "much"}}})
    room.accepted()

    room.ask()

    refused = room.wait("DataValid", "JobRejected")
    entry = room.status()["checks"][0]
    assert (refused["status"], entry["verdict"]) == ("Unknown", "Unknown")
    assert "memory" in entry["message"] or "quantit" in entry["message"]


def test_given_a_pod_that_is_killed_for_memory_then_nothing_is_known_and_the_reason_is_told(room: Contracts) -> None:
    room.create()
    room.accepted()
    check = room.ask()

    for _ in range(2):  # the Job tries twice
        room.end(room.pod(check), "Failed", reason="OOMKilled", exitCode=137)

    found = room.wait("DataValid", "OutOfMemory", within=60)
    assert found["status"] == "Unknown"
    assert "spec.engine.resources.limits.memory" in found["message"]


def test_given_a_pod_that_ends_without_a_result_then_it_is_no_pass(room: Contracts) -> None:
    room.create()
    room.accepted()
    check = room.ask()

    room.end(room.pod(check))

    assert room.wait("DataValid", "NoResult")["status"] == "Unknown"


def test_given_a_check_that_does_not_end_in_time_then_it_is_unknown(room: Contracts) -> None:
    room.create(engine={"timeout": "2s"})
    room.accepted()

    check = room.ask()

    found = room.wait("DataValid", "CheckTimedOut")
    assert (found["status"], check in found["message"]) == ("Unknown", True)
    assert "spec.engine.timeout" in found["message"]


def test_given_a_verdict_that_grows_old_then_it_counts_no_more(room: Contracts) -> None:
    room.create(schedule={"maxAge": "4s"})
    room.accepted()
    room.finish(room.ask())
    room.wait("DataValid", "RulesHold")

    stale = room.wait("DataValid", "StaleCheck")

    assert stale["status"] == "Unknown"
    assert room.status()["verdict"] == "Unknown"


def test_given_another_revision_then_the_old_verdict_counts_no_more(room: Contracts) -> None:
    room.create()
    room.accepted()
    room.finish(room.ask())
    room.wait("DataValid", "RulesHold")

    room.edit(odcs=document("1.1.0", required=True))

    assert room.wait("DataValid", "OtherRevision")["status"] == "Unknown"


def test_given_a_schedule_when_its_time_comes_then_one_check_runs(room: Contracts) -> None:
    room.create(schedule={"cron": "* * * * *"})
    due = eventually(lambda: room.status().get("nextCheckAt"), "the next check is announced")

    checks = eventually(room.checks, "the check of the schedule", within=75)

    slot = due.replace("-", "").replace("T", "").replace(":", "")[:12]
    assert checks.keys() == {f"orders-{slot}"}
    assert checks[f"orders-{slot}"]["spec"]["purpose"] == "Schedule"
    eventually(lambda: room.status().get("checkedSlot") == due, "the time is served")


def test_given_twenty_checks_at_once_then_at_most_two_run_at_a_time_and_all_are_done(room: Contracts) -> None:
    room.create()
    room.accepted()
    asked = [room.ask(f"many-{number:02}") for number in range(20)]
    done: set[str] = set()

    def to_do() -> list[str]:
        open_ = [name for name, job in room.jobs().items() if not (job.get("status") or {}).get("completionTime")]
        assert len(open_) <= 2, open_
        return [name for name in open_ if name not in done]

    while len(done) < len(asked):
        for name in eventually(to_do, "the next Job"):
            room.finish(name)
            done.add(name)

    assert done == set(asked)
    eventually(lambda: len(room.checks()) == 5, "old checks are deleted")
    assert max(asked) in room.checks()


# --- references and drift ---------------------------------------------------------------------------------------------


def test_given_drift_is_watched_then_a_reference_is_made_once_and_checks_are_judged_by_it(room: Contracts) -> None:
    watched = {"name": "amount", "property": "orders.amount", "tolerance": "0.1", "minSamples": 100}
    room.create(drift=[watched], reference={"server": "lake"})
    digest = room.accepted()["digest"]
    reference = f"orders-ref-{digest.removeprefix('sha256:')[:10]}"
    eventually(lambda: reference in room.checks(), "the check that makes the reference")
    room.finish(reference, profile=profile(2500, 2500, 2500, 2500))
    eventually(lambda: room.status().get("reference"), "the reference")
    made = room.status()["reference"]
    kept = room.lab.api.get(CONFIG_MAPS, room.namespace, made["configMap"])
    assert kept["immutable"]
    assert (json.loads(kept["data"]["profile.json"])["tables"]["orders"]["rows"], made["rows"]) == (10000, 10000)

    near = room.ask()
    pod = room.pod(near)
    plan = Plan.model_validate_json(room.lab.api.get(CONFIG_MAPS, room.namespace, near)["data"]["plan.json"])
    assert plan.reference is not None
    room.finish(near, profile=profile(2490, 2510, 2500, 2500))
    assert room.wait("DriftFree", "WithinTolerance")["status"] == "True"
    before = room.status()["drift"]

    room.finish(room.ask(), profile=profile(100, 100, 100, 9700))
    drifted = room.wait("DriftFree", "Drifted")
    assert "orders.amount" in drifted["message"]
    assert (before[0]["source"], pod.startswith(near)) == (near, True)
    told = [e["reason"] for e in room.events("orders") if e["action"].startswith("DriftFree")]
    assert sorted(told) == ["Drifted", "WithinTolerance"]


def test_given_servers_are_none_then_there_is_nothing_to_check(room: Contracts) -> None:
    room.create(servers=None)
    status = room.accepted()

    assert "verdict" not in status
    assert room.condition("DataValid")["reason"] == "NoServers"
    check = room.ask()
    (told,) = eventually(lambda: room.events(check), "it is told")
    assert told["reason"] == "NoServers"
    room.edit(servers=[LAKE])
    room.pod(check)
