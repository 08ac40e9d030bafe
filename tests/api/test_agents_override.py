"""A person overrules what an agent's request waits for: with the right to, and a reason. Nothing else is lifted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from tests.api.harness.agents import Agents
from tests.api.harness.api import eventually
from tests.api.harness.case import Case, Spec
from tests.api.harness.guarded import Guarded, refused
from tests.api.harness.outer import bounded
from weir.runtime.resources import EVENTS, KubeObject

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]

NOW: Spec = {"name": "now", "action": "ShiftTraffic"}
LATER: Spec = {"name": "later", "action": "ShiftTraffic", "approval": {"tier": "Approve", "quorum": 1}}
LOOK: Spec = {"expect": {"release": 2}}
WHY = "INC-7 is over, the agent is right"


@dataclass(frozen=True)
class Wait:
    """Something that requests wait for; ``cause`` brings it about."""

    reason: str
    cause: Callable[[Agents], None]
    now: Spec = field(default_factory=dict)
    spec: Spec = field(default_factory=dict)
    """Fields of the permit `now`, and of the policy."""


def shift(agents: Agents, *weights: int) -> None:
    """The agent has had the candidate limited to these weights, one after the other."""
    for weight in weights:
        answer = agents.case.answer(agents.ask("now", weight=weight, **LOOK))
        assert answer["phase"] == "Succeeded", answer
        agents.case.wait(lambda status, most=weight: status["weight"] == min(20, most), f"{weight} % at most")


def break_two(agents: Agents) -> None:
    """Two more Rollouts that need somebody."""
    for name in ("letters", "signs"):
        Case(agents.lab, agents.namespace, name).create_broken()


BUCKET = Wait("Bucket", lambda agents: shift(agents, 50), spec={"bucket": {"capacity": 1, "refillEvery": "1h"}})
WAITS = (
    BUCKET,
    Wait("Cooldown", lambda agents: shift(agents, 50), now={"cooldown": {"base": "10m", "max": "1h"}}),
    Wait("Damped", lambda agents: shift(agents, 50, 10), spec={"damping": {"suppressAt": 1000, "reuseBelow": 750}}),
    Wait("BlastRadius", break_two),
)


@dataclass(frozen=True)
class Desk:
    """A request of an agent that waits, and the people who deal with it."""

    agents: Agents
    people: Guarded
    request: str

    def entry(self) -> KubeObject:
        """What the ledger says that it waits for; empty where it does not wait."""
        found = self.agents.ledger().get("waiting") or []
        return next((entry for entry in found if entry["name"] == self.request), {})

    def wait_for(self, reason: str) -> KubeObject:
        """Until it waits for that; returns the entry of the ledger."""
        eventually(lambda: self.entry().get("reason") == reason, f"{self.request} waits for {reason}")
        return self.entry()

    def overrule(self, user: str = "olga", role: str = "admin", **fields: str) -> KubeObject:
        """What came of an Override by that user."""
        name = self.agents.answer(
            "Override", self.request, by=self.people.user(user, role), **{"reason": WHY, **fields}
        )
        return self.agents.case.answer(name)

    def approve(self) -> None:
        """Dan agrees."""
        name = self.agents.answer("Approve", self.request, by=self.people.user("dan", "weir-approver"))
        answer = self.agents.case.answer(name)
        assert answer["phase"] == "Succeeded", answer


def desk(case: Case, wait: Wait, **later: object) -> Desk:
    """A request for 30 percent, made while nothing was in its way but that a person must agree, waits for that too."""
    agents = Agents(case, [{**NOW, **wait.now}, {**LATER, **later}], wait.spec)
    agents.wait_ready()
    request = agents.ask("later", weight=30, **LOOK)
    agents.wait_status(request, lambda status: status.get("digest"), "it waits")
    wait.cause(agents)
    made = Desk(agents, Guarded(case.lab, case.namespace), request)
    made.wait_for(wait.reason)
    return made


@pytest.mark.parametrize("wait", WAITS, ids=lambda wait: wait.reason)
def test_given_a_request_that_waits_when_a_person_overrules_it_then_only_consent_is_missing_and_all_is_written_down(
    slow: Case, wait: Wait
) -> None:
    at = desk(slow, wait)

    answer = at.overrule()

    assert answer["phase"] == "Succeeded", answer
    # No override takes the place of a consent.
    entry = at.wait_for("ApprovalNeeded")
    assert (entry["overriddenBy"], entry["quorum"], entry.get("consents", [])) == ("olga", 1, [])
    assert slow.request(at.request)["status"]["phase"] == "Pending"
    at.approve()
    done = slow.answer(at.request)
    assert done["phase"] == "Succeeded", done
    assert slow.status()["ceiling"]["weight"] == 30
    assert slow.status()["ceiling"]["authority"] == "permit later; approved by dan; waits overruled by olga"
    [told] = [e for e in slow.lab.api.list(EVENTS, slow.namespace) if e["reason"] == "Overruled"]
    assert told["note"].startswith(f"olga overrules what {at.request} waits for")
    assert told["note"].endswith(WHY)
    assert (told["regarding"]["name"], told["related"]["name"]) == ("digits", at.request)
    slow.act("Abort")
    slow.wait_phase("RolledBack")
    record = eventually(lambda: next((r for r in slow.records() if r["spec"]["release"] == 2), None), "its record")
    assert "waits overruled by olga" in str(record["spec"])


def test_given_no_right_to_or_no_reason_when_overruled_then_it_is_refused_and_the_request_waits_on(slow: Case) -> None:
    at = desk(slow, BUCKET)
    at.approve()

    for by, role in (("dan", "weir-approver"), ("ed", "edit")):
        with refused(403, f"user '{by}' may not override Rollout 'digits'"):
            at.overrule(by, role)
    # Several policies refuse it; any may be told first.
    with refused(403, "denied request: "):
        at.agents.answer("Override", at.request, by=at.agents.tuner, reason=WHY)
    with refused(422, "spec.reason"):
        at.overrule(reason="")

    assert at.wait_for("Bucket").get("overriddenBy", "") == ""
    assert slow.request(at.request)["status"]["phase"] == "Pending"
    assert at.overrule()["phase"] == "Succeeded"
    assert slow.answer(at.request)["phase"] == "Succeeded"


@pytest.fixture
def until_over() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _bounds(at: Desk, _until: ExitStack) -> None:
    at.agents.policy([NOW, {**LATER, "bounds": {"maxTrafficPercent": 25}}], **BUCKET.spec)


def _permit(at: Desk, _until: ExitStack) -> None:
    at.agents.policy([NOW], **BUCKET.spec)


def _switch(at: Desk, _until: ExitStack) -> None:
    at.agents.change(paused=True)


def _outer(at: Desk, until: ExitStack) -> None:
    limits = [{"action": "ShiftTraffic", "maxTrafficPercent": 25}]
    until.enter_context(bounded(at.agents.lab, {"limits": limits}))


@pytest.mark.parametrize(
    ("narrow", "told"),
    [
        (_bounds, "weight 30 is more than maxTrafficPercent 25"),
        (_permit, "no permit later"),
        (_switch, "paused"),
        (_outer, "weight 30 is more than maxTrafficPercent 25"),
    ],
    ids=["bounds", "permit", "kill switch", "outer bounds"],
)
def test_given_an_overruled_request_when_it_may_not_be_any_more_then_it_is_refused_for_good(
    slow: Case, until_over: ExitStack, narrow: Callable[[Desk, ExitStack], None], told: str
) -> None:
    at = desk(slow, BUCKET)
    assert at.overrule()["phase"] == "Succeeded"
    at.wait_for("ApprovalNeeded")

    narrow(at, until_over)

    done = slow.answer(at.request)
    assert done["phase"] == "Refused", done
    assert told in done["message"]
    assert slow.status()["ceiling"]["weight"] == 50
    with refused(403, "Ended: "):
        at.overrule()


def test_given_a_gate_that_must_pass_when_overruled_then_the_request_waits_for_it_still(slow: Case) -> None:
    at = desk(slow, Wait("Evidence", lambda _: None), evidence=["errors"])

    assert at.overrule()["phase"] == "Succeeded"

    eventually(lambda: at.entry().get("overriddenBy") == "olga", "it is written down")
    assert at.entry()["reason"] == "Evidence"
    assert slow.request(at.request)["status"]["phase"] == "Pending"
