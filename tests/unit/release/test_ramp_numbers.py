"""What a ramp computes from windows: what is spent, what may be at risk next, and where it begins."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.properties.specs import gate, make_spec, ramp
from weir.api.base import seconds
from weir.api.evidencestatus import Counts, EvidenceStatus, NoiseStatus, SeriesStatus
from weir.api.rollout import Ramp
from weir.api.rolloutstatus import RampStatus, RolloutStatus, StageStatus
from weir.release.plan import RAMP, Stage, counting_gate, least_weight, planned_replicas, stages
from weir.release.ramp import Reckoning, affordable, reckon

Row = tuple[int, int, int, int]
"""(stable total, stable bad, candidate total, candidate bad) of a window."""

SERVICE: dict[str, Any] = {"traffic": {"service": {}}}


def evidence(*rows: Row, dispersion: str = "1", listed: int | None = None, width: int = 10) -> EvidenceStatus:
    """Evidence of these windows, of which only the last ``listed`` are listed."""
    shown = rows[len(rows) - listed :] if listed is not None else rows
    return EvidenceStatus(
        gate="errors",
        windows=";".join(f"{sn},{cn},2,2,{sx}:{cx}" for sn, sx, cn, cx in shown),
        dropped=len(rows) - len(shown),
        span=Decimal(width * len(rows)),
        stable=Counts(total=sum(r[0] for r in rows), bad=sum(r[1] for r in rows)),
        candidate=Counts(total=sum(r[2] for r in rows), bad=sum(r[3] for r in rows)),
        series=[SeriesStatus(noise=NoiseStatus(dispersion=Decimal(dispersion)))],
    )


def made(**changes: Any) -> Ramp:
    return Ramp.model_validate(ramp(**{"budget": 60, **changes})["canary"]["ramp"])


def test_given_no_windows_when_risk_is_reckoned_then_nothing_is_spent_and_everything_is_possible() -> None:
    assert reckon(made(), EvidenceStatus(gate="errors")) == Reckoning(spent=0, left=60, rate=0, bound=1, base=0)


def test_given_windows_when_risk_is_reckoned_then_the_numbers_are_these() -> None:
    found = reckon(made(), evidence(*[(900, 9, 100, 1)] * 6))
    assert found.rate == pytest.approx(100)
    assert 1 < found.spent < 6  # six bad requests, of which stable's 54 of 5,400 explain most
    assert found.left == pytest.approx(60 - found.spent)
    assert 0.01 < found.bound < 0.04
    assert found.base == pytest.approx((54 - 2 * 54**0.5) / 5400)


def test_given_bad_requests_when_stable_has_none_then_each_is_charged() -> None:
    assert reckon(made(), evidence(*[(900, 0, 100, 4)] * 5)).spent == pytest.approx(20)


def test_given_bursts_when_they_are_measured_then_more_is_charged_and_less_is_known() -> None:
    rows = [(500, 10, 500, 12)] * 20
    calm, bursts = reckon(made(), evidence(*rows)), reckon(made(), evidence(*rows, dispersion="5"))
    assert bursts.spent > calm.spent
    assert bursts.bound > calm.bound


def test_given_equal_windows_when_older_ones_are_no_longer_listed_then_they_are_still_charged() -> None:
    rows = [(900, 9, 100, 3)] * 200
    assert reckon(made(), evidence(*rows, listed=100)).spent == pytest.approx(reckon(made(), evidence(*rows)).spent)


def test_given_harm_that_came_late_when_the_bound_is_taken_then_a_good_start_does_not_hide_it() -> None:
    early, late = [(900, 9, 100, 1)] * 100, [(900, 9, 100, 10)] * 15
    bound = reckon(made(budget=1000), evidence(*early, *late)).bound
    assert bound > 0.1


def test_given_more_bad_requests_than_requests_when_a_query_counts_so_then_it_is_still_reckoned() -> None:
    found = reckon(made(), evidence((900, 1000, 100, 120), (900, 9, 100, 1)))
    assert found.bound == 1


RISKS = st.builds(
    Reckoning,
    spent=st.floats(0, 1000),
    rate=st.floats(0, 1e5),
    bound=st.floats(0, 1),
    base=st.floats(0, 1),
)


@given(RISKS, st.integers(1, 10_000), st.integers(1, 90), st.integers(1, 50), st.integers(1, 90))
@settings(derandomize=True, max_examples=300)
def test_given_any_risk_when_a_weight_is_chosen_then_what_is_left_survives_it_or_it_is_the_least(
    found: Reckoning, budget: int, current: int, least: int, most: int
) -> None:
    limits = made(budget=budget, minWeight=min(least, most), maxWeight=most)
    weight = affordable(limits, found, current)
    assert 1 <= weight <= most
    bottom = least_weight(limits, found.rate)
    assert weight <= max(5 * current, bottom)
    excess = found.rate * seconds(limits.reaction) * weight / 100 * max(0.0, found.bound - found.base)
    assert weight == bottom or excess <= max(0.0, budget - found.spent) * (1 + 1e-6) + 1e-6


@given(RISKS, st.floats(0, 500), st.integers(1, 50))
@settings(derandomize=True, max_examples=100)
def test_given_more_spent_when_a_weight_is_chosen_then_it_is_never_greater(
    found: Reckoning, more: float, current: int
) -> None:
    worse = Reckoning(spent=found.spent + more, rate=found.rate, bound=found.bound, base=found.base)
    assert affordable(made(budget=800), worse, current) <= affordable(made(budget=800), found, current)


@pytest.mark.parametrize(
    ("rate", "budget", "least", "weight"),
    [
        (0.0, 60, 10, 10),  # unknown
        (10.0, 60, 10, 10),  # an outage at 10 % for 30 s costs 30
        (50.0, 60, 10, 4),
        (1e6, 60, 10, 1),  # no version with traffic gets less than one percent
        (1e6, 60, 1, 1),
    ],
)
def test_given_a_rate_when_the_least_weight_is_asked_for_then_an_outage_stays_within_the_budget(
    rate: float, budget: int, least: int, weight: int
) -> None:
    assert least_weight(made(budget=budget, minWeight=least), rate) == weight


def test_given_gates_when_one_is_to_count_then_it_is_the_first_that_compares_bad_requests() -> None:
    spec = make_spec(
        gates=[
            gate("bound"),
            gate("slow", template="http-latency", max=None),
            gate("errors", max=None),
            gate("gateway", template="gateway-errors", max=None),
        ]
    )
    counting = counting_gate(spec)
    assert counting is not None
    assert counting.name == "errors"
    assert counting_gate(make_spec()) is None


@pytest.mark.parametrize(("asked", "changes", "ahead"), [(25, {}, 25), (5, {}, 0), (25, SERVICE, 0)])
def test_given_a_weight_that_is_asked_for_when_the_ramp_is_planned_then_pods_are_prepared_for_it(
    asked: int, changes: dict[str, Any], ahead: int
) -> None:
    spec = make_spec(strategy=ramp(), gates=[gate(max=None)], replicas=10, **changes)
    status = RolloutStatus(
        stage=StageStatus(index=0, name=RAMP, weight=5, started_at=0.0), ramp=RampStatus(weight=asked, moved_at=0.0)
    )
    plan = stages(spec, first=False, status=status)
    assert plan == (Stage(RAMP, "Traffic", 5, 30.0, ahead), Stage("Bake", "Bake", 100, 30.0))
    assert planned_replicas(spec, plan[0]) == (3 if ahead else 1)
