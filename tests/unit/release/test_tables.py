"""Capacity, plans, shares and routes, row by row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.properties.specs import blue_green, canary, make_spec
from weir.release.capacity import carried, safe_weight
from weir.release.observation import Pool, Route, Share
from weir.release.plan import Stage, required_replicas, stages
from weir.release.traffic import share_problem, written

SERVICE: dict[str, Any] = {"traffic": {"service": {}}}


@pytest.mark.parametrize(
    ("pool", "replicas", "percent"),
    [
        (Pool("p", 2, 0), 2, 0),
        (Pool("p", 2, 1), 2, 50),
        (Pool("p", 3, 2), 3, 66),
        (Pool("p", 4, 4), 2, 100),
        (Pool("p", 0, 1, external=True), 10, 100),
        (Pool("p", 0, 0, external=True), 10, 0),
    ],
)
def test_given_ready_pods_when_capacity_is_asked_for_then_it_is(pool: Pool, replicas: int, percent: int) -> None:
    assert carried(pool, replicas) == percent


@pytest.mark.parametrize(
    ("wanted", "current", "candidate", "stable", "weight"),
    [
        (50, 10, 100, 100, 50),
        (50, 10, 25, 100, 25),
        (50, 10, 0, 100, 0),
        (50, 50, 25, 100, 25),
        (50, 50, 0, 0, 0),
        (0, 50, 100, 100, 0),
        (0, 100, 100, 60, 40),
        (0, 100, 100, 0, 100),
        (0, 100, 30, 50, 30),
        (0, 50, 100, 60, 40),
        (0, 30, 100, 60, 30),
        (10, 50, 100, 100, 10),
        (10, 50, 100, 70, 30),
    ],
)
def test_given_what_both_sides_carry_when_a_weight_is_wanted_then_the_safe_one_is(
    wanted: int, current: int, candidate: int, stable: int, weight: int
) -> None:
    assert safe_weight(wanted, current, candidate, stable) == weight


@given(*(st.integers(0, 100) for _ in range(4)))
@settings(derandomize=True)
def test_given_any_numbers_when_a_weight_is_set_then_no_share_grows_past_its_capacity(
    wanted: int, current: int, candidate: int, stable: int
) -> None:
    weight = safe_weight(wanted, current, candidate, stable)
    assert min(wanted, current, candidate) <= weight <= candidate
    assert weight <= max(wanted, current)
    if weight < current and weight < candidate:
        assert 100 - weight <= stable or wanted >= current


@given(st.integers(1, 60), st.integers(1, 99), st.booleans())
@settings(derandomize=True)
def test_given_any_weight_when_its_pods_are_ready_then_they_carry_it(
    replicas: int, weight: int, by_service: bool
) -> None:
    spec = make_spec(replicas=replicas, **(SERVICE if by_service else {}))
    needed = required_replicas(spec, Stage("Traffic", "Traffic", weight, 1.0))
    assert 1 <= needed <= replicas
    assert carried(Pool("p", needed, needed), replicas) >= weight


@pytest.mark.parametrize(
    ("replicas", "weight", "gateway", "service"),
    [(2, 50, 1, 2), (4, 25, 1, 1), (10, 10, 1, 1), (10, 50, 5, 10), (10, 75, 8, 10), (31, 4, 2, 2), (4, 100, 4, 4)],
)
def test_given_a_weight_when_pods_are_needed_then_so_many(
    replicas: int, weight: int, gateway: int, service: int
) -> None:
    stage = Stage("Traffic", "Traffic", weight, 1.0)
    assert required_replicas(make_spec(replicas=replicas), stage) == gateway
    assert required_replicas(make_spec(replicas=replicas, **SERVICE), stage) == service


def test_given_a_strategy_when_it_is_planned_then_its_stages_are() -> None:
    def names(first: bool = False, **changes: Any) -> list[tuple[str, int]]:
        return [(s.name, s.weight) for s in stages(make_spec(**changes), first=first)]

    assert names(strategy=canary(10, 50)) == [("Traffic(10)", 10), ("Traffic(50)", 50), ("Bake", 100)]
    assert names(strategy=blue_green()) == [("Preview", 0), ("Bake", 100)]
    assert names(first=True, strategy=canary(10)) == [("Serve", 100)]


@pytest.mark.parametrize(
    ("share", "weight", "granularity", "settled", "right"),
    [
        (Share(0, 0), 10, 1, False, True),
        (Share(5, 44), 10, 1, False, True),
        (Share(5, 45), 10, 1, True, True),
        (Share(100, 900), 10, 1, True, True),
        (Share(500, 500), 10, 1, True, False),
        (Share(0, 1000), 10, 1, True, False),
        (Share(0, 1000), 1, 1, True, True),
        (Share(2000, 8000), 25, 1, True, False),
        (Share(2000, 8000), 25, 20, True, True),
        (Share(0, 8000), 25, 20, True, False),
    ],
)
def test_given_a_share_when_it_is_compared_with_the_weight_then_it_is_right_or_not(
    share: Share, weight: int, granularity: int, settled: bool, right: bool
) -> None:
    known, problem = share_problem(share, weight, granularity)
    assert known is settled
    if settled:
        assert (problem == "") is right


@pytest.mark.parametrize(
    ("there", "granularity", "expected"),
    [
        ({"a": 75, "b": 25}, 1, True),
        ({"a": 75, "b": 25, "c": 0}, 1, True),
        ({"a": 74, "b": 26}, 1, False),
        ({"a": 80, "b": 20}, 20, True),
        ({"a": 100, "b": 0}, 20, False),
        ({"a": 75, "c": 25}, 1, False),
        ({}, 1, False),
    ],
)
def test_given_a_route_when_it_is_compared_with_what_is_wanted_then_it_says_so_or_not(
    there: dict[str, int], granularity: int, expected: bool
) -> None:
    assert written(Route(there, True, granularity), (("a", 75), ("b", 25))) is expected


def test_given_a_coarse_route_when_nothing_is_wanted_for_one_side_then_nothing_it_must_be() -> None:
    assert not written(Route({"a": 90, "b": 10}, True, 20), (("a", 100), ("b", 0)))
