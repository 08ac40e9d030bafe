"""A contract in plain words, from the objects as a cluster gives them."""

from __future__ import annotations

from typing import Any

import pytest

from weir.api.base import parse_time
from weir.view.contract import Around, ContractExplanation, explain_contract

KubeObject = dict[str, Any]
NOW = parse_time("2026-11-22T10:26:40Z")
AT = "2026-11-22T10:20:00Z"
DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64

ODCS: KubeObject = {
    "apiVersion": "v3.2.0",
    "kind": "DataContract",
    "id": "orders",
    "version": "1.2.0",
    "name": "Orders",
    "schema": [
        {
            "name": "orders",
            "properties": [
                {"name": "id", "logicalType": "string", "primaryKey": True, "required": True},
                {
                    "name": "age",
                    "logicalType": "integer",
                    "required": True,
                    "logicalTypeOptions": {"minimum": 18, "maximum": 120},
                },
                {
                    "name": "email",
                    "logicalType": "string",
                    "classification": "restricted",
                    "quality": [{"metric": "nullValues", "unit": "percent", "mustBeLessThan": 5}],
                },
            ],
            "quality": [{"name": "enough", "metric": "rowCount", "mustBeGreaterOrEqualTo": 100}],
        }
    ],
}


def condition(kind: str, value: str, message: str = "") -> KubeObject:
    return {"type": kind, "status": value, "reason": "Because", "message": message, "lastTransitionTime": AT}


def contract(*, spec: KubeObject | None = None, **status: Any) -> KubeObject:
    found = {"observedGeneration": 1, "digest": DIGEST, "conditions": [condition("Accepted", "True")], **status}
    return {
        "metadata": {"name": "orders", "namespace": "team", "generation": 1},
        "spec": {"roles": ["TrainingInput"], "odcs": ODCS, "servers": [{"name": "lake"}], **(spec or {})},
        "status": found,
    }


def checked(verdict: str, **more: Any) -> KubeObject:
    return {"name": "lake", "check": "orders-1", "verdict": verdict, "digest": DIGEST, "finishedAt": AT, **more}


def told(obj: KubeObject, **around: Any) -> ContractExplanation:
    return explain_contract(obj, Around(**around), NOW)


def test_given_a_contract_that_holds_then_it_says_so_and_what_it_promises() -> None:
    found = told(contract(verdict="Pass", checks=[checked("Pass")]))
    assert found.headline == "The data keeps to orders, checked 7 min ago."
    assert found.pin == f"orders@{DIGEST}"
    assert found.wrong == ()
    assert found.promises[:6] == (
        "Orders, version 1.2.0: describes training data.",
        "orders has 3 properties:",
        "  id: string, primary key",
        "  age: integer, always there, at least 18, at most 120",
        "  email: string, restricted (its values are never shown), share of nulls is less than 5 %",
        "  enough: number of rows is at least 100",
    )


@pytest.mark.parametrize(
    ("obj", "headline"),
    [
        ({"metadata": {"name": "orders"}}, "No operator has looked at orders yet."),
        (
            {"metadata": {"name": "orders", "generation": 2}, "status": {"observedGeneration": 1}},
            "The operator has not looked at the newest change of orders yet.",
        ),
        (
            contract(conditions=[condition("Accepted", "False", "version reused")]),
            "orders is not accepted, so nothing is checked against its newest content.",
        ),
        (contract(), "orders is accepted; its data has not been checked yet."),
        (
            contract(spec={"servers": []}),
            "orders is accepted. It names no servers, so no data is checked, but versions are compared with it.",
        ),
        (
            contract(verdict="Warn", checks=[checked("Pass")]),
            "The data keeps to orders, checked 7 min ago, with warnings.",
        ),
        (contract(verdict="Fail", checks=[checked("Fail")]), "orders is broken by the data, checked 7 min ago."),
        (contract(verdict="Unknown", checks=[checked("Unknown")]), "orders is not known to hold, checked 7 min ago."),
    ],
)
def test_given_a_state_then_the_headline_names_it(obj: KubeObject, headline: str) -> None:
    assert told(obj).headline == headline


def test_given_a_failed_rule_then_table_column_rule_and_both_values_are_told_and_a_new_check_is_offered() -> None:
    result = {"server": "lake", "table": "orders", "column": "age", "rule": "required", "verdict": "Fail"}
    result |= {"expected": "no nulls", "observed": "31 nulls"}
    check = {"metadata": {"name": "orders-1"}, "status": {"results": [result, {**result, "server": "other"}]}}
    found = told(contract(verdict="Fail", checks=[checked("Fail")]), checks=[check])
    assert found.wrong == ("Server lake, orders.age, rule required: Fail: Expected no nulls, observed 31 nulls.",)
    assert "kubectl weir contract check orders -n team" in [move.command for move in found.moves]


def test_given_a_check_whose_object_is_gone_then_its_message_in_the_contract_is_told() -> None:
    found = told(contract(verdict="Unknown", checks=[checked("Unknown", reason="CheckTimedOut", message="took 30m")]))
    assert found.wrong == ("Server lake: Unknown: Took 30m.",)


