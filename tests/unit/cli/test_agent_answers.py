"""Answers of people to what agents asked for: approve, deny, override, withdraw."""

from __future__ import annotations

import pytest

from tests.unit.cli.agents import AGENT, policy, request, waiting
from tests.unit.cli.apiserver import FakeApi, KubeObject, Refusal
from tests.unit.cli.conftest import Run
from tests.unit.cli.objects import DIGEST, rollout, serving, shifting


def answered(api: FakeApi, phase: str = "Succeeded", message: str = "2 of 2 people have agreed") -> None:
    """An operator that takes every answer."""

    def take(made: KubeObject) -> None:
        api.put("actionrequests", {**made, "status": {"phase": phase, "message": message}})

    api.created = take


@pytest.mark.parametrize(
    ("arguments", "action"),
    [
        (["approve", "--request", "ship-1", "--yes"], "Approve"),
        (["deny", "ship-1"], "Deny"),
        (["override", "ship-1", "--yes"], "Override"),
        (["withdraw", "ship-1"], "Withdraw"),
    ],
)
def test_given_a_request_of_an_agent_when_it_is_answered_then_the_answer_names_exactly_that_request(
    api: FakeApi, run: Run, arguments: list[str], action: str
) -> None:
    api.put("rollouts", serving())
    api.put("agentpolicies", policy(status={"waiting": [waiting("ship-1")]}))
    api.put("actionrequests", request("ship-1", phase="Pending"))
    answered(api)
    result = run(*arguments, "-m", "looked at it")
    assert (result.exit_code, result.stdout) == (0, "Succeeded: 2 of 2 people have agreed\n")
    made = next(r for r in api.all("actionrequests") if r["spec"]["action"] == action)
    assert made["metadata"]["name"].startswith(f"ship-1-{action.lower()}-")
    assert made["metadata"]["labels"] == {"weir.dev/answers": "uid-ship-1"}
    assert made["spec"] == {
        "action": action,
        "rolloutRef": {"name": "digits"},
        "reason": "looked at it",
        "requester": "alice",
        "request": {"name": "ship-1", "uid": "uid-ship-1", "digest": DIGEST},
        "expiresAfter": "1h",
    }


def test_given_a_terminal_when_a_request_is_approved_then_all_that_matters_is_shown_before_anybody_says_yes(
    api: FakeApi, run: Run, terminal: None
) -> None:
    api.put("rollouts", serving())
    api.put("agentpolicies", policy(status={"waiting": [waiting("ship-1")]}))
    evidence = [{"name": "p99", "value": "120 ms", "ref": "Rollout/digits"}]
    api.put(
        "actionrequests",
        request(
            "ship-1",
            phase="Pending",
            evidence=evidence,
            expect={"release": 2},
            rule="ready",
            parameters={"note": "fine\x1b[1A\nagreed  alice"},
        ),
    )
    result = run("approve", "--request", "ship-1", "-m", "x", stdin="n\n")
    assert result.exit_code == 1
    for said in (
        "ActionRequest ship-1 in namespace team",
        "action    Promote of Rollout digits",
        f"asked by  {AGENT}, under permit ship, by rule ready",
        "reason    all gates pass",
        "it saw    p99: 120 ms (Rollout/digits)",
        "parameter note=fine [1A agreed alice",
        "expects   release 2",
        "agreed    bob; 1 more needed",
        f"digest    {DIGEST}",
        "you are   alice",
        "Approve as alice?",
    ):
        assert said in result.stderr
    assert len(api.all("actionrequests")) == 1


def test_given_a_ledger_that_may_not_be_read_when_a_request_is_approved_then_nobody_is_said_to_be_missing(
    api: FakeApi, run: Run, terminal: None
) -> None:
    api.put("rollouts", serving())
    api.put("actionrequests", request("ship-1", phase="Pending"))
    api.refusals[("GET", "agentpolicies")] = Refusal(403, "no", "Forbidden")
    shown = run("approve", "--request", "ship-1", "-m", "x", stdin="n\n").stderr
    assert "  agreed    not known: the AgentPolicy cannot be read\n" in shown
    assert "nobody yet" not in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--approval", "Bake"], "--approval: not with --request"),
        (["--expect-release", "0", "--expect-stage", "Bake"], "--expect-release, --expect-stage: not with --request"),
        (["--no-expect"], "--no-expect: not with --request"),
        (["other"], "ship-1 is about the Rollout digits, not other; name that one, or none"),
    ],
)
def test_given_what_says_nothing_of_a_request_when_it_is_approved_then_that_is_refused_and_not_dropped(
    api: FakeApi, run: Run, arguments: list[str], said: str
) -> None:
    api.put("rollouts", serving())
    api.put("agentpolicies", policy(status={"waiting": [waiting("ship-1")]}))
    api.put("actionrequests", request("ship-1", phase="Pending"))
    result = run("approve", "--request", "ship-1", "-m", "x", "--yes", "--no-wait", *arguments)
    assert (result.exit_code, len(api.all("actionrequests"))) == (2, 1)
    assert result.stderr.startswith(f"error: {said}")


