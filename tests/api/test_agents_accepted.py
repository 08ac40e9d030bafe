"""A policy that contradicts itself or cannot be read lets nothing forward; one that is only narrowed is in force."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tests.api.harness.agents import STOP, Agents
from tests.api.harness.api import Failure, eventually
from tests.api.harness.case import Case, Spec
from tests.api.harness.lab import Lab
from tests.api.harness.outer import bounded
from weir.runtime.resources import KubeObject

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]

AGAIN: Spec = {"name": "again", "action": "Retry"}
ODD: Spec = {"name": "odd", "action": "Skip", "bounds": {"maxStep": 1}}
"""A contradiction that the API server does not find: a Skip has no step."""

DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/agentpolicies.weir.dev"


def wait_accepted(agents: Agents, status: str, reason: str) -> KubeObject:
    """Until the policy's condition Accepted is so; returns it."""

    def there() -> KubeObject | None:
        found = agents.ledger().get("conditions") or []
        accepted: KubeObject = next((c for c in found if c["type"] == "Accepted"), {})
        return accepted if (accepted.get("status"), accepted.get("reason")) == (status, reason) else None

    return eventually(there, f"Accepted is {status} with the reason {reason}")


def waits(agents: Agents) -> Sequence[tuple[str, str]]:
    return [(entry["name"], entry["reason"]) for entry in agents.ledger().get("waiting") or []]


def test_given_a_contradiction_then_the_way_back_is_open_and_the_way_forward_waits_until_it_is_mended(
    slow: Case,
) -> None:
    agents = Agents(slow, [STOP, AGAIN])
    agents.wait_ready()
    agents.policy([STOP, AGAIN, ODD])
    told = wait_accepted(agents, "False", "Inconsistent")
    assert "spec.permits[odd].bounds: Skip gives nobody a share of traffic" in told["message"]

    assert slow.answer(agents.ask("stop"))["phase"] == "Succeeded"
    slow.wait_phase("RolledBack")
    retry = agents.ask("again", expect={"release": 2})

    pending = agents.wait_status(retry, lambda s: s.get("phase") == "Pending", "it waits")
    assert "the AgentPolicy is not accepted" in pending["message"]
    assert waits(agents) == [(retry, "PolicyNotAccepted")]
    assert slow.status()["release"] == 2

    agents.policy([STOP, AGAIN])

    assert slow.answer(retry)["phase"] == "Succeeded"
    slow.wait(lambda s: s["release"] == 3 and s.get("candidate"), "the next release")
    wait_accepted(agents, "True", "Accepted")


def test_given_outer_bounds_that_become_stricter_then_the_policy_is_narrowed_and_stays_in_force(
    slow: Case, lab: Lab
) -> None:
    asked: Spec = {"name": "asked", "action": "ShiftTraffic", "approval": {"tier": "Approve", "quorum": 1}}
    agents = Agents(slow, [{"name": "shift", "action": "ShiftTraffic"}, asked])
    agents.wait_ready()
    before = agents.ask("asked", weight=50, expect={"release": 2, "weight": 20})
    agents.wait_status(before, lambda s: "consent" in s.get("message", ""), "it waits")

    with bounded(lab, {"limits": [{"action": "ShiftTraffic", "maxTrafficPercent": 30}]}):
        told = wait_accepted(agents, "True", "Narrowed")
        refused = slow.answer(before)
        within = agents.ask("shift", weight=30, expect={"release": 2, "weight": 20})
        done = slow.answer(within)
        agents.wait_ready()

    assert "spec.permits[shift]: bounds.maxTrafficPercent is 30" in told["message"]
    assert refused["phase"] == "Refused"
    assert "weight 50 is more than maxTrafficPercent 30" in refused["message"]
    assert done["phase"] == "Succeeded"
    wait_accepted(agents, "True", "Accepted")


@pytest.fixture
def any_mode(lab: Lab) -> Iterator[None]:
    """The API server takes any ``mode`` of a policy, as a newer version of its schema could."""
    place = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mode/enum"
    known = ["Audit", "Enforce"]

    def patch(*steps: Spec) -> None:
        lab.api.call("PATCH", DEFINITION, [{**step, "path": place} for step in steps], "application/json-patch+json")

    patch({"op": "test", "value": known}, {"op": "remove"})
    yield
    patch({"op": "add", "value": known})


@pytest.mark.usefixtures("any_mode")
def test_given_a_policy_that_the_operator_cannot_read_then_everything_is_refused_until_it_can(slow: Case) -> None:
    agents = Agents(slow)
    agents.wait_ready()

    def written() -> bool:
        try:
            agents.change(mode="Guess")
        except Failure as failure:
            if "spec.mode" not in failure.message:
                raise
            return False
        return True

    eventually(written, "the API server serves the other schema")
    told = wait_accepted(agents, "False", "InvalidSpec")
    assert "spec.mode" in told["message"]
    refused = slow.answer(agents.ask("stop"))
    assert refused["phase"] == "Refused"
    assert "the AgentPolicy cannot be read, so nothing is permitted: spec.mode" in refused["message"]
    assert slow.status()["weight"] == 20

    agents.change(mode="Enforce")

    wait_accepted(agents, "True", "Accepted")
    assert slow.answer(agents.ask("stop"))["phase"] == "Succeeded"
    slow.wait_phase("RolledBack")