def test_given_an_old_verdict_then_it_counts_as_unknown() -> None:
    old = contract(spec={"schedule": {"maxAge": "5m"}}, verdict="Pass", checks=[checked("Pass")])
    assert told(old).wrong == (
        "Server lake: the last verdict is 7 min old, older than schedule.maxAge (5 min); it counts as Unknown.",
    )
    assert told(old).headline == "orders holds, checked 7 min ago, but something is not as it should be."


def test_given_a_verdict_of_another_revision_then_it_does_not_count() -> None:
    (said,) = told(contract(verdict="Pass", checks=[checked("Pass", digest=OTHER)])).wrong
    assert said == "Server lake: the last check was of another revision of the contract, so it does not count."


def test_given_drift_and_incompatibility_then_both_are_told_with_a_way_out() -> None:
    found = told(
        contract(
            drift=[
                {"key": "age/credit-v1", "verdict": "Fail", "totalVariation": "0.31", "since": AT},
                {"key": "income", "verdict": "Pass"},
            ],
            compatibility=[{"version": "credit-v1", "verdict": "Fail", "rule": "R6", "message": "age loosens"}],
        )
    )
    assert found.wrong == (
        "Drift age/credit-v1: beyond its tolerance, since 10:20:00 UTC (7 min ago), a total variation distance of 0.31.",
        "ModelVersion credit-v1 (R6): Age loosens.",
    )
    said = " ".join(move.text for move in found.moves)
    assert "waivers" in said
    assert "Train a version on recent data" in said


def test_given_versions_and_rollouts_then_it_says_who_uses_it_and_where() -> None:
    version = {
        "metadata": {"name": "credit-v1"},
        "status": {"contracts": [{"role": "TrainedOn", "name": "orders", "digest": OTHER}]},
    }
    rollout = {
        "metadata": {"name": "credit"},
        "spec": {"versionRef": {"name": "credit-v1"}, "contracts": {"mode": "Warn"}},
        "status": {"stable": {"version": "credit-v1"}},
    }
    found = told(contract(usedBy=["credit-v1", "credit-v0"]), versions=[version], rollouts=[rollout])
    assert found.used_by == (
        "ModelVersion credit-v0",
        "ModelVersion credit-v1 (trained on it), bound to another revision: stable of Rollout credit",
    )
    assert "Rollout credit is only warned (spec.contracts.mode: Warn)." in found.effects


def test_given_enforcement_then_each_policy_is_explained() -> None:
    spec = {
        "enforcement": {"onFail": "Rollback", "onDrift": "Pause", "grace": "10m"},
        "compatibility": {"mode": "Full"},
    }
    effects = told(contract(spec=spec)).effects
    assert effects[0] == (
        "When a check fails: releases of versions that use it are rolled back, once it has lasted 10 min "
        "(enforcement.onFail: Rollback)."
    )
    assert effects[1].endswith("(enforcement.onUnknown: BlockPromotion).")
    assert effects[2].startswith("When data drifts beyond its tolerance: releases of versions that use it are paused")
    assert effects[3] == "When it changes: old and new data must be fit for old and new versions (Full)."


@pytest.mark.parametrize(
    ("schedule", "status", "said"),
    [
        (
            {"cron": "0 * * * *"},
            {"nextCheckAt": "2026-11-22T11:00:00Z"},
            "The next check is at 11:00:00 UTC (in 33 min)",
        ),
        ({"cron": "0 * * * *"}, {}, "Checks run on schedule: 0 * * * * (UTC)."),
        ({}, {}, "There is no schedule: it is checked when a release needs a verdict, or when somebody asks."),
    ],
)
def test_given_a_schedule_then_the_next_check_is_told(schedule: KubeObject, status: KubeObject, said: str) -> None:
    found = told(contract(spec={"schedule": schedule}, **status)).next
    assert found[0].startswith(said)
    assert found[1] == "A verdict counts for 26 h."


def test_given_a_document_elsewhere_then_the_one_that_was_found_is_explained() -> None:
    obj = contract()
    del obj["spec"]["odcs"]
    assert told(obj).promises == ()
    assert told(obj, odcs=ODCS).promises[0].startswith("Orders, version 1.2.0")


def test_given_a_document_that_cannot_be_read_then_it_is_told() -> None:
    assert told(contract(spec={"odcs": {"apiVersion": "v3.2.0"}})).wrong[0].startswith("The document cannot be read: ")


@pytest.mark.parametrize(
    "junk", [{}, {"spec": 1, "status": []}, {"metadata": None, "status": {"checks": [1, None, {}]}}]
)
def test_given_odd_objects_then_nothing_raises(junk: KubeObject) -> None:
    found = explain_contract(junk, Around(checks=[junk], versions=[junk], rollouts=[junk]), NOW)
    assert found.headline
    assert found.to_dict()["headline"] == found.headline
