"""What the status of a DataContract says: nothing old, nothing of another revision and nothing unfinished passes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api import objects as good
from weir.api.base import LocalRef
from weir.api.contractcheck import ContractCheckSpec, ContractCheckStatus, RuleResult, ServerResult
from weir.api.datacontract import DataContractSpec
from weir.api.datacontractstatus import (
    CheckVerdict,
    DataContractStatus,
    DriftStatus,
    ServerCheck,
)
from weir.contract.finding import Finding
from weir.controller.checkfate import Fate
from weir.controller.contractstatus import (
    Checked,
    compatibility_of,
    compatible,
    data_valid,
    disposable,
    drift_free,
    overall,
    server_checks,
    stale_at,
    worst,
)

NOW = 1_800_000_000.0
DIGEST, OTHER = "sha256:" + "d" * 64, "sha256:" + "e" * 64
NOTHING = DataContractStatus()


def spec(*servers: str, **fields: Any) -> DataContractSpec:
    named = [{"name": name, "odcsServer": "lake"} for name in servers or ("lake",)]
    return DataContractSpec.model_validate({**good.CONTRACT, "servers": named, "schedule": {"maxAge": "1h"}, **fields})


def done(
    name: str, verdict: CheckVerdict = "Pass", at: float = NOW - 10, digest: str = DIGEST, *servers: str
) -> Checked:
    results = [
        RuleResult(server=s, rule="minimum", verdict=verdict, message=f"{s} is bad") for s in servers or ("lake",)
    ]
    result = ContractCheckStatus(
        digest=digest,
        verdict=verdict,
        message="m",
        started_at=at - 5,
        finished_at=at,
        servers=[ServerResult(name=server, verdict=verdict, passed=2) for server in servers or ("lake",)],
        results=results if verdict != "Pass" else [],
    )
    return Checked(name, asked(), Fate("Done", at, digest=digest, result=result))


def asked(*servers: str) -> ContractCheckSpec:
    return ContractCheckSpec(contract_ref=LocalRef(name="orders"), servers=list(servers) or None)


def running(name: str, at: float = NOW) -> Checked:
    return Checked(name, asked(), Fate("Running", at, "Running", "runs"))


def failed(name: str, at: float, digest: str = DIGEST) -> Checked:
    return Checked(name, asked(), Fate("Failed", at, "CheckFailed", "its Job failed", digest))


def entry(made: DataContractSpec, *checks: Checked, old: DataContractStatus = NOTHING, now: float = NOW) -> ServerCheck:
    (found,) = server_checks(made, DIGEST, checks, old, now)
    return found


def test_given_finished_checks_then_the_last_one_counts() -> None:
    found = entry(spec(), done("a", "Fail", NOW - 30), done("b", "Pass", NOW - 20))
    assert (found.check, found.verdict, found.passed, found.digest) == ("b", "Pass", 2, DIGEST)


def test_given_a_check_that_runs_then_the_last_finished_one_stays() -> None:
    assert entry(spec(), done("a"), running("b")).check == "a"
    first = entry(spec(), running("b"))
    assert (first.verdict, first.reason, first.finished_at) == ("Unknown", "Running", None)


def test_given_a_job_that_failed_after_a_pass_then_nothing_is_known() -> None:
    found = entry(spec(), done("a", "Pass", NOW - 30), failed("b", NOW - 20))
    assert (found.check, found.verdict, found.reason) == ("b", "Unknown", "CheckFailed")


def test_given_a_rule_that_failed_then_its_sentence_is_the_message() -> None:
    found = entry(spec(), done("a", "Fail"))
    assert (found.reason, found.message) == ("RulesBroken", "lake is bad")


@pytest.mark.parametrize("verdict", ["Pass", "Warn", "Fail"])
def test_given_a_verdict_that_is_too_old_then_it_is_unknown(verdict: CheckVerdict) -> None:
    made, check = spec(), done("a", verdict, NOW - 3599)
    assert entry(made, check).verdict == verdict
    assert stale_at(made, [entry(made, check)], NOW) == NOW + 1

    late = entry(made, check, now=NOW + 1)

    assert (late.verdict, late.reason) == ("Unknown", "StaleCheck")
    assert stale_at(made, [late], NOW + 1) is None


def test_given_a_verdict_on_another_revision_then_it_is_unknown() -> None:
    found = entry(spec(), done("a", "Pass", NOW - 1, OTHER))
    assert (found.verdict, found.reason, found.digest) == ("Unknown", "OtherRevision", OTHER)


def test_given_a_check_that_somebody_deleted_then_its_result_stays_known_until_it_is_old() -> None:
    made = spec()
    old = DataContractStatus(checks=server_checks(made, DIGEST, [done("a")], NOTHING, NOW))

    assert entry(made, old=old).verdict == "Pass"
    assert entry(made, running("b"), old=old).check == "a"
    assert entry(made, old=old, now=NOW + 3600).reason == "StaleCheck"


def test_given_a_server_that_is_no_longer_declared_then_nothing_is_said_of_it() -> None:
    assert server_checks(spec("sea"), DIGEST, [done("a")], NOTHING, NOW) == []


def test_given_the_same_inputs_again_then_the_status_is_the_same() -> None:
    made = spec("lake", "feed")
    checks = [done("a", "Warn", NOW - 9, DIGEST, "lake", "feed"), running("b")]
    first = server_checks(made, DIGEST, checks, NOTHING, NOW)
    assert server_checks(made, DIGEST, checks, DataContractStatus(checks=first), NOW) == first
    assert [found.name for found in first] == ["feed", "lake"]


@pytest.mark.parametrize(
    ("verdicts", "found"),
    [
        ((), None),
        (("Pass",), "Pass"),
        (("Pass", "Warn"), "Warn"),
        (("Pass", "Unknown", "Warn"), "Unknown"),
        (("Unknown", "Fail"), "Fail"),
    ],
)
def test_given_several_verdicts_then_the_worst_counts(verdicts: tuple[CheckVerdict, ...], found: str | None) -> None:
    assert worst(verdicts) == found


def test_given_a_server_that_was_never_checked_then_the_whole_is_unknown() -> None:
    made = spec("lake", "feed")
    entries = server_checks(made, DIGEST, [done("a")], NOTHING, NOW)
    assert overall(made, entries) == "Unknown"
    found = data_valid(made, entries)
    assert (found.status, found.reason) == ("Unknown", "NotChecked")
    assert "feed" in found.message


@pytest.mark.parametrize(
    ("verdict", "status", "reason"),
    [
        ("Pass", "True", "RulesHold"),
        ("Warn", "True", "RulesWarn"),
        ("Fail", "False", "RulesBroken"),
        ("Unknown", "Unknown", "NotDecided"),
    ],
)
def test_given_a_verdict_then_the_condition_follows(verdict: CheckVerdict, status: str, reason: str) -> None:
    made = spec()
    found = data_valid(made, server_checks(made, DIGEST, [done("a", verdict)], NOTHING, NOW))
    assert (found.status, found.reason) == (status, reason)


def test_given_no_servers_then_there_is_no_verdict() -> None:
    made = DataContractSpec.model_validate(good.CONTRACT)
    assert overall(made, []) is None
    assert data_valid(made, []).reason == "NoServers"


WATCHED = {"drift": [{"name": "amount", "property": "orders.amount"}], "reference": {"server": "lake"}}


@pytest.mark.parametrize(
    ("drift", "status", "reason"),
    [
        ([], "Unknown", "NotEnoughData"),
        ([("amount", "Pass")], "True", "WithinTolerance"),
        ([("amount", "Unknown")], "Unknown", "NotEnoughData"),
        ([("amount/v1", "Pass"), ("amount/v2", "Fail")], "False", "Drifted"),
    ],
)
def test_given_series_then_drift_free_follows(drift: list[tuple[str, CheckVerdict]], status: str, reason: str) -> None:
    entries = [DriftStatus(key=key, verdict=verdict) for key, verdict in drift]
    found = drift_free(spec(**WATCHED), entries, None)
    assert found is not None
    assert (found.status, found.reason) == (status, reason)


def test_given_nothing_is_watched_then_drift_is_not_claimed_to_be_absent() -> None:
    assert drift_free(spec(), [], None) is None


def finding(judgement: Any, effect: Any = "BlockPromotion") -> Finding:
    return Finding("orders", "R6", judgement, effect, f"it is {judgement}")


@pytest.mark.parametrize(
    ("findings", "verdict", "status"),
    [
        ([], "Pass", "True"),
        ([finding("Pass")], "Pass", "True"),
        ([finding("Fail", "Warn")], "Warn", "True"),
        ([finding("Unknown", "RequireApproval")], "Unknown", "Unknown"),
        ([finding("Unknown"), finding("Fail")], "Fail", "False"),
    ],
)
def test_given_findings_about_a_version_then_the_worst_is_told(
    findings: list[Finding], verdict: str, status: str
) -> None:
    made = compatibility_of("digits-1", findings)
    assert (made.version, made.verdict) == ("digits-1", verdict)
    assert compatible([made]).status == status


def test_given_many_checks_then_the_last_ones_and_those_that_are_named_or_run_stay() -> None:
    checks = [done(str(number), at=NOW - 100 + number) for number in range(9)]
    checks.insert(2, running("runs", NOW - 97))
    status = DataContractStatus(
        checks=[ServerCheck(name="lake", check="1", verdict="Pass")],
        drift=[DriftStatus(key="amount", verdict="Pass", source="2")],
    )
    assert disposable(checks, status, keep=5) == ["0", "3"]
    assert disposable(checks[:4], status, keep=5) == []
