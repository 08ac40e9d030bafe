"""What has become of a check, by its result, its Job and its pods: never a Pass that nobody wrote."""

from __future__ import annotations

from typing import Any

import pytest

from weir.api.base import format_time
from weir.controller.checkfate import GRACE, fate, job_end, trouble
from weir.runtime.resources import KubeObject

NOW = 1_800_000_000.0
DIGEST = "sha256:" + "d" * 64


def check(**status: Any) -> KubeObject:
    return {
        "metadata": {"name": "orders-1", "creationTimestamp": format_time(NOW - 100)},
        "spec": {"contractRef": {"name": "orders"}},
        "status": status,
    }


def job(kind: str = "", reason: str = "", at: float = NOW - 60, **status: Any) -> KubeObject:
    ended = {"type": kind, "status": "True", "reason": reason, "message": "m", "lastTransitionTime": format_time(at)}
    return {
        "metadata": {"creationTimestamp": format_time(NOW - 90), "annotations": {"weir.dev/digest": DIGEST}},
        "status": {"startTime": format_time(NOW - 80), "conditions": [ended] if kind else [], **status},
    }


def test_given_a_result_then_it_counts_whatever_the_job_says() -> None:
    times = {"startedAt": format_time(NOW - 9), "finishedAt": format_time(NOW - 8)}

    found = fate(check(digest=DIGEST, verdict="Fail", **times), job("Failed", "BackoffLimitExceeded"), NOW)

    assert (found.state, found.at, found.digest) == ("Done", NOW - 8, DIGEST)
    assert found.result is not None
    assert found.result.verdict == "Fail"


def test_given_a_result_that_cannot_be_read_then_it_is_a_failure() -> None:
    times = {"startedAt": format_time(NOW - 9), "finishedAt": format_time(NOW - 8)}
    found = fate(check(digest=DIGEST, verdict="Perfect", **times), None, NOW)
    assert (found.state, found.reason) == ("Failed", "InvalidResult")


def test_given_no_job_then_it_waits() -> None:
    assert fate(check(), None, NOW).state == "Queued"


@pytest.mark.parametrize(("status", "ready"), [({}, False), ({"ready": 0}, False), ({"ready": 1}, True)])
def test_given_a_job_that_has_not_ended_then_it_runs(status: dict[str, Any], ready: bool) -> None:
    found = fate(check(), job(**status), NOW)
    assert (found.state, found.ready, found.at, found.digest) == ("Running", ready, NOW - 80, DIGEST)


@pytest.mark.parametrize(
    ("kind", "reason", "told"),
    [
        ("Complete", "", "NoResult"),
        ("Failed", "DeadlineExceeded", "CheckTimedOut"),
        ("Failed", "BackoffLimitExceeded", "CheckFailed"),
    ],
)
def test_given_a_job_that_ended_without_a_result_then_it_failed_once_the_result_had_its_time(
    kind: str, reason: str, told: str
) -> None:
    assert fate(check(), job(kind, reason, NOW - GRACE + 1), NOW).state == "Running"

    found = fate(check(), job(kind, reason, NOW - GRACE), NOW)

    assert (found.state, found.reason, found.at, found.digest) == ("Failed", told, NOW - GRACE, DIGEST)


def test_given_a_condition_that_is_not_true_then_the_job_has_not_ended() -> None:
    suspended = {"status": {"conditions": [{"type": "Failed", "status": "False"}, {"type": "X", "status": "True"}]}}
    assert job_end(suspended) is None


def pod(state: dict[str, Any] | None = None, **status: Any) -> KubeObject:
    containers = [{"name": "check", "state": state}] if state is not None else []
    return {
        "metadata": {"creationTimestamp": format_time(NOW)},
        "status": {"containerStatuses": containers, **status},
    }


@pytest.mark.parametrize(
    ("found", "reason", "says"),
    [
        (pod({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}), "OutOfMemory", "limits.memory"),
        (pod({"terminated": {"exitCode": 2, "message": "a\nno plan"}}), "CheckFailed", "exit code 2: no plan"),
        (pod({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}), "ImagePullBackOff", "no such"),
        (pod({"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}}), None, "x"),
        (pod(reason="Evicted", message="disk"), "Evicted", "disk"),
        (
            pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "no claim orders"}]),
            "Unschedulable",
            "no claim orders",
        ),
    ],
)
def test_given_a_pod_that_does_not_work_then_it_says_why(found: KubeObject, reason: str | None, says: str) -> None:
    told = trouble([pod({"terminated": {"exitCode": 0}}), found])
    assert told is not None
    assert reason in (None, told[0])
    assert says in told[1]


@pytest.mark.parametrize(
    "state", [{"running": {}}, {"waiting": {"reason": "ContainerCreating"}}, {"terminated": {"exitCode": 0}}, {}]
)
def test_given_a_pod_that_works_then_there_is_no_trouble(state: dict[str, Any]) -> None:
    assert trouble([pod(state)]) is None
    assert trouble([]) is None
