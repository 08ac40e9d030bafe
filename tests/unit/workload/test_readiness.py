from typing import Any

import pytest

from tests.unit.workload.builders import endpoint_slice, pod
from weir.api.base import parse_time
from weir.release.observation import Pool
from weir.workload.readiness import pod_problem, pool, ready_endpoints

NAME = "digits-0123abcd"


def deployment(replicas: int, *conditions: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"replicas": replicas}, "status": {"conditions": list(conditions)}}


def waiting(
    reason: str, message: str = "", last: dict[str, Any] | None = None, *, init: bool = False
) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "fetch" if init else "model",
        "state": {"waiting": {"reason": reason, "message": message}},
    }
    if last:
        container["lastState"] = {"terminated": last}
    return {"initContainerStatuses" if init else "containerStatuses": [container]}


def test_given_ready_endpoints_when_counted_then_leaving_and_unready_pods_do_not() -> None:
    slices = [endpoint_slice(NAME, "a", "b"), endpoint_slice(NAME, "c", ready=False), endpoint_slice("other", "d")]
    found = pool(NAME, deployment(3), [pod("a"), pod("b", deleting=True), pod("c")], slices)
    assert (found.desired, found.ready) == (3, 1)


def test_given_a_pod_in_two_slices_when_counted_then_it_counts_once() -> None:
    slices = [endpoint_slice(NAME, "a"), endpoint_slice(NAME, "a", addresses={"a": "fd00::1"})]
    assert len(ready_endpoints(NAME, slices)) == 1
    assert ready_endpoints(NAME, slices) == ready_endpoints(NAME, slices[::-1])


def test_given_no_ready_condition_when_counted_then_it_means_ready() -> None:
    assert pool(NAME, deployment(1), [pod("a")], [endpoint_slice(NAME, "a", ready=None)]).ready == 1


def test_given_a_terminating_endpoint_when_counted_then_it_does_not_count() -> None:
    slices = endpoint_slice(NAME, "a")
    slices["endpoints"][0]["conditions"] = {"ready": True, "terminating": True}
    assert pool(NAME, deployment(1), [pod("a")], [slices]).ready == 0


def test_given_no_deployment_when_looked_at_then_there_are_no_pods() -> None:
    assert pool(NAME, None, [], []) == Pool(NAME)


def test_given_a_service_of_the_users_when_looked_at_then_endpoints_are_all_that_counts() -> None:
    found = pool("mine", None, [], [endpoint_slice("mine", "x", "y")], external=True)
    assert (found.ready, found.external, found.problem) == (2, True, None)
    empty = pool("mine", None, [], [], external=True)
    assert empty.problem is not None
    assert empty.problem.reason == "NoReadyEndpoints"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('pods "digits-6f-x7z" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2', "QuotaExceeded"),
        ('pods "digits-6f-x7z" is forbidden: violates PodSecurity "restricted:latest"', "PodSecurityForbidden"),
        ('pods "d-1" is forbidden: maximum cpu usage per Container is 1, but limit is 2', "LimitRangeForbidden"),
        ("admission webhook said no", "PodsNotCreated"),
    ],
)
def test_given_refused_pods_when_looked_at_then_the_problem_names_the_rule_not_the_pod(
    message: str, reason: str
) -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    problem = pool(NAME, deployment(2, failure), [], []).problem
    assert problem is not None
    assert problem.reason == reason
    assert "x7z" not in problem.message


