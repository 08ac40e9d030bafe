"""Asking under a permit, as an agent does: `weir agent ask`."""

from __future__ import annotations

import threading

import pytest

from tests.unit.cli.agents import only, policy, request, slots
from tests.unit.cli.apiserver import FakeApi, KubeObject, Refusal
from tests.unit.cli.conftest import Run
from tests.unit.cli.objects import DIGEST, rolled_back, serving, shifting


def test_given_a_budget_when_something_is_asked_for_then_it_gets_the_first_free_slot_and_says_what_it_saw(
    api: FakeApi, run: Run
) -> None:
    first, second, _ = slots()
    api.put("agentpolicies", policy())
    api.put("rollouts", shifting())
    api.put("actionrequests", request(first, phase="Succeeded"))
    result = run(
        *("agent", "ask", "tune", "digits", "--weight", "5", "-m", "slow answers", "--no-wait"),
        *("--evidence", "p99=840 ms", "--evidence", "trend=up"),
    )
    assert (result.exit_code, result.stdout) == (0, f"{second}\n")
    made = next(r for r in api.all("actionrequests") if r["metadata"]["name"] == second)
    assert made["metadata"]["labels"] == {"weir.dev/permit": "tune"}
    assert made["spec"] == {
        "action": "ShiftTraffic",
        "rolloutRef": {"name": "digits"},
        "reason": "slow answers",
        "requester": "alice",
        "weight": 5,
        "permit": "tune",
        "evidence": [{"name": "p99", "value": "840 ms", "ref": ""}, {"name": "trend", "value": "up", "ref": ""}],
        "expect": {"release": 2, "weight": 10},
        "expiresAfter": "1h",
    }


def test_given_no_release_when_a_retry_is_asked_for_then_it_pins_the_version_that_is_wanted(
    api: FakeApi, run: Run
) -> None:
    api.put("agentpolicies", policy({"name": "again", "action": "Retry"}))
    api.put("rollouts", rolled_back())
    api.put("modelversions", {"metadata": {"name": "v2"}, "spec": {"version": "2"}, "status": {"digest": DIGEST}})
    run("agent", "ask", "again", "digits", "-m", "x", "--no-wait")
    assert only(api)["spec"]["expect"] == {"release": 2, "candidate": DIGEST}


def test_given_a_slot_that_another_agent_took_when_something_is_asked_for_then_the_next_one_is_tried(
    api: FakeApi, run: Run
) -> None:
    first, second, _ = slots()
    api.put("agentpolicies", policy())
    api.put("rollouts", shifting())

    def taken(body: KubeObject) -> Refusal | None:
        if body["metadata"].get("name") == first:
            return Refusal(409, f'actionrequests.weir.dev "{first}" already exists', "AlreadyExists")
        return None

    api.admits = taken
    assert run("agent", "ask", "tune", "--weight", "5", "-m", "x", "--no-wait").stdout == f"{second}\n"


def test_given_another_clock_in_the_api_server_when_something_is_asked_for_then_its_window_is_taken(
    api: FakeApi, run: Run
) -> None:
    api.put("agentpolicies", policy())
    api.put("rollouts", shifting())

    def other_window(body: KubeObject) -> Refusal | None:
        if body["metadata"]["name"].startswith("tune-7-"):
            return None
        why = "BudgetSlot: metadata.name must be tune-7-<0..2>, one that nobody has taken yet"
        return Refusal(422, f"ValidatingAdmissionPolicy 'weir-permits' denied request: {why}", "Invalid")

    api.admits = other_window
    assert run("agent", "ask", "tune", "--weight", "5", "-m", "x", "--no-wait").stdout == "tune-7-0\n"
    assert run("agent", "ask", "tune", "--weight", "5", "-m", "x", "--no-wait").stdout == "tune-7-1\n"


def test_given_a_used_up_budget_when_something_is_asked_for_then_it_says_when_again(api: FakeApi, run: Run) -> None:
    names = slots()
    api.put("agentpolicies", policy())
    api.put("rollouts", shifting())
    for name in names:
        api.put("actionrequests", request(name))
    result = run("agent", "ask", "tune", "--weight", "5", "-m", "x")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the budget of tune is used up: 3 of 3; again from ")
    assert len(api.all("actionrequests")) == 3


