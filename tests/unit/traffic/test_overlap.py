from typing import Any

import pytest

from tests.unit.workload.builders import rollout
from weir.traffic.overlap import Claimant, endpoint_problem

EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def gateway(*hostnames: str, name: str = "web", **changes: Any) -> dict[str, Any]:
    return {"gateway": {"parentRefs": [{"name": name}], "hostnames": list(hostnames), **changes}}


def judged(mine: dict[str, Any], other: dict[str, Any]) -> tuple[bool, bool]:
    """(the younger is told, the older is told)"""
    young = Claimant(rollout("young", traffic=mine), LATE)
    old = Claimant(rollout("old", traffic=other), EARLY)
    everyone = [young, old]
    return endpoint_problem(young, everyone) is not None, endpoint_problem(old, everyone) is not None


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        (gateway("a.example", "b.example"), gateway("b.example")),
        (gateway(), gateway()),
        (gateway(matches=[{"path": {"value": "/"}}]), gateway()),
        ({"service": {"name": "s"}}, {"service": {"name": "s"}}),
    ],
)
def test_given_one_endpoint_twice_when_judged_then_only_the_younger_is_told(mine: Any, other: Any) -> None:
    assert judged(mine, other) == (True, False)


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        (gateway("a.example"), gateway("b.example")),
        (gateway("a.example"), gateway()),
        (gateway(), gateway(name="other")),
        (gateway(matches=[{"path": {"value": "/a"}}]), gateway(matches=[{"path": {"value": "/b"}}])),
        ({"service": {}}, {"service": {}}),
        ({"service": {"name": "s"}}, gateway()),
        ({"gateway": {"routeRef": {"name": "r"}}}, {"gateway": {"routeRef": {"name": "r"}}}),
    ],
)
def test_given_different_endpoints_when_judged_then_nobody_is_told(mine: Any, other: Any) -> None:
    assert judged(mine, other) == (False, False)


def test_given_equal_ages_when_judged_then_the_name_decides() -> None:
    a, b = (Claimant(rollout(name, traffic=gateway()), EARLY) for name in ("a", "b"))
    problem = endpoint_problem(b, [a, b])
    assert problem is not None
    assert (problem.reason, "Rollout a" in problem.message) == ("EndpointClaimed", True)
    assert endpoint_problem(a, [a, b]) is None
