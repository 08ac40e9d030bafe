"""The rules R1 to R10 by example: what blocks, what warns, what waits for a waiver, and what the message says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.unit.contract.contracts import NOW, bound, contract, known, label, number, revision, text, waiver
from weir.contract.compatibility import release_findings, revision_findings, rollbackable, splittable
from weir.contract.finding import Finding
from weir.contract.revision import Bound, Contract, Revision

RANGE = "validation-constraint-changed"
NARROW, WIDE = revision(number(maximum=10)), revision(number(maximum=99))


def _one(findings: Sequence[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def _served(now: Contract, *trained: Revision, **fields: Any) -> tuple[Finding, ...]:
    """What is found of a version that was trained on revisions, when the contract is now this one."""
    return release_findings(bound(trained_on=trained, **fields), None, known(now), NOW)


# R1: trained on and served from.


def test_r1_data_that_the_version_never_saw_blocks_it_and_the_message_says_why_and_what_to_do() -> None:
    found = _one(_served(contract(WIDE), NARROW))

    assert (found.rule, found.judgement, found.effect) == ("R1", "Fail", "BlockPromotion")
    assert (found.contract, found.change, found.path) == ("orders", RANGE, "orders.amount")
    assert found.message == (
        "orders.amount: upper limit changed from <= 10 to <= 99 (R1, validation-constraint-changed). "
        f"ModelVersion v2 was trained on orders@{NARROW.digest[:19]} and is served from orders@{WIDE.digest[:19]}, "
        "so it may get data that it was not made for. Way out: release a version that is trained on "
        f"orders@{WIDE.digest[:19]}, or restore the promise in a further version of the DataContract orders, "
        "or add a waiver (ruleId validation-constraint-changed, path orders.amount) to spec.compatibility.waivers of the "
        "DataContract orders."
    )


def test_r1_data_that_is_a_part_of_what_it_was_trained_on_is_fine() -> None:
    assert _served(contract(NARROW), WIDE) == ()


def test_r1_a_column_that_becomes_nullable_blocks() -> None:
    found = _one(_served(contract(revision(text(required=False))), revision(text())))

    assert (found.rule, found.change) == ("R1", "required-changed")


def test_r1_looks_only_at_what_the_version_uses() -> None:
    old, new = revision(number(), text()), revision(number())

    assert _one(_served(contract(new), old)).path == "orders.email"
    assert _served(contract(new), old, uses=["orders.amount"]) == ()
    assert _one(_served(contract(new), old, uses=["orders.email"])).path == "orders.email"


def test_r1_a_rule_of_the_table_is_about_every_column_that_is_used() -> None:
    def of(age: int) -> Revision:
        return revision(number(), slaProperties=[{"property": "freshness", "value": age, "element": "orders.at"}])

    assert _one(_served(contract(of(9)), of(1), uses=["orders.amount"])).change == "freshness-changed"


def test_r1_a_removed_table_counts_where_a_column_of_it_is_used() -> None:
    gone = contract(revision(number(), table="other"))

    assert _one(_served(gone, NARROW, uses=["orders.amount"])).change == "schema-added-or-removed"


@pytest.mark.parametrize("new", [revision(number()), revision(number(), text(required=False))])
def test_r1_a_property_with_a_default_may_be_missing(new: Revision) -> None:
    found = _one(_served(contract(new), revision(number(), text()), imputed=["orders.email"]))

    assert (found.rule, found.effect) == ("R1", "Warn")
    assert "it imputes the value" in found.message


def test_r1_a_default_does_not_excuse_other_values() -> None:
    assert _one(_served(contract(WIDE), NARROW, imputed=["orders.amount"])).effect == "BlockPromotion"


def test_r1_widening_can_be_allowed() -> None:
    def of(kind: str) -> Revision:
        return revision({"name": "n", "logicalType": kind})

    assert _one(_served(contract(of("number")), of("integer"))).rule == "R1"
    assert _served(contract(of("number"), compatibility={"allow": ["Widening"]}), of("integer")) == ()


def test_r1_a_label_that_is_excluded_at_serving_is_not_missed() -> None:
    trained = revision(number(), label("a"))
    environments = [{"name": "serving", "exclude": ["orders.label"]}]

    assert _served(contract(revision(number(), label("a", "b")), environments=environments), trained) == ()
    assert _served(contract(trained, environments=environments), trained) == ()


def test_r1_what_a_version_says_it_uses_must_be_there_at_serving() -> None:
    trained = revision(number(), text())
    now = contract(trained, environments=[{"name": "serving", "exclude": ["orders.email"]}])

    found = _one(_served(now, trained, uses=["orders.email"]))

    assert (found.rule, found.change, found.path) == ("R1", "property-added-or-removed", "orders.email")
    assert "absent in the environment serving" in found.message


def test_r1_labels_in_a_contract_of_their_own_are_no_input() -> None:
    labels = contract(revision(label("a", "b"), name="labels"), roles=["Label"])
    old = revision(label("a"), name="labels")

    assert release_findings(bound(trained_on=(old,)), None, known(labels), NOW) == ()


def test_r1_tables_may_come_from_a_contract_of_another_name() -> None:
    feed = contract(revision(number(maximum=99), name="feed"))

    found = _one(_served(feed, NARROW, served_from=("feed",)))

    assert (found.rule, found.contract, found.path) == ("R1", "feed", "orders.amount")


def test_r1_each_table_is_compared_with_the_contract_that_has_it() -> None:
    trained = Revision("all", "sha256:0", revision(number()).document, ())
    orders, other = contract(revision(number(), name="a")), contract(revision(text(), name="b", table="other"))

    found = release_findings(bound(trained_on=(trained,), served_from=("a", "b")), None, known(orders, other), NOW)

    assert found == ()


# R2 and R3: clients and consumers.


def _beside(stable: Bound, candidate: Bound, *contracts: Contract) -> tuple[Finding, ...]:
    return release_findings(candidate, stable, known(*contracts), NOW)


def test_r2_requests_that_the_candidate_does_not_accept_block_it() -> None:
    found = _one(_beside(bound("v1", request=WIDE), bound(request=NARROW)))

    assert (found.rule, found.judgement, found.effect) == ("R2", "Fail", "BlockPromotion")
    assert "Clients of ModelVersion v1" in found.message
    assert _beside(bound("v1", request=NARROW), bound(request=WIDE)) == ()


def test_r2_another_contract_is_compared_like_another_revision() -> None:
    other = revision(number(maximum=5), name="requests-v2")

    assert _one(_beside(bound("v1", request=NARROW), bound(request=other))).contract == "requests-v2"


@pytest.mark.parametrize(("required", "rules"), [(False, []), (True, ["R2"])])
def test_r2_a_new_property_of_requests_must_be_optional(required: bool, rules: list[str]) -> None:
    new = revision(number(), text(required=required))

    assert [f.rule for f in _beside(bound("v1", request=revision(number())), bound(request=new))] == rules


def test_r3_a_new_class_of_predictions_blocks_the_candidate() -> None:
    old, new = revision(label("cat", "dog")), revision(label("cat", "dog", "cow"))

    found = _one(_beside(bound("v1", response=old), bound(response=new)))

    assert (found.rule, found.change, found.effect) == ("R3", "enum-constraint-changed", "BlockPromotion")
    assert _beside(bound("v1", response=new), bound(response=old)) == ()


@pytest.mark.parametrize(("role", "rule"), [("request", "R2"), ("response", "R3")])
def test_r2_and_r3_a_candidate_that_declares_nothing_waits(role: str, rule: str) -> None:
    found = _one(_beside(bound("v1", **{role: NARROW}), bound()))

    assert (found.rule, found.judgement, found.effect) == (rule, "Unknown", "RequireApproval")
    assert (found.change, found.path) == ("contract-not-declared", "v2")
    accepting = contract(NARROW, compatibility={"waivers": [waiver("contract-not-declared", "v2")]})
    assert _one(_beside(bound("v1", **{role: NARROW}), bound(), accepting)).judgement == "Pass"


# R4: shared traffic.


def _splits(old: Revision, new: Revision, role: str = "request", *contracts: Contract) -> tuple[bool, str]:
    fresh: dict[str, Any] = {role: new}
    return splittable(bound(**fresh), bound("v1", **{role: old}), known(*contracts), NOW)


def test_r4_versions_whose_requests_differ_only_in_optional_properties_share_traffic() -> None:
    assert _splits(revision(number(), text(required=False)), revision(number(), text("note", required=False)))[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [(NARROW, WIDE), (WIDE, NARROW), (revision(number(), text()), revision(number()))],
)
def test_r4_versions_whose_requests_differ_otherwise_do_not(old: Revision, new: Revision) -> None:
    can, why = _splits(old, new)

    assert not can
    assert "(R4, " in why
    assert "orders." in why


def test_r4_answers_must_be_what_consumers_of_the_stable_version_were_promised() -> None:
    assert _splits(WIDE, NARROW, "response")[0]
    assert not _splits(NARROW, WIDE, "response")[0]


def test_r4_a_waiver_lets_them_share_traffic() -> None:
    accepting = contract(WIDE, compatibility={"waivers": [waiver(RANGE, "orders.amount")]})

    assert _splits(NARROW, WIDE, "request", accepting) == (True, "")


def test_r4_a_first_version_shares_traffic_with_nobody() -> None:
    assert splittable(bound(request=NARROW), None, {}, NOW) == (True, "")


# R5: the way back.


def test_r5_the_version_before_no_longer_fits_its_data() -> None:
    can, why = rollbackable(bound(), bound("v1", trained_on=(NARROW,)), known(contract(WIDE)), NOW)

    assert can is False
    assert "v1 was trained on" in why


def test_r5_clients_of_the_candidate_may_send_what_the_version_before_does_not_accept() -> None:
    can, why = rollbackable(bound(request=WIDE), bound("v1", request=NARROW), {}, NOW)

    assert can is False
    assert "(R5, " in why
    assert rollbackable(bound(request=NARROW), bound("v1", request=WIDE), {}, NOW) == (True, "")


def test_r5_consumers_of_the_candidate_may_have_been_promised_more() -> None:
    assert rollbackable(bound(response=NARROW), bound("v1", response=WIDE), {}, NOW)[0] is False


def test_r5_nothing_is_said_where_no_contract_tells() -> None:
    assert rollbackable(bound(request=NARROW), bound("v1"), {}, NOW) == (None, "")
    assert rollbackable(bound(request=NARROW), None, {}, NOW) == (None, "")


def test_r5_what_cannot_be_judged_is_no_yes() -> None:
    old, new = revision(text(pattern="a+")), revision(text(pattern="b+"))

    can, why = rollbackable(bound(request=new), bound("v1", request=old), {}, NOW)

    assert can is None
    assert "cannot be told" in why


# R6: data changes under versions in use.


def _revised(now: Contract, *versions: Bound, **fields: Any) -> tuple[Finding, ...]:
    return revision_findings(now, versions, NOW, **fields)


def test_r6_a_revision_that_loosens_breaks_a_version_in_use() -> None:
    found = _one(_revised(contract(WIDE), bound("v1", trained_on=(NARROW,))))

    assert (found.rule, found.judgement, found.effect) == ("R6", "Fail", "BlockPromotion")
    assert "ModelVersion v1" in found.message
    assert _revised(contract(NARROW), bound("v1", trained_on=(WIDE,))) == ()


def test_r6_a_version_is_not_touched_by_what_it_does_not_read() -> None:
    assert _revised(contract(WIDE), bound("v1", trained_on=(NARROW,), uses=["orders.other"])) == ()
    assert _revised(contract(WIDE), bound("v1", trained_on=(NARROW,), served_from=("other",))) == ()


def test_r6_a_table_that_another_contract_feeds_is_not_missed_in_this_one() -> None:
    trained = revision(number(), name="training")
    other = contract(revision(text(), name="features", table="users"))

    assert _revised(other, bound("v1", trained_on=(trained,), served_from=("features", "orders"))) == ()


@pytest.mark.parametrize(
    ("against", "versions"), [(["ServedBy"], {"v2"}), (["RollbackTargets"], {"v1"}), ([], set()), (None, {"v1", "v2"})]
)
def test_r6_asks_the_versions_that_the_policy_names(against: list[str] | None, versions: set[str]) -> None:
    policy = {} if against is None else {"against": against}

    found = _revised(
        contract(WIDE, compatibility=policy),
        bound("v2", trained_on=(NARROW,)),
        targets=[bound("v1", trained_on=(NARROW,))],
    )

    assert {name for name in ("v1", "v2") for f in found if f"ModelVersion {name} " in f.message} == versions


@pytest.mark.parametrize(
    ("mode", "looser", "tighter"),
    [
        ("None", [], []),
        ("Forward", ["R6"], []),
        ("Backward", [], ["R7"]),
        ("Full", ["R6"], ["R7"]),
        ("ForwardTransitive", ["R6"], []),
        ("BackwardTransitive", [], ["R7"]),
        ("FullTransitive", ["R6"], ["R7"]),
    ],
)
def test_modes_say_which_way_a_contract_may_move_from_its_earlier_revisions(
    mode: str, looser: list[str], tighter: list[str]
) -> None:
    policy = {"mode": mode}

    assert [f.rule for f in _revised(contract(WIDE, compatibility=policy), history=[NARROW])] == looser
    assert [f.rule for f in _revised(contract(NARROW, compatibility=policy), history=[WIDE])] == tighter
    assert all(f.effect == "Warn" for f in _revised(contract(WIDE, compatibility=policy), history=[NARROW]))


@pytest.mark.parametrize("mode", ["Backward", "BackwardTransitive", "None"])
def test_modes_that_look_back_only_let_the_data_of_versions_in_use_loosen(mode: str) -> None:
    assert _revised(contract(WIDE, compatibility={"mode": mode}), bound("v1", trained_on=(NARROW,))) == ()


@pytest.mark.parametrize(("mode", "found"), [("Full", 0), ("FullTransitive", 1)])
def test_transitive_modes_see_a_column_that_comes_back_as_something_else(mode: str, found: int) -> None:
    def of(*columns: dict[str, Any]) -> Revision:
        return revision(number("id"), *columns)

    current = of(text("a"))

    seen = _revised(contract(current, compatibility={"mode": mode}), history=[of(number("a")), current])

    assert len([f for f in seen if f.change == "type-changed"]) == 2 * found


def test_each_difference_from_earlier_revisions_is_told_once() -> None:
    history = [revision(number(maximum=m)) for m in (5, 7, 10)]

    found = _one(_revised(contract(WIDE), history=history))

    assert history[-1].digest[:19] in found.message


# R7: retraining.


def test_r7_history_that_a_retrained_version_cannot_read_is_a_warning() -> None:
    found = _one(_beside(bound("v1", trained_on=(WIDE,)), bound(trained_on=(NARROW,)), contract(NARROW)))

    assert (found.rule, found.judgement, found.effect) == ("R7", "Fail", "Warn")


# R8: meaning.


def _meaning(unit: str) -> Revision:
    return revision(number(), semantics=[{"property": "orders.amount", "unit": unit}])


def test_r8_another_unit_blocks_on_every_side() -> None:
    euro, dollar = _meaning("EUR"), _meaning("USD")

    for findings in (
        _served(contract(dollar), euro),
        _beside(bound("v1", request=euro), bound(request=dollar)),
        _beside(bound("v1", response=euro), bound(response=dollar)),
        _revised(contract(dollar), bound("v1", trained_on=(euro,))),
    ):
        found = _one(findings)
        assert (found.rule, found.change, found.effect) == ("R8", "semantics-unit", "BlockPromotion")
        assert "EUR" in found.message
        assert "USD" in found.message


# R9: what cannot be judged.


@pytest.mark.parametrize(("policy", "effect"), [("RequireApproval", "RequireApproval"), ("Block", "BlockPromotion")])
def test_r9_what_cannot_be_judged_waits_for_somebody_who_answers_for_it(policy: str, effect: str) -> None:
    old, new = revision(text(pattern="a+")), revision(text(pattern="a*"))

    found = _one(_served(contract(new, compatibility={"onUnknown": policy}), old))

    assert (found.rule, found.judgement, found.effect) == ("R9", "Unknown", effect)
    assert f"ruleId {RANGE}, path orders.email" in found.message


# R10: nothing recorded.


def test_r10_a_version_that_does_not_say_what_it_was_trained_on_waits() -> None:
    found = _one(release_findings(bound(served_from=("orders",)), None, known(contract(NARROW)), NOW))

    assert (found.rule, found.judgement, found.effect) == ("R10", "Unknown", "RequireApproval")
    assert "ruleId trained-on-unknown, path v2" in found.message


def test_r10_a_property_that_no_training_contract_describes_waits() -> None:
    found = _one(_served(contract(NARROW), NARROW, uses=["orders.amount", "orders.shadow"]))

    assert (found.rule, found.path) == ("R10", "orders.shadow")


def test_r10_a_version_that_names_no_contract_is_left_alone() -> None:
    assert release_findings(bound(), bound("v1"), {}, NOW) == ()


# Contracts that cannot be read.


@pytest.mark.parametrize(
    ("contracts", "reason"),
    [
        ((), "it does not exist"),
        ((contract(None, problem="the document has no schema"),), "the document has no schema"),
    ],
)
def test_a_contract_that_cannot_be_read_is_unknown_and_says_why(contracts: tuple[Contract, ...], reason: str) -> None:
    found = _one(release_findings(bound(trained_on=(NARROW,)), None, known(*contracts), NOW))

    assert (found.rule, found.judgement, found.effect) == ("Document", "Unknown", "BlockPromotion")
    assert reason in found.message


def test_a_missing_pin_is_unknown() -> None:
    found = _one(release_findings(bound(missing=(("orders", "no revision sha256:1"),)), None, {}, NOW))

    assert (found.rule, found.contract) == ("Document", "orders")
    assert "no revision sha256:1" in found.message


# Waivers and modes.


def test_a_waiver_lets_it_pass_and_says_who_and_until_when() -> None:
    found = _one(_served(contract(WIDE, compatibility={"waivers": [waiver(RANGE, "orders.amount")]}), NARROW))

    assert (found.judgement, found.effect) == ("Pass", "Warn")
    assert "ada accepted it until 2030-01-01T00:00:00.000Z: measured harmless" in found.message


def test_an_expired_waiver_does_not_count_and_is_named() -> None:
    old = waiver(RANGE, "orders.amount", expires="2026-01-01T00:00:00Z")

    found = _one(_served(contract(WIDE, compatibility={"waivers": [old]}), NARROW))

    assert (found.judgement, found.effect) == ("Fail", "BlockPromotion")
    assert found.message.endswith("The waiver of ada expired at 2026-01-01T00:00:00.000Z.")


def test_of_two_waivers_the_one_that_lasts_counts() -> None:
    both = [waiver(RANGE, "orders.amount", expires="2026-01-01T00:00:00Z"), waiver(RANGE, "orders.amount")]

    assert _one(_served(contract(WIDE, compatibility={"waivers": both}), NARROW)).judgement == "Pass"


@pytest.mark.parametrize(
    ("rule_id", "path"), [("type-changed", "orders.amount"), (RANGE, "orders"), (RANGE, "orders.id")]
)
def test_a_waiver_is_for_one_rule_at_one_path(rule_id: str, path: str) -> None:
    now = contract(WIDE, compatibility={"waivers": [waiver(rule_id, path)]})

    assert _one(_served(now, NARROW)).judgement == "Fail"


def test_a_contract_without_a_mode_only_warns() -> None:
    found = _one(_served(contract(WIDE, compatibility={"mode": "None"}), NARROW))

    assert (found.rule, found.judgement, found.effect) == ("R1", "Fail", "Warn")


def test_what_blocks_comes_first() -> None:
    new = revision(number(maximum=99), text("b", pattern="y"), table="orders")
    old = revision(number(maximum=10), text("a"), text("b", pattern="x"))

    found = _served(contract(new), old, imputed=["orders.a"])

    assert [f.effect for f in found] == ["BlockPromotion", "RequireApproval", "Warn"]