@pytest.mark.parametrize(
    ("status", "reason", "text", "terminal"),
    [
        (waiting("ImagePullBackOff", 'Back-off pulling image "x:1": 404'), "ImagePullBackOff", 'image "x:1"', False),
        (waiting("ErrImageNeverPull", "image x is not present"), "ErrImageNeverPull", "not present", False),
        (waiting("InvalidImageName", "bad"), "InvalidImageName", "bad", True),
        (waiting("CreateContainerConfigError", "image will run as root"), "CreateContainerConfigError", "root", False),
        (
            waiting("CrashLoopBackOff", "back-off 20s", {"exitCode": 1, "message": "line\nboom\n"}),
            "CrashLoopBackOff",
            "exits with code 1: boom",
            False,
        ),
        (waiting("CrashLoopBackOff", "", {"exitCode": 137, "reason": "OOMKilled"}), "OOMKilled", "memory limit", False),
        (
            waiting(
                "CrashLoopBackOff",
                "",
                {"exitCode": 3, "message": "ArtifactDigestMismatch: expected a got b"},
                init=True,
            ),
            "ArtifactDigestMismatch",
            "expected a got b",
            True,
        ),
        (
            waiting(
                "CrashLoopBackOff", "", {"exitCode": 4, "message": "log\nArtifactNotFound: u: HTTP 404"}, init=True
            ),
            "ArtifactNotFound",
            "u: HTTP 404",
            False,
        ),
        (
            {"conditions": [{"type": "PodScheduled", "reason": "Unschedulable", "message": "0/1 nodes"}]},
            "Unschedulable",
            "0/1 nodes",
            False,
        ),
    ],
)
def test_given_a_pod_in_trouble_when_looked_at_then_the_problem_says_why(status, reason, text, terminal) -> None:
    problem = pool(NAME, deployment(1), [pod("a", **status)], []).problem
    assert problem is not None
    assert (problem.reason, problem.terminal) == (reason, terminal)
    assert text in problem.message
    assert "20s" not in problem.message


def test_given_a_fetch_that_just_failed_when_looked_at_then_the_reason_is_there_before_the_back_off() -> None:
    ended = {"terminated": {"exitCode": 5, "message": "ArtifactUnreachable: u: refused"}}
    item = pod("a", initContainerStatuses=[{"name": "fetch", "state": ended}])
    problem = pod_problem(item)
    assert problem is not None
    assert problem.reason == "ArtifactUnreachable"


def test_given_starting_or_leaving_pods_when_looked_at_then_nothing_is_wrong() -> None:
    assert pod_problem(pod("a", **waiting("PodInitializing"))) is None
    assert pod_problem(pod("a", **waiting("ContainerCreating"))) is None
    assert pod_problem(pod("a", deleting=True, **waiting("CrashLoopBackOff"))) is None
    done = {"name": "fetch", "state": {"terminated": {"exitCode": 0}}, "lastState": {"terminated": {"exitCode": 5}}}
    assert pod_problem(pod("a", initContainerStatuses=[done], containerStatuses=[])) is None


def test_given_enough_ready_pods_when_looked_at_then_an_odd_one_is_no_problem() -> None:
    pods = [pod("a"), pod("z", **waiting("CrashLoopBackOff"))]
    assert pool(NAME, deployment(1), pods, [endpoint_slice(NAME, "a")]).problem is None


def test_given_several_troubles_when_looked_at_then_the_order_of_pods_does_not_matter() -> None:
    pods = [pod("a", **waiting("ErrImagePull", "x" * 900)), pod("b", **waiting("CrashLoopBackOff", "boom"))]
    first, second = pool(NAME, deployment(2), pods, []).problem, pool(NAME, deployment(2), pods[::-1], []).problem
    assert first == second
    assert first is not None
    assert first.reason == "CrashLoopBackOff"
    assert all(len(found.message) <= 300 for item in pods if (found := pod_problem(item)))


@pytest.mark.parametrize("ready", [False, True])
def test_given_a_container_that_runs_again_after_a_failure_when_looked_at_then_it_is_in_trouble_until_it_is_ready(
    ready: bool,
) -> None:
    failed = {"exitCode": 4, "message": "ArtifactNotFound: http://store/x: HTTP 404"}
    container = {"name": "fetch", "ready": ready, "state": {"running": {}}, "lastState": {"terminated": failed}}
    found = pod_problem(pod("a", initContainerStatuses=[container]))
    assert (found.reason if found else None) == (None if ready else "ArtifactNotFound")


def test_given_ready_pods_when_looked_at_then_the_youngest_says_since_when() -> None:
    def since(at: str, status: str = "True") -> list[dict[str, str]]:
        return [{"type": "Ready", "status": status, "lastTransitionTime": at}]

    pods = [
        pod("a", conditions=since("2026-01-01T00:00:05Z")),
        pod("b", conditions=since("2026-01-01T00:00:07Z")),
        pod("c", conditions=since("2026-01-01T00:00:09Z", "False")),
    ]
    found = pool(NAME, deployment(3), pods, [endpoint_slice(NAME, "a", "b")])
    assert found.ready_since == parse_time("2026-01-01T00:00:07Z")
    assert pool(NAME, deployment(3), [pod("a")], []).ready_since is None
