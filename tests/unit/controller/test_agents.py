"""Reconciling an AgentPolicy: the ledger is written before anything is done, and what is done is done once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.controller.agentworld import KEY, ME, SPACE, T0, World
from weir.agent.decision import AgentNote, AgentResult, Make, Proposal
from weir.api import API_VERSION
from weir.api.actionrequest import ActionRequestSpec
from weir.api.agentpolicy import PERMIT_LABEL
from weir.api.agentstatus import AgentPolicyStatus, Denied, Grant, Tokens, Waiting
from weir.api.base import LocalRef
from weir.controller.act import SOON
from weir.controller.agentact import MOST_WRITTEN
from weir.controller.agentlive import FRESH, GONE_AFTER
from weir.controller.agents import FOLLOW, REFRESH
from weir.runtime.errors import Conflict, Forbidden, Invalid, NamespaceEnding, Unavailable
from weir.runtime.resources import ACTION_REQUESTS, AGENT_POLICIES, EVENTS, JOBS, MODEL_VERSIONS, ObjectKey, Resource


@pytest.fixture
def world() -> World:
    made = World()
    made.policy()
    made.rollout()
    return made


def granted(uid: str, **more: Any) -> Grant:
    return Grant(
        **{
            "uid": uid,
            "name": uid.removeprefix("uid-"),
            "permit": "stop",
            "action": "Abort",
            "rollout": "digits",
            "by": "tuner",
            "digest": "sha256:x",
            "since": T0,
            "until": T0 + 300,
            "generation": 1,
            **more,
        }
    )


def proposal(name: str = "fallback-digits-2-1", **more: Any) -> Proposal:
    spec = {"action": "Pause", "rollout_ref": LocalRef(name="digits"), "reason": "silent", "requester": ME, **more}
    return Proposal(name, ActionRequestSpec(**spec))


def job(name: str = "train-1", **meta: Any) -> Make:
    labels = {PERMIT_LABEL: "train"}
    metadata = {"name": name, "labels": labels, **meta}
    return Make(f"uid-{name}", name, "Create", {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata})


# --- what is decided upon ----------------------------------------------------------------------------------------------


async def test_given_requests_then_only_those_that_the_policy_has_to_do_with_are_seen(world: World) -> None:
    world.request("stop-1-0", permit="stop", requester="tuner")
    world.request("person")
    world.request("yes", "Approve", request={"name": "stop-1-0", "uid": "uid-stop-1-0"})
    world.request("consent", "Approve", approval={"name": "a", "digest": "sha256:" + "0" * 64})
    world.request("unreadable", "Reboot", permit="stop")

    await world.look()

    [seen] = world.seen
    assert sorted(request.name for request in seen.requests) == ["stop-1-0", "yes"]
    assert (seen.generation, seen.identity, sorted(seen.rollouts)) == (1, ME, ["digits"])
    assert seen.policy is not None


async def test_given_a_policy_that_cannot_be_read_then_it_is_decided_upon_as_broken(world: World) -> None:
    world.policy(subjects="all")
    await world.look()
    assert world.seen[0].policy is None
    assert "spec.subjects" in world.seen[0].broken


async def test_given_what_did_not_change_then_it_is_read_once(world: World) -> None:
    world.request("stop-1-0", permit="stop")
    await world.look()
    await world.look()
    first, second = world.seen
    assert first.requests[0] is second.requests[0]
    assert first.rollouts["digits"] is second.rollouts["digits"]


# --- the order of what is done -----------------------------------------------------------------------------------------


async def test_given_a_decision_then_the_ledger_is_written_before_anything_else_is_done(world: World) -> None:
    world.request("train-1", "Retrain", permit="train")
    result = AgentResult("uid-train-1", "train-1", "Running", "runs", "sha256:x", (("batch/v1", "Job", "train-1"),))
    world.decide(
        AgentPolicyStatus(granted=[granted("uid-train-1", permit="train", action="Retrain")]),
        makes=(job(),),
        proposals=(proposal(),),
        results=(result,),
        notes=(AgentNote("Granted", "train-1 runs", rollout="digits"),),
    )

    await world.look()

    assert [write for write in world.writes if write[1] != "Event"] == [
        ("status", "AgentPolicy", "agents"),
        ("create", "ActionRequest", "fallback-digits-2-1"),
        ("create", "Job", "train-1"),
        ("status", "ActionRequest", "train-1"),
    ]
    assert world.ledger().granted[0].uid == "uid-train-1"
    status = world.status("train-1")
    assert (status["phase"], status["digest"]) == ("Running", "sha256:x")
    assert status["created"] == [{"apiVersion": "batch/v1", "kind": "Job", "name": "train-1"}]


@pytest.mark.parametrize("error", [Conflict("changed", status=409), Unavailable("no answer")], ids=["409", "503"])
async def test_given_a_ledger_that_cannot_be_written_then_nothing_is_done(world: World, error: Exception) -> None:
    world.decide(AgentPolicyStatus(message="new"), makes=(job(),), proposals=(proposal(),))

    def broken(verb: str, resource: Resource, _: str) -> Any:
        return error if (verb, resource) == ("status", AGENT_POLICIES) else None

    world.broken = broken
    with pytest.raises(type(error)):
        await world.look()
    assert [write for write in world.writes if write[1] != "Event"] == []


async def test_given_a_decision_that_changes_nothing_then_nothing_is_written(world: World) -> None:
    world.decide(AgentPolicyStatus(message="one"))
    await world.look()
    before = len(world.writes)
    await world.look()
    assert len(world.writes) == before


async def test_given_only_tokens_that_came_back_then_they_are_written_after_a_while(world: World) -> None:
    world.decide(AgentPolicyStatus(bucket=Tokens(left=1, at=T0)))
    await world.look()
    world.decide(AgentPolicyStatus(bucket=Tokens(left=2, at=T0 + 1)))
    world.now += 1
    assert await world.look() == REFRESH - 1
    assert world.ledger().bucket == Tokens(left=1, at=T0)

    world.now += REFRESH
    await world.look()
    assert world.ledger().bucket == Tokens(left=2, at=T0 + 1)


async def test_given_a_decision_that_is_repeated_then_everything_is_done_once(world: World) -> None:
    world.request("train-1", "Retrain", permit="train")
    done = AgentResult("uid-train-1", "train-1", "Succeeded", "done", "sha256:x")
    world.decide(AgentPolicyStatus(message="m"), makes=(job(),), proposals=(proposal(),), results=(done,))

    await world.look()
    first, ended = list(world.writes), world.status("train-1")
    world.now += 60
    await world.look()

    again = world.writes[len(first) :]
    assert [write for write in again if write[0] != "create"] == []
    assert world.status("train-1") == ended
    assert not world.seen[-1].refused


async def test_given_a_flood_of_answers_then_one_look_writes_only_so_many(world: World) -> None:
    for number in range(MOST_WRITTEN + 10):
        world.request(f"w-{number}", "Withdraw")
    results = [AgentResult(f"uid-w-{n}", f"w-{n}", "Refused", "no") for n in range(MOST_WRITTEN + 10)]
    world.decide(AgentPolicyStatus(message="m"), results=tuple(results))

    await world.look()
    assert len([write for write in world.writes if write[1] == "ActionRequest"]) == MOST_WRITTEN
    await world.look()
    assert len([write for write in world.writes if write[1] == "ActionRequest"]) == MOST_WRITTEN + 10


async def test_given_a_rollout_made_anew_then_a_step_for_the_one_before_it_is_not_in_the_way(world: World) -> None:
    step = proposal()
    world.request(step.name, step.spec.action, requester=ME, status={"phase": "Succeeded"})
    world.now += 3600
    world.rollout()
    world.decide(proposals=(step,))

    await world.look()
    assert world.writes == [("delete", "ActionRequest", step.name), ("create", "ActionRequest", step.name)]
    world.writes.clear()
    await world.look()

    assert world.writes == []


async def test_given_a_step_that_was_taken_then_it_is_not_asked_for_again(world: World) -> None:
    step = proposal()
    world.rollout()
    world.request(step.name, step.spec.action, requester=ME, status={"phase": "Succeeded"})
    world.decide(proposals=(step,))

    await world.look()

    assert world.writes == []


# --- what the API server refuses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [Invalid("POST /x: BudgetSlot: used up", status=422), Forbidden("POST /x: BudgetSlot: x")]
)
async def test_given_a_proposal_that_admission_refuses_then_the_next_decision_is_told_once(
    world: World, error: Exception
) -> None:
    world.decide(proposals=(proposal(),))
    world.broken = lambda verb, resource, _: error if resource is ACTION_REQUESTS else None

    assert await world.look() == SOON
    world.decide()
    await world.look()
    assert "BudgetSlot" in world.seen[1].refused["fallback-digits-2-1"]
    assert not world.seen[1].refused["fallback-digits-2-1"].startswith("POST")
    await world.look()
    assert world.seen[2].refused == {}


async def test_given_a_refusal_that_could_not_be_stored_then_the_next_decision_is_told_again(world: World) -> None:
    world.decide(proposals=(proposal(),))
    refused = Invalid("POST /x: no", status=422)
    world.broken = lambda verb, resource, _: refused if resource is ACTION_REQUESTS else None
    await world.look()

    world.decide(AgentPolicyStatus(message="backs off"))
    world.broken = lambda verb, *_: Unavailable("away") if verb == "status" else None
    with pytest.raises(Unavailable):
        await world.look()
    world.broken = lambda *_: None
    await world.look()

    assert world.seen[1].refused == world.seen[2].refused != {}


async def test_given_a_slot_that_an_agent_was_quicker_to_take_then_the_rule_did_not_get_it(world: World) -> None:
    world.request("stop-1-0", permit="stop", requester="tuner")
    world.decide(proposals=(proposal("stop-1-0", action="Abort", permit="stop", rule="drift"),))
    await world.look()
    world.decide()
    await world.look()
    assert "another ActionRequest" in world.seen[1].refused["stop-1-0"]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            Make("u", "r", "Create", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}),
            "no namespaced kind",
        ),
        (Make("u", "r", "Create", {"apiVersion": "nope/v1", "kind": "X", "metadata": {"name": "x"}}), "no namespaced"),
        (
            Make("u", "r", "Create", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}),
            "no namespaced",
        ),
        (Make("u", "r", "Patch", {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "gone"}}), "gone"),
    ],
    ids=["unserved", "unknown-group", "cluster-scoped", "nothing-to-patch"],
)
async def test_given_a_template_that_cannot_be_made_then_the_next_decision_is_told(
    world: World, make: Make, told: str
) -> None:
    world.decide(makes=(make,))
    looks = 0
    while (again := await world.look()) != SOON:
        # An API server that starts denies what is there: it is asked some times.
        assert again is not None
        looks, world.elapsed = looks + 1, world.elapsed + again
        assert not world.seen[-1].refused
        assert looks < 10
    assert (looks, world.elapsed) == (5, 15.5)
    await world.look()
    assert told in world.seen[-1].refused["u"]
    assert world.writes == [w for w in world.writes if w[0] == "patch"]


@pytest.mark.parametrize(
    ("meta", "told"),
    [
        ({"labels": {"weir.dev/pool": "digits-1"}}, "label weir.dev/pool"),
        (
            {"ownerReferences": [{"apiVersion": API_VERSION, "kind": "Rollout", "name": "r", "uid": "r"}]},
            "owner Rollout r",
        ),
        (
            {"labels": {"app": "x"}, "ownerReferences": [{"apiVersion": "v1", "kind": "A", "name": "a", "uid": "a"}]},
            None,
        ),
    ],
    ids=["labelled", "owned", "somebody-elses"],
)
async def test_given_a_patch_of_what_weir_made_then_it_is_refused(world: World, meta: Any, told: str | None) -> None:
    world.put(JOBS, {"metadata": {"name": "x", "namespace": SPACE, **meta}, "spec": {"suspend": False}})
    changed = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": {"suspend": True}}
    world.decide(makes=(Make("u", "r", "Patch", changed),))
    await world.look()
    await world.look()
    found = world.cache.get(JOBS, SPACE, "x")
    assert found is not None
    assert found["spec"] == {"suspend": told is None}
    assert (told or "") in world.seen[1].refused.get("u", "")
    assert ("u" in world.seen[1].refused) is (told is not None)


async def test_given_a_kind_that_templates_may_not_make_then_it_is_refused(world: World) -> None:
    world.agents._kinds = frozenset({"workflows.argoproj.io"})
    world.decide(makes=(job(),))
    await world.look()
    await world.look()
    assert "templates may not make jobs.batch" in world.seen[1].refused["uid-train-1"]
    assert world.cache.get(JOBS, SPACE, "train-1") is None


async def test_given_an_object_of_that_name_that_is_not_the_requests_then_it_is_left_alone(world: World) -> None:
    theirs = world.put(JOBS, {"metadata": {"name": "train-1", "namespace": SPACE}, "spec": {"theirs": 1}})
    world.decide(makes=(job(),))
    await world.look()
    await world.look()
    assert "already" in world.seen[1].refused["uid-train-1"]
    assert world.cache.get(JOBS, SPACE, "train-1") == theirs


async def test_given_a_template_that_names_another_namespace_then_it_is_made_in_that_of_the_policy(
    world: World,
) -> None:
    world.decide(makes=(job(namespace="kube-system"),))
    await world.look()
    assert world.cache.get(JOBS, SPACE, "train-1") is not None
    assert world.cache.get(JOBS, "kube-system", "train-1") is None


async def test_given_a_namespace_that_is_ending_then_there_is_nothing_left_to_do(world: World) -> None:
    world.decide(proposals=(proposal(),))
    world.broken = lambda verb, *_: NamespaceEnding("ending") if verb == "create" else None
    # What nobody can do any more is not tried again and again.
    assert await world.look() is None


# --- following what was made -------------------------------------------------------------------------------------------


CREATED = {"phase": "Running", "created": [{"apiVersion": "batch/v1", "kind": "Job", "name": "train-1"}]}
JOB = ObjectKey(JOBS, SPACE, "train-1")


def training(world: World, status: Any = None) -> None:
    """A Retrain is granted."""
    world.decide(AgentPolicyStatus(granted=[granted("uid-train-1", permit="train", action="Retrain")]))
    world.request("train-1", "Retrain", permit="train", status=status)


def running(world: World, owner: str = "uid-train-1") -> Any:
    """Its Job, made by somebody."""
    meta = {"name": "train-1", "namespace": SPACE, "ownerReferences": [{"uid": owner}]}
    return world.put(JOBS, {"metadata": meta})


async def test_given_a_template_that_runs_then_its_object_is_looked_at_until_it_is_gone(world: World) -> None:
    training(world, CREATED)
    made = running(world)
    await world.look()

    assert await world.look() == FOLLOW
    assert world.seen[-1].objects == {"uid-train-1": made}

    world.cache.discard(JOB)
    await world.clock.advance(FRESH)
    await world.look()
    assert world.seen[-1].objects == {}
    await world.clock.advance(GONE_AFTER)
    await world.look()
    assert world.seen[-1].objects == {"uid-train-1": None}


async def test_given_a_request_that_is_not_granted_then_nothing_is_followed(world: World) -> None:
    world.request("train-1", "Retrain", permit="train", status=CREATED)
    running(world)
    assert await world.look() is None
    assert world.seen[-1].objects == {}
    assert world.reads == 0


async def test_given_a_request_that_made_nothing_yet_then_its_object_is_only_there_if_it_is_its_own(
    world: World,
) -> None:
    training(world)
    await world.look()
    await world.look()
    assert world.seen[-1].objects == {}

    running(world, owner="somebody-else")
    world.live.forget(SPACE)
    await world.look()
    assert world.seen[-1].objects == {}

    # Killed after the object was made, and before anything could be written about it.
    made = running(world)
    world.live.forget(SPACE)
    await world.look()
    assert world.seen[-1].objects == {"uid-train-1": made}


async def test_given_an_object_that_was_just_made_then_it_is_seen_at_once_and_goes_with_its_request(
    world: World,
) -> None:
    training(world)
    await world.look()
    world.decide(makes=(job(),))
    await world.look()
    world.decide()
    await world.look()
    made = world.seen[-1].objects["uid-train-1"]
    assert made is not None
    [owner] = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("ActionRequest", "train-1", "uid-train-1")


async def test_given_a_version_that_came_of_a_retrain_then_it_stays_without_its_request(world: World) -> None:
    meta = {"name": "train-1", "labels": {"weir.dev/made-by": "train-1"}}
    version = {"apiVersion": "weir.dev/v1alpha1", "kind": "ModelVersion", "metadata": meta, "spec": {}}
    world.decide(makes=(Make("uid-train-1", "train-1", "Create", version),))
    await world.look()
    await world.look()
    made = world.cache.get(MODEL_VERSIONS, SPACE, "train-1")
    assert made is not None
    assert "ownerReferences" not in made["metadata"]
    assert world.seen[-1].refused == {}


async def test_given_an_object_that_cannot_be_read_then_it_is_not_taken_for_gone(world: World) -> None:
    training(world, CREATED)
    made = running(world)
    await world.look()
    world.broken = lambda verb, resource, _: Forbidden("no") if (verb, resource) == ("get", JOBS) else None
    await world.look()
    assert world.seen[-1].objects == {}

    world.broken = lambda *_: None
    await world.look()
    assert world.seen[-1].objects == {"uid-train-1": made}


async def test_given_a_make_that_fails_for_now_then_the_fallback_is_not_held_up_and_it_is_tried_again(
    world: World,
) -> None:
    world.request("train-1", "Retrain", permit="train")
    world.request("no", "Deny", request={"name": "a", "uid": "b"})
    results = (
        AgentResult("uid-train-1", "train-1", "Running", "made"),
        AgentResult("uid-no", "no", "Succeeded", "denied"),
    )
    world.decide(makes=(job(), job("train-2")), proposals=(proposal(),), results=results)
    away = Unavailable("the webhook of Jobs is away")
    world.broken = lambda _, resource, name: away if (resource, name) == (JOBS, "train-1") else None

    again = await world.look()

    assert world.cache.get(ACTION_REQUESTS, SPACE, "fallback-digits-2-1") is not None
    assert world.cache.get(JOBS, SPACE, "train-2") is not None
    assert world.status("no")["phase"] == "Succeeded"
    assert world.status("train-1") == {}
    world.broken = lambda *_: None
    assert await world.look() == again == 0.5
    assert world.status("train-1") == {}
    world.elapsed += again
    await world.look()
    assert world.status("train-1")["phase"] == "Running"


# --- telling -----------------------------------------------------------------------------------------------------------


async def test_given_notes_then_they_are_events_about_the_rollout_or_the_policy_and_come_with_the_ledger(
    world: World,
) -> None:
    world.request("stop-1-0", permit="stop")
    notes = (
        AgentNote("ApprovalNeeded", "needs one", rollout="digits", request="stop-1-0"),
        AgentNote("AgentSilent", "nobody renews", warning=True),
    )
    world.decide(AgentPolicyStatus(message="m"), notes=notes)
    await world.look()
    world.decide(notes=notes)
    await world.look()

    events = world.cache.select(EVENTS, SPACE)
    told = {(e["reason"], e["type"], e["regarding"]["kind"], e.get("related", {}).get("kind")) for e in events}
    assert len(events) == 2
    assert told == {
        ("ApprovalNeeded", "Normal", "Rollout", "ActionRequest"),
        ("AgentSilent", "Warning", "AgentPolicy", None),
    }


async def test_given_a_request_that_waits_for_people_then_they_are_called(world: World) -> None:
    waits = Waiting(
        uid="u",
        name="go-1-0",
        permit="go",
        action="Promote",
        rollout="digits",
        by="tuner",
        reason="ApprovalNeeded",
        message="needs 2",
        since=T0,
        digest="sha256:x",
        quorum=2,
    )
    world.decide(AgentPolicyStatus(waiting=[waits]))
    await world.look()
    [alert] = world.told.alerts
    assert "--request go-1-0" in alert.text
    assert (alert.subject.name, alert.facts["permit"]) == ("digits", "go")
    assert world.metric("weir_agent_waiting", permit="go", reason="ApprovalNeeded") == 1


async def test_given_ledgers_that_follow_one_another_then_what_became_of_requests_is_counted_once(world: World) -> None:
    world.decide(AgentPolicyStatus(granted=[granted("uid-a")]))
    await world.look()
    await world.look()
    denied = Denied(uid="uid-b", name="b", reason="Cooldown", message="m", at=T0)
    world.decide(AgentPolicyStatus(denied=[denied], shadow_denied=3))
    await world.look()

    assert world.metric("weir_agent_requests_total", permit="stop", outcome="Granted", reason="") == 1
    assert world.metric("weir_agent_requests_total", permit="", outcome="Denied", reason="Cooldown") == 1
    assert world.metric("weir_agent_shadow_denials_total") == 3
    assert world.metric("weir_agent_in_flight") == 0

    world.cache.discard(KEY)
    await world.look()
    assert world.metric("weir_agent_shadow_denials_total") is None


# --- when to look again ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wake_at", "again"), [(None, None), (T0 + 5, 5.0), (T0 - 5, SOON)])
async def test_given_a_time_at_which_something_changes_then_it_is_looked_at_then(
    world: World, wake_at: float | None, again: float | None
) -> None:
    world.decide(wake_at=wake_at)
    assert await world.look() == again


async def test_given_a_policy_that_is_going_then_nothing_is_decided(world: World) -> None:
    going = world.policy()
    going["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    world.put(AGENT_POLICIES, going, same=True)
    assert await world.look() is None
    assert world.seen == []


async def test_given_a_result_of_a_request_that_has_ended_or_is_another_then_it_is_not_written(world: World) -> None:
    world.request("a", "Deny", status={"phase": "Succeeded", "message": "before"})
    world.request("b", "Deny")
    results = (
        AgentResult("uid-a", "a", "Refused", "now"),
        AgentResult("another", "b", "Refused", "now"),
        AgentResult("uid-c", "c", "Refused", "now"),
    )
    world.decide(results=results)
    await world.look()
    assert world.writes == []


async def test_given_a_look_that_took_long_then_the_next_one_waits_so_that_there_is_time_for_others(
    world: World,
) -> None:
    world.thinks = 0.1
    await world.look()
    rest = await world.look()
    assert rest == pytest.approx(0.4)
    assert len(world.seen) == 1

    world.elapsed += rest
    await world.look()
    assert len(world.seen) == 2


async def test_given_an_agent_that_is_silent_then_its_return_is_looked_for(world: World) -> None:
    silent = {
        "type": "AgentsAlive",
        "status": "False",
        "lastTransitionTime": T0,
        "reason": "AgentSilent",
        "message": "",
    }
    world.decide(AgentPolicyStatus.model_validate({"conditions": [silent]}))
    assert await world.look() == FOLLOW
    alive = {**silent, "status": "True", "reason": "Alive"}
    world.decide(AgentPolicyStatus.model_validate({"conditions": [alive]}))
    assert await world.look() is None
