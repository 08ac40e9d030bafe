"""Commands that ask for something."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer

from tests.unit.cli.apiserver import FakeApi, KubeObject, Refusal
from tests.unit.cli.conftest import Run
from tests.unit.cli.objects import DIGEST, ended, rolled_back, rollout, serving, shifting
from weir.view.commands import VERBS

APPROVALS = [
    {
        "name": "Traffic(25)",
        "before": "Traffic(25)",
        "from": "group sre",
        "quorum": 2,
        "state": "Waiting",
        "digest": DIGEST,
        "consents": [{"by": "bob", "at": "2026-11-21T08:00:00Z", "request": "digits-approve-0"}],
        "deadline": "2026-11-22T08:00:00Z",
    },
    {"name": "Promote", "before": "Promote", "from": "group sre", "state": "Open", "digest": DIGEST},
]
DENIED = (
    "actionrequests.weir.dev \"digits-approve-1\" is forbidden: ValidatingAdmissionPolicy 'weir-approvals' with "
    "binding 'weir-approvals' denied request: who changed the Rollout cannot approve it"
)


def answers(api: FakeApi, phase: str, message: str = "done", *, then: KubeObject | None = None, **effect: Any) -> None:
    """An operator that gives every request this result, and then moves the Rollout."""

    def answer(request: KubeObject) -> None:
        before = {"release": 2, "candidate": "v2"}
        found = {"phase": phase, "message": message, "effect": {"before": before, "after": before, **effect}}
        api.put("actionrequests", {**request, "status": found})
        if then is not None:
            api.put("rollouts", then)

    api.created = answer


def only_request(api: FakeApi) -> dict[str, Any]:
    """The spec of the one request that was made."""
    [request] = api.all("actionrequests")
    spec: dict[str, Any] = request["spec"]
    return spec


@pytest.mark.parametrize(
    ("arguments", "action", "fields"),
    [
        (["promote"], "Promote", {"expect": {"release": 2, "stage": "Traffic(10)"}}),
        (["abort"], "Abort", {"expect": {"release": 2}}),
        (["retry"], "Retry", {"expect": {"release": 2}}),
        (["pause", "--for", "30m"], "Pause", {"expect": {"release": 2}, "duration": "30m"}),
        (["pause"], "Pause", {"expect": {"release": 2}}),
        (["resume"], "Resume", {"expect": {"release": 2}}),
        (["skip"], "Skip", {"expect": {"release": 2, "stage": "Traffic(10)"}}),
        (["shift", "--to", "5"], "ShiftTraffic", {"expect": {"release": 2}, "weight": 5}),
        (["shift", "--to", "0"], "ShiftTraffic", {"expect": {"release": 2}, "weight": 0}),
        (["rollback"], "Rollback", {"expect": {"release": 2}}),
        (["rollback", "--to", "v0"], "Rollback", {"expect": {"release": 2}, "version": "v0"}),
        (
            ["drill", "--not-before", "2030-01-01T00:00:00Z"],
            "Drill",
            {"expect": {"release": 2}, "notBefore": "2030-01-01T00:00:00.000Z"},
        ),
    ],
)
def test_given_a_verb_when_it_is_run_then_the_request_says_who_what_why_and_where_it_stood(
    api: FakeApi, run: Run, arguments: list[str], action: str, fields: dict[str, Any]
) -> None:
    api.put("rollouts", shifting())
    answers(api, "Succeeded", "as you wish")
    result = run(*arguments, "digits", "-m", "because")
    assert (result.exit_code, result.stdout) == (0, "Succeeded: as you wish\n")
    assert only_request(api) == {
        "action": action,
        "rolloutRef": {"name": "digits"},
        "reason": "because",
        "requester": "alice",
        "expiresAfter": "1h",
        **fields,
    }
    assert api.all("actionrequests")[0]["metadata"]["name"].startswith(f"digits-{action.lower()}-")


@pytest.mark.parametrize(
    ("options", "expect"),
    [
        (["--no-expect"], None),
        (["--no-expect", "--expect-weight", "10"], {"weight": 10}),
        (["--expect-stage", "Bake"], {"release": 2, "stage": "Bake"}),
        (["--expect-release", "3", "--expect-candidate", DIGEST], {"release": 3, "candidate": DIGEST}),
    ],
)
def test_given_own_preconditions_when_a_verb_is_run_then_they_are_what_is_expected(
    api: FakeApi, run: Run, options: list[str], expect: dict[str, Any] | None
) -> None:
    api.put("rollouts", shifting())
    answers(api, "Succeeded")
    assert run("abort", "digits", "-m", "x", *options).exit_code == 0
    assert only_request(api).get("expect") == expect


@pytest.mark.parametrize("verb", ["retry", "promote"])
def test_given_no_release_when_one_is_asked_for_then_the_request_pins_the_version_that_is_wanted(
    api: FakeApi, run: Run, verb: str
) -> None:
    api.put("rollouts", rolled_back())
    api.put("modelversions", {"metadata": {"name": "v2"}, "spec": {"version": "2"}, "status": {"digest": DIGEST}})
    answers(api, "Succeeded")
    run(verb, "digits", "-m", "it was a bad day", "--no-wait")
    assert only_request(api)["expect"] == {"release": 2, "candidate": DIGEST}


def test_given_versions_that_may_not_be_read_when_a_retry_is_asked_for_then_it_names_the_release_alone(
    api: FakeApi, run: Run
) -> None:
    api.put("rollouts", rolled_back())
    api.refusals["GET", "modelversions"] = Refusal(403, "no", "Forbidden")
    answers(api, "Succeeded")
    run("retry", "digits", "-m", "it was a bad day", "--no-wait")
    assert only_request(api)["expect"] == {"release": 2}


@pytest.mark.parametrize("phase", ["Refused", "Expired"])
def test_given_a_request_that_is_not_executed_when_it_is_followed_then_its_message_is_shown(
    api: FakeApi, run: Run, phase: str
) -> None:
    api.put("rollouts", shifting())
    answers(api, phase, "expected release 2, but it is 3")
    result = run("abort", "digits", "-m", "x")
    assert (result.exit_code, result.stdout) == (1, f"{phase}: expected release 2, but it is 3\n")


def test_given_no_reason_in_a_pipe_when_a_verb_is_run_then_it_is_refused_before_anything_is_made(
    api: FakeApi, run: Run
) -> None:
    api.put("rollouts", shifting())
    result = run("abort", "digits")
    assert result.exit_code == 2
    assert result.stderr == "error: say why with -m REASON; it goes into the record\n"
    assert api.all("actionrequests") == []


def test_given_no_reason_on_a_terminal_when_a_verb_is_run_then_it_is_asked_for(
    api: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weir.cli.printing.can_ask", lambda: True)
    api.put("rollouts", shifting())
    answers(api, "Succeeded")
    assert run("abort", "digits", stdin="errors in the logs\n").exit_code == 0
    assert only_request(api)["reason"] == "errors in the logs"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (DENIED, "error: refused: who changed the Rollout cannot approve it\n"),
        (
            'admission webhook "x.example" denied the request: not\non fridays',
            "error: refused: not on fridays\n",
        ),
        (
            'actionrequests.weir.dev is forbidden: User "alice" cannot create resource "actionrequests" in API group '
            '"weir.dev" in the namespace "team"',
            "error: you (alice) may not create actionrequests in namespace team; "
            "ask for a role that allows it, or use another --context\n",
        ),
    ],
)
def test_given_an_api_server_that_denies_when_a_verb_is_run_then_its_sentence_is_all_that_is_shown(
    api: FakeApi, run: Run, message: str, told: str
) -> None:
    api.put("rollouts", shifting())
    api.refusals["POST", "actionrequests"] = Refusal(403, message, "Forbidden")
    result = run("abort", "digits", "-m", "x")
    assert (result.exit_code, result.stderr) == (1, told)


def test_given_a_request_that_the_schema_refuses_when_a_verb_is_run_then_the_rule_is_shown(
    api: FakeApi, run: Run
) -> None:
    api.put("rollouts", shifting())
    wrong = "spec.duration: Invalid value: must be a positive duration"
    api.refusals["POST", "actionrequests"] = Refusal(422, wrong, "Invalid")
    result = run("pause", "digits", "--for", "soon", "-m", "x")
    assert (result.exit_code, result.stderr) == (1, f"error: {wrong}\n")


def test_given_a_cluster_with_an_old_weir_when_a_verb_is_run_then_an_upgrade_is_advised(api: FakeApi, run: Run) -> None:
    api.put("rollouts", shifting())
    api.kinds = ("rollouts", "modelversions")
    result = run("abort", "digits", "-m", "x")
    assert result.exit_code == 2
    assert "upgrade its chart and CRDs" in result.stderr


def test_given_an_old_api_server_when_a_verb_is_run_then_admission_is_left_to_say_who_asks(
    api: FakeApi, run: Run
) -> None:
    api.put("rollouts", shifting())
    api.refusals["POST", "selfsubjectreviews"] = Refusal(404, "404 page not found", "NotFound")
    answers(api, "Succeeded")
    assert run("abort", "digits", "-m", "x").exit_code == 0
    assert "requester" not in only_request(api)


# --- following ---------------------------------------------------------------------------------------------------------


def test_given_no_operator_when_a_request_gets_no_result_then_it_times_out_and_says_where_to_look(
    api: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weir.cli.asking.SILENT_SECONDS", 0.1)
    api.put("rollouts", shifting())
    result = run("abort", "digits", "-m", "x", "--timeout", "800ms")
    assert result.exit_code == 3
    assert "is the operator running?" in result.stderr
    assert "kubectl get areq digits-abort-1 -n team" in result.stderr


def test_given_no_wait_when_a_verb_is_run_then_the_request_is_named_and_left_alone(api: FakeApi, run: Run) -> None:
    api.put("rollouts", shifting())
    result = run("abort", "digits", "-m", "x", "--no-wait")
    assert (result.exit_code, result.stdout) == (0, "digits-abort-1\n")
    assert not [method for method, _ in api.asked if method == "WATCH"]


def test_given_a_request_that_may_not_be_read_when_it_is_followed_then_the_rollout_tells_its_result(
    api: FakeApi, run: Run
) -> None:
    api.put("rollouts", shifting())
    api.refusals["GET", "actionrequests"] = Refusal(403, "no", "Forbidden")

    def remember(request: KubeObject) -> None:
        entry = {"uid": request["metadata"]["uid"], "phase": "Refused", "message": "nothing to abort"}
        api.put("rollouts", shifting(handledRequests=[entry]))

    api.created = remember
    result = run("abort", "digits", "-m", "x", "--timeout", "20s")
    assert (result.exit_code, result.stdout) == (1, "Refused: nothing to abort\n")


def test_given_a_drill_that_waits_when_it_is_followed_then_it_says_what_for(api: FakeApi, run: Run) -> None:
    api.put("rollouts", shifting())
    answers(api, "Pending", "waits until the candidate carries traffic")
    result = run("drill", "digits", "-m", "x", "--timeout", "500ms")
    assert result.exit_code == 3
    assert "Pending: waits until the candidate carries traffic" in result.stderr


BEFORE: dict[str, Any] = {"release": 1, "candidate": ""}


@pytest.mark.parametrize(
    ("verb", "effect", "then", "code", "told"),
    [
        ("abort", {}, serving(history=[ended(2, "Aborted")]), 0, "release 2 of v2 is closed: Aborted"),
        (
            "abort",
            {},
            serving(history=[ended(2, "RolledBack", "errors")]),
            1,
            "release 2 of v2 is closed: RolledBack (not Aborted): errors",
        ),
        ("promote", {}, serving(history=[ended(2, "Promoted")]), 0, "release 2 of v2 is closed: Promoted"),
        (
            "promote",
            {},
            shifting(phase="AwaitingApproval", message="waiting for 1 of 1 consents"),
            4,
            "waiting for 1 of 1 consents",
        ),
        (
            "drill",
            {},
            serving(history=[ended(2, "Drilled", timeToStable="1.25")]),
            0,
            "release 2 of v2 is closed: Drilled; stable had all traffic after 1.25 s",
        ),
        ("rollback", {}, serving(history=[ended(2, "Aborted")]), 0, "release 2 of v2 is closed: Aborted"),
        (
            "rollback",
            {"before": BEFORE, "after": {"release": 2, "candidate": "v0"}},
            serving(release=2, history=[ended(2, "Restored")]),
            0,
            "release 2 of v2 is closed: Restored",
        ),
        ("retry", {"before": BEFORE, "after": BEFORE}, shifting(), 0, "release 2 of v2 has begun"),
        ("skip", {}, shifting(), 0, "Succeeded: done"),
    ],
)
def test_given_wait_when_a_verb_has_had_its_effect_then_that_is_what_is_told(
    api: FakeApi, run: Run, verb: str, effect: dict[str, Any], then: KubeObject, code: int, told: str
) -> None:
    first = effect.get("before") == BEFORE
    api.put("rollouts", rollout(phase="RolledBack", release=1) if first else shifting())
    answers(api, "Succeeded", then=then, **effect)
    result = run(verb, "digits", "-m", "x", "--wait", "--timeout", "20s")
    assert (result.exit_code, result.stdout) == (code, f"{told}\n")


def test_given_a_terminal_when_a_verb_is_run_then_it_waits_for_the_effect_by_itself(
    api: FakeApi, run: Run, terminal: None
) -> None:
    api.put("rollouts", shifting())
    answers(api, "Succeeded", then=serving(history=[ended(2, "Aborted")]))
    result = run("abort", "digits", "-m", "x", "--timeout", "20s")
    assert result.exit_code == 0
    assert "release 2 of v2 is closed: Aborted" in result.stdout


def test_given_an_effect_that_does_not_come_when_waited_for_then_it_times_out(api: FakeApi, run: Run) -> None:
    api.put("rollouts", shifting())
    answers(api, "Succeeded")
    result = run("abort", "digits", "-m", "x", "--wait", "--timeout", "800ms")
    assert result.exit_code == 3
    assert "has not happened yet" in result.stderr


def test_given_json_when_a_verb_is_run_then_the_request_with_its_result_is_printed(api: FakeApi, run: Run) -> None:
    api.put("rollouts", shifting())
    answers(api, "Succeeded", then=serving(history=[ended(2, "Aborted")]))
    found = json.loads(run("abort", "digits", "-m", "x", "--wait", "-o", "json", "--timeout", "20s").stdout)
    assert (found["kind"], found["status"]["phase"]) == ("ActionRequest", "Succeeded")


@pytest.mark.parametrize("at", ["tomorrow", "10", "2026-13-01T00:00:00Z"])
def test_given_no_time_when_a_drill_is_asked_for_then_the_option_is_named(api: FakeApi, run: Run, at: str) -> None:
    api.put("rollouts", shifting())
    result = run("drill", "digits", "-m", "x", "--not-before", at)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --not-before: ")


# --- approving ---------------------------------------------------------------------------------------------------------


def waiting(**status: Any) -> KubeObject:
    """A release that waits for a consent."""
    gates = [{"name": "errors", "verdict": "Pass", "message": "no worse"}]
    return shifting(phase="AwaitingApproval", approvals=APPROVALS, gates=gates, requestedBy="carol", **status)


def test_given_an_approval_when_yes_is_said_then_what_was_shown_is_what_is_approved(api: FakeApi, run: Run) -> None:
    api.put("rollouts", waiting())
    answers(api, "Succeeded", "2 of 2 consents")
    result = run("approve", "digits", "-m", "looked at it", "--yes")
    assert (result.exit_code, result.stdout) == (0, "Succeeded: 2 of 2 consents\n")
    assert only_request(api)["approval"] == {"name": "Traffic(25)", "digest": DIGEST}
    for shown in ("v2", "Traffic(10), 10 %", "group sre, 1 of 2", "bob", "carol", "errors: Pass (no worse)", DIGEST):
        assert shown in result.stderr


@pytest.mark.parametrize(("answer", "made"), [("y\n", 1), ("n\n", 0), ("\n", 0)])
def test_given_a_terminal_when_an_approval_is_shown_then_only_a_yes_approves(
    api: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch, answer: str, made: int
) -> None:
    monkeypatch.setattr("weir.cli.printing.can_ask", lambda: True)
    api.put("rollouts", waiting())
    answers(api, "Succeeded")
    result = run("approve", "digits", "-m", "x", stdin=answer)
    assert "Approve as alice? [y/N]" in result.stderr
    assert result.exit_code == (0 if made else 1)
    assert len(api.all("actionrequests")) == made


def test_given_a_pipe_when_nobody_says_yes_then_nothing_is_approved(api: FakeApi, run: Run) -> None:
    api.put("rollouts", waiting())
    result = run("approve", "digits", "-m", "x")
    assert (result.exit_code, api.all("actionrequests")) == (2, [])
    assert "--yes" in result.stderr


def test_given_another_approval_when_it_is_named_then_it_is_the_one(api: FakeApi, run: Run) -> None:
    api.put("rollouts", waiting())
    answers(api, "Succeeded")
    assert run("approve", "digits", "-m", "x", "--yes", "--approval", "Promote").exit_code == 0
    assert only_request(api)["approval"]["name"] == "Promote"


@pytest.mark.parametrize(
    ("found", "arguments", "code", "told"),
    [
        (serving(), [], 2, "error: digits has no release running, so there is nothing to approve"),
        (shifting(), [], 2, "error: release 2 of digits needs no approval"),
        (
            waiting(),
            ["--approval", "Switch"],
            2,
            "error: no approval 'Switch' in digits; there is Traffic(25), Promote",
        ),
        (
            shifting(approvals=[{**a, "state": "Open"} for a in APPROVALS]),
            [],
            2,
            "error: several approvals are open; name one with --approval: Traffic(25), Promote",
        ),
        (
            shifting(approvals=[{**a, "state": "Granted"} for a in APPROVALS]),
            [],
            0,
            "all approvals of release 2 of digits are granted already",
        ),
    ],
)
def test_given_nothing_clear_to_approve_when_asked_then_it_says_what_there_is(
    api: FakeApi, run: Run, found: KubeObject, arguments: list[str], code: int, told: str
) -> None:
    api.put("rollouts", found)
    result = run("approve", "digits", "-m", "x", "--yes", *arguments)
    assert (result.exit_code, result.stderr) == (code, f"{told}\n")
    assert api.all("actionrequests") == []


def test_given_all_verbs_when_their_help_is_read_then_each_has_the_same_common_options() -> None:
    from weir.cli.main import app

    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    common = {"name", "namespace", "context", "kubeconfig", "output", "no_color", "reason", "wait", "timeout"}
    for verb in VERBS:
        assert common <= {parameter.name for parameter in commands[verb].params}, verb


def test_given_a_version_when_its_release_is_asked_for_then_the_request_names_it(api: FakeApi, run: Run) -> None:
    api.put("rollouts", serving())
    answers(api, "Succeeded", "it will be released")
    result = run("release", "digits", "v2", "-m", "retrained")
    assert (result.exit_code, result.stdout) == (0, "Succeeded: it will be released\n")
    asked = only_request(api)
    assert (asked["action"], asked["version"], asked["expect"]) == ("Release", "v2", {"release": 1})


@pytest.mark.parametrize(
    ("then", "told"),
    [
        (shifting(), "release 2 of v2 has begun"),
        (serving(wants="v2", stable={"version": "v2", "label": "v2"}), "Succeeded: done"),
        (
            serving(stable={"version": "v2", "label": "v2"}, instead={"version": "v2", "ref": "v1", "by": "ada"}),
            "Succeeded: done",
        ),
    ],
)
def test_given_wait_when_a_release_has_begun_or_had_nothing_to_do_then_that_is_what_is_told(
    api: FakeApi, run: Run, then: KubeObject, told: str
) -> None:
    api.put("rollouts", serving())
    answers(api, "Succeeded", then=then, before=BEFORE, after=BEFORE)
    result = run("release", "digits", "v2", "-m", "x", "--wait", "--timeout", "20s")
    assert (result.exit_code, result.stdout) == (0, f"{told}\n")


@pytest.mark.parametrize(
    ("most", "then", "told"),
    [
        ("5", shifting(weight=5), "v2 has 5 % of the requests"),
        ("5", serving(), "Succeeded: done"),
        ("100", shifting(weight=5), "Succeeded: done"),
    ],
)
def test_given_wait_when_a_limit_is_in_place_then_that_is_what_is_told(
    api: FakeApi, run: Run, most: str, then: KubeObject, told: str
) -> None:
    api.put("rollouts", shifting())
    answers(api, "Succeeded", then=then)
    result = run("shift", "digits", "--to", most, "-m", "x", "--wait", "--timeout", "20s")
    assert (result.exit_code, result.stdout) == (0, f"{told}\n")


def test_given_traffic_that_has_not_gone_back_when_a_limit_is_waited_for_then_it_times_out(
    api: FakeApi, run: Run
) -> None:
    api.put("rollouts", shifting())
    answers(api, "Succeeded")
    result = run("shift", "digits", "--to", "5", "-m", "x", "--wait", "--timeout", "800ms")
    assert result.exit_code == 3


@pytest.mark.parametrize("most", ["-1", "101", "half"])
def test_given_no_percentage_when_traffic_is_to_be_limited_then_nothing_is_made(
    api: FakeApi, run: Run, most: str
) -> None:
    api.put("rollouts", shifting())
    assert run("shift", "digits", f"--to={most}", "-m", "x").exit_code == 2
    assert api.all("actionrequests") == []
