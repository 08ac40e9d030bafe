"""What agents may ask for: the API server alone decides by the AgentPolicy, for no operator runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.guarded import refused
from tests.api.harness.lab import Lab
from tests.api.harness.permits import PERMITS, Permits, labelled
from weir.api.agentpolicy import PERMIT_LABEL, POLICY_NAME
from weir.runtime.resources import ACTION_REQUESTS, AGENT_POLICIES

pytestmark = pytest.mark.api

EXPECT: dict[str, Any] = {"release": 2, "weight": 30}
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@pytest.fixture(scope="module")
def desk(lab: Lab) -> Permits:
    """A namespace with an AgentPolicy that no test changes."""
    made = Permits(lab)
    made.govern()
    return made


@pytest.fixture
def room(lab: Lab) -> Iterator[Permits]:
    """A namespace with an AgentPolicy of its own."""
    made = Permits(lab)
    made.govern()
    yield made
    if lab.api.find(AGENT_POLICIES, made.namespace, POLICY_NAME) is not None:
        lab.api.delete(AGENT_POLICIES, made.namespace, POLICY_NAME)


# --- what is allowed, and each way to go beyond it -----------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A request under a permit. ``slot``: its name is that slot of today."""

    permit: str
    action: str
    rollout: str = "digits"
    slot: int | None = None
    name: str = ""
    fields: dict[str, Any] = field(default_factory=dict)

    def by(self, desk: Permits, agent: Api, *, dry_run: bool = True) -> Any:
        """Makes it; raises Failure."""
        name = self.name if self.slot is None else desk.slot(self.permit, self.slot)
        return desk.under(agent, self.permit, self.action, self.rollout, name=name, dry_run=dry_run, **self.fields)


def shift(to: int, permit: str = "shift", **expect: int) -> Asked:
    """A ShiftTraffic of release 2, from weight 30 where nothing else is said."""
    return Asked(permit, "ShiftTraffic", fields={"weight": to, "expect": expect or EXPECT})


def tune(slot: int = 0, **parameters: str) -> Asked:
    """A Retrain."""
    return Asked("tune", "Retrain", slot=slot, fields={"parameters": parameters} if parameters else {})


