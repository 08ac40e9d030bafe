"""Gauges follow the status, and go when there is nothing to show."""

from __future__ import annotations

from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry

from tests.properties.specs import make_spec
from weir.api.rolloutstatus import GateStatus, RolloutStatus
from weir.controller.metrics import ReleaseMetrics
from weir.release.observation import RolloutView

VIEW = RolloutView("digits", "team", "uid", 1, make_spec())
LABELS = {"namespace": "team", "rollout": "digits", "gate": "errors"}


def weighed(e_fail: str, e_pass: str) -> RolloutStatus:
    numbers = {"e_fail": e_fail, "e_fail_bar": "10", "e_pass": e_pass, "e_pass_bar": "20", "effect": "1.25"}
    gate = GateStatus(name="errors", **{name: Decimal(value) for name, value in numbers.items()})
    return RolloutStatus(gates=[gate])


def test_given_weighed_evidence_when_shown_then_one_means_proven() -> None:
    registry = CollectorRegistry()
    metrics = ReleaseMetrics(registry)
    metrics.show(VIEW, "digits", weighed("100", "20"))
    value = registry.get_sample_value
    assert value("weir_gate_evidence_ratio", {**LABELS, "claim": "Fail"}) == pytest.approx(2)
    assert value("weir_gate_evidence_ratio", {**LABELS, "claim": "Pass"}) == pytest.approx(1)
    assert value("weir_gate_effect_ratio", LABELS) == 1.25


@pytest.mark.parametrize("forget", [True, False])
def test_given_nothing_left_to_weigh_when_shown_again_or_forgotten_then_the_series_are_gone(forget: bool) -> None:
    registry = CollectorRegistry()
    metrics = ReleaseMetrics(registry)
    metrics.show(VIEW, "digits", weighed("100", "20"))
    if forget:
        metrics.forget("team", "digits")
    else:
        metrics.show(VIEW, "digits", RolloutStatus())
    names = {sample.name for family in registry.collect() for sample in family.samples}
    assert not {name for name in names if name.startswith(("weir_gate_evidence", "weir_gate_effect"))}
