"""Gauges follow the status, and go when there is nothing to show."""

from __future__ import annotations

from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry

from tests.properties.specs import make_spec
from weir.api.action import HandledRequest
from weir.api.approval import ApprovalStatus
from weir.api.rolloutstatus import GateStatus, Outcome, ReleaseSummary, RolloutStatus, VersionStatus
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


CANDIDATE = VersionStatus(version="v2", label="v2", digest="sha256:2", revision="r2", pool="p2")
ROLLOUT = {"namespace": "team", "rollout": "digits"}


def answered(uid: str, phase: str) -> HandledRequest:
    return HandledRequest.model_validate({"uid": uid, "name": uid, "action": "Abort", "phase": phase, "at": 1.0})


def ended(time_to_stable: str | None) -> ReleaseSummary:
    length = Decimal(time_to_stable) if time_to_stable else None
    return ReleaseSummary(
        release=2,
        candidate=CANDIDATE,
        outcome=Outcome.DRILLED,
        reason="Drill",
        message="",
        started_at=1.0,
        finished_at=9.0,
        record="r",
        time_to_stable=length,
    )


def test_given_requests_that_a_decision_answers_then_each_is_counted_once() -> None:
    registry = CollectorRegistry()
    metrics = ReleaseMetrics(registry)
    one = RolloutStatus(handled_requests=[answered("a", "Succeeded")])
    both = RolloutStatus(handled_requests=[answered("b", "Refused"), answered("a", "Succeeded")])
    metrics.changed(VIEW, RolloutStatus(), one)
    metrics.changed(VIEW, one, both)
    metrics.changed(VIEW, both, both)
    for phase in ("Succeeded", "Refused"):
        labels = {"namespace": "team", "action": "Abort", "phase": phase}
        assert registry.get_sample_value("weir_action_requests_total", labels) == 1


def test_given_a_release_that_was_put_back_then_its_time_is_measured_once() -> None:
    registry = CollectorRegistry()
    metrics = ReleaseMetrics(registry)
    after = RolloutStatus(history=[ended("4.2")])
    metrics.changed(VIEW, RolloutStatus(), after)
    metrics.changed(VIEW, after, after)
    metrics.changed(VIEW, after, RolloutStatus(history=[ended(None), *after.history]))
    labels = {**ROLLOUT, "outcome": "Drilled"}
    assert registry.get_sample_value("weir_rollback_seconds_count", labels) == 1
    assert registry.get_sample_value("weir_rollback_seconds_sum", labels) == pytest.approx(4.2)


def test_given_an_approval_that_is_waited_for_then_its_deadline_is_shown_until_it_is_given() -> None:
    registry = CollectorRegistry()
    metrics = ReleaseMetrics(registry)
    fields = {"name": "sre", "before": "Promote", "from": "group sre", "digest": "sha256:1"}
    waits = ApprovalStatus.model_validate({**fields, "state": "Waiting", "since": 10.0, "deadline": 70.0})
    value = registry.get_sample_value
    metrics.show(VIEW, "digits", RolloutStatus(candidate=CANDIDATE, approvals=[waits]))
    assert value("weir_approvals_waiting", ROLLOUT) == 1
    assert value("weir_approval_deadline_timestamp_seconds", {**ROLLOUT, "approval": "sre"}) == 70

    metrics.show(VIEW, "digits", RolloutStatus(approvals=[waits]))

    assert value("weir_approvals_waiting", ROLLOUT) == 0
    assert value("weir_approval_deadline_timestamp_seconds", {**ROLLOUT, "approval": "sre"}) is None
    metrics.forget("team", "digits")
    assert value("weir_approvals_waiting", ROLLOUT) is None