RELEASE_2: dict[str, Any] = {"expect": {"release": 2}}
ALLOWED = {
    "a way back without a budget": Asked("stop", "Abort"),
    "a way back within its budget": Asked("back", "Rollback", slot=99),
    "to another Rollout of the policy": Asked("back", "Rollback", "letters", slot=98),
    "less traffic": shift(10),
    "a step that is as wide as allowed": shift(50),
    "parameters within their bounds": tune(0, data="small", epochs="10", note="anything: ${x}"),
    "parameters with defaults left out": tune(2, data="large"),
    "a promotion that people approve": Asked("go", "Promote", fields=RELEASE_2),
    "a release of another version": Asked("start", "Release", fields={"version": "digits-2", **RELEASE_2}),
    "a retry": Asked("again", "Retry", fields=RELEASE_2),
    "a resume": Asked("resume", "Resume", fields=RELEASE_2),
    "in the mode Audit beyond bounds and budget": shift(90, "tried", release=2, weight=0),
}
BEYOND: dict[str, tuple[Asked, int, str]] = {
    "no such permit": (Asked("none", "Abort"), 403, "NoPermit: .*has no permit 'none'.*it has 'stop', 'back'"),
    "another action": (Asked("stop", "Pause"), 403, "ActionNotPermitted: permit 'stop' is for spec.action Abort"),
    "a permit of others": (Asked("hold", "Pause"), 403, "SubjectNotPermitted: user '.*:tuner'"),
    "a Rollout that is not the permit's": (Asked("stop", "Abort", "letters"), 403, "RolloutNotPermitted: .*'letters'"),
    "a Rollout that is not the policy's": (Asked("back", "Rollback", "signs", slot=1), 403, "RolloutNotPermitted: "),
    "what is for people": (Asked("skip", "Skip", fields=RELEASE_2), 403, "ManualOnly: Skip under permit 'skip'"),
    "a promotion of whatever is there": (Asked("go", "Promote"), 422, "ExpectRelease: Promote needs spec.expect"),
    "a retry of whatever is there": (
        Asked("again", "Retry", fields={"expect": {"stage": "x"}}),
        422,
        "ExpectRelease: ",
    ),
    "a resume of whatever is there": (Asked("resume", "Resume"), 422, "ExpectRelease: "),
    "a release without a look": (Asked("start", "Release", fields={"version": "v"}), 422, "ExpectRelease: Release"),
    "traffic without a look": (shift(10, weight=30), 422, "ExpectRelease: ShiftTraffic"),
    "a step from nowhere": (shift(10, release=2), 422, "ExpectWeight: permit 'shift' has bounds.maxStep"),
    "too much traffic": (shift(51, release=2, weight=50), 403, "MaxTrafficPercent: spec.weight 51 is more than 50"),
    "the limit lifted": (shift(100, release=2, weight=100), 403, "MaxTrafficPercent: spec.weight 100 is more"),
    "too wide a step": (shift(41, release=2, weight=20), 403, "MaxStep: from spec.expect.weight 20 to spec.weight 41"),
    "all traffic under a bound": (
        Asked("half", "Promote", fields=RELEASE_2),
        403,
        "MaxTrafficPercent: Promote gives 100",
    ),
    "an unknown parameter": (
        tune(data="small", gpus="8"),
        403,
        "ParameterUnknown: .*spec.parameters.gpus; it allows 'ep",
    ),
    "no value where one is needed": (tune(), 422, "ParameterMissing: permit 'tune' needs spec.parameters.data"),
    "a value that is not listed": (
        tune(data="all"),
        403,
        "ParameterBeyond: spec.parameters.data must be one of 'small'",
    ),
    "a number that is too large": (
        tune(data="small", epochs="11"),
        403,
        "ParameterBeyond: .*a whole number from 1 up to 10",
    ),
    "a number that is too small": (tune(data="small", epochs="0"), 403, "ParameterBeyond: spec.parameters.epochs"),
    "a number that is huge": (tune(data="small", epochs="9" * 30), 403, "ParameterBeyond: "),
    "a number with a point": (tune(data="small", epochs="3.0"), 403, "ParameterBeyond: "),
    "a number with a blank": (tune(data="small", epochs=" 3"), 403, "ParameterBeyond: "),
    "a number in disguise": (tune(data="small", epochs="0x3"), 403, "ParameterBeyond: "),
    "no slot": (
        Asked("tune", "Retrain", name="mine", fields={"parameters": {"data": "small"}}),
        403,
        r"BudgetSlot: metadata.name must be tune-[0-9]+-<0\.\.2>, .*of 3 requests ends at 2[-0-9]+T00:00:00Z",
    ),
    "a slot beyond the limit": (tune(3, data="small"), 403, "BudgetSlot: "),
    "a slot of another permit": (Asked("stop", "Abort", name="tune-494-0"), 403, "SlotOfAnother: .*'stop-1'"),
    "a slot of another permit in the mode Audit": (
        Asked("tried", "ShiftTraffic", name="tune-494-0", fields={"weight": 5, "expect": EXPECT}),
        403,
        "SlotOfAnother: ",
    ),
    "a step from nowhere in the mode Audit": (shift(5, "tried", release=2), 422, "ExpectWeight: "),
    "a version by its name, which may be one that people took out": (
        Asked("back", "Rollback", slot=97, fields={"version": "digits-1"}),
        403,
        "RollbackVersion: an agent goes back to the version that served last: leave out spec.version",
    ),
    "Weir's own name": (Asked("stop", "Abort", name="fallback-digits"), 403, "NameReserved: "),
    "Weir's own rule": (Asked("stop", "Abort", fields={"rule": "drift"}), 403, "RuleReserved: spec.rule"),
    "another's name": (Asked("stop", "Abort", fields={"requester": "alice"}), 403, "spec.requester must be your own"),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_given_a_permit_when_asked_within_it_then_the_request_is_admitted(desk: Permits, case: str) -> None:
    assert ALLOWED[case].by(desk, desk.tuner)["spec"]["requester"] == desk.account


@pytest.mark.parametrize("case", BEYOND)
def test_given_a_permit_when_asked_beyond_it_then_the_rule_answers_and_tells_the_way_out(
    desk: Permits, case: str
) -> None:
    asked, status, words = BEYOND[case]
    with pytest.raises(Failure, match=f"(?s)^{status}: .*{words}"):
        asked.by(desk, desk.tuner)


@pytest.mark.parametrize("text", ["-1", "00", "01", "1e0", "+1", "0x1", "", "1-1", "1 "])
def test_given_a_slot_that_is_written_otherwise_when_asked_then_it_is_no_slot(desk: Permits, text: str) -> None:
    name = desk.slot("tune", 0)[:-1] + text
    with pytest.raises(Failure, match="^(403|422): "):
        desk.under(desk.tuner, "tune", "Retrain", name=name, parameters={"data": "small"}, dry_run=True)


# --- who -----------------------------------------------------------------------------------------------------------


def test_given_a_user_and_a_member_of_a_group_when_they_are_subjects_then_they_may_ask(desk: Permits) -> None:
    assert desk.under(desk.pipeline, "hold", "Pause", dry_run=True)
    assert desk.under(desk.agent("bot-7", "bots"), "stop", "Abort", dry_run=True)
    with refused(403, "NoSubject: user 'bot-7'"):
        desk.under(desk.lab.api.acting_as("bot-7"), "stop", "Abort", dry_run=True)


@pytest.mark.parametrize("name", ["tuner", "system:serviceaccount:default:tuner", "pipelines", "Pipeline"])
def test_given_a_name_that_only_looks_like_a_subjects_when_asked_then_it_is_refused(desk: Permits, name: str) -> None:
    with refused(403, f"NoSubject: user '{name}' is none of spec.subjects"):
        desk.under(desk.agent(name), "stop", "Abort", dry_run=True)


def test_given_a_person_when_they_name_a_permit_then_they_are_told_to_leave_it_out(desk: Permits) -> None:
    with refused(403, "NoSubject: user 'alice'", "people leave spec.permit out"):
        desk.under(desk.user("alice", "edit"), "stop", "Abort", dry_run=True)


def test_given_people_with_rights_when_there_is_a_policy_then_it_does_not_concern_them(desk: Permits) -> None:
    oncall = desk.user("oncall", "weir-actor")
    assert desk.ask(oncall, "Abort", "signs", dry_run=True)
    with refused(403, "user 'oncall' may not promote"):
        desk.ask(oncall, "Promote", dry_run=True)


def test_given_the_operator_when_a_rule_asks_then_any_permit_is_open_to_it_but_no_more(desk: Permits) -> None:
    weir = Api(desk.lab.kubeconfig)
    assert desk.under(weir, "hold", "Pause", rule="errors", dry_run=True)
    with refused(403, "NoSubject: user 'system:serviceaccount:weir-system:weir'"):
        desk.under(weir, "stop", "Abort", dry_run=True)
    with refused(403, "BudgetSlot: "):
        desk.under(weir, "tune", "Retrain", rule="drift", parameters={"data": "small"}, dry_run=True)


def test_given_the_operator_when_the_fallback_asks_then_it_needs_no_permit_and_no_policy(lab: Lab) -> None:
    weir, empty = Api(lab.kubeconfig), Permits(lab)
    body = {
        "metadata": {"name": "fallback-digits-2-1", "namespace": empty.namespace},
        "spec": {"action": "Pause", "rolloutRef": {"name": "digits"}, "reason": "the agent is silent"},
    }
    assert weir.create(ACTION_REQUESTS, body)
    with refused(403, "NameReserved: a metadata.name that starts with fallback-"):
        empty.user("alice", "edit").create(
            ACTION_REQUESTS, {**body, "metadata": {**body["metadata"], "name": "fallback-digits-2-2"}}
        )


# --- the label -----------------------------------------------------------------------------------------------------


def test_given_no_label_when_asked_then_the_api_server_stamps_it(desk: Permits) -> None:
    stamped = desk.under(desk.tuner, "stop", "Abort", meta={"labels": {"weir.dev/rollout": "x"}}, dry_run=True)
    assert stamped["metadata"]["labels"] == {"weir.dev/rollout": "x", PERMIT_LABEL: "stop"}
    forged = desk.under(desk.tuner, "stop", "Abort", meta=labelled("go"), dry_run=True)
    assert forged["metadata"]["labels"] == {PERMIT_LABEL: "stop"}


@pytest.mark.parametrize("value", ["stop", ""])
def test_given_a_label_without_a_permit_when_asked_then_it_is_refused(desk: Permits, value: str) -> None:
    body = {
        "metadata": {"name": "odd", "namespace": desk.namespace, "labels": {PERMIT_LABEL: value}},
        "spec": {"action": "Abort", "rolloutRef": {"name": "digits"}, "reason": "test"},
    }
    with refused(422, "PermitLabel: leave out the label weir.dev/permit"):
        desk.user("oncall", "weir-actor").create(ACTION_REQUESTS, body)


@pytest.mark.parametrize("value", [None, "go"])
def test_given_a_stored_request_when_its_label_changes_then_it_is_refused_whoever_does_it(
    room: Permits, value: str | None
) -> None:
    name = room.under(room.tuner, "stop", "Abort")["metadata"]["name"]
    with refused(422, "PermitLabel: the label weir.dev/permit must be 'stop'"):
        room.lab.api.merge(ACTION_REQUESTS, room.namespace, name, {"metadata": {"labels": {PERMIT_LABEL: value}}})
    assert room.lab.api.merge(ACTION_REQUESTS, room.namespace, name, {"metadata": {"labels": {"seen": "yes"}}})


# --- metadata ------------------------------------------------------------------------------------------------------


def test_given_another_creation_time_when_asked_then_only_the_servers_own_counts(desk: Permits) -> None:
    yesterday = {"creationTimestamp": "2001-01-01T00:00:00Z"}
    parameters = {"data": "small"}
    with refused(403, "BudgetSlot: metadata.name must be tune-"):
        desk.under(
            desk.tuner, "tune", "Retrain", name="tune-11323-0", meta=yesterday, parameters=parameters, dry_run=True
        )
    made = desk.under(
        desk.tuner, "tune", "Retrain", name=desk.slot("tune", 0), meta=yesterday, parameters=parameters, dry_run=True
    )
    assert not made["metadata"]["creationTimestamp"].startswith("2001")
    for ago in (1, -1):
        with refused(403, "BudgetSlot: "):
            desk.under(
                desk.tuner, "tune", "Retrain", name=desk.slot("tune", 0, ago), parameters=parameters, dry_run=True
            )


@pytest.mark.parametrize(
    "meta",
    [
        {"finalizers": ["example.com/mine"]},
        {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "6f1c9f0e"}]},
    ],
    ids=["finalizers", "ownerReferences"],
)
def test_given_metadata_that_decides_when_a_request_is_deleted_when_asked_then_it_is_refused(
    desk: Permits, meta: dict[str, Any]
) -> None:
    with refused(403, "PlainMetadata: leave out metadata.finalizers and metadata.ownerReferences"):
        desk.under(desk.tuner, "stop", "Abort", meta=meta, dry_run=True)