def test_given_the_rollout_of_a_request_when_it_is_named_too_then_it_is_approved(api: FakeApi, run: Run) -> None:
    api.put("rollouts", serving())
    api.put("agentpolicies", policy(status={"waiting": [waiting("ship-1")]}))
    api.put("actionrequests", request("ship-1", phase="Pending"))
    answered(api)
    assert run("approve", "digits", "--request", "ship-1", "-m", "x", "--yes").exit_code == 0


LONG = "x" * 600


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["deny", "ship-1", "-m", LONG], "-m: String should have at most 512 characters"),
        (["abort", "digits", "-m", LONG], "-m: String should have at most 512 characters"),
        (["abort", "digits", "-m", "x", "--expect-stage", LONG], "--expect-stage: String should have at most 253"),
        (["abort", "digits", "-m", "x", "--expect-weight", "101"], "--expect-weight: Input should be less than"),
        (
            ["agent", "ask", "ship", "digits", "-m", "x", "--evidence", f"p99={LONG}"],
            "--evidence: value: String should have at most 253 characters",
        ),
        (
            ["agent", "ask", "ship", "digits", "-m", "x", *(f"--evidence=e{n}=1" for n in range(17))],
            "--evidence: List should have at most 16 items",
        ),
    ],
)
def test_given_what_does_not_fit_when_something_is_asked_for_then_the_option_and_the_limit_are_named(
    api: FakeApi, run: Run, arguments: list[str], said: str
) -> None:
    api.put("rollouts", shifting())
    api.put("agentpolicies", policy(status={"waiting": [waiting("ship-1")]}))
    api.put("actionrequests", request("ship-1", phase="Pending"))
    result = run(*arguments, "--no-wait")
    assert (result.exit_code, len(api.all("actionrequests"))) == (2, 1)
    assert f"error: {said}" in result.stderr


def test_given_a_terminal_when_the_reason_that_is_typed_is_blank_then_it_is_told_and_nothing_is_asked_for(
    api: FakeApi, run: Run, terminal: None
) -> None:
    api.put("rollouts", shifting())
    result = run("abort", "digits", stdin="  \n")
    assert (result.exit_code, api.all("actionrequests")) == (2, [])
    assert "error: -m: String should have at least 1 character" in result.stderr


FAILED = {"revision": "r2", "version": "v2", "release": 2, "reason": "GateFailed", "message": "errors"}
TRIED = rollout(release=3, failed=[FAILED])


@pytest.mark.parametrize(
    ("place", "action", "version", "said"),
    [
        (TRIED, "Retry", None, "v2, which is wanted now and failed in release 2 (GateFailed)"),
        (TRIED, "Promote", None, "v2, which is wanted now and failed in release 2 (GateFailed)"),
        (shifting(), "Promote", None, "v2, the candidate of release 2"),
        (None, "Retry", None, "not known: the Rollout cannot be read"),
        (shifting(), "Release", "v3", None),
    ],
)
def test_given_a_request_when_it_is_to_be_approved_then_the_version_that_it_is_about_is_named(
    api: FakeApi, run: Run, terminal: None, place: KubeObject | None, action: str, version: str | None, said: str | None
) -> None:
    if place is not None:
        api.put("rollouts", place)
    api.put("agentpolicies", policy(status={"waiting": [waiting("ship-1", action=action)]}))
    api.put("actionrequests", request("ship-1", phase="Pending", action=action, version=version))
    shown = run("approve", "--request", "ship-1", "-m", "x", stdin="n\n").stderr
    assert f"  action    {action}{' ' + version if version else ''} of Rollout digits\n" in shown
    assert [line for line in shown.splitlines() if line.startswith("  version")] == (
        [f"  version   {said}"] if said else []
    )


@pytest.mark.parametrize(
    ("made", "arguments", "said"),
    [
        (request("ship-1"), ["approve", "--request", "ship-1", "-y"], "has not looked at ship-1 yet"),
        (request("ship-1", phase="Pending"), ["approve", "--request", "ship-1"], "nobody can be asked here"),
        (request("ship-1", phase="Pending"), ["override", "ship-1"], "nobody can be asked here"),
        (request("ship-1", phase="Expired", message="late"), ["deny", "ship-1"], "has ended already: Expired: late"),
        (request("ship-1", permit=None), ["deny", "ship-1"], "was not asked for under a permit"),
        (request("ship-1"), ["deny", "ship-2"], "no ActionRequest 'ship-2' in namespace team; did you mean ship-1?"),
    ],
)
def test_given_what_cannot_be_answered_when_it_is_answered_then_it_says_why(
    api: FakeApi, run: Run, made: KubeObject, arguments: list[str], said: str
) -> None:
    api.put("agentpolicies", policy())
    api.put("actionrequests", made)
    result = run(*arguments, "-m", "x")
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert len(api.all("actionrequests")) == 1
