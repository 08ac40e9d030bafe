"""Agents on a real cluster: drift to a new version with one person's consent, silence, and a quarrel of two agents."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from testbed import digits
from testbed.agents import (
    Heartbeat,
    account,
    answer,
    ask,
    ended,
    events,
    govern,
    ledger,
    person,
    requests,
    sweep,
    training,
)
from testbed.cluster import CommandFailed, wait_for
from testbed.contracts import document, pretty
from testbed.scenario import Space, Spaces, User

SLOW: dict[str, Any] = {
    "canary": {"steps": [{"weight": 20, "minDuration": "10m"}, {"weight": 50, "minDuration": "10m"}]}
}
_DRIFTED = "signals.drift.exists(d, d.verdict == 'Fail') && !signals.releasing"
_TRAINED = "signals.candidates.size() > 0 && !signals.releasing"


@pytest.fixture
def space(request: pytest.FixtureRequest, spaces: Spaces) -> Iterator[Space]:
    """People use v1; v2 is there to be released."""
    made = spaces(f"agents-{getattr(request, 'param', 'x')}")
    for label in ("v1", "v2"):
        made.version(label)
    made.traffic()
    made.serving("v1")
    made.used()
    yield made
    sweep(made)


def _watch_inputs(space: Space) -> None:
    """A contract that compares the images that pods see with those of the training."""
    code = "print(open('/models/profile.json').read())"
    profile = space.cluster.kubectl("exec", "-n", space.name, f"deploy/{digits.LOAD}", "--", "python", "-c", code)
    meta = {"name": "training-profile", "namespace": space.name}
    watched = {"name": "intensity", "property": "images.intensity", "tolerance": "0.2", "minSamples": 100}
    space.cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"profile.json": profile}},
        {
            "apiVersion": "weir.dev/v1alpha1",
            "kind": "DataContract",
            "metadata": {"name": "images", "namespace": space.name},
            "spec": {
                "odcs": document("images", [{"name": "intensity", "logicalType": "number"}]),
                "roles": ["TrainingInput"],
                "reference": {"configMapRef": {"name": "training-profile", "key": "profile.json"}},
                "drift": [{**watched, "source": "Live"}],
                "live": {"interval": "1s"},
                "enforcement": {"onDrift": "Warn"},
            },
        },
    )


# --- from drift to a new version -------------------------------------------------------------------------------------


def test_given_drift_when_rules_act_then_a_job_trains_a_version_that_serves_after_one_consent(
    space: Space,
) -> None:
    _watch_inputs(space)
    space.version("v1d", weights="v1", contracts={"trainedOn": ["images"]})
    space.serving("v1d")
    agent, grace = account(space, "tuner"), person(space, "grace", "weir-approver")
    govern(
        space,
        ["tuner"],
        [
            {
                "name": "tune",
                "action": "Retrain",
                "template": "train",
                "parameters": [{"name": "inputs", "values": ["brighter", "inverted"]}],
                "budget": {"limit": 1, "window": "24h"},
            },
            {"name": "release", "action": "Release", "approval": {"tier": "Approve", "quorum": 1}},
        ],
        templates=[training(space)],
        rules=[
            {
                "name": "drift",
                "when": _DRIFTED,
                "for": "2s",
                "then": "tune",
                "parameters": {"inputs": "inverted"},
                "reason": "the images are not what the model was trained on",
            },
            {"name": "trained", "when": _TRAINED, "then": "release", "reason": "a trained version waits"},
        ],
    )
    before = len(space.journal.looks(space.name, "digits"))
    space.reset()

    digits.send(space.cluster, space.name, "inverted")

    trained = wait_for("the planner asks for a training", lambda: requests(space, "Retrain", "drift"), timeout=120)[0]
    assert trained["spec"]["evidence"], "a proposal says what it saw"
    outcome = ended(space, trained["metadata"]["name"], timeout=240)
    assert outcome["phase"] == "Succeeded", pretty(outcome)
    made = {entry["kind"]: entry["name"] for entry in outcome["created"]}
    assert made.keys() == {"Job", "ModelVersion"}
    new = made["ModelVersion"]
    version = space.cluster.get("modelversions.weir.dev", new, space.name) or {}
    job = space.cluster.get("jobs.batch", made["Job"], space.name) or {}
    notes = job["metadata"]["annotations"]
    assert version["spec"]["artifact"]["digest"] == notes["digest"]
    assert [float(e["value"]) for e in version["spec"]["evaluations"]] == [float(notes["accuracy"])]

    asked = wait_for("the planner asks for a release", lambda: requests(space, "Release", "trained"), timeout=120)[0]
    waiting = wait_for("it waits for a person", lambda: _waiting(space, asked["metadata"]["name"]))
    assert (waiting["reason"], waiting["quorum"]) == ("ApprovalNeeded", 1)
    asked = space.cluster.get("actionrequests.weir.dev", asked["metadata"]["name"], space.name) or {}
    assert asked["spec"]["version"] == new
    assert asked["status"]["phase"] == "Pending"
    looks = space.journal.looks(space.name, "digits")[before:]
    assert not any(look.status.get("candidate") for look in looks), "nobody has consented yet"

    with pytest.raises(CommandFailed, match="PermitNeeded|service account"):
        answer(space, agent, "Approve", asked)
    consent = answer(space, grace, "Approve", asked)

    assert ended(space, consent)["phase"] == "Succeeded"
    assert ended(space, asked["metadata"]["name"], timeout=120)["phase"] == "Succeeded"
    look = space.journal.wait(
        space.name,
        "digits",
        f"{new} serves",
        lambda at: at.true("Ready") and (at.status.get("stable") or {}).get("version") == new,
        since=before,
        timeout=240,
    )
    seen = [at for at in space.journal.looks(space.name, "digits")[before:] if at.status.get("candidate")]
    assert {at.weight for at in seen} >= {0, 20, 50}, "through every stage"
    assert look.rollout["spec"]["versionRef"]["name"] == "digits-v1d", "what Git says is nobody's to change"
    record = wait_for("its record", lambda: _record(space, new))
    assert record["outcome"] == "Promoted"
    assert asked["metadata"]["name"] in json.dumps(record["decisions"]), "the record names who asked"
    space.reset()
    users = space.more_users(space.users(), 200)
    assert users.failed == 0, users
    share = users.summary["by_version"][new]
    assert share["wrong"] / share["ok"] < 0.2, "it reads the images as they are now"
    assert len(requests(space, "Retrain")) == 1
    print(f"\nfrom drift to a new version: {look.at - looks[0].at if looks else 0:.0f} s; {share}")


def _waiting(space: Space, name: str) -> dict[str, Any] | None:
    return next((entry for entry in ledger(space).get("waiting") or [] if entry["name"] == name), None)


def _record(space: Space, version: str) -> dict[str, Any] | None:
    found = space.cluster.list("rolloutrecords.weir.dev", space.name)
    return next((r["spec"] for r in found if r["spec"]["candidate"]["version"] == version), None)


# --- silence ---------------------------------------------------------------------------------------------------------


def test_given_a_canary_when_the_agent_falls_silent_then_it_is_frozen_and_then_stable_serves_alone(
    space: Space,
) -> None:
    space.configure(strategy=SLOW)
    account(space, "pilot")
    with Heartbeat(space, "pilot") as agent:
        govern(
            space,
            ["pilot"],
            [{"name": "shift", "action": "ShiftTraffic"}],
            fallback={
                "onAgentSilent": [{"lease": "pilot", "after": "12s"}],
                "ladder": ["Freeze", "StableOnly"],
                "stepAfter": "10s",
            },
        )
        release = space.release("v2")
        release.in_stage("Traffic(20)")
        space.reset()
        alive = time.time()
        wait_for("some time with an agent that is alive", lambda: time.time() > alive + 20, interval=1)
        assert not ledger(space).get("fallback")
        assert not release.latest.status.get("pause")

        agent.fall_silent()
        silent = time.time()

        frozen = release.until("frozen", lambda look: bool(look.status.get("pause")), timeout=60)
        assert 5 <= frozen.at - silent <= 40, frozen
        assert frozen.weight == 20
        state = wait_for("the ladder in the status", lambda: ledger(space).get("fallback"))[0]
        assert (state["rollout"], state["reason"]) == ("digits", "AgentSilent")
        back = release.rolled_back(timeout=90)
    assert back.at - frozen.at >= 9
    assert events(space, "AgentSilent"), "people are told"
    steps = [r["metadata"]["name"] for r in requests(space) if r["metadata"]["name"].startswith("fallback-digits-")]
    assert len(steps) == 2
    assert [r["spec"]["action"] for r in requests(space) if r["metadata"]["name"] in steps] == ["Pause", "Abort"]
    users = space.more_users(space.users())
    assert users.failed == 0, users


# --- a quarrel -------------------------------------------------------------------------------------------------------


def test_given_two_agents_that_pull_at_one_release_then_they_are_damped_and_people_are_told_and_still_in_charge(
    space: Space,
) -> None:
    space.configure(strategy=SLOW)
    bold, shy = account(space, "bold"), account(space, "shy")
    ada = person(space, "ada", "weir-actor")
    govern(
        space,
        ["bold", "shy"],
        [
            {"name": "more", "action": "ShiftTraffic", "subjects": ["bold"]},
            {"name": "less", "action": "ShiftTraffic", "subjects": ["shy"]},
        ],
        damping={"penalty": 1000, "halfLife": "10m", "suppressAt": 2500, "reuseBelow": 750, "maxSuppress": "1h"},
        loop={"maxDepth": 3, "maxRepeats": 100, "window": "1h"},
        blastRadius={"maxUnhealthyPercent": 100, "maxAffectedPercent": 100},
    )
    release = space.release("v2")
    number = release.in_stage("Traffic(20)").status["release"]

    done: list[str] = []
    for turn in range(12):
        by, permit, weight, seen = (shy, "less", 5, 20) if turn % 2 == 0 else (bold, "more", 100, 5)
        # An agent states what it saw: that is how less traffic is known to be less.
        wait_for(f"weight {seen}", lambda seen=seen: release.latest.weight == seen)
        done.append(f"{permit} {_tried(space, by, permit, weight, {'release': number, 'weight': seen})}")
        if not done[-1].endswith(" Succeeded"):
            break

    print(f"\n{done}")
    assert done[-1] == "more Damped", "less traffic is never held up"
    assert 3 <= len(done) <= 9, done
    target = next(t for t in ledger(space)["targets"] if t["rollout"] == "digits")
    assert target["suppressedAt"]
    assert wait_for("people are told", lambda: events(space, "Damped"))
    last = {"release": number, "weight": 5}
    assert ended(space, ask(space, shy, "less", "ShiftTraffic", weight=0, expect=last))["phase"] == "Succeeded"
    release.until("no traffic for the candidate", lambda at: at.weight == 0, timeout=30)
    began = time.time()
    assert release.act("Abort", "the agents quarrel", user=ada) == "Succeeded"
    print(f"a person's Abort took {time.time() - began:.1f} s")
    release.rolled_back()
    assert space.users().failed == 0, space.users()


def _tried(space: Space, by: User, permit: str, weight: int, expect: dict[str, Any]) -> str:
    """What became of a ShiftTraffic: its final phase, or Damped where it is refused or waits because of that."""
    try:
        name = ask(space, by, permit, "ShiftTraffic", weight=weight, expect=expect)
    except CommandFailed as error:
        return "Damped" if "Damped" in str(error) else str(error)

    def settled() -> str | None:
        found = space.cluster.get("actionrequests.weir.dev", name, space.name) or {}
        phase = (found.get("status") or {}).get("phase", "")
        if phase not in ("", "Pending"):
            return str(phase)
        waiting = _waiting(space, name)
        return "Damped" if waiting is not None and waiting["reason"] == "Damped" else None

    return wait_for(f"the fate of {name}", settled, timeout=60)
