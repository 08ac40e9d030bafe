"""What counts of the whole service say about its error budget, and how much of it one release may take."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.specs import blue_green
from tests.unit.release.scenario import judged, outcome
from tests.unit.release.test_budget import BUDGET, releasing, serving
from weir.api.evidencestatus import Counts, EvidenceStatus, NoiseStatus, SeriesStatus
from weir.api.rollout import ErrorBudget
from weir.release.budget import FRESH, SHORTEST, excess, measured, spans, usable
from weir.release.ledger import listed
from weir.release.observation import BudgetReading

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
OBJECTIVE = ErrorBudget.model_validate(BUDGET)
COMPARED = {"name": "errors", "template": "http-errors", "compare": {"failAbove": "50", "passBelow": "100"}}


# --- What counts mean ------------------------------------------------------------------------------------------------


def reading(at: float = 0.0, bad: float = 0.0, total: int = 1_000_000, **recent: float) -> BudgetReading:
    """Counts with that share of bad requests in each million; ``recent``: span such as ``s300`` → bad in a million."""
    shares = {s: recent.get(f"s{s:g}", bad) for s in spans(OBJECTIVE)}
    return BudgetReading(at, {s: Counts(bad=round(total * share / 1e6), total=total) for s, share in shares.items()})


def test_given_thirty_days_when_spans_are_asked_for_then_they_are_those_of_the_usual_burn_rate_alerts() -> None:
    assert spans(OBJECTIVE) == (5 * MINUTE, 30 * MINUTE, HOUR, 6 * HOUR, 3 * DAY, 30 * DAY)


@given(st.integers(min_value=1, max_value=8760))
def test_given_any_window_when_spans_are_asked_for_then_each_holds_some_scrapes_and_the_last_is_the_window(
    hours: int,
) -> None:
    found = spans(ErrorBudget.model_validate({**BUDGET, "window": f"{hours}h"}))
    assert list(found) == sorted(set(found))
    assert found[0] >= SHORTEST
    assert found[-1] == hours * HOUR
    assert len(found) <= 7


def test_given_half_of_the_budget_when_it_is_measured_then_it_is_left_and_rates_are_told() -> None:
    found = measured(OBJECTIVE, reading(bad=500))
    assert found.available == "True"
    assert found.spent == pytest.approx(0.5)
    assert found.rates == tuple((span, pytest.approx(0.5)) for span in ("5m", "30m", "1h", "6h", "3d"))


def test_given_all_of_the_budget_when_it_is_measured_then_it_is_spent_and_the_message_counts() -> None:
    found = measured(OBJECTIVE, reading(bad=1000))
    assert (found.available, found.reason) == ("False", "ErrorBudgetSpent")
    assert "1000 of 1000000 requests were bad, 0.1 % may be" in found.message


@pytest.mark.parametrize(
    ("recent", "expected"),
    [
        ({"s3600": 15_000, "s300": 20_000}, "False"),
        ({"s3600": 15_000, "s300": 0}, "True"),
        ({"s3600": 0, "s300": 20_000}, "True"),
        ({"s21600": 6_500, "s1800": 6_500}, "False"),
        ({"s259200": 1_200, "s21600": 1_200}, "False"),
        ({"s259200": 1_200, "s21600": 900}, "True"),
    ],
)
def test_given_a_fast_burn_when_both_spans_of_a_pair_see_it_then_the_budget_is_not_available(
    recent: dict[str, float], expected: str
) -> None:
    found = measured(OBJECTIVE, reading(bad=10, **recent))
    assert found.available == expected
    assert ("too fast" in found.message) == (expected == "False")


def test_given_a_single_bad_request_in_a_quiet_hour_when_it_is_measured_then_nothing_freezes() -> None:
    quiet = BudgetReading(0.0, {s: Counts(bad=1, total=max(20, round(s / 180))) for s in spans(OBJECTIVE)})
    found = measured(OBJECTIVE, replace(quiet, spans={**quiet.spans, 30 * DAY: Counts(bad=5, total=14_400)}))
    assert dict(found.rates)["1h"] == pytest.approx(50)
    assert found.available == "True"


def test_given_no_requests_at_all_when_it_is_measured_then_nothing_is_spent() -> None:
    assert measured(OBJECTIVE, reading(total=0)).spent == 0


def test_given_a_reading_when_it_is_old_or_answers_another_question_then_it_is_not_used() -> None:
    now = 1000.0
    assert usable(OBJECTIVE, reading(at=now - FRESH), now)
    assert not usable(OBJECTIVE, reading(at=now - FRESH - 1), now)
    assert not usable(ErrorBudget.model_validate({**BUDGET, "window": "168h"}), reading(at=now), now)
    assert not usable(OBJECTIVE, None, now)


# --- What one release may spend --------------------------------------------------------------------------------------


def test_given_a_release_that_takes_more_than_its_share_when_it_is_seen_then_it_is_rolled_back() -> None:
    # 100,000 requests in the window allow 100 bad ones, and a release 10 of them.
    cluster = releasing("Traffic(50)", gates=[COMPARED])
    cluster.requests, cluster.worse = 100_000, 40
    cluster.pass_time(10)
    decision = cluster.reconcile()
    assert decision.status.weight == 0
    assert decision.status.ending is not None
    assert "share of the error budget is 10 (0.1 of 720h's)" in decision.status.ending.message
    assert decision.status.budget is not None
    # In this window 35 more than stable's 5; in each one before it, at 10 percent, one fewer than stable would have had.
    before = listed(decision.status.evidence[0]) - 1
    assert decision.status.budget.release == Decimal(35 - before) / 100
    cluster.run()
    assert outcome(cluster) == ("RolledBack", "ErrorBudgetShareSpent")


@pytest.mark.parametrize(
    ("changes", "requests", "bad"),
    [
        pytest.param({}, 10_000_000, 40, id="large budget"),
        pytest.param({}, 1_000, 9, id="no more than chance"),
        pytest.param({"errorBudget": {**BUDGET, "releaseShare": "1"}}, 100_000, 40, id="larger share"),
        pytest.param({"errorBudget": None}, 100_000, 40, id="no budget"),
    ],
)
def test_given_a_release_within_its_share_or_within_chance_when_it_is_seen_then_it_goes_on(
    changes: dict[str, Any], requests: int, bad: int
) -> None:
    cluster = releasing("Traffic(50)", gates=[COMPARED], **changes)
    cluster.requests, cluster.worse = requests, bad
    cluster.pass_time(10)
    assert cluster.reconcile().status.ending is None


def test_given_a_preview_when_synthetic_requests_fail_then_no_budget_of_users_is_charged() -> None:
    cluster = serving(strategy=blue_green(), gates=[COMPARED])
    cluster.release("v2")
    cluster.run(lambda: judged(cluster.status, "Preview"))
    cluster.requests, cluster.worse = 1000, 40
    cluster.pass_time(10)
    status = cluster.reconcile().status
    assert status.ending is None or status.ending.reason != "ErrorBudgetShareSpent"


def test_given_a_forced_promotion_when_it_takes_more_than_its_share_then_it_goes_on() -> None:
    cluster = releasing("Traffic(50)", gates=[COMPARED])
    cluster.ask("Promote")
    cluster.requests, cluster.worse = 100_000, 40
    cluster.pass_time(10)
    assert cluster.reconcile().status.ending is None


def seen(*windows: tuple[int, int, int, int], noise: NoiseStatus | None = None, **fields: Any) -> EvidenceStatus:
    """Evidence of windows of (stable, bad, candidate, bad)."""
    text = ";".join(f"{n0},{n1},2,2,{s0}:{s1}" for n0, s0, n1, s1 in windows)
    series = [SeriesStatus(noise=noise)] if noise is not None else []
    candidate = Counts(bad=sum(w[3] for w in windows), total=sum(w[2] for w in windows))
    stable = Counts(bad=sum(w[1] for w in windows), total=sum(w[0] for w in windows))
    values = {"gate": "errors", "windows": text, "series": series, "candidate": candidate, "stable": stable, **fields}
    return EvidenceStatus(**values)


def test_given_a_baseline_that_moves_with_the_weight_when_the_excess_is_counted_then_nobody_is_blamed() -> None:
    caused, _ = excess(seen((900, 9, 100, 1), (500, 25, 500, 25)))
    assert caused == pytest.approx(0)


def test_given_windows_behind_a_checkpoint_when_the_excess_is_counted_then_they_count_as_one() -> None:
    text = seen((900, 9, 100, 1), dropped=3, candidate=Counts(bad=31, total=400), stable=Counts(bad=36, total=3600))
    caused, _ = excess(text)
    assert caused == pytest.approx(30 - 27 * 300 / 2700)


def test_given_noisy_pods_when_the_excess_is_counted_then_chance_may_bring_more() -> None:
    window = (900, 90, 100, 20)
    _, calm = excess(seen(window, noise=NoiseStatus()))
    _, bursts = excess(seen(window, noise=NoiseStatus(dispersion=Decimal(4))))
    _, pods = excess(seen(window, noise=NoiseStatus(fast=Decimal("0.2"), slow=Decimal("0.05"))))
    assert bursts == pytest.approx(2 * calm)
    assert pods > calm


@given(st.lists(st.tuples(*[st.integers(0, 10**12)] * 4), max_size=5))
def test_given_any_counts_when_the_excess_is_counted_then_it_is_a_number_within_what_was_seen(
    rows: list[tuple[int, int, int, int]],
) -> None:
    windows = [(n0, min(s0, n0), n1, min(s1, n1)) for n0, s0, n1, s1 in rows]
    caused, chance = excess(seen(*windows))
    assert caused <= sum(w[3] for w in windows) + 1e-6
    assert 0 <= chance < float("inf")
