"""What all contracts together say of a release: verdicts of checks, drift, compatibility, and what is awaited."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.contract.parties import CODE, PRICE, bound, check, contract, revision
from weir.api.base import format_time
from weir.contract.finding import Finding, Standing
from weir.contract.revision import Bound, Contract
from weir.contract.standing import standing

NOW = 1_800_000_000.0
HOUR = 3600.0
ORDERS = revision("orders", PRICE, CODE)
V1, V2 = bound("v1", ORDERS), bound("v2", ORDERS)


def said(
    *contracts: Contract,
    candidate: Bound | None = V2,
    stable: Bound | None = V1,
    now: float = NOW,
    metadata: tuple[Finding, ...] = (),
    previous: Bound | None = None,
) -> Standing:
    known = {c.name: c for c in contracts}
    return standing(candidate, stable, known, metadata, now, previous=previous)


def checked(verdict: str, age: float = HOUR, **changes: Any) -> Contract:
    """One server whose last check said so."""
    entry = {"at": NOW - age, "digest": ORDERS.digest, "message": "orders.price: 3 nulls, none allowed"}
    digest = changes.pop("digest", entry["digest"])
    entries = (check("lake", verdict, entry["at"], digest, str(entry["message"])),)  # type: ignore[arg-type]
    return contract(ORDERS, servers=("lake",), checks=entries, **changes)


def only(found: Standing) -> Finding:
    assert len(found.findings) == 1, found.findings
    return found.findings[0]


# --- Nothing to say --------------------------------------------------------------------------------------------------


def test_given_versions_without_contracts_then_nothing_is_said() -> None:
    assert said(candidate=Bound("v2"), stable=Bound("v1")) == Standing()
    assert said(candidate=Bound("v2"), stable=None) == Standing()
    assert said(candidate=None, stable=None) == Standing()


def test_given_a_contract_without_servers_and_drift_then_there_is_nothing_to_check() -> None:
    found = said(contract(ORDERS))
    assert found.findings == ()
    assert found.awaited == ()
    assert found.pins == (ORDERS.pin,)
    assert found.rollbackable is True
    assert found.changes_at is None


def test_given_a_version_that_names_none_over_one_that_does_then_its_clients_contract_still_counts() -> None:
    asked = revision("request", PRICE)
    found = said(contract(asked), candidate=Bound("v2"), stable=Bound("v1", request=asked, served_from=()))
    assert [f.rule for f in found.findings if f.effect != "Warn"] == ["R2"]


# --- Checks ----------------------------------------------------------------------------------------------------------


def test_given_a_check_that_passed_then_it_counts_until_it_is_too_old() -> None:
    found = said(checked("Pass", schedule={"maxAge": "26h"}))
    assert found.findings == ()
    assert found.awaited == ()
    assert found.changes_at == NOW + 25 * HOUR


@pytest.mark.parametrize("effect", ["BlockPromotion", "Pause", "Rollback", "Warn"])
def test_given_a_check_that_failed_then_the_effect_is_that_of_on_fail(effect: str) -> None:
    found = said(checked("Fail", enforcement={"onFail": effect, "grace": "5m"}))
    finding = only(found)
    assert (finding.rule, finding.judgement, finding.effect, finding.path) == ("Check", "Fail", effect, "lake")
    assert finding.grace == 300.0
    for part in ("DataContract orders", "server lake", "orders.price: 3 nulls, none allowed", "orders-lake-1"):
        assert part in finding.message
    assert "kubectl weir contract explain orders" in finding.message
    assert found.awaited == ("orders",), "it is checked again, so that it resumes by itself"
    assert not finding.awaited, "somebody has to repair it"


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (None, "not checked yet"),
        (check("lake", "Unknown", None, ORDERS.digest, reason="Running"), "Running"),
        (check("lake", "Pass", NOW - HOUR, "sha256:" + "0" * 64), "another revision"),
        (check("lake", "Pass", NOW - 27 * HOUR, ORDERS.digest), "older than schedule.maxAge (26h)"),
        (check("lake", "Fail", NOW - 27 * HOUR, ORDERS.digest), "older than schedule.maxAge (26h)"),
        (check("lake", "Pass", NOW - 26 * HOUR, ORDERS.digest), "older than schedule.maxAge (26h)"),
    ],
)
@pytest.mark.parametrize("effect", ["BlockPromotion", "Warn"])
def test_given_no_verdict_that_counts_then_a_check_is_awaited_and_it_is_never_a_pass(
    entry: dict[str, Any] | None, why: str, effect: str
) -> None:
    entries = (entry,) if entry is not None else ()
    found = said(contract(ORDERS, servers=("lake",), checks=entries, enforcement={"onUnknown": effect}))
    finding = only(found)
    assert (finding.judgement, finding.effect, finding.awaited) == ("Unknown", effect, True)
    assert why in finding.message
    assert found.awaited == ("orders",)


def test_given_a_check_that_could_not_tell_then_nothing_is_awaited_but_the_way_out_is_told() -> None:
    entry = check("lake", "Unknown", NOW - HOUR, ORDERS.digest, "the Job was killed", reason="CheckFailed")
    finding = only(said(contract(ORDERS, servers=("lake",), checks=(entry,))))
    assert (finding.judgement, finding.awaited) == ("Unknown", False)
    assert "CheckFailed" in finding.message
    assert "kubectl weir contract check orders" in finding.message


def test_given_a_check_that_warned_then_it_is_told_and_nothing_more() -> None:
    found = said(checked("Warn"))
    finding = only(found)
    assert (finding.judgement, finding.effect) == ("Pass", "Warn")
    assert found.awaited == ()


def test_given_two_servers_then_each_is_told_of_by_itself() -> None:
    entries = (
        check("lake", "Fail", NOW - HOUR, ORDERS.digest, "a"),
        check("warehouse", "Fail", NOW - 2 * HOUR, ORDERS.digest, "b"),
    )
    found = said(contract(ORDERS, servers=("lake", "warehouse"), checks=entries))
    assert [f.path for f in found.findings] == ["lake", "warehouse"]
    assert found.changes_at == NOW + 24 * HOUR


def test_given_a_contract_that_the_version_does_not_name_then_its_checks_do_not_matter() -> None:
    other = revision("other", PRICE)
    entries = (check("lake", "Fail", NOW - HOUR, other.digest),)
    found = said(contract(ORDERS), contract(other, servers=("lake",), checks=entries))
    assert found.findings == ()
    assert found.awaited == ()


# --- Drift -----------------------------------------------------------------------------------------------------------


def drifting(key: str, verdict: str = "Fail", effect: str = "Rollback") -> Contract:
    drift = [{"name": "price", "property": "orders.price"}]
    series = {"key": key, "verdict": verdict, "message": "orders.price: data drift: 31 % of rows would have to change"}
    return contract(
        ORDERS,
        drifted=(series,),
        drift=drift,
        reference={"server": "training"},
        enforcement={"onDrift": effect, "grace": "10m"},
    )


@pytest.mark.parametrize("key", ["price", "price/v2"])
def test_given_drift_then_the_effect_is_that_of_on_drift(key: str) -> None:
    finding = only(said(drifting(key)))
    assert (finding.rule, finding.judgement, finding.effect, finding.grace) == ("Drift", "Fail", "Rollback", 600.0)
    assert (finding.path, finding.change) == ("orders.price", key)
    assert "31 % of rows" in finding.message
    assert "kubectl weir contract explain orders" in finding.message


@pytest.mark.parametrize("verdict", ["Pass", "Unknown"])
def test_given_no_proven_drift_then_nothing_is_said(verdict: str) -> None:
    assert said(drifting("price", verdict)).findings == ()


def test_given_drift_that_another_versions_pods_saw_then_it_is_not_held_against_the_candidate() -> None:
    assert said(drifting("price/v1")).findings == ()
    assert only(said(drifting("price/v1"), candidate=None)).rule == "Drift"


def test_given_a_drift_check_that_is_no_longer_asked_for_then_it_says_nothing() -> None:
    assert said(drifting("other")).findings == ()


# --- Compatibility ---------------------------------------------------------------------------------------------------


def test_given_data_that_became_looser_than_what_was_trained_on_then_promotion_is_blocked() -> None:
    looser = revision("orders", replace(PRICE, required=False), CODE)
    found = said(contract(looser))
    assert [(f.rule, f.judgement, f.effect) for f in found.findings if f.effect != "Warn"] == [
        ("R1", "Fail", "BlockPromotion")
    ]
    assert found.rollbackable is False, "v1 was trained on the same data"
    (advice,) = [f for f in found.findings if f.rule == "R5"]
    assert (advice.judgement, advice.effect) == ("Pass", "Warn")
    assert "a Rollback works all the same" in advice.message
    assert "v1" in advice.message
    assert set(found.pins) == {ORDERS.pin, looser.pin}


def test_given_requests_that_fit_one_way_only_then_the_versions_must_not_share_traffic() -> None:
    narrow, wide = revision("request", CODE), revision("request", replace(CODE, enum=("a", "b", "c")))
    old, new = Bound("v1", request=narrow), Bound("v2", request=wide)
    found = said(contract(wide), candidate=new, stable=old)
    assert not found.splittable
    (split,) = [f for f in found.findings if f.rule == "R4"]
    assert (split.judgement, split.effect) == ("Fail", "BlockPromotion")
    assert "blueGreen" in split.message
    assert not [f for f in found.findings if f.rule == "R2"]


def test_given_a_loss_that_the_version_makes_up_for_then_that_is_advice_and_nothing_speaks_against_it() -> None:
    looser = revision("orders", replace(PRICE, required=False), CODE)
    version = replace(V2, imputed=frozenset({"orders.price"}))
    found = said(contract(looser), candidate=version, stable=None)
    assert [(f.rule, f.judgement, f.effect) for f in found.findings] == [("R1", "Pass", "Warn")]


def test_given_no_candidate_then_the_serving_version_is_told_of_and_what_it_could_go_back_to() -> None:
    looser = revision("orders", replace(PRICE, required=False), CODE)
    fits = bound("v1", looser)
    found = said(contract(looser), candidate=None, stable=V2, previous=fits)
    assert [f.rule for f in found.findings if f.effect != "Warn"] == ["R1"]
    assert found.rollbackable is True
    found = said(contract(looser), candidate=None, stable=fits, previous=V2)
    assert [f.rule for f in found.findings if f.effect != "Warn"] == []
    assert found.rollbackable is False
    assert said(contract(looser), candidate=None, stable=fits).rollbackable is None


@pytest.mark.parametrize("effect", ["BlockPromotion", "Warn"])
def test_given_a_document_that_is_not_accepted_then_nothing_is_known_and_its_own_policy_counts(effect: str) -> None:
    broken = contract(None, problem="orders: no property", enforcement={"onUnknown": effect}, servers=("lake",))
    found = said(broken)
    assert {(f.rule, f.effect) for f in found.findings} == {("Document", effect)}
    if effect == "BlockPromotion":
        assert found.findings[0].judgement == "Unknown"


def test_given_a_contract_that_does_not_exist_then_promotion_is_blocked() -> None:
    version = Bound("v2", missing=(("orders", "there is no DataContract orders"),))
    finding = only(said(candidate=version, stable=None))
    assert (finding.rule, finding.judgement, finding.effect) == ("Document", "Unknown", "BlockPromotion")


def test_given_a_waiver_then_the_standing_changes_when_it_expires() -> None:
    looser = revision("orders", replace(PRICE, required=False), CODE)
    waiver = {
        "ruleId": "required-changed",
        "path": "orders.price",
        "reason": "known",
        "approvedBy": "ada",
        "expires": format_time(NOW + 60),
    }
    waived = contract(looser, compatibility={"waivers": [waiver]})
    found = said(waived)
    assert all(f.effect == "Warn" for f in found.findings)
    assert any(f.judgement == "Pass" and "ada accepted it" in f.message for f in found.findings)
    assert found.changes_at == NOW + 60
    later = said(waived, now=NOW + 60)
    assert [f.rule for f in later.findings if f.effect != "Warn"] == ["R1"]
    assert later.changes_at is None


# --- What the live model says ----------------------------------------------------------------------------------------

TOLD = Finding(
    "request", "Metadata", "Fail", "BlockPromotion", "the model takes INT64", "metadataTypeChanged", "orders.price"
)


def test_given_a_model_that_contradicts_its_contract_then_it_blocks_and_tells_of_the_waiver() -> None:
    finding = only(said(contract(ORDERS), metadata=(TOLD,)))
    assert (finding.judgement, finding.effect) == ("Fail", "BlockPromotion")
    assert "ruleId metadataTypeChanged" in finding.message


def test_given_a_waiver_for_what_the_model_says_then_it_only_warns() -> None:
    waiver = {
        "ruleId": "metadataTypeChanged",
        "path": "orders.price",
        "reason": "known",
        "approvedBy": "ada",
        "expires": format_time(NOW + 60),
    }
    asked = contract(revision("request", PRICE), compatibility={"waivers": [waiver]})
    finding = only(said(contract(ORDERS), asked, metadata=(TOLD,)))
    assert (finding.judgement, finding.effect) == ("Pass", "Warn")
    assert "ada accepted it" in finding.message


def test_given_a_contract_that_leaves_something_open_then_it_is_no_doubt_about_the_version() -> None:
    open_question = replace(TOLD, judgement="Unknown", effect="Warn")
    assert only(said(contract(ORDERS), metadata=(open_question,))).judgement == "Pass"


# --- The version that serves -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", [None, check("lake", "Pass", NOW - 27 * HOUR, ORDERS.digest)])
def test_given_no_schedule_when_no_release_asks_then_an_old_verdict_is_nothing_to_tell(
    entry: dict[str, Any] | None,
) -> None:
    entries = (entry,) if entry is not None else ()
    quiet = contract(ORDERS, servers=("lake",), checks=entries)
    assert said(quiet, candidate=None).findings == ()
    assert said(quiet, candidate=None).changes_at is None
    scheduled = contract(ORDERS, servers=("lake",), checks=entries, schedule={"cron": "0 * * * *"})
    found = said(scheduled, candidate=None)
    assert only(found).judgement == "Unknown"
    assert found.awaited == (), "nobody waits, so no check is asked for beside the schedule"


def test_given_no_schedule_when_no_release_asks_then_no_verdict_ever_grows_old() -> None:
    assert said(checked("Pass"), candidate=None).changes_at is None
    assert said(checked("Pass", schedule={"cron": "0 * * * *"}), candidate=None).changes_at == NOW + 25 * HOUR


def test_given_an_old_failure_without_a_schedule_then_the_serving_version_is_still_told_of_it() -> None:
    found = said(checked("Fail", age=50 * HOUR), candidate=None)
    assert only(found).judgement == "Fail"