@pytest.mark.parametrize(
    ("most", "more"),
    [
        (
            {"labels": {f"weir.dev/l{number}": "" for number in range(15)}},
            {"labels": {f"weir.dev/l{number}": "" for number in range(16)}},
        ),
        ({"annotations": {APPLIED: "x" * 32768}}, {"annotations": {APPLIED: "x" * 32769}}),
    ],
    ids=["labels", "annotations"],
)
def test_given_metadata_that_fills_the_operators_memory_when_asked_then_it_is_refused(
    desk: Permits, most: dict[str, Any], more: dict[str, Any]
) -> None:
    assert desk.under(desk.tuner, "stop", "Abort", meta=most, dry_run=True)
    with refused(403, "PlainMetadata: leave out labels that do not begin with weir.dev/ (of those there are at most"):
        desk.under(desk.tuner, "stop", "Abort", meta=more, dry_run=True)


@pytest.mark.parametrize(
    "meta",
    [
        {"labels": {"app.kubernetes.io/instance": "models"}},
        {"labels": {"weir.dev": "x"}},
        {"annotations": {"argocd.argoproj.io/tracking-id": "models:weir.dev/ActionRequest:n1/stop"}},
        {"annotations": {APPLIED: "{}", "note": "x"}},
        {"labels": {f"l{number}": "" for number in range(5000)}},
    ],
    ids=["a label", "one that is almost Weir's", "an annotation", "one beside kubectl's", "a lot"],
)
def test_given_metadata_by_which_others_delete_what_they_do_not_know_when_asked_then_it_is_refused(
    desk: Permits, meta: dict[str, Any]
) -> None:
    with refused(403, "PlainMetadata: leave out labels that do not begin with weir.dev/"):
        desk.under(desk.tuner, "stop", "Abort", meta=meta, dry_run=True)


