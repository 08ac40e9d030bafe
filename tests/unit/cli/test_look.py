"""Commands that only look."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.cli.apiserver import FakeApi, Refusal
from tests.unit.cli.conftest import Run
from tests.unit.cli.objects import condition, ended, rolled_back, rollout, serving, shifting

FORBIDDEN = Refusal(
    403,
    'rollouts.weir.dev is forbidden: User "alice" cannot list resource "rollouts" in API group "weir.dev" '
    'in the namespace "team"',
    "Forbidden",
)


def later(api: FakeApi, *steps: Callable[[], object]) -> threading.Thread:
    """Does these things one after the other, once somebody watches Rollouts."""

    def act() -> None:
        ends = time.monotonic() + 20
        while ("WATCH", "rollouts") not in api.asked and time.monotonic() < ends:
            time.sleep(0.02)
        for step in steps:
            step()

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


# --- one Rollout -------------------------------------------------------------------------------------------------------


def test_given_one_rollout_when_its_status_is_asked_without_a_name_then_it_is_shown(api: FakeApi, run: Run) -> None:
    api.put("rollouts", shifting())
    result = run("status")
    assert result.exit_code == 0
    assert "digits" in result.stdout


def test_given_two_rollouts_when_no_name_is_given_then_both_are_offered(api: FakeApi, run: Run) -> None:
    api.put("rollouts", shifting())
    api.put("rollouts", serving("letters"))
    result = run("why")
    assert result.exit_code == 2
    assert result.stderr == "error: namespace team has 2 Rollouts; name one: digits, letters\n"


@pytest.mark.parametrize("command", ["status", "why", "history", "abort", "approve"])
def test_given_a_misspelt_name_when_a_command_runs_then_a_near_name_is_offered(
    api: FakeApi, run: Run, command: str
) -> None:
    api.put("rollouts", shifting())
    result = run(command, "digts", *(["-m", "why"] if command in ("abort", "approve") else []))
    assert result.exit_code == 2
    assert result.stderr == "error: no Rollout 'digts' in namespace team; did you mean digits?\n"


def test_given_a_rollout_elsewhere_when_it_is_named_then_its_namespace_is_told(api: FakeApi, run: Run) -> None:
    api.put("rollouts", {**shifting(), "metadata": {"name": "digits", "namespace": "prod"}})
    result = run("status", "digits")
    assert result.stderr == "error: no Rollout 'digits' in namespace team, but in prod: use -n prod\n"


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_given_an_output_format_when_a_status_is_printed_then_it_can_be_read(
    api: FakeApi, run: Run, output: str, read: Callable[[str], dict[str, object]]
) -> None:
    api.put("rollouts", shifting())
    found = read(run("status", "digits", "-o", output).stdout)
    assert (found["name"], found["phase"], found["weight"]) == ("digits", "Shifting", 10)


def test_given_a_pipe_when_a_table_is_printed_then_nothing_is_coloured_or_cut(api: FakeApi, run: Run) -> None:
    name = "a-rollout-with-quite-a-long-name-that-would-not-fit-beside-its-message"
    api.put("rollouts", shifting(name, message="m" * 90))
    result = run("get")
    assert name in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("command", ["status", "why", "history"])
def test_given_a_pipe_when_a_view_is_printed_then_no_line_is_padded(api: FakeApi, run: Run, command: str) -> None:
    api.put("rollouts", shifting())
    lines = run(command, "digits").stdout.splitlines()
    assert lines
    assert [line for line in lines if line != line.rstrip()] == []


def test_given_rollouts_in_two_namespaces_when_all_are_listed_then_both_are_there(api: FakeApi, run: Run) -> None:
    api.put("rollouts", shifting())
    api.put("rollouts", {**serving("letters"), "metadata": {"name": "letters", "namespace": "prod"}})
    assert [i["name"] for i in json.loads(run("get", "-o", "json").stdout)] == ["digits"]
    assert {i["namespace"] for i in json.loads(run("get", "-A", "-o", "json").stdout)} == {"team", "prod"}


def test_given_no_rollout_when_they_are_listed_then_the_way_to_others_is_told(api: FakeApi, run: Run) -> None:
    result = run("get")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no Rollout in namespace team; see all with -A\n"


def test_given_a_rollout_when_its_explanation_is_asked_as_data_then_it_has_a_headline(api: FakeApi, run: Run) -> None:
    api.put("rollouts", shifting())
    assert json.loads(run("why", "digits", "-o", "json").stdout)["headline"]


def test_given_a_finished_release_when_its_decisions_are_asked_then_its_record_tells_them(
    api: FakeApi, run: Run
) -> None:
    decision = {"at": "2026-11-21T08:01:00Z", "phase": "Shifting", "reason": "StageEntered", "message": "at 10 %"}
    api.put("rollouts", serving(release=3, history=[ended(2, "Promoted")]))
    spec = {**ended(2, "Promoted"), "rollout": "digits", "decisions": [decision]}
    api.put("rolloutrecords", {"metadata": {"name": "digits-2"}, "spec": spec})
    assert "StageEntered" in run("history", "digits", "--release", "2").stdout
    found = json.loads(run("history", "digits", "--release", "2", "-o", "json").stdout)
    assert [d["message"] for d in found["decisions"]] == ["at 10 %"]


def test_given_the_last_release_when_its_decisions_are_asked_then_the_status_tells_them(api: FakeApi, run: Run) -> None:
    decision = {"at": "2026-11-21T08:01:00Z", "phase": "Shifting", "reason": "StageEntered", "message": "at 10 %"}
    api.put("rollouts", shifting(decisions=[decision]))
    assert "StageEntered" in run("history", "digits", "--release", "2").stdout


def test_given_an_unknown_release_when_its_decisions_are_asked_then_the_known_ones_are_told(
    api: FakeApi, run: Run
) -> None:
    api.put("rollouts", rolled_back())
    result = run("history", "digits", "--release", "9")
    assert result.exit_code == 2
    assert result.stderr == "error: digits has no release 9 that is still known; there is 2\n"


# --- what can go wrong -------------------------------------------------------------------------------------------------


def test_given_a_cluster_without_weir_when_asked_then_it_says_so(api: FakeApi, run: Run) -> None:
    api.kinds = ("namespaces",)
    for command in ("get", "status"):
        result = run(command)
        assert result.exit_code == 2
        assert result.stderr.startswith("error: Weir is not installed in this cluster")
        assert result.stderr.count("\n") == 1


def test_given_no_permission_when_asked_then_one_line_says_what_is_missing(api: FakeApi, run: Run) -> None:
    api.refusals["GET", "rollouts"] = FORBIDDEN
    result = run("get")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: you (alice) may not list rollouts in namespace team; "
        "ask for a role that allows it, or use another --context\n"
    )


def test_given_wrong_credentials_when_asked_then_one_line_says_to_log_in(api: FakeApi, run: Run) -> None:
    api.refusals["GET", "rollouts"] = Refusal(401, "Unauthorized", "Unauthorized")
    result = run("get")
    assert result.exit_code == 2
    assert "log in again" in result.stderr


def test_given_an_api_server_that_does_not_answer_when_asked_then_one_line_says_so(run: Run) -> None:
    result = run("get", "--context", "there")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: cannot reach the API server (is it up?)")
    assert result.stderr.count("\n") == 1


def test_given_no_kubeconfig_when_asked_then_the_option_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere/config")
    result = run("get")
    assert result.exit_code == 2
    assert result.stderr == "error: no kubeconfig at /nowhere/config; name one with --kubeconfig or KUBECONFIG\n"


def test_given_an_unknown_context_when_asked_then_near_ones_are_offered(run: Run) -> None:
    result = run("get", "--context", "her")
    assert result.exit_code == 2
    assert "no context 'her' in the kubeconfig; did you mean here" in result.stderr


@pytest.mark.parametrize("text", ["{", "- 1", "contexts: [1]", "\x00"])
def test_given_a_broken_kubeconfig_when_asked_then_its_name_is_told(run: Run, tmp_path: Path, text: str) -> None:
    broken = tmp_path / "broken"
    broken.write_text(text)
    result = run("get", "--kubeconfig", str(broken))
    assert result.exit_code == 2
    assert "kubeconfig" in result.stderr
    assert result.stderr.count("\n") == 1


def test_given_versions_that_may_not_be_read_when_a_status_is_asked_then_it_is_shown_without(
    api: FakeApi, run: Run
) -> None:
    api.put("rollouts", shifting())
    api.refusals["GET", "modelversions"] = api.refusals["GET", "actionrequests"] = Refusal(403, "no", "Forbidden")
    assert run("status", "digits").exit_code == 0


# --- waiting -----------------------------------------------------------------------------------------------------------


def test_given_a_ready_rollout_when_waited_for_then_it_returns_at_once(api: FakeApi, run: Run) -> None:
    api.put("rollouts", serving())
    result = run("status", "digits", "--wait")
    assert result.exit_code == 0
    assert "v1 serves all traffic" in result.stderr


def test_given_a_running_release_when_waited_for_then_each_change_is_a_line_and_its_end_the_exit_code(
    api: FakeApi, run: Run
) -> None:
    api.put("rollouts", shifting())
    thread = later(
        api,
        lambda: api.put("rollouts", shifting(stage="Traffic(25)", weight=25)),
        lambda: time.sleep(0.5),
        lambda: api.put("rollouts", rolled_back()),
    )
    result = run("status", "digits", "--wait", "--timeout", "30s")
    thread.join()
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert [line.split("  ")[3] for line in lines] == ["Traffic(10)", "Traffic(25)", "-"]
    assert "v2 failed: errors" in result.stderr


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ({"phase": "AwaitingApproval", "message": "waiting for 1 of 1 consents"}, 4),
        ({"phase": "Paused", "pause": {"since": "2026-11-21T08:00:00Z", "by": "bob"}}, 4),
        ({"phase": "Held", "hold": {"reason": "GateNoData", "message": "no data", "since": "2026-11-21T08:00:00Z"}}, 4),
        ({"phase": "Shifting"}, 3),
    ],
)
def test_given_a_release_that_stands_when_waited_for_then_the_exit_code_tells_for_whom(
    api: FakeApi, run: Run, status: dict[str, object], code: int
) -> None:
    api.put("rollouts", shifting(**status))
    assert run("status", "digits", "--wait", "--timeout", "500ms").exit_code == code


def test_given_a_wait_for_the_end_when_a_person_is_needed_then_it_goes_on_waiting(api: FakeApi, run: Run) -> None:
    api.put("rollouts", shifting(phase="AwaitingApproval"))
    assert run("status", "digits", "--wait", "--for", "end", "--timeout", "500ms").exit_code == 3


def test_given_a_stage_when_waited_for_then_it_returns_once_it_has_its_traffic(api: FakeApi, run: Run) -> None:
    api.put("rollouts", shifting(stage="Traffic(25)", weight=25))
    result = run("status", "digits", "--for", "traffic(25)", "--timeout", "20s")
    assert result.exit_code == 0
    assert "release 2 has reached traffic(25)" in result.stderr


def test_given_a_stage_without_its_share_of_traffic_yet_when_waited_for_then_it_is_not_reached(
    api: FakeApi, run: Run
) -> None:
    at = "2026-11-21T08:00:00Z"
    found = shifting(weight=10)
    found["status"]["stage"] = {"index": 1, "name": "Traffic(25)", "weight": 25, "startedAt": at}
    api.put("rollouts", found)
    assert run("status", "digits", "--for", "Traffic(25)", "--timeout", "500ms").exit_code == 3


@pytest.mark.parametrize("before", [serving(), rolled_back(), shifting(phase="AwaitingApproval")])
def test_given_a_spec_that_was_just_changed_when_waited_for_then_what_was_before_does_not_count(
    api: FakeApi, run: Run, before: dict[str, Any]
) -> None:
    api.put("rollouts", {**before, "metadata": {**before["metadata"], "generation": 2}})
    assert run("status", "digits", "--wait", "--timeout", "500ms").exit_code == 3


def test_given_a_missing_version_when_waited_for_then_it_fails_with_the_reason(api: FakeApi, run: Run) -> None:
    stalled = [condition("Ready", "False"), condition("Stalled", message="no ModelVersion v9")]
    api.put("rollouts", rollout(phase="Pending", conditions=stalled))
    result = run("status", "digits", "--wait")
    assert result.exit_code == 1
    assert "no ModelVersion v9" in result.stderr


def test_given_a_rollout_that_is_deleted_when_watched_then_it_ends(api: FakeApi, run: Run) -> None:
    api.put("rollouts", shifting())
    later(api, lambda: api.delete("rollouts", "digits"))
    result = run("status", "digits", "--watch")
    assert result.exit_code == 1
    assert result.stderr == "error: Rollout digits was deleted\n"


def test_given_a_wrong_duration_when_waited_for_then_the_option_is_named(run: Run) -> None:
    result = run("status", "digits", "--wait", "--timeout", "soon")
    assert result.exit_code == 2
    assert "--timeout: 'soon' is not a duration" in result.stderr


def test_given_a_user_who_may_not_watch_when_waiting_then_lists_do(
    api: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weir.cli.following._RELIST_SECONDS", 0.1)
    api.refusals["WATCH", "rollouts"] = Refusal(403, "no", "Forbidden")
    api.put("rollouts", shifting())
    later(api, lambda: api.put("rollouts", rolled_back()))
    assert run("status", "digits", "--wait", "--timeout", "20s").exit_code == 1


def test_given_a_version_that_is_too_old_when_watched_then_it_is_listed_again(api: FakeApi, run: Run) -> None:
    api.refusals["WATCH", "rollouts"] = Refusal(410, "too old resource version", "Expired")
    api.put("rollouts", shifting())
    later(api, lambda: api.put("rollouts", rolled_back()))
    assert run("status", "digits", "--wait", "--timeout", "20s").exit_code == 1


def test_given_a_stream_that_breaks_when_watched_then_it_is_told_and_taken_up_again(
    api: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weir.cli.following._RETRY_SECONDS", (0.1,))
    api.refusals["WATCH", "rollouts"] = Refusal(503, "etcd is down", "ServiceUnavailable")
    api.put("rollouts", shifting())

    def back() -> None:
        time.sleep(1.0)
        del api.refusals["WATCH", "rollouts"]
        api.put("rollouts", rolled_back())

    later(api, back)
    result = run("status", "digits", "--wait", "--timeout", "20s")
    assert result.exit_code == 1
    assert "the connection is lost, trying again" in result.stderr


def test_given_json_when_watched_then_each_change_is_one_line(api: FakeApi, run: Run) -> None:
    api.put("rollouts", shifting())
    later(api, lambda: api.put("rollouts", rolled_back()))
    result = run("status", "digits", "--wait", "-o", "json", "--timeout", "20s")
    assert [json.loads(line)["phase"] for line in result.stdout.splitlines()] == ["Shifting", "RolledBack"]


def test_given_a_terminal_when_watched_then_the_view_is_drawn(api: FakeApi, run: Run, terminal: None) -> None:
    api.put("rollouts", shifting())
    later(api, lambda: api.put("rollouts", rolled_back()))
    result = run("status", "digits", "--watch", "--wait", "--timeout", "20s")
    assert result.exit_code == 1
    assert "digits" in result.stdout
