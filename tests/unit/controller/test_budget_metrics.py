"""Gauges of the error budget: there while it is known, gone with it."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry

from tests.properties.specs import make_spec
from weir.api.evidencestatus import Counts
from weir.api.rollout import ErrorBudget
from weir.api.rolloutstatus import BudgetStatus, RolloutStatus
from weir.controller.metrics import ReleaseMetrics
from weir.release.budget import FRESH, spans
from weir.release.observation import BudgetReading, RolloutView

OBJECT = {"namespace": "team", "rollout": "demo"}
NOW = 1_800_000_000.0


def view(**budget: Any) -> RolloutView:
    """A Rollout with a budget, or without one."""
    changes = {"errorBudget": {"objective": "0.999", **budget}} if budget.pop("asked", True) else {}
    return RolloutView("demo", "team", "uid", 1, make_spec(**changes))


def reading(bad: int, window: str = "720h") -> BudgetReading:
    """That many bad requests of a million, in every span."""
    budget = ErrorBudget.model_validate({"objective": "0.999", "window": window})
    return BudgetReading(NOW, {span: Counts(bad=bad, total=1_000_000) for span in spans(budget)})


class Shown:
    """The gauges, as a scrape would see them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = ReleaseMetrics(self.registry)

    def value(self, name: str, **labels: str) -> float | None:
        """One value; None where there is no such series."""
        return self.registry.get_sample_value(f"weir_error_budget_{name}", {**OBJECT, **labels})

    def windows(self) -> set[str]:
        """Windows that have a burn rate."""
        samples = [s for metric in self.registry.collect() for s in metric.samples]
        return {s.labels["window"] for s in samples if s.name == "weir_error_budget_burn_rate"}


def test_given_a_reading_when_it_is_shown_then_budget_burn_rates_and_freeze_have_values() -> None:
    shown = Shown()
    status = RolloutStatus(budget=BudgetStatus(frozen=True))
    shown.metrics.show_budget(view(), status, reading(1500), NOW)
    assert abs((shown.value("spent_ratio") or 0) - 1.5) < 1e-9
    assert abs((shown.value("burn_rate", window="1h") or 0) - 1.5) < 1e-9
    assert shown.windows() == {"5m", "30m", "1h", "6h", "3d"}
    assert shown.value("frozen") == 1


def test_given_a_reading_that_is_too_old_when_it_is_shown_then_only_the_freeze_has_a_value() -> None:
    shown = Shown()
    shown.metrics.show_budget(view(), RolloutStatus(), reading(500), NOW)
    frozen = RolloutStatus(budget=BudgetStatus(frozen=True))
    shown.metrics.show_budget(view(), frozen, reading(500), NOW + FRESH + 1)
    assert shown.value("spent_ratio") is None
    assert shown.windows() == set()
    assert shown.value("frozen") == 1


def test_given_another_window_when_it_is_shown_then_burn_rates_of_the_old_one_go() -> None:
    shown = Shown()
    shown.metrics.show_budget(view(), RolloutStatus(), reading(500), NOW)
    shown.metrics.show_budget(view(window="1h"), RolloutStatus(), reading(500, "1h"), NOW)
    assert shown.windows() == {"5m", "6m"}
    assert shown.value("spent_ratio") is not None


def test_given_a_budget_or_a_rollout_that_goes_when_it_is_shown_then_its_series_go() -> None:
    shown = Shown()
    shown.metrics.show_budget(view(), RolloutStatus(), reading(500), NOW)
    shown.metrics.show_budget(view(asked=False), RolloutStatus(), None, NOW)
    assert shown.value("frozen") is None
    shown.metrics.show_budget(view(), RolloutStatus(), reading(500), NOW)
    shown.metrics.forget("team", "demo")
    assert (shown.value("frozen"), shown.value("spent_ratio"), shown.windows()) == (None, None, set())