def test_given_a_generated_name_when_asked_under_a_budget_then_it_is_no_slot(desk: Permits) -> None:
    body = {
        "metadata": {"generateName": "back-", "namespace": desk.namespace},
        "spec": {"action": "Rollback", "rolloutRef": {"name": "digits"}, "reason": "test", "permit": "back"},
    }
    with refused(403, r"BudgetSlot: metadata.name must be back-"):
        desk.tuner.create(ACTION_REQUESTS, body)


def test_given_a_free_budget_in_the_mode_audit_when_the_whole_policy_audits_then_soft_limits_let_pass(
    room: Permits,
) -> None:
    room.govern(mode="Audit")
    assert room.under(room.tuner, "tune", "Retrain", parameters={"gpus": "8", "epochs": "99"}, dry_run=True)
    for permit, action, word in (("skip", "Skip", "ManualOnly: "), ("none", "Abort", "NoPermit: ")):
        assert word in room.refused(room.tuner, permit, action, expect={"release": 2})
    assert "RollbackVersion: " in room.refused(room.tuner, "back", "Rollback", version="digits-1")
    assert "NoSubject: " in room.refused(room.agent("mallory"), "stop", "Abort")


# --- budgets, and what is refused for a time ----------------------------------------------------------------------


def test_given_a_slot_that_is_taken_when_asked_again_then_the_name_is_taken(room: Permits) -> None:
    name, parameters = room.slot("tune", 0), {"data": "small"}
    assert room.under(room.tuner, "tune", "Retrain", name=name, parameters=parameters)
    with refused(409, "already exists"):
        room.under(room.pipeline, "tune", "Retrain", name=name, parameters=parameters)


