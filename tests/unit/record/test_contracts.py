"""Data contracts in sealed records: what they said is there, and leads to the decisions that were taken."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.release.scenario import do, releasing, serving
from tests.unit.release.test_contracts import CLEAN, PIN, finding, live, say, told
from weir.api.rolloutrecord import RolloutRecordSpec
from weir.api.rolloutstatus import DecisionEntry, Verdict
from weir.record.replay import Check, replay
from weir.release.record import record_hash


def looked(record: RolloutRecordSpec) -> list[Check]:
    return [check for check in replay("demo", record).checks if check.gate == "(contracts)"]


def changed(record: RolloutRecordSpec, reason: str, **changes: Any) -> RolloutRecordSpec:
    """Sealed anew after somebody has changed what contracts said in the last decision of that reason."""
    place = max(n for n, d in enumerate(record.decisions) if d.reason == reason)
    decisions = list(record.decisions)
    entry: DecisionEntry = decisions[place]
    assert entry.contracts is not None
    decisions[place] = entry.model_copy(update={"contracts": entry.contracts.model_copy(update=changes)})
    record = record.model_copy(update={"decisions": decisions})
    return record.model_copy(update={"hash": record_hash(record)})


def held_and_released() -> RolloutRecordSpec:
    cluster = releasing()
    say(cluster, finding())
    live(cluster, 60)
    say(cluster)
    cluster.run()
    return cluster.records[2]


def put_back() -> RolloutRecordSpec:
    cluster = releasing()
    say(cluster, finding("Rollback", "Drift", grace=60.0))
    live(cluster, 100)
    return cluster.records[2]


def test_given_a_release_that_was_held_when_replayed_then_every_decision_follows_from_what_contracts_said() -> None:
    record = held_and_released()
    checks = looked(record)
    assert {check.finding for check in checks} == {"agrees"}
    assert [c.recorded for c in checks].count("goes on") == 3
    assert replay("demo", record).agrees
    assert all(d.contracts.pins == [PIN] for d in record.decisions if d.contracts is not None)


def test_given_a_release_that_drift_put_back_when_replayed_then_the_end_of_the_grace_is_recomputed() -> None:
    checks = looked(put_back())
    assert ("put back", "put back") in {(c.recorded, c.recomputed) for c in checks}
    assert {check.finding for check in checks} == {"agrees"}


@pytest.mark.parametrize("effect", ["BlockPromotion", "Pause", "Rollback", "RequireApproval"])
def test_given_a_record_that_went_on_against_a_contract_when_replayed_then_it_differs(effect: str) -> None:
    record = held_and_released()
    entry = next(d for d in record.decisions if d.reason == "ContractFailed")
    assert entry.contracts is not None
    against = [f.model_copy(update={"effect": effect}) for f in entry.contracts.findings]
    false = changed(record, "ReleasePromoted", findings=against, verdict=Verdict.FAIL)
    (wrong,) = [check for check in looked(false) if check.finding == "differs"]
    assert (wrong.recorded, wrong.recomputed) == ("goes on", "stays")
    assert "orders asked for" in wrong.detail


def test_given_a_grace_that_was_not_over_when_replayed_then_it_differs() -> None:
    record = put_back()
    entry = next(d for d in record.decisions if d.reason == "DataDrifted" and d.phase == "RollingBack")
    assert entry.contracts is not None
    later = [f.model_copy(update={"rollback_at": entry.at + 1}) for f in entry.contracts.findings]
    (wrong,) = [c for c in looked(changed(record, "DataDrifted", findings=later)) if c.finding == "differs"]
    assert (wrong.recorded, wrong.recomputed) == ("put back", "stays")


def test_given_a_verdict_that_the_findings_do_not_give_when_replayed_then_it_differs() -> None:
    (wrong,) = [c for c in looked(changed(put_back(), "DataDrifted", verdict=Verdict.PASS)) if c.finding == "differs"]
    assert "verdict Pass, recomputed Fail" in wrong.detail


def test_given_a_forced_promotion_and_an_earlier_version_put_back_when_replayed_then_contracts_had_no_say() -> None:
    cluster = serving()
    say(cluster, finding())
    cluster.release("v2")
    live(cluster, 50)
    do(cluster, "Promote")
    cluster.run()
    cluster.contracts = {"v1": told(finding("Rollback")), "v2": CLEAN}
    do(cluster, "Rollback")
    cluster.run()
    for number in (2, 3):
        assert {check.finding for check in looked(cluster.records[number])} == {"agrees"}
