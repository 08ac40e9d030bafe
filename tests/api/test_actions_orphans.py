"""ActionRequests that no Rollout answers, and those that are long finished."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.api.harness.api import Api, Mirror, eventually
from tests.api.harness.case import Case
from tests.api.harness.lab import Lab
from weir.runtime.resources import ACTION_REQUESTS, ROLLOUTS, KubeObject

pytestmark = pytest.mark.api

_KEPT = 5
_GRACE = 60.0
"""Seconds within which a request without a Rollout has its answer, with time to spare."""


class Answers:
    """Every final result that any ActionRequest had, and which of them are gone."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._seen: defaultdict[tuple[str, str], list[KubeObject]] = defaultdict(list)
        self._mirror = Mirror(Api(lab.server.kubeconfig), ACTION_REQUESTS, self._put)

    def of(self, namespace: str, name: str) -> KubeObject:
        """The one result of a request, once it is gone."""
        eventually(
            lambda: self._lab.api.find(ACTION_REQUESTS, namespace, name) is None,
            f"{name} is answered, and gone after its time",
            within=_GRACE,
        )
        [only] = self._seen[namespace, name]
        return only

    def stop(self) -> None:
        """Follow no more."""
        self._mirror.stop()

    def _put(self, request: KubeObject) -> None:
        meta, status = request["metadata"], request.get("status") or {}
        known = self._seen[meta["namespace"], meta["name"]]
        if status.get("phase", "Pending") != "Pending" and status not in known:
            known.append(status)


@pytest.fixture(scope="module")
def answers(lab: Lab) -> Iterator[Answers]:
    """Follows all requests from the start."""
    following = Answers(lab)
    yield following
    following.stop()


@pytest.fixture(scope="module")
def namespace(lab: Lab, answers: Answers) -> Iterator[str]:
    """Served by an operator that keeps finished requests for a few seconds only."""
    space = lab.make_namespace()
    lab.allow_leases(space)
    keeping = {"WEIR_ACTION_REQUESTS_KEEP_FOR": f"{_KEPT}s"}
    operator = lab.operator("weir-keeps", namespace=space, environment=keeping)
    operator.wait_ready()
    first = Case(lab, space, "first")
    first.serve_first()
    yield space
    operator.stop()


def test_given_no_rollout_then_a_request_is_refused_and_goes_after_its_time(
    lab: Lab, answers: Answers, namespace: str
) -> None:
    nobody, early, served = Case(lab, namespace, "nobody"), Case(lab, namespace, "early"), Case(lab, namespace, "first")
    orphan, short = nobody.act("Abort"), nobody.act("Abort", expiresAfter="3s")
    promised, answered = early.act("Pause"), served.act("Abort")

    expired = answers.of(namespace, short)
    assert expired["phase"] == "Expired"
    refused = answers.of(namespace, answered)
    assert (refused["phase"], "no release" in refused["message"]) == ("Refused", True)
    # A Rollout that is applied a little after its request gets it.
    assert not early.request(promised).get("status")
    early.create("v1")
    taken = answers.of(namespace, promised)
    assert taken["phase"] == "Succeeded"

    refused = answers.of(namespace, orphan)
    assert refused["phase"] == "Refused"
    assert "no Rollout named nobody" in refused["message"]
    assert refused["digest"]


def test_given_a_request_that_waits_when_its_rollout_is_deleted_then_it_is_refused(
    lab: Lab, answers: Answers, namespace: str
) -> None:
    case = Case(lab, namespace, "drilled")
    case.create("v1")
    case.wait_ready()
    waits = case.act("Drill", notBefore="2100-01-01T00:00:00Z")
    eventually(lambda: (case.request(waits).get("status") or {}).get("phase") == "Pending", "it waits")

    lab.api.delete(ROLLOUTS, namespace, case.name)

    refused = answers.of(namespace, waits)
    assert refused["phase"] == "Refused"
    assert "no Rollout named drilled" in refused["message"]
