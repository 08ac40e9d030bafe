"""What is said of contracts and policies by reading them alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api import objects as good
from tests.api.cases import edited
from weir.api.agentpolicy import AgentPolicySpec
from weir.api.assessment import assess_agent_policy, assess_data_contract
from weir.api.datacontract import DataContractSpec


def _contract(changes: dict[str, Any] | None = None) -> tuple[str, str, str, str]:
    (found,) = assess_data_contract(DataContractSpec.model_validate(edited(good.CONTRACT_FULL, changes or {})))
    return found


def _policy(changes: dict[str, Any] | None = None) -> tuple[str, str, str, str]:
    (found,) = assess_agent_policy(AgentPolicySpec.model_validate(edited(good.POLICY_FULL, changes or {})))
    return found


def test_given_a_consistent_contract_then_it_is_accepted_and_says_what_is_not_enforced() -> None:
    kind, status, reason, message = _contract()

    assert (kind, status, reason) == ("Accepted", "True", "SchemaOnly")
    assert message == (
        "accepted, but not enforced yet: the document's checks, rules, freshness, drift, parity, semantics, "
        "compatibility, enforcement"
    )


def test_given_a_document_elsewhere_then_nothing_is_said_of_its_properties() -> None:
    spec = {**good.CONTRACT_SOURCE, "freshness": {"element": "orders.unknown", "failAfter": "1h"}}

    (found,) = assess_data_contract(DataContractSpec.model_validate(spec))

    assert found.status == "True"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drift.0.property": "orders.price"}, "spec.drift[amount].property: the document describes no property"),
        ({"freshness.element": "at"}, "spec.freshness.element: the document describes no property 'at'"),
        ({"environments.1.exclude": ["x.y"]}, "spec.environments[serving].exclude: the document describes no property"),
        ({"parity.profile.0.property": "x.y"}, "spec.parity.profile[x.y].property: the document describes no property"),
        ({"semantics.0.property": "x.y"}, "spec.semantics[x.y].property: the document describes no property"),
        ({"servers.0.odcsServer": "pond"}, "spec.servers[lake].odcsServer: the document has no server 'pond'"),
        ({"odcs.schema": "orders"}, "spec.freshness.element: the document describes no property"),
        ({"odcs.servers": None}, "spec.servers[lake].odcsServer: the document has no server 'lake'"),
    ],
)
def test_given_an_inconsistent_contract_then_the_field_is_named(changes: dict[str, Any], message: str) -> None:
    kind, status, reason, text = _contract(changes)

    assert (kind, status, reason) == ("Accepted", "False", "Inconsistent")
    assert message in text


def test_given_a_nested_property_then_its_path_is_known() -> None:
    assert _contract({"drift.0.property": "orders.at.zone"})[1] == "True"


def test_given_a_consistent_policy_then_it_is_accepted_and_says_what_is_not_enforced() -> None:
    kind, status, reason, message = _policy({"paused": True})

    assert (kind, status, reason) == ("Accepted", "True", "SchemaOnly")
    assert message == (
        "accepted, but not enforced yet: subjects, actions, selector, exploration, concurrency, damping, loop, "
        "blastRadius, fallback, override, rules, paused"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"actions.1.approval": {"tier": "ManualOnly"}},
            "spec.rules[drift].action: Rollback is ManualOnly, so no rule can ask for it",
        ),
        (
            {"actions.0.bounds.maxStep": 60},
            "spec.actions[Promote].bounds.maxStep: 60 is more than maxTrafficPercent 50",
        ),
        (
            {"actions.0.cooldown": {"base": "2h"}},
            "spec.actions[Promote].cooldown.base: longer than budget.window, so the budget is never used",
        ),
    ],
)
def test_given_an_inconsistent_policy_then_the_field_is_named(changes: dict[str, Any], message: str) -> None:
    assert _policy(changes) == ("Accepted", "False", "Inconsistent", message)


def test_given_very_many_problems_then_the_message_still_fits_a_condition() -> None:
    entry = good.CONTRACT_FULL["semantics"][0]
    many = [{**entry, "property": f"orders.unknown-{i}"} for i in range(200)]

    assert len(_contract({"semantics": many})[3]) <= 1024
