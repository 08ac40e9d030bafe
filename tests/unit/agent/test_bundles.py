"""Agents' own bundles: which models a version of an agent may drive, and what that does to releases of both."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.agent.bundles import Served, agent_version, concerned, drives, fit, unfit
from weir.api.agentpolicy import AgentPolicySpec
from weir.api.modelversion import ModelVersionSpec, version_digest
from weir.contract.finding import Finding, Standing

PERMIT = {"name": "shift", "action": "ShiftTraffic"}
AGENT = {"name": "tuner", "namespace": "agents", "rollout": "tuner"}


def version(model: str, label: str, *known: dict[str, Any]) -> ModelVersionSpec:
    spec: dict[str, Any] = {"model": model, "version": label, "runtime": {"image": "registry.example/a:1"}}
    return ModelVersionSpec.model_validate({**spec, "compatibleWith": list(known)} if known else spec)


def policy(**changes: Any) -> AgentPolicySpec:
    return AgentPolicySpec.model_validate({"subjects": [AGENT], "permits": [PERMIT], **changes})


DIGITS_1, DIGITS_2 = version("digits", "1"), version("digits", "2")
VERSIONS = {
    "digits-1": DIGITS_1,
    "digits-2": DIGITS_2,
    "tuner-1": version("tuner", "1", {"model": "digits", "versions": ["1"]}),
    "tuner-12": version("tuner", "12", {"model": "digits", "versions": ["1", "2*"]}),
    "tuner-2": version("tuner", "2", {"model": "digits", "digests": [version_digest(DIGITS_2)]}),
    "tuner-none": version("tuner", "none"),
}
DIGITS = Served("digits", {"tier": "gold"}, stable="digits-1")
TUNER = Served("tuner", {}, stable="tuner-1")


def all_served(*changed: Served) -> dict[str, Served]:
    return {served.rollout: served for served in (DIGITS, TUNER, *changed)}


def findings(rollout: Served, asked: str, *changed: Served, **changes: Any) -> tuple[Finding, ...]:
    return fit(policy(**changes), rollout, asked, all_served(*changed), VERSIONS).findings


# --- what a bundle names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "fits"),
    [
        ({}, {"1.0", "2.0", "2.1"}),
        ({"versions": ["2.0"]}, {"2.0"}),
        ({"versions": ["1.0", "2.*"]}, {"1.0", "2.0", "2.1"}),
        ({"versions": ["2*"]}, {"2.0", "2.1"}),
        ({"versions": ["3.*"]}, set()),
    ],
)
def test_given_versions_in_compatible_with_when_asked_then_exact_ones_and_beginnings_count(
    known: dict[str, Any], fits: set[str]
) -> None:
    agent = version("tuner", "1", {"model": "digits", **known})

    assert {label for label in ("1.0", "2.0", "2.1") if agent.may_drive(version("digits", label))} == fits
    assert not agent.may_drive(version("letters", "2.0"))


def test_given_digests_in_compatible_with_when_the_content_differs_then_the_label_does_not_help() -> None:
    same_label = ModelVersionSpec.model_validate(
        {"model": "digits", "version": "2", "runtime": {"image": "registry.example/other:1"}}
    )

    assert VERSIONS["tuner-2"].may_drive(DIGITS_2)
    assert not VERSIONS["tuner-2"].may_drive(same_label)


def test_given_compatible_with_when_added_then_the_identity_of_the_version_stays() -> None:
    plain, bound = version("tuner", "1"), version("tuner", "1", {"model": "digits"})
    assert version_digest(plain) == version_digest(bound)


# --- releases of what an agent drives ------------------------------------------------------------------------------


def test_given_an_agent_that_knows_the_version_when_it_is_released_then_nothing_is_said_and_the_bundle_is_noted() -> (
    None
):
    found = fit(policy(), DIGITS, "digits-1", all_served(), VERSIONS)

    assert found.findings == ()
    assert found.pins == (f"ModelVersion/tuner-1@{version_digest(VERSIONS['tuner-1'])}",)


def test_given_an_agent_that_does_not_know_the_version_when_it_is_released_then_it_is_held_with_a_way_out() -> None:
    (finding,) = findings(DIGITS, "digits-2")

    assert (finding.rule, finding.judgement, finding.effect) == ("Agent", "Fail", "BlockPromotion")
    assert (finding.path, finding.change) == ("tuner/digits", "tuner-1/digits-2")
    assert "must not drive digits 2 in Rollout digits: its compatibleWith names digits (1)" in finding.message
    assert " Way out: release a version of the agent that names digits 2" in finding.message


def test_given_a_bundle_that_names_no_model_when_released_then_it_may_drive_none() -> None:
    (finding,) = findings(DIGITS, "digits-1", Served("tuner", {}, stable="tuner-none"))
    assert "it has no compatibleWith" in finding.message


def test_given_no_version_of_the_agent_serves_yet_when_the_model_is_released_then_nothing_speaks_against_it() -> None:
    assert findings(DIGITS, "digits-2", Served("tuner", {}, candidate="tuner-1")) == ()
    assert fit(policy(), DIGITS, "digits-2", {"digits": DIGITS}, VERSIONS).findings == ()


def test_given_subjects_without_a_rollout_when_released_then_nothing_is_looked_at() -> None:
    found = fit(policy(subjects=[{**AGENT, "rollout": None}]), DIGITS, "digits-2", all_served(), VERSIONS)
    assert (found.findings, found.pins) == ((), ())


@pytest.mark.parametrize(
    "changes",
    [
        {"selector": {"names": ["letters"]}},
        {"selector": {"matchLabels": {"tier": "silver"}}},
        {"permits": [{**PERMIT, "rollouts": ["letters"]}]},
        {"permits": [{**PERMIT, "subjects": ["other"]}], "subjects": [AGENT, {"name": "other", "namespace": "agents"}]},
    ],
)
def test_given_a_policy_under_which_the_agent_does_not_reach_the_rollout_then_its_bundle_has_no_say(
    changes: dict[str, Any],
) -> None:
    assert findings(DIGITS, "digits-2", **changes) == ()
    assert findings(TUNER, "tuner-none", **changes) == ()


@pytest.mark.parametrize("changes", [{"mode": "Audit"}, {"paused": True}])
def test_given_agents_that_are_paused_or_only_audited_when_released_then_it_is_a_warning(
    changes: dict[str, Any],
) -> None:
    (finding,) = findings(DIGITS, "digits-2", **changes)
    assert (finding.judgement, finding.effect) == ("Pass", "Warn")


def test_given_two_accounts_of_one_agent_when_released_then_it_is_said_once() -> None:
    assert len(findings(DIGITS, "digits-2", subjects=[AGENT, {**AGENT, "name": "tuner-night"}])) == 1


def test_given_a_version_that_cannot_be_read_when_released_then_it_is_not_known_and_holds() -> None:
    for rollout, asked, unread in (
        (DIGITS, "digits-9", "digits-9"),
        (TUNER, "tuner-9", "tuner-9"),
    ):
        (finding,) = findings(rollout, asked)
        assert (finding.judgement, finding.effect) == ("Unknown", "BlockPromotion")
        assert finding.message.startswith(f"ModelVersion {unread} cannot be read")


# --- releases of the agent -----------------------------------------------------------------------------------------


def test_given_a_release_of_the_agent_when_the_model_has_two_versions_then_it_must_know_both() -> None:
    both = Served("digits", {}, stable="digits-1", candidate="digits-2")

    assert [f.change for f in findings(TUNER, "tuner-1", both)] == ["tuner-1/digits-2"]
    assert [f.change for f in findings(TUNER, "tuner-2", both)] == ["tuner-2/digits-1"]
    assert findings(TUNER, "tuner-12", both) == ()


def test_given_releases_on_both_sides_that_do_not_fit_then_only_the_agents_waits() -> None:
    # Were both to wait, neither would ever end.
    digits = Served("digits", {}, stable="digits-1", candidate="digits-2")
    tuner = Served("tuner", {}, stable="tuner-12", candidate="tuner-1")

    assert findings(tuner, "tuner-1", digits, tuner) != ()
    assert findings(digits, "digits-2", digits, tuner) == ()


def test_given_an_agent_that_is_selected_itself_when_released_then_it_need_not_know_itself() -> None:
    agent = policy().subjects[0]
    assert not drives(policy(), agent, TUNER)
    assert drives(policy(), agent, DIGITS)


def test_given_an_agent_that_drives_another_agent_when_released_then_it_must_know_that_one() -> None:
    other = Served("minder", {}, stable="tuner-12")
    (finding,) = findings(TUNER, "tuner-1", other)
    assert finding.path == "tuner/minder"


# --- when the agent asks -------------------------------------------------------------------------------------------


def test_given_an_agent_that_knows_what_serves_when_it_asks_then_it_may() -> None:
    assert unfit(policy().subjects[0], DIGITS, all_served(), VERSIONS) is None


def test_given_a_version_that_the_agent_does_not_know_when_it_asks_then_it_must_not() -> None:
    agent = policy().subjects[0]
    releasing = Served("digits", {}, stable="digits-1", candidate="digits-2")

    for told in (
        unfit(agent, releasing, all_served(releasing), VERSIONS),
        unfit(agent, DIGITS, all_served(), VERSIONS, asked="digits-2"),
    ):
        assert told is not None
        assert "must not drive digits 2" in told


def test_given_the_rollout_that_serves_the_agent_when_it_asks_then_a_person_must() -> None:
    told = unfit(policy().subjects[0], TUNER, all_served(), VERSIONS)
    assert told == "Rollout tuner serves the agent itself: a person must act on it"


@pytest.mark.parametrize("served", [{"digits": DIGITS}, all_served(Served("tuner", {}, candidate="tuner-1"))])
def test_given_no_version_of_the_agent_serves_when_it_asks_then_it_must_not(served: dict[str, Served]) -> None:
    told = unfit(policy().subjects[0], DIGITS, served, VERSIONS)
    assert told == "no version of the agent tuner is known: Rollout tuner serves none"


def test_given_an_agent_that_is_no_version_when_it_asks_then_bundles_have_no_say() -> None:
    plain = policy(subjects=[{**AGENT, "rollout": None}]).subjects[0]
    assert unfit(plain, DIGITS, {}, {}) is None


def test_given_an_agent_that_is_a_version_when_it_asks_then_its_version_can_be_written_down() -> None:
    told = agent_version(TUNER, VERSIONS)
    assert agent_version(Served("tuner", {}, stable="gone"), VERSIONS) == ""
    assert told == f"ModelVersion/tuner-1@{version_digest(VERSIONS['tuner-1'])}"


# --- what else changes ---------------------------------------------------------------------------------------------


def test_given_a_change_on_one_side_then_the_other_side_is_concerned() -> None:
    served = all_served(Served("letters", {}, stable="digits-1"))
    assert concerned(policy(), "tuner", served) == {"digits", "letters"}
    assert concerned(policy(), "digits", served) == {"tuner"}
    assert concerned(policy(subjects=[{**AGENT, "rollout": None}]), "digits", served) == frozenset()


def test_given_what_contracts_say_when_agents_are_added_then_both_stay() -> None:
    data = Finding("orders", "R1", "Fail", "BlockPromotion", "orders lost a column")
    said = fit(policy(), DIGITS, "digits-2", all_served(), VERSIONS).added_to(Standing((data,), pins=("orders@d",)))

    assert [finding.rule for finding in said.findings] == ["R1", "Agent"]
    assert [pin.partition("@")[0] for pin in said.pins] == ["ModelVersion/tuner-1", "orders"]


NAMES = st.sampled_from(sorted(VERSIONS))
ARM = st.one_of(st.just(""), NAMES)


@given(stable=NAMES, candidate=ARM, agent=NAMES, new=ARM)
def test_given_any_two_releases_then_they_never_wait_for_each_other(
    stable: str, candidate: str, agent: str, new: str
) -> None:
    digits = Served("digits", {}, stable=stable, candidate=candidate)
    tuner = Served("tuner", {}, stable=agent, candidate=new)
    served = all_served(digits, tuner)

    alone = fit(policy(), digits, candidate, {**served, "tuner": Served("tuner", {}, stable=agent)}, VERSIONS)
    assert fit(policy(), digits, candidate, served, VERSIONS) == alone
    # And a release that was let through leaves a pair in which the agent may act.
    if candidate and not alone.findings:
        after = Served("digits", {}, stable=candidate)
        assert unfit(policy().subjects[0], after, all_served(after, tuner), VERSIONS) is None