def test_given_what_the_status_blocks_when_asked_then_the_reason_answers_and_the_way_back_stays_open(
    room: Permits,
) -> None:
    room.govern(permits=[*PERMITS, {"name": "down", "action": "ShiftTraffic"}])
    until = {"rollout": "digits", "action": "Promote", "until": "2099-01-01T00:00:00Z"}
    blocked = [
        {**until, "reason": "Cooldown", "message": "promoted at 12:00"},
        {**until, "action": "Abort", "reason": "Repeated"},
        {"rollout": "letters", "until": "2099-01-01T00:00:00Z", "reason": "Damped"},
        {"rollout": "digits", "action": "Retry", "until": "2020-01-01T00:00:00Z", "reason": "Cooldown"},
    ]
    room.tell_policy({"blocked": blocked})
    asked: dict[str, Any] = {"expect": {"release": 2, "weight": 20}}
    told = eventually(lambda: room.refused(room.tuner, "go", "Promote", **asked), "the block is known")

    assert "Cooldown: Rollout 'digits' takes no Promote from agents until 2099-01-01T00:00:00Z; promoted at 12:" in told
    for permit, weight, expect in (("shift", 21, asked["expect"]), ("down", 100, {"release": 2})):
        fields = {"weight": weight, "expect": expect}
        assert "Damped: Rollout 'letters'" in room.refused(room.tuner, permit, "ShiftTraffic", "letters", **fields)
    for permit, action, rollout, fields in (
        ("again", "Retry", "digits", asked),
        ("shift", "ShiftTraffic", "digits", {"weight": 30, **asked}),
        ("shift", "ShiftTraffic", "letters", {"weight": 20, **asked}),
        # Only the operator knows the weight of now.
        ("down", "ShiftTraffic", "letters", {"weight": 99, "expect": {"release": 2}}),
        ("stop", "Abort", "digits", {}),
        ("back", "Rollback", "letters", {"name": room.slot("back", 0)}),
    ):
        assert room.refused(room.tuner, permit, action, rollout, **fields) == ""

    room.govern(mode="Audit")
    assert room.refused(room.tuner, "go", "Promote", **asked) == ""