def test_given_a_dry_run_when_something_is_asked_for_then_the_api_server_is_asked_and_nothing_is_made(
    api: FakeApi, run: Run
) -> None:
    api.put("agentpolicies", policy())
    api.put("rollouts", shifting())
    result = run("agent", "ask", "stop", "-m", "x", "--dry-run")
    assert (result.exit_code, result.stdout) == (0, "the API server would admit it; nothing was asked for\n")
    assert ("POST", "actionrequests") in api.asked
    assert api.all("actionrequests") == []


def test_given_a_refusal_of_admission_when_something_is_asked_for_then_its_words_are_told(
    api: FakeApi, run: Run
) -> None:
    api.put("agentpolicies", policy())
    api.put("rollouts", shifting())
    why = "NotASubject: alice is no subject of the AgentPolicy"
    message = f"actionrequests.weir.dev \"stop-1\" is forbidden: ValidatingAdmissionPolicy 'weir-permits' with binding 'weir-permits' denied request: {why}"
    api.admits = lambda _: Refusal(403, message, "Forbidden")
    result = run("agent", "ask", "stop", "-m", "x")
    assert (result.exit_code, result.stderr) == (1, f"error: refused: {why}\n")


@pytest.mark.parametrize("option", [["--param", "epochs"], ["--evidence", "=3"]])
def test_given_a_pair_without_a_name_or_a_value_when_something_is_asked_for_then_the_form_is_told(
    api: FakeApi, run: Run, option: list[str]
) -> None:
    api.put("agentpolicies", policy())
    result = run("agent", "ask", "stop", "-m", "x", *option)
    assert (result.exit_code, result.stderr) == (2, f"error: {option[0]}: write NAME=VALUE\n")


@pytest.mark.parametrize(
    ("action", "options", "after", "said"),
    [
        ("Release", ["--version", "v2"], shifting(), "release 2 of v2 has begun"),
        ("ShiftTraffic", ["--weight", "5"], shifting(weight=5), "v2 has 5 % of the requests"),
    ],
)
def test_given_an_action_on_a_release_when_its_effect_is_waited_for_then_it_is_told(
    api: FakeApi, run: Run, action: str, options: list[str], after: KubeObject, said: str
) -> None:
    api.put("agentpolicies", policy({"name": "go", "action": action}))
    api.put("rollouts", serving() if action == "Release" else shifting())

    def execute(made: KubeObject) -> None:
        before = {"release": 1}
        effect = {"before": before, "after": before}
        status = {"phase": "Succeeded", "message": "as you wish", "effect": effect}
        api.put("actionrequests", {**made, "status": status})
        api.put("rollouts", after)

    api.created = execute
    result = run("agent", "ask", "go", "digits", *options, "-m", "x", "--wait", "--timeout", "20s")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{said}\n"


def test_given_a_template_that_runs_when_it_is_asked_for_then_the_command_waits_for_its_end(
    api: FakeApi, run: Run
) -> None:
    api.put("agentpolicies", policy({"name": "learn", "action": "Retrain", "template": "train"}))
    api.put("rollouts", serving())

    def train(made: KubeObject) -> None:
        api.put("actionrequests", {**made, "status": {"phase": "Running", "message": "Job learn-1 runs"}})
        ended = {"phase": "Succeeded", "message": "made ModelVersion learn-1"}
        threading.Timer(0.5, lambda: api.put("actionrequests", {**made, "status": ended})).start()

    api.created = train
    result = run("agent", "ask", "learn", "-m", "drift", "--param", "epochs=3")
    assert (result.exit_code, result.stdout) == (0, "Succeeded: made ModelVersion learn-1\n")
    assert "Running: Job learn-1 runs" in result.stderr
    assert only(api)["spec"]["parameters"] == {"epochs": "3"}


@pytest.mark.parametrize(("given", "lasts"), [((), "4h"), (("--expires-after", "10m"), "10m")])
def test_given_a_permit_that_people_have_hours_to_consent_to_when_it_is_asked_for_then_the_request_lasts_as_long(
    api: FakeApi, run: Run, given: tuple[str, ...], lasts: str
) -> None:
    consent = {"tier": "Approve", "quorum": 1, "expiresAfter": "4h"}
    api.put("agentpolicies", policy({"name": "ship", "action": "Promote", "approval": consent}))
    api.put("rollouts", shifting())
    assert run("agent", "ask", "ship", "digits", "-m", "x", "--no-wait", *given).exit_code == 0
    assert only(api)["spec"]["expiresAfter"] == lasts
